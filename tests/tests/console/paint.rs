//! What the page costs a browser: what it is painted with, requests, bytes, and the time of its thread.

use acceptance::{ADMIN_TOKEN, Cluster, Files, Platform, shared};

use super::browser::{Browser, DESK, PHONE, Request};
use super::using::{number, texts, without_complaints};

/// Bytes of the first view, all requests together.
const BUDGET: f64 = 150_000.0;
/// Layout shifts up to this are good (web.dev, "Cumulative Layout Shift"); what a user has asked for does not count.
const SHIFT: f64 = 0.1;
/// Milliseconds of the page's thread from an empty page to the list: it was 60 to 100.
const THREAD: f64 = 300.0;

fn address(cluster: &Cluster) -> String {
    format!("http://127.0.0.1:{}/console", cluster.port())
}

/// The requests without those for `data:`, which go nowhere.
fn sent(browser: &Browser) -> Vec<Request> {
    browser.requests().into_iter().filter(|request| !request.url.starts_with("data:")).collect()
}

#[test]
fn it_is_painted_with_the_document_alone() {
    let cluster = shared();
    let browser = Browser::watched(DESK);
    browser.block(&["*/console/*", "*/health*", "*/admin/*"]);
    browser.requests();
    browser.go(&address(&cluster));
    browser.until("performance.getEntriesByName('first-contentful-paint').length");
    let requests = sent(&browser);
    let answered: Vec<&str> = requests.iter().filter(|one| one.bytes.is_some()).map(|one| one.url.as_str()).collect();
    assert_eq!(answered, [address(&cluster)], "{requests:?}");
    // The others were asked for, and did not come: no script ran.
    assert!(requests.iter().any(|one| one.url.ends_with("/main.js")), "{requests:?}");
    assert_eq!(texts(&browser, "#version"), [""]);
    // What is seen is the form, in its style.
    assert_eq!(texts(&browser, "main h2"), ["Sign in"]);
    let seen = browser.eval(
        "(() => { const form = document.getElementById('enter'); const style = getComputedStyle(form); \
           const box = form.getBoundingClientRect(); \
           return [style.borderTopWidth, style.maxWidth, box.top > 0 && box.bottom < innerHeight, \
                   document.elementFromPoint(box.x + 30, box.y + 30) !== null] })()",
    );
    assert_eq!(seen, serde_json::json!(["1px", "512px", true, true]));
}

/// Parts of the page that moved by themselves.
fn shifts(browser: &Browser) -> f64 {
    number(&browser.run(
        "let sum = 0; const add = (list) => { for (const one of list) if (!one.hadRecentInput) sum += one.value; }; \
         const observer = new PerformanceObserver((list) => add(list.getEntries())); \
         observer.observe({type: 'layout-shift', buffered: true}); \
         await new Promise((done) => setTimeout(done, 300)); add(observer.takeRecords()); return sum",
    ))
}

#[test]
fn the_first_view_costs_little() {
    let cluster = shared();
    let files = Files::new().file("tables/t.pssql", "CREATE TABLE t (id int PRIMARY KEY);\n");
    Platform::register(&cluster, "painted", &files);
    for window in [DESK, PHONE] {
        // Nothing is in its cache.
        let browser = Browser::watched(window);
        browser.requests();
        browser.go(&address(&cluster));
        browser.eval("document.getElementById('token').focus()");
        browser.text(ADMIN_TOKEN);
        browser.keys(&["\u{E007}"]);
        browser.until("performance.getEntriesByName('tenants').length");
        browser.until("document.getElementById('version').innerText && document.querySelector('.grid').innerText.includes('main')");
        let requests = sent(&browser);
        let mut paths: Vec<&str> = requests.iter().map(|one| one.url.rsplit('/').next().unwrap_or_default()).collect();
        paths.sort_unstable();
        let once = paths.windows(2).all(|pair| pair[0] != pair[1]);
        assert!(once && paths.len() < 20, "each thing is asked for once: {requests:#?}");
        let base = format!("http://127.0.0.1:{}/", cluster.port());
        assert!(requests.iter().all(|one| one.url.starts_with(&base)), "nothing is another server's: {requests:#?}");
        assert!(requests.iter().all(|one| one.bytes.is_some()), "all are answered: {requests:#?}");
        let bytes: f64 = requests.iter().filter_map(|one| one.bytes).sum();
        println!("the first view: {} requests, {bytes} bytes", requests.len());
        assert!(bytes < BUDGET, "{bytes} bytes: {requests:#?}");
        let moved = shifts(&browser);
        assert!(moved < SHIFT, "the page moves by itself: {moved}");

        // Again, by somebody who has signed in: the same, and the list comes from one request.
        browser.requests();
        let before = browser.main_thread();
        browser.reload();
        browser.until("performance.getEntriesByName('tenants').length");
        let (spent, moved) = (browser.main_thread() - before, shifts(&browser));
        let again = sent(&browser);
        assert_eq!(again.iter().filter(|one| one.url.contains("/admin/")).count(), 1, "{again:#?}");
        println!("the second: {spent:.0} ms of the page's thread, moved {moved:.3}");
        assert!(spent < THREAD, "{spent} ms of the page's thread");
        assert!(moved < SHIFT, "the page moves by itself: {moved}");
        without_complaints(&browser);
    }
}
