//! What can be asked of the server, one function each. SQL and HTTP both end here.

use std::sync::Arc;
use std::time::Instant;

use bytes::{Buf, BytesMut};
use serde_json::{Value, json};
use stonescriptdb_protocol::{BackendRequest, CallRequest, ErrorCode, Failure, FrameKind, encode};

use super::broker::Broken;
use super::deploy;
use super::{App, broker};

/// A call of a function.
pub(super) struct Call<'a> {
    pub(super) platform: &'a str,
    /// The stored schema; `None` is the platform's own.
    pub(super) schema: Option<&'a str>,
    pub(super) tenant: Option<&'a str>,
    pub(super) function: &'a str,
    /// JSON text; empty is no parameters.
    pub(super) params: &'a [u8],
    /// Milliseconds; 0 is no limit.
    pub(super) timeout_ms: u32,
}

/// Calls a function; gives the body of the answer, ready to be sent.
///
/// # Errors
/// Those of the table of errors that concern calls.
pub(super) async fn call(app: &App, call: Call<'_>) -> Result<BytesMut, Failure> {
    let started = Instant::now();
    let target = app.registry().target(call.platform, call.schema, call.tenant)?.clone();
    let settings = app.settings();
    let request = CallRequest {
        function: call.function,
        params: call.params,
        timeout_ms: call.timeout_ms,
        max_result: settings.max_result_size,
    };
    let frame = encode(FrameKind::Call, &request)
        .map_err(|error| Failure::new(ErrorCode::PayloadTooLarge, error.to_string()))?;
    let answer = match broker::run(app, &target, &frame).await {
        Err(Broken::NotBegun(failure)) if failure.code == ErrorCode::ConnectionFailed => {
            // Perhaps the database went away or got another name a moment ago: then look again.
            app.main.read_registry().await;
            let now = app.registry().target(call.platform, call.schema, call.tenant)?.clone();
            if now == target { Err(failure) } else { broker::run(app, &now, &frame).await.map_err(Failure::from) }
        }
        other => other.map_err(Failure::from),
    };
    let (_, mut body) = answer.map_err(|failure| Failure { database: Some(target.database.to_string()), ..failure })?;
    // The executor's text lacks the closing brace, and in front of it is the number of rows.
    body.advance(size_of::<u64>());
    body.extend_from_slice(b",\"execution_time_ms\":");
    body.extend_from_slice(itoa::Buffer::new().format(started.elapsed().as_millis() as u64).as_bytes());
    body.extend_from_slice(b"}");
    Ok(body)
}

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
        body.insert(
            "message".to_owned(),
            json!(format!(
                "CREATE EXTENSION stonescriptdb has not been run in the database \"{}\"",
                app.settings().database
            )),
        );
    }
    body
}

/// What a backend asks, answered with JSON text.
pub(super) async fn backend(app: &Arc<App>, request: BackendRequest) -> Result<Vec<u8>, Failure> {
    match request {
        BackendRequest::Call { platform, schema, tenant, function, params, timeout_ms } => {
            let request = Call {
                platform: &platform,
                schema: schema.as_deref(),
                tenant: tenant.as_deref(),
                function: &function,
                params: &params,
                timeout_ms,
            };
            call(app, request).await.map(|body| body.to_vec())
        }
        BackendRequest::Deploy { deployment, wait } => text(&answered(deploy::begin(app, deployment), wait).await?.0),
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
        BackendRequest::Check { platform, tenant } => {
            let rows = deploy::check(app, platform.as_deref(), tenant.as_deref()).await?;
            text(&rows)
        }
        BackendRequest::Tenants(verb) => deploy::tenant_verb(app, verb).await.and_then(|body| text(&body)),
        BackendRequest::Health => text(&health(app)),
        BackendRequest::Workers => {
            serde_json::to_vec(&app.pool.rows()).map_err(|error| Failure::internal(error.to_string()))
        }
        // These are the broker's own affair.
        BackendRequest::RegistryChanged | BackendRequest::Touched | BackendRequest::Hold { .. } => Ok(Vec::new()),
    }
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
