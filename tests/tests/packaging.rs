//! What packages say of themselves: that PGXN can read it, and that it agrees. Without a server.

use std::fs;
use std::path::Path;

use serde_json::Value;

fn file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn meta() -> Value {
    serde_json::from_str(&file("META.json")).expect("META.json is JSON")
}

/// The version of the workspace, which is that of these tests.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// PGXN Meta Spec 1.0.0, "Required Fields" and the types of the others that are there.
#[test]
fn meta_json_is_as_pgxn_asks() {
    let meta = meta();
    let text = |value: &Value, name: &str| {
        let text = value[name].as_str().unwrap_or_else(|| panic!("{name} is a text"));
        assert!(!text.is_empty(), "{name} is empty");
        text.to_owned()
    };
    // A Term: at least two characters, and none that a path or a URI has a meaning for.
    let name = text(&meta, "name");
    assert!(name.len() >= 2 && !name.contains(['/', '\\', ' ']) && name.is_ascii(), "{name}");
    text(&meta, "abstract");
    assert!(text(&meta, "maintainer").contains('@'));
    let licenses = [
        "agpl_3",
        "apache_1_1",
        "apache_2_0",
        "artistic_1",
        "artistic_2",
        "bsd",
        "freebsd",
        "gfdl_1_2",
        "gfdl_1_3",
        "gpl_1",
        "gpl_2",
        "gpl_3",
        "lgpl_2_1",
        "lgpl_3_0",
        "mit",
        "mozilla_1_0",
        "mozilla_1_1",
        "openssl",
        "perl_5",
        "postgresql",
        "qpl_1_0",
        "ssleay",
        "sun",
        "zlib",
        "open_source",
        "restricted",
        "unrestricted",
        "unknown",
    ];
    assert!(licenses.contains(&text(&meta, "license").as_str()));
    assert_eq!(text(&meta["meta-spec"], "version"), "1.0.0");
    assert!(["stable", "testing", "unstable"].contains(&text(&meta, "release_status").as_str()));
    let provided = meta["provides"].as_object().expect("provides is an object");
    assert!(provided.contains_key("stonescriptdb"));
    for extension in provided.values() {
        for path in ["file", "docfile"] {
            file(&text(extension, path));
        }
        is_semantic(&text(extension, "version"));
    }
    is_semantic(&text(&meta, "version"));
    for needed in meta["prereqs"]["runtime"]["requires"].as_object().expect("requires is an object").values() {
        is_semantic(needed.as_str().expect("a version"));
    }
    assert!(meta["tags"].as_array().expect("tags are a list").iter().all(Value::is_string));
    let known = [
        "name",
        "abstract",
        "description",
        "version",
        "maintainer",
        "license",
        "release_status",
        "provides",
        "prereqs",
        "tags",
        "meta-spec",
        "generated_by",
        "no_index",
        "resources",
    ];
    for key in meta.as_object().expect("an object").keys() {
        assert!(known.contains(&key.as_str()) || key.starts_with("x_"), "{key} is no field of the specification");
    }
}

/// Three numbers without leading zeros.
#[track_caller]
fn is_semantic(version: &str) {
    let parts: Vec<&str> = version.split('.').collect();
    let is_number = |part: &&str| part.parse::<u32>().is_ok_and(|number| number.to_string() == **part);
    assert!(parts.len() == 3 && parts.iter().all(is_number), "{version}");
}

#[test]
fn versions_agree() {
    let meta = meta();
    assert_eq!(meta["version"], VERSION, "META.json");
    assert_eq!(meta["provides"]["stonescriptdb"]["version"], VERSION, "META.json, provides");
    let changes = file("CHANGELOG.md");
    let newest = changes.lines().find_map(|line| line.strip_prefix("## ")).expect("CHANGELOG.md has an entry");
    assert_eq!(newest.split_whitespace().next(), Some(VERSION), "CHANGELOG.md");
    let packages = file("packaging/changelog");
    let newest = packages.lines().next().expect("packaging/changelog has an entry");
    assert!(newest.starts_with(&format!("stonescriptdb ({VERSION}-")), "packaging/changelog: {newest}");
    // cargo-pgrx puts the crate's version there.
    assert!(file("stonescriptdb.control").contains("default_version = '@CARGO_VERSION@'"));
}

#[test]
fn the_licence_is_one() {
    let licence = file("LICENSE");
    assert!(licence.starts_with("MIT License"));
    let copied = file("packaging/copyright");
    for line in licence.lines().skip(2).filter(|line| !line.is_empty() && !line.starts_with("Copyright")) {
        assert!(copied.contains(line.trim()), "packaging/copyright lacks: {line}");
    }
    let holder = licence.lines().find_map(|line| line.strip_prefix("Copyright (c) ")).expect("a holder");
    assert!(copied.contains(&format!("Copyright: {holder}")));
}
