//! Templates: databases in which bundles were built from nothing, kept closed to make tenants from.

use stonescriptdb_protocol::{Failure, ProofOf, Proved, Shown, Template, TemplateKey};

use super::{bundles, execute, execute_once, registry, roles, spi};
use crate::kept;
use crate::postgres::{MAJOR, quote_identifier, toplevel, transaction};
use crate::query;

const PREFIX: &str = "stonescriptdb_template_";
/// NAMEDATALEN less the zero.
const MAX_NAME: usize = 63;
/// Characters of the checksum in a template's name.
const MARK: usize = 16;

/// A new name for a template: the platform, as far as there is room, and something that no other has. It says nothing of the bundle, for
/// a template may pass from one to the next.
fn new_name(key: &TemplateKey) -> String {
    let platform = stonescriptdb_protocol::sanitise(&key.platform);
    let mark: String = uuid::Uuid::new_v4().simple().to_string().chars().take(MARK).collect();
    let kept: String = platform.chars().take(MAX_NAME - PREFIX.len() - MARK - 1).collect();
    format!("{PREFIX}{kept}_{mark}")
}

/// Creates the database in which a bundle is to be proved, empty, if its template is not there and ready.
///
/// # Errors
/// PostgreSQL's own.
pub(super) fn ensure(key: &TemplateKey) -> Result<Template, Failure> {
    let (known, is_ready, owner, call) = transaction(|| {
        let (owner, call) = registry::roles_of(&key.platform)?;
        let is_ready = query::one::<bool>(
            "SELECT EXISTS (SELECT FROM stonescriptdb.template t JOIN pg_database c ON c.oid = t.datid AND c.datname = t.database
                            JOIN stonescriptdb.bundle b USING (platform, sha256)
                            WHERE platform = $1 AND sha256 = $2 AND t.state = 'ready' AND b.proved_on = $3)",
            &[key.platform.as_str().into(), key.sha256.as_str().into(), MAJOR.into()],
        )
        .map_err(spi)?;
        Ok::<_, Failure>((stored_name(key)?, is_ready == Some(true), owner, call))
    })?;
    if let (Some(database), true) = (&known, is_ready) {
        return Ok(Template { database: database.clone(), is_ready });
    }
    // Half built, another major version's, or its database was dropped by other means.
    if let Some(leftover) = known {
        drop_database(&leftover)?;
    }
    let database = new_name(key);
    transaction(|| {
        execute(
            "INSERT INTO stonescriptdb.template (platform, sha256, database, state) VALUES ($1, $2, $3, 'building')
             ON CONFLICT (platform, sha256) DO UPDATE SET database = excluded.database, state = 'building', datid = NULL",
            &[key.platform.as_str().into(), key.sha256.as_str().into(), database.as_str().into()],
        )
    })?;
    toplevel::create_database(&database, &owner, "template0")?;
    transaction(|| {
        execute(
            "UPDATE stonescriptdb.template SET datid = (SELECT oid FROM pg_database WHERE datname = $1) WHERE database = $1",
            &[database.as_str().into()],
        )?;
        roles::close_database(&database, &owner, &call)
    })?;
    Ok(Template { database, is_ready: false })
}

/// Stores what was proved and closes the template to everybody.
///
/// # Errors
/// PostgreSQL's own.
pub(super) fn seal(key: &TemplateKey, proved: &Proved) -> Result<(), Failure> {
    let json = |value: serde_json::Result<String>| value.map_err(|error| Failure::internal(error.to_string()));
    let summary = json(serde_json::to_string(&proved.summary))?;
    transaction(|| {
        execute(
            "UPDATE stonescriptdb.bundle SET proof = $3, seeds = $4, summary = $5::jsonb, clonable = $6, fingerprint = $7, plain = $8,
                 bodies = $9, proved_on = $10, proved_at = clock_timestamp()
             WHERE platform = $1 AND sha256 = $2",
            &[
                key.platform.as_str().into(),
                key.sha256.as_str().into(),
                proved.proof.as_str().into(),
                proved.seeds.as_str().into(),
                summary.as_str().into(),
                proved.clonable.into(),
                proved.fingerprint.as_str().into(),
                proved.plain.into(),
                proved.bodies.as_deref().into(),
                MAJOR.into(),
            ],
        )?;
        execute(
            "UPDATE stonescriptdb.template SET state = 'ready' WHERE platform = $1 AND sha256 = $2",
            &[key.platform.as_str().into(), key.sha256.as_str().into()],
        )?;
        let Some(database) = stored_name(key)? else { return Err(Failure::internal("a template is gone")) };
        close(&database)
    })
}

/// The template that a bundle has. It may have been another bundle's before.
fn stored_name(key: &TemplateKey) -> Result<Option<String>, Failure> {
    kept::one::<String>(
        "SELECT (SELECT database::text FROM stonescriptdb.template WHERE platform = $1 AND sha256 = $2)",
        &[key.platform.as_str().into(), key.sha256.as_str().into()],
    )
    .map_err(Failure::from)
}

/// Makes the template of one bundle that of another, open to be changed. Until it is sealed again neither has one.
///
/// # Errors
/// PostgreSQL's own.
pub(super) fn reuse(from: &TemplateKey, to: &TemplateKey) -> Result<Option<String>, Failure> {
    transaction(|| {
        let database = query::one::<String>(
            "SELECT (SELECT t.database::text FROM stonescriptdb.template t JOIN pg_database c ON c.oid = t.datid AND c.datname = t.database
                     WHERE t.platform = $1 AND t.sha256 = $2 AND t.state = 'ready')",
            &[from.platform.as_str().into(), from.sha256.as_str().into()],
        )
        .map_err(spi)?;
        let Some(database) = database else { return Ok(None) };
        execute(
            "UPDATE stonescriptdb.template SET sha256 = $3, state = 'building' WHERE platform = $1 AND sha256 = $2
             AND NOT EXISTS (SELECT FROM stonescriptdb.template t WHERE t.platform = $1 AND t.sha256 = $3)",
            &[from.platform.as_str().into(), from.sha256.as_str().into(), to.sha256.as_str().into()],
        )?;
        if stored_name(to)?.as_deref() != Some(database.as_str()) {
            return Ok(None);
        }
        execute_once(&format!("ALTER DATABASE {} WITH ALLOW_CONNECTIONS true", quote_identifier(&database)), &[])?;
        Ok::<_, Failure>(Some(database))
    })
}

/// The reverse of [`reuse`]; `false` if the template is no more the one that was taken over.
///
/// # Errors
/// PostgreSQL's own.
pub(super) fn give_back(from: &TemplateKey, to: &TemplateKey, database: &str) -> Result<bool, Failure> {
    transaction(|| {
        let returned = kept::update(
            "UPDATE stonescriptdb.template t SET sha256 = $3, state = 'ready'
             WHERE platform = $1 AND sha256 = $2 AND database = $4 AND state = 'building'
               AND NOT EXISTS (SELECT FROM stonescriptdb.template o WHERE o.platform = $1 AND o.sha256 = $3)
             RETURNING true",
            &[to.platform.as_str().into(), to.sha256.as_str().into(), from.sha256.as_str().into(), database.into()],
            |mut rows| Ok::<_, Failure>(rows.next().is_some()),
        )?;
        if returned {
            close(database)?;
        }
        Ok(returned)
    })
}

/// Lets nobody into a template any more.
fn close(database: &str) -> Result<(), Failure> {
    let database = quote_identifier(database);
    execute_once(&format!("ALTER DATABASE {database} WITH ALLOW_CONNECTIONS false IS_TEMPLATE true"), &[])
}

/// Drops a template and forgets it. The platform, and with it every row about the template, may be gone before it.
///
/// # Errors
/// PostgreSQL's own.
pub(super) fn drop(key: &TemplateKey, database: Option<&str>) -> Result<(), Failure> {
    let stored = transaction(|| stored_name(key))?;
    if let Some(database) = stored.as_deref().or(database) {
        // What is not called so is no template of ours.
        if database.starts_with(PREFIX) && transaction(|| is_an_owners(database))? {
            drop_database(database)?;
        }
    }
    transaction(|| {
        execute(
            "DELETE FROM stonescriptdb.template WHERE platform = $1 AND sha256 = $2",
            &[key.platform.as_str().into(), key.sha256.as_str().into()],
        )
    })
}

/// Whether a database belongs to a role that owns a platform's databases, or did.
fn is_an_owners(database: &str) -> Result<bool, Failure> {
    let owned = query::one::<bool>(
        "SELECT EXISTS (SELECT FROM pg_database c JOIN pg_roles r ON r.oid = c.datdba
                        WHERE c.datname = $1 AND starts_with(shobj_description(r.oid, 'pg_authid'), 'stonescriptdb: owns'))",
        &[database.into()],
    );
    Ok(owned.map_err(spi)? == Some(true))
}

fn drop_database(database: &str) -> Result<(), Failure> {
    transaction(|| {
        let is_template = query::one::<bool>(
            "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1 AND datistemplate)",
            &[database.into()],
        )
        .map_err(spi)?;
        if is_template == Some(true) {
            execute_once(&format!("ALTER DATABASE {} WITH IS_TEMPLATE false", quote_identifier(database)), &[])?;
        }
        Ok::<_, Failure>(())
    })?;
    Ok(toplevel::drop_database(database)?)
}

/// Templates that were superseded: of bundles that no tenant is in the state of, that are no schema's newest, nor the last proved.
///
/// # Errors
/// PostgreSQL's own.
pub(super) fn unused(platform: &str) -> Result<Vec<TemplateKey>, Failure> {
    transaction(|| {
        keys(
            "SELECT t.platform, t.sha256 FROM stonescriptdb.template t JOIN stonescriptdb.bundle b USING (platform, sha256)
             WHERE t.platform = $1 AND t.state = 'ready'
               AND NOT EXISTS (SELECT FROM stonescriptdb.database d WHERE d.platform = t.platform AND d.bundle_sha256 = t.sha256)
               AND NOT EXISTS (SELECT FROM stonescriptdb.stored_schema s WHERE s.platform = t.platform AND s.bundle_sha256 = t.sha256)
               AND b.proved_at IS DISTINCT FROM
                   (SELECT max(x.proved_at) FROM stonescriptdb.bundle x WHERE x.platform = t.platform)",
            platform,
        )
    })
}

/// After a start: templates that were being built are of no use.
///
/// # Errors
/// PostgreSQL's own.
pub(super) fn drop_unfinished() -> Result<Vec<String>, Failure> {
    let unfinished = transaction(|| {
        let there = query::one::<bool>("SELECT to_regclass('stonescriptdb.template') IS NOT NULL", &[]).map_err(spi)?;
        if there != Some(true) {
            return Ok(Vec::new());
        }
        keys("SELECT platform, sha256 FROM stonescriptdb.template WHERE state = 'building' AND $1 = ''", "")
    })?;
    let mut dropped = unfinished
        .iter()
        .map(|key| {
            let database = transaction(|| stored_name(key))?;
            drop(key, None).map(|()| database.unwrap_or_default())
        })
        .collect::<Result<Vec<String>, Failure>>()?;
    // What has the name and the owner of a template and is in no row was left by a crash between the two.
    let strays = transaction(|| {
        let there = query::one::<bool>("SELECT to_regclass('stonescriptdb.template') IS NOT NULL", &[]).map_err(spi)?;
        if there != Some(true) {
            return Ok(Vec::new());
        }
        let names = query::one::<Vec<Option<String>>>(
            "SELECT ARRAY(SELECT c.datname::text FROM pg_database c JOIN pg_roles r ON r.oid = c.datdba
                          WHERE starts_with(c.datname, $1) AND starts_with(shobj_description(r.oid, 'pg_authid'), 'stonescriptdb: owns')
                            AND NOT EXISTS (SELECT FROM stonescriptdb.template t WHERE t.database = c.datname)
                            AND NOT EXISTS (SELECT FROM stonescriptdb.database d WHERE d.datid = c.oid))",
            &[PREFIX.into()],
        );
        Ok::<_, Failure>(names.map_err(spi)?.unwrap_or_default().into_iter().flatten().collect())
    })?;
    for name in strays {
        drop_database(&name)?;
        dropped.push(name);
    }
    Ok(dropped)
}

fn keys(query: &'static str, argument: &str) -> Result<Vec<TemplateKey>, Failure> {
    kept::select(query, &[argument.into()], |rows| {
        rows.map(|row| {
            Ok(TemplateKey {
                platform: row.get::<String>(1).map_err(spi)?.unwrap_or_default(),
                sha256: row.get::<String>(2).map_err(spi)?.unwrap_or_default(),
            })
        })
        .collect()
    })
}

/// The proof of a bundle, if this major version of the server made it: another one's catalogs are written otherwise.
///
/// # Errors
/// PostgreSQL's own.
pub(super) fn proof(key: &TemplateKey) -> Result<Option<String>, Failure> {
    transaction(|| {
        query::one::<String>(
            "SELECT (SELECT proof FROM stonescriptdb.bundle WHERE platform = $1 AND sha256 = $2 AND proved_on = $3)",
            &[key.platform.as_str().into(), key.sha256.as_str().into(), MAJOR.into()],
        )
        .map_err(|error| spi(error).into())
    })
}

/// The proof of the bundle whose state a database is in, or what it takes to prove it anew.
///
/// # Errors
/// PostgreSQL's own; what keeps the bundle from being built on this server.
pub(super) fn proof_of_database(database: &str) -> Result<Option<ProofOf>, Failure> {
    transaction(|| {
        let found = kept::select(
            "SELECT CASE WHEN b.proved_on = $2 THEN b.proof END, d.deployment_id::text, b.platform, b.sha256
             FROM stonescriptdb.database d JOIN pg_database c ON c.oid = d.datid
             JOIN stonescriptdb.bundle b ON b.platform = d.platform AND b.sha256 = d.bundle_sha256
             WHERE c.datname = $1 AND b.proof IS NOT NULL",
            &[database.into(), MAJOR.into()],
            |mut rows| {
                let Some(row) = rows.next() else { return Ok::<_, Failure>(None) };
                let text = |place| row.get::<String>(place).map_err(spi);
                let key = TemplateKey { platform: text(3)?.unwrap_or_default(), sha256: text(4)?.unwrap_or_default() };
                Ok(Some((text(1)?, text(2)?, key)))
            },
        )?;
        let Some((proof, deployed_by, key)) = found else { return Ok(None) };
        let shown = match proof {
            Some(proof) => Shown::Proof(proof),
            None => Shown::ToProve(Box::new(bundles::of_nothing(&key)?)),
        };
        Ok(Some(ProofOf { shown, deployed_by }))
    })
}
