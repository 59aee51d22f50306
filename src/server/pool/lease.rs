//! What is borrowed of the pool: an executor for a request, a database without executors.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::{Executor, Pool, Target};
use crate::postgres::worker;
use crate::server::local::Local;

/// A database without executors, for as long as this lives.
pub(in crate::server) struct Hold {
    pub(super) pool: Arc<Pool>,
    pub(super) database: String,
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.pool.happened(|state| state.machine.unhold(&self.database, Instant::now()));
    }
}

/// A borrowed executor. Dropped in the middle of a request, it is cancelled, and goes back once it has answered.
pub(crate) struct Lease {
    pub(super) executor: Option<Executor>,
    pub(super) pool: Arc<Pool>,
    /// A request was sent and its answer not yet read.
    pub(in crate::server) midway: bool,
    /// Of a lease that is meant to last.
    pub(super) recall: Option<Arc<Recall>>,
}

/// What the pool and the holder of a long lease tell each other.
#[derive(Default)]
pub(super) struct Recall {
    asked: AtomicBool,
    told: Notify,
}

impl Recall {
    pub(super) fn is_asked(&self) -> bool {
        self.asked.load(Relaxed)
    }

    pub(super) fn ask(&self) {
        self.asked.store(true, Relaxed);
        // Kept for one who is not listening yet.
        self.told.notify_one();
    }
}

/// How long a cancelled executor may take to answer before its process is ended.
pub(in crate::server) const CANCEL_PATIENCE: Duration = Duration::from_secs(5);

impl Lease {
    /// The executor's number.
    pub(in crate::server) fn id(&self) -> Option<u64> {
        self.executor.as_ref().map(|executor| executor.id)
    }

    /// Its process; 0 if there is none.
    pub(in crate::server) fn pid(&self) -> i32 {
        self.executor.as_ref().map_or(0, |executor| executor.pid)
    }

    pub(in crate::server) fn stream(&self) -> Option<&Local> {
        self.executor.as_ref().map(|executor| &executor.stream)
    }

    /// The lease is to last for many requests: it is given back as soon as may be after [`Lease::wanted_back`].
    pub(in crate::server) fn hold_long(&mut self) {
        let Some(executor) = &self.executor else { return };
        if self.recall.is_none() {
            let recall = Arc::new(Recall::default());
            self.pool.lend_for_long(executor.id, recall.clone());
            self.recall = Some(recall);
        }
    }

    /// A long lease was used just now. Those that were not for longest are asked back first.
    pub(in crate::server) fn touch(&self) {
        if let (Some(executor), Some(_)) = (&self.executor, &self.recall) {
            self.pool.touched(executor.id);
        }
    }

    /// Resolves when somebody waits whom the end of this lease would serve; never for a lease that is not a long one.
    pub(in crate::server) async fn wanted_back(&self) {
        match &self.recall {
            Some(recall) if recall.is_asked() => {}
            Some(recall) => recall.told.notified().await,
            None => std::future::pending().await,
        }
    }

    /// How long somebody has been waiting for an executor of this target.
    pub(in crate::server) fn waited_for(&self, target: &Target) -> Duration {
        self.pool.lock().machine.waited(target, Instant::now())
    }

    /// It is of no more use: its process ended or its socket is in an unknown state.
    pub(in crate::server) fn discard(mut self) {
        if let Some(executor) = self.executor.take() {
            self.pool.lost(&executor);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(executor) = self.executor.take() else { return };
        let pool = self.pool.clone();
        let is_long = self.recall.is_some();
        if !self.midway {
            pool.give_back(executor, is_long);
            return;
        }
        worker::cancel(executor.pid);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let answered =
                    tokio::time::timeout(CANCEL_PATIENCE, crate::server::broker::skip_answer(&executor.stream)).await;
                if matches!(answered, Ok(Ok(()))) {
                    pool.give_back(executor, is_long);
                } else {
                    worker::terminate(executor.pid);
                    pool.lost(&executor);
                }
            });
        } else {
            pool.lost(&executor);
        }
    }
}
