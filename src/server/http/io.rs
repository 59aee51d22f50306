//! A client's connection under hyper, which can be taken out from under it between two requests.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::pace::{Clock, Pace};
use crate::server::direct::Habit;
use crate::server::outgoing::Outgoing;
use crate::server::parting::Parting;
use crate::settings::Settings;

/// A connection, with what was read of it before hyper had it.
pub(in crate::server) struct Io {
    stream: Outgoing,
    before: Bytes,
    habit: Habit,
    pace: Pace,
    clock: Clock,
    parting: Parting,
}

impl Io {
    pub(in crate::server) fn new(
        stream: Outgoing,
        before: Vec<u8>,
        habit: Habit,
        pace: Pace,
        settings: &Settings,
    ) -> Io {
        let clock = Clock::new(settings.header_timeout, settings.keepalive_timeout);
        Io { stream, before: before.into(), habit, pace, clock, parting: Parting::default() }
    }

    /// The connection, and what was read of it and not answered: what hyper has of it, then what hyper has not come to.
    pub(in crate::server) fn into_parts(self, of_hyper: &[u8]) -> (Outgoing, Vec<u8>) {
        let read = [of_hyper, &self.before].concat();
        (self.stream, read)
    }

    /// Ends the connection.
    pub(in crate::server) fn close(self) {
        self.stream.close();
    }
}

impl AsyncRead for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.before.is_empty() {
            let length = self.before.len().min(buffer.remaining());
            buffer.put_slice(self.before.get(..length).unwrap_or_default());
            self.before.advance(length);
            return Poll::Ready(Ok(()));
        }
        // hyper has written its answer and wants the next request: whoever polls it takes the connection now.
        if self.habit.is_due() {
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let this = &mut *self;
        match Pin::new(&mut this.stream).poll_read(context, buffer) {
            Poll::Pending => {
                ready!(this.clock.poll(&this.pace, context));
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
            Poll::Ready(outcome) => {
                if buffer.filled().len() > before {
                    this.pace.arrived();
                }
                Poll::Ready(outcome)
            }
        }
    }
}

impl AsyncWrite for Io {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(context, bytes));
        self.habit.wrote();
        self.pace.wrote();
        Poll::Ready(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(context, parts));
        self.habit.wrote();
        self.pace.wrote();
        Poll::Ready(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        self.habit.flushed();
        let this = &mut *self;
        if this.pace.flushed() {
            // hyper may not ask for the next request before something wakes it: this will.
            let _ = this.clock.poll(&this.pace, context);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.pace.is_refused() {
            return this.parting.poll(Pin::new(&mut this.stream), context);
        }
        Pin::new(&mut this.stream).poll_shutdown(context)
    }
}
