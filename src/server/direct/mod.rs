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

use stonescriptdb_protocol::Handover;
use tokio::sync::{mpsc, oneshot};

use super::App;
use super::pool::Target;
use crate::postgres::seats::SEATS;
pub(super) use habit::{Habit, Offer};

/// How many executors of one database are lent for connections at most, of those it may have: one is left for other calls.
const LEFT_FOR_OTHERS: usize = 1;

/// Executors that serve connections, by what they are attached to.
pub(super) struct Directs {
    lanes: Mutex<HashMap<Arc<Target>, Vec<Lent>>>,
    /// Seats that nobody has.
    seats: Mutex<Vec<u32>>,
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
    back: oneshot::Sender<Back>,
}

/// What becomes of a connection that an executor had.
pub(super) enum Back {
    /// It is closed.
    Closed,
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
    fn lanes(&self) -> MutexGuard<'_, HashMap<Arc<Target>, Vec<Lent>>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seats(&self) -> MutexGuard<'_, Vec<u32>> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The executor with the fewest connections gets this one. `Err`: there is none now.
    fn hand(&self, target: &Arc<Target>, handed: Handed) -> Result<(), Box<Handed>> {
        let mut handed = handed;
        let mut lanes = self.lanes();
        let Some(lane) = lanes.get_mut(target) else { return Err(Box::new(handed)) };
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

    /// Whether one more executor of a target would do good: there are connections for it, and it may be had.
    fn is_short(&self, target: &Arc<Target>, most: usize) -> bool {
        self.lanes().get(target).is_none_or(|lane| lane.len() < most && lane.iter().all(|lent| lent.load() > 0))
    }

    fn remove(&self, target: &Arc<Target>, id: u64) {
        let mut lanes = self.lanes();
        if let Some(lane) = lanes.get_mut(target) {
            lane.retain(|lent| lent.id != id);
            if lane.is_empty() {
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
pub(super) async fn hand_over(
    app: &Arc<App>,
    stream: TcpStream,
    read: Vec<u8>,
    offer: Box<Offer>,
    peer: IpAddr,
) -> Back {
    let target = offer.target.clone();
    let most = app.settings().max_workers_per_database.saturating_sub(LEFT_FOR_OTHERS).max(1);
    if app.directs.is_short(&target, most) {
        // One that is idle, at once; otherwise one is started, and is there for the next connection.
        if let Ok(lease) = app.pool.acquire(&target, Duration::ZERO).await {
            attendant::employ(app, &target, lease);
        }
    }
    let (back, returned) = oneshot::channel();
    match app.directs.hand(&target, Handed { stream, read, offer, peer, back }) {
        Ok(()) => returned.await.unwrap_or(Back::Closed),
        Err(handed) => Back::Open { stream: handed.stream, answer: Vec::new(), read: handed.read, served: None },
    }
}

impl Offer {
    fn handover(&self, seat: u32, connection: u64, peer: IpAddr) -> Handover {
        Handover {
            seat,
            connection,
            epoch: self.epoch,
            until_ms: self.until_ms,
            peer,
            whom: self.whom.clone(),
            platform: self.platform.clone(),
            tenant: self.tenant.clone(),
            database: self.target.database.to_string(),
            authorization: self.authorization.clone(),
        }
    }
}
