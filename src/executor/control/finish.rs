//! The last half of a deployment: the record, and the end of what did not get anywhere.

use stonescriptdb_protocol::{Counts, DatabaseOutcome, Failure, Finish, Outcome};

use super::{execute, execute_once, record, registry, roles, spi};
use crate::error;
use crate::kept;
use crate::postgres::{toplevel, transaction};
use crate::query;

/// Writes the end of the record. Databases made for this deployment that were not deployed are dropped first: if that fails, their rows
/// stay and the next start tries again.
///
/// # Errors
/// PostgreSQL's own.
pub(super) fn run(finish: &Finish) -> Result<Counts, Failure> {
    for outcome in finish.outcomes.iter().filter(|outcome| outcome.created && !outcome.result.is_success()) {
        toplevel::drop_database(&outcome.database)?;
    }
    transaction(|| {
        let is_quiet = !finish.outcomes.is_empty() && finish.outcomes.iter().all(changed_nothing);
        if is_quiet {
            // A record that nothing happened may be lost with a crash. In any other case this is the commit that brings to disk what the
            // tenants' transactions, whose records are in the same log, may have left to it.
            execute("SET LOCAL synchronous_commit = off", &[])?;
        }
        let mut is_same = is_quiet;
        for outcome in &finish.outcomes {
            is_same &= record::database(&finish.deployment_id, finish.dry_run, outcome)?;
        }
        if is_same {
            // The bundle was noted when it was deployed: repeating that costs a container's start more than all the rest.
            return close_repeated(&finish.deployment_id);
        }
        execute_once(
            "UPDATE stonescriptdb.deployment d SET finished_at = now(), counts = to_jsonb(c),
                 error = $4::jsonb,
                 state = CASE WHEN $4 IS NOT NULL THEN 'failed' WHEN $2 THEN 'cancelled' WHEN $3 THEN 'planned'
                              WHEN c.total > c.succeeded + c.unchanged AND c.succeeded + c.unchanged = 0 THEN 'failed'
                              WHEN c.total > c.succeeded + c.unchanged THEN 'partial'
                              WHEN c.warned > 0 THEN 'completed_with_warnings' ELSE 'completed' END
             FROM stonescriptdb.deployment_counts($1::uuid) c WHERE d.id = $1::uuid",
            &[
                finish.deployment_id.as_str().into(),
                finish.cancelled.into(),
                finish.dry_run.into(),
                finish.refused.as_ref().map(|failure| error::to_json(failure, None).to_string()).into(),
            ],
        )?;
        if !finish.dry_run && finish.refused.is_none() {
            note_bundles(&finish.deployment_id)?;
        }
        forget_bundles(&finish.deployment_id)?;
        forget_empty_platform(&finish.deployment_id)?;
        if !is_quiet {
            record::tell(&finish.deployment_id, None)?;
        }
        record::counts(&finish.deployment_id)
    })
}

/// Closes the record of a deployment of one database that had nothing to do and no news.
fn close_repeated(deployment_id: &str) -> Result<Counts, Failure> {
    let counts = Counts { state: "completed".to_owned(), total: 1, succeeded: 1, ..Counts::default() };
    execute(
        "UPDATE stonescriptdb.deployment SET finished_at = now(), state = 'completed',
             counts = '{\"total\": 1, \"succeeded\": 1, \"unchanged\": 0, \"failed\": 0, \"skipped\": 0, \"warned\": 0}'
         WHERE id = $1::uuid",
        &[deployment_id.into()],
    )?;
    Ok(counts)
}

/// The bundles that were deployed or stored, and the newest of them as its schema's: by an upload, or by a
/// deployment of a bundle that came with it.
fn note_bundles(deployment_id: &str) -> Result<(), Failure> {
    execute_once(
        "UPDATE stonescriptdb.bundle b SET deployed_at = clock_timestamp() FROM stonescriptdb.deployment d
         WHERE d.id = $1::uuid AND b.platform = d.platform
           AND b.sha256 IN (SELECT x.bundle_sha256 FROM stonescriptdb.deployment_database x WHERE x.deployment_id = d.id
                            AND x.state IN ('completed', 'completed_with_warnings', 'unchanged'))",
        &[deployment_id.into()],
    )?;
    let newest = query::select("SELECT d.platform, d.schema_name, coalesce(x.bundle_sha256, d.bundle_sha256) FROM stonescriptdb.deployment d
                 LEFT JOIN stonescriptdb.deployment_database x ON x.deployment_id = d.id AND x.bundle_sha256 IS NOT NULL
                      AND x.state IN ('completed', 'completed_with_warnings', 'unchanged')
                 WHERE d.id = $1::uuid AND (d.kind = 'schema' OR x.bundle_sha256 IS NOT NULL AND (d.options ->> 'sent')::boolean)
                 ORDER BY x.position LIMIT 1", &[deployment_id.into()], |mut rows| {
        let Some(row) = rows.next() else { return Ok::<_, Failure>(None) };
        let text = |place: usize| row.get::<String>(place).map_err(spi);
        Ok(text(1)?.zip(text(2)?).zip(text(3)?))
    })?;
    newest.map_or(Ok(()), |((platform, schema), sha256)| registry::set_schema(&platform, &schema, &sha256))
}

/// Bundles that came to nothing: never deployed nor stored, without a template, and not to be taken up again.
fn forget_bundles(deployment_id: &str) -> Result<(), Failure> {
    execute_once(
        "DELETE FROM stonescriptdb.bundle b WHERE deployed_at IS NULL
         AND platform = (SELECT platform FROM stonescriptdb.deployment WHERE id = $1::uuid)
         AND NOT EXISTS (SELECT FROM stonescriptdb.template t WHERE t.platform = b.platform AND t.sha256 = b.sha256)
         AND NOT EXISTS (SELECT FROM stonescriptdb.schema_version v WHERE v.platform = b.platform AND v.sha256 = b.sha256)
         AND NOT EXISTS (SELECT FROM stonescriptdb.deployment d WHERE d.platform = b.platform
                         AND d.bundle_sha256 = b.sha256 AND d.state IN ('running', 'interrupted'))
         AND NOT (b.proved_at IS NOT NULL AND EXISTS (
                SELECT FROM stonescriptdb.deployment d JOIN stonescriptdb.deployment_database x ON x.deployment_id = d.id
                WHERE d.platform = b.platform AND x.bundle_sha256 = b.sha256 AND NOT d.dry_run
                  AND d.state IN ('running', 'interrupted', 'cancelled', 'partial', 'failed')))",
        &[deployment_id.into()],
    )
}

fn changed_nothing(outcome: &DatabaseOutcome) -> bool {
    match &outcome.result {
        Outcome::Done(report) => {
            !outcome.created && report.plan.is_empty() && report.seeders.is_empty() && !report.unfinished
        }
        Outcome::Unchanged | Outcome::Superseded => true,
        _ => false,
    }
}

/// The owner role can grant what it likes on its database, in a DO block too; who may connect is not a bundle's to say.
pub(super) fn close_again(database: &str) -> Result<(), Failure> {
    let roles = kept::select(
        "SELECT p.owner_role::text, p.call_role::text FROM stonescriptdb.platform p
                 JOIN stonescriptdb.database d ON d.platform = p.name JOIN pg_database c ON c.oid = d.datid
                 WHERE c.datname = $1 AND EXISTS (SELECT FROM aclexplode(coalesce(c.datacl, acldefault('d', c.datdba))) a
                     WHERE a.grantee NOT IN (SELECT r.oid FROM pg_roles r WHERE r.rolname IN (p.owner_role, p.call_role)))",
        &[database.into()],
        |mut rows| {
            let Some(row) = rows.next() else { return Ok::<_, Failure>(None) };
            Ok(row.get::<String>(1).map_err(spi)?.zip(row.get::<String>(2).map_err(spi)?))
        },
    )?;
    roles.map_or(Ok(()), |(owner, call)| roles::close_database(database, &owner, &call))
}

/// A platform that this deployment registered, and that has nothing, is as if it had never been.
fn forget_empty_platform(deployment_id: &str) -> Result<(), Failure> {
    let gone = kept::update(
        "DELETE FROM stonescriptdb.platform p WHERE created_by = $1::uuid
                 AND NOT EXISTS (SELECT FROM stonescriptdb.database d WHERE d.platform = p.name)
                 RETURNING owner_role::text, call_role::text",
        &[deployment_id.into()],
        |rows| {
            let mut gone = Vec::new();
            for row in rows {
                gone.extend(row.get::<String>(1).map_err(spi)?);
                gone.extend(row.get::<String>(2).map_err(spi)?);
            }
            Ok::<_, Failure>(gone)
        },
    )?;
    gone.iter().try_for_each(|role| roles::drop_if_unused(role))
}

/// Takes a database's row out of the registry, inside the caller's transaction. The database itself, if a half-built one is left, was
/// dropped by [`reconcile`]; one that is there all the same is not ours to drop.
pub(super) fn forget(database: &str) -> Result<(), Failure> {
    execute("DELETE FROM stonescriptdb.database WHERE name = $1", &[database.into()])
}

/// After a start: no deployment can be running. Half-built databases are dropped (only such as belong to their platform's owner role),
/// and what was running is recorded as interrupted. Gives the names of the databases dropped.
pub(super) fn reconcile() -> Result<Vec<String>, Failure> {
    let half_built: Vec<String> = transaction(|| {
        let there = query::one::<bool>("SELECT to_regclass('stonescriptdb.database') IS NOT NULL", &[]).map_err(spi)?;
        if there != Some(true) {
            return Ok(Vec::new());
        }
        query::select(
            "SELECT name::text FROM stonescriptdb.database WHERE state = 'creating' ORDER BY name",
            &[],
            |rows| rows.map(|row| Ok::<_, Failure>(row.get::<String>(1).map_err(spi)?.unwrap_or_default())).collect(),
        )
    })?;
    let mut dropped = Vec::new();
    for name in half_built {
        let ours = transaction(|| {
            query::one::<bool>(
                "SELECT EXISTS (SELECT FROM pg_database c JOIN pg_roles r ON r.oid = c.datdba
                                JOIN stonescriptdb.database d ON d.name = c.datname
                                JOIN stonescriptdb.platform p ON p.name = d.platform AND p.owner_role = r.rolname
                                WHERE c.datname = $1)",
                &[name.as_str().into()],
            )
            .map_err(|error| Failure::from(spi(error)))
        })?;
        if ours == Some(true) {
            toplevel::drop_database(&name)?;
            dropped.push(name.clone());
        }
        transaction(|| registry_forget(&name))?;
    }
    dropped.extend(super::template::drop_unfinished()?);
    transaction(|| {
        let there =
            query::one::<bool>("SELECT to_regclass('stonescriptdb.deployment') IS NOT NULL", &[]).map_err(spi)?;
        if there != Some(true) {
            return Ok(());
        }
        // A database that was being taken over is as it was, but for its owner; taking it over goes on where it stopped.
        execute("DELETE FROM stonescriptdb.database WHERE state = 'adopting'", &[])?;
        execute(
            "UPDATE stonescriptdb.deployment_database SET state = 'interrupted' WHERE state = 'running'
             AND deployment_id IN (SELECT id FROM stonescriptdb.deployment WHERE state = 'running')",
            &[],
        )?;
        execute(
            "UPDATE stonescriptdb.deployment d SET state = 'interrupted', finished_at = now(), counts = to_jsonb(c)
             FROM (SELECT r.id, k.* FROM stonescriptdb.deployment r, stonescriptdb.deployment_counts(r.id) k WHERE r.state = 'running') c
             WHERE d.id = c.id",
            &[],
        )
    })?;
    Ok(dropped)
}

fn registry_forget(name: &str) -> Result<(), Failure> {
    let creator = query::one::<String>(
        "SELECT (SELECT p.created_by::text FROM stonescriptdb.database d JOIN stonescriptdb.platform p ON p.name = d.platform
                 WHERE d.name = $1)",
        &[name.into()],
    )
    .map_err(spi)?;
    forget(name)?;
    creator.map_or(Ok(()), |deployment| forget_empty_platform(&deployment))
}
