//! The record of deployments: begun, going on, refused.

use serde::{Deserialize, Serialize};
use stonescriptdb_protocol::{
    Counts, DatabaseOutcome, DeployMode, DeployOptions, DeployReport, Deployment, Failure, FleetOptions, Outcome,
    PreparedBundle, PreparedDatabase, Progress, Refused, Selection, Settled,
};

use super::{execute, finish, spi};
use crate::error;
use crate::kept;
use crate::postgres::transaction;
use crate::query;

/// What a deployment was asked with, in its row.
#[derive(Serialize, Deserialize)]
pub(super) struct Options {
    pub(super) deploy: DeployOptions,
    pub(super) fleet: FleetOptions,
    /// Its bundle came with it, and is not the one that its schema had.
    #[serde(default)]
    sent: bool,
}

/// Writes the rows of a deployment that begins.
pub(super) fn begin(
    request: &Deployment,
    platform: &str,
    schema: &str,
    bundles: &[PreparedBundle],
    databases: &[PreparedDatabase],
) -> Result<(), Failure> {
    let sha256_of = |place: Option<usize>| bundles.get(place?).map(|bundle| bundle.key.sha256.as_str());
    deployment(request, platform, schema, "running", sha256_of(Some(0)), None)?;
    // One database is begun at once; of several each when its turn comes.
    let first = if matches!(request.selection, Selection::Tenant(_)) { "running" } else { "pending" };
    let state = |database: &PreparedDatabase| match database.settled {
        None => first,
        settled => settled_word(settled),
    };
    let names: Vec<&str> = databases.iter().map(|database| database.name.as_str()).collect();
    let tenants: Vec<&str> = databases.iter().map(|database| database.tenant.as_str()).collect();
    let sums: Vec<Option<&str>> = databases.iter().map(|database| sha256_of(database.bundle)).collect();
    let states: Vec<&str> = databases.iter().map(state).collect();
    let created: Vec<bool> = databases.iter().map(|database| database.created).collect();
    execute(
        "INSERT INTO stonescriptdb.deployment_database
             (deployment_id, position, database, tenant_id, bundle_sha256, state, created, touches, deployed_by, started_at, finished_at)
         SELECT $1::uuid, n.place - 1, n.name, n.tenant, n.sha256, n.state, n.created, d.touches, d.deployment_id,
                CASE WHEN n.state = 'running' THEN now() END, CASE WHEN n.state IN ('unchanged', 'superseded') THEN now() END
         FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::boolean[])
              WITH ORDINALITY AS n(name, tenant, sha256, state, created, place)
              LEFT JOIN pg_database c ON c.datname = n.name
              LEFT JOIN stonescriptdb.database d ON d.datid = c.oid",
        &[
            request.deployment_id.as_str().into(),
            names.into(),
            tenants.into(),
            sums.into(),
            states.into(),
            created.into(),
        ],
    )
}

/// The state of a database that may need nothing.
pub(super) fn settled_word(settled: Option<Settled>) -> &'static str {
    match settled {
        Some(Settled::Unchanged) => "unchanged",
        Some(Settled::Superseded) => "superseded",
        None => "pending",
    }
}

/// Records a deployment that was refused before any database was touched.
///
/// # Errors
/// PostgreSQL's own.
pub(super) fn refused(refused: &Refused) -> Result<(), Failure> {
    let request = &refused.asked_for;
    let error = error::to_json(&refused.failure, None).to_string();
    let platform = request.platform.as_deref().unwrap_or_default();
    let schema = request.schema.as_deref().unwrap_or_default();
    transaction(|| deployment(request, platform, schema, "failed", None, Some(&error)))
}

fn deployment(
    request: &Deployment,
    platform: &str,
    schema: &str,
    state: &str,
    sha256: Option<&str>,
    error: Option<&str>,
) -> Result<(), Failure> {
    let kind = match (&request.selection, request.mode) {
        (Selection::Nothing, _) => "schema",
        (_, DeployMode::Register) => "register",
        (_, DeployMode::Migrate) => "migrate",
    };
    let tenant = match &request.selection {
        Selection::Tenant(tenant) => tenant.as_deref(),
        _ => None,
    };
    let sent = request.archive.is_some();
    let options = Options { deploy: request.options.clone(), fleet: request.fleet.clone(), sent };
    let options = serde_json::to_string(&options).map_err(|error| Failure::internal(error.to_string()))?;
    execute(
        "INSERT INTO stonescriptdb.deployment
             (id, kind, platform, schema_name, bundle_sha256, state, requested_by, client_address, request_id, force, allow, dry_run,
              tenant_id, options, error, finished_at)
         VALUES ($1::uuid, $2, $3, $4, $5, $6, $7, $8, nullif($9, ''), $10, $11, $12, $13, $14::jsonb, $15::jsonb,
                 CASE WHEN $6 <> 'running' THEN now() END)",
        &[
            request.deployment_id.as_str().into(),
            kind.into(),
            platform.into(),
            schema.into(),
            sha256.into(),
            state.into(),
            request.asked.by.as_str().into(),
            request.asked.from.as_deref().into(),
            request.asked.request_id.as_str().into(),
            request.options.force.into(),
            request.options.allow.clone().into(),
            request.options.dry_run.into(),
            tenant.into(),
            options.into(),
            error.into(),
        ],
    )
}

/// Records what a deployment of several databases has come to, and tells it to whoever listens.
///
/// # Errors
/// PostgreSQL's own.
pub(super) fn progress(progress: &Progress) -> Result<(), Failure> {
    transaction(|| {
        // What a crash takes of it is found out again: each database knows its own state.
        execute("SET LOCAL synchronous_commit = off", &[])?;
        if !progress.begun.is_empty() {
            let positions: Vec<i32> = progress.begun.iter().map(|position| *position as i32).collect();
            execute(
                "UPDATE stonescriptdb.deployment_database SET state = 'running', attempts = attempts + 1,
                     started_at = CASE state WHEN 'pending' THEN clock_timestamp() ELSE started_at END
                 WHERE deployment_id = $1::uuid AND position = ANY ($2) AND state IN ('pending', 'running')",
                &[progress.deployment_id.as_str().into(), positions.into()],
            )?;
        }
        for outcome in &progress.outcomes {
            let _ = database(&progress.deployment_id, progress.dry_run, outcome)?;
            tell(&progress.deployment_id, Some(outcome))?;
        }
        Ok(())
    })
}

/// Records how it went in one database, and what that makes of its row in the registry. Gives whether it is in the state of the same
/// bundle as before.
pub(super) fn database(deployment_id: &str, dry_run: bool, outcome: &DatabaseOutcome) -> Result<bool, Failure> {
    let (report, failure) = match &outcome.result {
        Outcome::Done(report) => (to_text(report), None),
        Outcome::Failed(failure) => (None, Some(error::to_json(failure, None).to_string())),
        _ => (None, None),
    };
    execute(
        "UPDATE stonescriptdb.deployment_database SET state = $3, duration_ms = $4, report = $5::jsonb, error = $6::jsonb,
             attempts = greatest(attempts, $7), finished_at = clock_timestamp()
         WHERE deployment_id = $1::uuid AND position = $2",
        &[
            deployment_id.into(),
            (outcome.position as i32).into(),
            outcome.result.word().into(),
            outcome.duration_ms.into(),
            report.into(),
            failure.into(),
            (outcome.attempts as i32).into(),
        ],
    )?;
    match &outcome.result {
        Outcome::Done(report) if !dry_run => succeeded(deployment_id, outcome, report),
        Outcome::Done(_) | Outcome::Unchanged | Outcome::Superseded => Ok(false),
        Outcome::Failed(_) | Outcome::Skipped | Outcome::Cancelled => {
            execute(
                "DELETE FROM stonescriptdb.database WHERE name = $1 AND state <> 'ready'",
                &[outcome.database.as_str().into()],
            )?;
            Ok(false)
        }
    }
}

fn succeeded(deployment_id: &str, outcome: &DatabaseOutcome, report: &DeployReport) -> Result<bool, Failure> {
    let name = outcome.database.as_str();
    // To measure means to look at every file of the database. What was touched since the deployment began may have been touched after it
    // looked.
    let has_changed = outcome.created || !report.plan.is_empty();
    let (is_same, is_new) = kept::update(
        "UPDATE stonescriptdb.database d SET bundle_sha256 = coalesce($2, d.bundle_sha256), deployment_id = $3::uuid,
             deployed_at = clock_timestamp(), unfinished = $4, drift = 0, checked_at = clock_timestamp(),
             touched = d.touches <> coalesce((SELECT x.touches FROM stonescriptdb.deployment_database x
                                              WHERE x.deployment_id = $3::uuid AND x.position = $6), 0),
             size_bytes = CASE WHEN $5 THEN pg_database_size(d.datid) ELSE d.size_bytes END,
             measured_at = CASE WHEN $5 THEN clock_timestamp() ELSE d.measured_at END
         FROM stonescriptdb.database before
         WHERE d.datid = (SELECT oid FROM pg_database WHERE datname = $1) AND before.datid = d.datid
         RETURNING before.bundle_sha256 IS NOT DISTINCT FROM d.bundle_sha256, d.state <> 'ready'",
        &[
            name.into(),
            outcome.bundle_sha256.as_deref().into(),
            deployment_id.into(),
            report.unfinished.into(),
            has_changed.into(),
            (outcome.position as i32).into(),
        ],
        |mut rows| {
            let Some(row) = rows.next() else { return Ok::<_, Failure>((false, false)) };
            let is = |place: usize| Ok::<_, Failure>(row.get::<bool>(place).map_err(spi)? == Some(true));
            Ok((is(1)?, is(2)?))
        },
    )?;
    // Asked first, for the statement alone, whether or not it finds a row, has the server worker read the registry again.
    if is_new {
        execute(
            "UPDATE stonescriptdb.database SET state = 'ready' WHERE datid = (SELECT oid FROM pg_database WHERE datname = $1)",
            &[name.into()],
        )?;
    }
    finish::close_again(name)?;
    Ok(is_same)
}

fn to_text(report: &DeployReport) -> Option<String> {
    serde_json::to_string(report).ok()
}

/// Tells listeners of the channel `stonescriptdb_deployment` what has come of a database, or of the deployment.
pub(super) fn tell(deployment_id: &str, outcome: Option<&DatabaseOutcome>) -> Result<(), Failure> {
    execute(
        "SELECT pg_notify('stonescriptdb_deployment', jsonb_strip_nulls(jsonb_build_object(
             'deployment_id', d.id, 'platform', d.platform, 'state', d.state, 'database', $2, 'database_state', $3,
             'done', c.succeeded + c.unchanged + c.failed, 'total', c.total))::text)
         FROM stonescriptdb.deployment d, stonescriptdb.deployment_counts(d.id) c WHERE d.id = $1::uuid",
        &[
            deployment_id.into(),
            outcome.map(|outcome| outcome.database.as_str()).into(),
            outcome.map(|outcome| outcome.result.word()).into(),
        ],
    )
}

/// How the databases of a deployment are counted; its state is that of its row.
pub(super) fn counts(deployment_id: &str) -> Result<Counts, Failure> {
    let text = query::one::<String>(
        "SELECT json_build_object('state', d.state, 'total', c.total, 'succeeded', c.succeeded, 'unchanged', c.unchanged,
                                  'failed', c.failed, 'skipped', c.skipped)::text
         FROM stonescriptdb.deployment d, stonescriptdb.deployment_counts(d.id) c WHERE d.id = $1::uuid",
        &[deployment_id.into()],
    );
    let text = text.map_err(spi)?.unwrap_or_default();
    serde_json::from_str(&text).map_err(|error| Failure::internal(error.to_string()))
}
