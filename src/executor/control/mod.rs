//! Work in the control database: the first and the last step of every deployment, and the registry's housekeeping.
//!
//! Runs as superuser with a pinned search path. It parses what a bundle says and never runs it.

mod bundles;
mod finish;
mod follow;
mod life;
mod listing;
mod overview;
mod prepare;
mod record;
mod registry;
mod reopen;
mod roles;
mod template;
mod tenants;
mod tokens;

use stonescriptdb_protocol::{ControlRequest, Failure};

use super::answer;
use crate::kept;
use crate::postgres::{PgError, toplevel, transaction};
use crate::query::{self, Argument};

/// Carries out a request; gives the frame of the answer.
pub(super) fn run(request: ControlRequest) -> Vec<u8> {
    kept::for_tables_that_grow();
    match request {
        ControlRequest::Identify { archive } => answer(prepare::identify(&archive)),
        ControlRequest::Prepare(request) => answer(prepare::run(&request)),
        ControlRequest::Refused(refused) => answer(record::refused(&refused)),
        ControlRequest::Reopen { deployment_id, failed } => answer(reopen::run(&deployment_id, failed)),
        ControlRequest::Progress(progress) => answer(record::progress(&progress)),
        ControlRequest::EnsureTemplate(key) => answer(template::ensure(&key)),
        ControlRequest::ReuseTemplate { from, to } => answer(template::reuse(&from, &to)),
        ControlRequest::ReturnTemplate { from, to, database } => answer(template::give_back(&from, &to, &database)),
        ControlRequest::SealTemplate { template, proved } => answer(template::seal(&template, &proved)),
        ControlRequest::DropTemplate { key, database } => answer(template::drop(&key, database.as_deref())),
        ControlRequest::UnusedTemplates { platform } => answer(template::unused(&platform)),
        ControlRequest::LoadProved(key) => {
            answer(transaction(|| Ok::<_, Failure>(registry::proved(&key)?.map(|(proved, _)| proved))))
        }
        ControlRequest::LoadProof(key) => answer(template::proof(&key)),
        ControlRequest::LoadProofOf { database } => answer(template::proof_of_database(&database)),
        ControlRequest::CreateDatabase { database, template, owner_role, call_role } => {
            answer(create_database(&database, template.as_deref(), &owner_role, &call_role))
        }
        ControlRequest::AdoptDatabase { database, owner_role } => answer(adopt_database(&database, &owner_role)),
        ControlRequest::Blockers { database, role } => answer(blockers(&database, &role)),
        ControlRequest::Finish(request) => answer(finish::run(&request)),
        ControlRequest::DropTenant { database } => answer(drop_tenant(&database)),
        ControlRequest::Status { deployment_id } => answer(status(&deployment_id)),
        ControlRequest::StoredSchema { platform, schema } => answer(stored_schema(&platform, &schema)),
        ControlRequest::Tenants(work) => tenants::run(&work),
        ControlRequest::Reconcile => answer(finish::reconcile()),
    }
}

/// Who is in the way of the executors of a database and role: as PostgreSQL's own lock manager says.
fn blockers(database: &str, role: &str) -> Result<Option<String>, Failure> {
    transaction(|| {
        query::one::<String>(
            "SELECT string_agg(DISTINCT format('pid %s (role %s, in a transaction since %s)', h.pid, coalesce(h.usename::text, 'none'),
                                               h.xact_start), '; ')
             FROM pg_stat_activity w CROSS JOIN LATERAL unnest(pg_blocking_pids(w.pid)) AS b(pid) JOIN pg_stat_activity h ON h.pid = b.pid
             WHERE w.datname = $1 AND w.usename = $2 AND w.wait_event_type = 'Lock'",
            &[database.into(), role.into()],
        )
        .map_err(|error| Failure::from(spi(error)))
    })
}

/// template0 has no connections and nothing of a DBA's own in it: a tenant is what its bundle says and nothing else.
fn create_database(database: &str, template: Option<&str>, owner: &str, call: &str) -> Result<(), Failure> {
    toplevel::create_database(database, owner, template.unwrap_or("template0"))?;
    transaction(|| {
        execute(
            "UPDATE stonescriptdb.database SET datid = (SELECT oid FROM pg_database WHERE datname = $1) WHERE name = $1",
            &[database.into()],
        )?;
        roles::close_database(database, owner, call)
    })
}

/// Who else may connect is settled when the deployment has succeeded.
fn adopt_database(database: &str, owner: &str) -> Result<String, Failure> {
    transaction(|| {
        let before = query::one::<String>(
            "SELECT (SELECT r.rolname::text FROM pg_database c JOIN pg_roles r ON r.oid = c.datdba WHERE c.datname = $1)",
            &[database.into()],
        );
        let quoted = crate::postgres::quote_identifier;
        execute_once(&format!("ALTER DATABASE {} OWNER TO {}", quoted(database), quoted(owner)), &[])?;
        Ok::<_, Failure>(before.map_err(spi)?.unwrap_or_default())
    })
}

fn drop_tenant(database: &str) -> Result<(), Failure> {
    // By OID: the row keeps the name under which the database was made.
    let oid = transaction(|| registry::oid_of(database))?;
    toplevel::drop_database(database)?;
    transaction(|| execute("DELETE FROM stonescriptdb.database WHERE datid = $1", &[oid.into()]))
}

fn status(deployment_id: &str) -> Result<Option<String>, Failure> {
    // What is no UUID is no deployment's id.
    let Ok(id) = uuid::Uuid::parse_str(deployment_id) else { return Ok(None) };
    transaction(|| {
        query::one::<String>("SELECT stonescriptdb.deployment_status($1::uuid)::text", &[id.to_string().into()])
            .map_err(|error| spi(error).into())
    })
}

fn stored_schema(platform: &str, schema: &str) -> Result<String, Failure> {
    transaction(|| {
        let found = query::one::<String>(
            "SELECT (SELECT json_build_object('platform', platform, 'schema_name', schema_name, 'has_tables', has_tables,
                        'has_functions', has_functions, 'has_migrations', has_migrations, 'has_seeders', has_seeders,
                        'checksum', bundle_sha256)::text
                     FROM stonescriptdb.schemas WHERE platform = $1 AND schema_name = $2)",
            &[platform.into(), schema.into()],
        );
        Ok::<_, Failure>(found.map_err(spi)?.unwrap_or_default())
    })
}

/// Runs a statement for its effect. Its plan is kept: it is about one deployment, database or bundle, and finds it by a key.
fn execute(sql: &'static str, arguments: &[Argument]) -> Result<(), Failure> {
    kept::update(sql, arguments, |_| Ok(()))
}

/// Runs a statement for its effect that is planned for this once: because there are names in it, or because it is about so many rows that
/// their number counts.
fn execute_once(sql: &str, arguments: &[Argument]) -> Result<(), Failure> {
    query::run(sql, arguments).map_err(Failure::from)
}

/// An error of a statement, or of reading its rows.
fn spi(error: impl Into<PgError>) -> PgError {
    error.into()
}
