//! Connections that executors serve themselves.
//!
//! A client that calls one tenant again and again need not go through the server worker: its connection passes to an executor of that
//! tenant, which reads and answers it until something else comes (`executor/direct`). The server worker keeps a descriptor of each, and
//! takes one back when its executor is busy with somebody else's call, when nothing comes for a while, and when the executor is wanted
//! for other work.

mod attendant;
mod habit;

use std::collections::HashMap;
use std::net::{IpAddr, TcpStream};
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ipnet::IpNet;
use stonescriptdb_protocol::Handover;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::App;
use super::doors::Ends;
use super::pool::Target;
use crate::postgres::seats::SEATS;
pub(super) use habit::{Habit, Offer};

/// How many executors of one database are lent for connections at most, of those it may have: one is left for other calls.
const LEFT_FOR_OTHERS: usize = 1;

/// How long an executor for connections is waited for in the queue of calls.
const TURN: Duration = Duration::from_millis(200);

/// How long a connection that is between two requests waits for one.
const AT_ONCE: Duration = Duration::from_millis(2);

/// Executors that serve connections, by what they are attached to.
pub(super) struct Directs {
    lanes: Mutex<HashMap<Arc<Target>, Lane>>,
    /// Seats that nobody has.
    seats: Mutex<Vec<u32>>,
}

#[derive(Default)]
struct Lane {
    lent: Vec<Lent>,
    /// One more is on its way.
    seeking: bool,
}

/// An executor that serves connections.
struct Lent {
    id: u64,
    hand: mpsc::UnboundedSender<Handed>,
    /// Connections that it has.
    load: Arc<AtomicUsize>,
}

/// A connection on its way to an executor.
struct Handed {
    stream: TcpStream,
    /// Read and not answered.
    read: Vec<u8>,
    offer: Box<Offer>,
    peer: IpAddr,
    /// The networks that its listener lets in.
    allowed: Vec<IpNet>,
    back: oneshot::Sender<Back>,
}

/// What becomes of a connection that an executor had.
pub(super) enum Back {
    /// It is closed.
    Closed,
    /// It is to be closed after these words.
    Last {
        /// The connection.
        stream: TcpStream,
        /// An answer.
        words: Vec<u8>,
    },
    /// The server worker is to go on.
    Open {
        /// The connection.
        stream: TcpStream,
        /// What is left of an answer, to be written first.
        answer: Vec<u8>,
        /// Read and not answered.
        read: Vec<u8>,
        /// Requests that the executor has answered; `None` if there was no executor to be had.
        served: Option<u64>,
    },
}

impl Default for Directs {
    fn default() -> Directs {
        Directs { lanes: Mutex::default(), seats: Mutex::new((0..SEATS).rev().collect()) }
    }
}

impl Directs {
    fn lanes(&self) -> MutexGuard<'_, HashMap<Arc<Target>, Lane>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seats(&self) -> MutexGuard<'_, Vec<u32>> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Seats that nobody has.
    pub(super) fn free_seats(&self) -> usize {
        self.seats().len()
    }

    /// The executor with the fewest connections gets this one. `Err`: there is none now.
    fn hand(&self, target: &Arc<Target>, handed: Handed) -> Result<(), Box<Handed>> {
        let mut handed = handed;
        let mut lanes = self.lanes();
        let Some(lane) = lanes.get_mut(target).map(|lane| &mut lane.lent) else { return Err(Box::new(handed)) };
        while let Some(place) = (0..lane.len()).min_by_key(|place| lane.get(*place).map_or(usize::MAX, Lent::load)) {
            let Some(lent) = lane.get(place) else { break };
            lent.load.fetch_add(1, Relaxed);
            match lent.hand.send(handed) {
                Ok(()) => return Ok(()),
                // It is ending.
                Err(mpsc::error::SendError(unsent)) => handed = unsent,
            }
            lane.swap_remove(place);
        }
        Err(Box::new(handed))
    }

    /// Whether one more executor of a target is to be sought: all that are lent have connections, and there may be more. Who gets `true`
    /// seeks.
    fn seek(&self, target: &Arc<Target>, most: usize) -> bool {
        let mut lanes = self.lanes();
        let lane = lanes.entry(target.clone()).or_default();
        let seeks = !lane.seeking && lane.lent.len() < most && lane.lent.iter().all(|lent| lent.load() > 0);
        lane.seeking |= seeks;
        seeks
    }

    /// Whether any executor of a target serves connections.
    fn has_any(&self, target: &Arc<Target>) -> bool {
        self.lanes().get(target).is_some_and(|lane| !lane.lent.is_empty())
    }

    /// Whether an executor of a target has no connection.
    fn has_spare(&self, target: &Arc<Target>) -> bool {
        self.lanes().get(target).is_some_and(|lane| lane.lent.iter().any(|lent| lent.load() == 0))
    }

    fn change(&self, target: &Arc<Target>, change: impl FnOnce(&mut Lane)) {
        let mut lanes = self.lanes();
        if let Some(lane) = lanes.get_mut(target) {
            change(lane);
            if lane.lent.is_empty() && !lane.seeking {
                lanes.remove(target);
            }
        }
    }
}

impl Lent {
    fn load(&self) -> usize {
        self.load.load(Relaxed)
    }
}

/// Passes a connection on; resolves when an executor has done with it. At once, if none can have it.
pub(super) async fn hand_over(app: &Arc<App>, stream: TcpStream, read: Vec<u8>, offer: Box<Offer>, ends: Ends) -> Back {
    let target = offer.target.clone();
    if let Some(found) = seek(app, &target)
        && !app.directs.has_any(&target)
    {
        // One that is idle is found at once; one that has to be started is there for the next connection.
        let _ = tokio::time::timeout(AT_ONCE, found).await;
    }
    let (back, returned) = oneshot::channel();
    // If they change hereafter, so does the epoch, and the executor lets nobody in.
    let allowed = app.doors().networks(&app.settings(), ends.local).to_vec();
    match app.directs.hand(&target, Handed { stream, read, offer, peer: ends.peer, allowed, back }) {
        Ok(()) => returned.await.unwrap_or(Back::Closed),
        Err(handed) => Back::Open { stream: handed.stream, answer: Vec::new(), read: handed.read, served: None },
    }
}

/// Sees to it that there is one more executor for connections soon, if that would do good; ends when it is there.
fn seek(app: &Arc<App>, target: &Arc<Target>) -> Option<JoinHandle<()>> {
    let most = app.settings().max_workers_per_database.saturating_sub(LEFT_FOR_OTHERS).max(1);
    if !app.directs.seek(target, most) {
        return None;
    }
    let (app, target) = (app.clone(), target.clone());
    Some(tokio::spawn(async move {
        // In its turn: where all are busy with calls that come through the server worker, none is ever idle.
        let lease = app.pool.acquire(&target, TURN).await;
        app.directs.change(&target, |lane| lane.seeking = false);
        if let Ok(lease) = lease {
            attendant::employ(&app, &target, lease);
        }
    }))
}

impl Offer {
    fn handover(&self, seat: u32, connection: u64, peer: IpAddr, allowed: &[IpNet]) -> Handover {
        Handover {
            seat,
            connection,
            epoch: self.epoch,
            until_ms: self.until_ms,
            peer,
            allowed: plain(allowed),
            whom: self.whom.clone(),
            platform: self.platform.clone(),
            tenant: self.tenant.clone(),
            database: self.target.database.to_string(),
            authorization: self.authorization.clone(),
            limit: self.limit,
            networks: self.networks.as_deref().map(plain),
        }
    }
}

/// Networks by address and length.
fn plain(networks: &[IpNet]) -> Vec<(IpAddr, u8)> {
    networks.iter().map(|network| (network.addr(), network.prefix_len())).collect()
}
