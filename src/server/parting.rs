//! The end of a connection whose client was refused something: a connection that is closed with bytes unread is reset, and what was sent
//! is lost with it. So what the client still sends is read and thrown away for a while, until it has seen the answer.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Sleep, sleep};

/// How long.
const PATIENCE: Duration = Duration::from_secs(1);
/// And how much: about what may be under way in the kernel's buffers.
const MOST: usize = 8 << 20;
/// So many clients at once; the others' connections are closed as they are.
const PLACES: usize = 100;

/// How far it is.
#[derive(Default)]
pub(super) struct Parting {
    thrown_away: usize,
    /// Nothing is written any more.
    silent: bool,
    waiting: Option<(Pin<Box<Sleep>>, SemaphorePermit<'static>)>,
}

impl Parting {
    /// Says that nothing more will come, and reads what does; ready when the connection can be closed.
    pub(super) fn poll<S: AsyncRead + AsyncWrite>(
        &mut self,
        mut stream: Pin<&mut S>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        static ALL: Semaphore = Semaphore::const_new(PLACES);
        if !self.silent {
            ready!(stream.as_mut().poll_shutdown(context))?;
            self.silent = true;
        }
        if self.waiting.is_none() {
            let Ok(place) = ALL.try_acquire() else { return Poll::Ready(Ok(())) };
            self.waiting = Some((Box::pin(sleep(PATIENCE)), place));
        }
        if self.waiting.as_mut().is_none_or(|(sleep, _)| sleep.as_mut().poll(context).is_ready()) {
            return Poll::Ready(Ok(()));
        }
        let mut room = [0; 4096];
        while self.thrown_away < MOST {
            let mut unread = ReadBuf::new(&mut room);
            ready!(stream.as_mut().poll_read(context, &mut unread))?;
            match unread.filled().len() {
                0 => break,
                read => self.thrown_away += read,
            }
        }
        Poll::Ready(Ok(()))
    }
}
