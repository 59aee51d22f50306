//! One client of an executor: its bytes, and what they say.

use std::io::{ErrorKind, IoSlice, Write};
use std::net::{IpAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ipnet::IpNet;
use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvFlags, recv};
use stonescriptdb_protocol::Handover;

use crate::postgres::counters::{self, Platform};
use crate::postgres::seats::{self, Seated};
use crate::server::calls::Whom;
use crate::server::http::plain::{self, Head, PlainHead};
use crate::server::http::{CallBody, contains};
use crate::settings::Settings;

/// Bytes that are read at once: a typical request fits.
const CHUNK: usize = 8 * 1024;
/// A buffer that grew over this for one large request is given back after it.
const KEEP: usize = 256 * 1024;
/// How long an executor waits for the rest of a request, all in all: clients that send head and body apart do so one right after the
/// other. Others are waited for by the server worker.
const PATIENCE: Duration = Duration::from_millis(2);

pub(super) struct Client {
    pub(super) stream: TcpStream,
    pub(super) seated: Seated,
    pub(super) terms: Handover,
    /// Where its calls are counted.
    pub(super) platform: Platform,
    /// The listener's networks.
    allowed: Vec<IpNet>,
    /// The platform's networks.
    networks: Option<Vec<IpNet>>,
    /// Read and not answered.
    pub(super) buffer: Vec<u8>,
    /// The head that came last. Most clients send the same one again and again.
    pub(super) known: Option<Known>,
}

/// A head, and what it says.
pub(super) struct Known {
    bytes: Vec<u8>,
    pub(super) head: PlainHead,
}

/// What reading gave.
#[derive(PartialEq, Eq)]
pub(super) enum Sent {
    Bytes,
    Nothing,
    /// The other end is closed, or as good as that.
    End,
}

impl Client {
    pub(super) fn new(stream: OwnedFd, seated: Seated, terms: Handover, read: &[u8]) -> Client {
        let platform = Platform::of(&terms.platform);
        let (allowed, networks) = (read_networks(&terms.allowed), terms.networks.as_deref().map(read_networks));
        Client { stream: stream.into(), seated, terms, platform, allowed, networks, buffer: read.to_vec(), known: None }
    }

    /// Reads what is there.
    pub(super) fn read(&mut self) -> Sent {
        if self.buffer.is_empty() && self.buffer.capacity() > KEEP {
            self.buffer = Vec::new();
        }
        self.buffer.reserve(CHUNK);
        match recv(&self.stream, spare_capacity(&mut self.buffer), RecvFlags::DONTWAIT) {
            Ok((0, _)) => Sent::End,
            Ok((more, _)) => {
                counters::wire(more, 0);
                Sent::Bytes
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Sent::Nothing,
            Err(_) => Sent::End,
        }
    }

    /// The length of the request that the buffer begins with, once it is there as a whole; `None` for one that the server worker has to
    /// look at.
    pub(super) fn whole(&mut self, settings: &Settings) -> Option<usize> {
        let started = Instant::now();
        loop {
            if self.recognise(settings)? {
                let length = self.known.as_ref().map(|known| known.head.length + known.head.body)?;
                if self.buffer.len() >= length {
                    return Some(length);
                }
                self.buffer.reserve(length - self.buffer.len());
            }
            let left = PATIENCE.checked_sub(started.elapsed())?;
            match self.read() {
                Sent::Bytes => {}
                Sent::Nothing => self.wait(left),
                Sent::End => return None,
            }
        }
    }

    /// Reads the head, if it is another one than the last; whether it is there as a whole. `None`: it is not a plain one.
    fn recognise(&mut self, settings: &Settings) -> Option<bool> {
        if self.known.as_ref().is_some_and(|known| self.buffer.starts_with(&known.bytes)) {
            return Some(true);
        }
        match plain::head(&self.buffer, self.terms.peer, &self.allowed, settings) {
            Head::Plain(head) => {
                let bytes = self.buffer.get(..head.length)?.to_vec();
                self.known = Some(Known { bytes, head: *head });
                Some(true)
            }
            Head::Partial => Some(false),
            Head::Other => None,
        }
    }

    fn wait(&self, left: Duration) {
        let limit = Timespec { tv_sec: 0, tv_nsec: i64::from(left.subsec_nanos()) };
        // Whatever it says, the next reading says more.
        let _ = poll(&mut [PollFd::new(&self.stream, PollFlags::IN)], Some(&limit));
    }

    /// The call that the whole request is, if it is of the tenant that this connection was handed over for, by who was let in.
    pub(super) fn call(&self, settings: &Settings) -> Option<(&PlainHead, CallBody<'_>)> {
        let head = &self.known.as_ref()?.head;
        let body = self.buffer.get(head.length..head.length + head.body)?;
        let body = match &head.named {
            None => CallBody::read(body, settings).ok()?,
            Some(named) => CallBody::of(named, body, settings).ok()?,
        };
        let is_same =
            Whom::from(&self.terms.whom) == body.whom().ok()? && head.authorization == self.terms.authorization;
        let is_good = self.terms.epoch == seats::epoch()
            && self.terms.until_ms.is_none_or(|until| {
                SystemTime::now().duration_since(UNIX_EPOCH).is_ok_and(|now| now.as_millis() < u128::from(until))
            });
        // Behind a proxy, one connection has the requests of many.
        let is_near = self.networks.as_ref().is_none_or(|networks| contains(networks, head.client));
        body.function().ok()?;
        if !(is_same && is_good && is_near) {
            return None;
        }
        // Last, for it takes a token. Where there is none the server worker says so.
        let bucket = self.terms.limit.and_then(|limit| Some((seats::bucket(limit.bucket)?, limit.rate)));
        let may = bucket.is_none_or(|(bucket, rate)| rate.take(bucket, seats::monotonic()).is_ok());
        may.then_some((head, body))
    }

    /// Writes an answer; gives what the client does not take now. A client that is gone takes nothing.
    pub(super) fn write(&self, head: &[u8], body: &[u8]) -> Option<Vec<u8>> {
        let left = self.try_write(head, body);
        counters::wire(0, head.len() + body.len() - left.as_ref().map_or(0, Vec::len));
        left
    }

    fn try_write(&self, head: &[u8], body: &[u8]) -> Option<Vec<u8>> {
        let mut written = 0;
        while written < head.len() + body.len() {
            let rest = [
                head.get(written..).unwrap_or_default(),
                body.get(written.saturating_sub(head.len())..).unwrap_or_default(),
            ];
            match (&self.stream).write_vectored(&rest.map(IoSlice::new)) {
                Ok(more) => written += more,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Some(rest.concat()),
                Err(_) => return Some(Vec::new()),
            }
        }
        None
    }
}

fn read_networks(plain: &[(IpAddr, u8)]) -> Vec<IpNet> {
    plain.iter().filter_map(|(address, length)| IpNet::new(*address, *length).ok()).collect()
}
