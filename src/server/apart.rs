//! Work that is heavy per byte, in threads of its own: the thread that serves all connections must not be held by one of them.

use stonescriptdb_protocol::Failure;

/// Threads for such work. One more waits its turn; the executors need the cores too.
pub(super) const THREADS: usize = 2;

/// Up to so many bytes the work costs less than to hand it over.
const SMALL: usize = 64 * 1024;

/// Does work on so many bytes, in a thread of its own if they are many. It must not call PostgreSQL. Dropped on the way, it is done all the
/// same.
///
/// # Errors
/// `internal_error` if it panics.
pub(crate) async fn apart<T: Send + 'static>(
    bytes: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failure> {
    if bytes <= SMALL {
        return Ok(work());
    }
    // The thread has no signals of PostgreSQL's: it inherits from the one that starts it that all are blocked.
    tokio::task::spawn_blocking(work).await.map_err(|_| Failure::internal("work on a body came to no end"))
}
