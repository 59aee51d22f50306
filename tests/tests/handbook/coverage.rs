//! What is not run, and what has no example.

use std::collections::BTreeSet;

use super::markdown::{Block, Kind, blocks};
use super::request::exchanges;
use super::{DOCUMENTS, place, text_of};

/// Documents whose blocks are looked after elsewhere: by `command_line`, `trust` and `reference`.
const ELSEWHERE: &[&str] = &["docs/cli.md", "docs/moving.md", "docs/sql.md"];

/// As many blocks as may be left out, in all documents together.
const MOST_NOT_RUN: usize = 12;

/// All documents for users.
fn documents() -> Vec<String> {
    let in_docs = std::fs::read_dir(place("docs")).expect("docs/").map(|entry| entry.expect("an entry").file_name());
    let mut documents: Vec<String> = in_docs
        .filter_map(|name| name.to_str().filter(|name| name.ends_with(".md")).map(|name| format!("docs/{name}")))
        .collect();
    documents.extend(["README.md".to_owned(), "CONTRIBUTING.md".to_owned()]);
    documents.sort();
    documents.retain(|document| !ELSEWHERE.contains(&document.as_str()));
    documents
}

fn is_harmless(block: &Block) -> bool {
    matches!(block.kind, Kind::Picture | Kind::NotRun(_))
}

#[test]
fn every_document_with_something_to_run_is_read() {
    assert!(documents().len() > 15, "{:?}", documents());
    for document in documents() {
        let blocks = blocks(&text_of(&document));
        let first = blocks.iter().find(|block| !is_harmless(block));
        let is_read = DOCUMENTS.contains(&document.as_str());
        assert!(is_read || first.is_none(), "{document}:{}: no test reads it", first.map_or(0, |block| block.line));
    }
}

#[test]
fn little_is_not_run() {
    let mut found = Vec::new();
    for document in documents() {
        for block in blocks(&text_of(&document)) {
            if let Kind::NotRun(reason) = block.kind {
                found.push(format!("{document}:{}: {reason}", block.line));
            }
        }
    }
    println!("{}", found.join("\n"));
    assert!(found.len() <= MOST_NOT_RUN, "{} blocks are not run:\n{}", found.len(), found.join("\n"));
}

/// Every route of `src/server/http/mod.rs`, its methods in front.
fn routes() -> Vec<(Vec<&'static str>, String)> {
    let source = text_of("src/server/http/mod.rs");
    let named = source.split(".route(\"").skip(1).filter_map(|rest| rest.split_once("\", "));
    let mut routes: Vec<_> = named
        .filter(|(path, _)| !path.starts_with("/test/"))
        .map(|(path, rest)| {
            let handlers = rest.lines().next().unwrap_or_default();
            let methods = [("get(", "GET"), ("post(", "POST")];
            (
                methods.into_iter().filter(|(made, _)| handlers.contains(made)).map(|(_, method)| method).collect(),
                path.into(),
            )
        })
        .collect();
    routes.push((vec!["POST"], "/call".into()));
    routes
}

/// Whether a request's target is of a route.
fn is_of(target: &str, route: &str) -> bool {
    let path = target.split('?').next().unwrap_or_default();
    let (parts, wanted): (Vec<_>, Vec<_>) = (path.split('/').collect(), route.split('/').collect());
    parts.len() == wanted.len()
        && parts.iter().zip(&wanted).all(|(part, wanted)| wanted.starts_with('{') || part == wanted)
}

#[test]
fn every_route_has_an_example_that_is_run() {
    let routes = routes();
    assert!(routes.len() > 40, "the routes are not found: {routes:?}");
    let blocks = blocks(&text_of("docs/http.md"));
    let requests: Vec<_> =
        blocks.iter().filter(|block| block.kind == Kind::Requests).flat_map(|block| exchanges(&block.text)).collect();
    let mut without = Vec::new();
    for (methods, route) in &routes {
        // The console's own files, whose names have a version in them.
        if route.starts_with("/console/") {
            continue;
        }
        for method in methods {
            // What can be a route of its own is not an example of one with a parameter.
            let is_example = |target: &str| {
                is_of(target, route)
                    && !routes.iter().any(|(_, other)| other != route && !other.contains('{') && is_of(target, other))
            };
            let shown = requests
                .iter()
                .any(|request| request.method == *method && is_example(&request.target) && request.answer.is_some());
            if !shown {
                without.push(format!("{method} {route}"));
            }
        }
    }
    assert!(without.is_empty(), "docs/http.md has no example of {without:#?}");
}

/// Whether a suite has a test of that name.
fn is_test(name: &str) -> bool {
    let Some((suite, test)) = name.split_once("::") else { return false };
    let folder = place("tests/tests").join(suite);
    let mut files = vec![folder.with_extension("rs")];
    files.extend(std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.expect("an entry").path()));
    files
        .iter()
        .filter_map(|file| std::fs::read_to_string(file).ok())
        .any(|source| source.contains(&format!("fn {test}()")))
}

#[test]
fn every_error_has_an_example_or_a_test() {
    let source = text_of("src/error.rs");
    let codes: BTreeSet<&str> =
        source.lines().filter_map(|line| line.split_once("=> (\"")?.1.split_once('"')).map(|(code, _)| code).collect();
    assert!(codes.len() > 20, "the codes are not found: {codes:?}");
    let mut shown = String::new();
    for document in DOCUMENTS {
        let blocks = blocks(&text_of(document)).into_iter();
        shown
            .extend(blocks.filter(|block| matches!(block.kind, Kind::Requests | Kind::Answer)).map(|block| block.text));
    }
    // As in "`lock_timeout`: `suite::test`".
    let http = text_of("docs/http.md").replace('\n', " ");
    let is_named = |code: &str| {
        let mark = format!("`{code}`: `");
        let tests = http.split(&mark).skip(1).filter_map(|rest| rest.split_once('`'));
        tests.map(|(name, _)| name).any(is_test)
    };
    let without: Vec<&&str> =
        codes.iter().filter(|code| !shown.contains(&format!("\"error\":\"{code}\"")) && !is_named(code)).collect();
    assert!(without.is_empty(), "neither an example nor, in docs/http.md, a test: {without:?}");
}
