//! Functions and procedures of a bundle: made while it is built from nothing, validated when everything they name is there.

use pgrx::Spi;
use stonescriptdb_protocol::{ErrorCode, Failure};

use super::sources::{self, Source, Sources};
use super::{run_statement, spi};
use crate::postgres::{FunctionIdentity, ScriptError, Statement, catch, subtransaction};

/// Makes a routine; gives its OID.
///
/// # Errors
/// `function_deploy_failed` with file and line.
pub(super) fn create(source: &Source, statement: &Statement) -> Result<u32, Failure> {
    let failed = |error: ScriptError| sources::failure(ErrorCode::FunctionDeployFailed, error, &source.path);
    let identity = source.script.function_identity(statement).map_err(failed)?;
    match subtransaction(|| run_statement(&source.script, statement)) {
        // A migration made it with another return type, other parameter names, more defaults: PostgreSQL replaces none of these.
        Err(error) if error.error.sqlstate == "42P13" && oid(&identity)?.is_some() => {
            if let Some(oid) = oid(&identity)? {
                Spi::run(&format!("DROP ROUTINE {}", signature(oid)?)).map_err(spi)?;
            }
            run_statement(&source.script, statement).map_err(failed)?;
        }
        result => result.map_err(failed)?,
    }
    oid(&identity)?.ok_or_else(|| Failure::internal("a function is not there after it was created"))
}

/// The routine that a statement would replace.
///
/// # Errors
/// `function_deploy_failed` with file and line, for a type that is not there.
pub(super) fn find(source: &Source, statement: &Statement) -> Result<Option<u32>, Failure> {
    let failed = |error: ScriptError| sources::failure(ErrorCode::FunctionDeployFailed, error, &source.path);
    oid(&source.script.function_identity(statement).map_err(failed)?)
}

fn oid(identity: &FunctionIdentity) -> Result<Option<u32>, Failure> {
    let arguments: Vec<String> = identity.arguments.iter().map(|oid| oid.to_u32().to_string()).collect();
    let found = Spi::get_one_with_args::<i64>(
        "SELECT (SELECT oid::pg_catalog.int8 FROM pg_catalog.pg_proc
                 WHERE proname = $1 AND pronamespace = $2 AND proargtypes = $3::text::pg_catalog.oidvector)",
        &[identity.name.as_str().into(), identity.schema.into(), arguments.join(" ").into()],
    )
    .map_err(spi)?;
    Ok(found.and_then(|oid| u32::try_from(oid).ok()))
}

/// A routine as SQL and people write it.
pub(super) fn signature(oid: u32) -> Result<String, Failure> {
    Ok(Spi::get_one_with_args::<String>(
        "SELECT $1::pg_catalog.oid::pg_catalog.regprocedure::text",
        &[i64::from(oid).into()],
    )
    .map_err(spi)?
    .unwrap_or_default())
}

/// Has each language check the bodies of functions that were just made, as CREATE FUNCTION would have done had everything been there
/// that they name.
///
/// # Errors
/// `function_deploy_failed` with file and line.
pub(super) fn validate(sources: &Sources, made: &[(String, u32, u32)]) -> Result<(), Failure> {
    if made.is_empty() {
        return Ok(());
    }
    Spi::run("SET LOCAL check_function_bodies = on").map_err(spi)?;
    let oids: Vec<i64> = made.iter().map(|(.., oid)| i64::from(*oid)).collect();
    let validators = validators(&oids)?;
    for ((path, line, oid), validator) in made.iter().zip(validators) {
        let Some(validator) = validator else { continue };
        if let Err(error) = call_validator(&validator, *oid) {
            return Err(place(sources, path, *line, error));
        }
    }
    Spi::run("SET LOCAL check_function_bodies = off").map_err(spi)
}

/// Has a language check a function's body.
///
/// # Errors
/// What the validator raises.
pub(super) fn call_validator(validator: &str, oid: u32) -> Result<(), crate::postgres::PgError> {
    let sql = format!("SELECT {validator}($1::pg_catalog.oid)");
    catch(|| Spi::run_with_args(&sql, &[i64::from(oid).into()]))?
        .map_err(|error| crate::postgres::PgError::new("XX000", error.to_string()))
}

/// The validator of each function's language, in the order of `oids`.
pub(super) fn validators(oids: &[i64]) -> Result<Vec<Option<String>>, Failure> {
    let found = Spi::get_one_with_args::<Vec<Option<String>>>(
        "SELECT ARRAY(SELECT CASE WHEN l.lanvalidator <> 0 THEN
                          (SELECT pg_catalog.format('%I.%I', n.nspname, v.proname) FROM pg_catalog.pg_proc v
                           JOIN pg_catalog.pg_namespace n ON n.oid = v.pronamespace WHERE v.oid = l.lanvalidator) END
                      FROM pg_catalog.unnest($1) WITH ORDINALITY AS wanted(oid, place)
                      LEFT JOIN pg_catalog.pg_proc p ON p.oid = wanted.oid::pg_catalog.oid AND p.prokind <> 'a'
                      LEFT JOIN pg_catalog.pg_language l ON l.oid = p.prolang ORDER BY wanted.place)",
        &[oids.to_vec().into()],
    )
    .map_err(spi)?;
    Ok(found.unwrap_or_default())
}

fn place(sources: &Sources, path: &str, line: u32, error: crate::postgres::PgError) -> Failure {
    let source = sources.files.iter().find(|source| source.path == path);
    let statement = source.and_then(|source| source.script.statements.iter().find(|statement| statement.line == line));
    let error = match (source, statement) {
        (Some(source), Some(statement)) => source.script.place(error, statement),
        _ => ScriptError { error, line },
    };
    sources::failure(ErrorCode::FunctionDeployFailed, error, path)
}
