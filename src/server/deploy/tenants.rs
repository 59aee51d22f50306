//! Tenants from above: made, dropped, listed, compared with their bundles.

use std::sync::Arc;

use serde_json::{Value, json};
use stonescriptdb_protocol::{
    Asked, ControlRequest, DatabaseRow, DeployMode, DeployOptions, DriftRow, ErrorCode, ExecutorRequest, Failure,
    MAIN_TENANT,
};

use super::gate::enter;
use super::{Deployment, control_target, run};
use crate::server::{App, broker};

/// `create_tenant`: a new database with the platform's newest bundle.
pub(in crate::server) async fn create_tenant(
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
pub(in crate::server) async fn list_databases(app: &App, platform: &str) -> Result<Value, Failure> {
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
pub(in crate::server) async fn drop_tenant(
    app: &Arc<App>,
    platform: &str,
    tenant: &str,
    confirm: &str,
) -> Result<Value, Failure> {
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
pub(in crate::server) async fn check(
    app: &App,
    platform: Option<&str>,
    tenant: Option<&str>,
) -> Result<Value, Failure> {
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
