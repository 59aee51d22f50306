//! What the server worker does for an executor that serves connections: passes them on, takes them back.

use std::collections::HashMap;
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use stonescriptdb_protocol::{ErrorCode, Failure, FrameKind, GivenBack, decode_with_tail, encode_with};
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::sync::oneshot;

use super::super::broker::Frames;
use super::super::pool::{Lease, Target};
use super::super::{App, http};
use super::{Back, Handed, Lent};
use crate::postgres::counters::{Outcome, Platform};
use crate::postgres::seats::{Hands, Seated};
use crate::postgres::worker;

/// How often connections are looked at. Who shares an executor with a slow call waits so long, twice at most.
const LOOK: Duration = Duration::from_millis(5);
/// A connection on which nothing has come for so long is taken back: it may be closed when it is idle, and executors too.
const IDLE: Duration = Duration::from_millis(1000);
/// How long other calls of the same tenant may wait for an executor.
const TOO_LONG: Duration = Duration::from_millis(25);
/// Answers from one look to the next that are worth another executor: 2,000 a second.
const MUCH: u64 = 10;
/// How long an executor stays lent without connections.
const SPARE: Duration = Duration::from_millis(500);
/// How long a cancelled call may take to end before its executor's process is ended.
const CANCEL_PATIENCE: Duration = Duration::from_secs(5);

/// A connection that the executor has.
struct Away {
    seat: u32,
    seated: Seated,
    stream: TcpStream,
    /// What was read of it before: the executor has answered nothing as long as it has not begun with this.
    read: Vec<u8>,
    back: oneshot::Sender<Back>,
    /// Where its calls are counted.
    platform: Platform,
    /// Its answers and whose it was when it was looked at last, and since when that has been so.
    seen: (u64, Hands),
    since: Instant,
}

/// An executor that serves connections, as the server worker sees it.
struct Attendant {
    app: Arc<App>,
    lease: Lease,
    load: Arc<AtomicUsize>,
    /// By number.
    away: HashMap<u64, Away>,
    /// Seats of clients that are gone, whose calls are cancelled; and since when.
    cancelled: Vec<(u32, Seated, Instant)>,
    /// It is wanted for other work.
    leaving: bool,
    /// Since when it has had no connection.
    spare: Instant,
    target: Arc<Target>,
}

/// Lends an executor for connections, as long as there are any.
pub(super) fn employ(app: &Arc<App>, target: &Arc<Target>, mut lease: Lease) {
    lease.hold_long();
    let Some(id) = lease.id() else { return };
    let (hand, handed) = mpsc::unbounded_channel();
    let load = Arc::new(AtomicUsize::new(0));
    app.directs.lanes().entry(target.clone()).or_default().lent.push(Lent { id, hand, load: load.clone() });
    let attendant = Attendant {
        app: app.clone(),
        lease,
        load,
        away: HashMap::new(),
        cancelled: Vec::new(),
        leaving: false,
        spare: Instant::now(),
        target: target.clone(),
    };
    let (app, target) = (app.clone(), target.clone());
    tokio::spawn(async move {
        let ended = attendant.run(handed).await;
        app.directs.change(&target, |lane| lane.lent.retain(|lent| lent.id != id));
        match ended {
            Ok(lease) => drop(lease),
            Err(lease) => lease.discard(),
        }
    });
}

impl Attendant {
    /// `Err`: the executor is of no more use.
    async fn run(mut self, mut handed: UnboundedReceiver<Handed>) -> Result<Lease, Lease> {
        let mut frames = Frames::default();
        let mut stopping = self.app.stopping.subscribe();
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let fit = loop {
            let Some(stream) = self.lease.stream() else { break false };
            let fit = tokio::select! {
                Some(handed) = handed.recv(), if !self.leaving => self.pass_on(handed).await,
                frame = frames.next(stream) => match frame {
                    Ok((FrameKind::GivenBack, payload)) => self.given_back(&payload),
                    _ => false,
                },
                _ = looks.tick() => self.look(),
                () = self.lease.wanted_back(), if !self.leaving => {
                    self.leaving = true;
                    true
                }
                () = async { drop(stopping.wait_for(|stopping| *stopping).await) }, if !self.leaving => {
                    self.leaving = true;
                    true
                }
            };
            if !fit {
                break false;
            }
            if self.leaving {
                self.refuse_all(&mut handed);
                self.take_back(|_| true);
            }
            if self.away.is_empty() && self.cancelled.is_empty() && (self.leaving || self.is_spare()) {
                break true;
            }
        };
        self.refuse_all(&mut handed);
        if fit {
            return Ok(self.lease);
        }
        self.ended();
        Err(self.lease)
    }

    fn is_spare(&self) -> bool {
        self.spare.elapsed() >= SPARE && self.load.load(Relaxed) == 0
    }

    /// No more connections are taken; those that are on their way go back.
    fn refuse_all(&mut self, handed: &mut UnboundedReceiver<Handed>) {
        handed.close();
        while let Ok(handed) = handed.try_recv() {
            self.load.fetch_sub(1, Relaxed);
            refuse(handed);
        }
    }

    /// Passes a connection on to the executor.
    async fn pass_on(&mut self, handed: Handed) -> bool {
        let seat = self.app.directs.seats().pop();
        let seated = seat.and_then(|seat| Some((seat, Seated::new(seat)?)));
        let Some((seat, seated)) = seated else {
            self.app.directs.seats().extend(seat);
            self.load.fetch_sub(1, Relaxed);
            refuse(handed);
            return true;
        };
        let message = handed.offer.handover(seat, seated.connection(), handed.peer, &handed.allowed);
        let frame = encode_with(FrameKind::Handover, &message, |frame| frame.extend_from_slice(&handed.read));
        let away = Away {
            seat,
            seated,
            stream: handed.stream,
            read: handed.read,
            back: handed.back,
            platform: Platform::of(&handed.offer.platform),
            seen: (0, Hands::AtRest),
            since: Instant::now(),
        };
        let (Ok(frame), Some(stream)) = (frame, self.lease.stream()) else { return false };
        let sent = stream.write_with(&frame, away.stream.as_fd()).await.is_ok();
        self.lease.touch();
        // If it was not sent as a whole, nothing was begun, and what was read is still here.
        self.away.insert(seated.connection(), away);
        sent
    }

    /// The executor gives a connection back.
    fn given_back(&mut self, payload: &[u8]) -> bool {
        let Ok((message, rest)) = decode_with_tail::<GivenBack>(payload) else { return false };
        match self.away.remove(&message.connection) {
            Some(away) => {
                let (answer, read) = rest.split_at_checked(message.answer as usize).unwrap_or((rest, &[]));
                self.release(away, answer.to_vec(), read.to_vec());
            }
            // Its client has gone on the way.
            None => {
                let gone = self.cancelled.iter().find(|(_, seated, _)| seated.connection() == message.connection);
                gone.into_iter().for_each(|(_, seated, _)| seated.clear());
            }
        }
        true
    }

    /// Goes on with a connection that is the server worker's again.
    fn release(&mut self, away: Away, answer: Vec<u8>, read: Vec<u8>) {
        let served = Some(away.seated.served());
        away.seated.clear();
        self.app.directs.seats().push(away.seat);
        self.gone();
        // Without a receiver the connection's task has ended, and the connection with it.
        let _ = away.back.send(Back::Open { stream: away.stream, answer, read, served });
    }

    fn gone(&mut self) {
        self.load.fetch_sub(1, Relaxed);
        self.spare = Instant::now();
    }

    /// Takes back the connections at rest of which this is true.
    fn take_back(&mut self, which: impl Fn(&Away) -> bool) {
        let taken: Vec<u64> = self
            .away
            .values()
            .filter(|away| which(away) && away.seated.pass(Hands::AtRest, Hands::Nobody))
            .map(|away| away.seated.connection())
            .collect();
        for connection in taken {
            if let Some(mut away) = self.away.remove(&connection) {
                let has_begun = away.seated.served() > 0;
                let read = std::mem::take(&mut away.read);
                self.release(away, Vec::new(), if has_begun { Vec::new() } else { read });
            }
        }
    }

    /// Looks at all connections: who is idle, who is held up by another's call, whose client is gone.
    fn look(&mut self) -> bool {
        let now = Instant::now();
        let mut busy = None;
        let mut answered = 0;
        for away in self.away.values_mut() {
            let seen = (away.seated.served(), away.seated.hands());
            if seen != away.seen {
                answered += seen.0.saturating_sub(away.seen.0);
                (away.seen, away.since) = (seen, now);
            }
            if seen.1 == Hands::Working && now.duration_since(away.since) >= LOOK {
                busy = Some(away.seated.connection());
            }
        }
        if answered > 0 {
            self.lease.touch();
        }
        if let Some(busy) = busy {
            if self.away.len() > 1 {
                self.take_back(|_| true);
            }
            if self.away.get(&busy).is_some_and(|away| is_gone(&away.stream)) {
                self.cancel(busy);
            }
        }
        self.take_back(|away| now.duration_since(away.since) >= IDLE);
        if answered >= MUCH && self.away.len() > 1 {
            self.share();
        }
        self.look_at_cancelled();
        // What is left for other calls does not do.
        self.leaving |= self.lease.waited_for(&self.target) >= TOO_LONG;
        true
    }

    /// Shares connections with another executor, which may have to be found first. What is taken back here comes to it by itself.
    fn share(&mut self) {
        if !self.app.directs.has_spare(&self.target) {
            super::seek(&self.app, &self.target);
            return;
        }
        let half: Vec<u64> = self.away.keys().copied().take(self.away.len() / 2).collect();
        self.take_back(|away| half.contains(&away.seated.connection()));
    }

    /// A client has gone while its call runs.
    fn cancel(&mut self, connection: u64) {
        let pid = self.lease.pid();
        if let Some(away) = self.away.remove(&connection) {
            if !away.seated.pass(Hands::Working, Hands::Cancelled) {
                // It has answered just now.
                self.away.insert(connection, away);
                return;
            }
            worker::cancel_for_gone(pid);
            self.cancelled.push((away.seat, away.seated, Instant::now()));
            let _ = away.back.send(Back::Closed);
            self.gone();
        }
    }

    fn look_at_cancelled(&mut self) {
        let pid = self.lease.pid();
        let directs = &self.app.directs;
        self.cancelled.retain(|(seat, seated, since)| {
            if seated.hands() != Hands::Cancelled {
                directs.seats().push(*seat);
                return false;
            }
            if since.elapsed() >= CANCEL_PATIENCE {
                worker::terminate(pid);
            }
            true
        });
    }

    /// The executor's process has ended, or speaks nonsense.
    fn ended(&mut self) {
        for (seat, seated, _) in self.cancelled.drain(..) {
            seated.clear();
            self.app.directs.seats().push(seat);
        }
        // What it had begun has no answer, and may have been committed.
        let failure = Failure::new(ErrorCode::ConnectionFailed, "the executor ended while it worked on the request")
            .hint("Its transaction was rolled back unless it had just committed. The server's log has the reason.");
        let failure = Failure { sqlstate: Some("57P01".to_owned()), ..failure }.database(&*self.target.database);
        self.take_back(|_| true);
        for (_, away) in std::mem::take(&mut self.away) {
            let had_begun = away.seated.hands() == Hands::Working;
            if had_begun {
                // The executor cannot any more.
                away.platform.count(Outcome::Unavailable, away.since.elapsed(), 0, 0);
            }
            away.seated.clear();
            self.app.directs.seats().push(away.seat);
            // Half an answer cannot be made a whole one.
            let _ = away.back.send(if had_begun {
                Back::Last { stream: away.stream, words: http::last_words(&failure) }
            } else {
                Back::Closed
            });
            self.gone();
        }
    }
}

/// It is not passed on after all.
fn refuse(handed: Handed) {
    let _ = handed.back.send(Back::Open { stream: handed.stream, answer: Vec::new(), read: handed.read, served: None });
}

/// Whether the other end has closed.
fn is_gone(stream: &TcpStream) -> bool {
    let mut asked = [PollFd::new(stream, PollFlags::RDHUP)];
    poll(&mut asked, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|found| found > 0)
}
