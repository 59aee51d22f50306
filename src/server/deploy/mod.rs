//! Deployments from above: one at a time per database, prepared and recorded in the control database, carried out by executors.

mod answer;
mod gate;
mod one;
mod record;
mod template;
mod tenants;

use std::sync::Arc;
use std::time::Instant;

use stonescriptdb_protocol::{
    Asked, ControlRequest, DatabaseOutcome, DeployMode, DeployOptions, ExecutorRequest, Failure, MAIN_TENANT, Prepare,
    Prepared, Refused,
};

use super::pool::Target;
use super::{App, broker};
pub(super) use answer::partial_body;
pub(crate) use gate::Gates;
use gate::{Pass, enter};
use one::OneDatabase;
use record::Unfinished;
use template::Bundles;
pub(super) use tenants::{check, create_tenant, drop_tenant, list_databases};

/// What was asked.
pub(super) struct Deployment {
    pub(super) mode: DeployMode,
    /// The bundle; `None` takes the platform's newest.
    pub(super) archive: Option<Vec<u8>>,
    pub(super) platform: Option<String>,
    pub(super) tenant: Option<String>,
    pub(super) options: DeployOptions,
    pub(super) asked: Asked,
    /// An existing database is an error.
    pub(super) must_be_new: bool,
}

/// What came of it.
pub(super) struct Done {
    mode: DeployMode,
    deployment_id: String,
    warnings: Vec<String>,
    outcomes: Vec<DatabaseOutcome>,
    dry_run: bool,
    started: Instant,
}

/// Carries out a deployment to its end and its record. Dropped on the way (a cancelled statement, a client that left), the executor's
/// work is cancelled and rolled back, and the record says so.
///
/// # Errors
/// The first database's own failure, or what was wrong before any database was touched.
pub(super) async fn run(app: &Arc<App>, deployment: Deployment) -> Result<Done, Failure> {
    let started = Instant::now();
    let _ = app.reconciled.subscribe().wait_for(|done| *done).await;
    let deployment_id = uuid::Uuid::now_v7().to_string();
    let mode = deployment.mode;
    let dry_run = deployment.options.dry_run;
    let platform = match (&deployment.platform, &deployment.archive) {
        (None, Some(archive)) => {
            let identify = ExecutorRequest::Control(ControlRequest::Identify { archive: archive.clone() });
            broker::request(app, &control_target(app), &identify).await?
        }
        (platform, _) => platform.clone(),
    };
    let gate = gate_name(platform.as_deref(), deployment.tenant.as_deref());
    let pass = enter(app, &gate, &deployment_id).await?;
    let prepare = Prepare {
        mode,
        archive: deployment.archive.clone(),
        platform: platform.clone(),
        tenant: deployment.tenant.clone(),
        must_be_new: deployment.must_be_new,
        options: deployment.options.clone(),
        asked: deployment.asked.clone(),
        deployment_id: deployment_id.clone(),
    };
    let (prepared, unfinished) = match prepare_to_the_end(app, prepare, pass).await {
        Ok(prepared) => prepared,
        Err(failure) => {
            let refused = Refused {
                deployment_id: deployment_id.clone(),
                mode,
                platform: platform.unwrap_or_default(),
                tenant: deployment.tenant,
                options: deployment.options,
                asked: deployment.asked,
                failure: failure.clone(),
            };
            let record = ExecutorRequest::Control(ControlRequest::Refused(refused));
            if let Err(second) = broker::request::<()>(app, &control_target(app), &record).await {
                app.main.log(format!("a refused deployment could not be recorded: {}", second.message));
            }
            return Err(Failure { deployment_id: Some(deployment_id), ..failure });
        }
    };
    let bundles = Bundles::new(app, &prepared, deployment.archive);
    let mut outcomes = Vec::new();
    let mut stopped = false;
    for database in &prepared.databases {
        let begun = Instant::now();
        let result = if stopped {
            None
        } else {
            // The one of the gate passed above is open to this deployment already.
            let pass = match database.name == gate {
                true => Ok(None),
                false => enter(app, &database.name, &deployment_id).await.map(Some),
            };
            let task = OneDatabase {
                app,
                prepared: &prepared,
                bundles: &bundles,
                database,
                mode,
                options: &deployment.options,
                deployment_id: &deployment_id,
            };
            Some(match pass {
                Ok(_pass) => {
                    task.run().await.map_err(|failure| Failure { database: Some(database.name.clone()), ..failure })
                }
                Err(failure) => Err(failure),
            })
        };
        stopped |= matches!(result, Some(Err(_))) && !deployment.options.continue_on_error;
        outcomes.push(DatabaseOutcome {
            database: database.name.clone(),
            created: database.created,
            bundle_sha256: database.bundle.and_then(|place| prepared.bundles.get(place)).map(|b| b.key.sha256.clone()),
            result,
            duration_ms: begun.elapsed().as_secs_f64() * 1000.0,
        });
    }
    drop(bundles);
    unfinished.finish(outcomes.clone(), dry_run).await?;
    template::sweep(app, &prepared.platform);
    Ok(Done { mode, deployment_id, warnings: prepared.warnings, outcomes, dry_run, started })
}

/// The first half, in a task of its own: it is not cancelled halfway, and if nobody waits for its result any more, what it made is taken
/// back.
async fn prepare_to_the_end(app: &Arc<App>, prepare: Prepare, pass: Pass) -> Result<(Prepared, Unfinished), Failure> {
    let app = app.clone();
    let task = tokio::spawn(async move {
        let deployment_id = prepare.deployment_id.clone();
        let request = ExecutorRequest::Control(ControlRequest::Prepare(prepare));
        let prepared: Prepared = broker::request(&app, &control_target(&app), &request).await?;
        let unfinished =
            Unfinished { app, deployment_id, databases: prepared.databases.clone(), open: true, pass: Some(pass) };
        Ok((prepared, unfinished))
    });
    task.await.map_err(|_| Failure::internal("the preparation of a deployment failed"))?
}

/// Deployments of one tenant wait for each other, and so do those of all tenants of a platform.
fn gate_name(platform: Option<&str>, tenant: Option<&str>) -> String {
    let platform = stonescriptdb_protocol::sanitise(platform.unwrap_or_default());
    let tenant = if stonescriptdb_protocol::is_main(tenant) { None } else { tenant };
    format!("{platform}_{}", tenant.map_or_else(|| MAIN_TENANT.to_owned(), stonescriptdb_protocol::sanitise))
}

fn control_target(app: &App) -> Arc<Target> {
    Arc::new(Target { database: app.settings().database.as_str().into(), role: None })
}

/// After a start: what an interrupted deployment left half built is dropped.
pub(super) async fn reconcile(app: &Arc<App>) {
    let request = ExecutorRequest::Control(ControlRequest::Reconcile);
    match broker::request::<Vec<String>>(app, &control_target(app), &request).await {
        Ok(dropped) => dropped.iter().for_each(|name| {
            app.main
                .log(format!("dropped the database \"{name}\", which an interrupted deployment had left half built"));
        }),
        Err(failure) => app.main.log(format!("the registry could not be checked after the start: {}", failure.message)),
    }
    app.reconciled.send_replace(true);
    app.main.read_registry().await;
}
