//! Bundles on this machine: folders that are packed, archives that are sent as they are.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use stonescriptdb_bundle::{Bundle, BundleError, Limits, Manifest};

use crate::failure::{Exit, Failure};

/// The folder of a bundle in an archive.
const ROOT: &str = "postgresql";

/// A bundle as it was found.
#[derive(Debug)]
pub(crate) struct Source {
    /// The folder of the kinds' folders, if it is one of this machine.
    folder: Option<PathBuf>,
    /// What is sent.
    pub(crate) archive: Vec<u8>,
    pub(crate) bundle: Bundle,
    /// Its files' texts, by their paths.
    texts: BTreeMap<String, String>,
}

impl Source {
    /// Reads a folder or an archive.
    pub(crate) fn read(path: &Path) -> Result<Source, Failure> {
        let about = fs::metadata(path).map_err(|error| Failure::file(path, &error))?;
        if about.is_dir() {
            return Source::of_folder(path);
        }
        let archive = fs::read(path).map_err(|error| Failure::file(path, &error))?;
        let bundle = Bundle::read(&archive, &Limits::default()).map_err(|error| damaged(&error, None))?;
        Ok(Source::new(None, archive, bundle))
    }

    fn of_folder(path: &Path) -> Result<Source, Failure> {
        let below = path.join(ROOT);
        let root = if below.is_dir() { below } else { path.to_owned() };
        let mut found = BTreeMap::new();
        collect(&root, ROOT, &mut found)?;
        if root != path {
            // The manifest may lie beside the folder.
            let manifest = path.join(Manifest::FILE_NAME);
            if manifest.is_file() {
                found.insert(Manifest::FILE_NAME.to_owned(), read(&manifest)?);
            }
        }
        let all = pack(&found, Compression::fast())?;
        let bundle = Bundle::read(&all, &Limits::default()).map_err(|error| damaged(&error, Some(&root)))?;
        // Only what is of the bundle is sent: what is not must not change the sum that it is known by.
        let manifest = [Manifest::FILE_NAME.to_owned(), format!("{ROOT}/{}", Manifest::FILE_NAME)];
        found.retain(|path, _| {
            manifest.contains(path)
                || path
                    .strip_prefix("postgresql/")
                    .is_some_and(|below| bundle.files.iter().any(|file| file.path == below))
        });
        let archive = pack(&found, Compression::default())?;
        let warnings = bundle.warnings;
        let bundle = Bundle::read(&archive, &Limits::default()).map_err(|error| damaged(&error, Some(&root)))?;
        Ok(Source::new(Some(root), archive, Bundle { warnings, ..bundle }))
    }

    fn new(folder: Option<PathBuf>, archive: Vec<u8>, bundle: Bundle) -> Source {
        let texts = bundle.files.iter().map(|file| (file.path.clone(), file.text.clone())).collect();
        Source { folder, archive, bundle, texts }
    }

    /// The text of a file of the bundle.
    pub(crate) fn text(&self, file: &str) -> Option<&str> {
        self.texts.get(file).map(String::as_str)
    }

    /// Where a file of the bundle is, for people.
    pub(crate) fn shown(&self, file: &str) -> String {
        match &self.folder {
            Some(folder) => shown(folder, file),
            None => file.to_owned(),
        }
    }
}

/// A path as an editor or a terminal can open it.
fn shown(folder: &Path, file: &str) -> String {
    let path = folder.join(file);
    path.strip_prefix(".").unwrap_or(&path).display().to_string()
}

/// What is wrong with an archive, or with the folder that it was made of.
fn damaged(error: &BundleError, root: Option<&Path>) -> Failure {
    let mut failure = Failure::new(Exit::Failed, "schema_extraction_failed", error.to_string());
    if let Some(path) = error.path() {
        let below = path.strip_prefix("postgresql/").unwrap_or(path);
        failure = failure.with("file", root.map_or_else(|| path.to_owned(), |root| shown(root, below)));
    }
    match error.line() {
        Some(line) => failure.with("line", line),
        None => failure,
    }
}

/// All files below a folder but hidden ones, by their paths in an archive.
fn collect(folder: &Path, prefix: &str, into: &mut BTreeMap<String, Vec<u8>>) -> Result<(), Failure> {
    let entries = fs::read_dir(folder).map_err(|error| Failure::file(folder, &error))?;
    for entry in entries {
        let entry = entry.map_err(|error| Failure::file(folder, &error))?;
        let path = entry.path();
        let kind = entry.file_type().map_err(|error| Failure::file(&path, &error))?;
        let Ok(name) = entry.file_name().into_string() else {
            return Err(refused(&path, "its name is not UTF-8"));
        };
        if name.starts_with('.') {
            continue;
        }
        let inside = format!("{prefix}/{name}");
        if kind.is_dir() {
            collect(&path, &inside, into)?;
        } else if kind.is_file() {
            into.insert(inside, read(&path)?);
        } else {
            return Err(refused(&path, "it is a link or no plain file; a bundle has only plain files and folders"));
        }
    }
    Ok(())
}

fn refused(path: &Path, why: &str) -> Failure {
    Failure::new(Exit::Failed, "schema_extraction_failed", why).with("file", path.display().to_string())
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|error| Failure::file(path, &error))
}

/// A tar.gz in which everything but names and contents is always the same.
fn pack(files: &BTreeMap<String, Vec<u8>>, level: Compression) -> Result<Vec<u8>, Failure> {
    let made = || {
        let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), level));
        for (path, bytes) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            header.set_mtime(0);
            header.set_uid(0);
            header.set_gid(0);
            tar.append_data(&mut header, path, bytes.as_slice())?;
        }
        tar.into_inner()?.finish()
    };
    made().map_err(|error: std::io::Error| Failure::new(Exit::Failed, "schema_extraction_failed", error.to_string()))
}

/// Writes an archive, in whole or not at all; `-` is standard output.
pub(crate) fn write(archive: &[u8], to: &Path) -> Result<(), Failure> {
    if to == Path::new("-") {
        return std::io::stdout().write_all(archive).map_err(|error| Failure::file(to, &error));
    }
    let mut beside = to.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    fs::write(&beside, archive).and_then(|()| fs::rename(&beside, to)).map_err(|error| {
        // What is half written is of no use to anybody.
        let _ = fs::remove_file(&beside);
        Failure::file(to, &error)
    })
}

/// A bundle in a few words.
pub(crate) fn summary(source: &Source) -> Value {
    let mut kinds = serde_json::Map::new();
    for kind in stonescriptdb_bundle::Kind::ALL {
        let count = source.bundle.of_kind(kind).count();
        if count > 0 {
            kinds.insert(kind.folder().to_owned(), json!(count));
        }
    }
    let platform = source.bundle.manifest.as_ref().and_then(|manifest| manifest.platform.clone());
    json!({"sha256": source.bundle.sha256, "bytes": source.archive.len(), "platform": platform, "files": kinds})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::text;

    /// A folder of this test's own that goes when it ends.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str, files: &[(&str, &str)]) -> Folder {
            let path = std::env::temp_dir().join(format!("ssdb-cli-{}-{name}", std::process::id()));
            for (file, text) in files {
                let file = path.join(file);
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(file, text).unwrap();
            }
            Folder(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    const FILES: &[(&str, &str)] = &[
        ("postgresql/tables/b.sql", "CREATE TABLE b ();"),
        ("postgresql/functions/a/f.pssql", "SELECT 1;"),
        ("stonescript.json", "{\"platform\": \"shop\"}"),
    ];

    #[test]
    fn the_same_files_give_the_same_bytes_whatever_lies_around() {
        let one = Folder::new("one", FILES);
        let mut more = FILES.to_vec();
        more.extend([("postgresql/tables/README.md", "hello"), ("notes.txt", "n"), ("postgresql/.git/x", "y")]);
        let two = Folder::new("two", &more);
        let (one, two) = (Source::read(&one.0).unwrap(), Source::read(&two.0).unwrap());
        assert_eq!(one.archive, two.archive);
        assert_eq!((one.bundle.warnings.len(), two.bundle.warnings.len()), (0, 1), "{:?}", two.bundle.warnings);
        assert_eq!(summary(&one)["platform"], json!("shop"));
        assert_eq!(summary(&one)["files"], json!({"tables": 1, "functions": 1}));
    }

    #[test]
    fn the_folder_itself_will_do() {
        let folder = Folder::new("itself", FILES);
        let inner = Source::read(&folder.0.join("postgresql")).unwrap();
        assert_eq!(inner.bundle.files.len(), 2);
        assert!(inner.shown("tables/b.sql").ends_with("postgresql/tables/b.sql"));
        assert_eq!(inner.text("tables/b.sql"), Some("CREATE TABLE b ();"));
    }

    #[test]
    fn what_is_wrong_says_where() {
        let folder = Folder::new("wrong", &[("tables/a.sql", "a\n\0")]);
        let failure = Source::read(&folder.0).unwrap_err();
        assert!(text(&failure.body, "file").unwrap().ends_with("tables/a.sql"), "{failure:?}");
        assert_eq!((failure.exit, &failure.body["line"]), (Exit::Failed, &json!(2)));
        let folder = Folder::new("empty", &[("other/a.txt", "")]);
        assert_eq!(Source::read(&folder.0).unwrap_err().exit, Exit::Failed);
    }

    #[cfg(unix)]
    #[test]
    fn links_are_refused() {
        let folder = Folder::new("links", FILES);
        std::os::unix::fs::symlink("/etc/passwd", folder.0.join("postgresql/tables/c.sql")).unwrap();
        assert_eq!(Source::read(&folder.0).unwrap_err().exit, Exit::Failed);
    }
}
