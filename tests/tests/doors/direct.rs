//! Connections that executors serve by themselves: a token is good there for as long, and for as much, as anywhere.

use std::time::Duration;

use acceptance::wait::check;
use acceptance::{Cluster, Platform, eventually, eventually_within, fixtures, shared, sql};
use serde_json::json;

use crate::line::Line;

/// A token of a platform with more fields; itself and its id.
#[track_caller]
fn issue(cluster: &Cluster, body: &serde_json::Value) -> (String, String) {
    let made = cluster.http().admin().post_json("/admin/platform-token", body).ok();
    (made.str("token").to_owned(), made.str("id").to_owned())
}

#[test]
fn a_token_that_is_rotated_at_once_is_good_for_nothing_more() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "turn", &fixtures::tiny());
    let name = platform.name.as_str();
    let (token, id) = issue(&cluster, &json!({"platform": name}));
    let call = |token: &str| cluster.http().bearer(token).call_bytes(name, "f", &json!([]));
    let mut line = Line::settled(&cluster.http().bearer(&token), name);
    let turn = json!({"id": id, "grace": 0});
    let new = cluster.http().admin().post_json("/admin/rotate-token", &turn).ok().str("token").to_owned();
    line.exchange(&call(&token)).error(401, "unauthorized");
    line.exchange(&call(&new)).ok();
}

#[test]
fn a_token_that_loses_its_scope_is_good_for_no_more_calls() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "less", &fixtures::tiny());
    let name = platform.name.as_str();
    let (token, id) = issue(&cluster, &json!({"platform": name}));
    let (deploys, _) = issue(&cluster, &json!({"platform": name, "scopes": ["deploy"]}));
    let call = |token: &str| cluster.http().bearer(token).call_bytes(name, "f", &json!([]));
    let mut line = Line::settled(&cluster.http().bearer(&token), name);
    // Another one's request on the same connection.
    line.exchange(&call(&deploys)).error(403, "insufficient_scope");
    let mut line = Line::settled(&cluster.http().bearer(&token), name);
    let less = format!("UPDATE stonescriptdb.token SET scopes = '{{deploy}}' WHERE id = '{id}'");
    sql::done(cluster.control().execute(&less, &[]));
    eventually("the scope to be missed", || {
        let answer = line.exchange(&call(&token));
        check(answer.status == 403 && answer.code() == "insufficient_scope", &answer)
    });
}

#[test]
fn a_token_that_expires_meanwhile_is_good_for_nothing_more() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "over", &fixtures::tiny());
    let name = platform.name.as_str();
    // On a slow machine it may end before an executor has the connection: then one that lives longer.
    for lives in [5, 20, 60] {
        let (token, _) = issue(&cluster, &json!({"platform": name, "expires_in": lives}));
        let http = cluster.http().bearer(&token);
        let Some(mut line) = Line::try_settled(&http, name) else { continue };
        let call = http.call_bytes(name, "f", &json!([]));
        eventually_within(Duration::from_secs(90), "the token to expire", || {
            let answer = line.exchange(&call);
            check(answer.status == 401, &answer)
        });
        line.exchange(&call).error(401, "unauthorized");
        return;
    }
    panic!("no executor served the connection within a minute");
}
