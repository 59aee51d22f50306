//! The last half of a deployment: the record, and the end of what did not get anywhere.

use pgrx::Spi;
use stonescriptdb_protocol::{DatabaseOutcome, DeployReport, Failure, Finish};

use super::{execute, roles, spi};
use crate::error;
use crate::postgres::{toplevel, transaction};

/// Writes the record. Databases made for this deployment that were not deployed are dropped first: if that fails, their rows stay and
/// the next start tries again.
pub(super) fn run(finish: Finish) -> Result<(), Failure> {
    for outcome in finish.outcomes.iter().filter(|outcome| outcome.created && !succeeded(outcome)) {
        toplevel::drop_database(&outcome.database)?;
    }
    transaction(|| {
        if finish.outcomes.iter().all(changed_nothing) {
            // A record that nothing happened may be lost with a crash.
            execute("SET LOCAL synchronous_commit = off", &[])?;
        }
        for (position, outcome) in finish.outcomes.iter().enumerate() {
            record(&finish, position, outcome)?;
        }
        execute(
            "UPDATE stonescriptdb.deployment SET state = $2, finished_at = now() WHERE id = $1::uuid",
            &[finish.deployment_id.as_str().into(), finish.state.as_str().into()],
        )?;
        if finish.state != "planned" {
            let deployed: Vec<&str> = finish
                .outcomes
                .iter()
                .filter(|outcome| succeeded(outcome))
                .filter_map(|outcome| outcome.bundle_sha256.as_deref())
                .collect();
            execute(
                "UPDATE stonescriptdb.bundle SET deployed_at = clock_timestamp() WHERE sha256 = ANY ($2)
                 AND platform = (SELECT platform FROM stonescriptdb.deployment WHERE id = $1::uuid)",
                &[finish.deployment_id.as_str().into(), deployed.into()],
            )?;
        }
        execute(
            "DELETE FROM stonescriptdb.bundle b WHERE deployed_at IS NULL
             AND NOT EXISTS (SELECT FROM stonescriptdb.template t WHERE t.platform = b.platform AND t.sha256 = b.sha256)
             AND platform = (SELECT platform FROM stonescriptdb.deployment WHERE id = $1::uuid)
             AND NOT EXISTS (SELECT FROM stonescriptdb.deployment d WHERE d.platform = b.platform
                             AND d.bundle_sha256 = b.sha256 AND d.state = 'running')",
            &[finish.deployment_id.as_str().into()],
        )?;
        forget_empty_platform(&finish.deployment_id)
    })
}

fn changed_nothing(outcome: &DatabaseOutcome) -> bool {
    !outcome.created
        && matches!(&outcome.result, Some(Ok(report)) if report.plan.is_empty() && report.seeders.is_empty())
}

fn succeeded(outcome: &DatabaseOutcome) -> bool {
    matches!(outcome.result, Some(Ok(_)))
}

fn record(finish: &Finish, position: usize, outcome: &DatabaseOutcome) -> Result<(), Failure> {
    let (state, report, failure) = match &outcome.result {
        None => ("skipped", None, None),
        Some(Ok(report)) if report.unfinished => ("completed_with_warnings", to_text(report), None),
        Some(Ok(report)) => ("completed", to_text(report), None),
        Some(Err(failure)) => ("failed", None, Some(error::to_json(failure, None).to_string())),
    };
    execute(
        "UPDATE stonescriptdb.deployment_database SET state = $3, duration_ms = $4, report = $5::jsonb, error = $6::jsonb
         WHERE deployment_id = $1::uuid AND position = $2",
        &[
            finish.deployment_id.as_str().into(),
            (position as i32).into(),
            state.into(),
            outcome.duration_ms.into(),
            report.into(),
            failure.into(),
        ],
    )?;
    if succeeded(outcome) && finish.state != "planned" {
        execute(
            "UPDATE stonescriptdb.database SET state = 'ready', bundle_sha256 = coalesce($2, bundle_sha256), deployment_id = $3::uuid
             WHERE datid = (SELECT oid FROM pg_database WHERE datname = $1)",
            &[outcome.database.as_str().into(), outcome.bundle_sha256.as_deref().into(), finish.deployment_id.as_str().into()],
        )?;
        close_again(&outcome.database)?;
    } else {
        execute(
            "DELETE FROM stonescriptdb.database WHERE name = $1 AND state <> 'ready'",
            &[outcome.database.as_str().into()],
        )?;
    }
    Ok(())
}

/// The owner role can grant what it likes on its database, in a DO block too; who may connect is not a bundle's to say.
fn close_again(database: &str) -> Result<(), Failure> {
    let roles = Spi::connect(|client| {
        let mut rows = client
            .select(
                "SELECT p.owner_role::text, p.call_role::text FROM stonescriptdb.platform p
                 JOIN stonescriptdb.database d ON d.platform = p.name JOIN pg_database c ON c.oid = d.datid
                 WHERE c.datname = $1 AND EXISTS (SELECT FROM aclexplode(coalesce(c.datacl, acldefault('d', c.datdba))) a
                     WHERE a.grantee NOT IN (SELECT r.oid FROM pg_roles r WHERE r.rolname IN (p.owner_role, p.call_role)))",
                Some(1),
                &[database.into()],
            )
            .map_err(spi)?;
        let Some(row) = rows.next() else { return Ok::<_, Failure>(None) };
        Ok(row.get::<String>(1).map_err(spi)?.zip(row.get::<String>(2).map_err(spi)?))
    })?;
    roles.map_or(Ok(()), |(owner, call)| roles::close_database(database, &owner, &call))
}

fn to_text(report: &DeployReport) -> Option<String> {
    serde_json::to_string(report).ok()
}

/// A platform that this deployment registered, and that has nothing, is as if it had never been.
fn forget_empty_platform(deployment_id: &str) -> Result<(), Failure> {
    let gone = Spi::connect_mut(|client| {
        let rows = client
            .update(
                "DELETE FROM stonescriptdb.platform p WHERE created_by = $1::uuid
                 AND NOT EXISTS (SELECT FROM stonescriptdb.database d WHERE d.platform = p.name)
                 RETURNING owner_role::text, call_role::text",
                None,
                &[deployment_id.into()],
            )
            .map_err(spi)?;
        let mut gone = Vec::new();
        for row in rows {
            gone.extend(row.get::<String>(1).map_err(spi)?);
            gone.extend(row.get::<String>(2).map_err(spi)?);
        }
        Ok::<_, Failure>(gone)
    })?;
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
        let there = Spi::get_one::<bool>("SELECT to_regclass('stonescriptdb.database') IS NOT NULL").map_err(spi)?;
        if there != Some(true) {
            return Ok(Vec::new());
        }
        Spi::connect(|client| {
            let rows = client
                .select(
                    "SELECT name::text FROM stonescriptdb.database WHERE state = 'creating' ORDER BY name",
                    None,
                    &[],
                )
                .map_err(spi)?;
            rows.map(|row| Ok::<_, Failure>(row.get::<String>(1).map_err(spi)?.unwrap_or_default())).collect()
        })
    })?;
    let mut dropped = Vec::new();
    for name in half_built {
        let ours = transaction(|| {
            Spi::get_one_with_args::<bool>(
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
        let there = Spi::get_one::<bool>("SELECT to_regclass('stonescriptdb.deployment') IS NOT NULL").map_err(spi)?;
        if there != Some(true) {
            return Ok(());
        }
        // A database that was being taken over is as it was, but for its owner; taking it over goes on where it stopped.
        execute("DELETE FROM stonescriptdb.database WHERE state = 'adopting'", &[])?;
        execute("UPDATE stonescriptdb.deployment_database SET state = 'interrupted' WHERE state = 'running'", &[])?;
        execute(
            "UPDATE stonescriptdb.deployment SET state = 'interrupted', finished_at = now() WHERE state = 'running'",
            &[],
        )
    })?;
    Ok(dropped)
}

fn registry_forget(name: &str) -> Result<(), Failure> {
    let creator = Spi::get_one_with_args::<String>(
        "SELECT (SELECT p.created_by::text FROM stonescriptdb.database d JOIN stonescriptdb.platform p ON p.name = d.platform
                 WHERE d.name = $1)",
        &[name.into()],
    )
    .map_err(spi)?;
    forget(name)?;
    creator.map_or(Ok(()), |deployment| forget_empty_platform(&deployment))
}
