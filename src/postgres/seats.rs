//! In whose hands a connection is: words in shared memory, which the server worker's threads and the executors change by
//! compare-and-swap, so that a connection is one's or the other's and never both's.

use std::ffi::c_int;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicPtr, AtomicU64};

use pgrx::pg_sys;

use super::{counters, worker};

/// Connections that executors can serve at a time, of the whole server. One more is served by the server worker as any other.
pub(crate) const SEATS: u32 = 4096;

/// Whose a connection is, and what happens to it. An executor changes `AtRest` and what follows; the server worker takes a connection
/// back from `AtRest` only, when none of its bytes are read and not answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Hands {
    /// The server worker's.
    Nobody = 0,
    /// The executor's, which waits for a request.
    AtRest = 1,
    /// The executor has read bytes of it, and written none of the answer.
    Working = 2,
    /// The executor writes an answer.
    Answering = 3,
    /// Its client has gone while the executor worked, and the server worker has cancelled that.
    Cancelled = 4,
}

/// Platforms whose requests can be counted by executors too.
pub(crate) const BUCKETS: u32 = 4096;

const STATES: [Hands; 5] = [Hands::Nobody, Hands::AtRest, Hands::Working, Hands::Answering, Hands::Cancelled];
const STATE_BITS: u32 = 3;

/// One connection's place.
#[repr(C)]
struct Seat {
    /// The connection's number, and in the lowest bits its [`Hands`].
    word: AtomicU64,
    /// Requests answered.
    served: AtomicU64,
}

#[repr(C)]
struct Table {
    /// The number of the last connection: never used twice, also when the server worker starts again.
    connections: AtomicU64,
    /// Counts what changed of who may call what. Who was let in under another number must be looked at again.
    epoch: AtomicU64,
    /// The server worker has begun to attach to the control database, and has not got there.
    attaching: AtomicU64,
    /// Executors that look for requests and do not sleep, just now.
    looking: AtomicU64,
    seats: [Seat; SEATS as usize],
    /// The server worker knows whose they are.
    buckets: [AtomicU64; BUCKETS as usize],
}

static TABLE: AtomicPtr<Table> = AtomicPtr::new(std::ptr::null_mut());
static PREVIOUS_REQUEST: AtomicPtr<()> = AtomicPtr::new(std::ptr::null_mut());
static PREVIOUS_STARTUP: AtomicPtr<()> = AtomicPtr::new(std::ptr::null_mut());

/// Asks for the memory; once, while the library is loaded by the postmaster.
pub(crate) fn define() {
    // SAFETY: hooks are set while the library is loaded; an `Option` of a function pointer is a pointer.
    unsafe {
        PREVIOUS_REQUEST.store(
            std::mem::transmute::<pg_sys::shmem_request_hook_type, *mut ()>(pg_sys::shmem_request_hook),
            Relaxed,
        );
        pg_sys::shmem_request_hook = Some(request);
        PREVIOUS_STARTUP.store(
            std::mem::transmute::<pg_sys::shmem_startup_hook_type, *mut ()>(pg_sys::shmem_startup_hook),
            Relaxed,
        );
        pg_sys::shmem_startup_hook = Some(startup);
    }
}

unsafe extern "C-unwind" fn request() {
    // SAFETY: what `define` stored; PostgreSQL calls this where memory may be asked for.
    unsafe {
        if let Some(previous) =
            std::mem::transmute::<*mut (), pg_sys::shmem_request_hook_type>(PREVIOUS_REQUEST.load(Relaxed))
        {
            previous();
        }
        pg_sys::RequestAddinShmemSpace(size_of::<Table>());
        counters::request(crate::settings::metrics_platforms());
    }
}

unsafe extern "C-unwind" fn startup() {
    // SAFETY: what `define` stored; called in the postmaster when shared memory is there, again after a crash. New memory is zeroed here
    // by its first user, and a table of zeroes is an empty one.
    unsafe {
        if let Some(previous) =
            std::mem::transmute::<*mut (), pg_sys::shmem_startup_hook_type>(PREVIOUS_STARTUP.load(Relaxed))
        {
            previous();
        }
        let mut found = false;
        let table: *mut Table =
            pg_sys::ShmemInitStruct(c"stonescriptdb seats".as_ptr(), size_of::<Table>(), &mut found).cast();
        if !found {
            table.write_bytes(0, 1);
        }
        TABLE.store(table, Release);
    }
    counters::attach();
}

fn table() -> Option<&'static Table> {
    // SAFETY: null before `startup`; afterwards shared memory that lives as long as the process and is only changed by atomics.
    unsafe { TABLE.load(Acquire).as_ref() }
}

/// What is changed when somebody may no longer do what he was let in for.
pub(crate) fn epoch() -> u64 {
    table().map_or(0, |table| table.epoch.load(Acquire))
}

/// Where the requests of a platform are counted.
pub(crate) fn bucket(number: u32) -> Option<&'static AtomicU64> {
    table()?.buckets.get(number as usize)
}

/// Nanoseconds of a clock that does not jump, the same in all processes.
pub(crate) fn monotonic() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let (seconds, nanoseconds) = (u64::try_from(now.tv_sec), u64::try_from(now.tv_nsec));
    seconds.unwrap_or(0).saturating_mul(1_000_000_000).saturating_add(nanoseconds.unwrap_or(0))
}

/// Everybody is to be looked at again.
pub(crate) fn next_epoch() {
    if let Some(table) = table() {
        table.epoch.fetch_add(1, AcqRel);
    }
}

/// Notes that the server worker attaches to its database now, or that it has; gives what was noted before.
pub(crate) fn note_attaching(attaching: bool) -> bool {
    table().is_some_and(|table| table.attaching.swap(attaching.into(), AcqRel) != 0)
}

/// Runs `f`, which keeps a core busy, unless so many others are at it in other executors; then `None`.
pub(crate) fn looking<T>(at_most: u64, f: impl FnOnce() -> T) -> Option<T> {
    /// One of those that are counted, also if `f` raises an error.
    struct Counted(&'static AtomicU64);

    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_sub(1, AcqRel);
        }
    }

    let looking = &table()?.looking;
    let before = looking.fetch_add(1, AcqRel);
    let _counted = Counted(looking);
    (before < at_most).then(f)
}

/// A connection at a seat, as both sides know it.
#[derive(Clone, Copy)]
pub(crate) struct Seated {
    seat: &'static Seat,
    connection: u64,
}

impl Seated {
    /// Seats a new connection, at rest, where none is; only the server worker does, which knows which seats are free.
    pub(crate) fn new(number: u32) -> Option<Seated> {
        let table = table()?;
        let seat = table.seats.get(number as usize)?;
        let connection = table.connections.fetch_add(1, Relaxed) + 1;
        seat.served.store(0, Relaxed);
        seat.word.store(word(connection, Hands::AtRest), Release);
        Some(Seated { seat, connection })
    }

    /// A connection that the other side has seated.
    pub(crate) fn of(number: u32, connection: u64) -> Option<Seated> {
        Some(Seated { seat: table()?.seats.get(number as usize)?, connection })
    }

    /// The connection's number.
    pub(crate) fn connection(&self) -> u64 {
        self.connection
    }

    /// Whose it is.
    pub(crate) fn hands(&self) -> Hands {
        let word = self.seat.word.load(Acquire);
        if word >> STATE_BITS != self.connection {
            return Hands::Nobody;
        }
        STATES.get((word & ((1 << STATE_BITS) - 1)) as usize).copied().unwrap_or(Hands::Nobody)
    }

    /// Passes it on; `false` if it is not where it was thought to be.
    pub(crate) fn pass(&self, from: Hands, to: Hands) -> bool {
        let (from, to) = (word(self.connection, from), word(self.connection, to));
        self.seat.word.compare_exchange(from, to, AcqRel, Acquire).is_ok()
    }

    /// Frees the seat, whatever was going on.
    pub(crate) fn clear(&self) {
        self.seat.word.store(word(self.connection, Hands::Nobody), Release);
    }

    /// Requests answered.
    pub(crate) fn served(&self) -> u64 {
        self.seat.served.load(Relaxed)
    }

    /// One more is.
    pub(crate) fn count(&self) {
        self.seat.served.fetch_add(1, Relaxed);
    }

    /// Until [`Seated::leave`], a cancel of this connection's request reaches this process.
    pub(crate) fn work(&self) {
        WORKING_AT.store(std::ptr::from_ref(self.seat).cast_mut(), Relaxed);
        WORKING_FOR.store(self.connection, Release);
    }

    /// Ends [`Seated::work`].
    pub(crate) fn leave() {
        WORKING_FOR.store(0, Release);
    }
}

fn word(connection: u64, hands: Hands) -> u64 {
    (connection << STATE_BITS) | hands as u64
}

static WORKING_AT: AtomicPtr<Seat> = AtomicPtr::new(std::ptr::null_mut());
static WORKING_FOR: AtomicU64 = AtomicU64::new(0);

/// The handler of SIGUSR2 in executors: cancels the request that runs, if that is the one whose client is gone. One that comes late, when
/// another request runs, does nothing.
pub(super) unsafe extern "C-unwind" fn cancel_if_gone(signal: c_int) {
    let connection = WORKING_FOR.load(Acquire);
    // SAFETY: null or shared memory; only atomics are read.
    let Some(seat) = (unsafe { WORKING_AT.load(Relaxed).as_ref() }) else { return };
    if connection != 0 && seat.word.load(Acquire) == word(connection, Hands::Cancelled) {
        // SAFETY: PostgreSQL's own handler, called as it would be by the signal that it is for.
        unsafe { worker::cancel_handler(signal) }
    }
}
