//! The bundle: everything of an archive that the later stages need.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::hash::sha256_hex;
use crate::layout::{self, Place};
use crate::members::{Member, Members};
use crate::source::{decode, source_file};
use crate::{BundleError, Kind, Limits, Manifest, SourceFile};

/// Warnings that are kept; how many more there were is said in one line.
const MAX_WARNINGS: usize = 100;

/// A platform's database as files: what an archive holds, read and checked but not yet parsed.
#[derive(Clone, Debug, PartialEq)]
pub struct Bundle {
    /// SHA-256 of the archive's bytes as received, in hex: what the bundle is known by.
    pub sha256: String,
    /// What the bundle says about itself, if it does.
    pub manifest: Option<Manifest>,
    /// The files, by kind in the order of [`Kind`], then by path bytewise. Migrations go by file name, whatever sub-folder they are in,
    /// which is the order they run in.
    pub files: Vec<SourceFile>,
    /// What was ignored, for whoever made the archive: at most 100, then one line that counts the rest.
    pub warnings: Vec<String>,
}

impl Bundle {
    /// Reads an archive: gzip (of one or several members) or plain tar, with the folders of the kinds in `postgresql/`, in
    /// `postgresql/` one folder down, or at the top.
    ///
    /// # Errors
    /// See [`BundleError`]. All of them are the archive's fault; none is of this server or worth a retry.
    pub fn read(archive: &[u8], limits: &Limits) -> Result<Bundle, BundleError> {
        let size = archive.len() as u64;
        if size > limits.max_archive_bytes {
            return Err(BundleError::ArchiveTooLarge { size, limit: limits.max_archive_bytes });
        }
        let mut members = Members::open(archive, limits)?;
        let mut contents = Contents::default();
        while let Some(member) = members.next()? {
            contents.add(member, &mut members)?;
        }
        contents.into_bundle(archive)
    }

    /// The files of one kind, in order.
    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &SourceFile> {
        self.files.iter().filter(move |file| file.kind == kind)
    }

    /// Whether there is a file of this kind. Without one the bundle says nothing about the kind: it then neither creates nor drops.
    pub fn has(&self, kind: Kind) -> bool {
        self.of_kind(kind).next().is_some()
    }
}

/// What a member's path turned out to be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    Folder,
    Read,
    Ignored,
}

/// What has been read so far.
#[derive(Default)]
struct Contents {
    /// Every member's path. Files that are read are among them, to find duplicates.
    paths: HashMap<String, Use>,
    /// The root, and the archive path of the first file that said so.
    root: Option<(String, String)>,
    files: Vec<SourceFile>,
    /// Archive paths and bytes of whatever is called like a manifest. Which one is it is known when the root is.
    manifests: Vec<(String, Vec<u8>)>,
}

impl Contents {
    fn add(&mut self, member: Member, members: &mut Members<'_>) -> Result<(), BundleError> {
        let path = match member {
            Member::Folder(path) => return self.note(path, Use::Folder),
            Member::File(path) => path,
        };
        match layout::place(&path) {
            Place::Source { root, kind, below } => {
                if path.chars().any(char::is_control) {
                    let reason = "it contains a control character";
                    return Err(BundleError::UnsafePath { path, reason });
                }
                self.agree_on_root(root, &path)?;
                // Noted before it is read: of two files of one name, the second is not worth its bytes.
                self.note(path.clone(), Use::Read)?;
                self.files.push(source_file(kind, below, &path, members.contents()?)?);
                Ok(())
            }
            Place::Manifest { .. } => {
                self.note(path.clone(), Use::Ignored)?;
                self.manifests.push((path, members.contents()?));
                Ok(())
            }
            Place::Other => self.note(path, Use::Ignored),
        }
    }

    /// Notes a member's path. Only a folder may come twice: tar writes it once for each time it is named on the command line.
    fn note(&mut self, path: String, usage: Use) -> Result<(), BundleError> {
        match self.paths.entry(path) {
            Entry::Occupied(known) if *known.get() == Use::Folder && usage == Use::Folder => Ok(()),
            Entry::Occupied(known) => Err(BundleError::DuplicatePath { path: known.key().clone() }),
            Entry::Vacant(free) => {
                free.insert(usage);
                Ok(())
            }
        }
    }

    fn agree_on_root(&mut self, root: &str, path: &str) -> Result<(), BundleError> {
        match &self.root {
            None => self.root = Some((root.to_owned(), path.to_owned())),
            Some((known, _)) if known == root => {}
            Some((_, first)) => {
                return Err(BundleError::SeveralRoots { first: first.clone(), path: path.to_owned() });
            }
        }
        Ok(())
    }

    fn into_bundle(mut self, archive: &[u8]) -> Result<Bundle, BundleError> {
        if self.paths.is_empty() {
            return Err(BundleError::EmptyArchive);
        }
        let Some((root, _)) = self.root.take() else {
            return Err(BundleError::NoFiles { path: self.a_misplaced_file() });
        };
        let mut warnings = Vec::new();
        let manifest = self.manifest(&root, &mut warnings)?;
        let unused = self.paths.iter().filter(|(path, usage)| **usage != Use::Read && !path.is_empty());
        warnings.extend(layout::ignored(&root, unused.map(|(path, usage)| (path.as_str(), *usage == Use::Folder))));
        cap(&mut warnings);

        let mut files = self.files;
        files.sort_unstable_by(|a, b| order(a).cmp(&order(b)));
        refuse_namesakes(&files)?;
        Ok(Bundle { sha256: sha256_hex(archive), manifest, files, warnings })
    }

    /// The one manifest in the root or above it.
    fn manifest(&mut self, root: &str, warnings: &mut Vec<String>) -> Result<Option<Manifest>, BundleError> {
        let mut found: Option<(String, Vec<u8>)> = None;
        for (path, bytes) in std::mem::take(&mut self.manifests) {
            let Place::Manifest { folder } = layout::place(&path) else { continue };
            if !layout::manifest_applies(folder, root) {
                continue;
            }
            if let Some((first, _)) = found {
                return Err(BundleError::DuplicateManifest { first, path });
            }
            self.paths.insert(path.clone(), Use::Read);
            found = Some((path, bytes));
        }
        let Some((path, bytes)) = found else { return Ok(None) };
        Manifest::parse(&path, &decode(&path, bytes)?, warnings).map(Some)
    }

    /// The first file, by path, that would be of a bundle elsewhere.
    fn a_misplaced_file(&self) -> Option<String> {
        let unused = self.paths.iter().filter(|(_, usage)| **usage == Use::Ignored).map(|(path, _)| path);
        unused.filter(|path| layout::is_misplaced(path)).min().cloned()
    }
}

/// What files are sorted by.
fn order(file: &SourceFile) -> (Kind, &str, &str) {
    let first = if file.kind == Kind::Migration { file.file_name() } else { file.path.as_str() };
    (file.kind, first, &file.path)
}

/// Refuses two files that are one thing to PostgreSQL or to the tracking tables: migrations of one file name (they are recorded by
/// it), and files that ask for one extension. In all other kinds what a file creates counts and not its name.
fn refuse_namesakes(files: &[SourceFile]) -> Result<(), BundleError> {
    let mut seen: HashMap<(Kind, &str), &SourceFile> = HashMap::new();
    for file in files {
        let name = match file.kind {
            Kind::Migration => file.file_name(),
            Kind::Extension => file.stem(),
            _ => continue,
        };
        let Some(other) = seen.insert((file.kind, name), file) else { continue };
        let (first, path) = (other.path.clone(), file.path.clone());
        return Err(match file.kind {
            Kind::Extension => BundleError::DuplicateExtension { name: name.to_owned(), first, path },
            _ => BundleError::DuplicateMigration { first, path },
        });
    }
    Ok(())
}

fn cap(warnings: &mut Vec<String>) {
    let more = warnings.len().saturating_sub(MAX_WARNINGS);
    if more > 0 {
        warnings.truncate(MAX_WARNINGS);
        warnings.push(format!("and {more} more"));
    }
}
