//! Archives: what is refused, with a clear error and without a trace, and what is only odd.

use acceptance::bundle::gzip;
use acceptance::{Cluster, Files, Platform, fixtures, hostile, shared, sql};
use serde_json::json;

#[track_caller]
fn refuse(cluster: &Cluster, what: &str, bundle: &[u8]) {
    let platform = Platform::unregistered(cluster, "hostile");
    let answer = cluster.http().register(&platform.name, None, bundle);
    assert_eq!((answer.status, answer.code()), (400, "schema_extraction_failed"), "{what}: {answer}");
    answer.shaped();
    platform.assert_absent(what);
    let platforms = format!("SELECT count(*) FROM stonescriptdb.platforms WHERE platform = '{}'", platform.name);
    assert_eq!(sql::text(&mut cluster.control(), &platforms), "0", "{what}: a platform is left");
}

#[test]
fn hostile_archives_are_refused() {
    let cluster = shared();
    for (what, bundle) in [
        ("a symbolic link", hostile::symlink()),
        ("a hard link", hostile::hard_link()),
        ("a path with ..", hostile::dot_dot()),
        ("a long path with ..", hostile::long_dot_dot()),
        ("a pax path with ..", hostile::pax_dot_dot()),
        ("an absolute path", hostile::absolute()),
        ("a device", hostile::device()),
        ("a named pipe", hostile::fifo()),
        ("an entry of 8 GiB, it says", hostile::lying_size()),
        ("bytes of no kind", hostile::noise(50_000)),
        ("compressed bytes of no kind", gzip(&hostile::noise(50_000))),
        ("a text", b"CREATE TABLE x (id int);\n".to_vec()),
        ("a zip", b"PK\x03\x04\x14\x00\x00\x00\x00\x00".to_vec()),
        ("gzip's first bytes", b"\x1f\x8b\x08".to_vec()),
        ("one zero block", vec![0; 512]),
        ("a cut archive", hostile::cut_off()),
        ("a cut tar", hostile::cut_off_tar()),
        ("a wrong check sum", hostile::bad_checksum()),
        ("a wrong header", hostile::bad_header()),
        ("an archive of nothing", hostile::empty()),
        ("an archive of folders", hostile::folders_only()),
        (
            "nothing that is recognised",
            Files::new().file("README.md", "# hello\n").file("other/x.sql", "SELECT 1;\n").tar_gz(),
        ),
        (
            "SQL that is not UTF-8",
            fixtures::tiny().file("tables/latin1.pssql", b"CREATE TABLE t\xe4st (id int);\n").tar_gz(),
        ),
        (
            "SQL with a zero byte",
            fixtures::tiny().file("tables/nul.pssql", b"CREATE TABLE t (id int);\0 DROP TABLE t;\n").tar_gz(),
        ),
    ] {
        refuse(&cluster, what, &bundle);
    }
    assert_eq!(cluster.http().get("/health").ok().json["status"], "healthy");
}

#[test]
fn an_empty_file_field_is_refused() {
    let cluster = shared();
    let platform = Platform::unregistered(&cluster, "nofile");
    let answer = cluster.http().register(&platform.name, None, b"").client_error();
    assert_eq!(answer.status, 400, "{answer}");
    platform.assert_absent("the archive has no bytes");
}

#[test]
fn an_existing_database_does_not_change_by_a_hostile_archive() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "safe", &fixtures::shop());
    let before = platform.snapshot();
    for bundle in [hostile::symlink(), hostile::dot_dot(), hostile::cut_off(), hostile::noise(5_000)] {
        let answer = cluster.http().migrate(&platform.name, None, &bundle, &[("force", "true")]);
        answer.error(400, "schema_extraction_failed");
        platform.assert_unchanged(&before, "the archive is hostile");
    }
}

#[test]
fn the_limits_hold() {
    let cluster = Cluster::builder()
        .setting("stonescriptdb.max_archive_size", "1MB")
        .setting("stonescriptdb.max_bundle_size", "8MB")
        .setting("stonescriptdb.max_archive_entries", "200")
        .start();
    refuse(&cluster, "a bomb", &hostile::bomb(64));
    refuse(&cluster, "just too large when unpacked", &hostile::bomb(9));
    refuse(&cluster, "too many entries", &hostile::many_entries(250));
    // Larger than an archive may be as sent: the request is too large, or the archive is.
    let platform = Platform::unregistered(&cluster, "toolarge");
    let large = fixtures::tiny().file("seeders/noise.bin", hostile::noise(3 << 20)).tar_gz();
    let answer = cluster.http().register(&platform.name, None, &large).client_error();
    let right =
        [(413, "payload_too_large"), (400, "schema_extraction_failed")].contains(&(answer.status, answer.code()));
    assert!(right, "{answer}");
    platform.assert_absent("the archive is too large");
    // And one that keeps to all of them. Its comment is of random digits, which compress by two, not by a thousand.
    let digits: String = hostile::noise(500_000).iter().map(|byte| format!("{byte:02x}")).collect();
    let within = fixtures::tiny().file("functions/long.pssql", format!("-- {digits}\n"));
    Platform::register(&cluster, "within", &within);
}

#[test]
fn the_default_limits_hold() {
    let cluster = shared();
    refuse(&cluster, "a bomb of 300 MB", &hostile::bomb(300));
    refuse(&cluster, "20,001 entries", &hostile::many_entries(20_001));
    // An archive above max_request_body, which is for the other routes, and below max_archive_size.
    let files = fixtures::tiny().file("notes/noise.bin", hostile::noise(3 << 20));
    Platform::register(&cluster, "three_mb", &files);
}

#[test]
fn odd_archives_that_are_right_are_taken() {
    let cluster = shared();
    let platform = Platform::unregistered(&cluster, "odd");
    cluster.http().register(&platform.name, None, &hostile::odd_but_right("odd")).ok().field("tables_created", 1);
    assert_eq!(sql::text(&mut platform.connect(), "SELECT count(*) FROM odd"), "0");
}

#[test]
fn sub_folders_and_every_extension_are_read() {
    let cluster = shared();
    let files = Files::new()
        .file("tables/core/deep/t1.pssql", "CREATE TABLE t1 (id int PRIMARY KEY);\n")
        .file("tables/t2.pgsql", "CREATE TABLE t2 (id int PRIMARY KEY);\n")
        .file("tables/t3.sql", "CREATE TABLE t3 (id int PRIMARY KEY);\n")
        .file("functions/api/v1/f.sql", "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1';\n");
    let platform = Platform::unregistered(&cluster, "deep");
    platform.register_again(&files).ok().field("tables_created", 3);
    assert_eq!(platform.call("f", json!([])).value(), 1);
}

#[test]
fn what_is_not_recognised_is_named_in_a_warning() {
    let cluster = shared();
    let platform = Platform::unregistered(&cluster, "warned");
    let files = fixtures::tiny()
        .file("tabels/oops.pssql", "CREATE TABLE oops (id int);\n")
        .file("tables/notes.docx", "not SQL");
    let answer = platform.register_again(&files).ok();
    let warnings: Vec<&str> = answer.array("warnings").iter().filter_map(|w| w.as_str()).collect();
    let named = |what: &str| warnings.iter().any(|warning| warning.contains(what));
    assert!(named("tabels") && named("notes.docx"), "{answer}");
    assert_eq!(sql::text(&mut platform.connect(), "SELECT to_regclass('oops') IS NULL"), "t");
}
