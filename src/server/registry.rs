//! Reading the registry's tables, on the main thread.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::Deserialize;

use super::lookup::{Entry, Lost, Oids, Platform, Registry, Schema, Tenants};
use super::tokens::{Index, Scopes, Token};
use crate::kept;
use crate::postgres::{PgError, transaction};
use crate::settings::parse_network;

/// Everything but the databases, as one JSON text.
const PLATFORMS: &str = "
SELECT pg_catalog.json_build_object('platforms', coalesce((SELECT pg_catalog.json_agg(pg_catalog.json_build_object(
    'platform', p.name, 'key', p.key, 'role', p.call_role, 'owner', p.owner_role, 'rate', p.rate, 'burst', p.burst,
    'networks', (SELECT coalesce(pg_catalog.json_agg(n::text), '[]') FROM pg_catalog.unnest(p.networks) n),
    'schemas', (SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_object('name', s.name, 'key', s.key)), '[]')
                FROM stonescriptdb.stored_schema s WHERE s.platform = p.name),
    'tokens', (SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
                          'hash', pg_catalog.encode(t.hash, 'hex'), 'expires', CASE WHEN isfinite(t.expires_at) THEN extract(epoch FROM t.expires_at) END,
                          'id', t.id, 'scopes', t.scopes, 'only', CASE WHEN t.for_tenant THEN coalesce((
                              SELECT c.datname FROM stonescriptdb.database d JOIN pg_catalog.pg_database c ON c.oid = d.datid
                              WHERE d.name = t.database), '') END)), '[]')
               FROM stonescriptdb.token t
               WHERE t.platform = p.name AND t.revoked_at IS NULL AND t.expires_at IS DISTINCT FROM '-infinity')))
    FROM stonescriptdb.platform p), '[]'),
    'lost', (SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_object('database', d.name, 'oid', c.oid::bigint)), '[]')
             FROM stonescriptdb.database d JOIN pg_catalog.pg_database c ON c.datname = d.name AND c.datallowconn AND NOT c.datistemplate
             WHERE d.state = 'ready' AND NOT EXISTS (SELECT FROM pg_catalog.pg_database x WHERE x.oid = d.datid)
               AND NOT EXISTS (SELECT FROM stonescriptdb.database o WHERE o.datid = c.oid)),
    'renamed', EXISTS (SELECT FROM stonescriptdb.database d JOIN pg_catalog.pg_database c ON c.oid = d.datid
                       WHERE d.state = 'ready' AND c.datname <> d.name
                         AND NOT EXISTS (SELECT FROM stonescriptdb.database o WHERE o.name = c.datname)))::text
WHERE $1 IS NULL";

/// The databases that exist, joined by OID so that a renamed one is followed: some at a time, in the order of the rows' names, so that the
/// text of all of them never is in memory at once.
const DATABASES: &str = "
SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
    'row', r.name, 'platform', r.platform, 'database', c.datname, 'oid', r.datid::bigint, 'schema', r.schema_name,
    'tenant', nullif(r.tenant_id, r.tenant_key), 'key', r.tenant_key, 'ready', r.state = 'ready', 'suspended', r.suspended)
    ORDER BY r.name), '[]')::text
FROM (SELECT d.* FROM stonescriptdb.database d WHERE $1 IS NULL OR d.name > $1::name ORDER BY d.name LIMIT 500) r
     LEFT JOIN pg_catalog.pg_database c ON c.oid = r.datid";
const PAGE: usize = 500;

#[derive(Deserialize)]
struct Everything {
    platforms: Vec<PlatformRow>,
    lost: Vec<Lost>,
    renamed: bool,
}

#[derive(Deserialize)]
struct PlatformRow {
    platform: String,
    key: String,
    role: String,
    owner: String,
    networks: Vec<String>,
    rate: Option<u32>,
    burst: Option<u32>,
    schemas: Vec<SchemaRow>,
    tokens: Vec<TokenRow>,
}

#[derive(Deserialize)]
struct SchemaRow {
    name: String,
    key: String,
}

#[derive(Deserialize)]
struct TokenRow {
    hash: String,
    /// Seconds since 1970.
    expires: Option<f64>,
    id: Box<str>,
    scopes: Vec<String>,
    only: Option<Box<str>>,
}

#[derive(Deserialize)]
struct DatabaseRow<'t> {
    #[serde(borrow)]
    row: Text<'t>,
    #[serde(borrow)]
    platform: Text<'t>,
    /// None where it is gone.
    #[serde(borrow)]
    database: Option<Text<'t>>,
    oid: Option<u32>,
    #[serde(borrow)]
    schema: Text<'t>,
    #[serde(borrow)]
    tenant: Option<Text<'t>>,
    #[serde(borrow)]
    key: Text<'t>,
    ready: bool,
    #[serde(borrow)]
    suspended: Option<Text<'t>>,
}

/// A text as it stands in the JSON, copied only where something in it is escaped.
#[derive(Deserialize)]
#[serde(transparent)]
struct Text<'t>(#[serde(borrow)] Cow<'t, str>);

/// Reads the whole registry. Without the extension it is empty. Targets that were known `before` are shared with it.
pub(super) fn read(before: &Registry) -> Result<Registry, PgError> {
    transaction(|| {
        let there = kept::look::<bool>(
            "SELECT pg_catalog.to_regclass('stonescriptdb.platform') IS NOT NULL AND pg_catalog.to_regclass('stonescriptdb.token') IS NOT NULL",
            &[],
        )?;
        if there != Some(true) {
            return Ok(Registry::default());
        }
        let version = kept::look::<String>(
            "SELECT (SELECT extversion FROM pg_catalog.pg_extension WHERE extname = 'stonescriptdb')",
            &[],
        )?;
        if let Some(version) = version.filter(|version| version != env!("CARGO_PKG_VERSION")) {
            return Ok(Registry { outdated: Some(version), ..Registry::default() });
        }
        let text = text_of(PLATFORMS, None)?;
        let everything: Everything = parsed(&text)?;
        let mut registry = Registry {
            installed: true,
            outdated: None,
            platforms: HashMap::new(),
            oids: Oids::default(),
            lost: everything.lost,
            renamed: everything.renamed,
            tokens: Index::default(),
        };
        // By the platform's name: its key and its call role.
        let mut known: HashMap<String, (String, Arc<str>)> = HashMap::new();
        for row in everything.platforms {
            known.insert(row.platform.clone(), (row.key.clone(), row.role.as_str().into()));
            let (key, platform) = (row.key.clone(), platform(row));
            let shared: Arc<str> = key.as_str().into();
            platform.tokens.iter().for_each(|token| registry.tokens.add(&token.hash, &shared));
            registry.platforms.insert(key, platform);
        }
        let mut last = None;
        let mut oids = Vec::new();
        loop {
            let text = text_of(DATABASES, last.as_deref())?;
            let page: Vec<DatabaseRow> = parsed(&text)?;
            for row in &page {
                let Some((key, role)) = known.get(&*row.platform.0) else { continue };
                if let Some(platform) = registry.platforms.get_mut(key) {
                    oids.extend(enter(platform, before.platforms.get(key), role, row));
                }
            }
            if page.len() < PAGE {
                break;
            }
            last = page.last().map(|row| row.row.0.to_string());
        }
        registry.oids = oids.into_iter().collect();
        for (key, platform) in &mut registry.platforms {
            let before = before.platforms.get(key);
            platform.schemas.iter_mut().for_each(|(key, schema)| schema.tenants.order(tenants_of(before, key)));
        }
        Ok(registry)
    })
}

/// Asks the control database whether the extension is in it, and can be read.
///
/// # Errors
/// PostgreSQL's own.
pub(super) fn probe() -> Result<bool, PgError> {
    transaction(|| {
        if kept::look::<bool>("SELECT pg_catalog.to_regclass('stonescriptdb.platform') IS NOT NULL", &[])? != Some(true)
        {
            return Ok(false);
        }
        kept::look::<bool>("SELECT EXISTS (SELECT FROM stonescriptdb.platform)", &[])?;
        Ok(true)
    })
}

fn text_of(query: &str, after: Option<&str>) -> Result<String, PgError> {
    Ok(kept::look::<String>(query, &[after.into()])?.unwrap_or_default())
}

fn parsed<'t, T: Deserialize<'t>>(text: &'t str) -> Result<T, PgError> {
    serde_json::from_str(text).map_err(|error| PgError::new("XX000", error.to_string()))
}

fn tenants_of<'r>(platform: Option<&'r Platform>, schema_key: &str) -> Option<&'r Tenants> {
    Some(&platform?.schemas.get(schema_key)?.tenants)
}

fn platform(row: PlatformRow) -> Platform {
    let schemas = row
        .schemas
        .into_iter()
        .map(|schema| (schema.key, Schema { name: schema.name, tenants: Tenants::default() }))
        .collect();
    let tokens = row.tokens.into_iter().filter_map(token).collect();
    // What is a cidr to PostgreSQL parses; if it ever did not, nobody would be let in by it.
    let closed = !row.networks.is_empty();
    let networks: Vec<_> = row.networks.iter().filter_map(|network| parse_network(network)).collect();
    let networks = closed.then(|| networks.into());
    Platform {
        name: row.platform,
        owner: row.owner.into(),
        schemas,
        tokens,
        networks,
        rate: row.rate,
        burst: row.burst,
    }
}

/// Enters a database into its platform, and gives its OID, unless it is gone.
fn enter(platform: &mut Platform, before: Option<&Platform>, role: &Arc<str>, row: &DatabaseRow<'_>) -> Option<u32> {
    let database = &row.database.as_ref()?.0;
    let schema_key = stonescriptdb_protocol::sanitise(&row.schema.0);
    let known = tenants_of(before, &schema_key);
    // The platform's own schema may have no row yet.
    let tenants = &mut platform.schemas.entry(schema_key).or_default().tenants;
    if tenants.is_empty() {
        *tenants = Tenants::of(role.clone(), known);
    }
    tenants.enter(Entry {
        database,
        key: &row.key.0,
        written: row.tenant.as_ref().map(|text| &*text.0),
        suspended: row.suspended.as_ref().map(|text| &*text.0),
        ready: row.ready,
    });
    row.oid
}

fn token(row: TokenRow) -> Option<Token> {
    let mut hash = [0; 32];
    for (place, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(row.hash.get(place * 2..place * 2 + 2)?, 16).ok()?;
    }
    let at = |seconds: f64| {
        let since = Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or_default();
        SystemTime::UNIX_EPOCH.checked_add(since).unwrap_or(SystemTime::UNIX_EPOCH)
    };
    let scopes = Scopes::named(&row.scopes);
    Some(Token { id: row.id, hash, expires: row.expires.map(at), scopes, only: row.only })
}
