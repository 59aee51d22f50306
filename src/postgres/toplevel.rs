//! Statements that refuse to run inside a transaction block or through SPI, run as a client's own top-level statement would be.

use std::ffi::CString;

use pgrx::pg_sys;

use super::error::PgError;
use super::transaction::bare_transaction;

/// `CREATE DATABASE name OWNER owner TEMPLATE template`. The statement's tree is built, not its text: no name needs quoting.
///
/// # Errors
/// PostgreSQL's own: 42P04 if it exists, 55006 if the template is in use.
pub(crate) fn create_database(name: &str, owner: &str, template: &str) -> Result<(), PgError> {
    let (name, owner, template) = (c_string(name)?, c_string(owner)?, c_string(template)?);
    bare_transaction(|| {
        // SAFETY: nodes are palloc'd in the transaction's context and strings are copied into it.
        unsafe {
            let mut options = std::ptr::null_mut();
            for (option, value) in [(c"owner", &owner), (c"template", &template)] {
                let value = pg_sys::makeString(pg_sys::pstrdup(value.as_ptr()));
                let element = pg_sys::makeDefElem(pg_sys::pstrdup(option.as_ptr()), value.cast(), -1);
                options = pg_sys::lappend(options, element.cast());
            }
            let statement: *mut pg_sys::CreatedbStmt = super::nodes::make(pg_sys::NodeTag::T_CreatedbStmt);
            (*statement).dbname = pg_sys::pstrdup(name.as_ptr());
            (*statement).options = options;
            run_utility(statement.cast(), c"CREATE DATABASE");
        }
    })
}

/// `DROP DATABASE IF EXISTS name WITH (FORCE)`.
///
/// # Errors
/// PostgreSQL's own: 55006 if somebody who cannot be ended uses it.
pub(crate) fn drop_database(name: &str) -> Result<(), PgError> {
    let name = c_string(name)?;
    bare_transaction(|| {
        // SAFETY: as above.
        unsafe {
            let force = pg_sys::makeDefElem(pg_sys::pstrdup(c"force".as_ptr()), std::ptr::null_mut(), -1);
            let statement: *mut pg_sys::DropdbStmt = super::nodes::make(pg_sys::NodeTag::T_DropdbStmt);
            (*statement).dbname = pg_sys::pstrdup(name.as_ptr());
            (*statement).missing_ok = true;
            (*statement).options = pg_sys::lappend(std::ptr::null_mut(), force.cast());
            run_utility(statement.cast(), c"DROP DATABASE");
        }
    })
}

/// Runs a parsed statement, a plain one too, in a transaction of its own.
///
/// # Errors
/// PostgreSQL's own. What the statement committed on its way stays.
pub(super) fn run_raw(statement: *mut pg_sys::RawStmt, source: &std::ffi::CStr) -> Result<(), PgError> {
    let memory = super::LastingMemory::new();
    memory.enter(|| {
        bare_transaction(|| {
            // SAFETY: the caller's tree lives on; what analysis makes of it lives in `memory`, beyond the commits inside the statement.
            unsafe {
                pg_sys::MemoryContextSwitchTo(memory.context());
                super::execute::run_raw_as(statement, source, pg_sys::ProcessUtilityContext::PROCESS_UTILITY_TOPLEVEL);
            }
        })
    })
}

fn c_string(text: &str) -> Result<CString, PgError> {
    CString::new(text).map_err(|_| PgError::new("22021", "a name contains a zero byte"))
}

unsafe fn run_utility(statement: *mut pg_sys::Node, text: &std::ffi::CStr) {
    // SAFETY: a PlannedStmt around a utility statement, as pg_plan_queries makes it.
    unsafe {
        let planned: *mut pg_sys::PlannedStmt = super::nodes::make(pg_sys::NodeTag::T_PlannedStmt);
        (*planned).commandType = pg_sys::CmdType::CMD_UTILITY;
        (*planned).canSetTag = true;
        (*planned).utilityStmt = statement;
        (*planned).stmt_location = -1;
        pg_sys::ProcessUtility(
            planned,
            text.as_ptr(),
            false,
            pg_sys::ProcessUtilityContext::PROCESS_UTILITY_TOPLEVEL,
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            pg_sys::CreateDestReceiver(pg_sys::CommandDest::DestNone),
            std::ptr::null_mut(),
        );
    }
}
