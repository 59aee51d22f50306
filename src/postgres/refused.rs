//! Statements that no bundle may contain, known by their nodes before anything of it runs.
//!
//! PostgreSQL would refuse most of them to the owner role anyway, but in the middle of a deployment. The rest is about what is the whole
//! server's, or about another tenant's database: the owner role owns those of all tenants.

use std::borrow::Cow;
use std::ffi::CString;

use pgrx::pg_sys;
use pgrx::pg_sys::{NodeTag, ObjectType};

use super::error::text;
use super::nodes::{pointers, tag};

/// Why a bundle may not contain a statement, as what follows "a bundle may not contain"; none for one that it may. CREATE EXTENSION, which
/// depends on the rest of the bundle, is not looked at.
///
/// # Safety
/// `node` must be a live raw parse tree.
pub(super) unsafe fn why_refused(node: *mut pg_sys::Node) -> Option<Cow<'static, str>> {
    use NodeTag::*;
    // SAFETY: casts follow the tag.
    unsafe {
        let why: &'static str = match tag(node)? {
            T_TransactionStmt => "transaction control: every file runs inside the deployment's own transaction",
            T_CreatedbStmt
            | T_DropdbStmt
            | T_AlterDatabaseStmt
            | T_AlterDatabaseSetStmt
            | T_AlterDatabaseRefreshCollStmt => DATABASES,
            T_CreateRoleStmt | T_AlterRoleStmt | T_AlterRoleSetStmt | T_DropRoleStmt | T_GrantRoleStmt => ROLES,
            T_DropOwnedStmt | T_ReassignOwnedStmt => {
                "DROP OWNED and REASSIGN OWNED: they go through all databases' rights, not one tenant's"
            }
            T_CreateTableSpaceStmt | T_DropTableSpaceStmt | T_AlterTableSpaceOptionsStmt => TABLESPACES,
            T_AlterSystemStmt => "ALTER SYSTEM: settings are the whole server's, not one tenant's",
            T_LoadStmt => "LOAD: libraries are the whole server's",
            T_CheckPointStmt => "CHECKPOINT: it is the whole server's",
            T_ListenStmt => "LISTEN: nobody is there to be notified",
            T_CreateEventTrigStmt | T_AlterEventTrigStmt => EVENT_TRIGGERS,
            T_CreateSubscriptionStmt | T_AlterSubscriptionStmt | T_DropSubscriptionStmt => {
                "CREATE, ALTER and DROP SUBSCRIPTION: replication is the whole server's"
            }
            T_CreatePLangStmt => {
                "CREATE LANGUAGE: a language comes with its extension, which is a file of the folder extensions/"
            }
            T_CopyStmt => match (*node.cast::<pg_sys::CopyStmt>()).filename.is_null() {
                true => "COPY FROM STDIN and TO STDOUT: no client is there to send or to read the rows; use INSERT",
                false => "COPY from and to files and programs: they are the server's; use INSERT",
            },
            T_RenameStmt => shared((*node.cast::<pg_sys::RenameStmt>()).renameType)?,
            T_AlterOwnerStmt => shared((*node.cast::<pg_sys::AlterOwnerStmt>()).objectType)?,
            T_CommentStmt => shared((*node.cast::<pg_sys::CommentStmt>()).objtype)?,
            T_SecLabelStmt => shared((*node.cast::<pg_sys::SecLabelStmt>()).objtype)?,
            T_DropStmt => shared((*node.cast::<pg_sys::DropStmt>()).removeType)?,
            T_GrantStmt => match (*node.cast::<pg_sys::GrantStmt>()).objtype {
                ObjectType::OBJECT_DATABASE => {
                    "GRANT and REVOKE ON DATABASE: who may connect belongs to the deployment, not to a bundle"
                }
                ObjectType::OBJECT_TABLESPACE => TABLESPACES,
                ObjectType::OBJECT_PARAMETER_ACL => "GRANT and REVOKE ON PARAMETER: settings are the whole server's",
                _ => return None,
            },
            T_VariableSetStmt => sets_role(node)?,
            T_CreateFunctionStmt => return function((*node.cast::<pg_sys::CreateFunctionStmt>()).options),
            T_AlterFunctionStmt => return function((*node.cast::<pg_sys::AlterFunctionStmt>()).actions),
            T_DoStmt => return function((*node.cast::<pg_sys::DoStmt>()).args),
            T_CreateSchemaStmt => {
                let elements = pointers::<pg_sys::Node>((*node.cast::<pg_sys::CreateSchemaStmt>()).schemaElts);
                return elements.into_iter().find_map(|element| why_refused(element));
            }
            _ => return None,
        };
        Some(Cow::Borrowed(why))
    }
}

const DATABASES: &str = "CREATE, ALTER and DROP DATABASE: databases belong to the deployment, not to a bundle";
const ROLES: &str = "CREATE, ALTER, DROP and GRANT of a ROLE: roles are the whole server's, not one tenant's";
const TABLESPACES: &str =
    "CREATE, ALTER, DROP and GRANT of a TABLESPACE: tablespaces are the whole server's, not one tenant's";
const EVENT_TRIGGERS: &str = "CREATE, ALTER and DROP EVENT TRIGGER: they need a superuser";

/// RENAME, OWNER TO, COMMENT and the like of what is not in a schema of the tenant's.
fn shared(kind: ObjectType::Type) -> Option<&'static str> {
    match kind {
        ObjectType::OBJECT_DATABASE => Some(DATABASES),
        ObjectType::OBJECT_ROLE => Some(ROLES),
        ObjectType::OBJECT_TABLESPACE => Some(TABLESPACES),
        ObjectType::OBJECT_EVENT_TRIGGER => Some(EVENT_TRIGGERS),
        ObjectType::OBJECT_SUBSCRIPTION => {
            Some("CREATE, ALTER and DROP SUBSCRIPTION: replication is the whole server's")
        }
        _ => None,
    }
}

/// SET of another role; RESET leads to the platform's own.
unsafe fn sets_role(node: *mut pg_sys::Node) -> Option<&'static str> {
    // SAFETY: the caller has looked at the tag.
    let (name, kind) = unsafe {
        let set = &*node.cast::<pg_sys::VariableSetStmt>();
        (text(set.name)?, set.kind)
    };
    // Settings are found whatever the case of their names.
    let is_role = name.eq_ignore_ascii_case("role") || name.eq_ignore_ascii_case("session_authorization");
    (is_role && kind != pg_sys::VariableSetKind::VAR_RESET)
        .then_some("SET ROLE and SET SESSION AUTHORIZATION: all of it runs as the platform's owner role")
}

/// The clauses LANGUAGE and SET of a function, or LANGUAGE of a DO block.
unsafe fn function(options: *const pg_sys::List) -> Option<Cow<'static, str>> {
    // SAFETY: a list of DefElem; casts follow the tag.
    unsafe {
        pointers::<pg_sys::DefElem>(options).into_iter().find_map(|option| {
            let (name, value) = (text((*option).defname)?, (*option).arg);
            match (name.as_str(), tag(value)?) {
                ("set", NodeTag::T_VariableSetStmt) => sets_role(value).map(Cow::Borrowed),
                ("language", NodeTag::T_String) => {
                    let language = text((*value.cast::<pg_sys::String>()).sval)?;
                    is_untrusted(&language).then(|| {
                        Cow::Owned(format!("code in the language {language}: it is not trusted, and needs a superuser"))
                    })
                }
                _ => None,
            }
        })
    }
}

/// Languages that give whoever writes in them all that the server may, where they are known by their usual names.
const UNTRUSTED: [&str; 11] =
    ["c", "internal", "plpythonu", "plpython2u", "plpython3u", "plperlu", "pltclu", "plluau", "javau", "plr", "plsh"];

/// `Anum_pg_language_lanpltrusted` (pg_language.h), the same in every version so far.
const LANPLTRUSTED: pg_sys::AttrNumber = 5;

/// Whether a language is one that only superusers may write in: as the connected database says, or by its name where that does not know it.
fn is_untrusted(language: &str) -> bool {
    let Ok(name) = CString::new(language) else { return false };
    // SAFETY: the catalog is read inside a transaction only; a row that was found is released. The column is a bool and never null.
    let known = unsafe {
        if !pg_sys::IsTransactionState() {
            None
        } else {
            let cache = pg_sys::SysCacheIdentifier::LANGNAME as i32;
            let row = pg_sys::SearchSysCache1(cache, pg_sys::Datum::from(name.as_ptr()));
            (!row.is_null()).then(|| {
                let mut is_null = false;
                let trusted = pg_sys::SysCacheGetAttr(cache, row, LANPLTRUSTED, &mut is_null);
                pg_sys::ReleaseSysCache(row);
                trusted.value() & 1 == 0
            })
        }
    };
    known.unwrap_or_else(|| UNTRUSTED.contains(&language))
}
