//! Time limits that hold when the wall clock is set back.
//!
//! PostgreSQL's timeouts end by the wall clock (timeout.c). The alarm itself comes in time, for the kernel's timer is monotonic; but if the
//! clock was set back meanwhile, its handler finds that there is time left, and waits for as much longer. So behind that handler another one
//! looks at the monotonic clock, and cancels as a statement timeout does.

use std::ffi::c_int;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};

use super::error::PgError;
use super::seats::monotonic;

/// When the limit of what runs is over, in nanoseconds; 0 is no limit.
static END: AtomicU64 = AtomicU64::new(0);
/// It was, and PostgreSQL does not know it.
static OVER: AtomicBool = AtomicBool::new(false);
/// PostgreSQL's own handler of SIGALRM.
static HANDLER: AtomicUsize = AtomicUsize::new(0);

/// From now on limits hold in this process; once, in an executor that is connected.
pub(crate) fn watch() {
    // SAFETY: the handler that is there is PostgreSQL's (InitializeTimeouts), a plain one; ours has its mask and flags, and calls it.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        if libc::sigaction(libc::SIGALRM, std::ptr::null(), &mut action) != 0
            || action.sa_sigaction == libc::SIG_DFL
            || action.sa_sigaction == libc::SIG_IGN
            || action.sa_flags & libc::SA_SIGINFO != 0
        {
            return;
        }
        HANDLER.store(action.sa_sigaction, Relaxed);
        action.sa_sigaction = alarm as extern "C" fn(c_int) as usize;
        libc::sigaction(libc::SIGALRM, &action, std::ptr::null_mut());
    }
}

extern "C" fn alarm(signal: c_int) {
    // SAFETY: what `watch` found is a handler of one argument. What follows are a look at the clock, a signal to this process, and
    // atomics: async-signal-safe all of them. errno is put back as handlers must.
    unsafe {
        let handler = std::mem::transmute::<usize, extern "C" fn(c_int)>(HANDLER.load(Relaxed));
        handler(signal);
        let end = END.load(Relaxed);
        if end != 0 && monotonic() >= end && !super::session::timeout_has_fired() {
            END.store(0, Relaxed);
            OVER.store(true, Relaxed);
            let errno = *libc::__errno_location();
            libc::kill(libc::getpid(), libc::SIGINT);
            *libc::__errno_location() = errno;
        }
    }
}

/// A limit begins, in the place of any other; to be called before PostgreSQL's is armed, so that it is over when the alarm comes.
pub(super) fn begin(milliseconds: u32) {
    END.store(monotonic().saturating_add(u64::from(milliseconds) * 1_000_000), Relaxed);
}

/// There is no limit any more; whether it was over and PostgreSQL did not know.
pub(super) fn end() -> bool {
    END.store(0, Relaxed);
    OVER.swap(false, Relaxed)
}

/// An error as it would be if PostgreSQL had known.
pub(super) fn told(error: PgError) -> PgError {
    if error.sqlstate == "57014" && OVER.load(Relaxed) {
        return PgError { message: "canceling statement due to statement timeout".to_owned(), ..error };
    }
    error
}
