//! Tables: made when they are new; one that is there is compared, column by column, with what its file says.
//!
//! The comparison is of catalog with catalog: the file's CREATE TABLE is run as a temporary table in a subtransaction that is rolled back.

use std::collections::HashSet;

use pgrx::Spi;
use stonescriptdb_protocol::{Change, ErrorCode, Failure};
use stonescriptdb_schema::ObjectName;

use super::sources::Source;
use super::structure::{FileState, failed};
use super::{Deployment, is_allowed, quoted, relation_exists, spi, tracking};
use crate::postgres::{PgError, Script, ScriptError, Statement, quote_identifier, subtransaction};

/// Foreign keys to tables that come later: they are added when all tables are there.
#[derive(Default)]
pub(super) struct LaterKeys<'s>(Vec<(&'s Source, Statement)>);

impl LaterKeys<'_> {
    /// Adds them.
    ///
    /// # Errors
    /// `migration_failed` with file and line.
    pub(super) fn add(self) -> Result<(), Failure> {
        for (source, key) in self.0 {
            source.script.run(&key).map_err(|error| failed(source, error))?;
        }
        Ok(())
    }
}

/// Makes a table, or brings the one that is there to what its file says as far as that is safe or allowed.
///
/// # Errors
/// `migration_failed` with file and line; `schema_validation_failed` with the changes.
pub(super) fn deploy<'s>(
    deployment: &mut Deployment,
    source: &'s Source,
    statement: &Statement,
    name: &ObjectName,
    keys: &mut LaterKeys<'s>,
) -> Result<(), Failure> {
    if relation_exists(name)? {
        deployment.grown_files.insert(source.path.clone());
        if deployment.file_state(source) != FileState::Unchanged {
            compare(deployment, source, statement, name)?;
            deployment.tracked.new_tables.push((name.display(), source.checksum.clone(), source.path.clone()));
        }
        return Ok(());
    }
    let mut missing = HashSet::new();
    for table in statement.facts.foreign.iter().filter(|table| *table != name) {
        if !relation_exists(table)? {
            missing.insert(table.clone());
        }
    }
    if missing.is_empty() {
        source.script.run(statement).map_err(|error| failed(source, error))?;
    } else {
        let (bare, later) = source.script.without_foreign_keys(statement, &missing)?;
        source.script.run(&bare).map_err(|error| failed(source, error))?;
        keys.0.extend(later.into_iter().map(|key| (source, key)));
    }
    deployment.report.tables_created += 1;
    deployment.created_tables.push(name.display());
    deployment.touched_files.insert(source.path.clone());
    deployment.tracked.new_tables.push((name.display(), source.checksum.clone(), source.path.clone()));
    deployment.report.validation.safe_changes.push(Change {
        table: name.display(),
        change_type: "CreateTable".to_owned(),
        compatibility: "safe".to_owned(),
        reason: "the table is new".to_owned(),
        ..Change::default()
    });
    deployment.log("table_created", name.display(), tracking::from_file(&source.path));
    Ok(())
}

/// A column as the catalog has it.
#[derive(Clone, PartialEq, Eq, Debug, serde::Deserialize)]
struct Column {
    name: String,
    #[serde(rename = "type")]
    data_type: String,
    not_null: bool,
    /// A default, identity or generation expression fills it in rows that do not give it.
    filled: bool,
}

/// What is different, and the statement that mends it.
struct Difference {
    change: Change,
    /// The kind that `allow` names.
    kind: &'static str,
    repair: Repair,
}

enum Repair {
    /// Add the column as its file defines it.
    Add(String),
    Sql(String),
}

fn compare(
    deployment: &mut Deployment,
    source: &Source,
    statement: &Statement,
    name: &ObjectName,
) -> Result<(), Failure> {
    if !source.script.can_be_temporary(statement) {
        deployment.report.warnings.push(format!(
            "{}:{}: the table {} exists and its definition was not compared",
            source.path,
            statement.line,
            name.display()
        ));
        return Ok(());
    }
    deployment.report.warnings.push(format!(
        "{}:{}: of the table {} the columns' names, types and NOT NULL were compared, and nothing else",
        source.path,
        statement.line,
        name.display()
    ));
    let wanted = wanted_columns(&source.script, statement, name).map_err(|error| failed(source, error))?;
    let present = columns(&quoted(name))?;
    let differences = differences(name, &wanted, &present);
    let (blocked, open): (Vec<_>, Vec<_>) = differences.into_iter().partition(|difference| {
        difference.change.compatibility != "safe" && !is_allowed(deployment.request, difference.kind)
    });
    if !blocked.is_empty() {
        let mut validation = deployment.report.validation.clone();
        validation.safe_changes.extend(open.into_iter().map(|difference| difference.change));
        let reasons: Vec<String> = blocked.iter().map(|difference| difference.change.reason.clone()).collect();
        let kinds: HashSet<&str> = blocked.iter().map(|difference| difference.kind).collect();
        let mut kinds: Vec<&str> = kinds.into_iter().collect();
        kinds.sort_unstable();
        for difference in blocked {
            let class = if difference.change.compatibility == "dataloss" {
                &mut validation.dataloss_changes
            } else {
                &mut validation.incompatible_changes
            };
            class.push(difference.change);
        }
        return Err(Failure {
            validation: serde_json::to_string(&validation).ok(),
            ..Failure::new(ErrorCode::SchemaValidationFailed, format!("the table {} would lose data", name.display()))
                .detail(reasons.join("; "))
                .hint(format!("Write a migration that takes care of the rows, or allow {}.", kinds.join(", ")))
                .at(&source.path, Some(statement.line))
        });
    }
    for difference in open {
        match &difference.repair {
            Repair::Add(column) => {
                source.script.add_column(statement, column).map_err(|error| failed(source, error))?
            }
            Repair::Sql(sql) => crate::postgres::catch(|| Spi::run(sql))
                .map_err(|error| failed(source, ScriptError { error, line: statement.line }))?
                .map_err(spi)?,
        }
        let change = &difference.change;
        let detail = serde_json::json!({"file": source.path, "column": change.column, "from_type": change.from_type, "to_type": change.to_type});
        deployment.log("table_changed", name.display(), detail);
        let validation = &mut deployment.report.validation;
        let class = if change.compatibility == "safe" {
            &mut validation.safe_changes
        } else {
            &mut validation.dataloss_changes
        };
        class.push(difference.change);
    }
    Ok(())
}

/// What the file's CREATE TABLE makes, seen by making it.
fn wanted_columns(script: &Script, statement: &Statement, name: &ObjectName) -> Result<Vec<Column>, ScriptError> {
    enum Seen {
        Columns(Vec<Column>),
        Failed(ScriptError),
    }
    impl From<PgError> for Seen {
        fn from(error: PgError) -> Seen {
            Seen::Failed(ScriptError { error, line: 0 })
        }
    }
    // Always an Err, so that the temporary table is always gone again.
    let seen = subtransaction(|| -> Result<(), Seen> {
        script.run_as_temporary(statement).map_err(Seen::Failed)?;
        match columns(&format!("pg_temp.{}", quote_identifier(&name.name))) {
            Ok(columns) => Err(Seen::Columns(columns)),
            Err(failure) => Err(Seen::from(PgError::new("XX000", failure.message))),
        }
    });
    match seen {
        Err(Seen::Columns(columns)) => Ok(columns),
        Err(Seen::Failed(error)) => Err(ScriptError { line: error.line.max(statement.line), ..error }),
        Ok(()) => Ok(Vec::new()),
    }
}

fn columns(relation: &str) -> Result<Vec<Column>, Failure> {
    let text = Spi::get_one_with_args::<String>(
        "SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_object('name', a.attname,
                    'type', pg_catalog.format_type(a.atttypid, a.atttypmod), 'not_null', a.attnotnull,
                    'filled', a.atthasdef OR a.attidentity <> '') ORDER BY a.attnum), '[]')::text
         FROM pg_catalog.pg_attribute a
         WHERE a.attrelid = $1::text::pg_catalog.regclass AND a.attnum > 0 AND NOT a.attisdropped",
        &[relation.into()],
    )
    .map_err(spi)?
    .unwrap_or_default();
    serde_json::from_str(&text).map_err(|_| Failure::internal("the catalog of columns does not read"))
}

fn differences(table: &ObjectName, wanted: &[Column], present: &[Column]) -> Vec<Difference> {
    let mut found = Vec::new();
    for column in wanted {
        match present.iter().find(|other| other.name == column.name) {
            None => found.push(added(table, column)),
            Some(other) => found.extend(changed(table, other, column)),
        }
    }
    for column in present.iter().filter(|column| wanted.iter().all(|other| other.name != column.name)) {
        found.push(Difference {
            change: change(
                table,
                column,
                "DropColumn",
                "dataloss",
                format!("column {} would be dropped", column.name),
                Some(&column.data_type),
                None,
            ),
            kind: "drop_column",
            repair: Repair::Sql(format!(
                "ALTER TABLE {} DROP COLUMN {}",
                quoted(table),
                quote_identifier(&column.name)
            )),
        });
    }
    found
}

fn added(table: &ObjectName, column: &Column) -> Difference {
    let (class, reason) = if column.not_null && !column.filled {
        ("dataloss", format!("column {} is NOT NULL and has no default", column.name))
    } else {
        ("safe", format!("column {} is new and nullable or has a default", column.name))
    };
    Difference {
        change: change(table, column, "AddColumn", class, reason, None, Some(&column.data_type)),
        kind: "add_not_null_column",
        repair: Repair::Add(column.name.clone()),
    }
}

fn changed(table: &ObjectName, before: &Column, after: &Column) -> Vec<Difference> {
    let alter = format!("ALTER TABLE {} ALTER COLUMN {}", quoted(table), quote_identifier(&after.name));
    let mut found = Vec::new();
    if before.data_type != after.data_type {
        let class = if widens(&before.data_type, &after.data_type) { "safe" } else { "dataloss" };
        let reason = format!("column {} changes from {} to {}", after.name, before.data_type, after.data_type);
        found.push(Difference {
            change: change(
                table,
                after,
                "ModifyColumnType",
                class,
                reason,
                Some(&before.data_type),
                Some(&after.data_type),
            ),
            kind: "modify_column_type",
            repair: Repair::Sql(format!(
                "{alter} TYPE {} USING {}::{}",
                after.data_type,
                quote_identifier(&after.name),
                after.data_type
            )),
        });
    }
    if before.not_null != after.not_null {
        let (class, verb, reason) = if after.not_null {
            ("dataloss", "SET", format!("column {} becomes NOT NULL", after.name))
        } else {
            ("safe", "DROP", format!("column {} may be NULL", after.name))
        };
        found.push(Difference {
            change: change(table, after, "ModifyColumnNullable", class, reason, None, None),
            kind: "set_not_null",
            repair: Repair::Sql(format!("{alter} {verb} NOT NULL")),
        });
    }
    found
}

fn change(
    table: &ObjectName,
    column: &Column,
    change_type: &str,
    class: &str,
    reason: String,
    from: Option<&str>,
    to: Option<&str>,
) -> Change {
    Change {
        table: table.display(),
        change_type: change_type.to_owned(),
        column: Some(column.name.clone()),
        from_type: from.map(str::to_owned),
        to_type: to.map(str::to_owned),
        compatibility: class.to_owned(),
        reason,
    }
}

/// Whether every value of one type is a value of the other, digit for digit and character for character.
fn widens(from: &str, to: &str) -> bool {
    let integers = ["smallint", "integer", "bigint"];
    let rank = |name: &str| integers.iter().position(|integer| *integer == name);
    if let (Some(a), Some(b)) = (rank(from), rank(to)) {
        return a < b;
    }
    let length = |name: &str| {
        name.strip_prefix("character varying(").and_then(|rest| rest.strip_suffix(')')?.parse::<u32>().ok())
    };
    match (length(from), length(to)) {
        (Some(a), Some(b)) => a <= b,
        (Some(_), None) => matches!(to, "text" | "character varying"),
        _ => matches!(
            (from, to),
            ("real", "double precision") | ("character varying", "text") | ("text", "character varying")
        ),
    }
}
