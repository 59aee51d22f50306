//! A last look, inside the transaction: what the bundle says is there.

use pgrx::Spi;
use stonescriptdb_bundle::{Bundle, Kind as FileKind};
use stonescriptdb_protocol::{ErrorCode, Failure};

use super::sources::Sources;
use super::{Deployment, relation_exists, spi, types};
use crate::executor::extensions;
use crate::postgres::Kind;

/// Checks that every extension, type, table and function of the bundle is there.
///
/// # Errors
/// `verification_failed` with what is missing: a migration or a seeder of the bundle took it away again.
pub(super) fn run(deployment: &mut Deployment, sources: &Sources, bundle: &Bundle) -> Result<(), Failure> {
    let mut missing = Vec::new();
    for (path, spec) in extensions::wanted(bundle) {
        let there = Spi::get_one_with_args::<bool>(
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = $1)",
            &[spec.name.as_str().into()],
        );
        if there.map_err(spi)? == Some(true) {
            deployment.report.verification.extensions_verified += 1;
        } else {
            missing.push(format!("extension {} ({path})", spec.name));
        }
    }
    for source in &sources.files {
        if matches!(source.kind, FileKind::Migration | FileKind::Seeder) {
            continue;
        }
        for statement in &source.script.statements {
            let verification = &mut deployment.report.verification;
            let (name, counter) = match &statement.kind {
                Kind::Table(name) => (name, Some(&mut verification.tables_verified)),
                Kind::View(name) => (name, None),
                Kind::Type(name) => (name, Some(&mut verification.types_verified)),
                _ => continue,
            };
            let there = match statement.kind {
                Kind::Type(_) => types::exists(name)?,
                _ => relation_exists(name)?,
            };
            match (there, counter) {
                (true, Some(counter)) => *counter += 1,
                (true, None) => {}
                (false, _) => missing.push(format!("{} ({}:{})", name.display(), source.path, statement.line)),
            }
        }
    }
    if missing.is_empty() {
        deployment.report.verification.passed = true;
        return Ok(());
    }
    Err(Failure::new(ErrorCode::VerificationFailed, "the database is not as the bundle says after applying it")
        .detail(format!("Missing: {}", missing.join(", "))))
}
