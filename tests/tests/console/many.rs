//! Two thousand tenants.

use acceptance::Cluster;
use serde_json::json;

use super::browser::{Browser, DESK};
use super::using::{accessible, number, open, texts, without_complaints};

/// Milliseconds for the first view, from the beginning of the navigation.
const VIEW: f64 = 300.0;
/// And of that the page's thread: it was 60 to 100.
const THREAD: f64 = 200.0;
/// The steps of scrolling below.
const FRAMES: f64 = 59.0;

/// Others have more to do on this machine than it has processors: then times say nothing of the console.
fn is_busy() -> bool {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: f64 = load.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or_default();
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let is_busy = load > 1.5 * processors as f64;
    if is_busy {
        println!("the machine is busy (load {load}): times are not judged");
    }
    is_busy
}

/// Rows of the registry, and of the catalog, for databases without a file: what is measured is the list.
fn register_many(cluster: &Cluster) {
    let rows = "
        SET allow_system_table_mods = on;
        INSERT INTO pg_catalog.pg_database
        SELECT (jsonb_populate_record(d, jsonb_build_object('oid', 1000000 + i, 'datname', 'fleet' || (i % 5 + 1) || '_customer' || i,
                                      'datistemplate', false, 'datallowconn', false))).*
        FROM pg_catalog.pg_database d, generate_series(1, 2000) i WHERE d.datname = 'template0';
        INSERT INTO stonescriptdb.platform (name, key, owner_role, call_role)
        SELECT 'fleet' || p, 'fleet' || p, 'fleet_owner' || p, 'fleet_call' || p FROM generate_series(1, 5) p;
        INSERT INTO stonescriptdb.stored_schema (platform, name, key, bundle_sha256)
        SELECT p.name, '', '', encode(sha256(p.name::bytea), 'hex') FROM stonescriptdb.platform p;
        INSERT INTO stonescriptdb.database (name, platform, tenant_id, tenant_key, datid, state, suspended, size_bytes, measured_at, drift,
                                            bundle_sha256, deployed_at)
        SELECT d.datname, p.name, 'customer' || i, 'customer' || i, d.oid, 'ready', CASE WHEN i % 203 = 0 THEN 'not paid' END,
               8000000 + i * 1000, now(), CASE WHEN i % 100 = 0 THEN 2 ELSE 0 END,
               encode(sha256((p.name || CASE WHEN i % 70 = 0 THEN 'older' ELSE '' END)::bytea), 'hex'), now()
        FROM generate_series(1, 2000) i JOIN pg_catalog.pg_database d ON d.oid = 1000000 + i
             JOIN stonescriptdb.platform p ON p.name = 'fleet' || (i % 5 + 1)";
    cluster.control().batch_execute(rows).expect("rows of the registry");
}

#[test]
fn two_thousand_tenants() {
    // It would look for the files.
    let cluster = Cluster::builder().setting("autovacuum", "off").start();
    register_many(&cluster);
    let browser = Browser::start(DESK);
    open(&browser, &cluster, "tenants");
    browser.until("document.getElementById('count')?.innerText.startsWith('2000 of 2000')");
    // As a DBA's second visit: the server and the browser have been used before. The least of some is what it takes; what is more is
    // what else the machine does meanwhile.
    let (mut first, mut thread) = (f64::MAX, f64::MAX);
    for _ in 0..10 {
        let before = browser.main_thread();
        browser.reload();
        browser.until("performance.getEntriesByName('tenants').length");
        thread = thread.min(browser.main_thread() - before);
        first = first.min(number(&browser.eval("performance.getEntriesByName('tenants')[0].startTime")));
        if first < VIEW {
            break;
        }
    }
    let parts = "performance.getEntriesByType('resource').map((entry) => `${new URL(entry.name).pathname} ${Math.round(entry.startTime)} to ${Math.round(entry.responseEnd)}`).join(', ')";
    println!("{}", browser.eval(parts));
    println!("the first view of 2,000 tenants: {first:.0} ms after the navigation began");
    println!("of it the page's thread: {thread:.0} ms");
    assert!(thread < THREAD, "the page's thread took {thread:.0} ms");
    assert!(first < VIEW || is_busy(), "the first view took {first:.0} ms");
    // Painted before anything else was asked for: style and markup are in the page.
    let paint = number(&browser.eval(
        "performance.getEntriesByType('paint').find((entry) => entry.name === 'first-contentful-paint').startTime",
    ));
    println!("first contentful paint: {paint:.0} ms");
    let kinds = browser.eval("performance.getEntriesByType('resource').map((entry) => entry.renderBlockingStatus).filter((status) => status === 'blocking').length");
    assert_eq!(kinds, 0, "nothing that is loaded keeps the page from being painted");

    // Only what is in sight is there, and everything can be reached.
    let drawn = number(&browser.eval("document.querySelectorAll('.grid tbody tr').length"));
    assert!(drawn < 100.0, "{drawn} rows are drawn");
    assert_eq!(browser.eval("document.querySelector('table').getAttribute('aria-rowcount')"), "2001");
    // As a hand scrolls: a third of a screen a frame. Counted is what there is to do: rows that are made, and the time of the page's
    // thread, which is the same on a busy machine.
    let before = browser.main_thread();
    let made = browser.run(
        "const box = document.querySelector('.grid'); const frame = () => new Promise((done) => requestAnimationFrame(done)); \
         let made = 0, most = 0; \
         const count = (list) => { for (const one of list) made += one.addedNodes.length; }; \
         const watch = new MutationObserver(count); watch.observe(box.querySelector('tbody'), {childList: true}); \
         for (let top = 200; top < 12000; top += 200) { \
             box.scrollTop = top; await frame(); await frame(); \
             most = Math.max(most, box.querySelectorAll('tbody tr').length); \
         } \
         count(watch.takeRecords()); return [made, most]",
    );
    let spent = (browser.main_thread() - before) / FRAMES;
    let (made, most) = (number(&made[0]), number(&made[1]));
    println!(
        "scrolling: {made} rows made in {FRAMES} frames, {most} in the document at most, {spent:.1} ms of the page's thread a frame"
    );
    // 200 pixels are 5.9 rows; those that stay in sight stay as they are.
    assert!(made <= 7.0 * FRAMES && most < 100.0, "{made} rows were made, {most} were in the document");
    assert!(spent < 16.0, "a frame took {spent} ms of the page's thread");
    browser.run("document.querySelector('.grid').scrollTop = 1e9");
    browser.until("document.querySelector('.grid').innerText.includes('customer999')");
    browser.run("document.querySelector('.grid').scrollTop = 0");

    // Letters of a search, each with the frame that shows what it found.
    let before = browser.main_thread();
    let most = browser.run(
        "const field = document.querySelector('input[type=search]'); let most = 0; \
         const frame = () => new Promise((done) => requestAnimationFrame(done)); \
         for (const text of ['c', 'cu', 'customer1', 'customer12', 'customer123', 'drift', 'older', '', 'fleet1 drift']) { \
             field.value = text; field.dispatchEvent(new Event('input')); await frame(); await frame(); \
             most = Math.max(most, document.querySelectorAll('.grid tbody tr').length); } \
         return most",
    );
    let spent = (browser.main_thread() - before) / 9.0;
    println!("a letter of a search: {spent:.1} ms of the page's thread, {most} rows at most");
    assert!(number(&most) < 100.0, "{most} rows were drawn");
    assert!(spent < 50.0, "a letter of a search took {spent} ms of the page's thread");
    let count = texts(&browser, "#count").join("");
    assert!(count.starts_with("20 of 2000 databases") && count.ends_with("20 with drift"), "{count}");
    browser.run("const field = document.querySelector('input[type=search]'); field.value = ''; field.dispatchEvent(new Event('input'))");
    accessible(&browser, "two thousand tenants");
    browser.picture("tenants");
    without_complaints(&browser);
    assert_eq!(cluster.http().admin().get("/admin/tenants?platform=fleet2").ok().json["count"], json!(400));
}
