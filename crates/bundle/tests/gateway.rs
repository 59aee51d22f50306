//! The standalone gateway's checksums, against values made with `sha256sum`.
#![allow(clippy::unwrap_used)]

use sha2::{Digest, Sha256};
use stonescriptdb_bundle::gateway::{checksum, migration_checksum};

fn sha256(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn what_is_hashed() {
    for (text, normal) in [
        ("", ""),
        (" \n\t", ""),
        ("CREATE TABLE Users (ID int);", "create table users (id int);"),
        ("  CREATE\r\n\tTABLE  users\n(id int);\n\n", "create table users (id int);"),
        ("-- a comment\nCREATE TABLE a ();", "create table a ();"),
        ("CREATE TABLE a ( -- why\n id int);", "create table a ( id int);"),
        ("SELECT 1 --", "select 1"),
        ("SELECT 1 -- no line end", "select 1"),
        ("SELECT 1 -- b\r\n+ 2", "select 1 + 2"),
        ("SELECT 1;---- x\n2", "select 1; 2"),
        ("SELECT 1 - -1, 2-1", "select 1 - -1, 2-1"),
        // Nothing takes a block comment's place, it spans lines and does not nest.
        ("a/* x\n y */b", "ab"),
        ("a /* x */ b", "a b"),
        ("a/* /* x */ b */c", "a b */c"),
        ("a/**/b/***/c/* * / */d", "abcd"),
        ("a /*/ b */ c", "a c"),
        ("a /* never closed", "a /* never closed"),
        ("a /* b */ c /* never closed", "a c /* never closed"),
        // Line comments go first: in a block comment, which then is never closed or closed later, and in a literal.
        ("a /* -- b */ c\nd", "a /* d"),
        ("a /* -- b */ c\nd */ e", "a e"),
        ("SELECT 'a--b' || 'c';\nSELECT 2", "select 'a select 2"),
        ("SELECT '/*', '*/'", "select ''"),
        ("a -/**/- b", "a -- b"),
        // Unicode's white space and lower case, whole words at a time (a final sigma).
        ("SELECT\u{a0}\u{3000}'ÄÖ ΟΔΟΣ'", "select 'äö οδος'"),
        ("'A  B'", "'a b'"),
        // A byte order mark is no white space.
        ("\u{feff}SELECT", "\u{feff}select"),
    ] {
        assert_eq!(checksum(text), sha256(normal), "{text:?}");
    }
}

#[test]
fn fixed_values() {
    // printf '' | sha256sum
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(checksum("-- nothing\n/* at all */ "), empty);
    assert_eq!(migration_checksum(""), empty);
    // printf 'create table test (id int);' | sha256sum
    assert_eq!(checksum("CREATE TABLE  test (id INT); -- x"), LOWER);
    // printf 'CREATE TABLE test (id INT);' | sha256sum
    assert_eq!(migration_checksum("CREATE TABLE test (id INT);"), RAW);
}

#[test]
fn a_migration_is_hashed_as_it_is() {
    for text in ["-- a\nSELECT 1;\r\n", "\u{feff}SELECT 'ä';", " "] {
        assert_eq!(migration_checksum(text), sha256(text));
    }
}

const LOWER: &str = "8acf362a7c062e5b3f904aa0997e2500392c798533cbe3fed7d10ac219284121";
const RAW: &str = "789141b85942dc7961d826bf7df365f2ba88215dcc8111dfda4dcd6208899121";
