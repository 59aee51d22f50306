//! Tenants from above: made, dropped, listed, compared with their bundles.

use std::sync::Arc;

use serde_json::{Value, json};
use stonescriptdb_protocol::{
    Archive, Asked, ControlRequest, DeployMode, DeployOptions, Deployment, ErrorCode, ExecutorRequest, Failure,
    FleetOptions, MAIN_TENANT, Selection, TenantName, TenantWork, is_main,
};

use super::gate::enter;
use super::job::Event;
use super::life::work;
use super::{control_target, run};
use tokio::sync::broadcast::error::RecvError;

use crate::server::{App, broker};

/// A new database with the newest bundle of the platform, or of a stored schema.
pub(in crate::server) async fn create_tenant(
    app: &Arc<App>,
    platform: String,
    schema: Option<String>,
    tenant: Option<String>,
    asked: Asked,
) -> Result<Value, Failure> {
    let registry = app.registry();
    // What is not known is told before anything else.
    let found = registry.platform(&platform)?;
    let schema = match schema.filter(|name| !name.is_empty()) {
        Some(name) => Some(found.schema(&name)?.name.clone()),
        None => None,
    };
    let deployment = Deployment {
        mode: DeployMode::Register,
        archive: None,
        platform: Some(found.name.clone()),
        schema: schema.clone(),
        selection: Selection::Tenant(tenant.clone()),
        options: DeployOptions::default(),
        fleet: FleetOptions::default(),
        asked,
        must_be_new: true,
        deployment_id: String::new(),
    };
    let mut body = run(app, deployment).await?.into_body()?;
    let Some(fields) = body.as_object_mut() else { return Ok(body) };
    let database = fields.get("database").and_then(Value::as_str).unwrap_or_default().to_owned();
    fields.insert("status".to_owned(), json!("created"));
    fields.insert("message".to_owned(), json!(format!("the database {database} is ready")));
    if schema.is_some() {
        let id = tenant.filter(|id| !is_main(Some(id))).unwrap_or_else(|| MAIN_TENANT.to_owned());
        fields.insert("database_name".to_owned(), json!(database));
        fields.insert("database_id".to_owned(), json!(id));
    }
    Ok(body)
}

/// Proves a bundle and stores it as the newest of a platform's schema.
pub(in crate::server) async fn upload(
    app: &Arc<App>,
    platform: String,
    schema: String,
    archive: Archive,
    asked: Asked,
) -> Result<Value, Failure> {
    let deployment = Deployment {
        mode: DeployMode::Register,
        archive: Some(archive),
        platform: Some(app.registry().platform(&platform)?.name.clone()),
        schema: Some(schema),
        selection: Selection::Nothing,
        options: DeployOptions::default(),
        fleet: FleetOptions::default(),
        asked,
        must_be_new: false,
        deployment_id: String::new(),
    };
    let done = run(app, deployment).await?;
    app.main.read_registry().await;
    let find = ControlRequest::StoredSchema { platform: done.platform.clone(), schema: done.schema.clone() };
    let stored: String = broker::request(app, &control_target(app), &ExecutorRequest::Control(find)).await?;
    let mut body: Value = serde_json::from_str(&stored).map_err(|error| Failure::internal(error.to_string()))?;
    if let Some(fields) = body.as_object_mut() {
        fields.insert("status".to_owned(), json!("registered"));
        fields.insert("deployment_id".to_owned(), json!(done.deployment_id));
        fields.insert("warnings".to_owned(), json!(done.warnings));
        fields.insert("execution_time_ms".to_owned(), json!(done.started.elapsed().as_millis() as u64));
    }
    Ok(body)
}

/// Ends a running deployment; of one that has ended it tells how.
pub(in crate::server) async fn cancel(app: &Arc<App>, deployment_id: &str) -> Result<Value, Failure> {
    let job = app.jobs.find(deployment_id);
    if let Some(job) = &job {
        job.cancel();
        let (counts, mut events) = job.watch();
        if counts.state == "running" {
            // Its end is near: nothing new is begun, and what is under way is cancelled.
            while !matches!(events.recv().await, Ok(Event::End(_)) | Err(RecvError::Closed)) {}
        }
    }
    let status = status(app, deployment_id).await?;
    Ok(json!({"deployment_id": deployment_id, "status": status.get("state")}))
}

/// A deployment and its databases, as recorded.
///
/// # Errors
/// `deployment_not_found`.
pub(in crate::server) async fn status(app: &App, deployment_id: &str) -> Result<Value, Failure> {
    let find = ExecutorRequest::Control(ControlRequest::Status { deployment_id: deployment_id.to_owned() });
    let found: Option<String> = broker::request(app, &control_target(app), &find).await?;
    let text = found.ok_or_else(|| {
        Failure::new(ErrorCode::DeploymentNotFound, format!("there is no deployment {deployment_id}"))
    })?;
    serde_json::from_str(&text).map_err(|error| Failure::internal(error.to_string()))
}

/// `drop_tenant`: the end of a tenant and its data.
pub(in crate::server) async fn drop_tenant(
    app: &Arc<App>,
    platform: &str,
    schema: Option<&str>,
    tenant: &str,
    confirm: &str,
) -> Result<Value, Failure> {
    // A rename of a moment ago must be known: what is dropped is dropped by its name.
    app.main.read_registry().await;
    let known = app.registry().tenant(platform, schema, Some(tenant)).map(|found| found.database().to_owned());
    let database = match known {
        Ok(database) => database,
        // Its database may have been dropped by other means, and only the row is left.
        Err(failure) => return forget(app, platform, schema, tenant, confirm).await?.ok_or(failure),
    };
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

async fn forget(
    app: &Arc<App>,
    platform: &str,
    schema: Option<&str>,
    tenant: &str,
    confirm: &str,
) -> Result<Option<Value>, Failure> {
    let tenant =
        TenantName { platform: platform.to_owned(), schema: schema.map(str::to_owned), tenant: tenant.to_owned() };
    let forget = TenantWork::ForgetMissing { tenant, confirm: confirm.to_owned() };
    let forgotten: Option<String> = work(app, forget).await?;
    Ok(forgotten.map(|database| json!({"status": "dropped", "database": database})))
}
