//! Whether the connected database holds a dump of a tenant.

use pgrx::Spi;
use stonescriptdb_protocol::{Failure, Recognised, Restore, RestoredState};

use super::restore;
use crate::postgres::{self, PgError, transaction};

/// Settings of a database that decide what runs in its sessions, and as whom.
const DECISIVE_SETTINGS: [&str; 6] = [
    "search_path",
    "role",
    "session_authorization",
    "session_preload_libraries",
    "local_preload_libraries",
    "session_replication_role",
];

/// Looks at whose the tracking tables are, and that nothing else is a stranger's. Runs as superuser in a database of which nothing is known,
/// so it reads catalogs only: the plan of a query of one of its tables could run a function of its own.
///
/// # Errors
/// PostgreSQL's own.
pub(super) fn run(owner_role: &str, call_role: &str) -> Result<Recognised, Failure> {
    postgres::require_utf8()?;
    transaction(|| {
        // Whoever sent this has looked too, but this process may have taken its time to start: a restore that began meanwhile has tables that
        // have their owner with its next statement only.
        let database = Spi::get_one::<String>("SELECT pg_catalog.current_database()::text").map_err(spi)?;
        if restore::of(&database.unwrap_or_default(), owner_role)? != Restore::None {
            return Ok(Recognised::NotYet);
        }
        let owners = [owner_of("_stonescriptdb_state")?, owner_of("_stonescriptdb_gateway_functions")?];
        let mut of_owner = true;
        for owner in owners {
            match owner {
                None => return Ok(Recognised::NotYet),
                Some((role, _)) if role == owner_role => {}
                Some((_, true)) => of_owner = false,
                Some((role, false)) => {
                    return Ok(Recognised::Stranger(format!("its tracking tables belong to the role \"{role}\"")));
                }
            }
        }
        match stranger(owner_role, call_role)? {
            Some(why) => Ok(Recognised::Stranger(why)),
            None => Ok(Recognised::Tenant { of_owner }),
        }
    })
}

/// What of the database is neither the platform's nor a superuser's, and would be used by the platform's roles: the database itself, for its
/// owner may set what its sessions begin with and replace all that is in `public`; an object; a setting. Who may be the owner role is as
/// good as it.
///
/// pg_shdepend has everything that is owned by a role, of whatever kind, but what is the bootstrap superuser's.
fn stranger(owner_role: &str, call_role: &str) -> Result<Option<String>, Failure> {
    let others = Spi::get_one_with_args::<String>(
        "SELECT (SELECT x.what || ' belongs to the role \"' || r.rolname || '\"' FROM (
                     SELECT 0 AS rank, 'it' AS what, d.datdba AS owner FROM pg_catalog.pg_database d
                     WHERE d.datname = pg_catalog.current_database()
                     UNION ALL
                     SELECT 1, pg_catalog.pg_describe_object(s.classid, s.objid, s.objsubid), s.refobjid FROM pg_catalog.pg_shdepend s
                     WHERE s.dbid = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
                       AND s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND s.deptype = 'o'
                 ) x JOIN pg_catalog.pg_roles r ON r.oid = x.owner
                 WHERE NOT r.rolsuper AND r.rolname NOT IN ($1, $2)
                   AND NOT pg_catalog.pg_has_role(r.oid, (SELECT o.oid FROM pg_catalog.pg_roles o WHERE o.rolname = $1), 'MEMBER')
                 ORDER BY x.rank, x.what LIMIT 1)",
        &[owner_role.into(), call_role.into()],
    );
    if let Some(why) = others.map_err(spi)? {
        return Ok(Some(why));
    }
    let setting = Spi::get_one_with_args::<String>(
        "SELECT (SELECT pg_catalog.split_part(c.line, '=', 1) FROM pg_catalog.pg_db_role_setting s
                 CROSS JOIN LATERAL pg_catalog.unnest(s.setconfig) AS c(line)
                 WHERE s.setdatabase = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
                   AND (s.setrole = 0 OR s.setrole IN (SELECT r.oid FROM pg_catalog.pg_roles r WHERE r.rolname IN ($1, $2)))
                   AND pg_catalog.lower(pg_catalog.split_part(c.line, '=', 1)) = ANY ($3) ORDER BY 1 LIMIT 1)",
        &[owner_role.into(), call_role.into(), DECISIVE_SETTINGS.map(str::to_owned).to_vec().into()],
    );
    Ok(setting.map_err(spi)?.map(|name| format!("it has a setting of its own of {name} (ALTER DATABASE … SET)")))
}

/// Who owns a table, and whether that is a superuser.
fn owner_of(table: &str) -> Result<Option<(String, bool)>, Failure> {
    let (owner, is_super) = Spi::get_two_with_args::<String, bool>(
        "SELECT r.rolname::text, r.rolsuper FROM (SELECT 1) one
         LEFT JOIN (pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'public'
                    JOIN pg_catalog.pg_roles r ON r.oid = c.relowner) ON c.relname = $1 AND c.relkind = 'r'",
        &[table.into()],
    )
    .map_err(spi)?;
    Ok(owner.zip(is_super))
}

/// What the tracking tables say; none while they say nothing. Runs as the tables' owner.
///
/// # Errors
/// PostgreSQL's own.
pub(super) fn state() -> Result<Option<RestoredState>, Failure> {
    transaction(|| {
        let bundle = Spi::get_one::<String>("SELECT (SELECT bundle_sha256 FROM public._stonescriptdb_state LIMIT 1)");
        let Some(bundle_sha256) = bundle.map_err(spi)? else { return Ok(None) };
        let has_pending =
            Spi::get_one::<bool>("SELECT pg_catalog.to_regclass('public._stonescriptdb_pending') IS NOT NULL");
        let unfinished = match has_pending.map_err(spi)? {
            Some(true) => Spi::get_one("SELECT EXISTS (SELECT FROM public._stonescriptdb_pending)").map_err(spi)?,
            _ => Some(false),
        };
        Ok(Some(RestoredState { bundle_sha256, unfinished: unfinished == Some(true) }))
    })
}

fn spi(error: pgrx::spi::Error) -> PgError {
    PgError::new("XX000", error.to_string())
}
