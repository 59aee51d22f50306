//! A deployment that came to no end is taken up again, with what it was asked with.

use std::collections::HashMap;

use stonescriptdb_protocol::{DeployMode, ErrorCode, Failure, Prepared, PreparedDatabase, Settled};

use super::bundles::Chosen;
use super::prepare::tenant_and_database;
use super::record::{Options, settled_word};
use super::registry::{self, Database};
use super::{execute, spi};
use crate::postgres::transaction;
use crate::query;

/// A deployment as its row has it.
struct Known {
    platform: String,
    platform_key: String,
    schema: String,
    schema_key: String,
    mode: DeployMode,
    state: String,
    options: Options,
}

/// A database of it that is to be done.
struct Open {
    position: u32,
    database: String,
    tenant: String,
    bundle_sha256: Option<String>,
    created: bool,
    /// The deployment in whose state it was when this one began.
    deployed_by: Option<String>,
}

/// Opens a deployment again: for the databases whose turn did not come or did not end, or for those that failed and those that were left
/// out because of them.
///
/// # Errors
/// `deployment_not_found`; `deployment_in_progress` while it runs; `invalid_request` for one that has nothing to resume by its nature.
pub(super) fn run(deployment_id: &str, failed: bool) -> Result<Prepared, Failure> {
    transaction(|| {
        let known = known(deployment_id)?;
        match known.state.as_str() {
            "running" => {
                return Err(Failure {
                    deployment_id: Some(deployment_id.to_owned()),
                    ..Failure::new(ErrorCode::DeploymentInProgress, "the deployment is running")
                });
            }
            "planned" => {
                return Err(Failure::new(
                    ErrorCode::InvalidRequest,
                    "the deployment was a dry run: it has nothing to resume",
                ));
            }
            _ => {}
        }
        super::prepare::lock_platform(&known.platform_key)?;
        let (owner_role, call_role) = registry::roles_of(&known.platform)?;
        let there: HashMap<String, Database> = registry::databases(&known.platform, &known.schema, None)?
            .into_iter()
            .map(|database| (database.tenant.written.clone(), database))
            .collect();
        let mut bundles = Chosen::new(&known.platform, None);
        let mut databases = Vec::new();
        for open in open(deployment_id, failed)? {
            databases.push(again(deployment_id, &known, &there, &mut bundles, open)?);
        }
        let positions: Vec<i32> = databases.iter().map(|database| database.position as i32).collect();
        let states: Vec<&str> = databases.iter().map(|database| settled_word(database.settled)).collect();
        execute(
            "UPDATE stonescriptdb.deployment_database x SET state = s.state, error = NULL, started_at = NULL,
                 finished_at = CASE WHEN s.state <> 'pending' THEN now() END,
                 touches = (SELECT d.touches FROM stonescriptdb.database d JOIN pg_database c ON c.oid = d.datid WHERE c.datname = x.database)
             FROM unnest($2::integer[], $3::text[]) AS s(position, state)
             WHERE x.deployment_id = $1::uuid AND x.position = s.position",
            &[deployment_id.into(), positions.into(), states.into()],
        )?;
        execute(
            "UPDATE stonescriptdb.deployment SET state = 'running', error = NULL, finished_at = NULL, counts = NULL, resumed_at = now()
             WHERE id = $1::uuid",
            &[deployment_id.into()],
        )?;
        let (bundles, warnings) = bundles.into_parts();
        Ok(Prepared {
            mode: known.mode,
            options: known.options.deploy,
            fleet: known.options.fleet,
            is_single: false,
            platform: known.platform,
            schema: known.schema,
            owner_role,
            call_role,
            // Nothing is taken over here: such a database is a tenant's by now, or nobody's.
            by: None,
            bundles,
            databases,
            warnings,
        })
    })
}

fn again(
    deployment_id: &str,
    known: &Known,
    there: &HashMap<String, Database>,
    bundles: &mut Chosen<'_>,
    open: Open,
) -> Result<PreparedDatabase, Failure> {
    let place = open.bundle_sha256.as_deref().map(|sha256| bundles.place_of_stored(sha256)).transpose()?;
    let database = there.get(&open.tenant).filter(|database| database.ready && database.exists);
    let is_at_target = |database: &&Database| database.bundle_sha256 == open.bundle_sha256;
    let settled = match database {
        // Another deployment than the one that this one found, or than this one itself, has been here since.
        Some(database)
            if !is_at_target(&database)
                && database.deployment_id != open.deployed_by
                && database.deployment_id.as_deref() != Some(deployment_id) =>
        {
            Some(Settled::Superseded)
        }
        Some(database) if is_at_target(&database) && !database.unsettled && !known.options.deploy.verify => {
            Some(Settled::Unchanged)
        }
        _ => None,
    };
    let mut created = false;
    if database.is_none() && open.created {
        let (tenant, name) = tenant_and_database(&known.platform_key, &known.schema_key, Some(&open.tenant))?;
        registry::claim(&known.platform, &known.schema, &tenant, &name, false)?;
        created = true;
    }
    Ok(PreparedDatabase {
        position: open.position,
        name: database.map_or(open.database, |database| database.name.clone()),
        canary: known.options.fleet.canary.contains(&open.tenant),
        tenant: open.tenant,
        settled,
        created,
        adopted: false,
        bundle: place,
    })
}

fn known(deployment_id: &str) -> Result<Known, Failure> {
    let not_found = || Failure::new(ErrorCode::DeploymentNotFound, format!("there is no deployment {deployment_id}"));
    if uuid::Uuid::parse_str(deployment_id).is_err() {
        return Err(not_found());
    }
    query::select(
        "SELECT p.name, p.key, d.schema_name, coalesce(s.key, ''), d.kind, d.state, d.options::text
                 FROM stonescriptdb.deployment d JOIN stonescriptdb.platform p ON p.name = d.platform
                      LEFT JOIN stonescriptdb.stored_schema s ON s.platform = d.platform AND s.name = d.schema_name
                 WHERE d.id = $1::uuid AND d.kind IN ('register', 'migrate') AND d.options IS NOT NULL",
        &[deployment_id.into()],
        |mut rows| {
            let row = rows.next().ok_or_else(not_found)?;
            let text = |place: usize| Ok::<_, Failure>(row.get::<String>(place).map_err(spi)?.unwrap_or_default());
            Ok(Known {
                platform: text(1)?,
                platform_key: text(2)?,
                schema: text(3)?,
                schema_key: text(4)?,
                mode: if text(5)? == "register" { DeployMode::Register } else { DeployMode::Migrate },
                state: text(6)?,
                options: serde_json::from_str(&text(7)?).map_err(|error| Failure::internal(error.to_string()))?,
            })
        },
    )
}

fn open(deployment_id: &str, failed: bool) -> Result<Vec<Open>, Failure> {
    let states: Vec<&str> = if failed {
        vec!["failed", "skipped"]
    } else {
        vec!["pending", "running", "interrupted", "cancelled", "skipped"]
    };
    query::select("SELECT position, database::text, tenant_id, bundle_sha256, created, deployed_by::text FROM stonescriptdb.deployment_database
                 WHERE deployment_id = $1::uuid AND state = ANY ($2) ORDER BY position", &[deployment_id.into(), states.into()], |rows| {
        rows.map(|row| {
            Ok(Open {
                position: row.get::<i32>(1).map_err(spi)?.unwrap_or_default().unsigned_abs(),
                database: row.get::<String>(2).map_err(spi)?.unwrap_or_default(),
                tenant: row.get::<String>(3).map_err(spi)?.unwrap_or_default(),
                bundle_sha256: row.get::<String>(4).map_err(spi)?,
                created: row.get::<bool>(5).map_err(spi)?.unwrap_or_default(),
                deployed_by: row.get::<String>(6).map_err(spi)?,
            })
        })
        .collect()
    })
}
