//! The life of tenants: renamed, copied, suspended, taken over. Each leaves the registry true wherever it stops.

use stonescriptdb_protocol::{AdoptRequest, ErrorCode, Failure, Named, TenantName};

use super::{execute, execute_once, finish, prepare, registry, roles, spi};
use crate::postgres::{quote_identifier, toplevel, transaction};
use crate::query;

/// A tenant's row, by its database.
struct Row {
    platform: String,
    platform_key: String,
    schema: String,
    schema_key: String,
    tenant_key: String,
    owner_role: String,
    call_role: String,
}

fn row_of(database: &str) -> Result<Row, Failure> {
    query::select(
        "SELECT p.name, p.key, d.schema_name, coalesce(s.key, ''), d.tenant_key, p.owner_role::text, p.call_role::text
                 FROM stonescriptdb.database d JOIN stonescriptdb.platform p ON p.name = d.platform
                      LEFT JOIN stonescriptdb.stored_schema s ON s.platform = d.platform AND s.name = d.schema_name
                 WHERE d.datid = (SELECT oid FROM pg_database WHERE datname = $1) AND d.state = 'ready'",
        &[database.into()],
        |mut rows| {
            let row = rows.next().ok_or_else(|| gone(database))?;
            let text = |place: usize| Ok::<_, Failure>(row.get::<String>(place).map_err(spi)?.unwrap_or_default());
            Ok(Row {
                platform: text(1)?,
                platform_key: text(2)?,
                schema: text(3)?,
                schema_key: text(4)?,
                tenant_key: text(5)?,
                owner_role: text(6)?,
                call_role: text(7)?,
            })
        },
    )
}

fn gone(database: &str) -> Failure {
    Failure::new(ErrorCode::DatabaseNotFound, format!("the database \"{database}\" is no tenant's any more"))
        .database(database)
}

/// A new tenant's name beside an old one's: free in its schema.
fn new_tenant(row: &Row, to: &str) -> Result<(Named, String), Failure> {
    let (tenant, database) = prepare::tenant_and_database(&row.platform_key, &row.schema_key, Some(to))?;
    let taken = registry::databases(&row.platform, &row.schema, Some(&tenant.key))?.pop();
    match taken {
        None => Ok((tenant, database)),
        Some(taken) if taken.tenant.written == tenant.written => Err(Failure::new(
            ErrorCode::DatabaseAlreadyExists,
            format!("the platform \"{}\" has a tenant \"{}\" already", row.platform, tenant.written),
        )
        .database(taken.name)),
        Some(taken) => Err(registry::collision(format!(
            "the tenants \"{}\" and \"{}\" would both be \"{database}\"",
            taken.tenant.written, tenant.written
        ))
        .database(taken.name)),
    }
}

/// Gives a tenant and its database another name: the database and all that is recorded of it, in one transaction.
///
/// # Errors
/// `database_already_exists`, `name_collision`; `lock_timeout` while somebody is connected to the database.
pub(super) fn rename(database: &str, to: &str) -> Result<String, Failure> {
    transaction(|| {
        let row = row_of(database)?;
        prepare::lock_platform(&row.platform_key)?;
        let (tenant, name) = match new_tenant(&row, to) {
            // Only its spelling changes: what it sanitises to stays.
            Err(_) if stonescriptdb_protocol::sanitise(to) == row.tenant_key => {
                prepare::tenant_and_database(&row.platform_key, &row.schema_key, Some(to))?
            }
            found => found?,
        };
        if name != database {
            registry::require_free(&name, database)?;
        }
        execute(
            "UPDATE stonescriptdb.deployment_database x SET database = $2, tenant_id = $3
             FROM stonescriptdb.database d, stonescriptdb.deployment r
             WHERE d.datid = (SELECT oid FROM pg_database WHERE datname = $1) AND r.id = x.deployment_id
               AND r.platform = d.platform AND r.schema_name = d.schema_name AND x.tenant_id = d.tenant_id",
            &[database.into(), name.as_str().into(), tenant.written.as_str().into()],
        )?;
        execute(
            "UPDATE stonescriptdb.database SET name = $2, tenant_id = $3, tenant_key = $4
             WHERE datid = (SELECT oid FROM pg_database WHERE datname = $1)",
            &[database.into(), name.as_str().into(), tenant.written.as_str().into(), tenant.key.as_str().into()],
        )?;
        if name != database {
            let (from, to) = (quote_identifier(database), quote_identifier(&name));
            execute_once(&format!("ALTER DATABASE {from} RENAME TO {to}"), &[])?;
        }
        Ok(name)
    })
    .map_err(|failure| in_use(database, failure))
}

/// Makes a tenant whose database is a copy of another's.
///
/// # Errors
/// `database_already_exists`, `name_collision`; `lock_timeout` while somebody is connected to the database that is copied.
pub(super) fn copy(database: &str, to: &str) -> Result<String, Failure> {
    let (row, name) = transaction(|| {
        let row = row_of(database)?;
        prepare::lock_platform(&row.platform_key)?;
        let (tenant, name) = new_tenant(&row, to)?;
        // If this stops on the way, the next start finds the row and drops what is left.
        registry::claim(&row.platform, &row.schema, &tenant, &name, false)?;
        Ok::<_, Failure>((row, name))
    })?;
    let copied = match toplevel::create_database(&name, &row.owner_role, database) {
        Ok(()) => copied(database, &name, &row),
        Err(error) => Err(Failure::from(error)),
    };
    if let Err(failure) = copied {
        // A cancel that came meanwhile was for the copy.
        crate::postgres::wait::forget_cancel();
        toplevel::drop_database(&name)?;
        transaction(|| finish::forget(&name))?;
        return Err(in_use(database, failure));
    }
    Ok(name)
}

fn copied(database: &str, name: &str, row: &Row) -> Result<(), Failure> {
    transaction(|| {
        roles::close_database(name, &row.owner_role, &row.call_role)?;
        execute(
            "UPDATE stonescriptdb.database d SET datid = c.oid, state = 'ready', bundle_sha256 = f.bundle_sha256, touched = f.touched,
                 unfinished = f.unfinished, deployment_id = f.deployment_id, deployed_at = f.deployed_at, drift = f.drift,
                 checked_at = f.checked_at, size_bytes = pg_database_size(c.oid), measured_at = clock_timestamp()
             FROM pg_database c, stonescriptdb.database f
             WHERE d.name = $2 AND c.datname = $2 AND f.datid = (SELECT oid FROM pg_database WHERE datname = $1)",
            &[database.into(), name.into()],
        )
    })
}

/// PostgreSQL's word that others are connected to a database, with their names.
fn in_use(database: &str, failure: Failure) -> Failure {
    if failure.sqlstate.as_deref() != Some("55006") {
        return failure;
    }
    let holders = transaction(|| {
        query::one::<String>(
            "SELECT string_agg(format('pid %s (role %s, application \"%s\")', a.pid, coalesce(a.usename::text, 'none'), a.application_name), '; ')
             FROM pg_stat_activity a WHERE a.datname = $1",
            &[database.into()],
        )
        .map_err(spi)
    });
    let failure = Failure { code: ErrorCode::LockTimeout, database: Some(database.to_owned()), ..failure };
    match holders {
        Ok(Some(holders)) => failure.detail(format!("Connected to it: {holders}.")),
        _ => failure,
    }
}

/// Has calls of a tenant refused, or not any more.
///
/// # Errors
/// PostgreSQL's own.
pub(super) fn suspend(database: &str, reason: Option<&str>) -> Result<(), Failure> {
    transaction(|| {
        execute(
            "UPDATE stonescriptdb.database SET suspended = $2 WHERE datid = (SELECT oid FROM pg_database WHERE datname = $1)",
            &[database.into(), reason.into()],
        )
    })
}

/// Enters a database that exists as a tenant's that is being taken over.
///
/// # Errors
/// `database_not_found`; `invalid_request` for a database that cannot be a tenant's; `name_collision` for one that is another tenant's,
/// `database_already_exists` for a tenant that has one.
pub(super) fn begin_adopt(tenant: &TenantName, database: &str, by: Option<&str>) -> Result<AdoptRequest, Failure> {
    let named = Named::new("platform", &tenant.platform).map_err(prepare::bad_name)?;
    let schema = tenant.schema.as_deref().filter(|name| !name.is_empty());
    let schema = schema.map(|name| Named::new("schema", name)).transpose().map_err(prepare::bad_name)?;
    transaction(|| {
        prepare::lock_platform(&named.key)?;
        let platform = registry::platform(&named)?.ok_or_else(|| prepare::no_platform(&named.written))?;
        let written = schema.as_ref().map_or("", |schema| schema.written.as_str());
        let schema = registry::schema(&platform.name, schema.as_ref())?
            .ok_or_else(|| prepare::no_schema(&platform.name, written))?;
        require_adoptable(database)?;
        if let Some(by) = by {
            require_owner(database, by)?;
        }
        let row = Row {
            platform: platform.name.clone(),
            platform_key: named.key.clone(),
            schema: schema.name.clone(),
            schema_key: schema.key.clone(),
            tenant_key: String::new(),
            owner_role: platform.owner_role.clone(),
            call_role: platform.call_role.clone(),
        };
        let (name, _) = new_tenant(&row, &tenant.tenant)?;
        registry::claim(&platform.name, &schema.name, &name, database, true)?;
        Ok(AdoptRequest {
            of_gateway: false,
            by: by.map(str::to_owned),
            owner_role: platform.owner_role,
            call_role: platform.call_role,
        })
    })
}

/// Refuses what can be no tenant's, whatever is in it.
///
/// # Errors
/// `database_not_found`; `invalid_request` for the control database, a template, another encoding.
pub(super) fn require_adoptable(database: &str) -> Result<(), Failure> {
    let why_not = query::one::<String>(
        "SELECT (SELECT CASE WHEN c.datname = current_database() THEN 'it is the control database'
                             WHEN c.datistemplate OR NOT c.datallowconn THEN 'it is a template'
                             WHEN EXISTS (SELECT FROM stonescriptdb.template t WHERE t.datid = c.oid) THEN 'it is a template'
                             WHEN pg_encoding_to_char(c.encoding) <> 'UTF8' THEN 'its encoding is not UTF8' ELSE '' END
                 FROM pg_database c WHERE c.datname = $1)",
        &[database.into()],
    );
    match why_not.map_err(spi)?.as_deref() {
        None => Err(Failure::new(ErrorCode::DatabaseNotFound, format!("there is no database \"{database}\""))),
        Some("") => Ok(()),
        Some(why) => Err(Failure::new(
            ErrorCode::InvalidRequest,
            format!("the database \"{database}\" cannot be a tenant's: {why}"),
        )),
    }
    .map_err(|failure| failure.database(database))
}

/// Who may use this extension's functions owns no databases by that.
///
/// # Errors
/// 42501.
pub(super) fn require_owner(database: &str, by: &str) -> Result<(), Failure> {
    let owns = query::one::<bool>(
        "SELECT (SELECT pg_has_role($2, c.datdba, 'USAGE') FROM pg_database c WHERE c.datname = $1)",
        &[database.into(), by.into()],
    );
    if owns.map_err(spi)? == Some(true) {
        return Ok(());
    }
    let failure = Failure::new(ErrorCode::QueryFailed, format!("must be owner of database {database}"));
    Err(Failure { sqlstate: Some("42501".to_owned()), ..failure }.database(database))
}

/// Ends what [`begin_adopt`] began: the database is the tenant's, or its row goes.
///
/// # Errors
/// PostgreSQL's own.
pub(super) fn end_adopt(database: &str, taken: bool) -> Result<(), Failure> {
    transaction(|| {
        if !taken {
            return execute(
                "DELETE FROM stonescriptdb.database WHERE name = $1 AND state = 'adopting'",
                &[database.into()],
            );
        }
        let (owner, call) = query::two::<String, String>(
            "SELECT p.owner_role::text, p.call_role::text FROM stonescriptdb.database d
             JOIN stonescriptdb.platform p ON p.name = d.platform WHERE d.name = $1",
            &[database.into()],
        )
        .map_err(spi)?;
        let (Some(owner), Some(call)) = (owner, call) else { return Err(gone(database)) };
        roles::close_database(database, &owner, &call)?;
        execute(
            "UPDATE stonescriptdb.database SET state = 'ready', touched = true, size_bytes = pg_database_size(datid),
                 measured_at = clock_timestamp() WHERE name = $1",
            &[database.into()],
        )
    })
}

/// Forgets a tenant whose database was dropped by other means; none if there is no such row.
///
/// # Errors
/// PostgreSQL's own.
pub(super) fn forget_missing(tenant: &TenantName, confirm: &str) -> Result<Option<String>, Failure> {
    let schema = tenant.schema.as_deref().unwrap_or_default();
    let key = |name: &str| stonescriptdb_protocol::sanitise(name);
    let tenant_key = match stonescriptdb_protocol::is_main(Some(&tenant.tenant)) {
        true => stonescriptdb_protocol::MAIN_TENANT.to_owned(),
        false => key(&tenant.tenant),
    };
    transaction(|| {
        query::update("DELETE FROM stonescriptdb.database d USING stonescriptdb.platform p
                     WHERE p.name = d.platform AND $1 IN (p.name, p.key) AND $2 IN (d.schema_name, (SELECT s.key
                               FROM stonescriptdb.stored_schema s WHERE s.platform = d.platform AND s.name = d.schema_name))
                       AND ($3 = d.tenant_id OR $4 = d.tenant_key AND $3 = $4) AND d.name = $5 AND d.state = 'ready'
                       AND NOT EXISTS (SELECT FROM pg_database c WHERE c.oid = d.datid)
                     RETURNING d.name::text", &[
                        tenant.platform.as_str().into(),
                        schema.into(),
                        tenant.tenant.as_str().into(),
                        tenant_key.as_str().into(),
                        confirm.into(),
                    ], |mut rows| {
            let Some(row) = rows.next() else { return Ok(None) };
            Ok::<_, Failure>(row.get::<String>(1).map_err(spi)?)
        })
    })
}
