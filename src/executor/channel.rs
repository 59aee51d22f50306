//! An executor's connection to the broker, and the clients' connections that it serves itself, waited on through the latch.

use std::collections::VecDeque;
use std::io::{ErrorKind, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use stonescriptdb_pool::Polling;
use stonescriptdb_protocol::{ErrorCode, Failure, FrameKind, HEADER_LEN, Header};

use crate::postgres::catch;
use crate::postgres::seats;
use crate::postgres::wait::{Waiter, Woken, check_for_interrupts, forget_cancel, reload_settings_if_asked};
use crate::server::SOCKET_PATH;
use crate::settings;

/// Bytes that are asked of the socket at once: a typical call fits.
const CHUNK: usize = 8 * 1024;
/// A buffer that grew over this for one large request is given back after it.
const KEEP: usize = 256 * 1024;
/// Descriptors that one read of the socket can bring: there is one with a frame at most.
const DESCRIPTORS: usize = 4;

/// What an executor wakes up for.
pub(super) enum Arrived {
    /// The broker says something.
    Frame(FrameKind, Vec<u8>),
    /// A client does, or has gone.
    Client(RawFd),
}

pub(super) struct Channel {
    /// The socket and the clients.
    waiter: Waiter,
    /// The socket alone.
    alone: Waiter,
    stream: UnixStream,
    /// Bytes read and not yet given out.
    buffer: Vec<u8>,
    /// Descriptors that came with them, in order.
    descriptors: VecDeque<OwnedFd>,
    /// Who can be read, by the last look, and has not had a turn.
    ready: VecDeque<RawFd>,
    /// How many clients are waited for.
    clients: usize,
    polling: Polling,
    /// Executors that may look for requests at the same time: a client needs a core too.
    most_looking: u64,
    /// The settings were read again.
    reloaded: bool,
    /// What is left of a frame that a call was sending when it was interrupted. It comes before the next frame.
    unsent: Vec<u8>,
}

impl Channel {
    pub(super) fn connect() -> std::io::Result<Channel> {
        let stream = UnixStream::connect(SOCKET_PATH)?;
        stream.set_nonblocking(true)?;
        let fd = stream.as_raw_fd();
        Ok(Channel {
            waiter: Waiter::new(fd),
            alone: Waiter::new(fd),
            stream,
            buffer: Vec::new(),
            descriptors: VecDeque::new(),
            ready: VecDeque::new(),
            clients: 0,
            polling: Polling::default(),
            most_looking: std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64 / 2),
            reloaded: false,
            unsent: Vec::new(),
        })
    }

    /// From now on these clients are waited for too. They must stay open until the next time.
    pub(super) fn watch(&mut self, clients: impl Iterator<Item = RawFd>) {
        let mut fds = vec![self.stream.as_raw_fd()];
        fds.extend(clients);
        self.ready.retain(|fd| fds.contains(fd));
        self.clients = fds.len() - 1;
        self.waiter = Waiter::of(&fds);
    }

    /// The descriptor that came with a frame.
    pub(super) fn descriptor(&mut self) -> Option<OwnedFd> {
        self.descriptors.pop_front()
    }

    /// Whether the settings were read again since the last time.
    pub(super) fn reloaded(&mut self) -> bool {
        std::mem::take(&mut self.reloaded)
    }

    /// The next frame or client; `None` when the broker closed or speaks nonsense. Interrupts are served meanwhile: this is where an idle
    /// executor ends on SIGTERM and takes part in barriers.
    pub(super) fn next(&mut self) -> Option<Arrived> {
        if self.buffer.capacity() > KEEP && self.buffer.len() < KEEP {
            self.buffer.shrink_to(KEEP);
        }
        loop {
            if let Some(head) = self.buffer.first_chunk::<HEADER_LEN>() {
                let header = Header::read(*head).ok()?;
                let whole = HEADER_LEN + header.payload;
                if self.buffer.len() >= whole {
                    let rest = self.buffer.split_off(whole);
                    let mut frame = std::mem::replace(&mut self.buffer, rest);
                    frame.drain(..HEADER_LEN);
                    return Some(Arrived::Frame(header.kind, frame));
                }
                self.buffer.reserve(whole - self.buffer.len());
            }
            match self.ready.pop_front() {
                Some(fd) if fd == self.stream.as_raw_fd() => self.read()?,
                Some(client) => return Some(Arrived::Client(client)),
                // Nothing is read without a look first: right after an answer there is nothing, and to find that is a system call.
                None => self.wait(),
            }
        }
    }

    /// Reads what the broker has sent; `None` at its end.
    fn read(&mut self) -> Option<()> {
        let mut room = [0; CHUNK];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
        let mut beside = RecvAncillaryBuffer::new(&mut space);
        let got = recvmsg(&self.stream, &mut [IoSliceMut::new(&mut room)], &mut beside, RecvFlags::CMSG_CLOEXEC);
        match got.map_err(|error| error.kind()) {
            Ok(got) if got.bytes == 0 => return None,
            Ok(got) => self.buffer.extend_from_slice(room.get(..got.bytes).unwrap_or_default()),
            Err(ErrorKind::WouldBlock) => {}
            Err(ErrorKind::Interrupted) => self.serve_interrupts(),
            Err(_) => return None,
        }
        for message in beside.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                self.descriptors.extend(descriptors);
            }
        }
        Some(())
    }

    /// Writes a part of a call's result while it runs, as fast as it is taken.
    ///
    /// # Errors
    /// What interrupts the call: a cancel, a time limit. That the broker is gone.
    pub(super) fn send(&mut self, mut bytes: &[u8]) -> Result<(), Failure> {
        while !bytes.is_empty() {
            match (&self.stream).write(bytes) {
                Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.alone.wait_to_write();
                    if let Err(error) = catch(check_for_interrupts) {
                        self.unsent = bytes.to_vec();
                        return Err(error.into());
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Err(Failure::new(ErrorCode::ConnectionFailed, "the server worker is gone")),
            }
        }
        Ok(())
    }

    /// Writes a frame whole; `false` when the broker is gone.
    pub(super) fn write(&mut self, bytes: &[u8]) -> bool {
        let unsent = std::mem::take(&mut self.unsent);
        self.write_all(&unsent) && self.write_all(bytes)
    }

    fn write_all(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            match (&self.stream).write(bytes) {
                Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
                // A result larger than the socket's buffer: the broker reads it in pieces.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if self.alone.wait_to_write() == Woken::Latch {
                        self.serve_interrupts();
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => self.serve_interrupts(),
                Err(_) => return false,
            }
        }
        true
    }

    fn wait(&mut self) {
        // Who always has something to do would be stopped by the scheduler in the middle of an answer, for milliseconds.
        if self.clients > 1 {
            std::thread::yield_now();
        }
        let look = if self.clients == 1 { settings::busy_poll() } else { Duration::ZERO };
        let latch = if look.is_zero() { self.waiter.wait_for_any(&mut self.ready) } else { self.wait_for_one(look) };
        if latch {
            self.serve_interrupts();
            self.reloaded |= reload_settings_if_asked();
        }
    }

    /// Waits, and before that looks for so long if the only client keeps calling in quick succession; whether the latch was set.
    fn wait_for_one(&mut self, look: Duration) -> bool {
        let began = Instant::now();
        if !self.polling.is_worth_it() {
            let latch = self.waiter.wait_for_any(&mut self.ready);
            self.polling.slept(began.elapsed(), look);
            return latch;
        }
        let Channel { waiter, ready, .. } = self;
        let found = seats::looking(self.most_looking, || {
            while began.elapsed() < look {
                let latch = waiter.look(ready);
                if latch || !ready.is_empty() {
                    return Some(latch);
                }
                // Somebody else may want this core, the client for one.
                std::thread::yield_now();
            }
            None
        });
        if let Some(latch) = found.flatten() {
            self.polling.succeeded();
            return latch;
        }
        self.polling.failed();
        self.waiter.wait_for_any(&mut self.ready)
    }

    fn serve_interrupts(&self) {
        // Between requests there is nothing to cancel.
        forget_cancel();
        check_for_interrupts();
    }
}
