//! Tenants' databases into which a dump is restored as they stand (`pg_restore --clean`): they may be in the state of another bundle then.
//!
//! Who restores makes the tracking tables anew, which the hook in that session sees (`touched.rs`). Looking into each database of which
//! anything is changed would be a process for each; and a deployment looks anyway. What is noted here is for those who look at the registry
//! until then.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use stonescriptdb_protocol::{ExecutorRequest, Failure, RestoredState, TenantWork};

use super::gate::enter;
use super::life::work;
use super::owner_of;
use crate::server::{App, broker};

/// A restore is looked at again after this, and then after twice as long, up to the most.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// The tables were made and are still empty, or somebody has been at work in the database all the time: it is left to the next deployment.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Looks into a database when its restore is over; nobody waits for that.
pub(super) fn look(app: &Arc<App>, oid: u32) {
    if app.follow.living.lock().unwrap_or_else(PoisonError::into_inner).insert(oid, Asked::Anew).is_some() {
        return;
    }
    let app = app.clone();
    tokio::spawn(async move {
        let (begun, mut pause) = (Instant::now(), FIRST_PAUSE);
        while is_asked(&app, oid) {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            match is_settled(&app, oid).await {
                Ok(true) => {}
                Ok(false) if begun.elapsed() < PATIENCE => ask(&app, oid),
                Ok(false) => {}
                Err(failure) => app.main.log(format!(
                    "of which bundle a restored database (OID {oid}) is will be known when it is deployed to: {}",
                    failure.message
                )),
            }
        }
    });
}

/// Whether somebody wants it looked into.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Anew,
    /// It is being done.
    Before,
}

fn ask(app: &App, oid: u32) {
    app.follow.living.lock().unwrap_or_else(PoisonError::into_inner).insert(oid, Asked::Anew);
}

/// Whether it is to be looked into once more; if not, it is nobody's any longer.
fn is_asked(app: &App, oid: u32) -> bool {
    let mut living = app.follow.living.lock().unwrap_or_else(PoisonError::into_inner);
    if living.get(&oid) == Some(&Asked::Anew) {
        living.insert(oid, Asked::Before);
        return true;
    }
    living.remove(&oid);
    false
}

/// Notes what the database's tracking tables say, once they say something and nobody works there.
async fn is_settled(app: &Arc<App>, oid: u32) -> Result<bool, Failure> {
    let Some((database, owner_role)): Option<(String, String)> = work(app, TenantWork::Quiet { oid }).await? else {
        return Ok(false);
    };
    let _pass = enter(app, &database, "restore").await?;
    let owner = owner_of(&database, &owner_role);
    let found = broker::request::<Option<RestoredState>>(app, &owner, &ExecutorRequest::RestoredState).await;
    app.pool.release(&owner);
    let state = match found {
        Ok(Some(state)) => state,
        Ok(None) => return Ok(false),
        // Dropped once more.
        Err(failure) if failure.sqlstate.as_deref() == Some("42P01") => return Ok(false),
        Err(failure) => return Err(failure),
    };
    work::<()>(app, TenantWork::StateOf { oid, state }).await?;
    Ok(true)
}
