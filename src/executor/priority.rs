//! The priority of executors that deploy: while they and calls want the same processors, calls come first.

use std::fs;

/// Lowers that of this process for good, by so many steps of nice(2); 0 leaves it as it is.
///
/// Nobody may raise it again without a right to, so it is for processes that do nothing else. What a system does not know or allow is left
/// undone: it is a matter of speed only.
pub(super) fn lower(nice: u8) {
    if nice == 0 {
        return;
    }
    let _ = rustix::process::nice(i32::from(nice));
    // Where Linux shares the processors among sessions first (sched(7), "The autogroup feature"), nice counts among the processes of one
    // session only, and each process of PostgreSQL is a session of its own. This is refused where it is asked for too often.
    let _ = fs::write("/proc/self/autogroup", nice.to_string());
}
