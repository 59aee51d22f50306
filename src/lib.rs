//! stonescriptdb: a multi-tenant function backend inside PostgreSQL.
//!
//! docs/architecture.md has the map. In short: `server` is the one static background worker (HTTP, broker, pool), `executor` the dynamic
//! ones that do the work, `sql_api` what a DBA calls, `postgres` the only unsafe code.

#[cfg(not(panic = "unwind"))]
compile_error!("stonescriptdb needs panic = \"unwind\": a panic that aborts would restart the whole PostgreSQL server");

mod error;
mod executor;
mod kept;
#[cfg(feature = "pg_test")]
#[path = "../pg_test/mod.rs"]
mod pg_test;
mod postgres;
mod query;
mod server;
mod settings;
mod sql_api;

pgrx::pg_module_magic!();

pgrx::extension_sql_file!("../sql/install.sql", name = "install");
pgrx::extension_sql_file!("../sql/functions.sql", name = "functions", requires = ["install"]);
pgrx::extension_sql_file!("../sql/fleets.sql", name = "fleets", requires = ["functions"]);
pgrx::extension_sql_file!("../sql/tenants.sql", name = "tenants", requires = ["fleets"]);
pgrx::extension_sql_file!("../sql/moved.sql", name = "moved", requires = ["tenants"]);
pgrx::extension_sql_file!("../sql/stats.sql", name = "stats", requires = ["moved"]);
pgrx::extension_sql_file!("../sql/views.sql", name = "views", requires = ["stats"]);

/// Called by PostgreSQL when it loads the library.
#[pgrx::pg_guard]
#[allow(non_snake_case, reason = "PostgreSQL's name for it")]
pub extern "C-unwind" fn _PG_init() {
    if !postgres::hooks::is_preloading() {
        pgrx::ereport!(
            ERROR,
            pgrx::PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            "stonescriptdb must be loaded by shared_preload_libraries",
            "Add this line to postgresql.conf and restart the server: shared_preload_libraries = 'stonescriptdb'"
        );
    }
    settings::define();
    postgres::hooks::install(
        postgres::hooks::Holds { database: sql_api::hold_database, deployments: sql_api::hold_deployments },
        postgres::hooks::EndOfTransaction {
            registry_changed: sql_api::tell_registry_changed,
            release_databases: sql_api::release_databases,
            touching: sql_api::note_touched,
            restoring: sql_api::note_restored,
            touched: sql_api::tell_touched,
        },
    );
    postgres::seats::define();
    postgres::worker::register_server_worker();
}
