//! Types: made when they are new; a changed one must agree with the catalog already, or the deployment says how it does not.

use pgrx::Spi;
use stonescriptdb_protocol::{Change, ErrorCode, Failure};
use stonescriptdb_schema::ObjectName;

use super::sources::Source;
use super::structure::{FileState, failed};
use super::{Deployment, spi, tracking};
use crate::postgres::{Script, Statement};

/// Makes a type, or checks the one that is there.
///
/// # Errors
/// `migration_failed` with file and line; `schema_validation_failed` for a change that only a migration can make.
pub(super) fn deploy(
    deployment: &mut Deployment,
    source: &Source,
    statement: &Statement,
    name: &ObjectName,
) -> Result<(), Failure> {
    match exists(name)? {
        false => {
            source.script.run(statement).map_err(|error| failed(source, error))?;
            deployment.report.types_deployed += 1;
            deployment.touched_files.insert(source.path.clone());
            deployment.log("type_created", name.display(), tracking::from_file(&source.path));
        }
        true => {
            deployment.grown_files.insert(source.path.clone());
            if deployment.file_state(source) == FileState::Unchanged {
                return Ok(());
            }
            if let Some(wanted) = source.script.enum_labels(statement) {
                check_labels(source, statement, name, &wanted)?;
            } else {
                deployment.report.warnings.push(format!(
                    "{}:{}: the type {} exists and its definition was not compared",
                    source.path,
                    statement.line,
                    name.display()
                ));
            }
        }
    }
    let kind = kind_word(&source.script, statement);
    deployment.tracked.new_types.push((name.display(), kind, source.checksum.clone(), source.path.clone()));
    Ok(())
}

fn kind_word(script: &Script, statement: &Statement) -> &'static str {
    if script.enum_labels(statement).is_some() { "enum" } else { "type" }
}

/// Whether a type of that name is there.
pub(super) fn exists(name: &ObjectName) -> Result<bool, Failure> {
    let there = Spi::get_one_with_args::<bool>(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
                        WHERE t.typname = $1 AND n.nspname = $2)",
        &[name.name.as_str().into(), name.schema.as_str().into()],
    );
    Ok(there.map_err(spi)? == Some(true))
}

fn check_labels(source: &Source, statement: &Statement, name: &ObjectName, wanted: &[String]) -> Result<(), Failure> {
    let present = Spi::get_one_with_args::<Vec<Option<String>>>(
        "SELECT ARRAY(SELECT e.enumlabel::text FROM pg_catalog.pg_enum e JOIN pg_catalog.pg_type t ON t.oid = e.enumtypid
                      JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
                      WHERE t.typname = $1 AND n.nspname = $2 ORDER BY e.enumsortorder)",
        &[name.name.as_str().into(), name.schema.as_str().into()],
    )
    .map_err(spi)?
    .unwrap_or_default();
    let present: Vec<String> = present.into_iter().flatten().collect();
    if present == wanted {
        return Ok(());
    }
    let missing: Vec<&str> = wanted.iter().filter(|label| !present.contains(label)).map(String::as_str).collect();
    let extra: Vec<&str> = present.iter().filter(|label| !wanted.contains(label)).map(String::as_str).collect();
    let change = Change {
        table: name.display(),
        change_type: "ModifyEnum".to_owned(),
        compatibility: if extra.is_empty() { "safe" } else { "dataloss" }.to_owned(),
        reason: format!("added: [{}]; removed: [{}]", missing.join(", "), extra.join(", ")),
        ..Change::default()
    };
    let validation = stonescriptdb_protocol::Validation { incompatible_changes: vec![change], ..Default::default() };
    Err(Failure {
        validation: serde_json::to_string(&validation).ok(),
        ..Failure::new(
            ErrorCode::SchemaValidationFailed,
            format!("the enum {} has other values than the bundle says", name.display()),
        )
        .detail(format!("To be added: {}. To be removed: {}.", missing.join(", "), extra.join(", ")))
        .hint("Write a migration with ALTER TYPE … ADD VALUE.")
        .at(&source.path, Some(statement.line))
    })
}
