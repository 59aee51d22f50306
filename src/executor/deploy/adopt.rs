//! Taking over a database that the standalone gateway deployed. Runs as superuser in that database and does nothing else there.

use pgrx::Spi;
use stonescriptdb_protocol::{AdoptRequest, ErrorCode, Failure};

use super::spi;
use crate::postgres::{self, quote_identifier, transaction};

/// The gateway's tables: a database is its own if it has these.
const MARKS: [&str; 2] = ["_stonescriptdb_gateway_migrations", "_stonescriptdb_gateway_functions"];

/// Gives every object of the database to the platform's owner role and lets the call role use them. No row is read or written.
///
/// # Errors
/// `database_already_exists` for a database that does not carry the gateway's tables.
pub(crate) fn run(request: &AdoptRequest) -> Result<(), Failure> {
    postgres::require_utf8()?;
    transaction(|| {
        for mark in MARKS {
            let there = Spi::get_one_with_args::<bool>(
                "SELECT pg_catalog.to_regclass('public.' || $1) IS NOT NULL",
                &[mark.into()],
            );
            if there.map_err(spi)? != Some(true) {
                return Err(Failure::new(
                    ErrorCode::DatabaseAlreadyExists,
                    "the database exists, and neither stonescriptdb nor its standalone gateway made it",
                )
                .hint("Drop or rename it, or choose another name for the platform or the tenant."));
            }
        }
        for statement in statements(request)? {
            Spi::run(&statement).map_err(spi)?;
        }
        Ok(())
    })
}

/// ALTER … OWNER TO for everything that belongs to no extension, and the call role's rights on it.
fn statements(request: &AdoptRequest) -> Result<Vec<String>, Failure> {
    let owner = quote_identifier(&request.owner_role);
    let call = quote_identifier(&request.call_role);
    let found = Spi::get_one_with_args::<Vec<Option<String>>>(OWNED, &[owner.as_str().into()]).map_err(spi)?;
    let mut all: Vec<String> = found.unwrap_or_default().into_iter().flatten().collect();
    let schemas = Spi::get_one::<Vec<Option<String>>>(
        "SELECT ARRAY(SELECT pg_catalog.quote_ident(nspname) FROM pg_catalog.pg_namespace n
                      WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
                        AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_namespace'::pg_catalog.regclass
                                        AND d.objid = n.oid AND d.deptype = 'e'))",
    )
    .map_err(spi)?;
    for schema in schemas.unwrap_or_default().into_iter().flatten() {
        all.push(format!("GRANT USAGE ON SCHEMA {schema} TO {call}"));
        all.push(format!("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {call}"));
        all.push(format!("GRANT USAGE, SELECT, UPDATE ON ALL SEQUENCES IN SCHEMA {schema} TO {call}"));
        all.push(format!("GRANT EXECUTE ON ALL ROUTINES IN SCHEMA {schema} TO {call}"));
    }
    for table in ["migrations", "types", "tables", "functions", "changelog"] {
        let name = format!("_stonescriptdb_gateway_{table}");
        let there = Spi::get_one_with_args::<bool>(
            "SELECT pg_catalog.to_regclass('public.' || $1) IS NOT NULL",
            &[name.as_str().into()],
        );
        if there.map_err(spi)? == Some(true) {
            all.push(format!("REVOKE ALL ON public.{name} FROM {call}"));
        }
    }
    Ok(all)
}

/// Sequences of columns follow their tables, row types their tables, array types their elements, indexes their tables.
const OWNED: &str = "
SELECT ARRAY(
    SELECT pg_catalog.format('ALTER %s %s OWNER TO %s', o.word, o.name, $1)
    FROM (
        SELECT 'SCHEMA' AS word, pg_catalog.quote_ident(n.nspname) AS name, 'pg_catalog.pg_namespace'::pg_catalog.regclass AS class, n.oid, 0 AS rank
        FROM pg_catalog.pg_namespace n WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
        UNION ALL
        SELECT CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE' WHEN 'f' THEN 'FOREIGN TABLE'
                              WHEN 'c' THEN 'TYPE' ELSE 'TABLE' END,
               pg_catalog.format('%I.%I', n.nspname, c.relname), 'pg_catalog.pg_class'::pg_catalog.regclass, c.oid, 1
        FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f', 'c') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
          AND NOT (c.relkind = 'S' AND EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.objid = c.oid AND d.deptype IN ('a', 'i')
                   AND d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjsubid > 0))
        UNION ALL
        SELECT CASE t.typtype WHEN 'd' THEN 'DOMAIN' ELSE 'TYPE' END, pg_catalog.format('%I.%I', n.nspname, t.typname),
               'pg_catalog.pg_type'::pg_catalog.regclass, t.oid, 2
        FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
        WHERE t.typtype IN ('e', 'd', 'r') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
        UNION ALL
        SELECT CASE p.prokind WHEN 'p' THEN 'PROCEDURE' WHEN 'a' THEN 'AGGREGATE' ELSE 'FUNCTION' END,
               pg_catalog.format('%I.%I(%s)', n.nspname, p.proname, pg_catalog.pg_get_function_identity_arguments(p.oid)),
               'pg_catalog.pg_proc'::pg_catalog.regclass, p.oid, 3
        FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
        WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    ) o
    WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = o.class AND d.objid = o.oid AND d.deptype = 'e')
    ORDER BY o.rank, o.name)";
