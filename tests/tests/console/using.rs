//! What the tests of the console share.

use std::path::PathBuf;

use acceptance::{ADMIN_TOKEN, Cluster};
use serde_json::Value;

use super::browser::Browser;

/// Goes to a view of the console as somebody who has signed in.
#[track_caller]
pub fn open(browser: &Browser, cluster: &Cluster, view: &str) {
    let base = format!("http://127.0.0.1:{}/console", cluster.port());
    if browser.eval("location.href").as_str().is_none_or(|now| !now.starts_with(&base)) {
        browser.go(&base);
        browser.eval(&format!("sessionStorage.setItem('stonescriptdb.admin_token', '{ADMIN_TOKEN}')"));
    }
    // Another part behind # loads nothing anew by itself.
    browser.go("about:blank");
    browser.go(&format!("{base}#{view}"));
}

/// What axe-core has to say of the page as it is; with contrasts, names of controls, roles and the rest of WCAG 2.2 AA.
#[track_caller]
pub fn accessible(browser: &Browser, what: &str) {
    let script = std::fs::read_to_string(axe()).expect("axe-core can be read");
    browser.run(&format!("{script}; window.axe = axe ?? module.exports;"));
    let found = browser.run("return (await axe.run(document, {resultTypes: ['violations']})).violations");
    let told: Vec<String> = found
        .as_array()
        .expect("a list")
        .iter()
        .map(|rule| {
            let nodes = rule["nodes"].as_array().map(Vec::as_slice).unwrap_or_default();
            let places: Vec<String> =
                nodes.iter().map(|node| format!("{} {}", node["html"], node["failureSummary"])).collect();
            format!("{}: {}\n  {}", rule["id"], rule["help"], places.join("\n  "))
        })
        .collect();
    assert!(told.is_empty(), "{what}:\n{}", told.join("\n"));
}

/// `$SSDB_AXE`, or where `scripts/test` puts it: beside the folder of the build's profile.
fn axe() -> PathBuf {
    let place = std::env::var_os("SSDB_AXE").map(PathBuf::from).or_else(|| {
        let program = std::env::current_exe().ok()?;
        Some(program.ancestors().nth(3)?.join("axe.min.js"))
    });
    let place = place.expect("the test's program is in a folder");
    assert!(
        place.exists(),
        "there is no {}: make test gets it, or set SSDB_AXE to axe-core's axe.min.js",
        place.display()
    );
    place
}

/// Nothing was blocked by the page's own policy, and no script failed.
#[track_caller]
pub fn without_complaints(browser: &Browser) {
    let complaints = browser.complaints();
    assert!(complaints.is_empty(), "{complaints:#?}");
}

/// The texts of the elements that a selector finds.
#[track_caller]
pub fn texts(browser: &Browser, selector: &str) -> Vec<String> {
    let found =
        browser.eval(&format!("[...document.querySelectorAll('{selector}')].map((element) => element.innerText)"));
    found.as_array().expect("a list").iter().map(|text| text.as_str().unwrap_or_default().to_owned()).collect()
}

/// A number of the page.
#[track_caller]
pub fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("a number expected: {value}"))
}
