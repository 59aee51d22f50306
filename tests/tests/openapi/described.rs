//! The document itself: whose it is, who may have it, when it is another one.

use acceptance::{Cluster, Platform, shared};
use serde_json::{Value, json};

use super::files;

fn paths(document: &Value) -> Vec<String> {
    document["paths"].as_object().expect("paths").keys().cloned().collect()
}

#[test]
fn it_has_what_bundles_deployed_and_can_be_called() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "described", &files());
    cluster
        .connect(&platform.database())
        .batch_execute("CREATE FUNCTION by_hand() RETURNS int LANGUAGE sql AS 'SELECT 1'; REVOKE EXECUTE ON FUNCTION total FROM PUBLIC;")
        .expect("done");
    let answer = cluster.http().get(&format!("/openapi.json?platform={}", platform.name)).ok();
    let document = &answer.json;
    let names: Vec<String> =
        paths(document).iter().map(|path| path.rsplit('/').next().expect("a name").to_owned()).collect();
    let expected = [
        "%22Any%20Thing%22",
        "absent",
        "add_item",
        "app.hidden",
        "coded",
        "fail",
        "find_items",
        "go",
        "labelled",
        "listed",
        "nothing",
        "outs",
        "put",
        "quiet",
        "say",
        "sorts",
        "total",
        "unnamed",
    ];
    assert_eq!(names, expected);
    let at = |pointer: &str| document.pointer(pointer).unwrap_or_else(|| panic!("no {pointer} in {answer}")).clone();
    assert_eq!(at("/info/title"), platform.name.as_str());
    assert_eq!(at("/components/schemas/add_item.params/required"), json!(["p_name", "p_price"]));
    assert_eq!(at("/components/schemas/add_item.params/properties/p_tags/description"), "Default: `'{}'::text[]`");
    assert_eq!(at("/components/schemas/item/description"), "What is sold");
    assert_eq!(at("/components/schemas/item/properties/price/description"), "In euros");
    assert_eq!(at("/components/schemas/colour/enum"), json!(["red", "green"]));
    assert_eq!(at("/components/schemas/colour/description"), "What it looks like");
    assert_eq!(at("/components/schemas/code/maxLength"), 8);
    assert_eq!(
        at("/components/schemas/labels"),
        json!({"type": "array", "items": {"type": ["string", "null"]}, "description": "CHECK ((cardinality(VALUE) < 3))"})
    );
    let operation = at(&format!("/paths/~1call~1{}~1add_item/post", platform.name));
    assert_eq!((&operation["summary"], &operation["operationId"]), (&json!("Adds an item."), &json!("add_item")));
    assert!(at(&format!("/paths/~1call~1{}~1find_items", platform.name))["get"].is_object());
    let errors = at("/components/schemas/Error/properties/error/enum");
    let errors = errors.as_array().expect("names");
    assert!(errors.contains(&json!("query_failed")) && errors.contains(&json!("pool_exhausted")), "{errors:?}");
}

#[test]
fn its_tag_changes_with_what_it_says() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "tagged", &files());
    platform.register_tenant("acme", &files()).ok();
    let of = |tenant: &str| format!("/openapi.json?platform={}&tenant_id={tenant}", platform.name);
    let http = cluster.http();
    let first = http.get(&of("main")).ok();
    let tag = first.header("etag").expect("a tag").to_owned();
    assert_eq!(first.header("cache-control"), Some("private, no-cache"));
    assert_eq!(first.json["info"]["version"], tag.trim_matches('"'));
    let known = http.header("If-None-Match", &tag);
    let same = known.get(&of("main")).expect(304);
    assert_eq!((same.header("etag"), same.text.as_str()), (Some(tag.as_str()), ""));
    // Deployed again, nothing is otherwise.
    platform.register_again(&files()).ok();
    known.get(&of("main")).expect(304);
    let other = http.get(&of("acme")).ok();
    assert_ne!(other.header("etag"), Some(tag.as_str()));
    assert_eq!(other.json["info"]["title"], format!("{} (acme)", platform.name));
    // A comment is enough.
    let changed = files().edit("functions/add_item.pssql", "Adds an item.", "Adds one item.");
    http.register(&platform.name, None, &changed.tar_gz()).ok();
    let second = known.get(&of("main")).ok();
    assert_ne!(second.header("etag"), Some(tag.as_str()));
    assert!(second.text.contains("Adds one item."));
    // The other tenant is as it was.
    let still = http.header("If-None-Match", other.header("etag").expect("a tag"));
    still.get(&of("acme")).expect(304);
}

#[test]
fn who_may_have_it() {
    let cluster = Cluster::start();
    let platform = Platform::register(&cluster, "guarded", &files());
    let other = Platform::register(&cluster, "other", &files());
    let http = cluster.http();
    let path = format!("/openapi.json?platform={}", platform.name);
    assert_eq!(http.get(&path).ok().json["security"], json!([{}, {"token": []}]));
    http.get("/openapi.json").error(400, "invalid_request");
    http.get("/openapi.json?platform=nowhere").error(404, "platform_not_found");
    http.get(&format!("{path}&tenant_id=nobody")).error(404, "database_not_found");
    http.get(&format!("{path}&platform=x")).error(400, "invalid_request");
    http.post_json(&path, &json!({})).error(405, "method_not_allowed");
    let token = |platform: &Platform| {
        let issued = http.admin().post_json("/admin/platform-token", &json!({"platform": platform.name})).json;
        issued["token"].as_str().expect("a token").to_owned()
    };
    let (own, others) = (token(&platform), token(&other));
    http.get(&path).error(401, "unauthorized");
    http.bearer(&others).get(&path).error(403, "platform_isolation_violation");
    assert_eq!(http.bearer(&own).get(&path).ok().json["security"], json!([{"token": []}]));
    http.admin().get(&path).ok();
}
