//! `check` and the view `drift`: how databases differ from their bundles.

use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};
use stonescriptdb_protocol::{
    ControlRequest, DriftRow, ErrorCode, ExecutorRequest, Failure, Prepared, ProofOf, Shown, TenantWork,
};

use super::control_target;
use super::life::work;
use super::template::Bundles;
use crate::server::lookup::Owned;
use crate::server::{App, broker};

/// So many databases at a time, if that many executors are to be had for what is no call.
const PARALLEL: usize = 4;

/// Compares one tenant's database, those of a schema or of a platform, or all, and notes in the registry how many differences each has.
///
/// # Errors
/// As of a look-up; PostgreSQL's own of the first database that cannot be compared.
pub(in crate::server) async fn check(
    app: &Arc<App>,
    platform: Option<&str>,
    schema: Option<&str>,
    tenant: Option<&str>,
) -> Result<Value, Failure> {
    let databases = app.registry().owned(platform, schema, tenant)?;
    let is_single = databases.len() == 1;
    let rows: Vec<Vec<Value>> = stream::iter(databases)
        .map(|owned| async move {
            let _slot = app.deployments.slot(app.settings().max_workers).await;
            let rows = one(app, &owned).await;
            if !is_single {
                // It will not be asked for again soon.
                app.pool.release(&owned.target);
            }
            rows
        })
        .buffered(PARALLEL)
        .try_collect()
        .await?;
    Ok(rows.into_iter().flatten().collect())
}

async fn one(app: &Arc<App>, owned: &Owned) -> Result<Vec<Value>, Failure> {
    let Owned { platform, schema, tenant, target } = owned;
    let database = target.database.to_string();
    let load = ControlRequest::LoadProofOf { database: database.clone() };
    let proof: Option<ProofOf> = broker::request(app, &control_target(app), &ExecutorRequest::Control(load)).await?;
    let Some(ProofOf { shown, deployed_by }) = proof else { return Ok(Vec::new()) };
    let proof = match shown {
        Shown::Proof(proof) => proof,
        // After pg_upgrade, or a restore into a server of another version.
        Shown::ToProve(prepared) => prove(app, &prepared).await?,
    };
    let found = match broker::request::<Vec<DriftRow>>(app, target, &ExecutorRequest::Check { proof }).await {
        Err(failure) if failure.code == ErrorCode::ConnectionFailed => {
            // What was dropped meanwhile has no drift.
            app.main.read_registry().await;
            match app.registry().tenant(platform, Some(schema), Some(tenant)) {
                Err(_) => return Ok(Vec::new()),
                Ok(_) => return Err(failure),
            }
        }
        found => found?,
    };
    let drift = u32::try_from(found.len()).unwrap_or(u32::MAX);
    work::<()>(app, TenantWork::Checked { database: database.clone(), drift, deployed_by }).await?;
    let row = |row: DriftRow| {
        json!({"platform": platform, "schema_name": schema, "tenant_id": tenant, "database": database, "kind": row.kind,
               "object": row.object, "deviation": row.deviation, "detail": row.detail})
    };
    Ok(found.into_iter().map(row).collect())
}

async fn prove(app: &Arc<App>, prepared: &Prepared) -> Result<String, Failure> {
    app.require_writable()?;
    // Till then templates that are being built are taken for leftovers.
    let _ = app.reconciled.subscribe().wait_for(|done| *done).await;
    Bundles::new(app, prepared, None).proof(0).await
}
