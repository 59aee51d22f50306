//! Seeders: run into empty tables; on a table that has rows, the rows that the seeder makes must be there.

use pgrx::Spi;
use stonescriptdb_bundle::Kind as FileKind;
use stonescriptdb_protocol::{DeployMode, ErrorCode, Failure, SeederCheck, SeederRows};
use stonescriptdb_schema::ObjectName;

use super::sources::{self, Source, Sources};
use super::structure::FileState;
use super::{Deployment, quoted, spi, tracking};
use crate::postgres::session::with_settings_restored;
use crate::postgres::{Kind, PgError, ScriptError, Statement, quote_identifier, subtransaction};

/// Runs or checks every seeder.
///
/// # Errors
/// `seeder_failed` with file and line; `verification_failed` with the missing rows on migrate, unless forced.
pub(super) fn run(deployment: &mut Deployment, sources: &Sources) -> Result<(), Failure> {
    for source in in_order(sources) {
        let targets = targets(source);
        if targets.is_empty() {
            // It says in no INSERT where its rows go: it runs once, and again when it changed.
            if deployment.file_state(source) != FileState::Unchanged {
                deployment.tracked.new_files.push((source.path.clone(), source.checksum.clone()));
                with_settings_restored(|| seed(deployment, source, source.file_name.clone()))?;
            }
            continue;
        }
        let table = targets.first().map_or_else(|| source.file_name.clone(), |target| target.display());
        let rows = targets.iter().try_fold(0, |sum, target| Ok::<u64, Failure>(sum + count(target)?))?;
        let made_now = targets.iter().any(|target| deployment.created_tables.contains(&target.display()));
        if rows == 0 && (made_now || deployment.request.mode == DeployMode::Register) {
            with_settings_restored(|| seed(deployment, source, table))?;
        } else if deployment.request.mode == DeployMode::Register {
            deployment.report.seeders.push(SeederRows { table, inserted: 0, skipped: rows });
            deployment.report.verification.seeders_verified += 1;
        } else {
            check(deployment, source, &targets)?;
        }
    }
    Ok(())
}

/// The seeders, those first whose tables others refer to: in the order in which the tables are made, and by name where that says nothing.
fn in_order(sources: &Sources) -> Vec<&Source> {
    let made = |table: &ObjectName| {
        sources
            .units
            .iter()
            .position(|unit| sources.get(*unit).is_some_and(|(_, s)| s.kind == Kind::Table(table.clone())))
    };
    let mut seeders: Vec<&Source> = sources.of_kind(FileKind::Seeder).collect();
    seeders.sort_by_cached_key(|source| targets(source).iter().map(made).max().flatten());
    seeders
}

/// The tables that a seeder inserts into, each once, in order.
fn targets(source: &Source) -> Vec<ObjectName> {
    let mut targets: Vec<ObjectName> = Vec::new();
    for statement in &source.script.statements {
        if let Kind::Insert(table) = &statement.kind
            && !targets.contains(table)
        {
            targets.push(table.clone());
        }
    }
    targets
}

fn count(table: &ObjectName) -> Result<u64, Failure> {
    if !super::relation_exists(table)? {
        return Ok(0);
    }
    let rows = Spi::get_one::<i64>(&format!("SELECT pg_catalog.count(*) FROM {}", quoted(table))).map_err(spi)?;
    Ok(u64::try_from(rows.unwrap_or(0)).unwrap_or(0))
}

fn seed(deployment: &mut Deployment, source: &Source, table: String) -> Result<(), Failure> {
    let mut inserted = 0;
    for statement in &source.script.statements {
        let rows = source.script.run(statement).map_err(|error| failed(source, error))?;
        if matches!(statement.kind, Kind::Insert(_)) {
            inserted += rows;
        }
    }
    deployment.report.seeders.push(SeederRows { table: table.clone(), inserted, skipped: 0 });
    deployment.report.verification.seeders_verified += 1;
    deployment.log("seeded", table, tracking::from_file(&source.path));
    Ok(())
}

fn failed(source: &Source, error: ScriptError) -> Failure {
    sources::failure(ErrorCode::SeederFailed, error, &source.path)
}

/// What a look at a seeder's rows gives; always by way of an error, so that the temporary tables are always gone again.
enum Seen {
    Checks(Vec<(SeederCheck, Vec<String>)>),
    Failed(Box<Failure>),
}

impl From<PgError> for Seen {
    fn from(error: PgError) -> Seen {
        Seen::Failed(Box::new(error.into()))
    }
}

/// Runs the seeder into temporary tables of the same shape and looks for each of their rows in the real ones.
fn check(deployment: &mut Deployment, source: &Source, targets: &[ObjectName]) -> Result<(), Failure> {
    if source.script.statements.iter().any(|statement| !matches!(statement.kind, Kind::Insert(_))) {
        deployment
            .report
            .warnings
            .push(format!("{}: it does more than INSERT, and its rows were not checked", source.path));
        return Ok(());
    }
    let seen = subtransaction(|| -> Result<(), Seen> {
        let checks = compare(source, targets).map_err(|failure| Seen::Failed(Box::new(failure)))?;
        Err(Seen::Checks(checks))
    });
    let checks = match seen {
        Err(Seen::Checks(checks)) => checks,
        Err(Seen::Failed(failure)) => return Err(*failure),
        Ok(()) => Vec::new(),
    };
    for (check, missing) in checks {
        let complete = check.found >= check.expected;
        let message = format!(
            "{} of the {} rows that {} makes are missing in {}",
            check.expected.saturating_sub(check.found),
            check.expected,
            source.path,
            check.table
        );
        deployment.report.seeder_validations.push(check);
        if complete {
            deployment.report.verification.seeders_verified += 1;
        } else if deployment.request.options.force {
            deployment.report.warnings.push(format!("{message}: {}", missing.join(", ")));
        } else {
            return Err(Failure::new(ErrorCode::VerificationFailed, message)
                .detail(format!("Missing: {}", missing.join(", ")))
                .hint("Insert them with a migration, or force the deployment.")
                .at(&source.path, None));
        }
    }
    Ok(())
}

/// So many missing rows are shown.
const SHOWN: i32 = 20;

fn compare(source: &Source, targets: &[ObjectName]) -> Result<Vec<(SeederCheck, Vec<String>)>, Failure> {
    for target in targets {
        let sql = format!(
            "CREATE TEMPORARY TABLE {} (LIKE {} INCLUDING DEFAULTS INCLUDING GENERATED INCLUDING IDENTITY) ON COMMIT DROP",
            quote_identifier(&target.name),
            quoted(target)
        );
        Spi::run(&sql).map_err(spi)?;
        drop_real_sequences(target)?;
    }
    for statement in &source.script.statements {
        source.script.run_into_temporary(statement).map_err(|error| failed(source, error))?;
    }
    targets.iter().map(|target| found(source, target)).collect()
}

/// The copied defaults name the real table's sequences; drawing from those would leave gaps for nothing.
fn drop_real_sequences(target: &ObjectName) -> Result<(), Failure> {
    let temporary = format!("pg_temp.{}", quote_identifier(&target.name));
    let columns = Spi::get_one_with_args::<Vec<Option<String>>>(
        "SELECT ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attrdef d
                      JOIN pg_catalog.pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
                      WHERE d.adrelid = $1::text::pg_catalog.regclass AND pg_catalog.pg_get_expr(d.adbin, d.adrelid) LIKE '%nextval(%')",
        &[temporary.as_str().into()],
    )
    .map_err(spi)?;
    for column in columns.unwrap_or_default().into_iter().flatten() {
        let column = quote_identifier(&column);
        Spi::run(&format!(
            "ALTER TABLE {temporary} ALTER COLUMN {column} DROP DEFAULT, ALTER COLUMN {column} DROP NOT NULL"
        ))
        .map_err(spi)?;
    }
    Ok(())
}

fn found(source: &Source, target: &ObjectName) -> Result<(SeederCheck, Vec<String>), Failure> {
    let inserts: Vec<&Statement> =
        source.script.statements.iter().filter(|statement| statement.kind == Kind::Insert(target.clone())).collect();
    let same = identifying_columns(source, target, &inserts)?
        .iter()
        .map(|column| format!("r.{0}::text IS NOT DISTINCT FROM s.{0}::text", quote_identifier(column)))
        .collect::<Vec<_>>()
        .join(" AND ");
    let same = if same.is_empty() { "true".to_owned() } else { same };
    let sql = format!(
        "SELECT pg_catalog.json_build_object('expected', pg_catalog.count(*),
                    'found', pg_catalog.count(*) FILTER (WHERE there),
                    'missing', coalesce((pg_catalog.array_agg(row) FILTER (WHERE NOT there))[1:{SHOWN}], '{{}}'))::text
         FROM (SELECT s::text AS row, EXISTS (SELECT FROM {} r WHERE {same}) AS there FROM pg_temp.{} s) rows",
        quoted(target),
        quote_identifier(&target.name),
    );
    #[derive(serde::Deserialize)]
    struct Row {
        expected: u64,
        found: u64,
        missing: Vec<String>,
    }
    let text = Spi::get_one::<String>(&sql).map_err(spi)?.unwrap_or_default();
    let row: Row = serde_json::from_str(&text).map_err(|_| Failure::internal("the check of a seeder does not read"))?;
    Ok((SeederCheck { table: target.display(), expected: row.expected, found: row.found }, row.missing))
}

/// The columns by which a seeder's row is known: a primary key or unique constraint whose values the seeder gives itself, else what it
/// gives of columns that have no default.
fn identifying_columns(source: &Source, target: &ObjectName, inserts: &[&Statement]) -> Result<Vec<String>, Failure> {
    #[derive(serde::Deserialize)]
    struct Row {
        keys: Vec<Vec<String>>,
        all: Vec<String>,
        plain: Vec<String>,
    }
    let text = Spi::get_one_with_args::<String>(
        "SELECT pg_catalog.json_build_object(
             'keys', ARRAY(SELECT pg_catalog.to_json(ARRAY(SELECT a.attname::text FROM pg_catalog.unnest(i.indkey::int2[]) k
                                       JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k))
                           FROM pg_catalog.pg_index i WHERE i.indrelid = $1::text::pg_catalog.regclass AND i.indisunique
                             AND i.indpred IS NULL AND 0 <> ALL (i.indkey::int2[]) ORDER BY i.indisprimary DESC, i.indexrelid),
             'all', ARRAY(SELECT attname::text FROM pg_catalog.pg_attribute
                          WHERE attrelid = $1::text::pg_catalog.regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum),
             'plain', ARRAY(SELECT attname::text FROM pg_catalog.pg_attribute
                            WHERE attrelid = $1::text::pg_catalog.regclass AND attnum > 0 AND NOT attisdropped
                              AND NOT atthasdef AND attidentity = '' ORDER BY attnum))::text",
        &[quoted(target).into()],
    )
    .map_err(spi)?
    .unwrap_or_default();
    let row: Row = serde_json::from_str(&text).map_err(|_| Failure::internal("the catalog of keys does not read"))?;
    // A column counts as given if every INSERT gives it.
    let given = |column: &String| {
        inserts.iter().all(|insert| {
            let columns = source.script.inserted_columns(insert);
            columns.is_empty() || columns.contains(column)
        })
    };
    if let Some(key) = row.keys.into_iter().find(|key| !key.is_empty() && key.iter().all(given)) {
        return Ok(key);
    }
    let plain: Vec<String> = row.plain.into_iter().filter(|column| given(column)).collect();
    Ok(if plain.is_empty() { row.all.into_iter().filter(|column| given(column)).collect() } else { plain })
}
