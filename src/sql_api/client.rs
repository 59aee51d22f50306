//! An ordinary backend's connection to the broker.

use std::cell::RefCell;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use stonescriptdb_protocol::{BackendRequest, ErrorCode, Failure, FrameKind, HEADER_LEN, Header, encode};

use crate::postgres::hooks;
use crate::postgres::wait::{Waiter, Woken, check_for_interrupts};
use crate::server::{RESTORED, SOCKET_PATH, TOUCHED_FOLDER};

/// So long a session waits at its commit. Its locks are still held then, on tables that CREATE EXTENSION has just made, for example.
const PATIENCE: Duration = Duration::from_millis(100);

/// Room for a typical answer, in bytes.
const TYPICAL_ANSWER: usize = 4096;
/// The most that is read at once.
const MOST: usize = 256 * 1024;

/// A socket with the waiter on it; the waiter goes first.
struct Client {
    waiter: Waiter,
    stream: UnixStream,
}

thread_local! {
    /// Kept between calls. It is taken out while a request is under way: an error in between (a cancel) drops it, and the broker sees
    /// the end of the connection and cancels the work.
    static IDLE: RefCell<Option<Client>> = const { RefCell::new(None) };
    /// Connections that hold a database.
    static HOLDS: RefCell<Vec<Client>> = const { RefCell::new(Vec::new()) };
}

/// Sends a request and waits for the answer's JSON text. Can be cancelled as any statement.
///
/// # Errors
/// What the broker answers; `connection_failed` if it is not there.
pub(super) fn ask(request: &BackendRequest) -> Result<Vec<u8>, Failure> {
    let frame =
        encode(FrameKind::Ask, request).map_err(|error| Failure::new(ErrorCode::PayloadTooLarge, error.to_string()))?;
    let kept = IDLE.with(|idle| idle.try_borrow_mut().ok().and_then(|mut idle| idle.take()));
    // The kept connection may be one to a server worker that has restarted since. Whether it is alive is not asked first: that is a
    // system call, and what could not be sent can be sent again.
    let (client, answer) = match kept.map(|client| client.exchange(&frame)) {
        Some(Ok(done)) => done,
        Some(Err(Lost::Midway)) => return Err(lost()),
        Some(Err(Lost::Before)) | None => Client::connect()?.exchange(&frame).map_err(|_| lost())?,
    };
    IDLE.with(|idle| {
        if let Ok(mut idle) = idle.try_borrow_mut() {
            *idle = Some(client);
        }
    });
    answer
}

/// How an exchange ended without an answer.
enum Lost {
    /// The broker has not had the whole request.
    Before,
    Midway,
}

/// The broker's answer: JSON text, or its failure.
type Answer = Result<Vec<u8>, Failure>;

/// Has the executors of a database stopped, for a statement that needs it to itself, until [`release_databases`]. If the server worker
/// is not there, nothing of ours is in the way.
pub(crate) fn hold_database(database: &str) {
    hold(&BackendRequest::Hold { database: database.to_owned() });
}

/// Has all deployments end, and none begin until [`release_databases`]: the registry that they write to is about to go.
pub(crate) fn hold_deployments() {
    hold(&BackendRequest::HoldDeployments);
}

fn hold(request: &BackendRequest) {
    let Ok(client) = Client::connect() else { return };
    let Ok(frame) = encode(FrameKind::Ask, request) else { return };
    if let Ok((client, _)) = client.exchange(&frame) {
        HOLDS.with(|holds| {
            if let Ok(mut holds) = holds.try_borrow_mut() {
                holds.push(client);
            }
        });
    }
}

/// Ends every hold of this backend. Raises nothing: it runs at the end of transactions.
pub(crate) fn release_databases() {
    HOLDS.with(|holds| {
        if let Ok(mut holds) = holds.try_borrow_mut() {
            holds.clear();
        }
    });
}

/// Tells the server worker to read the registry again, and waits for it a little. Raises nothing.
pub(crate) fn tell_registry_changed() {
    let told = tell(&BackendRequest::RegistryChanged);
    // What a session has committed counts from then on: a token, say. The server worker closes when it has read.
    if let (Some(mut stream), false) = (told, hooks::is_executor()) {
        let _ = stream.set_read_timeout(Some(PATIENCE)).and_then(|()| stream.read(&mut [0]));
    }
}

/// Writes down, before it is committed, that a transaction changes the catalog of a database: the server worker finds it whenever it
/// looks, and after a crash too. Raises nothing.
pub(crate) fn note_touched(database: u32) {
    // Without the folder nobody has ever looked; a full disk has worse to tell.
    let _ = std::fs::File::create(format!("{TOUCHED_FOLDER}/{database}"));
}

/// As [`note_touched`], of a transaction that makes the tracking tables anew. Raises nothing.
pub(crate) fn note_restored(database: u32) {
    let _ = std::fs::File::create(format!("{TOUCHED_FOLDER}/{database}{RESTORED}"));
}

/// Has the server worker look at what [`note_touched`] wrote, without waiting for it. Raises nothing.
pub(crate) fn tell_touched(database: u32) {
    // A commit may take long (it waits for a standby): what was written before it may have been worked off, and a deployment have looked,
    // before the change could be seen.
    note_touched(database);
    tell(&BackendRequest::Touched);
}

/// It looks now and then anyway: that it is not there means nothing.
fn tell(request: &BackendRequest) -> Option<UnixStream> {
    let mut stream = UnixStream::connect(SOCKET_PATH).ok()?;
    stream.write_all(&encode(FrameKind::Ask, request).ok()?).ok()?;
    Some(stream)
}

impl Client {
    fn connect() -> Result<Client, Failure> {
        let absent = |_| {
            Failure::new(ErrorCode::ConnectionFailed, "the stonescriptdb server worker is not running")
                .hint("It starts with the server and restarts by itself; the server's log says why it is not there.")
        };
        let stream = UnixStream::connect(SOCKET_PATH).map_err(absent)?;
        stream.set_nonblocking(true).map_err(absent)?;
        Ok(Client { waiter: Waiter::new(stream.as_raw_fd()), stream })
    }

    /// Gives the answer, and the connection for the next request.
    fn exchange(self, frame: &[u8]) -> Result<(Client, Answer), Lost> {
        self.write_all(frame).map_err(|_| Lost::Before)?;
        let mut answer = Vec::with_capacity(TYPICAL_ANSWER);
        let mut head = None;
        loop {
            let whole = head.map_or(TYPICAL_ANSWER, |header: Header| HEADER_LEN + header.payload);
            // The answer is not there at once: to look would find nothing. What is left of a long one may be.
            if head.is_none() {
                self.pause(-1);
            }
            self.read(&mut answer, whole)?;
            if head.is_none()
                && let Some(first) = answer.first_chunk::<HEADER_LEN>()
            {
                head = Some(Header::read(*first).map_err(|_| Lost::Midway)?);
            }
            if let Some(header) = head
                && answer.len() >= HEADER_LEN + header.payload
            {
                answer.drain(..HEADER_LEN);
                let answer = match header.kind {
                    FrameKind::Failure => Err(postcard::from_bytes(&answer).unwrap_or_else(|_| lost())),
                    _ => Ok(answer),
                };
                return Ok((self, answer));
            }
        }
    }

    fn write_all(&self, mut bytes: &[u8]) -> std::io::Result<()> {
        while !bytes.is_empty() {
            match (&self.stream).write(bytes) {
                Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if self.waiter.wait_to_write() == Woken::Latch {
                        check_for_interrupts();
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => check_for_interrupts(),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads what there is, until the answer has `whole` bytes at most; waits if there is nothing.
    fn read(&self, answer: &mut Vec<u8>, whole: usize) -> Result<(), Lost> {
        let start = answer.len();
        loop {
            answer.resize(start + whole.saturating_sub(start).min(MOST), 0);
            let outcome = (&self.stream).read(answer.get_mut(start..).unwrap_or_default());
            answer.truncate(start + *outcome.as_ref().unwrap_or(&0));
            match outcome {
                Ok(0) => return Err(Lost::Midway),
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.pause(-1),
                Err(error) if error.kind() == ErrorKind::Interrupted => check_for_interrupts(),
                // As in the broker: the other end closed with bytes of ours unread.
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Err(Lost::Before),
                Err(_) => return Err(Lost::Midway),
            }
        }
    }

    fn pause(&self, timeout_ms: i64) {
        if self.waiter.wait(timeout_ms) == Woken::Latch {
            check_for_interrupts();
        }
    }
}

fn lost() -> Failure {
    Failure::new(ErrorCode::ConnectionFailed, "the connection to the stonescriptdb server worker was lost")
        .hint("It may be restarting: try again. Whether the work was done is not known.")
}
