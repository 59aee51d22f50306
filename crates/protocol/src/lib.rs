//! What the server worker (the broker), the executors and ordinary backends say to each other, and the names they agree on.
//!
//! No pgrx here and no I/O: the parties differ in how they wait (tokio in the server worker, latches in the others), so this
//! crate only turns messages into bytes and back.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic))]

mod archive;
mod control;
mod deployment;
mod direct;
mod failure;
mod fleet;
mod frame;
mod message;
mod names;
mod number;
mod rate;
mod tenants;
mod trace;

pub use archive::Archive;
pub use control::{
    Asked, ControlRequest, Deployment, Prepared, PreparedBundle, PreparedDatabase, ProofOf, Refused, Settled, Shown,
    Template, TemplateKey,
};
pub use deployment::{
    AdoptRequest, Change, DeployAnswer, DeployMode, DeployOptions, DeployReport, DeployRequest, DriftRow,
    ExtensionSpec, MissingRows, PlannedStep, ProveRequest, Proved, Reuse, SeederCheck, SeederRows, Start, Summary,
    Validation, Verification,
};
pub use direct::{GivenBack, Handover, Limit, SentNames};
pub use failure::{ErrorCode, Failure};
pub use fleet::{Counts, DatabaseOutcome, Finish, FleetOptions, Outcome, Progress, Selection};
pub use frame::{
    FrameError, FrameKind, HEADER_LEN, Header, MAX_FRAME, decode_with_tail, encode, encode_with, frame_header,
};
pub use message::{
    Access, BackendRequest, BatchRequest, CallRequest, DescribeRequest, Described, ExecutorRequest, Form, Hello,
    OneCall, RequestContext, RowsHeader, Rules, WorkerRow,
};
pub use names::{MAIN_TENANT, NameError, Named, database_name, is_main, is_uuid, sanitise, stored_database_name};
pub use number::whole_number;
pub use rate::Rate;
pub use tenants::{
    Listing, LostDatabase, Overview, Recognised, Restore, RestoredState, TenantName, TenantVerb, TenantWork, TokenSpec,
};
pub use trace::{is_traceparent, is_tracestate, one_traceparent, traceparent_in, tracestate_in};
