//! Deployments from above: one at a time per database, prepared and recorded in the control database, carried out by executors.

mod answer;
mod template;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stonescriptdb_protocol::{
    AdoptRequest, Asked, ControlRequest, DatabaseOutcome, DatabaseRow, DeployAnswer, DeployMode, DeployOptions,
    DeployReport, DeployRequest, DriftRow, ErrorCode, ExecutorRequest, Failure, Finish, MAIN_TENANT, Prepare, Prepared,
    PreparedDatabase, Refused, Start,
};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use super::pool::Target;
use super::{App, broker};

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
struct Pass {
    _guard: OwnedMutexGuard<()>,
    _gate: Arc<Gate>,
}

async fn enter(app: &App, database: &str, deployment_id: &str) -> Result<Pass, Failure> {
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

pub(super) use answer::partial_body;
use template::Bundles;

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

/// A database that was taken over from a standalone gateway. Unless it is kept it is given back, whatever happens on the way.
struct Adopted {
    app: Arc<App>,
    elevated: Arc<Target>,
    /// What gives the objects back.
    statements: Vec<String>,
    /// The owner of the database before; none while it is still its owner.
    owner: Option<String>,
    kept: bool,
}

impl Adopted {
    async fn end(mut self) {
        if !std::mem::replace(&mut self.kept, true) {
            self.give_back().await;
        }
    }

    async fn give_back(&self) {
        let objects = ExecutorRequest::GiveBack(self.statements.clone());
        let mut result = broker::request::<()>(&self.app, &self.elevated, &objects).await;
        if let (Some(owner), true) = (&self.owner, result.is_ok()) {
            let database = self.elevated.database.to_string();
            let give = ControlRequest::AdoptDatabase { database, owner_role: owner.clone() };
            let control = control_target(&self.app);
            result = broker::request::<String>(&self.app, &control, &ExecutorRequest::Control(give)).await.map(drop);
        }
        if let Err(failure) = result {
            self.app.main.log(format!(
                "the database \"{}\" could not be given back to its owner: {}",
                self.elevated.database, failure.message
            ));
        }
    }
}

impl Drop for Adopted {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        let again = Adopted {
            app: self.app.clone(),
            elevated: self.elevated.clone(),
            statements: std::mem::take(&mut self.statements),
            owner: self.owner.take(),
            kept: false,
        };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(again.end());
        }
    }
}

/// Who holds the locks is not asked for more often than this.
const SHORTEST_WATCH: Duration = Duration::from_millis(50);

/// What is done in one database.
struct OneDatabase<'a> {
    app: &'a Arc<App>,
    prepared: &'a Prepared,
    bundles: &'a Bundles<'a>,
    database: &'a PreparedDatabase,
    mode: DeployMode,
    options: &'a DeployOptions,
    deployment_id: &'a str,
}

impl OneDatabase<'_> {
    async fn run(&self) -> Result<DeployReport, Failure> {
        let Some(place) = self.database.bundle else { return Ok(DeployReport::default()) };
        if !self.database.adopted {
            return self.deploy(place).await;
        }
        // Proved before the database is touched.
        self.bundles.proved(place).await?;
        let mut adopted = self.adopt().await?;
        let result = self.deploy(place).await;
        adopted.kept = result.is_ok() && !self.options.dry_run;
        adopted.end().await;
        result
    }

    async fn deploy(&self, place: usize) -> Result<DeployReport, Failure> {
        let start = match self.database.created {
            true => self.bundles.create_database(place, &self.database.name).await?,
            false => Start::Existing,
        };
        let proved = self.bundles.proved(place).await?;
        let mut request = DeployRequest {
            bundle_sha256: self.bundles.key(place).sha256,
            archive: (start == Start::Cloned).then(|| self.bundles.archive(place)),
            proof: None,
            seeds: proved.seeds.clone(),
            summary: proved.summary,
            fingerprint: proved.fingerprint.clone(),
            mode: self.mode,
            start,
            call_role: self.prepared.call_role.clone(),
            options: self.options.clone(),
            deployment_id: self.deployment_id.to_owned(),
        };
        let owner = self.target(Some(&self.prepared.owner_role));
        // Whether there is anything to do is asked first: the proof is large.
        if !self.options.verify && start != Start::Empty {
            let ask = ExecutorRequest::Deploy(request);
            if let DeployAnswer::Done(report) = broker::request(self.app, &owner, &ask).await? {
                return Ok(*report);
            }
            let ExecutorRequest::Deploy(asked) = ask else { return Err(Failure::internal("a request has changed")) };
            request = asked;
        }
        request.archive = Some(self.bundles.archive(place));
        request.proof = Some(self.bundles.proof(place).await?);
        let installed = self.install_extensions(place).await?;
        match self.watched(&owner, &ExecutorRequest::Deploy(request)).await {
            Ok(DeployAnswer::Done(mut report)) => {
                report.extensions_installed += u32::try_from(installed.len()).unwrap_or(u32::MAX);
                Ok(*report)
            }
            Ok(DeployAnswer::NeedsProof) => Err(Failure::internal("a proof was sent and is asked for")),
            Err(failure) => {
                self.take_back(installed).await;
                Err(failure)
            }
        }
    }

    /// Sends the request and looks meanwhile who is in its way: when it has failed for a lock, nobody can tell any more.
    async fn watched(&self, owner: &Arc<Target>, request: &ExecutorRequest) -> Result<DeployAnswer, Failure> {
        let interval = (self.app.settings().deploy_lock_timeout / 3).max(SHORTEST_WATCH);
        let mut holders: Option<String> = None;
        let work = broker::request::<DeployAnswer>(self.app, owner, request);
        tokio::pin!(work);
        let result = loop {
            tokio::select! {
                result = &mut work => break result,
                () = tokio::time::sleep(interval) => {
                    let look = ControlRequest::Blockers {
                        database: self.database.name.clone(),
                        role: self.prepared.owner_role.clone(),
                    };
                    let (control, look) = (control_target(self.app), ExecutorRequest::Control(look));
                    let found = broker::request::<Option<String>>(self.app, &control, &look);
                    tokio::select! {
                        result = &mut work => break result,
                        found = found => holders = found.ok().flatten().or(holders),
                    }
                }
            }
        };
        result.map_err(|failure| match (&failure.code, holders) {
            (ErrorCode::LockTimeout, Some(holders)) => failure.detail(format!("Held by {holders}.")),
            _ => failure,
        })
    }

    fn target(&self, role: Option<&str>) -> Arc<Target> {
        Arc::new(Target { database: self.database.name.as_str().into(), role: role.map(Into::into) })
    }

    /// A standalone gateway's database becomes the platform's: its objects first, which also tells whether it is one. If the deployment does
    /// not succeed, or was for show, all of it is taken back.
    async fn adopt(&self) -> Result<Adopted, Failure> {
        let adopt =
            AdoptRequest { owner_role: self.prepared.owner_role.clone(), call_role: self.prepared.call_role.clone() };
        let elevated = self.target(None);
        let statements = broker::request(self.app, &elevated, &ExecutorRequest::Adopt(adopt)).await?;
        let mut adopted = Adopted { app: self.app.clone(), elevated, statements, owner: None, kept: false };
        let take = ControlRequest::AdoptDatabase {
            database: self.database.name.clone(),
            owner_role: self.prepared.owner_role.clone(),
        };
        let control = control_target(self.app);
        adopted.owner = Some(broker::request(self.app, &control, &ExecutorRequest::Control(take)).await?);
        Ok(adopted)
    }

    async fn install_extensions(&self, place: usize) -> Result<Vec<String>, Failure> {
        let wanted = self.bundles.elevated_extensions(place);
        if wanted.is_empty() || self.options.dry_run {
            return Ok(Vec::new());
        }
        broker::request(self.app, &self.target(None), &ExecutorRequest::InstallExtensions(wanted)).await
    }

    async fn take_back(&self, installed: Vec<String>) {
        if installed.is_empty() || self.database.created {
            return;
        }
        let request = ExecutorRequest::DropExtensions(installed);
        if let Err(error) = broker::request::<()>(self.app, &self.target(None), &request).await {
            self.app.main.log(format!(
                "an extension could not be dropped again in \"{}\": {}",
                self.database.name, error.message
            ));
        }
    }
}

/// A deployment that is prepared. If its owner goes away before the end (a cancelled statement, a client that left), it is recorded as
/// interrupted, and databases that were made for it are dropped.
struct Unfinished {
    app: Arc<App>,
    deployment_id: String,
    databases: Vec<PreparedDatabase>,
    open: bool,
    /// Kept until the record is written.
    pass: Option<Pass>,
}

impl Unfinished {
    async fn finish(mut self, outcomes: Vec<DatabaseOutcome>, dry_run: bool) -> Result<(), Failure> {
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

/// `create_tenant`: a new database with the platform's newest bundle.
pub(super) async fn create_tenant(
    app: &Arc<App>,
    platform: String,
    tenant: String,
    asked: Asked,
) -> Result<Value, Failure> {
    // An unknown platform is told before anything else.
    app.registry().platform(&platform)?;
    let deployment = Deployment {
        mode: DeployMode::Register,
        archive: None,
        platform: Some(platform),
        tenant: Some(tenant),
        options: DeployOptions::default(),
        asked,
        must_be_new: true,
    };
    let body = run(app, deployment).await?.into_body()?;
    let database = body.get("database").cloned().unwrap_or_default();
    Ok(json!({
        "status": "created",
        "message": format!("the database {database} is ready"),
        "database": database,
        "deployment_id": body.get("deployment_id"),
    }))
}

/// `GET /admin/databases`: a platform's databases with their sizes.
pub(super) async fn list_databases(app: &App, platform: &str) -> Result<Value, Failure> {
    let name = app.registry().platform(platform)?.name.clone();
    let list = ExecutorRequest::Control(ControlRequest::ListDatabases { platform: name.clone() });
    let databases: Vec<DatabaseRow> = broker::request(app, &control_target(app), &list).await?;
    let rows: Vec<Value> = databases
        .iter()
        .map(|row| json!({"name": row.name, "type": if row.tenant == MAIN_TENANT { "main" } else { "tenant" }, "size_mb": row.size_mb}))
        .collect();
    Ok(json!({"platform": name, "databases": rows, "count": rows.len()}))
}

/// `drop_tenant`: the end of a tenant and its data.
pub(super) async fn drop_tenant(app: &Arc<App>, platform: &str, tenant: &str, confirm: &str) -> Result<Value, Failure> {
    // A rename of a moment ago must be known: what is dropped is dropped by its name.
    app.main.read_registry().await;
    let database = app.registry().target(platform, Some(tenant))?.database.to_string();
    if confirm != database {
        return Err(Failure::new(ErrorCode::InvalidRequest, "the confirmation is not the database's name")
            .detail(format!("The tenant's database is \"{database}\", the confirmation was \"{confirm}\"."))
            .database(database));
    }
    let _gate = enter(app, &database, "drop_tenant").await?;
    let hold = app.pool.hold(&database).await;
    let request = ExecutorRequest::Control(ControlRequest::DropTenant { database: database.clone() });
    let result: Result<(), Failure> = broker::request(app, &control_target(app), &request).await;
    drop(hold);
    app.main.read_registry().await;
    result.map(|()| json!({"status": "dropped", "database": database}))
}

/// `check` and the view `drift`: how databases differ from their bundles.
pub(super) async fn check(app: &App, platform: Option<&str>, tenant: Option<&str>) -> Result<Value, Failure> {
    let registry = app.registry();
    let mut rows = Vec::new();
    for (name, tenant, owner) in registry.owned(platform, tenant)? {
        let load = ControlRequest::LoadProofOf { database: owner.database.to_string() };
        let proof: Option<String> = broker::request(app, &control_target(app), &ExecutorRequest::Control(load)).await?;
        let Some(proof) = proof else { continue };
        let found = broker::request::<Vec<DriftRow>>(app, &owner, &ExecutorRequest::Check { proof }).await?;
        rows.extend(found.into_iter().map(|row| {
            json!({"platform": name, "tenant_id": tenant, "database": &*owner.database, "kind": row.kind, "object": row.object,
                   "deviation": row.deviation, "detail": row.detail})
        }));
    }
    Ok(Value::from(rows))
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
