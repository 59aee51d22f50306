//! The reference in docs/ is what the server says: `docs/sql.md` is made from the comments in the catalog, the table in `docs/settings.md` from
//! `pg_settings`.
//!
//! `SSDB_WRITE_REFERENCE=1` writes both anew instead of comparing them.

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

/// Where a document says more of a setting.
const TOLD_IN: [(&str, &str); 19] = [
    ("listener_networks", "#networks-of-single-listeners"),
    ("trusted_proxies", "http.md#access"),
    ("require_platform_token", "tenants.md#tokens"),
    ("max_workers_per_database", "architecture.md#processes-and-threads"),
    ("call_timeout", "calling.md#time-limits"),
    ("max_batch", "http.md#post-callbatch"),
    ("deploy_nice", "performance.md#fleets"),
    ("online_table_size", "deploying.md#big-tables"),
    ("adopt_gateway_databases", "deploying.md#databases-of-the-standalone-gateway"),
    ("max_result_size", "calling.md#rows-as-lines"),
    ("log_min_status", "observing.md#the-log"),
    ("log_rate", "observing.md#how-much-is-logged"),
    ("tls", "#tls"),
    ("direct_connections", "architecture.md#the-path-of-a-call"),
    ("busy_poll", "architecture.md#the-path-of-a-call"),
    ("allowed_origins", "http.md#web-pages"),
    ("allowed_hosts", "http.md#web-pages"),
    ("platform_rate", "tenants.md#rates"),
    ("log_refusals", "http.md#access"),
];

/// Settings that the server lists nowhere, because their values are secret. Their rows are as they are in the document.
const SECRET: [&str; 2] = ["admin_token", "metrics_token"];

/// The table's head; above and below it is prose.
const TABLE: &str =
    "| setting | default | unit | least – most | takes effect | what it is |\n|---|---|---|---|---|---|\n";

const SETTINGS: &str = "
SELECT substr(name, 15) AS name, coalesce(boot_val, '') AS default, coalesce(unit, '') AS unit, vartype, coalesce(min_val, '') AS least,
       coalesce(max_val, '') AS most, coalesce(enumvals, '{}') AS choices,
       CASE context WHEN 'postmaster' THEN 'restart' WHEN 'sighup' THEN 'reload' ELSE context END AS effect,
       concat_ws(' ', short_desc, nullif(extra_desc, '')) AS about
FROM pg_settings WHERE name LIKE 'stonescriptdb.%' ORDER BY name";

/// The greatest value, in a unit that people read.
fn most(most: &str, unit: &str) -> String {
    let steps: &[(i64, &str)] = match unit {
        "ms" => &[(24 * 60 * 60 * 1000, "day")],
        "s" => &[(365 * 24 * 60 * 60, "year"), (24 * 60 * 60, "day")],
        "kB" => &[(1 << 30, "TB"), (1 << 20, "GB"), (1 << 10, "MB")],
        _ => &[],
    };
    let number: i64 = most.parse().expect("a number");
    // The greatest number of all is a little less than a round one.
    let number = if most == "2147483647" { number + 1 } else { number };
    let Some((step, name)) = steps.iter().find(|(step, _)| number >= *step) else { return most.to_owned() };
    let count = number / step;
    let plural = if count > 1 && matches!(*name, "day" | "year") { "s" } else { "" };
    format!("{count} {name}{plural}")
}

/// Name and row of each setting that the server lists.
fn rows_of_settings(client: &mut Client) -> BTreeMap<String, String> {
    let row = |row: Row| {
        let text = |name: &str| row.get::<_, String>(name);
        let (name, unit) = (text("name"), text("unit"));
        let default = match (text("default"), text("vartype").as_str()) {
            (default, _) if default.is_empty() => "empty".to_owned(),
            (default, "integer") => default,
            (default, _) => format!("`{default}`"),
        };
        let choices: Vec<String> = row.get("choices");
        let range = match text("vartype").as_str() {
            "integer" => format!("{} – {}", text("least"), most(&text("most"), &unit)),
            "enum" => choices.iter().map(|choice| format!("`{choice}`")).collect::<Vec<_>>().join(", "),
            _ => String::new(),
        };
        let place = TOLD_IN.iter().find(|(of, _)| *of == name).map(|(_, place)| *place);
        let more = match place.map(|place| (place, place.split('#').next().unwrap_or_default())) {
            Some((place, "")) => format!(" More [below]({place})."),
            Some((place, file)) => format!(" More in [{file}]({place})."),
            None => String::new(),
        };
        let cells = [format!("`{name}`"), default, unit, range, text("effect"), text("about") + &more];
        let line: String =
            cells.iter().map(|cell| if cell.is_empty() { "| ".to_owned() } else { format!("| {cell} ") }).collect();
        (name, line + "|\n")
    };
    rows(client, SETTINGS).into_iter().map(row).collect()
}

/// The names and rows of a table, in its order.
fn rows_of_table(table: &str) -> Vec<(String, String)> {
    let name = |line: &str| line.split('`').nth(1).unwrap_or_else(|| panic!("no name: {line}")).to_owned();
    table.lines().map(|line| (name(line), format!("{line}\n"))).collect()
}

/// The table is in the document's order, which is by subjects; what is new is at its end.
#[test]
fn the_table_of_settings_is_what_the_server_says() {
    let cluster = shared();
    let mut of_server = rows_of_settings(&mut cluster.control());
    assert!(of_server.len() > 50, "the settings are not found: {of_server:?}");
    for (name, _) in TOLD_IN {
        assert!(of_server.contains_key(name), "there is no setting {name}");
    }
    let path = docs("settings.md");
    let committed = std::fs::read_to_string(&path).expect("docs/settings.md");
    let (before, behind) = committed.split_once(TABLE).expect("docs/settings.md has the table");
    let (table, after) = behind.split_once("\n\n").expect("something follows the table");
    let mut made = String::new();
    for (name, line) in rows_of_table(table) {
        if SECRET.contains(&name.as_str()) {
            assert!(!of_server.contains_key(&name), "{name} is listed");
            made.push_str(&line);
        } else if let Some(line) = of_server.remove(&name) {
            made.push_str(&line);
        }
    }
    made.extend(of_server.into_values());
    for name in SECRET {
        assert!(made.contains(&format!("| `{name}` |")), "{name} is not documented");
    }
    let made = format!("{before}{TABLE}{made}\n{after}");
    if std::env::var_os("SSDB_WRITE_REFERENCE").is_some() {
        std::fs::write(&path, &made).expect("docs/settings.md can be written");
        return;
    }
    let differs = made.lines().zip(committed.lines()).find(|(made, committed)| made != committed);
    assert!(
        made == committed,
        "docs/settings.md is not what the server says, at {differs:?}; SSDB_WRITE_REFERENCE=1 writes its table anew"
    );
}

/// What src/settings/more.rs says is of a setting that there is.
#[test]
fn what_is_more_to_say_of_settings_is_said() {
    let source = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../src/settings/more.rs");
    let source = std::fs::read_to_string(source).expect("src/settings/more.rs");
    let (_, list) = source.split_once("MORE: ").expect("the list");
    let (list, _) = list.split_once("];").expect("its end");
    // Names are plain texts, what is said of them C's.
    let quoted: Vec<&str> = list.split('"').collect();
    let named: Vec<&str> =
        quoted.windows(2).step_by(2).filter(|pair| !pair[0].ends_with('c')).map(|pair| pair[1]).collect();
    assert!(named.len() > 30, "{named:?}");
    let cluster = shared();
    let query = "SELECT substr(name, 15) FROM pg_settings WHERE name LIKE 'stonescriptdb.%' AND extra_desc <> ''";
    let mut said = sql::texts(&mut cluster.control(), query);
    said.extend(SECRET.map(str::to_owned));
    let unknown: Vec<&&str> = named.iter().filter(|name| !said.iter().any(|known| known == *name)).collect();
    assert!(unknown.is_empty(), "src/settings/more.rs has {unknown:?}, which the server does not say");
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
