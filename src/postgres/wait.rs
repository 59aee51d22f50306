//! Waiting on the latch and on sockets or a pipe, the only way in which our workers and backends wait.

use std::collections::VecDeque;
use std::os::fd::RawFd;

use pgrx::pg_sys;

/// Events that one wait gives at most.
const AT_ONCE: usize = 32;

/// A set of latch, death of the postmaster and descriptors, made once and waited on often.
pub(crate) struct Waiter {
    set: *mut pg_sys::WaitEventSet,
}

/// Why a wait ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Woken {
    /// The latch was set: look at flags and interrupts. The latch is reset already.
    Latch,
    /// The descriptor can be read (or written, if that was waited for), or its other end is gone.
    Ready,
    /// Time is up.
    Timeout,
}

impl Waiter {
    /// The descriptor must stay open as long as the waiter lives.
    pub(crate) fn new(fd: RawFd) -> Waiter {
        Waiter::of(&[fd])
    }

    /// The descriptors must stay open as long as the waiter lives.
    pub(crate) fn of(fds: &[RawFd]) -> Waiter {
        let none = std::ptr::null_mut();
        // SAFETY: the set lives in TopMemoryContext and has room for all that is added; the latch is this process's own.
        unsafe {
            let set = super::version::create_wait_event_set(fds.len() as i32 + 2);
            pg_sys::AddWaitEventToSet(set, pg_sys::WL_LATCH_SET, pg_sys::PGINVALID_SOCKET, pg_sys::MyLatch, none);
            pg_sys::AddWaitEventToSet(set, pg_sys::WL_EXIT_ON_PM_DEATH, pg_sys::PGINVALID_SOCKET, none.cast(), none);
            for fd in fds {
                pg_sys::AddWaitEventToSet(set, pg_sys::WL_SOCKET_READABLE, *fd, none.cast(), none);
            }
            Waiter { set }
        }
    }

    /// As [`Waiter::wait_for_any`], without waiting.
    pub(crate) fn look(&self, ready: &mut VecDeque<RawFd>) -> bool {
        self.wait_within(0, ready)
    }

    /// Waits for ever; gives the descriptors that can be read or whose other ends are gone, and whether the latch was set. The latch is
    /// reset already. The process exits if the postmaster died.
    pub(crate) fn wait_for_any(&self, ready: &mut VecDeque<RawFd>) -> bool {
        self.wait_within(-1, ready)
    }

    fn wait_within(&self, timeout_ms: i64, ready: &mut VecDeque<RawFd>) -> bool {
        let mut events = [pg_sys::WaitEvent::default(); AT_ONCE];
        let mut latch = false;
        // SAFETY: the set is alive; no more events are written than there is room for.
        unsafe {
            let got = pg_sys::WaitEventSetWait(
                self.set,
                timeout_ms,
                events.as_mut_ptr(),
                events.len() as i32,
                pg_sys::PG_WAIT_EXTENSION,
            );
            for event in events.iter().take(usize::try_from(got).unwrap_or(0)) {
                if event.events & pg_sys::WL_LATCH_SET != 0 {
                    pg_sys::ResetLatch(pg_sys::MyLatch);
                    latch = true;
                } else if event.events & pg_sys::WL_SOCKET_READABLE != 0 {
                    ready.push_back(event.fd);
                }
            }
        }
        latch
    }

    /// As [`Waiter::wait`] without a limit, until the descriptor can be written.
    pub(crate) fn wait_to_write(&self) -> Woken {
        let look_for = |events| {
            // SAFETY: the set is alive; the descriptor was the third to come into it.
            unsafe { pg_sys::ModifyWaitEvent(self.set, 2, events, std::ptr::null_mut()) }
        };
        look_for(pg_sys::WL_SOCKET_WRITEABLE);
        let woken = self.wait(-1);
        look_for(pg_sys::WL_SOCKET_READABLE);
        woken
    }

    /// Waits; a negative timeout (milliseconds) is for ever. The process exits if the postmaster died.
    pub(crate) fn wait(&self, timeout_ms: i64) -> Woken {
        // SAFETY: the set is alive; one event fits into one event.
        unsafe {
            let mut event = pg_sys::WaitEvent::default();
            let got = pg_sys::WaitEventSetWait(self.set, timeout_ms, &mut event, 1, pg_sys::PG_WAIT_EXTENSION);
            if got == 0 {
                Woken::Timeout
            } else if event.events & pg_sys::WL_LATCH_SET != 0 {
                pg_sys::ResetLatch(pg_sys::MyLatch);
                Woken::Latch
            } else {
                Woken::Ready
            }
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        // SAFETY: made by `new`, freed once.
        unsafe { pg_sys::FreeWaitEventSet(self.set) }
    }
}

/// Acts on pending interrupts: terminates, cancels, absorbs barriers, reloads nothing. Raises PostgreSQL's errors.
pub(crate) fn check_for_interrupts() {
    pgrx::check_for_interrupts!();
}

/// Forgets a cancel request that came too late for the work it was meant for.
pub(crate) fn forget_cancel() {
    // SAFETY: a flag of this process, which its signal handler sets.
    unsafe { pg_sys::QueryCancelPending = 0 };
}

/// Rereads the configuration files if a SIGHUP came.
pub(crate) fn reload_settings_if_asked() -> bool {
    // SAFETY: the flag is set by SignalHandlerForConfigReload; ProcessConfigFile may run between transactions.
    unsafe {
        if pg_sys::ConfigReloadPending == 0 {
            return false;
        }
        pg_sys::ConfigReloadPending = 0;
        pg_sys::ProcessConfigFile(pg_sys::GucContext::PGC_SIGHUP);
        true
    }
}

/// Whether a SIGTERM came, for the server worker, which ends in its own time.
pub(crate) fn shutdown_asked() -> bool {
    // SAFETY: a flag of this process, which its signal handler sets.
    unsafe { pg_sys::ShutdownRequestPending != 0 }
}

/// Sleeps on the latch. A cancel or a termination ends it.
///
/// # Errors
/// 57014 when the request was cancelled.
pub(crate) fn pause(duration: std::time::Duration) -> Result<(), super::error::PgError> {
    let end = std::time::Instant::now() + duration;
    loop {
        let left = end.saturating_duration_since(std::time::Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        let events = pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH;
        // SAFETY: waits on this process's own latch.
        super::error::catch(|| unsafe {
            pg_sys::WaitLatch(
                pg_sys::MyLatch,
                events as i32,
                left.as_millis().max(1) as std::ffi::c_long,
                pg_sys::PG_WAIT_EXTENSION,
            );
            pg_sys::ResetLatch(pg_sys::MyLatch);
            check_for_interrupts();
        })?;
    }
}
