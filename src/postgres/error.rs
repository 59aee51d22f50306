//! Catching PostgreSQL's errors whole.
//!
//! pgrx turns an ERROR into a Rust panic that keeps the message, detail and hint, but neither the context nor the positions nor
//! an SQLSTATE that is not on PostgreSQL's own list. They are taken here where PostgreSQL itself lets others look at an error on
//! its way: in an `error_context_stack` callback (elog.c, `errfinish`), which runs last when it was pushed first.

use std::cell::RefCell;
use std::ffi::CStr;
use std::panic::AssertUnwindSafe;

use pgrx::pg_sys;
use pgrx::pg_sys::panic::CaughtError;
use pgrx::prelude::PgTryBuilder;
use stonescriptdb_protocol::Failure;

use super::memory::LastingMemory;

/// Everything PostgreSQL says of one error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PgError {
    /// Five characters.
    pub(crate) sqlstate: String,
    pub(crate) message: String,
    pub(crate) detail: Option<String>,
    pub(crate) hint: Option<String>,
    /// The call stack, innermost first, a line each.
    pub(crate) context: Option<String>,
    /// Character (from 1) in the statement's source text; 0 is unknown.
    pub(crate) position: usize,
    /// Character (from 1) in `internal_query`; 0 is unknown.
    pub(crate) internal_position: usize,
    /// Text that the server parsed on the caller's behalf: a function's body, for one.
    pub(crate) internal_query: Option<String>,
}

impl From<pgrx::spi::Error> for PgError {
    /// An error of pgrx's SPI layer itself: PostgreSQL's own arrive by another way.
    fn from(error: pgrx::spi::Error) -> PgError {
        PgError::new("XX000", error.to_string())
    }
}

impl PgError {
    pub(crate) fn new(sqlstate: &str, message: impl Into<String>) -> PgError {
        PgError { sqlstate: sqlstate.to_owned(), message: message.into(), ..PgError::default() }
    }

    /// The error without what says in which statement it came up.
    pub(crate) fn without_statement(self) -> PgError {
        PgError { context: None, position: 0, internal_position: 0, internal_query: None, ..self }
    }
}

thread_local! {
    static LAST: RefCell<Option<PgError>> = const { RefCell::new(None) };
    static WATCHED: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Runs `f`; an ERROR in it (or a panic) comes back as a value. The caller must then abort the transaction or the
/// subtransaction that `f` ran in, as after PG_CATCH: nothing in it can be trusted any more.
pub(crate) fn catch<T>(f: impl FnOnce() -> T) -> Result<T, PgError> {
    let watch = Watch::start();
    let caught =
        PgTryBuilder::new(AssertUnwindSafe(|| Ok(f()))).catch_others(|cause| Err(from_caught(cause))).execute();
    drop(watch);
    caught
}

fn from_caught(cause: CaughtError) -> PgError {
    let seen = LAST.with(|last| last.try_borrow_mut().ok().and_then(|mut last| last.take()));
    let (report, raised_by_postgres) = match &cause {
        CaughtError::PostgresError(report) => (report, true),
        CaughtError::ErrorReport(report) => (report, false),
        CaughtError::RustPanic { ereport, .. } => (ereport, false),
    };
    super::limit::told(match seen {
        Some(seen) if raised_by_postgres && seen.message == report.message() => seen,
        _ => PgError {
            sqlstate: unpack_sqlstate(report.sql_error_code() as i32),
            message: report.message().to_owned(),
            detail: report.detail().map(str::to_owned),
            hint: report.hint().map(str::to_owned),
            ..PgError::default()
        },
    })
}

/// While it lives, errors of this process are noted in [`LAST`]. Nested ones do nothing: the outermost sees the whole context.
struct Watch {
    callback: Option<Box<pg_sys::ErrorContextCallback>>,
}

impl Watch {
    fn start() -> Watch {
        if WATCHED.replace(true) {
            return Watch { callback: None };
        }
        // SAFETY: the callback is boxed, so its address stays; it is taken off the stack again in `drop`, before the box goes.
        unsafe {
            let mut callback = Box::new(pg_sys::ErrorContextCallback {
                previous: pg_sys::error_context_stack,
                callback: Some(note_error),
                arg: std::ptr::null_mut(),
            });
            pg_sys::error_context_stack = &mut *callback;
            Watch { callback: Some(callback) }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(callback) = self.callback.take() {
            // SAFETY: `catch` is left, so whatever was pushed above it is gone: PostgreSQL and pgrx restore the stack on error.
            unsafe { pg_sys::error_context_stack = callback.previous };
            WATCHED.set(false);
        }
    }
}

/// Copies the error that is being raised. Runs inside `errfinish`, so it must raise none itself.
unsafe extern "C-unwind" fn note_error(_arg: *mut std::ffi::c_void) {
    // The copy must not be in ErrorContext, which errfinish may reset, and not in a context that stays: FreeErrorData leaves some of the
    // strings that CopyErrorData has copied.
    let memory = LastingMemory::small();
    // SAFETY: called by errfinish on the main thread with an ErrorData on its stack; CopyErrorData copies the topmost.
    memory.enter(|| unsafe {
        let data = pg_sys::CopyErrorData();
        if (*data).elevel >= pgrx::PgLogLevel::ERROR as i32 {
            let error = from_error_data(&*data);
            LAST.with(|last| {
                if let Ok(mut last) = last.try_borrow_mut() {
                    *last = Some(error);
                }
            });
        }
    });
}

unsafe fn from_error_data(data: &pg_sys::ErrorData) -> PgError {
    // SAFETY: the strings of an ErrorData are null or end in a zero.
    unsafe {
        PgError {
            sqlstate: unpack_sqlstate(data.sqlerrcode),
            message: text(data.message).unwrap_or_default(),
            detail: text(data.detail),
            hint: text(data.hint),
            context: text(data.context),
            position: usize::try_from(data.cursorpos).unwrap_or(0),
            internal_position: usize::try_from(data.internalpos).unwrap_or(0),
            internal_query: text(data.internalquery),
        }
    }
}

/// A C string of the server, which is in the database's encoding; replaced where that is not UTF-8.
pub(super) unsafe fn text(string: *const std::ffi::c_char) -> Option<String> {
    if string.is_null() {
        return None;
    }
    // SAFETY: not null, and the caller's promise that it ends in a zero.
    Some(unsafe { CStr::from_ptr(string) }.to_string_lossy().into_owned())
}

/// The five characters of an SQLSTATE, six bits each (elog.h, `MAKE_SQLSTATE`).
fn unpack_sqlstate(packed: i32) -> String {
    (0..5).map(|i| char::from(((packed >> (6 * i)) & 0x3f) as u8 + b'0')).collect()
}

unsafe extern "C-unwind" {
    // Past pgrx's binding, which would catch what this throws.
    fn ThrowErrorData(data: *mut pg_sys::ErrorData);
}

/// The body of a function that C code calls: runs `f`, and throws its error on with nothing lost but the inner context. pgrx's own guard
/// would lose more (see above).
///
/// # Safety
/// Nothing in the caller's frame may need dropping: C code's longjmp passes over it.
pub(super) unsafe fn guard<T: Copy>(f: impl FnOnce() -> Result<T, Failure>, context: impl Fn(&Failure) -> String) -> T {
    match run_guarded(f, context) {
        Ok(value) => value,
        Err(data) => {
            // SAFETY: palloc'd data in a context that outlives the throw; no Rust value is alive in this frame.
            unsafe { ThrowErrorData(data) };
            unreachable!("an ERROR does not return")
        }
    }
}

#[inline(never)]
fn run_guarded<T>(
    f: impl FnOnce() -> Result<T, Failure>,
    context: impl Fn(&Failure) -> String,
) -> Result<T, *mut pg_sys::ErrorData> {
    match catch(f) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(failure)) => {
            let sqlstate =
                failure.sqlstate.clone().unwrap_or_else(|| crate::error::outside(failure.code).sqlstate.to_owned());
            Err(error_data(&failure, &sqlstate, &context(&failure)))
        }
        // The context is added anew while it is thrown again.
        Err(error) => {
            let sqlstate = error.sqlstate.clone();
            let failure = Failure { context: None, ..Failure::from(error) };
            Err(error_data(&failure, &sqlstate, ""))
        }
    }
}

/// A failure as PostgreSQL's own error data, palloc'd, with whatever SQLSTATE it has, also one that is not on PostgreSQL's list.
fn error_data(failure: &Failure, sqlstate: &str, context: &str) -> *mut pg_sys::ErrorData {
    let packed = sqlstate
        .bytes()
        .take(5)
        .enumerate()
        .map(|(index, byte)| i32::from(byte.wrapping_sub(b'0') & 0x3f) << (6 * index))
        .sum();
    let copy = |text: &str| {
        if text.is_empty() {
            return std::ptr::null_mut();
        }
        let text = std::ffi::CString::new(text.replace('\0', " ")).unwrap_or_default();
        // SAFETY: palloc'd in the current context, which outlives the throw.
        unsafe { pg_sys::pstrdup(text.as_ptr()) }
    };
    let optional = |text: &Option<String>| copy(text.as_deref().unwrap_or_default());
    // SAFETY: palloc'd as above, every member set or zero.
    unsafe {
        let data = pg_sys::palloc0(std::mem::size_of::<pg_sys::ErrorData>()).cast::<pg_sys::ErrorData>();
        (*data).elevel = pgrx::PgLogLevel::ERROR as i32;
        (*data).sqlerrcode = packed;
        (*data).message = copy(&failure.message);
        (*data).detail = optional(&failure.detail);
        (*data).hint = optional(&failure.hint);
        (*data).context = copy(context);
        (*data).assoc_context = pg_sys::CurrentMemoryContext;
        data
    }
}
