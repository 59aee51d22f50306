//! What is refused, and with which error.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use common::{Tar, full, gzip, read};
use stonescriptdb_bundle::BundleError as E;

fn error(tar: Tar) -> E {
    tar.read().unwrap_err()
}

#[test]
fn empty() {
    assert_eq!(read(b"").unwrap_err(), E::EmptyArchive);
    assert_eq!(read(&gzip(b"")).unwrap_err(), E::EmptyArchive);
    assert_eq!(error(Tar::new()), E::EmptyArchive);
    assert_eq!(error(Tar::new().folder("tables")), E::NoFiles { path: None });
}

#[test]
fn other_formats() {
    let found = |bytes: &[u8]| match read(bytes).unwrap_err() {
        E::NotAnArchive { found } => found,
        other => panic!("{other:?}"),
    };
    assert_eq!(found(b"PK\x03\x04 and so on"), "a zip file");
    assert_eq!(found(b"BZh91AY&SY"), "a bzip2 file");
    assert_eq!(found(b"\xfd7zXZ\0\0"), "an xz file");
    assert_eq!(found(b"\x28\xb5\x2f\xfd"), "a zstd file");
    assert_eq!(found(b"7z\xbc\xaf\x27\x1c"), "a 7z file");
    assert_eq!(found(b"hello"), "neither gzip nor tar");
    assert_eq!(found(&[b'x'; 2048]), "neither gzip nor tar");
    assert_eq!(found(&[0; 100]), "neither gzip nor tar");
    assert_eq!(found(&gzip(b"hello")), "gzip with something other than a tar in it");
    assert_eq!(found(&gzip(&[b'x'; 2048])), "gzip with something other than a tar in it");
    assert_eq!(found(&gzip(&full("").gz())), "gzip with something other than a tar in it");
}

#[test]
fn no_file_of_a_bundle() {
    assert_eq!(error(Tar::new().file("README.md", "")), E::NoFiles { path: None });
    assert_eq!(error(Tar::new().file("stonescript.json", "{}")), E::NoFiles { path: None });
    assert_eq!(error(Tar::new().file("postgresql/a.sql", "")), E::NoFiles { path: None });
    // A folder around the kinds' folders, or postgresql/ two folders down, is no root.
    for path in ["app/tables/a.sql", "a/b/postgresql/tables/a.sql", "Tables/a.sql", "tables/a.SQL"] {
        assert_eq!(error(Tar::new().file(path, "")), E::NoFiles { path: Some(path.to_owned()) });
    }
    let message = error(Tar::new().file("app/tables/a.sql", "")).to_string();
    assert!(message.ends_with(r#"; "app/tables/a.sql" is in none of these places"#), "{message}");
}

#[test]
fn several_roots() {
    for (first, path) in [
        ("tables/a.sql", "postgresql/tables/b.sql"),
        ("a/postgresql/tables/a.sql", "b/postgresql/tables/a.sql"),
        ("a/postgresql/tables/a.sql", "postgresql/views/a.sql"),
        ("tables/a.sql", "tables/postgresql/functions/a.sql"),
    ] {
        let expected = E::SeveralRoots { first: first.to_owned(), path: path.to_owned() };
        assert_eq!(error(Tar::new().file(first, "").file("x.md", "").file(path, "")), expected);
    }
}

#[test]
fn links_devices_and_other_members() {
    for (kind, expected) in [
        (b'1', "a hard link"),
        (b'2', "a symbolic link"),
        (b'3', "a device"),
        (b'4', "a device"),
        (b'6', "a named pipe"),
        (b'S', "a sparse file"),
        (b'V', "of a type unknown here"),
        (b'M', "of a type unknown here"),
        (b'?', "of a type unknown here"),
    ] {
        // Wherever it is: outside of the root, too.
        for path in ["tables/a.sql", "node_modules/.bin/x"] {
            let expected = E::UnsupportedEntry { path: path.to_owned(), what: expected };
            assert_eq!(error(full("").member(kind, path.as_bytes(), b"")), expected);
        }
    }
    let sparse = Tar::new().pax(b'x', &["GNU.sparse.major=1", "GNU.sparse.minor=0"]).file("tables/a.sql", "1\n0\n");
    assert_eq!(error(sparse), E::UnsupportedEntry { path: "tables/a.sql".to_owned(), what: "a sparse file" });
}

#[test]
fn unsafe_names() {
    let names: [&[u8]; 11] = [
        b"/tables/a.sql",
        b"../tables/a.sql",
        b"tables/../a.sql",
        b"tables/..",
        b"./../a",
        b"tables\\a.sql",
        b"C:/tables/a.sql",
        b"tables/\xff.sql",
        b"tables/a\nb.sql",
        b"tables/\x1b[31m.sql",
        b".",
    ];
    for name in names {
        let refused = error(full("").member(b'0', name, b""));
        assert!(matches!(refused, E::UnsafePath { .. }), "{refused:?}");
        assert!(!refused.to_string().contains(char::is_control), "{refused}");
    }
    for name in [b"../a".as_slice(), b"/a", b"a\\b", b"\xff"] {
        assert!(matches!(error(full("").member(b'5', name, b"")), E::UnsafePath { .. }));
        assert!(matches!(error(Tar::new().member(b'L', b"l", name).file("a", "")), E::UnsafePath { .. }));
    }
    for pax in ["path=/a", "path=a/../b", "path=a\\b", "path=a\0b"] {
        assert!(matches!(error(Tar::new().pax(b'x', &[pax]).file("a", "")), E::UnsafePath { .. }));
    }
    // A header's own name ends at a zero byte; that of GNU tar's long name does so only at its end.
    assert!(matches!(error(Tar::new().member(b'L', b"l", b"a\0b\0").file("a", "")), E::UnsafePath { .. }));
    let endless = Tar::new().member(b'L', b"l", &[b'a'; 100_000]).file("a", "");
    assert!(error(endless).to_string().len() < 500);
}

#[test]
fn duplicates() {
    let twice = |path: &str| E::DuplicatePath { path: path.to_owned() };
    assert_eq!(error(full("").file("tables/a.pssql", "")), twice("tables/a.pssql"));
    assert_eq!(error(full("").file("./tables//a.pssql", "")), twice("tables/a.pssql"));
    assert_eq!(error(full("").file("x.md", "").file("x.md", "")), twice("x.md"));
    assert_eq!(error(full("").folder("x").file("x", "")), twice("x"));
    assert_eq!(error(full("").file("x", "").folder("x")), twice("x"));
    assert_eq!(error(full("").folder("tables/a.pssql")), twice("tables/a.pssql"));
    assert_eq!(
        error(full("").file("stonescript.json", "{}").file("stonescript.json", "{}")),
        twice("stonescript.json")
    );

    let (first, path) = ("migrations/a/1.sql".to_owned(), "migrations/b/1.sql".to_owned());
    let tar = Tar::new().file("migrations/b/1.sql", "").file("migrations/a/1.sql", "");
    assert_eq!(error(tar), E::DuplicateMigration { first, path });

    let (first, path) = ("extensions/citext.sql".to_owned(), "extensions/x/citext.txt".to_owned());
    let tar = Tar::new().file("extensions/x/citext.txt", "").file("extensions/citext.sql", "");
    assert_eq!(error(tar), E::DuplicateExtension { name: "citext".to_owned(), first, path });

    let (first, path) = ("stonescript.json".to_owned(), "postgresql/stonescript.json".to_owned());
    let tar = full("postgresql/").file(&first, "{}").file(&path, "{}");
    assert_eq!(error(tar), E::DuplicateManifest { first, path });
}

#[test]
fn contents_that_are_not_text() {
    let (root, path) = ("postgresql/", "postgresql/tables/x.sql");
    let refused = error(full(root).file(path, b"a\nb\r\nc \xe4\n\xff"));
    assert_eq!(refused, E::NotUtf8 { path: path.to_owned(), line: 3 });
    assert_eq!((refused.path(), refused.line()), (Some(path), Some(3)));
    assert_eq!(refused.to_string(), r#""postgresql/tables/x.sql" is not UTF-8 in line 3; save it as UTF-8"#);

    let refused = error(full(root).file(path, "SELECT 1;\n\nSELECT '\0';\n"));
    assert_eq!(refused, E::ZeroByte { path: path.to_owned(), line: 3 });
    // UTF-16 as Windows editors write it; a character cut off at the end; a surrogate.
    for bytes in [b"\xff\xfeS\0".as_slice(), b"\xe2\x82", b"\xed\xa0\x80"] {
        assert_eq!(error(full(root).file(path, bytes)), E::NotUtf8 { path: path.to_owned(), line: 1 });
    }
}

#[test]
fn bad_manifests() {
    let refused = |text: &str| match error(full("").file("stonescript.json", text)) {
        E::BadManifest { path, line, reason } => {
            assert_eq!(path, "stonescript.json");
            (line, reason)
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(refused("{\n\"platform\": \n}").0, Some(3));
    assert_eq!(refused("").0, Some(1));
    assert_eq!(refused("{} {}").0, Some(1));
    assert_eq!(refused(&"[".repeat(100_000)).0, Some(1));
    assert_eq!(refused("[]"), (None, "it must be a JSON object, not an array".to_owned()));
    assert_eq!(refused(r#"{"platform": 1}"#), (None, r#""platform" must be a string, not a number"#.to_owned()));
    assert_eq!(refused(r#"{"schema_name": true}"#).1, r#""schema_name" must be a string, not a boolean"#);
    assert_eq!(refused(r#"{"requires": ["a"]}"#).1, r#""requires" must be a JSON object, not an array"#);
    assert!(matches!(error(full("").file("stonescript.json", b"\xff")), E::NotUtf8 { .. }));
}

#[test]
fn damaged_tar() {
    let reason = |tar: Tar| match error(tar) {
        E::DamagedTar { reason, .. } => reason,
        other => panic!("{other:?}"),
    };
    let file = || Tar::new().file("tables/a.sql", "text");
    let mut flipped = file().file("tables/b.sql", "text");
    flipped.0[1024 + 7] ^= 1;
    let refused = error(flipped);
    assert_eq!(refused.path(), Some("tables/a.sql"));
    assert!(refused.to_string().ends_with(r#"in or after "tables/a.sql": a header whose checksum is wrong"#));

    let bad_size = |header: &mut [u8; 512]| header[124..136].copy_from_slice(b"zzzzzzzzzzz\0");
    assert_eq!(reason(file().header_with(b'0', b"b", 0, bad_size)), "a size that is not a number");
    assert_eq!(reason(file().member(b'5', b"b", b"x")), "a folder with contents of its own");
    assert_eq!(reason(file().pax(b'x', &["size=3"]).file("b", "text")), "two sizes for one member");
    assert_eq!(reason(file().pax(b'x', &["a=b"]).pax(b'x', &["a=b"])), "two pax headers for one member");
    assert_eq!(reason(file().member(b'L', b"l", b"a").member(b'L', b"l", b"a")), "two long names for one member");
    assert_eq!(reason(file().member(b'x', b"p", b"nonsense")), "a malformed pax header");
    assert_eq!(reason(file().member(b'g', b"p", b"nonsense")), "a malformed pax header");
    assert_eq!(reason(file().pax(b'x', &["a=b"])), "an extension header without the member it describes");
    assert_eq!(reason(file().member(b'L', b"l", b"a")), "an extension header without the member it describes");
    for record in ["path=a", "size=1", "linkpath=a", "GNU.sparse.major=1"] {
        assert_eq!(reason(file().pax(b'g', &[record])), "a global pax header that names or resizes members");
    }
    let big = vec![b'a'; 1024 * 1024 + 1];
    assert_eq!(reason(file().member(b'L', b"l", &big)), "an extension header of more than 1 MiB");
}

#[test]
fn data_behind_the_end() {
    let tar = full("").end();
    assert!(matches!(read(&[tar.as_slice(), b"x"].concat()), Err(E::TrailingData { .. })));
    assert!(matches!(read(&[tar.clone(), tar.clone()].concat()), Err(E::TrailingData { .. })));
    assert!(matches!(read(&gzip(&[tar.clone(), tar.clone()].concat())), Err(E::TrailingData { .. })));
    assert!(matches!(read(&[gzip(&tar), gzip(&tar)].concat()), Err(E::TrailingData { .. })));
    let behind_gzip = Err(E::TrailingData { place: "behind the gzip stream" });
    for garbage in [b"x".as_slice(), b"\0", b"\x1f", b"PK\x03\x04", &[0; 512]] {
        assert_eq!(read(&[gzip(&tar), garbage.to_vec()].concat()), behind_gzip);
    }
    assert!(matches!(read(&[gzip(&tar).as_slice(), b"\x1f\x8b"].concat()), Err(E::Truncated { .. })));
}

#[test]
fn wrong_gzip_checksum() {
    let archive = full("").gz();
    for from_end in 1..=8 {
        let mut archive = archive.clone();
        let at = archive.len() - from_end;
        archive[at] ^= 0x10;
        assert!(matches!(read(&archive), Err(E::DamagedGzip { .. })), "{from_end}");
    }
    let mut archive = archive;
    archive[2] = 9;
    assert!(matches!(read(&archive), Err(E::DamagedGzip { .. })));
}

#[test]
fn every_truncation_of_gzip() {
    let archive = full("postgresql/").gz();
    for length in 2..archive.len() {
        let refused = read(&archive[..length]).unwrap_err();
        assert!(matches!(refused, E::Truncated { .. }), "{length}: {refused:?}");
    }
}

#[test]
fn every_truncation_of_tar() {
    let tar = full("postgresql/").0;
    let whole = [tar.clone(), vec![0; 1024]].concat();
    for length in 512..whole.len() {
        // One whole zero block is an end marker, see check_end.
        let ends = length == tar.len() + 512;
        match read(&whole[..length]) {
            Ok(_) => assert!(ends, "{length}"),
            Err(refused) => assert!(!ends && matches!(refused, E::Truncated { .. }), "{length}: {refused:?}"),
        }
        if length % 512 == 100 {
            assert!(matches!(read(&gzip(&whole[..length])), Err(E::Truncated { .. })), "{length}");
        }
    }
    let message = read(&whole[..1300]).unwrap_err().to_string();
    assert_eq!(message, r#"the archive is cut off in or after "postgresql/views/v.sql"; was the upload complete?"#);
}
