//! The memory that bodies of requests take, of all connections together.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use stonescriptdb_protocol::{ErrorCode, Failure};

use crate::settings::Settings;

/// So much of each body is not counted: hyper's buffers are as large, and calls that are small go on beside whoever fills the rest.
const FREE: usize = 16 * 1024;
/// Archives may have so much of the whole, in quarters: the rest is for the bodies of calls.
const QUARTERS_OF_ARCHIVES: usize = 3;
/// Seconds after which a client may try again: about what an upload takes.
const RETRY_AFTER: u32 = 5;

/// Bytes that all bodies hold now. There is one server worker, and so one of these.
static HELD: AtomicUsize = AtomicUsize::new(0);
/// Archives that are received now.
static UPLOADS: AtomicUsize = AtomicUsize::new(0);

/// The room of one body. What was taken is given back when this is dropped.
pub(in crate::server) struct Room {
    /// Bytes of the body, those that are not counted among them.
    length: AtomicUsize,
    /// How many bytes of all bodies there may be for this one to grow.
    most: usize,
}

/// One of the archives that are received.
pub(super) struct Upload(());

impl Room {
    /// For a body that is no archive.
    pub(super) fn of_call(settings: &Settings) -> Room {
        Room { length: AtomicUsize::new(0), most: settings.max_body_memory }
    }

    /// For an archive.
    pub(super) fn of_archive(settings: &Settings) -> Room {
        let most = settings.max_body_memory / 4 * QUARTERS_OF_ARCHIVES;
        Room { length: AtomicUsize::new(0), most }
    }

    /// Takes room for so many bytes more.
    ///
    /// # Errors
    /// `pool_exhausted` (503) when there is none.
    pub(super) fn grow(&self, bytes: usize) -> Result<(), Failure> {
        let before = self.length.load(Relaxed);
        let counted = (before + bytes).saturating_sub(FREE) - before.saturating_sub(FREE);
        if counted > 0 && HELD.fetch_add(counted, Relaxed) + counted > self.most {
            HELD.fetch_sub(counted, Relaxed);
            return Err(full("the bodies of other requests take all memory that there is for them")
                .hint("Try again later, or raise stonescriptdb.max_body_memory."));
        }
        self.length.store(before + bytes, Relaxed);
        Ok(())
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        HELD.fetch_sub(self.length.load(Relaxed).saturating_sub(FREE), Relaxed);
    }
}

impl Upload {
    /// # Errors
    /// `pool_exhausted` (503) when as many are received as may be.
    pub(super) fn begin(settings: &Settings) -> Result<Upload, Failure> {
        if UPLOADS.fetch_add(1, Relaxed) >= settings.max_uploads {
            UPLOADS.fetch_sub(1, Relaxed);
            return Err(full("too many archives are being received")
                .hint("Try again later, or raise stonescriptdb.max_uploads."));
        }
        Ok(Upload(()))
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        UPLOADS.fetch_sub(1, Relaxed);
    }
}

fn full(message: &str) -> Failure {
    Failure { retry_after: Some(RETRY_AFTER), ..Failure::new(ErrorCode::PoolExhausted, message) }
}
