//! The page and its files as they are served, without a browser.

use acceptance::{Cluster, shared};

#[test]
fn the_page_is_small_strict_and_complete() {
    let cluster = shared();
    let page = cluster.http().get("/console").ok();
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let policy = page.header("content-security-policy").expect("a policy").to_owned();
    for rule in [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'sha256-",
        "connect-src 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        "require-trusted-types-for 'script'",
    ] {
        assert!(policy.contains(rule), "{rule} is not in {policy}");
    }
    assert!(!policy.contains("unsafe") && !policy.contains('*') && !policy.contains("http"), "{policy}");
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    // What is painted first needs no other request; no address of another server is anywhere.
    assert!(page.text.contains("<style>:root"), "the style is in the page");
    assert!(!page.text.contains("rel=\"stylesheet\"") && !page.text.contains(" style="), "and nowhere else");
    let mut bytes = page.text.len();
    let mut paths: Vec<&str> =
        page.text.split("=\"/console/").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    paths.sort_unstable();
    assert!(paths.len() > 5 && paths.iter().any(|path| path.ends_with("/main.js")), "{paths:?}");
    for path in &paths {
        let module = cluster.http().get(&format!("/console/{path}")).ok();
        assert_eq!(module.header("content-type"), Some("text/javascript; charset=utf-8"), "{path}");
        // Its folder is another one when it changes.
        assert!(module.header("cache-control").is_some_and(|keep| keep.contains("immutable")), "{path}");
        for word in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "https://", "import("] {
            assert!(!module.text.contains(word), "{path} has {word}");
        }
        // What it needs is preloaded: nothing is asked for late.
        for needed in module.text.split("from \"./").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(paths.iter().any(|path| path.ends_with(&format!("/{needed}"))), "{path} needs {needed}");
        }
        bytes += module.text.len();
    }
    let other = format!("/console/{}", paths[0].replace(|c: char| c.is_ascii_digit(), "f"));
    cluster.http().get(&other).error(404, "not_found");
    assert!(bytes < 150_000, "{bytes} bytes in all");
    cluster.http().get("/console/main.js").error(404, "not_found");
    cluster.http().get("/console/..%2f../..%2fsettings.rs").error(404, "not_found");
    cluster.http().post_text("/console", "{}").error(405, "method_not_allowed");
}

/// The page is no secret; what it shows is.
#[test]
fn what_it_shows_needs_the_token() {
    let cluster = shared();
    for path in ["tenants", "deployments", "changelog?platform=x", "functions?platform=x", "drift", "workers"] {
        let path = format!("/admin/{path}");
        cluster.http().get(&path).error(401, "unauthorized");
        cluster.http().bearer("wrong").get(&path).error(401, "unauthorized");
    }
    cluster.http().admin().get("/admin/deployments?limit=0").error(400, "invalid_request");
    cluster.http().admin().get("/admin/deployments?limit=x").error(400, "invalid_request");
    cluster.http().admin().get("/admin/changelog").error(400, "invalid_request");
    cluster.http().admin().get("/admin/drift?tenant_id=x").error(400, "invalid_request");
    cluster.http().admin().get("/admin/tenants?platform=nobody").error(404, "platform_not_found");
    let off = Cluster::builder().admin_token(None).start();
    off.http().get("/console").ok();
    off.http().get("/admin/tenants").error(503, "admin_disabled");
}
