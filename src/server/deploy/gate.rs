//! One deployment of a tenant at a time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use stonescriptdb_protocol::{ErrorCode, Failure};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use crate::server::App;

/// One gate per platform's tenant, so that two deployments of it wait for each other whether or not its database exists yet.
#[derive(Default)]
pub(crate) struct Gates {
    gates: Mutex<HashMap<String, Arc<Gate>>>,
}

#[derive(Default)]
struct Gate {
    lock: Arc<AsyncMutex<()>>,
    /// The deployment that is inside.
    holder: Mutex<String>,
}

impl Gates {
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
        Err(_) => Err(Failure {
            deployment_id: Some(holder(&gate)),
            ..Failure::new(ErrorCode::DeploymentInProgress, format!("another deployment of \"{database}\" is running"))
                .hint("Wait for it, or raise stonescriptdb.deploy_wait.")
                .database(database)
        }),
    }
}
