//! A client's connection, which ends when the client takes nothing of what is sent to it.

use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::Sleep;
use tokio_rustls::server::TlsStream;

use crate::postgres::counters;

tokio::task_local! {
    /// Of the connection that the running task serves.
    static FLUSHES: Arc<Flushes>;
}

/// Tells when all that was written has gone to the kernel.
#[derive(Default)]
pub(super) struct Flushes {
    /// Somebody waits for it.
    awaited: AtomicBool,
    done: Notify,
}

/// An answer of so many bytes is sent in one piece.
const SHORT: usize = 2048;
/// How long [`flushed`] waits: a client that reads so slowly does without.
const PATIENCE: Duration = Duration::from_secs(5);

/// Waits until what the connection has been given so far is written. To be called in the task that serves the connection, from an
/// answer's body.
pub(super) async fn flushed() {
    let Ok(flushes) = FLUSHES.try_with(Arc::clone) else { return };
    flushes.awaited.store(true, Relaxed);
    let _ = tokio::time::timeout(PATIENCE, flushes.done.notified()).await;
    flushes.awaited.store(false, Relaxed);
}

/// A connection on which nothing may stall. A client that does not read would otherwise keep an executor, or a large answer in memory.
pub(in crate::server) struct Outgoing {
    transport: Transport,
    flushes: Arc<Flushes>,
}

enum Transport {
    Plain(Watched),
    Tls(Box<TlsStream<Watched>>),
}

/// What a connection's bytes go over, with an eye on progress. It is below TLS, for only here is seen what the client takes.
pub(in crate::server) struct Watched {
    stream: TcpStream,
    /// The longest time without progress.
    patience: Duration,
    /// Runs while a write waits.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Outgoing {
    pub(super) fn new(stream: Watched) -> Outgoing {
        Outgoing { transport: Transport::Plain(stream), flushes: Arc::default() }
    }

    pub(super) fn tls(stream: TlsStream<Watched>) -> Outgoing {
        Outgoing { transport: Transport::Tls(Box::new(stream)), flushes: Arc::default() }
    }

    /// A connection that was away.
    pub(super) fn again(stream: TcpStream, patience: Duration, flushes: Arc<Flushes>) -> Outgoing {
        Outgoing { transport: Transport::Plain(Watched { stream, patience, stalled: None }), flushes }
    }

    /// For [`Outgoing::again`].
    pub(super) fn flushes(&self) -> Arc<Flushes> {
        self.flushes.clone()
    }

    /// Nothing is between it and the client's own bytes: it can be passed on.
    pub(super) fn is_plain(&self) -> bool {
        matches!(self.transport, Transport::Plain(_))
    }

    /// The connection itself; none if what goes over it is of a TLS session.
    pub(super) fn into_stream(self) -> Option<TcpStream> {
        match self.transport {
            Transport::Plain(watched) => Some(watched.stream),
            Transport::Tls(_) => None,
        }
    }

    /// Ends the connection. An executor that had it keeps its own descriptor until it wakes up for the next bytes, which the server worker
    /// may have read by then: as long as it does, closing this one would not be seen by the client.
    pub(super) fn close(self) {
        if let Some(stream) = self.into_stream() {
            let _ = rustix::net::shutdown(&stream, rustix::net::Shutdown::Both);
        }
    }

    /// Serves the connection, so that [`flushed`] knows of it.
    pub(super) async fn serve<F: Future>(self, serve: impl FnOnce(Outgoing) -> F) -> F::Output {
        FLUSHES.scope(self.flushes.clone(), serve(self)).await
    }
}

impl Watched {
    pub(super) fn new(stream: TcpStream, patience: Duration) -> Watched {
        let _ = stream.set_nodelay(true);
        Watched { stream, patience, stalled: None }
    }

    /// Looks at what has come and leaves it there.
    pub(super) async fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.peek(buffer).await
    }

    pub(super) fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// The outcome of a write, or the end of patience.
    fn watched(&mut self, cx: &mut Context<'_>, outcome: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(written)) = &outcome {
            counters::wire(0, *written);
        }
        if outcome.is_ready() {
            self.stalled = None;
            return outcome;
        }
        let patience = self.patience;
        ready!(self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience))).as_mut().poll(cx));
        Poll::Ready(Err(ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut self.stream).poll_read(cx, buffer);
        counters::wire(buffer.filled().len() - before, 0);
        outcome
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watched(cx, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.watched(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl AsyncRead for Outgoing {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Transport::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Outgoing {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Transport::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // A head and a short body are sent as one: copying them costs less than the kernel takes for parts.
        let mut short = [0; SHORT];
        let mut length = 0;
        for part in parts {
            let Some(room) = short.get_mut(length..length + part.len()) else {
                return match &mut self.transport {
                    Transport::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
                    Transport::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
                };
            };
            room.copy_from_slice(part);
            length += part.len();
        }
        self.poll_write(cx, short.get(..length).unwrap_or_default())
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Transport::Tls(stream) => Pin::new(stream).poll_flush(cx),
        };
        if outcome.is_ready() && self.flushes.awaited.load(Relaxed) {
            self.flushes.done.notify_waiters();
        }
        outcome
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Transport::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
