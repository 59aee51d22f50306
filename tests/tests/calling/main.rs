//! What a call can ask for beside its function: time limits, what the request carries, reading by GET, batches, new attempts.

mod batches;
mod context;
mod limits;
mod once;
mod reading;
mod retries;
