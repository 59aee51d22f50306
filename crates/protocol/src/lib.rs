//! What the server worker (the broker), the executors and ordinary backends say to each other, and the names they agree on.
//!
//! No pgrx here and no I/O: the parties differ in how they wait (tokio in the server worker, latches in the others), so this
//! crate only turns messages into bytes and back.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic))]

mod failure;
mod frame;
mod message;
mod names;
mod number;

pub use failure::{ErrorCode, Failure};
pub use frame::{FrameError, FrameKind, HEADER_LEN, Header, MAX_FRAME, encode, frame_header};
pub use message::{
    Asked, BackendRequest, CallRequest, Change, ControlRequest, DatabaseOutcome, DatabaseRow, DeployMode,
    DeployOptions, DeployReport, DeployRequest, ExecutorRequest, ExtensionSpec, Finish, Hello, Prepare, Prepared,
    PreparedDatabase, RowsHeader, SeederCheck, SeederRows, Validation, Verification, WorkerRow,
};
pub use names::{MAIN_TENANT, NameError, Named, database_name, is_main, sanitise};
pub use number::whole_number;
