//! Views: replaced when their file changed; where PostgreSQL cannot replace one, the bundle's views are dropped and made anew.

use stonescriptdb_protocol::{ErrorCode, Failure};
use stonescriptdb_schema::ObjectName;

use super::sources::{self, Source, Sources};
use super::structure::FileState;
use super::{Deployment, quoted, relation_exists, spi, tracking};
use crate::postgres::{Kind, Statement, subtransaction};

/// Makes or replaces a view.
///
/// # Errors
/// `function_deploy_failed` with file and line.
pub(super) fn deploy(
    deployment: &mut Deployment,
    sources: &Sources,
    source: &Source,
    statement: &Statement,
    name: &ObjectName,
) -> Result<(), Failure> {
    let exists = relation_exists(name)?;
    if exists {
        deployment.grown_files.insert(source.path.clone());
    }
    if exists && deployment.file_state(source) == FileState::Unchanged {
        return Ok(());
    }
    let failed = |error| sources::failure(ErrorCode::FunctionDeployFailed, error, &source.path);
    if !exists {
        source.script.run(statement).map_err(failed)?;
    } else {
        match subtransaction(|| source.script.run(statement).map(drop)) {
            Ok(()) => {}
            // Columns were renamed, retyped or removed.
            Err(error) if error.error.sqlstate == "42P16" => {
                drop_all(sources)?;
                // The ones before this in the order are wanted again at once.
                for unit in &sources.units {
                    let Some((other_source, other)) = sources.get(*unit) else { continue };
                    if let Kind::View(other_name) = &other.kind
                        && (std::ptr::eq(other, statement) || !relation_exists(other_name)?)
                    {
                        other_source.script.run(other).map_err(|error| {
                            sources::failure(ErrorCode::FunctionDeployFailed, error, &other_source.path)
                        })?;
                        deployment.touched_files.insert(other_source.path.clone());
                    }
                }
            }
            Err(error) => return Err(failed(error)),
        }
    }
    deployment.touched_files.insert(source.path.clone());
    deployment.log(
        if exists { "view_replaced" } else { "view_created" },
        name.display(),
        tracking::from_file(&source.path),
    );
    Ok(())
}

/// Drops the bundle's views, the last first. Something of somebody else's that needs one of them stops the deployment.
fn drop_all(sources: &Sources) -> Result<(), Failure> {
    for unit in sources.units.iter().rev() {
        if let Some((_, statement)) = sources.get(*unit)
            && let Kind::View(name) = &statement.kind
        {
            pgrx::Spi::run(&format!("DROP VIEW IF EXISTS {}", quoted(name))).map_err(spi)?;
        }
    }
    Ok(())
}
