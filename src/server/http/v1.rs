//! The routes of the gateway's first API: register, migrate, call, health.

use std::borrow::Cow;
use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::IntoResponse;
use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::header::{ALLOW, HeaderValue};
use serde::Deserialize;
use serde_json::value::RawValue;
use stonescriptdb_protocol::{
    Access, DeployMode, DeployOptions, Deployment, ErrorCode, Failure, FleetOptions, MissingRows, Selection,
};

use super::answer::Failed;
use super::body::{self, Form, invalid};
use super::calling::Named;
use super::verify::Verify;
use super::{Reply, Sender, access, answer, calling, lines, plain};
use crate::postgres::{counters, seats};
use crate::server::App;
use crate::server::api::{self, Stage};
use crate::server::calls::{self, Call, Whom};
use crate::server::deploy;
use crate::server::direct::Habit;
use crate::server::tokens::Scope;
use crate::settings::Settings;

/// The body of a call.
#[derive(Deserialize)]
pub(crate) struct CallBody<'a> {
    #[serde(borrow)]
    platform: Option<Cow<'a, str>>,
    #[serde(borrow)]
    schema_name: Option<Cow<'a, str>>,
    #[serde(borrow, alias = "uuid", alias = "database_id")]
    tenant_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    function: Option<Cow<'a, str>>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
    retry: Option<bool>,
}

impl<'a> CallBody<'a> {
    /// # Errors
    /// `invalid_request` for what is not the JSON of a call.
    pub(crate) fn read(body: &'a [u8], settings: &Settings) -> Result<CallBody<'a>, Failure> {
        body::check_depth(body, settings)?;
        serde_json::from_slice(body).map_err(|error| invalid(format!("the body is not the JSON of a call: {error}")))
    }

    /// The body of `POST /call/{platform}/{function}`, with what its path says.
    ///
    /// # Errors
    /// `invalid_request` for what is not JSON.
    pub(crate) fn of(named: &'a Named, body: &'a [u8], settings: &Settings) -> Result<CallBody<'a>, Failure> {
        Ok(CallBody {
            platform: Some(named.platform.as_str().into()),
            schema_name: named.schema.as_deref().map(Cow::from),
            tenant_id: named.tenant.as_deref().map(Cow::from),
            function: Some(named.function.as_str().into()),
            params: calling::params(body, settings)?,
            retry: Some(named.retry),
        })
    }

    /// # Errors
    /// `invalid_request` where no platform is named.
    pub(crate) fn whom(&self) -> Result<Whom<'_>, Failure> {
        let platform = self.platform.as_deref().filter(|name| !name.is_empty()).ok_or_else(|| missing("platform"))?;
        Ok(Whom { platform, schema: self.schema_name.as_deref(), tenant: self.tenant_id.as_deref() })
    }

    /// # Errors
    /// `invalid_request` where no function is named.
    pub(crate) fn function(&self) -> Result<&str, Failure> {
        self.function.as_deref().filter(|name| !name.is_empty()).ok_or_else(|| missing("function"))
    }

    /// JSON text; empty is no parameters.
    pub(crate) fn params(&self) -> &'a [u8] {
        calls::text_of(self.params)
    }

    /// The caller allows that it is tried again.
    pub(crate) fn retry(&self) -> bool {
        self.retry.unwrap_or(false)
    }
}

/// The path of calls.
pub(super) const CALL: &str = "/call";

/// `POST /call`.
pub(super) async fn call(app: &Arc<App>, sender: &Sender, habit: &Habit, request: hyper::Request<Incoming>) -> Reply {
    if request.method() != hyper::Method::POST {
        let mut response = Failed(super::wrong_method_for(CALL, request.method())).into_response();
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
        return Ok(response);
    }
    let settings = app.settings();
    body::require_json(request.headers())?;
    access::knock(app, sender, Scope::Call)?;
    let (head, body) = request.into_parts();
    let body = body::read(body, &settings).await?;
    let request = CallBody::read(&body, &settings)?;
    let call = Call {
        whom: request.whom()?,
        how: calling::how(&settings, sender, "POST", &head.headers, request.retry())?,
        function: request.function()?,
        params: request.params(),
    };
    // Before anything is looked at: what changes meanwhile is seen by the next one who looks.
    let epoch = seats::epoch();
    access::require_to_call(app, sender, &call.whom)?;
    if stonescriptdb_http::wants_lines(&head.headers) {
        if call.how.retry {
            return Err(Failed(calling::no_retry()));
        }
        return Ok(lines::answer(calls::lines(app, call, Access::Write).await?, &sender.id));
    }
    let whom = call.whom;
    let body = calls::call(app, call).await?;
    if settings.direct_connections {
        plain::offer(app, habit, whom, &head.headers, epoch);
    }
    Ok(answer::text(StatusCode::OK, body.freeze()))
}

/// `GET /health`. A degraded server answers 200 as well: what is wrong is for its reader, not for a load balancer.
pub(super) async fn health(State(app): State<Arc<App>>) -> Reply {
    Ok(answer::json(StatusCode::OK, &api::health(&app)))
}

/// `POST /register`.
pub(super) async fn register(
    State(app): State<Arc<App>>,
    Extension(sender): Extension<Sender>,
    request: Request,
) -> Reply {
    deploy(&app, sender, request, DeployMode::Register).await
}

/// `POST /migrate`.
pub(super) async fn migrate(
    State(app): State<Arc<App>>,
    Extension(sender): Extension<Sender>,
    request: Request,
) -> Reply {
    deploy(&app, sender, request, DeployMode::Migrate).await
}

async fn deploy(app: &Arc<App>, sender: Sender, request: Request, mode: DeployMode) -> Reply {
    let settings = app.settings();
    access::knock(app, &sender, Scope::Deploy)?;
    let may_go_on = |platform: &str| access::knock_to_register(app, &sender, platform);
    let mut form = body::form(request, &settings, may_go_on).await?;
    let archive = form.archive().ok_or_else(|| missing("schema"))?;
    let platform = match form.text("platform") {
        Some(name) => Some(name.to_owned()),
        None => deploy::identify(app, archive.clone()).await?,
    };
    if let Some(platform) = &platform {
        access::require_to_register(app, &sender, platform)?;
    }
    let tenant = form.text("tenant_id").map(str::to_owned);
    let deployment = Deployment {
        mode,
        archive: Some(archive),
        platform,
        schema: None,
        selection: match (mode, tenant) {
            (DeployMode::Migrate, None) => Selection::All,
            (_, tenant) => Selection::Tenant(tenant),
        },
        options: options(&form, mode)?,
        fleet: fleet(&form)?,
        asked: sender.asked(),
        must_be_new: false,
        deployment_id: String::new(),
    };
    let wait = form.text("wait").is_none() || form.flag("wait")?;
    let begun = deploy::begin(app, deployment)?;
    begun.job.keep(form.room);
    answer_deployment(begun, wait, &sender).await
}

/// A deployment's answer, with its status.
pub(super) async fn answer_deployment(begun: deploy::Begun, wait: bool, sender: &Sender) -> Reply {
    let (mut body, stage) = api::answered(begun, wait).await?;
    let status = match stage {
        Stage::Running => StatusCode::ACCEPTED,
        Stage::Partial => StatusCode::UNPROCESSABLE_ENTITY,
        Stage::Done => StatusCode::OK,
    };
    if let (Stage::Partial, Some(body)) = (stage, body.as_object_mut()) {
        counters::error(ErrorCode::DeploymentPartial as usize);
        body.insert("request_id".to_owned(), sender.id.as_str().into());
    }
    Ok(answer::json(status, &body))
}

fn fleet(form: &Form) -> Result<FleetOptions, Failure> {
    // Clients of the gateway expect no second attempt, and the databases in order: what stands behind one that fails is left alone.
    let parallel = if body::goes_on_after_errors(form.text("on_error"), false)? { 2 } else { 1 };
    let mut fleet = FleetOptions { parallel, retries: 0, ..FleetOptions::default() };
    let list = form.text("canary").unwrap_or_default();
    fleet.canary = list.split(',').map(str::trim).filter(|id| !id.is_empty()).map(str::to_owned).collect();
    let number = |name: &str, least: u32, default: u32| match form.text(name) {
        None => Ok(default),
        Some(text) => text.parse().ok().filter(|number| *number >= least).ok_or_else(|| {
            invalid(format!("the field {name} is a number from {least} on, not \"{}\"", body::shortened(text)))
        }),
    };
    fleet.parallel = number("parallel", 1, fleet.parallel)?;
    fleet.retries = number("retries", 0, fleet.retries)?;
    Ok(fleet)
}

fn options(form: &Form, mode: DeployMode) -> Result<DeployOptions, Failure> {
    let allow = form.text("allow").unwrap_or_default();
    let continue_on_error = body::goes_on_after_errors(form.text("on_error"), false)?;
    if mode == DeployMode::Register && form.flag("dry_run")? {
        return Err(invalid("a dry run is asked of /migrate".to_owned()));
    }
    let verify = Verify::of_field(form.text("verify"))?;
    Ok(DeployOptions {
        force: form.flag("force")?,
        allow: allow.split(',').map(str::trim).filter(|kind| !kind.is_empty()).map(str::to_owned).collect(),
        dry_run: mode == DeployMode::Migrate && form.flag("dry_run")?,
        continue_on_error,
        verify: verify.is_asked(),
        full_verify: verify == Verify::Full,
        seeders: missing_rows(form.text("seeders"))?,
        plan: form.text("plan").map(str::to_owned),
    })
}

pub(super) fn missing_rows(value: Option<&str>) -> Result<MissingRows, Failure> {
    match value {
        None | Some("check") => Ok(MissingRows::Refuse),
        Some("insert_missing") => Ok(MissingRows::Insert),
        Some(other) => {
            Err(invalid(format!("the field seeders is check or insert_missing, not \"{}\"", body::shortened(other))))
        }
    }
}

pub(super) fn missing(field: &str) -> Failure {
    Failure::new(ErrorCode::InvalidRequest, format!("the field {field} is missing"))
}
