//! A platform's two roles: one that owns, one that calls.

use stonescriptdb_protocol::{ErrorCode, Failure};

use super::{execute_once, spi};
use crate::postgres::quote_identifier;
use crate::query;

/// NAMEDATALEN less the zero.
const MAX_NAME: usize = 63;
/// In front of every role's name, so that none of a DBA's is met by chance.
const PREFIX: &str = "stonescriptdb_";

/// The names of a platform's roles: `stonescriptdb_shop_owner`, `stonescriptdb_shop_call`. A long name is cut and told apart by a
/// checksum.
pub(super) fn names(platform_key: &str) -> (String, String) {
    let longest = MAX_NAME - PREFIX.len() - "_owner".len();
    let middle = if platform_key.len() <= longest {
        platform_key.to_owned()
    } else {
        use sha2::Digest;
        let digest = sha2::Sha256::digest(platform_key);
        let mark: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        let kept: String = platform_key.chars().take(longest - mark.len() - 1).collect();
        format!("{kept}_{mark}")
    };
    (format!("{PREFIX}{middle}_owner"), format!("{PREFIX}{middle}_call"))
}

/// Makes a role that can do nothing but what it owns or is granted. One that is left of an earlier life of the platform is taken again,
/// but only if it carries our comment and has no rights beyond.
///
/// # Errors
/// `name_collision` for a role of that name that is somebody else's.
pub(super) fn ensure(role: &str, comment: &str) -> Result<(), Failure> {
    let known = query::one::<bool>(
        "SELECT (SELECT NOT (rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls)
                        AND shobj_description(oid, 'pg_authid') IS NOT DISTINCT FROM $2
                 FROM pg_roles WHERE rolname = $1)",
        &[role.into(), comment.into()],
    )
    .map_err(spi)?;
    match known {
        Some(true) => Ok(()),
        Some(false) => Err(Failure::new(
            ErrorCode::NameCollision,
            format!("a role \"{role}\" exists that stonescriptdb did not create"),
        )
        .hint("Rename it, or register the platform under another name.")),
        None => {
            let role = quote_identifier(role);
            let comment = pgrx::spi::quote_literal(comment);
            // LOGIN, for a background worker of PostgreSQL 15 and 16 connects only as such a role; it has no password.
            execute_once(
                &format!(
                    "CREATE ROLE {role} LOGIN PASSWORD NULL NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS"
                ),
                &[],
            )?;
            execute_once(&format!("COMMENT ON ROLE {role} IS {comment}"), &[])
        }
    }
}

/// Drops a role that owns nothing; leaves one that does.
pub(super) fn drop_if_unused(role: &str) -> Result<(), Failure> {
    let role = quote_identifier(role);
    crate::postgres::subtransaction(|| execute_once(&format!("DROP ROLE IF EXISTS {role}"), &[])).or(Ok(()))
}

/// Nobody but the platform's roles may connect to its database. The call role may make temporary tables, as functions do.
pub(super) fn close_database(name: &str, owner_name: &str, call_name: &str) -> Result<(), Failure> {
    let (database, owner, call) = (quote_identifier(name), quote_identifier(owner_name), quote_identifier(call_name));
    let others: Vec<Option<String>> = query::one(
        "SELECT ARRAY(SELECT DISTINCT r.rolname::text FROM pg_database c, aclexplode(c.datacl) a JOIN pg_roles r ON r.oid = a.grantee
                      WHERE c.datname = $1 AND r.rolname NOT IN ($2, $3))",
        &[name.into(), owner_name.into(), call_name.into()],
    )
    .map_err(spi)?
    .unwrap_or_default();
    execute_once(&format!("REVOKE ALL ON DATABASE {database} FROM PUBLIC"), &[])?;
    for other in others.into_iter().flatten() {
        execute_once(&format!("REVOKE ALL ON DATABASE {database} FROM {} CASCADE", quote_identifier(&other)), &[])?;
    }
    execute_once(&format!("GRANT CONNECT, TEMPORARY, CREATE ON DATABASE {database} TO {owner}"), &[])?;
    execute_once(&format!("GRANT CONNECT, TEMPORARY ON DATABASE {database} TO {call}"), &[])
}
