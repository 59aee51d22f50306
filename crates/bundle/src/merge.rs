//! What a bundle leaves unsaid, taken from the one before it.

use crate::{Bundle, Kind, Manifest, SourceFile};

/// What an editor may have put in front of a file; [`SourceFile::text`] has lost it.
const BYTE_ORDER_MARK: &str = "\u{feff}";

impl Bundle {
    /// The kinds of which this bundle has no file and `base` has some: those about which it says nothing. Seeders are not among them: without
    /// one, no rows are looked for, and nothing is dropped.
    pub fn unsaid(&self, base: &Bundle) -> Vec<Kind> {
        Kind::ALL.into_iter().filter(|kind| *kind != Kind::Seeder && !self.has(*kind) && base.has(*kind)).collect()
    }

    /// The archive (a plain tar) of this bundle with the files of `base` for every kind about which it says nothing. The same input
    /// gives the same bytes, and each file is as it was, byte for byte.
    ///
    /// # Errors
    /// Paths that tar cannot hold: none that [`Bundle::read`] accepts.
    pub fn completed_with(&self, base: &Bundle) -> std::io::Result<Vec<u8>> {
        let unsaid = self.unsaid(base);
        let inherited = base.files.iter().filter(|file| unsaid.contains(&file.kind));
        let mut archive = tar::Builder::new(Vec::new());
        let mut put = |path: &str, bytes: &[u8]| {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            archive.append_data(&mut header, path, bytes)
        };
        if let Some(text) = self.manifest.as_ref().and_then(Manifest::to_text) {
            put(&format!("postgresql/{}", Manifest::FILE_NAME), text.as_bytes())?;
        }
        for file in self.files.iter().chain(inherited) {
            put(&format!("postgresql/{}", file.path), &file.raw())?;
        }
        archive.into_inner()
    }
}

impl SourceFile {
    /// The bytes as they were in the archive.
    fn raw(&self) -> Vec<u8> {
        let plain = self.text.clone().into_bytes();
        if crate::hash::sha256_hex(&plain) == self.sha256 {
            plain
        } else {
            [BYTE_ORDER_MARK.as_bytes(), &plain].concat()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Limits;

    fn bundle(files: &[(&str, &str)]) -> Bundle {
        let mut archive = tar::Builder::new(Vec::new());
        for (path, text) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            archive.append_data(&mut header, path, text.as_bytes()).unwrap();
        }
        Bundle::read(&archive.into_inner().unwrap(), &Limits::default()).unwrap()
    }

    #[test]
    fn kinds_without_a_file_come_from_the_base() {
        let base = bundle(&[
            ("postgresql/tables/t.sql", "\u{feff}create table t();"),
            ("postgresql/functions/f.sql", "old"),
            ("postgresql/migrations/001.sql", "\u{feff}select 1;"),
        ]);
        let new = bundle(&[
            ("x/postgresql/functions/a/g.sql", "new"),
            ("x/postgresql/stonescript.json", r#"{"platform": "shop", "requires": {"a": 1}}"#),
        ]);
        assert_eq!(new.unsaid(&base), [Kind::Table, Kind::Migration]);
        let archive = new.completed_with(&base).unwrap();
        assert_eq!(archive, new.completed_with(&base).unwrap());
        let whole = Bundle::read(&archive, &Limits::default()).unwrap();
        let files: Vec<(&str, &str)> = whole.files.iter().map(|file| (&*file.path, &*file.sha256)).collect();
        let expected: Vec<(&str, &str)> = [&base.files[0], &base.files[1], &new.files[0]]
            .into_iter()
            .map(|file| (&*file.path, &*file.sha256))
            .collect();
        assert_eq!(files, expected);
        assert_eq!(whole.manifest, new.manifest);
        assert!(whole.unsaid(&base).is_empty());
    }
}
