//! How long a client may take: for the head of a request, and between two requests.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use hyper::body::{Body as HttpBody, Bytes, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep};

/// A head is awaited or on its way.
const HEAD: u32 = 0;
/// A request is being answered: its body and its answer have limits of their own.
const BUSY: u32 = 1;
/// The answer is given to hyper.
const GIVEN: u32 = 2;
/// The answer is written, and nothing of another request has come.
const IDLE: u32 = 3;
/// The bits of a stage.
const STAGE: u32 = 3;
/// The request was refused, and its body perhaps not read.
const REFUSED: u32 = 4;
/// The bits above count requests, so that two heads are told apart.
const ONE: u32 = 8;

/// How far a connection is. What serves the connection and what answers its requests share it.
#[derive(Clone)]
pub(in crate::server) struct Pace(Arc<AtomicU32>);

impl Pace {
    /// Of a connection that is new, or of which the beginning of a request is there.
    pub(in crate::server) fn of_new() -> Pace {
        Pace(Arc::new(AtomicU32::new(HEAD)))
    }

    /// Of a connection between two requests.
    pub(in crate::server) fn of_idle() -> Pace {
        Pace(Arc::new(AtomicU32::new(IDLE)))
    }

    /// A request's head is there.
    pub(in crate::server) fn begun(&self) {
        let now = self.0.load(Relaxed);
        self.0.store((now & !(ONE - 1)).wrapping_add(ONE) | BUSY, Relaxed);
    }

    /// The request that was begun last is refused.
    pub(in crate::server) fn refused(&self) {
        self.0.fetch_or(REFUSED, Relaxed);
    }

    /// Something is written; before a request is known, it is hyper's word that there will be none.
    pub(super) fn wrote(&self) {
        if self.0.load(Relaxed) & STAGE == HEAD {
            self.refused();
        }
    }

    /// Whether the last request was refused.
    pub(super) fn is_refused(&self) -> bool {
        self.0.load(Relaxed) & REFUSED != 0
    }

    /// Nothing is left to write; whether that ends an answer.
    pub(super) fn flushed(&self) -> bool {
        self.pass(GIVEN, IDLE)
    }

    /// Bytes have come.
    pub(super) fn arrived(&self) {
        self.pass(IDLE, HEAD);
    }

    /// Only the connection's own task does this, and its answers' bodies within it.
    fn pass(&self, from: u32, to: u32) -> bool {
        let now = self.0.load(Relaxed);
        if now & STAGE != from {
            return false;
        }
        self.0.store((now & !STAGE) | to, Relaxed);
        true
    }

    /// The answer, by which it is seen that all of it was taken.
    pub(in crate::server) fn of_answer(&self, body: Body) -> Answer {
        Answer { body, _given: Given(self.clone()) }
    }
}

/// The limits, and the clock that runs.
pub(super) struct Clock {
    head: Duration,
    idle: Duration,
    /// What is waited for, and until when.
    running: Option<(u32, Pin<Box<Sleep>>)>,
}

impl Clock {
    pub(super) fn new(head: Duration, idle: Duration) -> Clock {
        Clock { head, idle, running: None }
    }

    /// Nothing has come; ready when that has been so for too long.
    pub(super) fn poll(&mut self, pace: &Pace, context: &mut Context<'_>) -> Poll<()> {
        let stage = pace.0.load(Relaxed);
        let limit = match stage & STAGE {
            HEAD => self.head,
            IDLE => self.idle,
            _ => return Poll::Pending,
        };
        match &mut self.running {
            Some((running, _)) if *running == stage => {}
            Some((running, sleep)) => {
                *running = stage;
                sleep.as_mut().reset(Instant::now() + limit);
            }
            none => *none = Some((stage, Box::pin(sleep(limit)))),
        }
        self.running.as_mut().map_or(Poll::Pending, |(_, sleep)| sleep.as_mut().poll(context))
    }
}

/// The body of an answer.
pub(in crate::server) struct Answer {
    body: Body,
    _given: Given,
}

struct Given(Pace);

impl Drop for Given {
    fn drop(&mut self) {
        self.0.pass(BUSY, GIVEN);
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
