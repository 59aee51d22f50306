//! The registry follows what is done to tenants' databases by plain SQL: renamed, or dropped and restored from a dump.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use stonescriptdb_protocol::{
    AdoptRequest, ExecutorRequest, Failure, LostDatabase, Recognised, Restore, RestoredState, TenantWork,
};
use tokio::sync::{Mutex, Notify};

use super::gate::enter;
use super::life::work;
use super::living::Asked;
use super::one::Adopted;
use crate::server::lookup::Lost;
use crate::server::pool::Target;
use crate::server::{App, broker};

/// A restore is looked at again after this, and then after twice as long, up to the most.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// For as long as this a deployment waits for a session that may have restored a database.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Most restores take no longer than this: it is looked often.
const SHORT: Duration = Duration::from_secs(30);
const PAUSE_WHILE_SHORT: Duration = Duration::from_secs(1);
/// One that is there for long and is no tenant's is hardly being restored.
const LONG: Duration = Duration::from_secs(600);
const PAUSE_AFTER_LONG: Duration = Duration::from_secs(60);

/// What the main thread has seen and the threads follow.
#[derive(Default)]
pub(crate) struct Follow {
    behind: Notify,
    /// Held by who works off the list of touched databases.
    pub(super) flushing: Mutex<()>,
    /// Databases into which a dump is being restored.
    pub(super) living: std::sync::Mutex<HashMap<u32, Asked>>,
}

impl Follow {
    /// The registry in memory says that its tables are behind.
    pub(crate) fn wake(&self) {
        self.behind.notify_one();
    }
}

/// A database that was looked into in vain.
struct Attempt {
    since: Instant,
    next: Instant,
    pause: Duration,
    /// The log knows why it is not taken.
    told: bool,
}

/// Follows until the worker ends.
pub(in crate::server) async fn follow(app: Arc<App>) {
    let mut attempts: HashMap<Lost, Attempt> = HashMap::new();
    loop {
        // What was written down while nobody was there, or could not be noted when it was told.
        super::flush_touched(&app).await;
        let idle = Instant::now() + LONGEST_PAUSE;
        let next = attempts.values().map(|attempt| attempt.next).min().unwrap_or(idle).min(idle);
        if tokio::time::timeout_at(next.into(), app.follow.behind.notified()).await.is_err() {
            if attempts.is_empty() {
                continue;
            }
            app.main.read_registry().await;
        }
        let registry = app.registry();
        if registry.renamed
            && let Err(failure) = work::<()>(&app, TenantWork::FollowNames).await
        {
            app.main.log(format!("a rename could not be followed: {}", failure.message));
        }
        attempts.retain(|lost, _| registry.lost.contains(lost));
        for lost in &registry.lost {
            let attempt = attempts.entry(lost.clone()).or_insert(Attempt {
                since: Instant::now(),
                next: Instant::now(),
                pause: FIRST_PAUSE,
                told: false,
            });
            if attempt.next > Instant::now() {
                continue;
            }
            let found = restored(&app, lost).await;
            attempt.next = Instant::now() + attempt.pause;
            let most = match attempt.since.elapsed() {
                age if age < SHORT => PAUSE_WHILE_SHORT,
                age if age < LONG => LONGEST_PAUSE,
                _ => PAUSE_AFTER_LONG,
            };
            attempt.pause = (attempt.pause * 2).min(most);
            let log = match found {
                Ok(Found::Taken) => {
                    attempts.remove(lost);
                    format!("the database \"{}\" was made anew by other means and is its tenant's again", lost.database)
                }
                Ok(Found::NotYet | Found::Pauses) => continue,
                Ok(Found::Stranger(_)) | Err(_) if std::mem::replace(&mut attempt.told, true) => continue,
                Ok(Found::Stranger(why)) => {
                    format!("the database \"{}\" has the name of a tenant's, but is none: {why}", lost.database)
                }
                Err(failure) => {
                    format!("whether the database \"{}\" was restored is not known: {}", lost.database, failure.message)
                }
            };
            app.main.log(log);
        }
    }
}

/// Looks now at databases that were made anew, so that a deployment does not leave them out. The session of a restore that is over may be
/// there for a moment longer than the program.
pub(super) async fn settle(app: &Arc<App>) {
    app.main.read_registry().await;
    let end = Instant::now() + LAST_WORDS;
    for lost in &app.registry().lost {
        // What cannot be settled now is told by those who look at it again and again.
        while let Ok(Found::Pauses) = restored(app, lost).await
            && Instant::now() < end
        {
            tokio::time::sleep(LAST_WORDS / 20).await;
        }
    }
}

enum Found {
    /// It is the tenant's again.
    Taken,
    /// A restore goes on, or has not begun.
    NotYet,
    /// A restore is over, or goes on in a moment.
    Pauses,
    /// It is something else.
    Stranger(String),
}

/// Looks into a database that has the name of one that is gone, and makes it the tenant's if it holds a dump of a tenant of that platform.
async fn restored(app: &Arc<App>, lost: &Lost) -> Result<Found, Failure> {
    let _pass = enter(app, &lost.database, "restore").await?;
    let look = TenantWork::Lost { database: lost.database.clone(), oid: lost.oid };
    let Some(known): Option<LostDatabase> = work(app, look).await? else { return Ok(Found::NotYet) };
    match known.restore {
        Restore::None => {}
        Restore::Pauses => return Ok(Found::Pauses),
        Restore::GoesOn => return Ok(Found::NotYet),
    }
    let elevated = Arc::new(Target { database: lost.database.as_str().into(), role: None, calls: false });
    let recognise =
        ExecutorRequest::Recognise { owner_role: known.owner_role.clone(), call_role: known.call_role.clone() };
    let taken = match broker::request(app, &elevated, &recognise).await {
        Ok(Recognised::NotYet) => Ok(Found::NotYet),
        Ok(Recognised::Stranger(why)) => Ok(Found::Stranger(why)),
        Ok(Recognised::Tenant { of_owner }) => take(app, lost, known, of_owner).await,
        Err(failure) => Err(failure),
    };
    // As superuser nobody works there any more.
    app.pool.release(&elevated);
    taken
}

async fn take(app: &Arc<App>, lost: &Lost, known: LostDatabase, of_owner: bool) -> Result<Found, Failure> {
    // What the tables' owner may do in it is his own affair, what a superuser may is not: the tables are read as their owner. Who restored
    // a dump as superuser has run everything in it as superuser already.
    let role = of_owner.then(|| known.owner_role.as_str().into());
    if of_owner {
        let let_in = TenantWork::LetIn { database: lost.database.clone(), role: known.owner_role.clone() };
        work::<()>(app, let_in).await?;
    }
    let reader = Arc::new(Target { database: lost.database.as_str().into(), role, calls: false });
    let state: Option<RestoredState> = broker::request(app, &reader, &ExecutorRequest::RestoredState).await?;
    let Some(state) = state else { return Ok(Found::NotYet) };
    let mut adopted = None;
    if !of_owner {
        // A dump that was restored without owners and rights.
        let adopt = AdoptRequest {
            of_gateway: false,
            by: None,
            owner_role: known.owner_role.clone(),
            call_role: known.call_role.clone(),
        };
        adopted = Some(Adopted::take(app, &lost.database, adopt).await?);
    }
    let follow = TenantWork::Restored { database: lost.database.clone(), oid: lost.oid, state };
    let result: Result<bool, Failure> = work(app, follow).await;
    if let Some(mut adopted) = adopted {
        adopted.kept = matches!(result, Ok(true));
        adopted.end().await;
    }
    app.main.read_registry().await;
    Ok(if result? { Found::Taken } else { Found::NotYet })
}
