//! The cases without the extension: both bundles build on a plain server, and the rows go in. So a mistake in a case is not taken for
//! the extension's.

use std::collections::BTreeMap;

use acceptance::{Cluster, sql, unique};
use postgres::Client;

use crate::case::{Case, Outcome};

#[test]
fn every_case_is_valid() {
    let cluster = Cluster::builder().without_preload().start();
    super::run_all("plain", |case| run(&cluster, case));
}

fn run(cluster: &Cluster, case: &Case) -> Result<(), String> {
    let mut client = database(cluster);
    build(&mut client, &case.old).map_err(|why| format!("old: {why}"))?;
    for (path, text) in case.old.iter().filter(|(path, _)| path.starts_with("migrations/")) {
        client.batch_execute(text).map_err(|e| format!("{path}: {}", sql::describe(&e)))?;
    }
    if let Some(rows) = &case.rows {
        client.batch_execute(rows).map_err(|e| format!("rows: {}", sql::describe(&e)))?;
    }
    match (build(&mut database(cluster), &case.new), &case.outcome) {
        (Err(why), Outcome::Fails(sqlstate, Some(_))) if why.contains(&**sqlstate) => Ok(()),
        (built, _) => built.map_err(|why| format!("new: {why}")),
    }
}

fn database(cluster: &Cluster) -> Client {
    let name = unique("plain");
    sql::done(cluster.control().batch_execute(&format!("CREATE DATABASE {name}")));
    cluster.connect(&name)
}

/// Builds the files in some order, by trying again what failed as long as anything succeeds. Migrations and seeders are left out.
fn build(client: &mut Client, files: &BTreeMap<String, String>) -> Result<(), String> {
    let kind = |path: &str| path.split('/').next().unwrap_or_default().to_owned();
    let mut open: Vec<(String, String)> = Vec::new();
    for (path, text) in files {
        match &*kind(path) {
            "extensions" => {
                let name = path.trim_start_matches("extensions/").trim_end_matches(".sql");
                sql::done(client.batch_execute(&format!("CREATE EXTENSION \"{name}\"")));
            }
            "migrations" | "seeders" => {}
            _ => open.push((path.clone(), text.clone())),
        }
    }
    let mut with_keys = true;
    while !open.is_empty() {
        let mut failed = Vec::new();
        let mut last = String::new();
        let before = open.len();
        for (path, text) in open {
            // More than one statement in one message is one transaction.
            match client.batch_execute(&text) {
                Ok(()) => {}
                Err(error) => {
                    last = format!("{path}: {}", sql::describe(&error));
                    failed.push((path, text));
                }
            }
        }
        if failed.len() == before {
            if !with_keys {
                return Err(last);
            }
            // A ring of foreign keys: the server takes them in no order of files. The extension adds the keys later; here they are left out.
            with_keys = false;
            for (_, text) in &mut failed {
                *text = without_references(text);
            }
        }
        open = failed;
    }
    Ok(())
}

fn without_references(text: &str) -> String {
    let mut parts = text.split(" REFERENCES ");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |all, part| {
        let mut rest = part.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_');
        // What is said of the key behind it.
        for word in [" DEFERRABLE", " INITIALLY DEFERRED", " NOT ENFORCED", " ENFORCED"] {
            rest = rest.strip_prefix(word).unwrap_or(rest);
        }
        all + rest
    })
}
