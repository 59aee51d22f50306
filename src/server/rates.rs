//! Requests a second of each platform: a bucket for each, in shared memory, so that executors which answer by themselves take from it too.

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use stonescriptdb_protocol::{ErrorCode, Failure, Limit, Rate};

use super::App;
use super::lookup::{Platform, Registry};
use crate::postgres::seats::{BUCKETS, bucket, monotonic};
use crate::settings::Settings;

/// Which bucket is whose.
#[derive(Default)]
pub(super) struct Rates(Mutex<Given>);

#[derive(Default)]
struct Given {
    /// By the platform's name.
    of: HashMap<String, Bucket>,
}

/// Where a platform's tokens are.
#[derive(Clone)]
enum Bucket {
    Shared(u32),
    /// All shared ones are taken. Its connections are not passed on.
    Own(Arc<AtomicU64>),
}

/// What a platform may, if there is a limit: its own, or what is set for all.
pub(super) fn rate(settings: &Settings, platform: &Platform) -> Option<Rate> {
    let (rate, burst) = match platform.rate {
        Some(rate) => (rate, platform.burst.unwrap_or(0)),
        None => (settings.platform_rate, settings.platform_burst),
    };
    Rate::new(rate, burst)
}

/// Whether connections of a platform can be passed on to an executor.
pub(super) enum Passing {
    Free,
    Limited(Limit),
    Not,
}

impl Rates {
    /// Takes a token for a request.
    ///
    /// # Errors
    /// `too_many_requests`.
    pub(super) fn take(&self, app: &App, platform: &Platform) -> Result<(), Failure> {
        let Some(rate) = rate(&app.settings(), platform) else { return Ok(()) };
        let now = monotonic();
        let taken = match self.bucket(&app.registry(), platform) {
            Bucket::Shared(number) => bucket(number).map_or(Ok(()), |word| rate.take(word, now)),
            Bucket::Own(word) => rate.take(&word, now),
        };
        taken.map_err(|wait| refused(platform, wait))
    }

    /// How an executor that serves a connection of a platform takes tokens.
    pub(super) fn passing(&self, app: &App, platform: &Platform) -> Passing {
        let Some(rate) = rate(&app.settings(), platform) else { return Passing::Free };
        match self.bucket(&app.registry(), platform) {
            Bucket::Shared(bucket) => Passing::Limited(Limit { bucket, rate }),
            Bucket::Own(_) => Passing::Not,
        }
    }

    fn bucket(&self, registry: &Registry, platform: &Platform) -> Bucket {
        let mut given = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = given.of.get(&platform.name) {
            return bucket.clone();
        }
        given.of.retain(|name, _| registry.platform(name).is_ok());
        let mut taken = vec![false; BUCKETS as usize];
        for bucket in given.of.values() {
            if let Bucket::Shared(number) = bucket
                && let Some(place) = taken.get_mut(*number as usize)
            {
                *place = true;
            }
        }
        let free = taken.iter().position(|taken| !taken).and_then(|number| u32::try_from(number).ok());
        // What is left in one of a platform that is gone is no longer than its slack, and that is cut down to the new one's.
        let bucket = free.map_or_else(|| Bucket::Own(Arc::default()), Bucket::Shared);
        given.of.insert(platform.name.clone(), bucket.clone());
        bucket
    }
}

fn refused(platform: &Platform, wait: Duration) -> Failure {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    let failure = Failure::new(
        ErrorCode::TooManyRequests,
        format!("the platform \"{}\" sends more requests a second than it may", platform.name),
    );
    Failure { retry_after: u32::try_from(seconds.max(1)).ok(), ..failure }
}
