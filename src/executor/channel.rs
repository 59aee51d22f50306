//! An executor's connection to the broker, waited on through the latch.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

use stonescriptdb_protocol::{FrameKind, HEADER_LEN, Header};

use crate::postgres::wait::{Waiter, Woken, check_for_interrupts, forget_cancel, reload_settings_if_asked};
use crate::server::SOCKET_PATH;

/// Bytes that are asked of the socket at once: a typical call fits.
const CHUNK: usize = 8 * 1024;
/// A buffer that grew over this for one large request is given back after it.
const KEEP: usize = 256 * 1024;

pub(super) struct Channel {
    waiter: Waiter,
    stream: UnixStream,
    /// Bytes read and not yet given out.
    buffer: Vec<u8>,
}

impl Channel {
    pub(super) fn connect() -> std::io::Result<Channel> {
        let stream = UnixStream::connect(SOCKET_PATH)?;
        stream.set_nonblocking(true)?;
        Ok(Channel { waiter: Waiter::new(stream.as_raw_fd()), stream, buffer: Vec::new() })
    }

    /// The next frame; `None` when the broker is gone or speaks nonsense. Interrupts are served meanwhile: this is where an idle executor
    /// ends on SIGTERM and takes part in barriers.
    pub(super) fn read(&mut self) -> Option<(FrameKind, Vec<u8>)> {
        if self.buffer.capacity() > KEEP && self.buffer.len() < KEEP {
            self.buffer.shrink_to(KEEP);
        }
        let mut room = [0; CHUNK];
        // The broker sends nothing before it has the last answer: to read at once would find nothing, and cost a system call.
        let mut wait_first = self.buffer.is_empty();
        loop {
            if let Some(head) = self.buffer.first_chunk::<HEADER_LEN>() {
                let header = Header::read(*head).ok()?;
                let whole = HEADER_LEN + header.payload;
                if self.buffer.len() >= whole {
                    let rest = self.buffer.split_off(whole);
                    let mut frame = std::mem::replace(&mut self.buffer, rest);
                    frame.drain(..HEADER_LEN);
                    return Some((header.kind, frame));
                }
                self.buffer.reserve(whole - self.buffer.len());
            }
            if std::mem::take(&mut wait_first) {
                self.wait();
            }
            match (&self.stream).read(&mut room) {
                Ok(0) => return None,
                Ok(read) => self.buffer.extend_from_slice(room.get(..read).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.wait(),
                Err(error) if error.kind() == ErrorKind::Interrupted => self.serve_interrupts(),
                Err(_) => return None,
            }
        }
    }

    /// Writes a frame whole; `false` when the broker is gone.
    pub(super) fn write(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            match (&self.stream).write(bytes) {
                Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
                // A result larger than the socket's buffer: the broker reads it in pieces.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if self.waiter.wait(1) == Woken::Latch {
                        self.serve_interrupts();
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => self.serve_interrupts(),
                Err(_) => return false,
            }
        }
        true
    }

    fn wait(&self) {
        if self.waiter.wait(-1) == Woken::Latch {
            self.serve_interrupts();
            reload_settings_if_asked();
        }
    }

    fn serve_interrupts(&self) {
        // Between requests there is nothing to cancel.
        forget_cancel();
        check_for_interrupts();
    }
}
