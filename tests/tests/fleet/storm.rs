//! Many containers that start at the same moment.

use std::sync::Barrier;

use acceptance::{Answer, Cluster, Http, Platform, shared, sql};
use serde_json::json;

use crate::kit::{LONG, bundle, json_rows};

/// Runs requests at the same moment, each from a client of its own; their answers.
fn at_once(cluster: &Cluster, count: usize, request: impl Fn(Http, usize) -> Answer + Sync) -> Vec<Answer> {
    let (barrier, http) = (Barrier::new(count), cluster.http().timeout(LONG));
    std::thread::scope(|scope| {
        let start = |n| {
            let (barrier, request, http) = (&barrier, &request, http.clone());
            scope.spawn(move || {
                barrier.wait();
                request(http, n)
            })
        };
        let clients: Vec<_> = (0..count).map(start).collect();
        clients.into_iter().map(|client| client.join().expect("the client")).collect()
    })
}

/// The databases of the server whose names begin like the platform's, and those of the registry.
#[track_caller]
fn check_databases(cluster: &Cluster, platform: &Platform<'_>, expected: &[String]) {
    let mut control = cluster.control();
    let there = format!("SELECT datname FROM pg_database WHERE starts_with(datname, '{}_') ORDER BY 1", platform.name);
    assert_eq!(sql::texts(&mut control, &there), expected, "databases");
    let listed = format!(
        "SELECT database, state FROM stonescriptdb.databases WHERE platform = '{}' ORDER BY database::text COLLATE \"C\"",
        platform.name
    );
    let listed = json_rows(&mut control, &listed);
    let expected: Vec<_> = expected.iter().map(|name| json!({"database": name, "state": "ready"})).collect();
    assert_eq!(listed, expected, "the registry");
}

#[test]
fn twenty_five_containers_register_the_same_new_platform() {
    let cluster = shared();
    let platform = Platform::unregistered(&cluster, "storm");
    let archive = bundle(1).tar_gz();
    for answer in at_once(&cluster, 25, |http, _| http.register(&platform.name, None, &archive)) {
        answer.ok().field("status", "ready").field("database", platform.database());
    }
    check_databases(&cluster, &platform, &[platform.database()]);
    assert_eq!(sql::text(&mut platform.connect(), "SELECT count(*) FROM counter"), "1", "seeded once");
    let platforms = format!("SELECT count(*) FROM stonescriptdb.platforms WHERE platform = '{}'", platform.name);
    assert_eq!(sql::text(&mut cluster.control(), &platforms), "1");
}

#[test]
fn twenty_containers_register_different_tenants_of_a_platform() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "storm", &bundle(1));
    let archive = bundle(1).tar_gz();
    let tenant = |n: usize| format!("t{n:02}");
    for (n, answer) in at_once(&cluster, 20, |http, n| http.register(&platform.name, Some(&tenant(n)), &archive))
        .into_iter()
        .enumerate()
    {
        answer.ok().field("status", "ready").field("database", platform.database_of(&tenant(n)));
    }
    let expected: Vec<String> =
        std::iter::once(platform.database()).chain((0..20).map(|n| platform.database_of(&tenant(n)))).collect();
    check_databases(&cluster, &platform, &expected);
    for n in 0..20 {
        assert_eq!(platform.call_tenant(&tenant(n), "edition", json!([])).value(), 1, "{n}");
    }
}

/// The platform is not there yet either, and each brings the next bundle.
#[test]
fn tenants_of_a_platform_that_is_not_there_yet_register_at_once() {
    let cluster = shared();
    let platform = Platform::unregistered(&cluster, "storm");
    let archive = bundle(1).tar_gz();
    let names = ["main", "a", "b", "c", "d", "e"];
    for answer in at_once(&cluster, 12, |http, n| http.register(&platform.name, Some(names[n % 6]), &archive)) {
        answer.ok().field("status", "ready");
    }
    let mut expected = names.map(|name| platform.database_of(name)).to_vec();
    expected.sort();
    check_databases(&cluster, &platform, &expected);
}

/// Of the requests that create, one does and the others are told that it is there.
#[test]
fn containers_of_the_later_dialect_start_at_the_same_moment() {
    let cluster = shared();
    let platform = Platform::unregistered(&cluster, "storm");
    let archive = bundle(1).tar_gz();
    let one_of = |answers: Vec<Answer>, code: &str| {
        let created = answers.iter().filter(|answer| answer.status == 201).count();
        assert_eq!(created, 1, "one creates it: {answers:#?}");
        for answer in answers.into_iter().filter(|answer| answer.status != 201) {
            answer.error(409, code);
        }
    };
    let register = |http: Http, _| http.post_json("/platform/register", &json!({"platform": platform.name}));
    one_of(at_once(&cluster, 10, register), "platform_already_registered");
    let path = format!("/platform/{}/schema", platform.name);
    let upload = |http: Http, _| http.multipart(&path, &[("schema_name", "web")], Some(("schema", &archive)));
    for answer in at_once(&cluster, 10, upload) {
        answer.expect(201).field("status", "registered").field("schema_name", "web");
    }
    let body = json!({"platform": platform.name, "schema_name": "web", "database_id": "one"});
    one_of(at_once(&cluster, 10, |http, _| http.post_json("/database/create", &body)), "database_already_exists");
    check_databases(&cluster, &platform, &[platform.database_of("web_one")]);
    let schemas = format!("SELECT versions FROM stonescriptdb.schemas WHERE platform = '{}'", platform.name);
    assert_eq!(sql::text(&mut cluster.control(), &schemas), "1", "the same archive is one version");
}
