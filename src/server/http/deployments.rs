//! Deployments by their ids: looked at, followed while they go on, ended, taken up again; and those of stored schemas.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::sse::{Event as ServerSentEvent, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use hyper::{StatusCode, Uri};
use serde::Deserialize;
use serde_json::{Value, json};
use stonescriptdb_protocol::{
    Counts, DeployMode, DeployOptions, Deployment, ErrorCode, Failure, FleetOptions, Selection,
};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use super::body::{self, invalid};
use super::v1::{answer_deployment, missing, missing_rows};
use super::verify::Verify;
use super::{Reply, Sender, access, answer};
use crate::server::App;
use crate::server::deploy::{self, Event, Job};
use crate::server::tokens::Scope;

/// A stream that has nothing to say says so this often, so that nobody on the way takes it for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// `GET /deployments/{id}`.
pub(super) async fn status(
    State(app): State<Arc<App>>,
    Extension(sender): Extension<Sender>,
    Path(id): Path<String>,
) -> Reply {
    Ok(answer::json(StatusCode::OK, &known(&app, &sender, &id).await?))
}

/// A deployment as recorded, if whoever asks may know of it.
async fn known(app: &Arc<App>, sender: &Sender, id: &str) -> Result<Value, Failure> {
    access::knock(app, sender, Scope::Deploy)?;
    let known = deploy::status(app, id).await?;
    let platform = known.get("platform").and_then(Value::as_str).unwrap_or_default();
    match access::require_to_deploy(app, sender, platform) {
        // Of a platform that is gone, or never came to be, only the record is left.
        Err(failure) if matches!(failure.code, ErrorCode::PlatformNotFound | ErrorCode::InvalidRequest) => {
            access::require_admin(app, sender)?;
        }
        result => result?,
    }
    Ok(known)
}

/// `POST /deployments/{id}/cancel`.
pub(super) async fn cancel(
    State(app): State<Arc<App>>,
    Extension(sender): Extension<Sender>,
    Path(id): Path<String>,
) -> Reply {
    known(&app, &sender, &id).await?;
    Ok(answer::json(StatusCode::OK, &deploy::cancel(&app, &id).await?))
}

/// `POST /deployments/{id}/resume`.
pub(super) async fn resume(
    State(app): State<Arc<App>>,
    Extension(sender): Extension<Sender>,
    Path(id): Path<String>,
    uri: Uri,
) -> Reply {
    again(&app, &sender, id, false, &uri).await
}

/// `POST /deployments/{id}/retry`.
pub(super) async fn retry(
    State(app): State<Arc<App>>,
    Extension(sender): Extension<Sender>,
    Path(id): Path<String>,
    uri: Uri,
) -> Reply {
    again(&app, &sender, id, true, &uri).await
}

async fn again(app: &Arc<App>, sender: &Sender, id: String, failed: bool, uri: &Uri) -> Reply {
    known(app, sender, &id).await?;
    let query = uri.query().unwrap_or_default();
    let wait = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "wait");
    let wait = !wait.is_some_and(|(_, value)| matches!(&*value, "false" | "0"));
    let begun = deploy::begin_again(app, deploy::Again { deployment_id: id, failed })?;
    answer_deployment(begun, wait, sender).await
}

/// `GET /deployments/{id}/events`.
pub(super) async fn events(
    State(app): State<Arc<App>>,
    Extension(sender): Extension<Sender>,
    Path(id): Path<String>,
) -> Reply {
    // Watched before it is looked at, so that an end between the two is not missed.
    let job = app.jobs.find(&id);
    let watched = job.as_ref().map(|job| job.watch());
    let recorded = known(&app, &sender, &id).await?;
    let stream = match (job, watched) {
        (Some(job), Some((counts, events))) if counts.state == "running" => {
            Following { app, job, events, next: Next::Counts(counts) }
        }
        (Some(job), Some((counts, events))) => Following { app, job, events, next: Next::End(counts) },
        _ => {
            let end = ServerSentEvent::default().event("end").data(only_counts(&recorded).to_string());
            return Ok(Sse::new(stream::iter([Ok::<_, Infallible>(end)])).into_response());
        }
    };
    let events = stream::unfold(stream, |mut following| async {
        let event = following.event().await?;
        Some((Ok::<_, Infallible>(event), following))
    });
    Ok(Sse::new(events).into_response())
}

/// What of a deployment's record its events tell.
fn only_counts(recorded: &Value) -> Value {
    let names = ["deployment_id", "state", "total", "done", "succeeded", "unchanged", "failed", "skipped", "remaining"];
    names.iter().filter_map(|name| Some(((*name).to_owned(), recorded.get(name)?.clone()))).collect()
}

/// Somebody who follows a deployment.
struct Following {
    app: Arc<App>,
    job: Arc<Job>,
    events: broadcast::Receiver<Event>,
    next: Next,
}

/// What is to be told next.
enum Next {
    Counts(Counts),
    End(Counts),
    /// Whatever happens.
    Wait,
    /// Nothing any more.
    Over,
}

impl Following {
    async fn event(&mut self) -> Option<ServerSentEvent> {
        let mut stopping = self.app.stopping.subscribe();
        match std::mem::replace(&mut self.next, Next::Wait) {
            Next::Counts(counts) => return Some(self.counts("progress", &counts)),
            Next::End(counts) => return Some(self.end(&counts)),
            Next::Over => return None,
            Next::Wait => {}
        }
        tokio::select! {
            event = self.events.recv() => match event {
                Ok(Event::Database(row)) => Some(ServerSentEvent::default().event("database").data(row.to_string())),
                Ok(Event::Progress(counts)) => Some(self.counts("progress", &counts)),
                Ok(Event::End(counts)) => Some(self.end(&counts)),
                // Some were missed; the counts tell what they came to.
                Err(RecvError::Lagged(_)) => Some(self.counts("progress", &self.job.counts())),
                Err(RecvError::Closed) => None,
            },
            () = tokio::time::sleep(KEEP_ALIVE) => Some(ServerSentEvent::default().comment("")),
            _ = stopping.wait_for(|stopping| *stopping) => None,
        }
    }

    fn end(&mut self, counts: &Counts) -> ServerSentEvent {
        self.next = Next::Over;
        self.counts("end", counts)
    }

    fn counts(&self, name: &str, counts: &Counts) -> ServerSentEvent {
        let Counts { state, total, succeeded, unchanged, failed, skipped } = counts;
        let done = succeeded + unchanged + failed;
        let data = json!({
            "deployment_id": self.job.id, "state": state, "total": total, "done": done, "succeeded": succeeded,
            "unchanged": unchanged, "failed": failed, "skipped": skipped, "remaining": total.saturating_sub(done),
        });
        ServerSentEvent::default().event(name).data(data.to_string())
    }
}

/// What `/v2/migrate` and `/v2/migrate-all` take.
#[derive(Deserialize)]
struct MigrateBody {
    platform: Option<String>,
    schema_name: Option<String>,
    #[serde(alias = "uuid", alias = "tenant_id")]
    database_id: Option<String>,
    #[serde(default)]
    force: bool,
    #[serde(default)]
    allow: List,
    #[serde(default)]
    dry_run: bool,
    #[serde(default)]
    verify: Verify,
    on_error: Option<String>,
    seeders: Option<String>,
    plan: Option<String>,
    #[serde(default)]
    canary: List,
    parallel: Option<u32>,
    retries: Option<u32>,
    wait: Option<bool>,
}

/// Names, as an array or with commas between them.
#[derive(Deserialize)]
#[serde(untagged)]
enum List {
    Array(Vec<String>),
    Text(String),
}

impl Default for List {
    fn default() -> List {
        List::Array(Vec::new())
    }
}

impl List {
    fn into_names(self) -> Vec<String> {
        match self {
            List::Array(names) => names,
            List::Text(text) => {
                text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
            }
        }
    }
}

async fn migrate_body(app: &App, sender: &Sender, request: Request) -> Result<MigrateBody, Failure> {
    access::knock(app, sender, Scope::Deploy)?;
    let body: MigrateBody = body::json(request, &app.settings(), "a migration").await?;
    let platform = body.platform.as_deref().filter(|name| !name.is_empty()).ok_or_else(|| missing("platform"))?;
    access::require_to_deploy(app, sender, platform)?;
    Ok(body)
}

impl MigrateBody {
    fn into_deployment(self, sender: &Sender, selection: Selection, goes_on: bool) -> Result<Deployment, Failure> {
        let defaults = FleetOptions::default();
        if self.parallel == Some(0) {
            return Err(invalid("the field parallel is a number from 1 on, not 0"));
        }
        Ok(Deployment {
            mode: DeployMode::Migrate,
            archive: None,
            platform: Some(self.platform.filter(|name| !name.is_empty()).ok_or_else(|| missing("platform"))?),
            schema: Some(self.schema_name.filter(|name| !name.is_empty()).ok_or_else(|| missing("schema_name"))?),
            selection,
            options: DeployOptions {
                force: self.force,
                allow: self.allow.into_names(),
                dry_run: self.dry_run,
                continue_on_error: body::goes_on_after_errors(self.on_error.as_deref(), goes_on)?,
                verify: self.verify.is_asked(),
                full_verify: self.verify == Verify::Full,
                seeders: missing_rows(self.seeders.as_deref())?,
                plan: self.plan,
            },
            fleet: FleetOptions {
                canary: self.canary.into_names(),
                parallel: self.parallel.unwrap_or(defaults.parallel),
                retries: self.retries.unwrap_or(defaults.retries),
            },
            asked: sender.asked(),
            must_be_new: false,
            deployment_id: String::new(),
        })
    }
}

/// `POST /v2/migrate`.
pub(super) async fn migrate(
    State(app): State<Arc<App>>,
    Extension(sender): Extension<Sender>,
    request: Request,
) -> Reply {
    let body = migrate_body(&app, &sender, request).await?;
    let selection = match body.database_id.clone().filter(|id| !id.is_empty()) {
        Some(id) => Selection::Tenant(Some(id)),
        None => Selection::All,
    };
    let wait = body.wait.unwrap_or(true);
    let deployment = body.into_deployment(&sender, selection, false)?;
    answer_deployment(deploy::begin(&app, deployment)?, wait, &sender).await
}

/// `POST /v2/migrate-all`: begun here, looked at by its job's id.
pub(super) async fn migrate_all(
    State(app): State<Arc<App>>,
    Extension(sender): Extension<Sender>,
    request: Request,
) -> Reply {
    let deployment = migrate_body(&app, &sender, request).await?.into_deployment(&sender, Selection::All, true)?;
    if let Some(job) = deploy::running_like(&app, &deployment) {
        let failure = Failure::new(ErrorCode::DeploymentInProgress, "a deployment of this schema is running");
        let mut body = crate::error::to_json(&failure, Some(sender.id.as_str()));
        if let Some(body) = body.as_object_mut() {
            body.insert("job_id".to_owned(), json!(job));
            body.insert("deployment_id".to_owned(), json!(job));
        }
        return Ok(answer::json(StatusCode::CONFLICT, &body));
    }
    let begun = deploy::begin(&app, deployment)?;
    let id = begun.job.id.clone();
    match begun.left_to_itself().await? {
        0 => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NO_CONTENT;
            Ok(response)
        }
        total => {
            let body = json!({"job_id": id, "deployment_id": id, "status": "running", "total_databases": total});
            Ok(answer::json(StatusCode::ACCEPTED, &body))
        }
    }
}

/// `GET /v2/migrate-all/{job_id}`: the deployment in the words of the command line.
pub(super) async fn migrate_all_status(
    State(app): State<Arc<App>>,
    Extension(sender): Extension<Sender>,
    Path(id): Path<String>,
) -> Reply {
    let known = known(&app, &sender, &id).await?;
    let state = known.get("state").and_then(Value::as_str).unwrap_or_default();
    let done = count(&known, "succeeded") + count(&known, "unchanged");
    let status = match state {
        "completed_with_warnings" | "planned" => "completed",
        "cancelled" if done > 0 => "partial",
        "cancelled" => "failed",
        other => other,
    };
    // In these words a database is done or has failed; while others are to come, those that have failed so far.
    let total = count(&known, "total");
    let failed = if state == "running" { count(&known, "failed") } else { total.saturating_sub(done) };
    let results: Vec<Value> = known
        .get("databases")
        .and_then(Value::as_array)
        .map(|rows| rows.iter().map(result).collect())
        .unwrap_or_default();
    let mut body = json!({
        "job_id": id, "status": status, "total_databases": total, "succeeded": done,
        "failed": failed, "results": results, "execution_time_ms": known.get("execution_time_ms"),
    });
    if let (Some(error), Some(body)) = (known.get("error").filter(|error| !error.is_null()), body.as_object_mut()) {
        body.insert("error".to_owned(), error.get("message").cloned().unwrap_or_default());
    }
    Ok(answer::json(StatusCode::OK, &body))
}

fn count(known: &Value, name: &str) -> u64 {
    known.get(name).and_then(Value::as_u64).unwrap_or_default()
}

fn result(row: &Value) -> Value {
    let zero_or = |name: &str| row.get(name).cloned().unwrap_or(json!(0));
    let status = match row.get("status").and_then(Value::as_str).unwrap_or_default() {
        "completed_with_warnings" | "unchanged" | "superseded" => "completed",
        other => other,
    };
    json!({
        "database": row.get("database"), "status": status, "migrations_applied": zero_or("migrations_applied"),
        "functions_updated": zero_or("functions_updated"),
        "error": row.get("error").and_then(|error| error.get("message")),
    })
}
