//! What a caller could leave behind in a session, put back between two calls.
//!
//! The parts of `DISCARD ALL` (commands/discard.c), but for the plan cache: plans are this extension's own, kept on purpose, and
//! invalidated by PostgreSQL when what they depend on changes. And the seed of `random()`, which `DISCARD ALL` forgets.

use std::cell::Cell;
use std::ffi::{CStr, c_char};

use pgrx::pg_sys;

use super::error::{PgError, catch};
use super::limit;
use super::transaction::transaction;

unsafe extern "C-unwind" {
    // commands/sequence.h, which pgrx does not bind.
    fn ResetSequenceCaches();
    // utils/fmgrprotos.h; as the function pointer that DirectFunctionCall1Coll wants.
    fn setseed(arguments: pg_sys::FunctionCallInfo) -> pg_sys::Datum;
    // utils/timeout.h, likewise.
    fn enable_timeout_after(id: i32, delay_ms: i32);
    fn disable_timeout(id: i32, keep_indicator: bool);
    fn get_timeout_indicator(id: i32, reset_indicator: bool) -> bool;
}

/// `STATEMENT_TIMEOUT` of utils/timeout.h's `TimeoutId`, the same in 15 to 18.
const STATEMENT_TIMEOUT: i32 = 3;

/// Resets settings, role, prepared statements, cursors, session-level advisory locks, temporary objects, sequence caches and the seed of
/// `random()`.
///
/// # Errors
/// PostgreSQL's own. The session is then in an unknown state, and the worker must end.
pub(crate) fn reset() -> Result<(), PgError> {
    // SAFETY: outside of a transaction, as DISCARD ALL nearly is; each function is one that it calls.
    catch(|| unsafe {
        pg_sys::PortalHashTableDeleteAll();
        if pg_sys::GetUserId() != pg_sys::GetSessionUserId() || pg_sys::GetCurrentRoleId() != pg_sys::InvalidOid {
            pg_sys::SetPGVariable(c"session_authorization".as_ptr(), std::ptr::null_mut(), false);
        }
        pg_sys::ResetAllOptions();
        pg_sys::DropAllPreparedStatements();
        pg_sys::LockReleaseAll(pg_sys::USER_LOCKMETHOD as _, true);
        ResetSequenceCaches();
        // After setseed() the next caller's random() would be foreseeable. Whether somebody called it cannot be seen; the server's own
        // generator, which nobody can set, gives a new seed for less than it would cost to find out.
        let seed = pg_sys::pg_prng_double(&raw mut pg_sys::pg_global_prng_state) * 2.0 - 1.0;
        pg_sys::DirectFunctionCall1Coll(Some(setseed), pg_sys::InvalidOid, pg_sys::Datum::from(seed.to_bits()));
    })?;
    let mut namespace = pg_sys::InvalidOid;
    let mut toast = pg_sys::InvalidOid;
    // SAFETY: writes two Oids.
    unsafe { pg_sys::GetTempNamespaceState(&mut namespace, &mut toast) };
    if namespace != pg_sys::InvalidOid {
        // Nobody waits for the disk: what a crash brings back, PostgreSQL removes before it uses the schema again.
        // SAFETY: inside a transaction; the strings are static and the setting is that of this transaction.
        transaction(|| -> Result<(), PgError> {
            unsafe {
                set_option(c"synchronous_commit", c"off".as_ptr(), pg_sys::GucAction::GUC_ACTION_LOCAL);
                pg_sys::ResetTempTableNamespace();
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// Cancels the running statement after so many milliseconds, until [`disarm_timeout`]. 0 arms nothing.
pub(crate) fn arm_timeout(milliseconds: u32) {
    if milliseconds > 0 {
        limit::begin(milliseconds);
        // SAFETY: InitPostgres registered the handler in every worker that is connected to a database.
        unsafe { enable_timeout_after(STATEMENT_TIMEOUT, i32::try_from(milliseconds).unwrap_or(i32::MAX)) }
    }
}

/// Puts another limit, from now on, in the place of the one of [`arm_timeout`]; 0 is none.
pub(crate) fn rearm_timeout(milliseconds: u32) {
    if milliseconds == 0 {
        limit::end();
        // SAFETY: allowed whether armed or not.
        unsafe { disable_timeout(STATEMENT_TIMEOUT, false) }
    } else {
        // One that is active is scheduled anew (timeout.c).
        arm_timeout(milliseconds);
    }
}

thread_local! {
    static OWN_TIMEOUT: Cell<Option<u32>> = const { Cell::new(None) };
}

/// Connects by `connect`, and notes the statement_timeout of the database or the role if that is another one than the configuration
/// files say. That of the files is for ordinary sessions.
pub(crate) fn noting_own_timeout(connect: impl FnOnce()) {
    // SAFETY: reads a setting.
    let before = unsafe { pg_sys::StatementTimeout };
    connect();
    // SAFETY: as above.
    let after = unsafe { pg_sys::StatementTimeout };
    OWN_TIMEOUT.set(if after == before { None } else { u32::try_from(after).ok() });
}

/// The statement_timeout of the database or the role, in milliseconds, as it was when this executor started.
pub(crate) fn own_timeout() -> Option<u32> {
    OWN_TIMEOUT.get()
}

/// A time as a setting has it (`5s`, `500`), in milliseconds.
pub(crate) fn milliseconds_of(value: &str) -> Option<u32> {
    let value = std::ffi::CString::new(value).ok()?;
    let mut milliseconds = 0;
    // SAFETY: guc.c's own parser reads the string and writes one number.
    let read = unsafe {
        pg_sys::parse_int(value.as_ptr(), &mut milliseconds, pg_sys::GUC_UNIT_MS as i32, std::ptr::null_mut())
    };
    read.then(|| u32::try_from(milliseconds).ok()).flatten()
}

/// Ends [`arm_timeout`]; a timeout that fired too late to matter is forgotten.
pub(crate) fn disarm_timeout() {
    // SAFETY: allowed whether armed or not.
    unsafe {
        disable_timeout(STATEMENT_TIMEOUT, false);
        get_timeout_indicator(STATEMENT_TIMEOUT, true);
    }
    limit::end();
    super::wait::forget_cancel();
}

/// Whether PostgreSQL has found the time to be over, and nobody has acted on it yet; a flag, which a signal handler may ask for.
pub(super) fn timeout_has_fired() -> bool {
    // SAFETY: reads a flag of timeout.c.
    unsafe { get_timeout_indicator(STATEMENT_TIMEOUT, false) }
}

/// Runs `f`, which is cancelled after so many milliseconds; 0 is no limit.
pub(crate) fn with_timeout<T>(milliseconds: u32, f: impl FnOnce() -> T) -> T {
    if milliseconds == 0 {
        return f();
    }
    arm_timeout(milliseconds);
    let value = f();
    // SAFETY: allowed whether it fired or not.
    let fired = unsafe {
        disable_timeout(STATEMENT_TIMEOUT, true);
        get_timeout_indicator(STATEMENT_TIMEOUT, true)
    };
    // One that fired too late to matter is forgotten; a cancel that the client asked for is not.
    if limit::end() || fired {
        super::wait::forget_cancel();
    }
    value
}

/// Runs `f` and puts every setting back as it was before it: a SET in one file is not for the next. After an error the rollback does it.
pub(crate) fn with_settings_restored<T, E>(f: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    // SAFETY: a nest level of its own, closed again as extension.c closes the one of a script; false restores what was set.
    unsafe {
        let level = pg_sys::NewGUCNestLevel();
        let value = f()?;
        pg_sys::AtEOXact_GUC(false, level);
        Ok(value)
    }
}

/// Runs `f` with the search_path that the session began with; only `f`.
pub(crate) fn with_own_search_path<T, E: From<PgError>>(f: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    with_settings_restored(|| {
        // SAFETY: guc.c copies the value, which is its own; the nest level around this puts the setting back.
        catch(|| unsafe {
            let own = pg_sys::GetConfigOptionResetString(c"search_path".as_ptr());
            set_option(c"search_path", own, pg_sys::GucAction::GUC_ACTION_SAVE);
        })?;
        f()
    })
}

/// As a SET of the session's user.
unsafe fn set_option(name: &'static CStr, value: *const c_char, action: pg_sys::GucAction::Type) {
    // SAFETY: the caller's: the value is null or ends in a zero. Both are copied.
    unsafe {
        pg_sys::set_config_option(
            name.as_ptr(),
            value,
            pg_sys::GucContext::PGC_USERSET,
            pg_sys::GucSource::PGC_S_SESSION,
            action,
            true,
            0,
            false,
        );
    }
}

/// Changes a setting for the rest of the process, as if it came with the connection.
///
/// # Errors
/// An unknown name or a bad value.
pub(crate) fn set_default(name: &'static CStr, value: &CStr) -> Result<(), PgError> {
    // SAFETY: both strings end in a zero and are copied.
    catch(|| unsafe {
        pg_sys::SetConfigOption(
            name.as_ptr(),
            value.as_ptr(),
            pg_sys::GucContext::PGC_SUSET,
            pg_sys::GucSource::PGC_S_OVERRIDE,
        );
    })
}

/// The role that is logged in; inside a transaction.
pub(crate) fn login_role() -> String {
    // SAFETY: a catalog look-up inside a transaction; true: a role that is gone gives null.
    unsafe { super::error::text(pg_sys::GetUserNameFromId(pg_sys::GetSessionUserId(), true)) }.unwrap_or_default()
}

/// The role that is logged in, and its address if it came over TCP; inside a transaction.
pub(crate) fn who() -> (String, Option<String>) {
    let address = crate::kept::look("SELECT pg_catalog.host(pg_catalog.inet_client_addr())", &[]).ok().flatten();
    (login_role(), address)
}
