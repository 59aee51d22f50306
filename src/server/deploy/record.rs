//! The record of a deployment, whoever waits for its end.

use std::sync::Arc;

use stonescriptdb_protocol::{
    ControlRequest, DatabaseOutcome, ErrorCode, ExecutorRequest, Failure, Finish, PreparedDatabase,
};

use super::control_target;
use super::gate::Pass;
use crate::server::{App, broker};

/// A deployment that is prepared. If its owner goes away before the end (a cancelled statement, a client that left), it is recorded as
/// interrupted, and databases that were made for it are dropped.
pub(super) struct Unfinished {
    pub(super) app: Arc<App>,
    pub(super) deployment_id: String,
    pub(super) databases: Vec<PreparedDatabase>,
    pub(super) open: bool,
    /// Kept until the record is written.
    pub(super) pass: Option<Pass>,
}

impl Unfinished {
    pub(super) async fn finish(mut self, outcomes: Vec<DatabaseOutcome>, dry_run: bool) -> Result<(), Failure> {
        let unfinished = |outcome: &DatabaseOutcome| matches!(&outcome.result, Some(Ok(report)) if report.unfinished);
        let state = match () {
            () if dry_run => "planned",
            () if outcomes.iter().all(|outcome| matches!(outcome.result, Some(Ok(_)))) => {
                if outcomes.iter().any(unfinished) { "completed_with_warnings" } else { "completed" }
            }
            () if outcomes.iter().any(|outcome| matches!(outcome.result, Some(Ok(_)))) => "partial",
            () => "failed",
        };
        let finish = Finish { deployment_id: self.deployment_id.clone(), state: state.to_owned(), outcomes };
        // What is done is done: from here on nobody who leaves can make it undone.
        self.open = false;
        let (app, pass) = (self.app.clone(), self.pass.take());
        let task = tokio::spawn(async move {
            let result = record(&app, finish).await;
            drop(pass);
            result
        });
        task.await.map_err(|_| Failure::internal("the record of a deployment failed"))?
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.open {
            return;
        }
        let outcomes = self
            .databases
            .iter()
            .map(|database| DatabaseOutcome {
                database: database.name.clone(),
                created: database.created,
                bundle_sha256: None,
                result: Some(Err(Failure::new(ErrorCode::QueryFailed, "the deployment was cancelled"))),
                duration_ms: 0.0,
            })
            .collect();
        let finish =
            Finish { deployment_id: std::mem::take(&mut self.deployment_id), state: "cancelled".to_owned(), outcomes };
        let app = self.app.clone();
        let pass = self.pass.take();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Err(failure) = record(&app, finish).await {
                    app.main.log(format!("a cancelled deployment could not be recorded: {}", failure.message));
                }
                drop(pass);
            });
        }
    }
}

/// Writes the record; databases that are to be dropped are freed of executors first.
async fn record(app: &Arc<App>, finish: Finish) -> Result<(), Failure> {
    let mut holds = Vec::new();
    for outcome in &finish.outcomes {
        if outcome.created && !matches!(outcome.result, Some(Ok(_))) {
            holds.push(app.pool.hold(&outcome.database).await);
        }
    }
    let request = ExecutorRequest::Control(ControlRequest::Finish(finish));
    let result = broker::request(app, &control_target(app), &request).await;
    drop(holds);
    app.main.read_registry().await;
    result
}
