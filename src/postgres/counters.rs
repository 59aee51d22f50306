//! What is counted, in shared memory: calls by platform and outcome, how long they took, errors, refusals, bytes, deployments. The server
//! worker and the executors count in the same places, so that a figure is of all calls, whoever answered them, and outlives both.
//!
//! Counting is a relaxed addition to a word and nothing else: no lock, no system call. Each process has a shard of its own, more or less,
//! so that two cores seldom write to the same cache line; who reads adds them up.

use std::hash::{Hash, Hasher};
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize};
use std::time::Duration;

use pgrx::pg_sys;
use stonescriptdb_protocol::Rate;

use super::seats::monotonic;

/// How a call ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    Ok = 0,
    /// It was not run: no such function, parameters that do not fit.
    Refused = 1,
    /// The function, or PostgreSQL while it ran, said no: a status below 500.
    Failed = 2,
    /// As `Failed`, with a status from 500 on.
    Error = 3,
    /// Its time was over.
    Timeout = 4,
    /// There was no executor, or the tenant is not to be had.
    Unavailable = 5,
    /// Its caller left.
    Cancelled = 6,
}

/// The outcomes in order, with their names.
pub(crate) const OUTCOMES: [&str; 7] = ["ok", "refused", "failed", "error", "timeout", "unavailable", "cancelled"];

/// The upper ends of the histogram's buckets, in microseconds; the last one has none. A call of one row takes some tens of them.
pub(crate) const BUCKETS: [u64; 18] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000, 30_000_000,
];

/// Why somebody got no executor or no connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refusal {
    /// The queue of its database is full.
    Queue = 0,
    /// All queues together are.
    QueueTotal = 1,
    /// It waited for as long as it may.
    QueueTimeout = 2,
    /// PostgreSQL has no slot for another background worker.
    NoSlot = 3,
    /// No executor could attach to the database.
    NoExecutor = 4,
    /// The server worker ends.
    Ending = 5,
    /// There are as many HTTP connections as may be.
    Connections = 6,
}

/// The refusals in order, with their names.
pub(crate) const REFUSALS: [&str; 7] =
    ["queue_full", "queues_full", "queue_timeout", "no_worker_slot", "no_executor", "ending", "too_many_connections"];

/// What all platforms without a place of their own are called, and so one that has this name.
pub(crate) const OTHER: &str = "other";

/// Room for the codes of errors, by their numbers.
pub(crate) const ERRORS: usize = 64;
/// Room for the outcomes of deployments.
pub(crate) const DEPLOYED: usize = 8;
const SHARDS: usize = 8;
/// Words of a platform's name; who has a longer one is counted among the others.
const NAME_WORDS: usize = 16;

/// One process's part of a platform's calls.
#[repr(C, align(64))]
struct Cell {
    outcomes: [AtomicU64; OUTCOMES.len()],
    /// The last one is what is beyond all ends.
    buckets: [AtomicU64; BUCKETS.len() + 1],
    nanoseconds: AtomicU64,
    received: AtomicU64,
    sent: AtomicU64,
}

/// A platform.
#[repr(C, align(64))]
struct Row {
    /// Of its name; 0 is nobody's.
    hash: AtomicU64,
    /// Bytes of its name, once that is there.
    length: AtomicU64,
    name: [AtomicU64; NAME_WORDS],
    cells: [Cell; SHARDS],
}

/// What a line of the log is about. Each kind is limited by itself, so that a flood of one hides none of the others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Line {
    /// A call that failed.
    Call = 0,
    /// Somebody who was not let in.
    Refusal = 1,
    /// Anything else that the server worker has to tell.
    Message = 2,
}

const LINES: usize = 3;

/// Lines of one kind.
#[repr(C)]
struct Lines {
    /// As a [`Rate`] keeps it.
    bucket: AtomicU64,
    /// Since somebody told of them.
    left_out: AtomicU64,
}

/// What goes over HTTP connections.
#[repr(C, align(64))]
struct Wire {
    received: AtomicU64,
    sent: AtomicU64,
}

/// What is of no platform. Behind it are the rows, the first one of which is that of all others.
#[repr(C, align(64))]
struct Counters {
    wire: [Wire; SHARDS],
    errors: [AtomicU64; ERRORS],
    refusals: [AtomicU64; REFUSALS.len()],
    deployments: [AtomicU64; DEPLOYED],
    databases: [AtomicU64; DEPLOYED],
    connections: AtomicU64,
    log: [Lines; LINES],
}

static COUNTERS: AtomicPtr<Counters> = AtomicPtr::new(std::ptr::null_mut());
/// Rows behind the first one; set before memory is asked for and not changed later.
static NAMED: AtomicUsize = AtomicUsize::new(0);
static SHARD: AtomicUsize = AtomicUsize::new(0);

fn size() -> usize {
    size_of::<Counters>() + (NAMED.load(Relaxed) + 1) * size_of::<Row>()
}

/// Asks for the memory, for so many platforms; where PostgreSQL allows that.
pub(super) fn request(platforms: usize) {
    NAMED.store(platforms, Relaxed);
    // SAFETY: called in the postmaster by the hook that is for this.
    unsafe { pg_sys::RequestAddinShmemSpace(size() + CACHE_LINE) }
}

/// What `ShmemInitStruct` aligns to (PG_CACHE_LINE_SIZE) is enough for the rows.
const CACHE_LINE: usize = 128;

/// Finds the memory; in the postmaster, when shared memory is there.
pub(super) fn attach() {
    let mut found = false;
    // SAFETY: as in `seats`: new memory is zeroed by its first user, and counters of zeroes have counted nothing. Everything in it is
    // atomic words, and it is aligned to a cache line by PostgreSQL (CACHELINEALIGN in ShmemAllocRaw).
    unsafe {
        let counters: *mut Counters =
            pg_sys::ShmemInitStruct(c"stonescriptdb counters".as_ptr(), size(), &mut found).cast();
        if !found {
            std::ptr::write_bytes(counters.cast::<u8>(), 0, size());
        }
        COUNTERS.store(counters, Release);
    }
}

fn counters() -> Option<&'static Counters> {
    // SAFETY: null before `attach`; afterwards shared memory that lives as long as the process and is changed by atomics only.
    unsafe { COUNTERS.load(Acquire).as_ref() }
}

fn rows() -> &'static [Row] {
    let counters = COUNTERS.load(Acquire);
    if counters.is_null() {
        return &[];
    }
    // SAFETY: as in `counters`; `size` has room for so many rows behind it, and both types have the alignment of a cache line.
    unsafe { std::slice::from_raw_parts(counters.add(1).cast::<Row>(), NAMED.load(Relaxed) + 1) }
}

/// Chooses this process's part by a number of its own.
pub(crate) fn choose_shard(number: u64) {
    SHARD.store(number as usize % SHARDS, Relaxed);
}

/// A platform's place among the counters.
#[derive(Clone, Copy)]
pub(crate) struct Platform(Option<&'static Row>);

impl Platform {
    /// The place of a platform: one of its own if there is any left, else that of all others. For `named` bytes this is a hash and a
    /// comparison.
    pub(crate) fn of(name: &str) -> Platform {
        let all = rows();
        let Some((others, named)) = all.split_first() else { return Platform(None) };
        if named.is_empty() || name.len() > NAME_WORDS * 8 || name == OTHER {
            return Platform(Some(others));
        }
        let hash = hash_of(name);
        let (before, after) = named.split_at(hash as usize % named.len());
        for row in after.iter().chain(before) {
            match row.hash.compare_exchange(0, hash, AcqRel, Acquire) {
                Ok(_) => {
                    row.write_name(name);
                    return Platform(Some(row));
                }
                Err(taken) if taken == hash => return Platform(Some(row)),
                Err(_) => {}
            }
        }
        Platform(Some(others))
    }

    /// Counts a call: how it ended, how long it took, and the bytes of its body and its answer's.
    pub(crate) fn count(self, outcome: Outcome, took: Duration, received: usize, sent: usize) {
        let Some(cell) = self.0.and_then(|row| row.cells.get(SHARD.load(Relaxed))) else { return };
        let nanoseconds = took.as_nanos() as u64;
        let place = BUCKETS.iter().position(|end| nanoseconds <= end * 1_000).unwrap_or(BUCKETS.len());
        add(cell.outcomes.get(outcome as usize), 1);
        add(cell.buckets.get(place), 1);
        add(Some(&cell.nanoseconds), nanoseconds);
        add(Some(&cell.received), received as u64);
        add(Some(&cell.sent), sent as u64);
    }
}

fn add(word: Option<&AtomicU64>, more: u64) {
    if let Some(word) = word {
        word.fetch_add(more, Relaxed);
    }
}

/// Never 0, the same in every process.
fn hash_of(name: &str) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish() | 1
}

impl Row {
    fn write_name(&self, name: &str) {
        for (word, bytes) in self.name.iter().zip(name.as_bytes().chunks(8)) {
            let mut eight = [0; 8];
            eight.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
            word.store(u64::from_le_bytes(eight), Relaxed);
        }
        self.length.store(name.len() as u64, Release);
    }

    /// `None`: it is nobody's yet.
    fn read_name(&self) -> Option<String> {
        let length = usize::try_from(self.length.load(Acquire)).ok().filter(|length| *length > 0)?;
        let bytes: Vec<u8> = self.name.iter().flat_map(|word| word.load(Relaxed).to_le_bytes()).take(length).collect();
        String::from_utf8(bytes).ok()
    }

    fn sum<const N: usize>(&self, of: impl Fn(&Cell) -> &[AtomicU64; N]) -> [u64; N] {
        let mut sum = [0u64; N];
        for cell in &self.cells {
            sum.iter_mut().zip(of(cell)).for_each(|(sum, word)| *sum += word.load(Relaxed));
        }
        sum
    }

    fn sum_one(&self, of: impl Fn(&Cell) -> &AtomicU64) -> u64 {
        self.cells.iter().map(|cell| of(cell).load(Relaxed)).sum()
    }
}

/// What was counted of a platform's calls.
pub(crate) struct Calls {
    /// `None`: of all those that have no place of their own.
    pub(crate) platform: Option<String>,
    pub(crate) outcomes: [u64; OUTCOMES.len()],
    /// Each by itself; the last one is what is beyond all ends.
    pub(crate) buckets: [u64; BUCKETS.len() + 1],
    pub(crate) nanoseconds: u64,
    pub(crate) received: u64,
    pub(crate) sent: u64,
}

/// Everything that was counted.
pub(crate) struct Counted {
    pub(crate) calls: Vec<Calls>,
    pub(crate) errors: [u64; ERRORS],
    pub(crate) refusals: [u64; REFUSALS.len()],
    pub(crate) deployments: [u64; DEPLOYED],
    pub(crate) databases: [u64; DEPLOYED],
    pub(crate) connections: u64,
    pub(crate) received: u64,
    pub(crate) sent: u64,
}

/// Adds everything up.
pub(crate) fn read() -> Option<Counted> {
    let counters = counters()?;
    let calls = rows().iter().enumerate().filter_map(|(place, row)| {
        let platform = row.read_name();
        (place == 0 || platform.is_some()).then(|| Calls {
            platform,
            outcomes: row.sum(|cell| &cell.outcomes),
            buckets: row.sum(|cell| &cell.buckets),
            nanoseconds: row.sum_one(|cell| &cell.nanoseconds),
            received: row.sum_one(|cell| &cell.received),
            sent: row.sum_one(|cell| &cell.sent),
        })
    });
    let wire = |of: fn(&Wire) -> &AtomicU64| counters.wire.iter().map(|wire| of(wire).load(Relaxed)).sum();
    Some(Counted {
        calls: calls.collect(),
        errors: counters.errors.each_ref().map(|word| word.load(Relaxed)),
        refusals: counters.refusals.each_ref().map(|word| word.load(Relaxed)),
        deployments: counters.deployments.each_ref().map(|word| word.load(Relaxed)),
        databases: counters.databases.each_ref().map(|word| word.load(Relaxed)),
        connections: counters.connections.load(Relaxed),
        received: wire(|wire| &wire.received),
        sent: wire(|wire| &wire.sent),
    })
}

/// Bytes of HTTP connections, heads and all.
pub(crate) fn wire(received: usize, sent: usize) {
    let wire = counters().and_then(|counters| counters.wire.get(SHARD.load(Relaxed)));
    for (word, more) in [(wire.map(|wire| &wire.received), received), (wire.map(|wire| &wire.sent), sent)] {
        if more > 0 {
            add(word, more as u64);
        }
    }
}

/// An error that was answered over HTTP, by the number of its code.
pub(crate) fn error(code: usize) {
    add(counters().and_then(|counters| counters.errors.get(code)), 1);
}

/// Somebody got no executor or no connection.
pub(crate) fn refusal(why: Refusal) {
    add(counters().and_then(|counters| counters.refusals.get(why as usize)), 1);
}

/// A deployment has ended, in that way.
pub(crate) fn deployment(outcome: usize) {
    add(counters().and_then(|counters| counters.deployments.get(outcome)), 1);
}

/// A deployment has ended in one database, in that way.
pub(crate) fn deployed(outcome: usize) {
    add(counters().and_then(|counters| counters.databases.get(outcome)), 1);
}

/// An HTTP connection was accepted.
pub(crate) fn connection() {
    add(counters().map(|counters| &counters.connections), 1);
}

/// Whether one more line of a kind may go to the log, of those of all processes together. One that may not is counted.
pub(crate) fn may_log(line: Line, limit: Option<Rate>) -> bool {
    let (Some(limit), Some(lines)) = (limit, lines(line)) else { return true };
    let may = limit.take(&lines.bucket, monotonic()).is_ok();
    if !may {
        lines.left_out.fetch_add(1, Relaxed);
    }
    may
}

/// How many lines of a kind were left out since somebody asked.
pub(crate) fn left_out(line: Line) -> u64 {
    lines(line).map_or(0, |lines| lines.left_out.swap(0, AcqRel))
}

fn lines(line: Line) -> Option<&'static Lines> {
    counters()?.log.get(line as usize)
}
