//! For those who operate the server: whether it lives, whether it can do its work, and its figures.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{StatusCode, body::Bytes};
use serde_json::json;
use stonescriptdb_protocol::{ErrorCode, Failure};

use super::{Reply, Sender, access, answer};
use crate::error;
use crate::postgres::counters;
use crate::server::{App, api, stats};

/// `GET /live`. Whoever can answer it lives; PostgreSQL is not asked.
pub(super) async fn live(State(app): State<Arc<App>>) -> Reply {
    let body = json!({"status": "alive", "uptime_seconds": app.started.elapsed().as_secs()});
    Ok(fresh(answer::json(StatusCode::OK, &body)))
}

/// `GET /ready`. An error's shape, so that whoever reads it as any other answer understands it, with all reasons.
pub(super) async fn ready(State(app): State<Arc<App>>, Extension(sender): Extension<Sender>) -> Reply {
    let found = api::readiness(&app).await;
    if found.reasons.is_empty() {
        return Ok(fresh(answer::json(StatusCode::OK, &json!({"status": "ready"}))));
    }
    let sentences: Vec<&str> = found.reasons.iter().map(|(_, sentence)| sentence.as_str()).collect();
    let failure = Failure::new(ErrorCode::NotReady, sentences.join("; "));
    counters::error(failure.code as usize);
    let mut body = error::to_json(&failure, Some(sender.id.as_str()));
    if let Some(body) = body.as_object_mut() {
        let reasons = found.reasons.iter().map(|(check, sentence)| json!({"check": check, "message": sentence}));
        body.insert("status".to_owned(), "not_ready".into());
        body.insert("reasons".to_owned(), reasons.collect());
    }
    let status = StatusCode::from_u16(error::status(&failure)).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    Ok(fresh(answer::json(status, &body)))
}

/// `GET /metrics`.
pub(super) async fn metrics(State(app): State<Arc<App>>, Extension(sender): Extension<Sender>) -> Reply {
    access::require_metrics(&app, &sender)?;
    let mut response = Response::new(Body::from(Bytes::from(stats::as_text(&app))));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(stats::CONTENT_TYPE));
    Ok(fresh(response))
}

/// What is true now only.
fn fresh(mut response: Response) -> Response {
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
