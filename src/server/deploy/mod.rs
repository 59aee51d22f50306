//! Deployments from above: one at a time per database, prepared and recorded in the control database, carried out by executors.

mod answer;
mod check;
mod fleet;
mod follow;
mod gate;
mod job;
mod life;
mod living;
mod one;
mod template;
mod tenants;
mod touched;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use stonescriptdb_protocol::{
    Archive, ControlRequest, Counts, DatabaseOutcome, DeployMode, Deployment, ErrorCode, ExecutorRequest, Failure,
    Finish, Outcome, Prepared, Refused, Selection,
};
use stonescriptdb_schema::Loss;

use super::http::shortened;
use super::pool::Target;
use super::{App, broker};
pub(super) use answer::partial_body;
pub(super) use check::check;
use fleet::Fleet;
pub(crate) use follow::Follow;
pub(super) use follow::follow;
pub(crate) use gate::Gates;
use gate::{Pass, enter};
pub(crate) use job::Jobs;
use job::Waiting;
pub(super) use job::was_cancelled;
pub(super) use job::{Closed, ENDS, Event, Job};
pub(super) use life::{issue_token, list, look, note_tokens_used, revoke_token, rotate_token, tenant_verb};
use template::Bundles;
pub(super) use tenants::{cancel, create_tenant, drop_tenant, status, upload};
pub(super) use touched::flush as flush_touched;

/// How often it is looked whether the extension has been brought to this library's version, and a standby been promoted.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// A deployment that is to be taken up again.
pub(super) struct Again {
    pub(super) deployment_id: String,
    /// The databases that failed; otherwise those that are not done.
    pub(super) failed: bool,
}

/// What a job begins with.
enum Begin {
    New(Box<Deployment>),
    Again(Again),
}

/// What came of it.
pub(super) struct Done {
    mode: DeployMode,
    deployment_id: String,
    platform: String,
    schema: String,
    is_single: bool,
    warnings: Vec<String>,
    outcomes: Vec<DatabaseOutcome>,
    /// Of a deployment that was taken up again: all its databases as recorded, of which this time only some had their turn.
    recorded: Option<serde_json::Value>,
    counts: Counts,
    dry_run: bool,
    started: Instant,
}

/// A deployment that was begun.
pub(super) struct Begun {
    pub(super) job: Arc<Job>,
    /// Dropped before the end, it cancels the deployment.
    waiting: Waiting,
    work: tokio::task::JoinHandle<Result<Done, Failure>>,
    prepared: tokio::sync::oneshot::Receiver<usize>,
}

impl Begun {
    /// Waits for the end. Dropped on the way (a cancelled statement, a client that left), the executors' work is cancelled and rolled back,
    /// and the record says so.
    ///
    /// # Errors
    /// What was wrong before any database was touched.
    pub(super) async fn done(self) -> Result<Done, Failure> {
        let result = self.work.await.map_err(|_| Failure::internal("a deployment came to no end"))?;
        drop(self.waiting);
        result
    }

    /// Leaves it to itself once it is prepared; gives the number of its databases.
    ///
    /// # Errors
    /// As [`Begun::done`].
    pub(super) async fn left_to_itself(self) -> Result<usize, Failure> {
        match self.prepared.await {
            Ok(databases) => {
                self.job.detach();
                Ok(databases)
            }
            // It ended before, and says why.
            Err(_) => {
                let result = self.work.await.map_err(|_| Failure::internal("a deployment came to no end"))?;
                result.map(|done| done.outcomes.len())
            }
        }
    }
}

/// Carries out a deployment to its end and its record.
///
/// # Errors
/// As [`Begun::done`].
pub(super) async fn run(app: &Arc<App>, deployment: Deployment) -> Result<Done, Failure> {
    begin(app, deployment)?.done().await
}

/// Begins a deployment.
///
/// # Errors
/// `pool_exhausted` if as many run or wait as may; `invalid_request` for a kind of change in `allow` that there is not.
pub(super) fn begin(app: &Arc<App>, deployment: Deployment) -> Result<Begun, Failure> {
    require_known(&deployment.options.allow)?;
    let most = app.settings().max_deployments;
    // An id that was made this moment is nobody's.
    let job = loop {
        if let Some(job) = app.jobs.enter(&uuid::Uuid::now_v7().to_string(), most)? {
            break job;
        }
    };
    Ok(spawn(app, job, Begin::New(Box::new(deployment))))
}

/// What is misspelt would otherwise be noticed only when the change that it was to allow is refused.
fn require_known(allow: &[String]) -> Result<(), Failure> {
    let words = Loss::ALL.map(Loss::word);
    match allow.iter().find(|allowed| !words.contains(&allowed.as_str())) {
        None => Ok(()),
        Some(unknown) => Err(Failure::new(
            ErrorCode::InvalidRequest,
            format!("allow names kinds of changes ({}), not \"{}\"", words.join(", "), shortened(unknown)),
        )),
    }
}

/// The id of a deployment that runs for the same databases.
pub(super) fn running_like(app: &App, deployment: &Deployment) -> Option<String> {
    let gate = gate_name(deployment.platform.as_deref(), deployment.schema.as_deref(), &deployment.selection);
    app.jobs.at(&gate).map(|job| job.id.clone())
}

/// Takes a deployment up again.
///
/// # Errors
/// `deployment_in_progress` while it runs; `pool_exhausted` as [`begin`].
pub(super) fn begin_again(app: &Arc<App>, again: Again) -> Result<Begun, Failure> {
    match app.jobs.enter(&again.deployment_id, app.settings().max_deployments)? {
        Some(job) => Ok(spawn(app, job, Begin::Again(again))),
        None => Err(Failure {
            deployment_id: Some(again.deployment_id),
            ..Failure::new(ErrorCode::DeploymentInProgress, "the deployment is running")
        }),
    }
}

fn spawn(app: &Arc<App>, job: Arc<Job>, begin: Begin) -> Begun {
    let (tell, prepared) = tokio::sync::oneshot::channel();
    let work = tokio::spawn({
        let (app, job) = (app.clone(), job.clone());
        async move {
            let mut running = Running { app, job, counts: None };
            let result = carry_out(&running.app, &running.job, begin, tell).await;
            running.counts = result.as_ref().ok().map(|done| done.counts.clone());
            result
        }
    });
    Begun { waiting: Waiting(job.clone()), job, work, prepared }
}

/// A job that is known as running for as long as this lives, however it ends.
struct Running {
    app: Arc<App>,
    job: Arc<Job>,
    counts: Option<Counts>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let failed = || Counts { state: "failed".to_owned(), ..self.job.counts() };
        let counts = self.counts.take().unwrap_or_else(failed);
        self.app.jobs.leave(&self.job, counts);
    }
}

async fn carry_out(
    app: &Arc<App>,
    job: &Arc<Job>,
    begin: Begin,
    tell: tokio::sync::oneshot::Sender<usize>,
) -> Result<Done, Failure> {
    let started = Instant::now();
    app.require_writable()?;
    let _ = app.reconciled.subscribe().wait_for(|done| *done).await;
    let is_again = matches!(begin, Begin::Again(_));
    // What somebody changed by hand until now is known before the registry is believed.
    touched::flush(app).await;
    if let Begin::New(deployment) = &begin
        && matches!(deployment.selection, Selection::All | Selection::Only(_))
    {
        follow::settle(app).await;
    }
    let (prepared, archive, pass, gate) = match begin {
        Begin::New(deployment) => prepare(app, job, *deployment).await?,
        Begin::Again(again) => reopen(app, job, again).await?,
    };
    let _ = tell.send(prepared.databases.len());
    let bundles = Bundles::new(app, &prepared, archive);
    let mut outcomes = Vec::new();
    if prepared.databases.is_empty() && !prepared.bundles.is_empty() {
        // A bundle is to be stored: what is asked is that it is proved.
        if let Err(failure) = job.unless_cancelled(async { bundles.proved(0).await.map(drop) }).await {
            drop(bundles);
            close(app, job, &prepared, &[], Some(&failure)).await?;
            return Err(Failure { deployment_id: Some(job.id.clone()), ..failure });
        }
    } else {
        let fleet = Fleet { app, job, prepared: &prepared, bundles: &bundles, gate: &gate, plans: Mutex::default() };
        outcomes = fleet.run().await;
    }
    drop(bundles);
    let counts = close(app, job, &prepared, &outcomes, None).await?;
    drop(pass);
    let recorded = match is_again {
        true => tenants::status(app, &job.id).await?.get_mut("databases").map(serde_json::Value::take),
        false => None,
    };
    template::sweep(app, &prepared.platform);
    Ok(Done {
        mode: prepared.mode,
        deployment_id: job.id.clone(),
        platform: prepared.platform,
        schema: prepared.schema,
        is_single: prepared.is_single,
        warnings: prepared.warnings,
        outcomes,
        recorded,
        counts,
        dry_run: prepared.options.dry_run,
        started,
    })
}

/// The platform that a bundle's manifest names.
///
/// # Errors
/// `schema_extraction_failed`.
pub(super) async fn identify(app: &App, archive: Archive) -> Result<Option<String>, Failure> {
    let identify = ExecutorRequest::Control(ControlRequest::Identify { archive });
    broker::request(app, &control_target(app), &identify).await
}

type Opened = (Prepared, Option<Archive>, Pass, String);

/// The first half: names are settled, rows are written. Not cancelled halfway; a deployment that was cancelled meanwhile ends behind it.
async fn prepare(app: &Arc<App>, job: &Job, mut deployment: Deployment) -> Result<Opened, Failure> {
    deployment.deployment_id.clone_from(&job.id);
    if let (None, Some(archive)) = (&deployment.platform, &deployment.archive) {
        deployment.platform = job.unless_cancelled(identify(app, archive.clone())).await?;
    }
    let gate = gate_name(deployment.platform.as_deref(), deployment.schema.as_deref(), &deployment.selection);
    job.is_at(&gate);
    let pass = job.unless_cancelled(enter(app, &gate, &job.id)).await?;
    let request = ExecutorRequest::Control(ControlRequest::Prepare(deployment));
    let result: Result<Prepared, Failure> = broker::request(app, &control_target(app), &request).await;
    let ExecutorRequest::Control(ControlRequest::Prepare(mut deployment)) = request else {
        return Err(Failure::internal("a request has changed"));
    };
    let archive = deployment.archive.take();
    match result {
        Ok(prepared) => Ok((prepared, archive, pass, gate)),
        Err(failure) => {
            let refused = Refused { asked_for: deployment, failure: failure.clone() };
            let record = ExecutorRequest::Control(ControlRequest::Refused(refused));
            if let Err(second) = broker::request::<()>(app, &control_target(app), &record).await {
                app.main.log(format!("a refused deployment could not be recorded: {}", second.message));
            }
            Err(Failure { deployment_id: failure.deployment_id.clone().or(Some(job.id.clone())), ..failure })
        }
    }
}

async fn reopen(app: &Arc<App>, job: &Job, again: Again) -> Result<Opened, Failure> {
    let gate = format!("deployment {}", job.id);
    let pass = enter(app, &gate, &job.id).await?;
    let reopen = ControlRequest::Reopen { deployment_id: again.deployment_id, failed: again.failed };
    let prepared = broker::request(app, &control_target(app), &ExecutorRequest::Control(reopen)).await?;
    Ok((prepared, None, pass, gate))
}

/// Writes the end of the record. Databases that are to be dropped are freed of executors first.
async fn close(
    app: &Arc<App>,
    job: &Job,
    prepared: &Prepared,
    outcomes: &[DatabaseOutcome],
    refused: Option<&Failure>,
) -> Result<Counts, Failure> {
    let open: Vec<DatabaseOutcome> = match prepared.is_single {
        true => outcomes.to_vec(),
        // Recorded already, or when it was prepared; what was made and failed is still to be dropped.
        false => outcomes.iter().filter(|outcome| outcome.created && !outcome.result.is_success()).cloned().collect(),
    };
    let mut holds = Vec::new();
    for outcome in open.iter().filter(|outcome| outcome.created && !outcome.result.is_success()) {
        holds.push(app.pool.hold(&outcome.database).await);
    }
    let has_created = outcomes.iter().any(|outcome| outcome.created);
    let finish = Finish {
        deployment_id: job.id.clone(),
        dry_run: prepared.options.dry_run,
        cancelled: job.is_cancelled() && outcomes.iter().any(|outcome| matches!(outcome.result, Outcome::Cancelled)),
        refused: refused.cloned(),
        outcomes: open,
    };
    let request = ExecutorRequest::Control(ControlRequest::Finish(finish));
    let result = broker::request(app, &control_target(app), &request).await;
    drop(holds);
    if has_created || prepared.databases.iter().any(|database| database.adopted) {
        app.main.read_registry().await;
    }
    result
}

/// Deployments of one tenant wait for each other, and so do those of all tenants of a schema.
fn gate_name(platform: Option<&str>, schema: Option<&str>, selection: &Selection) -> String {
    let platform = stonescriptdb_protocol::sanitise(platform.unwrap_or_default());
    let schema = stonescriptdb_protocol::sanitise(schema.unwrap_or_default());
    match selection {
        Selection::Tenant(tenant) => {
            let tenant = if stonescriptdb_protocol::is_main(tenant.as_deref()) { None } else { tenant.as_deref() };
            let tenant =
                tenant.map_or_else(|| stonescriptdb_protocol::MAIN_TENANT.to_owned(), stonescriptdb_protocol::sanitise);
            let name = match schema.as_str() {
                "" => stonescriptdb_protocol::database_name(&platform, &tenant),
                schema => stonescriptdb_protocol::stored_database_name(&platform, schema, &tenant),
            };
            name.unwrap_or(platform)
        }
        // With a space, so that it is no database's name. Who stores a bundle touches no database.
        Selection::Nothing => format!("{platform} {schema}/upload"),
        _ => format!("{platform} {schema}"),
    }
}

fn control_target(app: &App) -> Arc<Target> {
    Arc::new(Target { database: app.settings().database.as_str().into(), role: None, calls: false })
}

/// A database, as its owner.
fn owner_of(database: &str, owner_role: &str) -> Arc<Target> {
    Arc::new(Target { database: database.into(), role: Some(owner_role.into()), calls: false })
}

/// After a start: what an interrupted deployment left half built is dropped.
pub(super) async fn reconcile(app: &Arc<App>) {
    // Of another version nothing is touched before it is brought to this one, on a standby nothing before its promotion.
    while app.require_writable().is_err() {
        tokio::time::sleep(LOOK_AGAIN).await;
    }
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
