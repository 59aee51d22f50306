//! An ordinary backend's connection to the broker.

use std::cell::RefCell;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use stonescriptdb_protocol::{BackendRequest, ErrorCode, Failure, FrameKind, HEADER_LEN, Header, encode};

use crate::postgres::hooks;
use crate::postgres::wait::{Waiter, Woken, check_for_interrupts};
use crate::server::{SOCKET_PATH, TOUCHED_FOLDER};

/// So long a session waits at its commit. Its locks are still held then, on tables that CREATE EXTENSION has just made, for example.
const PATIENCE: Duration = Duration::from_millis(100);

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
    let mut client = match IDLE.with(|idle| idle.try_borrow_mut().ok().and_then(|mut idle| idle.take())) {
        Some(client) if client.is_alive() => client,
        _ => Client::connect()?,
    };
    let result = client.exchange(request)?;
    IDLE.with(|idle| {
        if let Ok(mut idle) = idle.try_borrow_mut() {
            *idle = Some(client);
        }
    });
    result
}

/// Has the executors of a database stopped, for a statement that needs it to itself, until [`release_databases`]. If the server worker
/// is not there, nothing of ours is in the way.
pub(crate) fn hold_database(database: &str) {
    let Ok(mut client) = Client::connect() else { return };
    if client.exchange(&BackendRequest::Hold { database: database.to_owned() }).is_ok() {
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

/// Has the server worker look at what [`note_touched`] wrote, without waiting for it. Raises nothing.
pub(crate) fn tell_touched(_database: u32) {
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

    /// Whether the other end is still there.
    fn is_alive(&self) -> bool {
        let mut byte = [0];
        matches!((&self.stream).read(&mut byte), Err(error) if error.kind() == ErrorKind::WouldBlock)
    }

    fn exchange(&mut self, request: &BackendRequest) -> Result<Result<Vec<u8>, Failure>, Failure> {
        let frame = encode(FrameKind::Ask, request)
            .map_err(|error| Failure::new(ErrorCode::PayloadTooLarge, error.to_string()))?;
        self.write_all(&frame)?;
        let mut head = [0; HEADER_LEN];
        self.read_exact(&mut head)?;
        let header = Header::read(head).map_err(|_| lost())?;
        let mut payload = vec![0; header.payload];
        self.read_exact(&mut payload)?;
        Ok(match header.kind {
            FrameKind::Failure => Err(postcard::from_bytes(&payload).unwrap_or_else(|_| lost())),
            _ => Ok(payload),
        })
    }

    fn write_all(&mut self, mut bytes: &[u8]) -> Result<(), Failure> {
        while !bytes.is_empty() {
            match (&self.stream).write(bytes) {
                Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
                // The broker reads as fast as it can; a large archive comes in pieces. There is no wait for "writable" without a
                // second event set, and a millisecond costs nothing beside a deployment.
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.pause(1),
                Err(error) if error.kind() == ErrorKind::Interrupted => check_for_interrupts(),
                Err(_) => return Err(lost()),
            }
        }
        Ok(())
    }

    fn read_exact(&mut self, mut target: &mut [u8]) -> Result<(), Failure> {
        while !target.is_empty() {
            match (&self.stream).read(target) {
                Ok(0) => return Err(lost()),
                Ok(read) => target = target.get_mut(read..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.pause(-1),
                Err(error) if error.kind() == ErrorKind::Interrupted => check_for_interrupts(),
                Err(_) => return Err(lost()),
            }
        }
        Ok(())
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
