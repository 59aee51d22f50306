//! Taking over a database: one that the standalone gateway deployed, or any that somebody named. Runs as superuser in that database and
//! does nothing else there.

use pgrx::Spi;
use stonescriptdb_protocol::{AdoptRequest, ErrorCode, Failure};

use super::spi;
use crate::postgres::{self, quote_identifier, transaction};

/// What the gateway's tables have: a database is its own if all of these are there.
const MARKS: [(&str, &str); 4] = [
    ("_stonescriptdb_gateway_migrations", "migration_file"),
    ("_stonescriptdb_gateway_migrations", "checksum"),
    ("_stonescriptdb_gateway_functions", "function_name"),
    ("_stonescriptdb_gateway_functions", "param_types"),
];

/// The tracking tables: a standalone gateway's five, and this extension's own two, which a restored dump may have.
const TRACKING: [&str; 7] = [
    "_stonescriptdb_gateway_migrations",
    "_stonescriptdb_gateway_types",
    "_stonescriptdb_gateway_tables",
    FUNCTIONS,
    "_stonescriptdb_gateway_changelog",
    "_stonescriptdb_state",
    "_stonescriptdb_pending",
];
const FUNCTIONS: &str = "_stonescriptdb_gateway_functions";

/// Gives every object of the database to the platform's owner role and lets the call role use them. No row is read or written. Gives the
/// statements that take it back.
///
/// # Errors
/// `database_already_exists` for a database that is to carry the gateway's tables and does not.
pub(crate) fn run(request: &AdoptRequest) -> Result<Vec<String>, Failure> {
    postgres::require_utf8()?;
    transaction(|| {
        if request.of_gateway {
            require_gateway(&request.owner_role)?;
        }
        if let Some(by) = &request.by {
            require_owner(by)?;
        }
        let (take, give_back) = statements(request)?;
        run_all(&take)?;
        Ok(give_back)
    })
}

/// The database has the gateway's tables, and whose it is, or a superuser, made them: who may only create tables in it must not give it
/// away. The platform's owner role has tables in a dump that was restored, and in a copy of its template: the first a superuser made.
fn require_gateway(owner_role: &str) -> Result<(), Failure> {
    for (table, column) in MARKS {
        let found = Spi::get_two_with_args::<String, bool>(
            "SELECT o.rolname::text, o.rolsuper OR o.oid = d.datdba OR (o.rolname = $3 AND b.rolsuper) FROM (SELECT 1) one LEFT JOIN (
                 pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'public'
                 JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND NOT a.attisdropped
                 JOIN pg_catalog.pg_roles o ON o.oid = c.relowner
                 JOIN pg_catalog.pg_database d ON d.datname = pg_catalog.current_database()
                 JOIN pg_catalog.pg_roles b ON b.oid = d.datdba) ON c.relname = $1 AND c.relkind = 'r' AND a.attname = $2",
            &[table.into(), column.into(), owner_role.into()],
        );
        let refused = |message: String| {
            Failure::new(ErrorCode::DatabaseAlreadyExists, message)
                .hint("Drop or rename it, or choose another name for the platform or the tenant.")
        };
        match found.map_err(spi)? {
            (Some(_), Some(true)) => {}
            (Some(owner), _) => {
                return Err(refused(format!(
                    "the database exists, and its table {table} belongs to the role \"{owner}\": neither to the database's owner nor to a superuser"
                )));
            }
            (None, _) => {
                return Err(refused(
                    "the database exists, and neither stonescriptdb nor its standalone gateway made it".to_owned(),
                ));
            }
        }
    }
    Ok(())
}

/// Objects of others in a database are not its owner's to give away.
fn require_owner(by: &str) -> Result<(), Failure> {
    let other = Spi::get_one_with_args::<String>(
        &format!(
            "SELECT (SELECT o ->> 'object' FROM pg_catalog.json_array_elements(({OWNED})::pg_catalog.json) o
                     WHERE NOT pg_catalog.pg_has_role($1, (o ->> 'owner')::pg_catalog.regrole, 'USAGE')
                       AND o ->> 'object' <> 'SCHEMA public' LIMIT 1)"
        ),
        &[by.into()],
    );
    match other.map_err(spi)? {
        None => Ok(()),
        Some(object) => {
            let failure = Failure::new(ErrorCode::QueryFailed, format!("must be owner of {object}"));
            Err(Failure { sqlstate: Some("42501".to_owned()), ..failure })
        }
    }
}

/// Takes back what [`run`] did.
///
/// # Errors
/// PostgreSQL's own.
pub(crate) fn give_back(statements: &[String]) -> Result<(), Failure> {
    transaction(|| run_all(statements))
}

fn run_all(statements: &[String]) -> Result<(), Failure> {
    statements.iter().try_for_each(|statement| Spi::run(statement).map_err(spi))
}

/// ALTER … OWNER TO for everything that belongs to no extension, and the call role's rights on it; and the statements that undo them.
fn statements(request: &AdoptRequest) -> Result<(Vec<String>, Vec<String>), Failure> {
    #[derive(serde::Deserialize)]
    struct Owned {
        /// `TABLE public.t`.
        object: String,
        /// Quoted.
        owner: String,
        /// The sequence of a column: its owner is the table's.
        follows: bool,
    }
    let owner = quote_identifier(&request.owner_role);
    let call = quote_identifier(&request.call_role);
    let found = Spi::get_one::<String>(OWNED).map_err(spi)?.unwrap_or_default();
    let found: Vec<Owned> = serde_json::from_str(&found).map_err(|error| Failure::internal(error.to_string()))?;
    let mut take = Vec::new();
    let mut give_back = Vec::new();
    for Owned { object, owner: before, follows } in &found {
        if *follows {
            continue;
        }
        let after = if object == "SCHEMA public" { "pg_database_owner" } else { &owner };
        if before != after {
            take.push(format!("ALTER {object} OWNER TO {after}"));
            give_back.push(format!("ALTER {object} OWNER TO {before}"));
        }
    }
    // Object by object: the members of extensions keep the rights that they have.
    for Owned { object, .. } in &found {
        let (right, on) = match object.split_once(' ') {
            // PUBLIC has it on the schema public.
            Some(("SCHEMA", name)) if name != "public" => ("USAGE", format!("SCHEMA {name}")),
            Some(("TABLE" | "VIEW", name)) => ("SELECT, INSERT, UPDATE, DELETE", format!("TABLE {name}")),
            Some(("MATERIALIZED", name)) => ("SELECT", format!("TABLE {}", name.trim_start_matches("VIEW "))),
            Some(("SEQUENCE", name)) => ("USAGE, SELECT, UPDATE", format!("SEQUENCE {name}")),
            Some(("FOREIGN", name)) => {
                ("SELECT, INSERT, UPDATE, DELETE", format!("TABLE {}", name.trim_start_matches("TABLE ")))
            }
            Some(("TYPE" | "DOMAIN", name)) => ("USAGE", format!("TYPE {name}")),
            Some(("FUNCTION" | "PROCEDURE" | "AGGREGATE", name)) => ("EXECUTE", format!("ROUTINE {name}")),
            _ => continue,
        };
        take.push(format!("GRANT {right} ON {on} TO {call}"));
        give_back.push(format!("REVOKE {right} ON {on} FROM {call}"));
    }
    for name in TRACKING {
        let there = Spi::get_one_with_args::<bool>(
            "SELECT pg_catalog.to_regclass('public.' || $1) IS NOT NULL",
            &[name.into()],
        );
        if there.map_err(spi)? == Some(true) {
            take.push(format!("REVOKE ALL ON public.{name} FROM {call}"));
            if name == FUNCTIONS {
                // Calls ask which functions a bundle deployed.
                take.push(format!("GRANT SELECT ON public.{name} TO {call}"));
            }
        }
    }
    // Rights first, while the owner who granted them is still the owner.
    give_back.reverse();
    Ok((take, give_back))
}

/// Sequences of columns follow their tables, row types their tables, array types their elements, indexes their tables.
const OWNED: &str = "
SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_object('object', o.word || ' ' || o.name,
                                                                 'owner', pg_catalog.quote_ident(r.rolname), 'follows', o.follows) ORDER BY o.rank, o.name), '[]')::text
    FROM (
        SELECT 'SCHEMA' AS word, pg_catalog.quote_ident(n.nspname) AS name, 'pg_catalog.pg_namespace'::pg_catalog.regclass AS class, n.oid,
               n.nspowner AS owner, 0 AS rank, false AS follows
        FROM pg_catalog.pg_namespace n WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
        UNION ALL
        SELECT CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE' WHEN 'f' THEN 'FOREIGN TABLE'
                              WHEN 'c' THEN 'TYPE' ELSE 'TABLE' END,
               pg_catalog.format('%I.%I', n.nspname, c.relname), 'pg_catalog.pg_class'::pg_catalog.regclass, c.oid, c.relowner, 1,
               c.relkind = 'S' AND EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.objid = c.oid AND d.deptype IN ('a', 'i')
                   AND d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjsubid > 0)
        FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f', 'c') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
        UNION ALL
        SELECT CASE t.typtype WHEN 'd' THEN 'DOMAIN' ELSE 'TYPE' END, pg_catalog.format('%I.%I', n.nspname, t.typname),
               'pg_catalog.pg_type'::pg_catalog.regclass, t.oid, t.typowner, 2, false
        FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
        WHERE t.typtype IN ('e', 'd', 'r') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
        UNION ALL
        SELECT CASE p.prokind WHEN 'p' THEN 'PROCEDURE' WHEN 'a' THEN 'AGGREGATE' ELSE 'FUNCTION' END,
               pg_catalog.format('%I.%I(%s)', n.nspname, p.proname, pg_catalog.pg_get_function_identity_arguments(p.oid)),
               'pg_catalog.pg_proc'::pg_catalog.regclass, p.oid, p.proowner, 3, false
        FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
        WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
        UNION ALL
        SELECT 'STATISTICS', pg_catalog.format('%I.%I', n.nspname, x.stxname), 'pg_catalog.pg_statistic_ext'::pg_catalog.regclass, x.oid,
               x.stxowner, 4, false
        FROM pg_catalog.pg_statistic_ext x JOIN pg_catalog.pg_namespace n ON n.oid = x.stxnamespace
        WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    ) o JOIN pg_catalog.pg_roles r ON r.oid = o.owner
    WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = o.class AND d.objid = o.oid AND d.deptype = 'e')";
