//! Platforms and the life of tenants, from SQL.

use stonescriptdb_protocol::{BackendRequest, Failure, TenantName, TenantVerb};

use super::{asked, invalid, json, missing};
use crate::postgres::{Arguments, Returned};

/// `register_platform(platform)`.
pub(crate) fn register_platform(arguments: &Arguments) -> Result<Returned, Failure> {
    ask(TenantVerb::RegisterPlatform { platform: arguments.text(0).ok_or_else(|| missing("platform"))? })
}

fn ask(verb: TenantVerb) -> Result<Returned, Failure> {
    json(&BackendRequest::Tenants(verb))
}

/// `rename_tenant(platform, tenant_id, new_tenant_id, schema_name)`.
pub(crate) fn rename_tenant(arguments: &Arguments) -> Result<Returned, Failure> {
    ask(TenantVerb::Rename { tenant: tenant(arguments, 3)?, to: text(arguments, 2, "new_tenant_id")? })
}

/// `copy_tenant(platform, tenant_id, new_tenant_id, schema_name)`.
pub(crate) fn copy_tenant(arguments: &Arguments) -> Result<Returned, Failure> {
    ask(TenantVerb::Copy { tenant: tenant(arguments, 3)?, to: text(arguments, 2, "new_tenant_id")? })
}

/// `suspend_tenant(platform, tenant_id, reason, schema_name)`.
pub(crate) fn suspend_tenant(arguments: &Arguments) -> Result<Returned, Failure> {
    ask(TenantVerb::Suspend { tenant: tenant(arguments, 3)?, reason: arguments.text(2) })
}

/// `resume_tenant(platform, tenant_id, schema_name)`.
pub(crate) fn resume_tenant(arguments: &Arguments) -> Result<Returned, Failure> {
    ask(TenantVerb::Resume { tenant: tenant(arguments, 2)? })
}

/// `adopt(platform, database, tenant_id, schema_name)`.
pub(crate) fn adopt(arguments: &Arguments) -> Result<Returned, Failure> {
    let tenant = TenantName {
        platform: text(arguments, 0, "platform")?,
        schema: arguments.text(3),
        tenant: text(arguments, 2, "tenant_id")?,
    };
    ask(TenantVerb::Adopt { tenant, database: text(arguments, 1, "database")?, by: Some(asked().by) })
}

/// The tenant of a function whose first arguments are platform and tenant_id.
fn tenant(arguments: &Arguments, schema: usize) -> Result<TenantName, Failure> {
    Ok(TenantName {
        platform: text(arguments, 0, "platform")?,
        schema: arguments.text(schema),
        tenant: text(arguments, 1, "tenant_id")?,
    })
}

fn text(arguments: &Arguments, place: usize, name: &str) -> Result<String, Failure> {
    let text = arguments.text(place).ok_or_else(|| missing(name))?;
    if text.is_empty() { Err(invalid(format!("the argument {name} must not be empty"))) } else { Ok(text) }
}
