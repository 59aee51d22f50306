//! Functions: known by name and input types, replaced when they changed, dropped when they left the bundle, repaired when somebody changed
//! them by hand.

use std::collections::HashSet;

use pgrx::Spi;
use stonescriptdb_bundle::Kind as FileKind;
use stonescriptdb_protocol::{ErrorCode, Failure};

use super::sources::{self, Source, Sources};
use super::{Deployment, spi, tracking};
use crate::postgres::{FunctionIdentity, Kind, ScriptError, Statement, catch, subtransaction};

/// Makes or replaces a function.
///
/// # Errors
/// `function_deploy_failed` with file and line.
pub(super) fn deploy(deployment: &mut Deployment, source: &Source, statement: &Statement) -> Result<(), Failure> {
    let failed = |error: ScriptError| sources::failure(ErrorCode::FunctionDeployFailed, error, &source.path);
    let identity = source.script.function_identity(statement).map_err(failed)?;
    let present = oid(&identity)?;
    if let Some(oid) = present {
        deployment.grown_files.insert(source.path.clone());
        let unchanged = deployment
            .tracked
            .functions
            .iter()
            .any(|tracked| tracked.oid == oid && tracked.untouched && tracked.checksum == source.checksum);
        if unchanged {
            deployment.tracked.current_functions.push((oid, source.checksum.clone(), source.path.clone()));
            return Ok(());
        }
        match subtransaction(|| source.script.run(statement).map(drop)) {
            Ok(()) => {}
            // Another return type, other parameter names, fewer defaults: PostgreSQL replaces none of these.
            Err(error) if error.error.sqlstate == "42P13" => {
                drop_function(oid).map_err(|error| failed(ScriptError { error, line: statement.line }))?;
                source.script.run(statement).map_err(failed)?;
            }
            Err(error) => return Err(failed(error)),
        }
    } else {
        source.script.run(statement).map_err(failed)?;
    }
    let Some(oid) = oid(&identity)? else {
        return Err(Failure::internal("a function is not there after it was created"));
    };
    if deployment.tracked.current_functions.iter().any(|(known, ..)| *known == oid) {
        return Err(Failure::new(
            ErrorCode::FunctionDeployFailed,
            format!("the function {} is defined twice in the bundle", signature(oid)?),
        )
        .at(&source.path, Some(statement.line)));
    }
    deployment.touched_files.insert(source.path.clone());
    deployment.report.functions_updated += 1;
    deployment.tracked.current_functions.push((oid, source.checksum.clone(), source.path.clone()));
    deployment.tracked.changed_functions.insert(oid);
    let kind = if present.is_some() { "function_replaced" } else { "function_created" };
    deployment.log(kind, signature(oid)?, tracking::from_file(&source.path));
    deployment.to_validate.push((source.path.clone(), statement.line, oid));
    Ok(())
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

fn is_there(oid: u32) -> Result<bool, Failure> {
    let there = Spi::get_one_with_args::<bool>(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_proc WHERE oid = $1::pg_catalog.oid)",
        &[i64::from(oid).into()],
    );
    Ok(there.map_err(spi)? == Some(true))
}

fn signature(oid: u32) -> Result<String, Failure> {
    Ok(Spi::get_one_with_args::<String>(
        "SELECT $1::pg_catalog.oid::pg_catalog.regprocedure::text",
        &[i64::from(oid).into()],
    )
    .map_err(spi)?
    .unwrap_or_default())
}

/// RESTRICT: what depends on it stops the deployment, with PostgreSQL's list of it.
fn drop_function(oid: u32) -> Result<(), crate::postgres::PgError> {
    catch(|| {
        let signature = Spi::get_one_with_args::<String>(
            "SELECT pg_catalog.format('%s', $1::pg_catalog.oid::pg_catalog.regprocedure)",
            &[i64::from(oid).into()],
        );
        if let Ok(Some(signature)) = signature {
            let _ = Spi::run(&format!("DROP ROUTINE {signature}"));
        }
    })
}

/// Has each language check the bodies of the functions that were just made, as CREATE FUNCTION would have done had everything been there
/// that they name.
///
/// # Errors
/// `function_deploy_failed` with file and line.
pub(super) fn validate(deployment: &mut Deployment, sources: &Sources) -> Result<(), Failure> {
    let made = std::mem::take(&mut deployment.to_validate);
    if made.is_empty() {
        return Ok(());
    }
    Spi::run("SET LOCAL check_function_bodies = on").map_err(spi)?;
    for (path, line, oid) in &made {
        let validator = Spi::get_one_with_args::<String>(
            "SELECT (SELECT l.lanvalidator::pg_catalog.regproc::text FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_language l ON l.oid = p.prolang
                     WHERE p.oid = $1::pg_catalog.oid AND l.lanvalidator <> 0)",
            &[i64::from(*oid).into()],
        )
        .map_err(spi)?;
        let Some(validator) = validator else { continue };
        let sql = format!("SELECT {validator}($1::pg_catalog.oid)");
        let result = catch(|| Spi::run_with_args(&sql, &[i64::from(*oid).into()]));
        if let Err(error) = result {
            return Err(place(sources, path, *line, error));
        }
    }
    Ok(())
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

/// Drops functions that were deployed once and are not in the bundle any more. A bundle without a single function says nothing about them.
///
/// # Errors
/// `function_deploy_failed` if something needs one of them.
pub(super) fn drop_orphans(deployment: &mut Deployment, sources: &Sources) -> Result<(), Failure> {
    deployment.report.functions_deployed =
        u32::try_from(deployment.tracked.current_functions.len()).unwrap_or(u32::MAX);
    let declares = |source: &Source| {
        !matches!(source.kind, FileKind::Migration | FileKind::Seeder)
            && source.script.statements.iter().any(|statement| statement.kind == Kind::Function)
    };
    let says_something = sources.has(FileKind::Function) || sources.files.iter().any(declares);
    if !says_something {
        return Ok(());
    }
    let current: HashSet<u32> = deployment.tracked.current_functions.iter().map(|(oid, ..)| *oid).collect();
    for tracked in std::mem::take(&mut deployment.tracked.functions) {
        if current.contains(&tracked.oid) {
            continue;
        }
        // One that was just dropped and made anew has another OID and keeps its row.
        if tracked.oid != 0 && is_there(tracked.oid)? {
            drop_function(tracked.oid).map_err(|error| {
                crate::error::from_postgres(ErrorCode::FunctionDeployFailed, error).at(&tracked.source_file, None)
            })?;
            deployment.report.functions_updated += 1;
            deployment.log("function_dropped", &tracked.signature, tracking::from_file(&tracked.source_file));
        }
        tracking::forget_function(tracked.id)?;
    }
    Ok(())
}
