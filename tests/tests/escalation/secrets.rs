//! The admin token, which no log, view or session has, wherever it comes from.

use acceptance::{ADMIN_TOKEN, Cluster, eventually, server, sql, wait::check};

#[track_caller]
fn wait_for(cluster: &Cluster, token: &str, status: u16) {
    eventually("the token to count", || {
        let answer = cluster.http().bearer(token).get("/admin/tokens");
        check(answer.status == status, answer)
    });
}

#[track_caller]
fn change(cluster: &Cluster, value: &str) {
    cluster.configure("stonescriptdb.admin_token", value);
    cluster.reload();
}

#[track_caller]
fn hash_of(cluster: &Cluster, token: &str) -> String {
    let query = format!("SELECT 'sha256:' || encode(sha256(convert_to('{token}', 'UTF8')), 'hex')");
    sql::text(&mut cluster.control(), &query)
}

#[test]
fn a_reload_does_not_write_the_admin_token_to_the_log() {
    let cluster = Cluster::start();
    wait_for(&cluster, ADMIN_TOKEN, 200);
    for token in ["first-secret-4b1d", "second-secret-77aa"] {
        change(&cluster, token);
        wait_for(&cluster, token, 200);
        wait_for(&cluster, ADMIN_TOKEN, 401);
    }
    // Off, and on again.
    change(&cluster, "");
    wait_for(&cluster, "second-secret-77aa", 503);
    change(&cluster, "third-secret-0c3e");
    wait_for(&cluster, "third-secret-0c3e", 200);
    // The postmaster has read each before any process of it: what it has to say is in the log by now.
    let log = cluster.log();
    for secret in ["first-secret", "second-secret", "third-secret", ADMIN_TOKEN] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
    for told in ["the admin token has changed", "the admin token was set", "the admin token was taken away"] {
        eventually("the log to tell of the change", || check(cluster.log().contains(told), told));
    }
}

#[test]
fn an_admin_token_that_was_not_there_is_not_in_the_log_either() {
    let cluster = Cluster::builder().admin_token(None).start();
    wait_for(&cluster, "late-secret-19be", 503);
    change(&cluster, "late-secret-19be");
    wait_for(&cluster, "late-secret-19be", 200);
    assert!(!cluster.log().contains("late-secret"), "it is in the log");
}

#[test]
fn an_admin_token_may_be_given_by_its_hash() {
    let cluster = Cluster::start();
    let hash = hash_of(&cluster, "a token of my own");
    change(&cluster, &hash);
    wait_for(&cluster, "a token of my own", 200);
    for wrong in [ADMIN_TOKEN, hash.as_str(), "", "a token of my own ", "sha256:"] {
        let answer = cluster.http().bearer(wrong).get("/admin/tokens");
        assert_eq!(answer.status, if wrong.ends_with(' ') { 200 } else { 401 }, "{wrong}: {answer}");
    }
    // Digits in upper case are the same hash.
    let upper = hash.replace("sha256:", "").to_uppercase();
    change(&cluster, &format!("sha256:{upper}"));
    wait_for(&cluster, "a token of my own", 200);
    // At a start too.
    cluster.stop(acceptance::Shutdown::Fast);
    cluster.start_again();
    wait_for(&cluster, "a token of my own", 200);
}

#[test]
fn a_hash_that_is_none_is_refused_and_not_shown() {
    let cluster = Cluster::start();
    for broken in ["sha256:0123secret", &format!("sha256:{}", "g".repeat(64)), &format!("sha256:{}", "0".repeat(63))] {
        change(&cluster, broken);
        eventually("the log to say so", || {
            let log = cluster.log();
            check(log.contains("stonescriptdb.admin_token") && log.contains("64 hexadecimal digits"), "it does not")
        });
        wait_for(&cluster, ADMIN_TOKEN, 200);
        assert!(!cluster.log().contains(broken), "the value is in the log");
    }
}

#[test]
fn no_session_sees_the_admin_token() {
    let cluster = Cluster::start();
    let mut control = cluster.control();
    for query in [
        "SHOW stonescriptdb.admin_token",
        "SELECT current_setting('stonescriptdb.admin_token')",
        "SELECT coalesce(string_agg(s::text, ' '), '') FROM pg_settings s WHERE name ~ 'admin_token'",
        "SET debug_parallel_query = on",
    ] {
        if let Ok(rows) = control.simple_query(query) {
            let text = format!("{rows:?}");
            assert!(!text.contains(ADMIN_TOKEN), "{query}: {text}");
        }
    }
    // A parallel worker gets settings by their text.
    let parallel = if server::major() < 16 { "force_parallel_mode" } else { "debug_parallel_query" };
    sql::done(control.batch_execute(&format!("SET {parallel} = on; SET max_parallel_workers_per_gather = 2")));
    let seen = sql::text(
        &mut control,
        "SELECT current_setting('stonescriptdb.admin_token') FROM (SELECT count(*) FROM pg_class) x",
    );
    assert!(!seen.contains(ADMIN_TOKEN), "{seen}");
    assert_eq!(cluster.http().admin().get("/admin/tokens").status, 200);
}
