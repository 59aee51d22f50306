//! How much the server worker writes to the server's log: what clients can cause must not fill the disk that it is on.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const MINUTE: Duration = Duration::from_secs(60);
/// A message is cut off here, in bytes.
const LONGEST: usize = 4096;

/// Counts messages by the minute.
pub(super) struct LogLimit {
    /// Messages in a minute; zero is no limit.
    most: AtomicU32,
    minute: Mutex<Minute>,
}

/// The minute that runs.
struct Minute {
    began: Instant,
    written: u32,
    left_out: u32,
}

impl LogLimit {
    pub(super) fn new(most: u32) -> LogLimit {
        LogLimit {
            most: AtomicU32::new(most),
            minute: Mutex::new(Minute { began: Instant::now(), written: 0, left_out: 0 }),
        }
    }

    /// The settings have changed.
    pub(super) fn set(&self, most: u32) {
        self.most.store(most, Relaxed);
    }

    /// Whether one more may be written.
    pub(super) fn admits(&self) -> bool {
        let most = self.most.load(Relaxed);
        let mut minute = self.minute();
        if most == 0 || minute.written < most || (minute.began.elapsed() >= MINUTE && minute.left_out == 0) {
            if minute.began.elapsed() >= MINUTE {
                *minute = Minute { began: Instant::now(), written: 0, left_out: 0 };
            }
            minute.written = minute.written.saturating_add(1);
            return true;
        }
        minute.left_out = minute.left_out.saturating_add(1);
        false
    }

    /// What there is to say of messages that were left out, once their minute is over.
    pub(super) fn report(&self) -> Option<String> {
        let mut minute = self.minute();
        if minute.left_out == 0 || minute.began.elapsed() < MINUTE {
            return None;
        }
        let left_out = minute.left_out;
        *minute = Minute { began: Instant::now(), written: 0, left_out: 0 };
        Some(format!("{left_out} messages were left out within a minute, by stonescriptdb.max_log_messages"))
    }

    fn minute(&self) -> MutexGuard<'_, Minute> {
        self.minute.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A message that is not too long.
pub(super) fn shortened(mut message: String) -> String {
    if message.len() > LONGEST {
        let end = (0..=LONGEST).rev().find(|end| message.is_char_boundary(*end)).unwrap_or(0);
        message.truncate(end);
        message.push('…');
    }
    message
}
