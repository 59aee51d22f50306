//! HTTP: who may come in, which route it is, and the shape of every answer.

mod access;
mod address;
mod admin;
mod answer;
mod body;
mod browsers;
mod calling;
mod console;
mod deployments;
mod io;
mod lines;
mod openapi;
mod overview;
mod pace;
pub(crate) mod plain;
mod room;
mod sight;
mod tokens;
mod v1;
mod v2;
mod verify;

use std::convert::Infallible;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request as AxumRequest;
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Extension, Router};
use futures_util::FutureExt;
use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::{HeaderMap, Request};
use stonescriptdb_protocol::{Asked, ErrorCode, Failure};
use tower::ServiceExt;

use super::direct::Habit;
use super::doors::Ends;
use super::{App, refusals};
use crate::settings::Settings;
use access::Proof;
use answer::Failed;

pub(crate) use address::contains;
pub(crate) use answer::RequestId;
pub(super) use answer::{last_words, plain_on_tls, too_many_connections, too_many_of_address};
pub(super) use body::shortened;
pub(super) use io::Io;
pub(super) use pace::Pace;
pub(super) use room::Room;
pub(crate) use v1::CallBody;

/// Who sent a request.
#[derive(Clone)]
struct Sender {
    /// The client's address, behind trusted proxies.
    client: IpAddr,
    id: RequestId,
    proof: Proof,
}

impl Sender {
    fn new(settings: &Settings, client: IpAddr, id: RequestId, headers: &HeaderMap) -> Sender {
        Sender { client, id, proof: Proof::of(settings, headers) }
    }

    /// For the record of a deployment.
    fn asked(&self) -> Asked {
        Asked { by: "http".to_owned(), from: Some(self.client.to_string()), request_id: self.id.as_str().to_owned() }
    }
}

type Reply = Result<Response, Failed>;

/// The routes, but for `POST /call`.
pub(super) fn router(app: Arc<App>) -> Router {
    with_faults(Router::new())
        .route("/call/batch", post(calling::batch))
        .route("/call/{platform}/{function}", get(calling::read).post(calling::write))
        .route("/openapi.json", get(openapi::document))
        .route("/register", post(v1::register))
        .route("/migrate", post(v1::migrate))
        .route("/health", get(v1::health))
        .route("/live", get(sight::live))
        .route("/ready", get(sight::ready))
        .route("/metrics", get(sight::metrics))
        .route("/admin/databases", get(admin::databases))
        .route("/admin/create-tenant", post(admin::create_tenant))
        .route("/console", get(console::page))
        .route("/console/{version}/{file}", get(console::module))
        .route("/admin/tenants", get(overview::tenants))
        .route("/admin/deployments", get(overview::deployments))
        .route("/admin/changelog", get(overview::changelog))
        .route("/admin/functions", get(overview::functions))
        .route("/admin/drift", get(overview::drift))
        .route("/admin/workers", get(overview::workers))
        .route("/v2/migrate", post(deployments::migrate))
        .route("/v2/migrate-all", post(deployments::migrate_all))
        .route("/v2/migrate-all/{id}", get(deployments::migrate_all_status))
        .route("/deployments/{id}", get(deployments::status))
        .route("/deployments/{id}/events", get(deployments::events))
        .route("/deployments/{id}/cancel", post(deployments::cancel))
        .route("/deployments/{id}/resume", post(deployments::resume))
        .route("/deployments/{id}/retry", post(deployments::retry))
        .route("/admin/platforms", get(admin::platforms))
        .route("/admin/database/create", post(admin::create_database))
        .route("/admin/rename-tenant", post(admin::rename_tenant))
        .route("/admin/copy-tenant", post(admin::copy_tenant))
        .route("/admin/suspend-tenant", post(admin::suspend_tenant))
        .route("/admin/resume-tenant", post(admin::resume_tenant))
        .route("/admin/drop-tenant", post(admin::drop_tenant))
        .route("/admin/adopt", post(admin::adopt))
        .route("/admin/platform-token", post(tokens::issue))
        .route("/admin/tokens", get(tokens::list))
        .route("/admin/rotate-token", post(tokens::rotate))
        .route("/admin/revoke-token", post(tokens::revoke))
        .route("/platforms", get(v2::platforms))
        .route("/platform/register", post(v2::register_platform))
        .route("/platform/{platform}/schema", post(v2::upload_schema))
        .route("/platform/{platform}/schemas", get(v2::schemas))
        .route("/platform/{platform}/databases", get(v2::databases))
        .route("/database/create", post(v2::create_database))
        .fallback(no_route)
        .method_not_allowed_fallback(wrong_method)
        .with_state(app)
}

/// Routes that break something, for tests of what breaks then; in builds for tests only.
#[cfg(feature = "pg_test")]
fn with_faults(router: Router<Arc<App>>) -> Router<Arc<App>> {
    use axum::extract::State;
    #[allow(clippy::panic, reason = "that is the test")]
    async fn panics() -> Failed {
        panic!("a test panics in a handler")
    }
    #[allow(clippy::panic, reason = "that is the test")]
    async fn panics_in_task(State(app): State<Arc<App>>) -> &'static str {
        tokio::spawn(app.essential("test", async { panic!("a test panics in a task") }));
        "{}"
    }
    router.route("/test/panic", post(panics)).route("/test/panic-in-task", post(panics_in_task))
}

#[cfg(not(feature = "pg_test"))]
fn with_faults(router: Router<Arc<App>>) -> Router<Arc<App>> {
    router
}

/// Answers one request. Every error has the one shape; a panic in a handler is answered as an internal error.
pub(super) async fn respond(
    app: Arc<App>,
    router: Router,
    habit: Habit,
    ends: Ends,
    request: Request<Incoming>,
) -> Result<Response, Infallible> {
    let id = RequestId::of(request.headers());
    // Of a refusal, the log says what it was that was refused. These are references, not copies; the id below is one, too.
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let settings = app.settings();
    let client = address::client(&settings, ends.peer, request.headers());
    let entered = enter(&app, &settings, ends, client.clone(), &id, &request);
    drop(settings);
    let (page, reply) = match entered {
        Ok((sender, page)) => {
            let reply =
                AssertUnwindSafe(reply(&app, router, habit, sender, page.is_some(), request)).catch_unwind().await;
            (page, reply.unwrap_or_else(|_| Err(Failed(panicked(&app, &id)))))
        }
        Err(failure) => (None, Err(Failed(failure))),
    };
    if let Some(failure) = answer::failure_of(&reply).filter(|failure| refusals::is_one(failure)) {
        app.refusals.note(&app, client.unwrap_or(ends.peer), &method, &uri, failure);
    }
    let mut response = answer::finish(reply, id);
    if let Some(page) = page {
        browsers::allow(&mut response, page);
    }
    Ok(response)
}

fn panicked(app: &App, id: &RequestId) -> Failure {
    app.main.log(format!("the request {} panicked, a fault of stonescriptdb; it alone is ended", id.as_str()));
    Failure::internal("the request met a fault of stonescriptdb; the server's log has more")
}

async fn reply(
    app: &Arc<App>,
    router: Router,
    habit: Habit,
    sender: Sender,
    of_page: bool,
    request: Request<Incoming>,
) -> Reply {
    if of_page && browsers::is_preflight(request.method(), request.headers()) {
        return Ok(browsers::preflight(request.headers()));
    }
    // Nearly all requests are calls: they go past the router and its boxed futures.
    if request.uri().path() == v1::CALL {
        return v1::call(app, &sender, &habit, request).await;
    }
    if !calling::is_write(&request) {
        habit.interrupted();
    }
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(habit);
    request.extensions_mut().insert(sender);
    match router.oneshot(request).await {
        Ok(response) => Ok(response),
        Err(never) => match never {},
    }
}

/// What is looked at before anything else of a request; gives who sends it, and which page if one does.
fn enter(
    app: &App,
    settings: &Settings,
    ends: Ends,
    client: Result<IpAddr, Failure>,
    id: &RequestId,
    request: &Request<Incoming>,
) -> Result<(Sender, Option<HeaderValue>), Failure> {
    let client = client?;
    address::require_allowed(app.doors().networks(settings, ends.local), client)?;
    let page = browsers::check(settings, request.headers(), request.uri())?;
    Ok((Sender::new(settings, client, id.clone(), request.headers()), page))
}

async fn no_route(request: AxumRequest) -> Failed {
    Failed(Failure::new(ErrorCode::NotFound, format!("there is no route {}", body::shortened(request.uri().path()))))
}

async fn wrong_method(Extension(_): Extension<Sender>, request: AxumRequest) -> Failed {
    Failed(wrong_method_for(request.uri().path(), request.method()))
}

fn wrong_method_for(path: &str, method: &hyper::Method) -> Failure {
    Failure::new(ErrorCode::MethodNotAllowed, format!("{path} does not take {method}"))
}
