//! Statements that change what a database's catalog says, seen as they pass.

use pgrx::pg_sys;
use pgrx::pg_sys::NodeTag;

use super::nodes::{pointers, tag};

unsafe extern "C-unwind" {
    // Past pgrx's binding: it is asked of every utility statement, and raises nothing.
    fn GetCommandLogLevel(statement: *mut pg_sys::Node) -> pg_sys::LogStmtLevel::Type;
}

/// Whether a statement is what `log_statement = ddl` calls DDL, and of the connected database: databases, roles and the like belong to
/// the whole server. The commit of a prepared transaction counts, for nobody knows what is in it.
///
/// # Safety
/// `statement` must be a valid utility statement.
pub(super) unsafe fn is_ddl(statement: *mut pg_sys::Node) -> bool {
    use NodeTag::*;
    // SAFETY: the caller's promise; casts follow the tag.
    unsafe {
        match tag(statement) {
            Some(T_TransactionStmt) => {
                (*statement.cast::<pg_sys::TransactionStmt>()).kind
                    == pg_sys::TransactionStmtKind::TRANS_STMT_COMMIT_PREPARED
            }
            None
            | Some(
                T_CreatedbStmt
                | T_DropdbStmt
                | T_AlterDatabaseStmt
                | T_AlterDatabaseSetStmt
                | T_AlterDatabaseRefreshCollStmt
                | T_CreateRoleStmt
                | T_AlterRoleStmt
                | T_AlterRoleSetStmt
                | T_DropRoleStmt
                | T_GrantRoleStmt
                | T_AlterSystemStmt
                | T_CreateTableSpaceStmt
                | T_DropTableSpaceStmt
                | T_AlterTableSpaceOptionsStmt
                // Rows, no definition.
                | T_RefreshMatViewStmt,
            ) => false,
            Some(T_RenameStmt) => !matches!(
                (*statement.cast::<pg_sys::RenameStmt>()).renameType,
                pg_sys::ObjectType::OBJECT_DATABASE
                    | pg_sys::ObjectType::OBJECT_ROLE
                    | pg_sys::ObjectType::OBJECT_TABLESPACE
            ),
            Some(T_CommentStmt) => !matches!(
                (*statement.cast::<pg_sys::CommentStmt>()).objtype,
                pg_sys::ObjectType::OBJECT_DATABASE
                    | pg_sys::ObjectType::OBJECT_ROLE
                    | pg_sys::ObjectType::OBJECT_TABLESPACE
            ),
            Some(_) => GetCommandLogLevel(statement) == pg_sys::LogStmtLevel::LOGSTMT_DDL,
        }
    }
}

/// Whether a statement makes the table that says which bundle a database is in the state of: a dump is being restored.
///
/// # Safety
/// `statement` must be a valid utility statement.
pub(super) unsafe fn makes_state(statement: *mut pg_sys::Node) -> bool {
    // SAFETY: the caller's promise; casts follow the tag, and a relation's name ends in a zero.
    unsafe {
        if tag(statement) != Some(NodeTag::T_CreateStmt) {
            return false;
        }
        let relation = (*statement.cast::<pg_sys::CreateStmt>()).relation;
        !relation.is_null()
            && !(*relation).relname.is_null()
            && std::ffi::CStr::from_ptr((*relation).relname) == c"_stonescriptdb_state"
    }
}

/// Whether a statement is about temporary objects only, as far as that is cheap to tell. Before it runs: what it drops is still there.
///
/// # Safety
/// `statement` must be a valid utility statement, inside a transaction. Raises what the statement itself would.
pub(super) unsafe fn is_temporary(statement: *mut pg_sys::Node) -> bool {
    use NodeTag::*;
    // SAFETY: the caller's promise; casts follow the tag.
    unsafe {
        match tag(statement) {
            Some(T_CreateStmt) => makes_temporary((*statement.cast::<pg_sys::CreateStmt>()).relation),
            Some(T_CreateTableAsStmt) => {
                let into = (*statement.cast::<pg_sys::CreateTableAsStmt>()).into;
                !into.is_null() && makes_temporary((*into).rel)
            }
            Some(T_ViewStmt) => makes_temporary((*statement.cast::<pg_sys::ViewStmt>()).view),
            Some(T_CreateSeqStmt) => makes_temporary((*statement.cast::<pg_sys::CreateSeqStmt>()).sequence),
            Some(T_IndexStmt) => is_temporary_relation((*statement.cast::<pg_sys::IndexStmt>()).relation),
            Some(T_AlterTableStmt) => is_temporary_relation((*statement.cast::<pg_sys::AlterTableStmt>()).relation),
            Some(T_AlterSeqStmt) => is_temporary_relation((*statement.cast::<pg_sys::AlterSeqStmt>()).sequence),
            Some(T_RenameStmt) => is_temporary_relation((*statement.cast::<pg_sys::RenameStmt>()).relation),
            Some(T_DropStmt) => {
                let drop = &*statement.cast::<pg_sys::DropStmt>();
                use pg_sys::ObjectType::{OBJECT_INDEX, OBJECT_SEQUENCE, OBJECT_TABLE, OBJECT_VIEW};
                matches!(drop.removeType, OBJECT_TABLE | OBJECT_VIEW | OBJECT_SEQUENCE | OBJECT_INDEX)
                    && pointers::<pg_sys::List>(drop.objects)
                        .into_iter()
                        .all(|name| is_temporary_relation(pg_sys::makeRangeVarFromNameList(name)))
            }
            _ => false,
        }
    }
}

/// Whether a relation of that name would be made among the session's temporary ones.
unsafe fn makes_temporary(name: *const pg_sys::RangeVar) -> bool {
    // SAFETY: null or a live node.
    unsafe {
        !name.is_null()
            && ((*name).relpersistence as u8 == pg_sys::RELPERSISTENCE_TEMP
                || super::error::text((*name).schemaname).as_deref() == Some("pg_temp"))
    }
}

/// Whether the name is that of a temporary relation.
unsafe fn is_temporary_relation(name: *const pg_sys::RangeVar) -> bool {
    if name.is_null() {
        return false;
    }
    // SAFETY: a live node; the look-ups take no lock and find nothing where there is nothing.
    unsafe {
        let flags = pg_sys::RVROption::RVR_MISSING_OK;
        let relation = pg_sys::RangeVarGetRelidExtended(name, pg_sys::NoLock as i32, flags, None, std::ptr::null_mut());
        relation != pg_sys::InvalidOid && pg_sys::isAnyTempNamespace(pg_sys::get_rel_namespace(relation))
    }
}
