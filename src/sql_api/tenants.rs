//! Platforms and the life of tenants, from SQL.

use stonescriptdb_protocol::{BackendRequest, Failure, TenantVerb};

use super::{json, missing};
use crate::postgres::{Arguments, Returned};

/// `register_platform(platform)`.
pub(crate) fn register_platform(arguments: &Arguments) -> Result<Returned, Failure> {
    ask(TenantVerb::RegisterPlatform { platform: arguments.text(0).ok_or_else(|| missing("platform"))? })
}

fn ask(verb: TenantVerb) -> Result<Returned, Failure> {
    json(&BackendRequest::Tenants(verb))
}
