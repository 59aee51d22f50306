//! What is accepted: layouts, tar formats, order, manifest, warnings.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use common::{Tar, full, gzip, paths, read};
use sha2::{Digest, Sha256};
use stonescriptdb_bundle::{ExtensionRequest, Kind, Manifest};

const FULL: [&str; 8] = [
    "extensions/citext.txt",
    "types/t.pssql",
    "tables/a.pssql",
    "tables/sub/b.pgsql",
    "migrations/001_m.pssql",
    "functions/f.sql",
    "views/v.sql",
    "seeders/a.pssql",
];

#[test]
fn every_root() {
    for root in
        ["postgresql/", "app/postgresql/", "", "./", "./postgresql/", "././app/postgresql/", "tables/postgresql/"]
    {
        let bundle = full(root).read().unwrap();
        assert_eq!(paths(&bundle), FULL, "{root}");
        assert_eq!(bundle.warnings, Vec::<String>::new(), "{root}");
        assert_eq!(bundle.manifest, None);
    }
}

#[test]
fn folders_of_the_root_are_not_worth_a_warning() {
    let mut tar = Tar::new();
    for folder in ["./", "app/", "app/postgresql/", "app/postgresql/tables/", "app/postgresql/tables/sub", "app/"] {
        tar = tar.folder(folder);
    }
    let bundle = tar.file("app/postgresql/tables/sub/a.sql", "").read().unwrap();
    assert_eq!(paths(&bundle), ["tables/sub/a.sql"]);
    assert!(bundle.warnings.is_empty(), "{:?}", bundle.warnings);
}

#[test]
fn a_file_is_what_it_is() {
    let tar = full("postgresql/");
    let archive = tar.clone().gz();
    let bundle = read(&archive).unwrap();
    let hex = |bytes: &[u8]| Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect::<String>();
    assert_eq!(bundle.sha256, hex(&archive));

    let file = bundle.of_kind(Kind::Type).next().unwrap();
    assert_eq!(file.text, "CREATE TYPE t AS ENUM ('ä');\n");
    assert_eq!(file.sha256, hex("CREATE TYPE t AS ENUM ('ä');\n".as_bytes()));
    assert_eq!((file.kind, file.file_name(), file.stem()), (Kind::Type, "t.pssql", "t"));
    assert_eq!(file.extension_request(), None);

    assert_eq!(bundle.of_kind(Kind::Table).map(|file| file.file_name()).collect::<Vec<_>>(), ["a.pssql", "b.pgsql"]);
    assert!(Kind::ALL.into_iter().all(|kind| bundle.has(kind)));
}

#[test]
fn no_file_of_a_kind() {
    let bundle = Tar::new().folder("tables").file("functions/f.sql", "").read().unwrap();
    assert!(bundle.has(Kind::Function) && !bundle.has(Kind::Table));
}

#[test]
fn kinds_and_extensions() {
    for kind in Kind::ALL {
        for extension in ["pssql", "pgsql", "sql", "txt", "SQL", "md"] {
            let tar = Tar::new().file("tables/always.sql", "");
            let bundle = tar.file(&format!("{kind}/x.{extension}"), "").read().unwrap();
            let accepted = kind.extensions().contains(&extension);
            assert_eq!(bundle.files.len(), 1 + usize::from(accepted), "{kind} {extension}");
            assert_eq!(bundle.warnings.len(), usize::from(!accepted), "{kind} {extension}");
        }
        assert_eq!(Kind::of_folder(kind.folder()), Some(kind));
    }
    assert_eq!(Kind::of_folder("Tables"), None);
}

#[test]
fn names_that_differ_only_by_extension_or_folder() {
    let tar = Tar::new().file("tables/a.sql", "").file("tables/a.pssql", "").file("tables/x/a.sql", "");
    let tar = tar.file("migrations/1.sql", "").file("migrations/1.pssql", "");
    let bundle = tar.read().unwrap();
    assert_eq!(
        paths(&bundle),
        ["tables/a.pssql", "tables/a.sql", "tables/x/a.sql", "migrations/1.pssql", "migrations/1.sql"]
    );
}

#[test]
fn migrations_go_by_file_name_and_the_rest_by_path() {
    let mut tar = Tar::new();
    for name in ["b/001.sql", "a/010.sql", "002.sql", "Z/9.sql", "a/ä.sql", "0.sql"] {
        tar = tar.file(&format!("migrations/{name}"), "").file(&format!("tables/{name}"), "");
    }
    let bundle = tar.read().unwrap();
    let names = |kind| bundle.of_kind(kind).map(|file| file.path.split_once('/').unwrap().1).collect::<Vec<_>>();
    assert_eq!(names(Kind::Migration), ["0.sql", "b/001.sql", "002.sql", "a/010.sql", "Z/9.sql", "a/ä.sql"]);
    assert_eq!(names(Kind::Table), ["0.sql", "002.sql", "Z/9.sql", "a/010.sql", "a/ä.sql", "b/001.sql"]);
}

#[test]
fn the_order_in_the_archive_does_not_matter() {
    let files = [("tables/b.sql", "b"), ("tables/a.sql", "a"), ("x.md", ""), ("a.md", ""), ("types/c.sql", "c")];
    let forth = files.iter().fold(Tar::new(), |tar, (path, text)| tar.file(path, text)).read().unwrap();
    let back = files.iter().rev().fold(Tar::new(), |tar, (path, text)| tar.file(path, text)).read().unwrap();
    assert_eq!(forth.files, back.files);
    assert_eq!(forth.warnings, back.warnings);
}

#[test]
fn byte_order_mark_and_line_ends() {
    let bundle = Tar::new().file("tables/a.sql", "\u{feff}SELECT\r\n\u{feff}1;").read().unwrap();
    assert_eq!(bundle.files[0].text, "SELECT\r\n\u{feff}1;");
    let raw = Sha256::digest("\u{feff}SELECT\r\n\u{feff}1;".as_bytes());
    assert!(bundle.files[0].sha256.starts_with(&format!("{:02x}{:02x}", raw[0], raw[1])));
    assert_eq!(Tar::new().file("tables/a.sql", "").read().unwrap().files[0].text, "");
}

#[test]
fn extension_requests() {
    let request = |path: &str, text: &str| {
        let bundle = Tar::new().file(&format!("extensions/{path}"), text).read().unwrap();
        bundle.files[0].extension_request().unwrap()
    };
    let expected = |name: &str, version: Option<&str>, schema: Option<&str>| ExtensionRequest {
        name: name.to_owned(),
        version: version.map(str::to_owned),
        schema: schema.map(str::to_owned),
    };
    assert_eq!(request("uuid-ossp.sql", ""), expected("uuid-ossp", None, None));
    assert_eq!(
        request("vector.txt", "-- similarity search\r\n-- version: 0.5.0\r\n  --schema: ext \r\n"),
        expected("vector", Some("0.5.0"), Some("ext"))
    );
    assert_eq!(request("x/pg_trgm.sql", "-- version:\n-- schema:  \n"), expected("pg_trgm", None, None));
    assert_eq!(request("a.sql", "-- version: 1\n-- version: 2\n"), expected("a", Some("2"), None));
    assert_eq!(request("a.sql", "version: 1\n-- the version: 2\n-- schema\n"), expected("a", None, None));
    assert_eq!(request("a.sql", "CREATE EXTENSION a SCHEMA b; -- schema: c"), expected("a", None, None));
    assert_eq!(request("a.b.sql", "-- version: 1:2"), expected("a.b", Some("1:2"), None));
}

#[test]
fn manifests() {
    let text = r#"{"platform": "shop", "schema_name": "core", "requires": {"sessions": ">=1", "audit": {"x": [1]}}}"#;
    for (root, manifest) in [
        ("", "stonescript.json"),
        ("postgresql/", "stonescript.json"),
        ("postgresql/", "./postgresql/stonescript.json"),
        ("app/postgresql/", "app/postgresql/stonescript.json"),
        ("app/postgresql/", "app/stonescript.json"),
        ("app/postgresql/", "stonescript.json"),
    ] {
        // Before the files and behind them: the root is not known until the first file.
        for tar in [full(root).file(manifest, text), Tar::new().file(manifest, text)] {
            let bundle = tar.file(&format!("{root}tables/z.sql"), "").read().unwrap();
            let found = bundle.manifest.unwrap();
            assert_eq!((found.platform.as_deref(), found.schema_name.as_deref()), (Some("shop"), Some("core")));
            assert_eq!(found.requires.len(), 2);
            assert!(bundle.warnings.is_empty(), "{:?}", bundle.warnings);
        }
    }
}

#[test]
fn sparse_manifests() {
    for text in ["{}", "\u{feff}{}\n", r#"{"platform": null, "schema_name": null, "requires": null}"#] {
        let bundle = full("").file("stonescript.json", text).read().unwrap();
        assert_eq!(bundle.manifest, Some(Manifest::default()));
    }
    let bundle = full("").file("stonescript.json", r#"{"platfrom": "shop"}"#).read().unwrap();
    assert_eq!(bundle.manifest, Some(Manifest::default()));
    assert_eq!(bundle.warnings, [r#"stonescript.json: unknown key "platfrom" is ignored"#]);
}

#[test]
fn manifests_elsewhere_are_other_files() {
    for place in ["tables/stonescript.json", "other/stonescript.json", "app/other/stonescript.json"] {
        let bundle = full("app/postgresql/").file(place, "not json").read().unwrap();
        assert_eq!(bundle.manifest, None);
        assert_eq!(bundle.warnings.len(), 1, "{place}");
    }
}

#[test]
fn warnings_name_the_outermost_ignored_part() {
    let tar = full("app/postgresql/")
        .file(".DS_Store", [0xff, 0])
        .file("README.md", "")
        .file("app/README.md", "")
        .folder("app/src")
        .file("app/src/a.php", "")
        .file("app/src/deep/b.php", "")
        .file("app/postgresql/README.md", "")
        .file("app/postgresql/tables/README.md", [0xff, 0])
        .file("app/postgresql/tables/._a.pssql", [0xff, 0])
        .file("app/postgresql/tables/.git/config.sql", "")
        .file("app/postgresql/tables/sub/Icon\r", "")
        .folder("app/postgresql/procs")
        .file("app/postgresql/Functions/f.sql", "")
        .file("app/postgresql/views", "");
    let bundle = tar.read().unwrap();
    let named: Vec<&str> = bundle.warnings.iter().map(|w| w.split_once(" is ignored: ").unwrap().0).collect();
    assert_eq!(
        named,
        [
            r#"".DS_Store""#,
            r#""README.md""#,
            r#""app/README.md""#,
            r#""app/postgresql/Functions/""#,
            r#""app/postgresql/README.md""#,
            r#""app/postgresql/procs/""#,
            r#""app/postgresql/tables/._a.pssql""#,
            r#""app/postgresql/tables/.git/""#,
            r#""app/postgresql/tables/README.md""#,
            r#""app/postgresql/tables/sub/Icon\r""#,
            r#""app/postgresql/views""#,
            r#""app/src/""#,
        ]
    );
    assert_eq!(paths(&bundle), FULL);
}

#[test]
fn warnings_are_capped() {
    let with = |count| (0..count).fold(full(""), |tar, i| tar.file(&format!("{i:04}.md"), "")).read().unwrap().warnings;
    assert_eq!(with(100).len(), 100);
    let warnings = with(1234);
    assert_eq!(warnings.len(), 101);
    assert!(warnings[99].starts_with(r#""0099.md" is ignored"#));
    assert_eq!(warnings[100], "and 1134 more");
}

#[test]
fn long_names() {
    let long = format!("postgresql/tables/{}/{}.sql", "d".repeat(150), "f".repeat(150));
    let below = long.strip_prefix("postgresql/").unwrap();
    let name = |tar: Tar| tar.file("short", "text").read().unwrap().files[0].clone();

    let gnu = Tar::new().member(b'L', b"././@LongLink", format!("{long}\0").as_bytes());
    let gnu_without_zero = Tar::new().member(b'L', b"././@LongLink", long.as_bytes());
    let pax = Tar::new().pax(b'x', &["mtime=1.5", &format!("path={long}"), "SCHILY.xattr.user.x=a\nb", "size=4"]);
    let both = Tar::new().member(b'L', b"././@LongLink", b"other\0").pax(b'x', &[&format!("path={long}")]);
    for tar in [gnu, gnu_without_zero, pax, both] {
        let file = name(tar);
        assert_eq!((file.path.as_str(), file.text.as_str()), (below, "text"));
    }
    let prefix =
        Tar::new().header_with(b'0', b"a.sql", 0, |header| header[345..362].copy_from_slice(b"postgresql/tables"));
    assert_eq!(paths(&prefix.read().unwrap()), ["tables/a.sql"]);
}

#[test]
fn global_pax_headers_are_passed_over_in_silence() {
    let tar = Tar::new().pax(b'g', &["comment=0123456789abcdef"]).file("tables/a.sql", "x").pax(b'g', &["comment=y"]);
    let bundle = tar.read().unwrap();
    assert_eq!(paths(&bundle), ["tables/a.sql"]);
    assert!(bundle.warnings.is_empty());
}

#[test]
fn old_tar_formats() {
    // Neither magic number nor folders: the name's slash makes one. Type 7 is a contiguous file, that is, a file.
    let old = |header: &mut [u8; 512]| header[257..265].fill(0);
    let tar = Tar::new().header_with(0, b"tables/", 0, old).header_with(0, b"tables/a.sql", 1, old).data(b"x");
    assert_eq!(paths(&tar.member(b'7', b"tables/b.sql", b"y").read().unwrap()), ["tables/a.sql", "tables/b.sql"]);
}

#[test]
fn gzip_of_several_members() {
    let tar = full("").end();
    let (head, tail) = tar.split_at(700);
    let archive = [gzip(head), gzip(b""), gzip(tail), gzip(b"")].concat();
    assert_eq!(paths(&read(&archive).unwrap()), FULL);
}

#[test]
fn any_number_of_zero_blocks_ends_a_tar() {
    for blocks in [1, 2, 20, 1000] {
        let mut tar = full("").0;
        tar.resize(tar.len() + blocks * 512, 0);
        assert_eq!(paths(&read(&tar).unwrap()), FULL);
    }
}
