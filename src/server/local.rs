//! A connection on the broker's socket.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;

use bytes::BytesMut;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The most that is read at once, in bytes.
const MOST: usize = 256 * 1024;

/// An executor's or a backend's connection. It is watched for what can be read and for nothing else: tokio's own stream is watched for
/// room to write too, and so the thread was woken twice for every message, the second time when the other end had read it.
pub(crate) struct Local(AsyncFd<UnixStream>);

#[allow(
    deprecated,
    reason = "its successor is unsafe, for types that may change their descriptor; a UnixStream keeps its own"
)]
fn watch(stream: UnixStream, interest: Interest) -> io::Result<AsyncFd<UnixStream>> {
    AsyncFd::with_interest(stream, interest)
}

impl Local {
    pub(super) fn new(stream: tokio::net::UnixStream) -> io::Result<Local> {
        watch(stream.into_std()?, Interest::READABLE).map(Local)
    }

    /// Reads what there is, up to `most` bytes, behind what the buffer holds; waits if there is nothing. Gives 0 at the end.
    pub(super) async fn read(&self, buffer: &mut BytesMut, most: usize) -> io::Result<usize> {
        let most = most.min(MOST);
        loop {
            let mut ready = self.0.readable().await?;
            let start = buffer.len();
            buffer.resize(start + most, 0);
            let outcome = ready.get_inner().read(buffer.get_mut(start..).unwrap_or_default());
            buffer.truncate(start + *outcome.as_ref().unwrap_or(&0));
            match outcome {
                Err(error) if error.kind() == ErrorKind::WouldBlock => ready.clear_ready(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(read) => {
                    // All that there was: to look for more would find nothing, and cost a system call.
                    if read > 0 && read < most {
                        ready.clear_ready();
                    }
                    return Ok(read);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether nothing has come, not even the end.
    pub(super) fn is_quiet(&self) -> bool {
        let read = self.0.try_io(Interest::READABLE, |mut stream| stream.read(&mut [0]));
        matches!(read, Err(error) if error.kind() == ErrorKind::WouldBlock)
    }

    /// Waits until something comes, or the end.
    pub(super) async fn stirred(&self) {
        while self.0.readable().await.is_ok() && self.is_quiet() {}
    }

    pub(super) async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.0.get_ref().write(bytes) {
                Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.writable().await?,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Writes, and sends a descriptor beside the first byte.
    pub(super) async fn write_with(&self, bytes: &[u8], descriptor: BorrowedFd<'_>) -> io::Result<()> {
        loop {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut beside = SendAncillaryBuffer::new(&mut space);
            let descriptors = [descriptor];
            beside.push(SendAncillaryMessage::ScmRights(&descriptors));
            let sent = sendmsg(self.0.get_ref(), &[IoSlice::new(bytes)], &mut beside, SendFlags::NOSIGNAL);
            match sent.map_err(io::Error::from) {
                Ok(written) => return self.write_all(bytes.get(written..).unwrap_or_default()).await,
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.writable().await?,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits until there is room, through a descriptor that is watched for that alone: it is rare.
    async fn writable(&self) -> io::Result<()> {
        watch(self.0.get_ref().try_clone()?, Interest::WRITABLE)?.writable().await.map(drop)
    }
}
