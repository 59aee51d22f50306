//! The bundles of a deployment: the one that was sent, or stored, completed with what it leaves out, as far as the registry knows them.

use std::collections::HashMap;

use stonescriptdb_bundle::{Bundle, Kind};
use stonescriptdb_protocol::{
    DeployMode, DeployOptions, ErrorCode, ExtensionSpec, Failure, FleetOptions, Prepared, PreparedBundle, TemplateKey,
};

use super::{registry, spi};
use crate::executor::deploy::sources;
use crate::kept;
use crate::postgres::MAJOR;
use crate::query;

/// The bundles that the databases of a deployment are to get, each once.
pub(super) struct Chosen<'r> {
    platform: String,
    sent: Option<Sent<'r>>,
    bundles: Vec<PreparedBundle>,
    /// Where the bundle is for databases that are in the state of another.
    places: HashMap<Option<String>, usize>,
}

impl<'r> Chosen<'r> {
    pub(super) fn new(platform: &str, sent: Option<Sent<'r>>) -> Chosen<'r> {
        Chosen { platform: platform.to_owned(), sent, bundles: Vec::new(), places: HashMap::new() }
    }

    /// The place of the bundle for a database that is in the state of `base`: what was sent, completed from there, or `stored`. None where
    /// nothing was sent and nothing is stored.
    ///
    /// # Errors
    /// What is wrong with the bundle as far as it can be told without building it.
    pub(super) fn place_for(&mut self, base: Option<&str>, stored: Option<&str>) -> Result<Option<usize>, Failure> {
        let known = base.map(str::to_owned);
        if let Some(place) = self.places.get(&known) {
            return Ok(Some(*place));
        }
        let (sha256, archive) = match (&mut self.sent, stored) {
            (Some(sent), _) => sent.complete(&self.platform, base)?,
            (None, Some(stored)) => (stored.to_owned(), None),
            (None, None) => return Ok(None),
        };
        let place = match self.bundles.iter().position(|bundle| bundle.key.sha256 == sha256) {
            Some(place) => place,
            None => {
                self.bundles.push(bundle(&self.platform, sha256, archive, base, &mut self.sent)?);
                self.bundles.len() - 1
            }
        };
        self.places.insert(known, place);
        Ok(Some(place))
    }

    /// A bundle that was stored before, by its checksum.
    ///
    /// # Errors
    /// `invalid_request` if it is not stored any more, as one that could not be proved.
    pub(super) fn place_of_stored(&mut self, sha256: &str) -> Result<usize, Failure> {
        if let Some(place) = self.bundles.iter().position(|bundle| bundle.key.sha256 == sha256) {
            return Ok(place);
        }
        if registry::archive(&self.platform, sha256)?.is_none() {
            return Err(Failure::new(ErrorCode::InvalidRequest, "the bundle of the deployment is not stored any more")
                .hint("Deploy it again."));
        }
        self.bundles.push(bundle(&self.platform, sha256.to_owned(), None, None, &mut None)?);
        Ok(self.bundles.len() - 1)
    }

    /// The checksum of a bundle.
    pub(super) fn sha256_at(&self, place: usize) -> Option<&str> {
        self.bundles.get(place).map(|bundle| bundle.key.sha256.as_str())
    }

    /// The bundles, and remarks on what was sent.
    pub(super) fn into_parts(self) -> (Vec<PreparedBundle>, Vec<String>) {
        let warnings = self.sent.and_then(|sent| sent.bundle).map(|bundle| bundle.warnings).unwrap_or_default();
        (self.bundles, warnings)
    }
}

/// The archive of the request. It is unpacked only if something asks what is in it.
pub(super) struct Sent<'r> {
    archive: &'r [u8],
    sha256: String,
    bundle: Option<Bundle>,
}

impl<'r> Sent<'r> {
    pub(super) fn new(archive: &'r [u8]) -> Sent<'r> {
        Sent { archive, sha256: sha256_hex(archive), bundle: None }
    }

    /// Parses and orders everything, unless the bundle is proved: what cannot be right in any database is refused before anything is made.
    ///
    /// # Errors
    /// What is wrong, with file and line.
    pub(super) fn check(&mut self, platform_key: &str) -> Result<(), Failure> {
        if !is_proved(platform_key, &self.sha256)? {
            sources::Sources::read(self.bundle()?)?;
        }
        Ok(())
    }

    fn bundle(&mut self) -> Result<&Bundle, Failure> {
        let bundle = match self.bundle.take() {
            Some(bundle) => bundle,
            None => sources::read_bundle(self.archive)?,
        };
        Ok(self.bundle.insert(bundle))
    }

    /// The platform that its manifest names.
    ///
    /// # Errors
    /// `schema_extraction_failed`.
    pub(super) fn manifest_platform(&mut self) -> Result<Option<String>, Failure> {
        Ok(self.bundle()?.manifest.as_ref().and_then(|manifest| manifest.platform.clone()))
    }

    /// The bundle for a database that is in the state of another: kinds of files of which this one has none are taken from there.
    /// Gives its SHA-256, and its bytes if they are not those that were sent.
    fn complete(&mut self, platform: &str, base: Option<&str>) -> Result<(String, Option<Vec<u8>>), Failure> {
        let own = (self.sha256.clone(), None);
        let Some(base) = base.filter(|base| *base != self.sha256) else { return Ok(own) };
        let base_kinds = registry::kinds(platform, base)?;
        let bundle = self.bundle()?;
        if base_kinds.iter().all(|kind| Kind::of_folder(kind).is_none_or(|kind| bundle.has(kind))) {
            return Ok(own);
        }
        let Some(archive) = registry::archive(platform, base)? else { return Ok(own) };
        let base = sources::read_bundle(&archive)?;
        if bundle.unsaid(&base).is_empty() {
            return Ok(own);
        }
        let whole = bundle.completed_with(&base).map_err(|error| Failure::internal(error.to_string()))?;
        Ok((sha256_hex(&whole), Some(whole)))
    }
}

fn sha256_hex(bytes: &[u8]) -> String {
    use sha2::Digest;
    sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether a bundle was proved by this major version, so that it need not be parsed.
fn is_proved(platform_key: &str, sha256: &str) -> Result<bool, Failure> {
    let proved = kept::one::<bool>(
        "SELECT EXISTS (SELECT FROM stonescriptdb.bundle b JOIN stonescriptdb.platform p ON p.name = b.platform
                        WHERE p.key = $1 AND b.sha256 = $2 AND b.proved_on = $3)",
        &[platform_key.into(), sha256.into(), MAJOR.into()],
    );
    Ok(proved? == Some(true))
}

/// A bundle of the deployment: as the registry knows it, or stored now.
fn bundle(
    platform: &str,
    sha256: String,
    archive: Option<Vec<u8>>,
    base: Option<&str>,
    sent: &mut Option<Sent<'_>>,
) -> Result<PreparedBundle, Failure> {
    let key = TemplateKey { platform: platform.to_owned(), sha256 };
    let inherited = match (&archive, sent.as_mut()) {
        (Some(whole), Some(sent)) => {
            let whole = sources::read_bundle(whole)?;
            sent.bundle()?.unsaid(&whole).into_iter().map(|kind| kind.folder().to_owned()).collect()
        }
        _ => Vec::new(),
    };
    if let Some((proved, elevated)) = registry::proved(&key)? {
        let allowed = crate::settings::allowed_extensions();
        if let Some(spec) = elevated.iter().find(|spec| !allowed.contains(&spec.name)) {
            return Err(not_allowed(&spec.name));
        }
        let archive = match (archive, &sent) {
            (None, Some(_)) => None,
            (Some(archive), _) => Some(archive),
            (None, None) => registry::archive(platform, &key.sha256)?,
        };
        return Ok(PreparedBundle {
            key,
            archive: archive.map(Into::into),
            inherited,
            proved: Some(proved),
            alike: None,
            elevated_extensions: elevated,
        });
    }
    let stored = match (&archive, &sent) {
        (None, None) => registry::archive(platform, &key.sha256)?,
        _ => archive,
    };
    let read;
    let (bundle, bytes) = match (&stored, sent) {
        (Some(bytes), _) => {
            read = sources::read_bundle(bytes)?;
            (&read, bytes.as_slice())
        }
        (None, Some(sent)) => {
            let bytes = sent.archive;
            (sent.bundle()?, bytes)
        }
        (None, None) => return Err(Failure::internal("a bundle is known and not stored")),
    };
    let elevated = extensions(bundle)?;
    registry::store_bundle(&key, bytes, bundle, &elevated)?;
    let alike = base.map(|base| alike(platform, base, bundle)).transpose()?.flatten();
    Ok(PreparedBundle {
        key,
        archive: stored.map(Into::into),
        inherited,
        proved: None,
        alike,
        elevated_extensions: elevated,
    })
}

/// A stored bundle as a deployment to no database.
///
/// # Errors
/// As [`Chosen::place_of_stored`].
pub(super) fn of_nothing(key: &TemplateKey) -> Result<Prepared, Failure> {
    let (owner_role, call_role) = registry::roles_of(&key.platform)?;
    let mut chosen = Chosen::new(&key.platform, None);
    chosen.place_of_stored(&key.sha256)?;
    let (bundles, warnings) = chosen.into_parts();
    Ok(Prepared {
        mode: DeployMode::Register,
        options: DeployOptions::default(),
        fleet: FleetOptions::default(),
        is_single: true,
        platform: key.platform.clone(),
        schema: String::new(),
        owner_role,
        call_role,
        by: None,
        bundles,
        databases: Vec::new(),
        warnings,
    })
}

/// The bundle of a database, if it is proved and the new one has the same files, but for the text of some of functions/.
fn alike(platform: &str, base: &str, bundle: &Bundle) -> Result<Option<(TemplateKey, Vec<String>)>, Failure> {
    let key = TemplateKey { platform: platform.to_owned(), sha256: base.to_owned() };
    if !registry::proved(&key)?.is_some_and(|(proved, _)| proved.plain && proved.clonable) {
        return Ok(None);
    }
    let Some(archive) = registry::archive(platform, base)? else { return Ok(None) };
    let base = sources::read_bundle(&archive)?;
    let same_files = base.files.len() == bundle.files.len()
        && base.files.iter().zip(&bundle.files).all(|(old, new)| {
            old.kind == new.kind && old.path == new.path && (old.sha256 == new.sha256 || old.kind == Kind::Function)
        });
    if !same_files {
        return Ok(None);
    }
    let changed = base.files.iter().zip(&bundle.files).filter(|(old, new)| old.sha256 != new.sha256);
    Ok(Some((key, changed.map(|(_, new)| new.path.clone()).collect())))
}

fn not_allowed(extension: &str) -> Failure {
    Failure::new(ErrorCode::ExtensionNotAvailable, format!("the extension \"{extension}\" is not allowed"))
        .hint("PostgreSQL does not trust it; a DBA can add it to stonescriptdb.allowed_extensions.")
}

/// Checks a bundle's extensions against what the server has; gives those that only a superuser can install and that are allowed.
fn extensions(bundle: &Bundle) -> Result<Vec<ExtensionSpec>, Failure> {
    let allowed = crate::settings::allowed_extensions();
    let mut elevated = Vec::new();
    for spec in crate::executor::extensions::wanted(bundle) {
        let trusted = query::one::<bool>(
            "SELECT bool_or(trusted OR NOT superuser) FROM pg_available_extension_versions WHERE name = $1 AND ($2 IS NULL OR version = $2)",
            &[spec.1.name.as_str().into(), spec.1.version.as_deref().into()],
        )
        .map_err(spi)?;
        let refused =
            |message: String| Failure::new(ErrorCode::ExtensionNotAvailable, message).at(spec.0.clone(), None);
        match trusted {
            Some(true) => {}
            Some(false) if allowed.contains(&spec.1.name) => elevated.push(spec.1.clone()),
            Some(false) => return Err(not_allowed(&spec.1.name).at(spec.0.clone(), None)),
            None => {
                let version =
                    spec.1.version.as_ref().map(|version| format!(" in version {version}")).unwrap_or_default();
                return Err(refused(format!("the server has no extension \"{}\"{version}", spec.1.name))
                    .hint("Install its package on the server; pg_available_extension_versions lists what is there."));
            }
        }
    }
    Ok(elevated)
}
