//! Pending migrations that have to run before the deployment's transaction.

use pgrx::Spi;
use stonescriptdb_protocol::{DeployReport, DeployRequest, ErrorCode, Failure};

use super::build::Done;
use super::proof::{Migration, Proof};
use super::sources::{Source, Sources};
use super::{afterwards, check_deferred, locks, migrations, prepare_session, spi, tracking};
use crate::postgres::transaction;

/// Runs the pending migrations up to the last one without a transaction that has one with a transaction behind it: files run in the order of
/// their names. Each is recorded by itself.
pub(super) fn run_early(
    request: &DeployRequest,
    proof: &Proof,
    sources: &Sources,
    report: &mut DeployReport,
) -> Result<(), Failure> {
    let pending = transaction(|| {
        if tracking::state()?.is_none() {
            return Ok(Vec::new());
        }
        migrations::pending(proof, &tracking::applied_migrations()?)
    })?;
    let last = pending.iter().rposition(|migration| migration.transactional).unwrap_or(0);
    let Some(cut) = pending.iter().take(last).rposition(|migration| !migration.transactional) else { return Ok(()) };
    let early: Vec<&Migration> = pending.into_iter().take(cut + 1).collect();
    for source in migrations::find(sources, &early)? {
        if source.transactional {
            let steps = locks::with_retries(|| {
                transaction(|| {
                    prepare_session()?;
                    let steps = migrations::run(source, Done::Nothing)?;
                    check_deferred(ErrorCode::MigrationFailed, Some(&source.path))?;
                    record(proof, source)?;
                    Ok::<_, Failure>(steps)
                })
            })?;
            report.plan.extend(steps);
            report.migrations_applied += 1;
            continue;
        }
        transaction(|| {
            tracking::open(&request.call_role)?;
            afterwards::note_migration(source, report)
        })?;
        afterwards::run(report)?;
        if report.unfinished {
            let failure =
                Failure::new(ErrorCode::MigrationFailed, "a migration without a transaction does not come to its end");
            return Err(failure
                .detail(report.warnings.join("; "))
                .hint("What it did stays. Mend what stops it and deploy again: it goes on where it stopped.")
                .at(&source.path, None));
        }
    }
    Ok(())
}

pub(super) fn record(proof: &Proof, source: &Source) -> Result<(), Failure> {
    let migration = proof.migrations.iter().find(|migration| migration.file_name == source.file_name);
    migration.map_or(Ok(()), tracking::write_migration)
}

pub(super) fn has_unfinished_migration() -> Result<bool, Failure> {
    if tracking::state()?.is_none_or(|state| !state.is_pending) {
        return Ok(false);
    }
    let any =
        Spi::get_one::<bool>("SELECT EXISTS (SELECT FROM public._stonescriptdb_pending WHERE migration IS NOT NULL)");
    Ok(any.map_err(spi)? == Some(true))
}
