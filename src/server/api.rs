//! What can be asked of the server, one function each. SQL and HTTP both end here.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use stonescriptdb_protocol::{BackendRequest, ErrorCode, Failure};

use super::App;
use super::calls::{self, BatchCall, Call, How, Whom};
use super::{deploy, stats};

/// State of the server worker, as `GET /health` answers.
pub(super) fn health(app: &App) -> Value {
    let (pools, connections) = app.pool.counts();
    let installed = app.registry().installed;
    let connected = app.registry_readable.load(std::sync::atomic::Ordering::Relaxed);
    let mut body = json!({
        "status": if installed && connected { "healthy" } else { "degraded" },
        "version": env!("CARGO_PKG_VERSION"),
        "postgres_connected": connected,
        "active_pools": pools,
        "total_connections": connections,
        "uptime_seconds": app.started.elapsed().as_secs(),
    });
    if let (false, Some(body)) = (installed, body.as_object_mut()) {
        let message = match app.registry().require_current() {
            Err(failure) => format!("{}. {}", failure.message, failure.hint.unwrap_or_default()),
            Ok(()) => {
                format!(
                    "CREATE EXTENSION stonescriptdb has not been run in the database \"{}\"",
                    app.settings().database
                )
            }
        };
        body.insert("message".to_owned(), json!(message));
    }
    if let (true, Some(body)) = (app.in_recovery.load(std::sync::atomic::Ordering::Relaxed), body.as_object_mut()) {
        body.insert("standby".to_owned(), json!(true));
    }
    if let (true, true, Some(body)) =
        (installed, app.short_of_slots.load(std::sync::atomic::Ordering::Relaxed), body.as_object_mut())
    {
        let message = "no background worker slot was free for an executor: raise max_worker_processes or lower stonescriptdb.max_workers";
        body.insert("message".to_owned(), json!(message));
    }
    body
}

/// Whether the server can do its work.
pub(super) struct Readiness {
    /// What stands in the way: the name of a check, and a sentence.
    pub(super) reasons: Vec<(&'static str, String)>,
}

/// How long the control database may take to answer.
const PROBE: Duration = Duration::from_secs(2);

/// How long a call waits before a want of executors is one: bursts come and go.
const LONG: Duration = Duration::from_secs(1);

/// Looks whether calls and deployments can be carried out now.
pub(super) async fn readiness(app: &App) -> Readiness {
    let mut reasons = Vec::new();
    if *app.stopping.borrow() {
        reasons.push(("draining", "the server worker is ending".to_owned()));
    }
    let settings = app.settings();
    match tokio::time::timeout(PROBE, app.main.probe()).await {
        Ok(Ok(true)) => {}
        Ok(Ok(false)) => reasons.push((
            "extension",
            format!("CREATE EXTENSION stonescriptdb has not been run in the database \"{}\"", settings.database),
        )),
        Ok(Err(message)) => reasons.push(("control_database", message)),
        Err(_) => reasons.push((
            "control_database",
            format!("the database \"{}\" does not answer within {} s", settings.database, PROBE.as_secs()),
        )),
    }
    let [calls, work] = app.pool.load();
    // Those that serve connections are asked back when somebody waits: they are as good as free.
    let taken = calls.starting + calls.lent + work.starting + work.lent;
    if taken >= settings.max_workers && calls.longest >= LONG {
        reasons.push((
            "executors",
            format!("all {} executors are at work, and {} calls wait", settings.max_workers, calls.waiting),
        ));
    }
    if app.pool.lacks_slots() {
        reasons.push(("worker_slots", "PostgreSQL has no slot for another background worker".to_owned()));
    }
    Readiness { reasons }
}

/// What a backend asks, answered with JSON text.
pub(super) async fn backend(app: &Arc<App>, request: BackendRequest) -> Result<Vec<u8>, Failure> {
    match request {
        BackendRequest::Call { platform, schema, tenant, function, params, role } => {
            let whom = Whom { platform: &platform, schema: schema.as_deref(), tenant: tenant.as_deref() };
            let call = Call { whom, how: over_sql(&role), function: &function, params: &params };
            calls::call(app, call).await.map(|body| body.to_vec())
        }
        BackendRequest::Batch { platform, schema, tenant, calls, role } => {
            let whom = Whom { platform: &platform, schema: schema.as_deref(), tenant: tenant.as_deref() };
            let calls: Vec<BatchCall> = serde_json::from_slice(&calls).map_err(|error| {
                Failure::new(ErrorCode::InvalidRequest, format!("calls is not an array of calls: {error}"))
            })?;
            calls::batch(app, whom, over_sql(&role), &calls).await.map(|body| body.to_vec())
        }
        BackendRequest::Deploy { deployment, wait } => text(&answered(deploy::begin(app, deployment)?, wait).await?.0),
        BackendRequest::Create { platform, schema, tenant, asked } => {
            deploy::create_tenant(app, platform, schema, tenant, asked).await.and_then(|body| text(&body))
        }
        BackendRequest::Upload { platform, schema, archive, asked } => {
            deploy::upload(app, platform, schema, archive, asked).await.and_then(|body| text(&body))
        }
        BackendRequest::Cancel { deployment_id } => {
            deploy::cancel(app, &deployment_id).await.and_then(|body| text(&body))
        }
        BackendRequest::Again { deployment_id, failed, wait } => {
            let again = deploy::Again { deployment_id, failed };
            text(&answered(deploy::begin_again(app, again)?, wait).await?.0)
        }
        BackendRequest::DropTenant { platform, schema, tenant, confirm } => {
            let dropped = deploy::drop_tenant(app, &platform, schema.as_deref(), &tenant, &confirm).await;
            dropped.and_then(|body| text(&body))
        }
        BackendRequest::Check { platform, schema, tenant } => {
            let rows = deploy::check(app, platform.as_deref(), schema.as_deref(), tenant.as_deref()).await?;
            text(&rows)
        }
        BackendRequest::Tenants(verb) => deploy::tenant_verb(app, verb).await.and_then(|body| text(&body)),
        BackendRequest::Health => text(&health(app)),
        BackendRequest::Stats => text(&stats::as_rows(app)),
        BackendRequest::Workers => {
            serde_json::to_vec(&app.pool.rows()).map_err(|error| Failure::internal(error.to_string()))
        }
        // These are the broker's own affair.
        BackendRequest::RegistryChanged
        | BackendRequest::Touched
        | BackendRequest::Hold { .. }
        | BackendRequest::HoldDeployments => Ok(Vec::new()),
    }
}

fn over_sql(role: &str) -> How<'_> {
    How { id: "", method: "", client: None, headers: None, role, asked_ms: 0, retry: false }
}

/// How far a deployment has come when it is answered.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// It goes on without who asked for it.
    Running,
    /// Some of its databases are done.
    Partial,
    Done,
}

/// The answer to a deployment: at its end, or at once.
///
/// # Errors
/// Those of the table of errors that concern deployments.
pub(super) async fn answered(begun: deploy::Begun, wait: bool) -> Result<(Value, Stage), Failure> {
    if !wait {
        let id = begun.job.id.clone();
        let databases = begun.left_to_itself().await?;
        return Ok((json!({"deployment_id": id, "status": "running", "total_databases": databases}), Stage::Running));
    }
    let done = begun.done().await?;
    if done.is_partial() {
        return Ok((deploy::partial_body(&done), Stage::Partial));
    }
    Ok((done.into_body()?, Stage::Done))
}

fn text(body: &Value) -> Result<Vec<u8>, Failure> {
    serde_json::to_vec(body).map_err(|error| Failure::internal(error.to_string()))
}
