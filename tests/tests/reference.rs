//! The reference in docs/ is what the catalog says: `docs/sql.md` is made from its comments, and `docs/settings.md` has every setting.
//!
//! `SSDB_WRITE_REFERENCE=1` writes `docs/sql.md` anew instead of comparing it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

use acceptance::{shared, sql};
use postgres::{Client, Row};

const HEAD: &str = "\
# The SQL surface

Functions and views of the schema `stonescriptdb`, in the control database. Members of `stonescriptdb_admin` may use them. Made from the
comments in the catalog (`SSDB_WRITE_REFERENCE=1 cargo test -p acceptance --test reference`); what they are for is told in
[deploying.md](deploying.md), [fleets.md](fleets.md), [tenants.md](tenants.md) and [http.md](http.md).
";

const FUNCTIONS: &str = "
SELECT p.proname::text, pg_get_function_arguments(p.oid), pg_get_function_result(p.oid), obj_description(p.oid, 'pg_proc')
FROM pg_proc p
WHERE p.pronamespace = 'stonescriptdb'::regnamespace AND has_function_privilege('stonescriptdb_admin', p.oid, 'EXECUTE')
      AND p.prorettype <> 'trigger'::regtype
ORDER BY 1, 2";

const VIEWS: &str = "
SELECT c.relname::text, obj_description(c.oid, 'pg_class'), a.attname::text, format_type(a.atttypid, a.atttypmod),
       coalesce(col_description(c.oid, a.attnum), '')
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
WHERE c.relnamespace = 'stonescriptdb'::regnamespace AND c.relkind = 'v'
ORDER BY c.relname, a.attnum";

fn docs(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name)
}

fn rows(client: &mut Client, query: &str) -> Vec<Row> {
    sql::done(client.query(query, &[]))
}

/// A comment as a sentence.
fn sentence(comment: &str) -> String {
    let mut letters = comment.chars();
    let first: String = letters.next().map(|letter| letter.to_uppercase().collect()).unwrap_or_default();
    format!("{first}{}.", letters.as_str())
}

/// Arguments, each on a line of its own where they would not fit on one.
fn signature(name: &str, arguments: &str, result: &str) -> String {
    let short = format!("{name}({arguments}) → {result}");
    if short.chars().count() <= 120 {
        return short;
    }
    // Types and defaults of this schema have no commas but in TABLE (...) of results.
    let arguments = arguments.replace(", ", ",\n    ");
    format!("{name}(\n    {arguments}\n) → {result}")
}

fn reference(client: &mut Client) -> String {
    let mut text = format!("{HEAD}\n## Functions\n");
    for row in rows(client, FUNCTIONS) {
        let (name, arguments, result, comment): (String, String, String, String) =
            (row.get(0), row.get(1), row.get(2), row.get(3));
        let signature = signature(&name, &arguments, &result);
        write!(text, "\n### {name}\n\n```\n{signature}\n```\n\n{}\n", sentence(&comment)).expect("a string takes it");
    }
    text.push_str("\n## Views\n");
    let mut last = String::new();
    for row in rows(client, VIEWS) {
        let (view, comment, column, kind, about): (String, String, String, String, String) =
            (row.get(0), row.get(1), row.get(2), row.get(3), row.get(4));
        if view != last {
            write!(text, "\n### {view} (view)\n\n{}\n\n| column | type | |\n|---|---|---|\n", sentence(&comment))
                .expect("a string takes it");
            last = view;
        }
        writeln!(text, "| `{column}` | {kind} | {about} |").expect("a string takes it");
    }
    text
}

#[test]
fn the_sql_reference_is_what_the_catalog_says() {
    let cluster = shared();
    let made = reference(&mut cluster.control());
    let path = docs("sql.md");
    if std::env::var_os("SSDB_WRITE_REFERENCE").is_some() {
        std::fs::write(&path, &made).expect("docs/sql.md can be written");
    }
    let committed = std::fs::read_to_string(&path).expect("docs/sql.md");
    let differs = made.lines().zip(committed.lines()).find(|(made, committed)| made != committed);
    assert!(
        made == committed,
        "docs/sql.md is not what the catalog says, at {differs:?}; SSDB_WRITE_REFERENCE=1 writes it anew"
    );
}

/// One row of the table in docs/settings.md: default, unit, when it takes effect.
fn documented() -> BTreeMap<String, (String, String, String)> {
    let text = std::fs::read_to_string(docs("settings.md")).expect("docs/settings.md");
    let mut settings = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let (Some(name), Some(default), Some(unit), Some(effect)) =
            (cells.get(1), cells.get(2), cells.get(3), cells.get(5))
        else {
            panic!("too few cells: {line}")
        };
        let plain = |cell: &str| cell.trim_matches('`').to_owned();
        let default = if *default == "empty" { String::new() } else { plain(default) };
        settings.insert(plain(name), (default, plain(unit), plain(effect)));
    }
    settings
}

#[test]
fn the_table_of_settings_is_what_the_server_says() {
    let cluster = shared();
    let query = "SELECT substr(name, 15), coalesce(boot_val, ''), coalesce(unit, ''),
                        CASE context WHEN 'postmaster' THEN 'restart' WHEN 'sighup' THEN 'reload' ELSE context END
                 FROM pg_settings WHERE name LIKE 'stonescriptdb.%'";
    let mut of_server: BTreeMap<String, (String, String, String)> = rows(&mut cluster.control(), query)
        .iter()
        .map(|row| (row.get(0), (row.get(1), row.get(2), row.get(3))))
        .collect();
    let mut documented = documented();
    // What is secret is not listed by the server.
    for secret in ["admin_token", "metrics_token"] {
        assert!(documented.remove(secret).is_some(), "{secret} is not documented");
        assert!(of_server.remove(secret).is_none(), "{secret} is listed");
    }
    let names = |settings: &BTreeMap<String, _>| settings.keys().cloned().collect::<Vec<String>>();
    assert_eq!(names(&documented), names(&of_server), "the settings that docs/settings.md has, and those there are");
    for (name, row) in &documented {
        assert_eq!(Some(row), of_server.get(name), "{name}: default, unit, takes effect");
    }
}

/// Every code of an error has a line that says what to do about it.
#[test]
fn every_error_is_explained() {
    let source = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../src/error.rs");
    let source = std::fs::read_to_string(source).expect("src/error.rs");
    let codes: Vec<&str> =
        source.lines().filter_map(|line| line.split_once("=> (\"")?.1.split_once('"')).map(|(code, _)| code).collect();
    assert!(codes.len() > 20, "the codes are not found in src/error.rs: {codes:?}");
    for document in ["operating.md", "http.md"] {
        let text = std::fs::read_to_string(docs(document)).expect("a document");
        let missing: Vec<&&str> = codes.iter().filter(|code| !text.contains(&format!("`{code}`"))).collect();
        assert!(missing.is_empty(), "docs/{document} does not have {missing:?}");
    }
}

/// The anchor that a heading gets where Markdown is shown.
fn anchor(heading: &str) -> String {
    let plain = heading.trim_start_matches('#').trim().to_lowercase();
    plain
        .chars()
        .filter(|letter| letter.is_alphanumeric() || matches!(letter, '_' | '-' | ' '))
        .map(|letter| if letter == ' ' { '-' } else { letter })
        .collect()
}

/// A Markdown text without its fenced blocks.
fn prose(text: &str) -> String {
    text.split("```").step_by(2).collect()
}

#[test]
fn links_between_documents_lead_somewhere() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let folders = [root.clone(), root.join("docs"), root.join("tests")];
    let is_document = |path: &PathBuf| path.extension().is_some_and(|kind| kind == "md");
    let entries = folders.iter().flat_map(|folder| std::fs::read_dir(folder).expect("a folder of documents"));
    let documents: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).filter(is_document).collect();
    assert!(documents.len() > 10, "there are more documents than {documents:?}");
    let mut broken = Vec::new();
    for document in &documents {
        let text = std::fs::read_to_string(document).expect("a document");
        for link in prose(&text).split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (file, place) = link.split_once('#').unwrap_or((link, ""));
            let folder = document.parent().expect("a document is in a folder");
            let target = if file.is_empty() { document.clone() } else { folder.join(file) };
            let leads = target.exists()
                && (place.is_empty() || {
                    let target = std::fs::read_to_string(&target).expect("a document");
                    prose(&target).lines().any(|line| line.starts_with('#') && anchor(line) == place)
                });
            if !leads {
                broken.push(format!("{}: {link}", document.display()));
            }
        }
    }
    assert!(broken.is_empty(), "links that lead nowhere:\n{}", broken.join("\n"));
}

/// All source text of a suite.
fn source_of(suite: &str) -> String {
    let place = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests").join(suite);
    let mut open = vec![place.with_extension("rs"), place];
    let mut text = String::new();
    while let Some(path) = open.pop() {
        if let Ok(entries) = std::fs::read_dir(&path) {
            open.extend(entries.map(|entry| entry.expect("an entry").path()));
        } else if let Ok(source) = std::fs::read_to_string(&path) {
            text.push_str(&source);
        }
    }
    text
}

/// What docs/security.md says to be shown by a test is shown by one that there is.
#[test]
fn the_tests_that_the_threat_model_names_exist() {
    let text = std::fs::read_to_string(docs("security.md")).expect("docs/security.md");
    let quoted = text.split('`').skip(1).step_by(2);
    let named: Vec<(&str, &str)> = quoted
        .filter_map(|name| name.split_once("::"))
        .filter(|(suite, test)| !suite.contains('/') && *suite != "suite" && !test.is_empty())
        .collect();
    assert!(named.len() > 100, "the names of tests are not found: {named:?}");
    let missing: Vec<_> =
        named.iter().filter(|(suite, test)| !source_of(suite).contains(&format!("fn {test}("))).collect();
    assert!(missing.is_empty(), "docs/security.md names tests that are not there: {missing:?}");
}
