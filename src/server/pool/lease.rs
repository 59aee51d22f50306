//! What is borrowed of the pool: an executor for a request, a database without executors.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixStream;

use super::{Executor, Pool, Target};
use crate::postgres::worker;

/// A database without executors, for as long as this lives.
pub(in crate::server) struct Hold {
    pub(super) pool: Arc<Pool>,
    pub(super) database: String,
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut state = self.pool.lock();
        if let Some(count) = state.held.get_mut(&self.database) {
            *count -= 1;
            if *count == 0 {
                state.held.remove(&self.database);
            }
        }
        let targets: Vec<Arc<Target>> =
            state.lanes.keys().filter(|target| *target.database == *self.database).cloned().collect();
        targets.iter().for_each(|target| state.start_if_needed(target, &self.pool.main));
    }
}

/// A borrowed executor. Dropped in the middle of a request, it is cancelled, and goes back once it has answered.
pub(crate) struct Lease {
    pub(super) executor: Option<Executor>,
    pub(super) pool: Arc<Pool>,
    /// A request was sent and its answer not yet read.
    pub(in crate::server) midway: bool,
}

/// How long a cancelled executor may take to answer before its process is ended.
const CANCEL_PATIENCE: Duration = Duration::from_secs(5);

impl Lease {
    pub(in crate::server) fn stream(&self) -> Option<&UnixStream> {
        self.executor.as_ref().map(|executor| &executor.stream)
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
        if !self.midway {
            pool.give_back(executor);
            return;
        }
        worker::cancel(executor.pid);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let answered =
                    tokio::time::timeout(CANCEL_PATIENCE, crate::server::broker::skip_answer(&executor.stream)).await;
                if matches!(answered, Ok(Ok(()))) {
                    pool.give_back(executor);
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
