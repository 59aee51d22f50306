//! Running a bundle's statements from their parse trees, inside the deployment's transaction.
//!
//! Done as `execute_sql_string` of commands/extension.c does it for extension scripts: one statement after the other, each seeing
//! what the one before did, utility statements in the context `PROCESS_UTILITY_QUERY`, in which PostgreSQL itself refuses what
//! cannot run in a transaction. The source text is the whole file, so that every error position is a position in the file.

use std::ffi::CStr;

use pgrx::pg_sys;

use super::version;

/// Runs one raw statement. Raises PostgreSQL's errors; gives the number of rows that a plain statement processed.
///
/// # Safety
/// `statement` must be a live tree that nothing else uses (analysis scribbles on it), parsed from `source`.
pub(super) unsafe fn run_raw(statement: *mut pg_sys::RawStmt, source: &CStr) -> u64 {
    // SAFETY: the caller's promise.
    unsafe { run_raw_as(statement, source, pg_sys::ProcessUtilityContext::PROCESS_UTILITY_QUERY) }
}

/// As [`run_raw`], utility statements in a context of the caller's choice. At the top level a statement may commit and go on in a new
/// transaction: the current memory context must outlive that.
///
/// # Safety
/// As [`run_raw`].
pub(super) unsafe fn run_raw_as(
    statement: *mut pg_sys::RawStmt,
    source: &CStr,
    context_of_utility: pg_sys::ProcessUtilityContext::Type,
) -> u64 {
    // SAFETY: the sequence of calls is that of execute_sql_string; a memory context of its own keeps a long deployment small.
    unsafe {
        pg_sys::check_stack_depth();
        let context = pg_sys::AllocSetContextCreateInternal(
            pg_sys::CurrentMemoryContext,
            c"stonescriptdb statement".as_ptr(),
            pg_sys::ALLOCSET_DEFAULT_MINSIZE as usize,
            pg_sys::ALLOCSET_DEFAULT_INITSIZE as usize,
            pg_sys::ALLOCSET_DEFAULT_MAXSIZE as usize,
        );
        let before = pg_sys::MemoryContextSwitchTo(context);
        pg_sys::CommandCounterIncrement();
        let queries = pg_sys::pg_analyze_and_rewrite_fixedparams(
            statement,
            source.as_ptr(),
            std::ptr::null(),
            0,
            std::ptr::null_mut(),
        );
        let plans = pg_sys::pg_plan_queries(
            queries,
            source.as_ptr(),
            pg_sys::CURSOR_OPT_PARALLEL_OK as i32,
            std::ptr::null_mut(),
        );
        let mut processed = 0;
        for planned in super::nodes::pointers::<pg_sys::PlannedStmt>(plans) {
            pg_sys::CommandCounterIncrement();
            pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
            let snapshot = pg_sys::GetActiveSnapshot();
            let destination = pg_sys::CreateDestReceiver(pg_sys::CommandDest::DestNone);
            if (*planned).utilityStmt.is_null() {
                let query = pg_sys::CreateQueryDesc(
                    planned,
                    source.as_ptr(),
                    pg_sys::GetActiveSnapshot(),
                    std::ptr::null_mut(),
                    destination,
                    std::ptr::null_mut(),
                    std::ptr::null_mut(),
                    0,
                );
                pg_sys::ExecutorStart(query, 0);
                version::executor_run(query);
                pg_sys::ExecutorFinish(query);
                processed += (*(*query).estate).es_processed as u64;
                pg_sys::ExecutorEnd(query);
                pg_sys::FreeQueryDesc(query);
            } else {
                pg_sys::ProcessUtility(
                    planned,
                    source.as_ptr(),
                    false,
                    context_of_utility,
                    std::ptr::null_mut(),
                    std::ptr::null_mut(),
                    destination,
                    std::ptr::null_mut(),
                );
            }
            // A statement that committed has popped it (pquery.c, PortalRunUtility).
            if pg_sys::ActiveSnapshotSet() && pg_sys::GetActiveSnapshot() == snapshot {
                pg_sys::PopActiveSnapshot();
            }
        }
        pg_sys::CommandCounterIncrement();
        pg_sys::MemoryContextSwitchTo(before);
        pg_sys::MemoryContextDelete(context);
        processed
    }
}
