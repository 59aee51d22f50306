//! Rules of the code that the compiler does not know.

use std::path::Path;

/// The files of a folder of the extension's code, with their texts.
fn files(folder: &str) -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())).flatten();
    let read = |path: std::path::PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        (path.display().to_string(), text)
    };
    entries.map(|entry| entry.path()).filter(|path| path.is_file()).map(read).collect()
}

/// A datum that is made outside of a transaction leaks, or ends the executor: `query.rs` makes them.
#[test]
fn control_code_makes_no_datums_of_its_own() {
    let files = files("src/executor/control");
    assert!(files.len() > 10, "{} files", files.len());
    for (path, text) in files {
        for name in ["Spi::", "DatumWithOid", "into_datum", "IntoDatum"] {
            assert!(!text.contains(name), "{path} names {name}: use crate::query or crate::kept");
        }
    }
}
