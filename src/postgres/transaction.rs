//! Transactions and subtransactions around Rust code, with errors as values.

use std::cell::Cell;

use pgrx::pg_sys;

use super::error::{PgError, catch};

thread_local! {
    static COMMITS: Cell<u64> = const { Cell::new(0) };
}

/// How many transactions this process has committed.
pub(crate) fn commits() -> u64 {
    COMMITS.get()
}

/// One has committed just now.
pub(super) fn count_commit() {
    COMMITS.set(COMMITS.get().wrapping_add(1));
}

/// Runs `f` in a transaction of its own with an active snapshot, as a background worker must. Commits if it is `Ok`; a value or
/// an ERROR on the wrong side rolls back. The error of a commit (a deferred constraint) counts too.
pub(crate) fn transaction<T, E: From<PgError>>(f: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    // SAFETY: background workers are outside any transaction between requests; what raises is caught and then aborted.
    let result = catch(|| unsafe {
        pg_sys::SetCurrentStatementStartTimestamp();
        pg_sys::StartTransactionCommand();
        pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
        let value = f()?;
        // A procedure that was called at the top level has taken it off, and this may be another transaction.
        if pg_sys::ActiveSnapshotSet() {
            pg_sys::PopActiveSnapshot();
        }
        pg_sys::CommitTransactionCommand();
        Ok(value)
    });
    match result {
        Ok(Ok(value)) => {
            back_to_top();
            Ok(value)
        }
        Ok(Err(error)) => {
            abort();
            Err(error)
        }
        Err(error) => {
            abort();
            Err(error.into())
        }
    }
}

/// Whether this process is in a transaction that can still do something.
pub(crate) fn in_transaction() -> bool {
    // SAFETY: looks at this process's own state.
    unsafe { pg_sys::IsTransactionState() }
}

/// Runs `f`, whose queries see what is committed by now, inside a transaction. An ERROR leaves the snapshot to the end of the transaction.
pub(crate) fn with_new_snapshot<T>(f: impl FnOnce() -> T) -> T {
    // SAFETY: inside a transaction; pushed and popped in pairs, or dropped by its abort.
    unsafe {
        pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
        let value = f();
        pg_sys::PopActiveSnapshot();
        value
    }
}

/// As [`transaction`], and nothing can be written in it. PostgreSQL lets nobody change that once the snapshot is taken.
pub(crate) fn read_only_transaction<T, E: From<PgError>>(f: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    transaction(|| {
        // SAFETY: a flag of the present transaction, which the start of the next one sets anew.
        unsafe { pg_sys::XactReadOnly = true };
        f()
    })
}

/// Runs a statement that brings its own snapshots (`CREATE DATABASE`) in a transaction command without an active one.
pub(crate) fn bare_transaction(f: impl FnOnce()) -> Result<(), PgError> {
    // SAFETY: as in `transaction`.
    let result = catch(|| unsafe {
        pg_sys::SetCurrentStatementStartTimestamp();
        pg_sys::StartTransactionCommand();
        f();
        pg_sys::CommitTransactionCommand();
    });
    if result.is_err() {
        abort();
    }
    back_to_top();
    result
}

/// Runs `f` in a subtransaction that is kept if it is `Ok` and rolled back otherwise (as plpgsql's EXCEPTION blocks do it).
pub(crate) fn subtransaction<T, E: From<PgError>>(f: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    // SAFETY: the memory context and the resource owner are put back on both ways out, as pl_exec.c does.
    unsafe {
        let context = pg_sys::CurrentMemoryContext;
        let owner = pg_sys::CurrentResourceOwner;
        pg_sys::BeginInternalSubTransaction(std::ptr::null());
        pg_sys::MemoryContextSwitchTo(context);
        let result = match catch(f) {
            Ok(result) => result,
            Err(error) => Err(error.into()),
        };
        if result.is_ok() {
            pg_sys::ReleaseCurrentSubTransaction();
        } else {
            pg_sys::RollbackAndReleaseCurrentSubTransaction();
        }
        pg_sys::MemoryContextSwitchTo(context);
        pg_sys::CurrentResourceOwner = owner;
        result
    }
}

fn abort() {
    // An error while aborting is an error of the server: PostgreSQL itself makes it a PANIC or FATAL where it matters.
    // SAFETY: allowed in any state; it is what PostgresMain does after an error. A procedure may have left cursors that outlived a commit.
    let _ = catch(|| unsafe {
        pg_sys::AbortOutOfAnyTransaction();
        pg_sys::PortalErrorCleanup();
    });
    back_to_top();
}

fn back_to_top() {
    // SAFETY: TopMemoryContext lives as long as the process.
    unsafe {
        pg_sys::MemoryContextSwitchTo(pg_sys::TopMemoryContext);
    }
}
