//! Statements that run after the deployment's transaction: index builds and validations on big tables, migrations without a transaction.
//!
//! They are written down in that transaction. What of them is not done when something ends is done by the next deployment.

use pgrx::Spi;
use stonescriptdb_protocol::{DeployReport, Failure};
use stonescriptdb_schema::{Stage, Step};

use super::proof::{Migration, Proof};
use super::sources::Source;
use super::{catalog, migrations, spi, tracking};
use crate::postgres::{LastingMemory, PgError, Script, ScriptError, quote_identifier, transaction};
use crate::settings;

/// Writes down what is to be done, inside the deployment's transaction. What was left of an earlier plan is planned anew; what was left of a
/// migration stays, for its statements are run once.
pub(super) fn note(steps: &[Step], untransacted: &[&Source], report: &mut DeployReport) -> Result<(), Failure> {
    drop_leftovers(steps)?;
    Spi::run("DELETE FROM public._stonescriptdb_pending WHERE migration IS NULL").map_err(spi)?;
    for step in steps.iter().filter(|step| step.stage == Stage::After) {
        report.plan.push(super::apply::planned(step));
        Spi::run_with_args(
            "INSERT INTO public._stonescriptdb_pending (sql, object) VALUES ($1, $2)",
            &[step.sql.as_str().into(), step.object.to_string().into()],
        )
        .map_err(spi)?;
    }
    untransacted.iter().try_for_each(|source| note_migration(source, report))
}

/// Writes down the statements of a migration that has no transaction.
pub(super) fn note_migration(source: &Source, report: &mut DeployReport) -> Result<(), Failure> {
    for statement in &source.script.statements {
        let planned = migrations::planned(source, statement);
        Spi::run_with_args(
            "INSERT INTO public._stonescriptdb_pending (migration, checksum, sql, object) VALUES ($1, $2, $3, $4)",
            &[
                source.file_name.as_str().into(),
                source.raw_checksum.as_str().into(),
                planned.sql.as_str().into(),
                planned.object.as_str().into(),
            ],
        )
        .map_err(spi)?;
        report.plan.push(planned);
    }
    Ok(())
}

/// Indexes that a statement of an earlier plan left unfinished and that the plan of now does not speak of are nobody's.
fn drop_leftovers(steps: &[Step]) -> Result<(), Failure> {
    for statement in pending()?.iter().filter(|statement| statement.migration.is_none()) {
        let Ok(script) = Script::parse(&statement.sql) else { continue };
        for index in script.statements.iter().filter_map(|one| script.index_built_concurrently(one)) {
            let is_planned = steps.iter().any(|step| step.object.name == index.name);
            if let (false, Some(leftover)) = (is_planned, unfinished_index(&index)?) {
                Spi::run(&format!("DROP INDEX {leftover}")).map_err(spi)?;
            }
        }
    }
    Ok(())
}

struct Pending {
    id: i64,
    migration: Option<String>,
    checksum: Option<String>,
    sql: String,
    is_done: bool,
}

fn pending() -> Result<Vec<Pending>, Failure> {
    Spi::connect(|client| {
        let rows = client
            .select(
                "SELECT id, migration, checksum, sql, done_at IS NOT NULL FROM public._stonescriptdb_pending ORDER BY id",
                None,
                &[],
            )
            .map_err(spi)?;
        rows.map(|row| {
            Ok(Pending {
                id: row.get::<i64>(1).map_err(spi)?.unwrap_or_default(),
                migration: row.get::<String>(2).map_err(spi)?,
                checksum: row.get::<String>(3).map_err(spi)?,
                sql: row.get::<String>(4).map_err(spi)?.unwrap_or_default(),
                is_done: row.get::<bool>(5).map_err(spi)?.unwrap_or_default(),
            })
        })
        .collect()
    })
}

/// Runs what is written down, one statement after the other. One that fails stops the rest; they stay written down.
///
/// # Errors
/// Of the bookkeeping only: a statement's own failure becomes a warning.
pub(super) fn run(report: &mut DeployReport) -> Result<(), Failure> {
    let all = transaction(pending)?;
    for (place, statement) in all.iter().enumerate() {
        if !statement.is_done {
            let begun = std::time::Instant::now();
            if let Err(error) = run_one(&statement.sql) {
                report.unfinished = true;
                report.warnings.push(format!(
                    "a statement that runs after the transaction is still to be done: {} (SQLSTATE {}): {}",
                    error.message, error.sqlstate, statement.sql
                ));
                return transaction(|| {
                    Spi::run_with_args(
                        "UPDATE public._stonescriptdb_pending SET error = $2 WHERE id = $1",
                        &[statement.id.into(), format!("{} {}", error.sqlstate, error.message).into()],
                    )
                    .map_err(spi)
                });
            }
            if let Some(step) = report.plan.iter_mut().find(|step| !step.transactional && step.sql == statement.sql) {
                step.duration_ms = Some(begun.elapsed().as_secs_f64() * 1000.0);
            }
        }
        let is_last = all.get(place + 1).is_none_or(|next| next.migration != statement.migration);
        transaction(|| done(statement, is_last))?;
        if is_last && statement.migration.is_some() {
            report.migrations_applied += 1;
        }
    }
    Ok(())
}

fn done(statement: &Pending, is_last_of_migration: bool) -> Result<(), Failure> {
    match (&statement.migration, &statement.checksum, is_last_of_migration) {
        (Some(file_name), Some(checksum), true) => {
            tracking::write_migration(&Migration {
                file_name: file_name.clone(),
                path: String::new(),
                checksum: checksum.clone(),
                transactional: false,
            })?;
            Spi::run_with_args(
                "DELETE FROM public._stonescriptdb_pending WHERE migration = $1",
                &[file_name.as_str().into()],
            )
            .map_err(spi)
        }
        (Some(_), ..) => Spi::run_with_args(
            "UPDATE public._stonescriptdb_pending SET done_at = pg_catalog.now(), error = NULL WHERE id = $1",
            &[statement.id.into()],
        )
        .map_err(spi),
        (None, ..) => {
            Spi::run_with_args("DELETE FROM public._stonescriptdb_pending WHERE id = $1", &[statement.id.into()])
                .map_err(spi)
        }
    }
}

/// Runs one statement at the top level. An index that an earlier attempt left unfinished is dropped before it is built anew; one that an
/// earlier attempt finished is there.
fn run_one(sql: &str) -> Result<(), PgError> {
    let memory = LastingMemory::new();
    memory.enter(|| {
        let script = Script::parse(sql).map_err(|error: ScriptError| error.error)?;
        for statement in &script.statements {
            let index = script.index_built_concurrently(statement);
            if let Some(index) = &index
                && let Some(leftover) = transaction(|| unfinished_index(index))?
            {
                run_one(&format!("DROP INDEX CONCURRENTLY {leftover}"))?;
            }
            match script.run_at_top_level(statement, settings::deploy_statement_timeout_ms()) {
                Err(error) if error.error.sqlstate == "42P07" && index.is_some() => {}
                result => result.map_err(|error| error.error)?,
            }
        }
        Ok(())
    })
}

/// The quoted name of an index if it is there and not valid.
fn unfinished_index(index: &stonescriptdb_schema::ObjectName) -> Result<Option<String>, PgError> {
    let name = format!("{}.{}", quote_identifier(&index.schema), quote_identifier(&index.name));
    let invalid = Spi::get_one_with_args::<bool>(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_index WHERE indexrelid = pg_catalog.to_regclass($1) AND NOT indisvalid)",
        &[name.as_str().into()],
    )
    .map_err(|error| PgError::new("XX000", error.to_string()))?;
    Ok((invalid == Some(true)).then_some(name))
}

/// After everything: what is there must be as the proof says, and is recorded so.
pub(super) fn settle(
    proof: &Proof,
    bundle_sha256: &str,
    deployment_id: &str,
    report: &mut DeployReport,
) -> Result<(), Failure> {
    transaction(|| {
        let present = catalog::without_spelling(catalog::read()?, &proof.model);
        let open = super::deviations(&present, &proof.model, &Default::default());
        if open.is_empty() {
            return tracking::write_state(
                bundle_sha256,
                &proof.model.declared(),
                &catalog::stamp()?,
                Some(&present.fingerprint()),
                Some(deployment_id),
            );
        }
        report.unfinished = true;
        report.warnings.extend(open.iter().map(|difference| {
            format!("not as the bundle says: {} ({})", difference.object, difference.deviation.word())
        }));
        Ok(())
    })
}
