//! What can be asked of the server, one function each. SQL and HTTP both end here.

use std::sync::Arc;
use std::time::Instant;

use bytes::{Buf, BytesMut};
use serde_json::{Value, json};
use stonescriptdb_protocol::{BackendRequest, CallRequest, ErrorCode, Failure, FrameKind, encode};

use super::broker::Broken;
use super::deploy::{self, Deployment};
use super::{App, broker};

/// A call of a function.
pub(super) struct Call<'a> {
    pub(super) platform: &'a str,
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
    let target = app.registry().target(call.platform, call.tenant)?.clone();
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
            let now = app.registry().target(call.platform, call.tenant)?.clone();
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
        BackendRequest::Call { platform, tenant, function, params, timeout_ms } => {
            let request = Call {
                platform: &platform,
                tenant: tenant.as_deref(),
                function: &function,
                params: &params,
                timeout_ms,
            };
            call(app, request).await.map(|body| body.to_vec())
        }
        BackendRequest::Deploy { mode, archive, platform, tenant, options, asked } => {
            let deployment =
                Deployment { mode, archive: Some(archive), platform, tenant, options, asked, must_be_new: false };
            let done = deploy::run(app, deployment).await?;
            if done.is_partial() { text(&deploy::partial_body(&done, None)) } else { text(&done.into_body()?) }
        }
        BackendRequest::CreateTenant { platform, tenant, asked } => {
            deploy::create_tenant(app, platform, tenant, asked).await.and_then(|body| text(&body))
        }
        BackendRequest::DropTenant { platform, tenant, confirm } => {
            deploy::drop_tenant(app, &platform, &tenant, &confirm).await.and_then(|body| text(&body))
        }
        BackendRequest::Check { platform, tenant } => {
            let rows = deploy::check(app, platform.as_deref(), tenant.as_deref()).await?;
            text(&rows)
        }
        BackendRequest::Health => text(&health(app)),
        BackendRequest::Workers => {
            serde_json::to_vec(&app.pool.rows()).map_err(|error| Failure::internal(error.to_string()))
        }
        // These are the broker's own affair.
        BackendRequest::RegistryChanged | BackendRequest::Hold { .. } => Ok(Vec::new()),
    }
}

fn text(body: &Value) -> Result<Vec<u8>, Failure> {
    serde_json::to_vec(body).map_err(|error| Failure::internal(error.to_string()))
}
