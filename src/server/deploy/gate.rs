//! One deployment of a tenant at a time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use stonescriptdb_protocol::{ErrorCode, Failure};
use tokio::sync::{Mutex as AsyncMutex, Notify, OwnedMutexGuard};

use crate::server::App;

/// One gate per platform's tenant, so that two deployments of it wait for each other whether or not its database exists yet.
#[derive(Default)]
pub(crate) struct Gates {
    gates: Mutex<HashMap<String, Arc<Gate>>>,
    /// Databases that are deployed to now, whichever deployments they belong to.
    busy: Mutex<usize>,
    freed: Notify,
}

/// The right to deploy to a database now.
pub(super) struct Slot<'g>(&'g Gates);

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        let mut busy = self.0.busy.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *busy = busy.saturating_sub(1);
        self.0.freed.notify_one();
    }
}

#[derive(Default)]
struct Gate {
    lock: Arc<AsyncMutex<()>>,
    /// The deployment that is inside.
    holder: Mutex<String>,
}

impl Gates {
    /// Waits until fewer than a quarter of the executors are at work for deployments: each may need two, and calls keep the others.
    pub(super) async fn slot(&self, max_workers: usize) -> Slot<'_> {
        let most = (max_workers / 4).max(1);
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            // Before the look, so that what is freed behind it is not missed.
            freed.as_mut().enable();
            {
                let mut busy = self.busy.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                if *busy < most {
                    *busy += 1;
                    return Slot(self);
                }
            }
            freed.await;
        }
    }

    fn of(&self, name: &str) -> Arc<Gate> {
        let mut gates = self.gates.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // Gates that nobody holds or waits for are not kept.
        gates.retain(|_, gate| Arc::strong_count(gate) > 1 || gate.lock.try_lock().is_err());
        gates.entry(name.to_owned()).or_default().clone()
    }
}

/// Inside a gate.
pub(super) struct Pass {
    _guard: OwnedMutexGuard<()>,
    _gate: Arc<Gate>,
}

pub(super) async fn enter(app: &App, database: &str, deployment_id: &str) -> Result<Pass, Failure> {
    let gate = app.deployments.of(database);
    let holder = |gate: &Gate| gate.holder.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
    match tokio::time::timeout(app.settings().deploy_wait, gate.lock.clone().lock_owned()).await {
        Ok(guard) => {
            deployment_id.clone_into(&mut gate.holder.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
            Ok(Pass { _guard: guard, _gate: gate })
        }
        Err(_) => {
            let id = holder(&gate);
            // The gate of a schema has a blank in its name, for no database's has.
            let (what, is_database) = match database.split_once(' ') {
                Some((platform, "")) => (format!("the platform \"{platform}\""), false),
                Some((platform, schema)) => (format!("the schema \"{schema}\" of the platform \"{platform}\""), false),
                None => (format!("\"{database}\""), true),
            };
            let failure =
                Failure::new(ErrorCode::DeploymentInProgress, format!("another deployment of {what} is running"))
                    .detail(format!("It is the deployment {id}."))
                    .hint("Wait for it, or raise stonescriptdb.deploy_wait.");
            let failure = if is_database { failure.database(database) } else { failure };
            Err(Failure { deployment_id: Some(id), ..failure })
        }
    }
}
