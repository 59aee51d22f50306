//! The broker's socket: executors say hello here and are lent out from then on; backends ask here.

use std::io::ErrorKind;
use std::sync::Arc;

use bytes::{Buf, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;
use stonescriptdb_protocol::{
    BackendRequest, ErrorCode, ExecutorRequest, Failure, FrameKind, HEADER_LEN, Header, Hello, encode,
};
use tokio::net::{UnixListener, UnixStream};

use super::local::Local;
use super::pool::{CANCEL_PATIENCE, Lease, Target};
use super::{App, api, deploy};
use crate::postgres::worker;

/// An answer: its kind and its payload.
pub(super) type Answer = (FrameKind, BytesMut);

/// Room for a typical answer, so that it is read in one go.
const TYPICAL_ANSWER: usize = 4096;
/// How often a request that no executor has begun is tried again on another one.
const ATTEMPTS: usize = 3;

/// How an exchange with an executor ended without an answer.
enum Lost {
    /// It ended before it had the whole request, so it has done nothing.
    Before,
    /// It ended at work.
    Midway,
    /// The same as Before, after the request was cancelled: it is not tried again.
    Cancelled,
}

/// A request that has no good end.
pub(super) enum Broken {
    /// Nothing was begun: it can be asked again.
    NotBegun(Failure),
    /// The executor's own failure, or it ended on the way.
    Begun(Failure),
}

impl From<Broken> for Failure {
    fn from(broken: Broken) -> Failure {
        match broken {
            Broken::NotBegun(failure) | Broken::Begun(failure) => failure,
        }
    }
}

/// Has an executor of a target carry out a request.
///
/// # Errors
/// The executor's own failure; `pool_exhausted` and `connection_failed` if there is none or it ends on the way.
pub(super) async fn run(app: &App, target: &Arc<Target>, frame: &[u8]) -> Result<Answer, Broken> {
    begin(app, target, frame).await.map(|(answer, _)| answer)
}

/// As [`run`]; the lease comes with the answer. If that is of kind Lines, more follows: [`next`].
///
/// # Errors
/// As [`run`].
pub(super) async fn begin(app: &App, target: &Arc<Target>, frame: &[u8]) -> Result<(Answer, Lease), Broken> {
    begin_until(app, target, frame, std::future::pending()).await
}

/// As [`begin`], of something that may be cancelled: the executor is, and says what came of it. One that does not answer is ended.
///
/// # Errors
/// As [`run`]; 57014 if it was cancelled before an executor had it.
async fn begin_until(
    app: &App,
    target: &Arc<Target>,
    frame: &[u8],
    cancelled: impl Future<Output = ()>,
) -> Result<(Answer, Lease), Broken> {
    let wait = app.settings().queue_timeout;
    tokio::pin!(cancelled);
    for _ in 0..ATTEMPTS {
        let mut lease = tokio::select! {
            biased;
            () = &mut cancelled => return Err(Broken::NotBegun(deploy::was_cancelled())),
            lease = app.pool.acquire(target, wait) => lease.map_err(Broken::NotBegun)?,
        };
        let pid = lease.pid();
        match until(exchange(&mut lease, frame), pid, &mut cancelled).await {
            Ok((FrameKind::Failure, payload)) => return Err(Broken::Begun(decode(&payload).map_err(Broken::Begun)?)),
            Ok(answer) => return Ok((answer, lease)),
            Err(Lost::Before) => lease.discard(),
            Err(Lost::Cancelled) => {
                lease.discard();
                return Err(Broken::NotBegun(deploy::was_cancelled()));
            }
            Err(Lost::Midway) => {
                lease.discard();
                return Err(Broken::Begun(ended_midway().database(&*target.database)));
            }
        }
    }
    Err(Broken::NotBegun(not_begun(target)))
}

/// An exchange with an executor, which is cancelled when `cancelled` resolves.
async fn until(
    work: impl Future<Output = Result<Answer, Lost>>,
    pid: i32,
    cancelled: impl Future<Output = ()>,
) -> Result<Answer, Lost> {
    tokio::pin!(work);
    tokio::select! {
        biased;
        answer = &mut work => answer,
        () = cancelled => {
            worker::cancel(pid);
            match tokio::time::timeout(CANCEL_PATIENCE, &mut work).await {
                Ok(Err(Lost::Before)) => Err(Lost::Cancelled),
                Ok(answer) => answer,
                Err(_) => {
                    worker::terminate(pid);
                    Err(Lost::Midway)
                }
            }
        }
    }
}

fn not_begun(target: &Target) -> Failure {
    Failure::new(ErrorCode::ConnectionFailed, "executors end as soon as they are asked").database(&*target.database)
}

fn ended_midway() -> Failure {
    let failure = Failure::new(ErrorCode::ConnectionFailed, "the executor ended while it worked on the request")
        .hint("Its transaction was rolled back unless it had just committed. The server's log has the reason.");
    // As for a session that an administrator has ended.
    Failure { sqlstate: Some("57P01".to_owned()), ..failure }
}

/// The frame after one of kind Lines; the lease is over with the last one.
///
/// # Errors
/// The executor's own failure; `connection_failed` if it ends on the way.
pub(super) async fn next(mut lease: Lease) -> Result<(Answer, Lease), Failure> {
    let answer = match lease.stream() {
        Some(stream) => read_frame(stream).await,
        None => Err(ErrorKind::NotConnected.into()),
    };
    let Ok((kind, payload)) = answer else {
        lease.discard();
        return Err(ended_midway());
    };
    lease.midway = kind == FrameKind::Lines;
    if kind == FrameKind::Failure { Err(decode(&payload)?) } else { Ok(((kind, payload), lease)) }
}

/// As [`run`], for a request other than a call.
pub(super) async fn request<A: DeserializeOwned>(
    app: &App,
    target: &Arc<Target>,
    request: &ExecutorRequest,
) -> Result<A, Failure> {
    if matches!(request, ExecutorRequest::Control(_)) {
        app.require_writable()?;
    }
    let (_, payload) = run(app, target, &frame_of(request)?).await?;
    decode(&payload)
}

/// As [`request`], of something that may be cancelled and whose end is to be known then too.
///
/// # Errors
/// As [`request`]; 57014 if it was cancelled before an executor had it.
pub(super) async fn request_until<A: DeserializeOwned>(
    app: &App,
    target: &Arc<Target>,
    request: &ExecutorRequest,
    cancelled: impl Future<Output = ()>,
) -> Result<A, Failure> {
    let ((_, payload), _) = begin_until(app, target, &frame_of(request)?, cancelled).await?;
    decode(&payload)
}

fn frame_of(request: &ExecutorRequest) -> Result<Vec<u8>, Failure> {
    encode(FrameKind::Request, request).map_err(|error| Failure::new(ErrorCode::PayloadTooLarge, error.to_string()))
}

fn decode<T: DeserializeOwned>(payload: &[u8]) -> Result<T, Failure> {
    postcard::from_bytes(payload).map_err(|_| Failure::internal("an executor's answer does not decode"))
}

async fn exchange(lease: &mut Lease, frame: &[u8]) -> Result<Answer, Lost> {
    lease.midway = true;
    let Some(stream) = lease.stream() else { return Err(Lost::Before) };
    stream.write_all(frame).await.map_err(|_| Lost::Before)?;
    let answer = read_frame(stream).await;
    lease.midway = matches!(answer, Ok((FrameKind::Lines, _)));
    // Linux gives ECONNRESET where the other end closed with bytes of ours unread, and a plain end where it had read them all.
    answer.map_err(|error| if error.kind() == ErrorKind::ConnectionReset { Lost::Before } else { Lost::Midway })
}

/// Reads one answer and forgets it.
pub(super) async fn skip_answer(stream: &Local) -> std::io::Result<()> {
    while read_frame(stream).await?.0 == FrameKind::Lines {}
    Ok(())
}

/// Reads one frame and nothing behind it: who sends it waits for an answer.
async fn read_frame(stream: &Local) -> std::io::Result<Answer> {
    Frames::default().next(stream).await
}

/// What was read of a socket on which frames come unasked.
pub(super) struct Frames {
    buffer: BytesMut,
}

impl Default for Frames {
    fn default() -> Frames {
        Frames { buffer: BytesMut::with_capacity(TYPICAL_ANSWER) }
    }
}

impl Frames {
    /// The next frame. Dropped on the way, it loses nothing.
    pub(super) async fn next(&mut self, stream: &Local) -> std::io::Result<Answer> {
        let buffer = &mut self.buffer;
        let mut wanted = None;
        loop {
            if wanted.is_none()
                && let Some(head) = buffer.first_chunk::<HEADER_LEN>()
            {
                let header = Header::read(*head).map_err(|_| ErrorKind::InvalidData)?;
                buffer.reserve((HEADER_LEN + header.payload + API_TAIL).saturating_sub(buffer.len()));
                wanted = Some(header);
            }
            if let Some(header) = wanted
                && buffer.len() >= HEADER_LEN + header.payload
            {
                buffer.advance(HEADER_LEN);
                let payload = if buffer.len() == header.payload {
                    std::mem::take(buffer)
                } else {
                    buffer.split_to(header.payload)
                };
                return Ok((header.kind, payload));
            }
            // No byte of what may follow: a frame that is followed by another one unasked is larger than what is read before its length
            // is known.
            let whole = wanted.map_or(TYPICAL_ANSWER, |header: Header| HEADER_LEN + header.payload);
            let left = whole.saturating_sub(buffer.len());
            if stream.read(buffer, left).await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

/// Room behind an answer for what the server adds to it.
const API_TAIL: usize = 64;

/// Serves the socket until the worker ends.
pub(super) async fn serve(app: Arc<App>, listener: UnixListener) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(welcome(app.clone(), stream));
            }
            // Out of descriptors, most likely: others will be closed.
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
        }
    }
}

async fn welcome(app: Arc<App>, stream: UnixStream) {
    let Ok(stream) = Local::new(stream) else { return };
    let Ok((kind, payload)) = read_frame(&stream).await else { return };
    match kind {
        FrameKind::Hello => {
            if let Ok(hello) = postcard::from_bytes::<Hello>(&payload) {
                app.pool.connected(hello.executor, hello.pid, stream);
            }
        }
        FrameKind::Ask => {
            let mut payload = payload;
            loop {
                let Ok(request) = postcard::from_bytes::<BackendRequest>(&payload) else { return };
                if !backend_request(&app, &stream, request).await {
                    return;
                }
                match read_frame(&stream).await {
                    Ok((FrameKind::Ask, next)) => payload = next,
                    _ => return,
                }
            }
        }
        _ => {}
    }
}

/// Carries out a backend's request; if the backend goes away meanwhile (its user pressed Ctrl-C), the work is dropped, and so
/// cancelled. `false` ends the connection.
async fn backend_request(app: &Arc<App>, stream: &Local, request: BackendRequest) -> bool {
    if let BackendRequest::Hold { database } = request {
        let hold = app.pool.hold(&database).await;
        answer(stream, Ok(FrameKind::Answer), &[]).await;
        // Until the backend closes.
        let _ = read_frame(stream).await;
        // The database may be gone or have another name now: that is known before anybody gets at it.
        app.main.read_registry().await;
        drop(hold);
        return false;
    }
    if matches!(request, BackendRequest::HoldDeployments) {
        let closed = deploy::Closed::of(app).await;
        answer(stream, Ok(FrameKind::Answer), &[]).await;
        // Until the transaction that drops the extension has ended, either way.
        let _ = read_frame(stream).await;
        app.main.read_registry().await;
        drop(closed);
        return false;
    }
    if matches!(request, BackendRequest::RegistryChanged) {
        // Its sender does not wait: that it is gone already means nothing.
        app.main.read_registry().await;
        return false;
    }
    if matches!(request, BackendRequest::Touched) {
        deploy::flush_touched(app).await;
        return false;
    }
    let result = tokio::select! {
        result = api::backend(app, request) => result,
        // A peer that waits for its answer sends nothing: it has closed.
        () = stream.stirred() => return false,
    };
    match result {
        Ok(body) => answer(stream, Ok(FrameKind::Answer), &body).await,
        Err(failure) => answer(stream, Err(failure), &[]).await,
    }
}

async fn answer(stream: &Local, outcome: Result<FrameKind, Failure>, body: &[u8]) -> bool {
    let frame = match outcome {
        Ok(kind) => match stonescriptdb_protocol::frame_header(kind, body.len()) {
            Ok(header) => [&header[..], body].concat(),
            Err(_) => return false,
        },
        Err(failure) => match to_frame(&failure) {
            Some(frame) => frame,
            None => return false,
        },
    };
    stream.write_all(&frame).await.is_ok()
}

fn to_frame(message: &impl Serialize) -> Option<Vec<u8>> {
    encode(FrameKind::Failure, message).ok()
}
