//! Bundles: a platform's files as an archive.

use std::collections::BTreeMap;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

/// The files of a bundle, by their path below its root. The same files always give the same bytes.
#[derive(Clone)]
pub struct Files {
    root: String,
    files: BTreeMap<String, Vec<u8>>,
}

impl Default for Files {
    fn default() -> Self {
        Files { root: "postgresql".into(), files: BTreeMap::new() }
    }
}

impl Files {
    /// No file, and `postgresql/` as the root.
    pub fn new() -> Files {
        Files::default()
    }

    /// Another root in the archive; empty for its top.
    pub fn root(mut self, root: &str) -> Files {
        self.root = root.trim_end_matches('/').into();
        self
    }

    /// Adds a file.
    ///
    /// # Panics
    /// When it is there already.
    #[track_caller]
    pub fn file(self, path: &str, text: impl AsRef<[u8]>) -> Files {
        assert!(!self.files.contains_key(path), "{path} is there already");
        self.put(path, text)
    }

    /// Another content for a file.
    ///
    /// # Panics
    /// When there is no such file.
    #[track_caller]
    pub fn replace(self, path: &str, text: impl AsRef<[u8]>) -> Files {
        assert!(self.files.contains_key(path), "there is no {path}");
        self.put(path, text)
    }

    /// Another text in place of a part of a file.
    ///
    /// # Panics
    /// When there is no such file, or not that part in it.
    #[track_caller]
    pub fn edit(self, path: &str, from: &str, to: &str) -> Files {
        let text =
            String::from_utf8_lossy(self.files.get(path).unwrap_or_else(|| panic!("there is no {path}"))).into_owned();
        assert!(text.contains(from), "there is no {from:?} in {path}: {text}");
        self.put(path, text.replace(from, to))
    }

    /// Without a file.
    ///
    /// # Panics
    /// When there is no such file.
    #[track_caller]
    pub fn without(mut self, path: &str) -> Files {
        assert!(self.files.remove(path).is_some(), "there is no {path}");
        self
    }

    /// The files of both; of two of the same path, the other's.
    pub fn and(mut self, other: Files) -> Files {
        self.files.extend(other.files);
        self
    }

    /// Only the files of one kind.
    pub fn only(mut self, kind: &str) -> Files {
        self.files.retain(|path, _| path.starts_with(&format!("{kind}/")));
        self
    }

    /// How many files there are of a kind, which is the name of their folder.
    pub fn count(&self, kind: &str) -> usize {
        self.files.keys().filter(|path| path.starts_with(&format!("{kind}/"))).count()
    }

    /// A plain tar, files in the order of their paths.
    pub fn tar(&self) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (path, bytes) in &self.files {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            header.set_mtime(0);
            // The manifest lies beside the kind folders.
            let path = if self.root.is_empty() { path.clone() } else { format!("{}/{path}", self.root) };
            tar.append_data(&mut header, &path, bytes.as_slice()).expect("a valid path");
        }
        tar.into_inner().expect("memory does not fail")
    }

    /// A tar.gz: what a container sends.
    pub fn tar_gz(&self) -> Vec<u8> {
        gzip(&self.tar())
    }

    fn put(mut self, path: &str, text: impl AsRef<[u8]>) -> Files {
        self.files.insert(path.into(), text.as_ref().to_vec());
        self
    }
}

/// Bytes compressed by gzip.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gz = GzEncoder::new(Vec::new(), Compression::default());
    gz.write_all(bytes).and_then(|()| gz.finish()).expect("memory does not fail")
}
