//! The views, as a person uses them.

use acceptance::{ADMIN_TOKEN, Cluster, Files, shared, unique};
use serde_json::json;

use super::browser::{Browser, DESK, PHONE};
use super::using::{accessible, open, texts, without_complaints};

const TAB: &str = "\u{e004}";
const ENTER: &str = "\u{e007}";
const DOWN: &str = "\u{e015}";

fn guests() -> Files {
    Files::new()
        .file("tables/guests.sql", "CREATE TABLE guests (id int PRIMARY KEY, name text NOT NULL);\n")
        .file(
            "functions/greet.sql",
            "CREATE FUNCTION greet(p_name text, p_times int DEFAULT 1, p_more jsonb DEFAULT '{}') RETURNS TABLE (greeting text)\n\
             LANGUAGE sql STABLE AS $$ SELECT 'Hello, ' || p_name || coalesce(p_more ->> 'mark', '') FROM generate_series(1, p_times) $$;\n\
             COMMENT ON FUNCTION greet(text, int, jsonb) IS 'says hello';\n",
        )
}

/// A platform with a main database and a tenant.
fn platform(cluster: &Cluster) -> String {
    let name = unique("console");
    let bundle = guests().tar_gz();
    cluster.http().register(&name, None, &bundle).ok();
    cluster.http().register(&name, Some("acme"), &bundle).ok();
    name
}

#[test]
fn signing_in_by_keyboard_and_out() {
    let cluster = shared();
    let name = platform(&cluster);
    let browser = Browser::start(DESK);
    browser.go(&format!("http://127.0.0.1:{}/console", cluster.port()));
    accessible(&browser, "signing in");
    browser.picture("sign-in");
    browser.eval("document.getElementById('token').focus()");
    browser.text("wrong");
    browser.keys(&[ENTER]);
    browser.until("document.getElementById('refused')?.innerText.includes('not the admin token')");
    // The focus is in the field again.
    browser.text(ADMIN_TOKEN);
    browser.keys(&[ENTER]);
    browser.until(&format!("document.body.innerText.includes('{name}_acme')"));
    assert_eq!(browser.eval("document.activeElement.id"), "view");
    // From there, by Tab through the filters into the list, and by the arrows to a row.
    browser.eval("document.querySelector('input[type=search]').focus()");
    browser.text(&name);
    browser.until("document.getElementById('count').innerText.startsWith('2 of')");
    browser.keys(&[TAB, TAB, DOWN, DOWN]);
    assert_eq!(browser.eval("document.activeElement.innerText"), "acme");
    browser.keys(&[ENTER]);
    browser.until(&format!("document.getElementById('tenant')?.innerText.includes('acme of {name}')"));
    browser.run("[...document.querySelectorAll('#tenant button')].find((b) => b.innerText.includes('drift')).click()");
    browser.until("document.getElementById('tenant').innerText.includes('as its bundle says')");
    accessible(&browser, "tenants");
    browser.run("document.getElementById('leave').click()");
    assert_eq!(browser.eval("sessionStorage.length"), 0);
    assert!(!browser.eval("document.body.innerText").to_string().contains(&name));
    // The browser tells of the answer 401, which was meant.
    let complaints = browser.complaints();
    assert!(complaints.iter().all(|line| line.contains("401")), "{complaints:#?}");
}

#[test]
fn a_plan_is_shown_before_it_is_applied() {
    let cluster = shared();
    let name = platform(&cluster);
    let less = guests().edit("tables/guests.sql", ", name text NOT NULL", ", mail text");
    let archive = cluster.dir().join("less.tar.gz");
    std::fs::write(&archive, less.tar_gz()).unwrap();
    let browser = Browser::start(DESK);
    open(&browser, &cluster, &format!("deploy?platform={name}"));
    browser.until("document.querySelector('input[type=file]')");
    browser.file("input[type=file]", &archive);
    browser.run("document.querySelector('form').requestSubmit()");
    browser.until("document.getElementById('apply')");
    let plan = texts(&browser, "#plan").join("\n");
    for part in ["DROP COLUMN name", "dataloss", "deletes data", "DropColumn guests.name", "Data would be lost"] {
        assert!(plan.contains(part), "{part} is not in the plan: {plan}");
    }
    accessible(&browser, "a plan");
    browser.picture("plan");
    // Whoever wants it has to say so.
    assert_eq!(browser.eval("document.getElementById('apply').disabled"), true);
    browser.run("document.querySelector('fieldset input').click()");
    assert_eq!(browser.eval("document.getElementById('apply').disabled"), false);
    browser.run("document.getElementById('apply').click()");
    browser.until("document.querySelector('#going .counts')?.innerText.startsWith('completed: 2 of 2 done')");
    accessible(&browser, "a deployment");
    browser.picture("deployment");
    let columns = "SELECT string_agg(attname, ' ') FROM pg_attribute WHERE attrelid = 'guests'::regclass AND attnum > 0 AND NOT attisdropped";
    for tenant in ["main", "acme"] {
        let names = acceptance::sql::text(&mut cluster.connect(&format!("{name}_{tenant}")), columns);
        assert_eq!(names, "id mail");
    }
    // It is in the history, with its statements.
    open(&browser, &cluster, &format!("history?platform={name}&tenant=acme"));
    browser.until("document.querySelectorAll('#entries details').length === 2");
    browser.run("document.querySelector('#entries details').open = true");
    assert!(texts(&browser, "#entries details").join("\n").contains("DROP COLUMN name"));
    accessible(&browser, "history");
    browser.picture("history");
    open(&browser, &cluster, "deployments");
    browser.until("document.querySelectorAll('.grid tbody tr').length > 3");
    let row = format!(
        "row.innerText.includes('{name}') && row.innerText.includes('2 of 2') && !row.innerText.includes('dry run')"
    );
    browser.run(&format!(
        "[...document.querySelectorAll('.grid tbody tr')].find((row) => {row}).querySelector('button').click()"
    ));
    browser.until("document.querySelector('.counts')?.innerText.includes('2 of 2')");
    accessible(&browser, "deployments");
    without_complaints(&browser);
}

#[test]
fn a_deployment_is_followed_while_it_goes() {
    let cluster = shared();
    let name = platform(&cluster);
    // Its last migration waits while a role is there.
    let gate = format!("gate_{name}");
    cluster.control().batch_execute(&format!("CREATE ROLE {gate}")).unwrap();
    let wait = format!(
        "DO $$ BEGIN WHILE EXISTS (SELECT FROM pg_roles WHERE rolname = '{gate}' AND current_database() LIKE '%\\_acme') LOOP PERFORM pg_sleep(0.01); END LOOP; END $$;\n"
    );
    let bundle = guests().file("migrations/001_wait.sql", wait).tar_gz();
    let begun = cluster.http().migrate(&name, None, &bundle, &[("wait", "false")]).expect(202);
    let id = begun.str("deployment_id").to_owned();
    let browser = Browser::start(DESK);
    open(&browser, &cluster, &format!("deployments?id={id}"));
    browser.until("document.querySelector('.counts')?.innerText.startsWith('running: 1 of 2 done')");
    browser.picture("running");
    cluster.control().batch_execute(&format!("DROP ROLE {gate}")).unwrap();
    browser.until("document.querySelector('.counts').innerText.startsWith('completed: 2 of 2 done')");
    without_complaints(&browser);
}

#[test]
fn a_form_made_from_a_signature() {
    let cluster = shared();
    let name = platform(&cluster);
    let browser = Browser::start(PHONE);
    open(&browser, &cluster, &format!("call?platform={name}&tenant=acme"));
    browser.until("document.querySelector('form button')");
    let form = texts(&browser, "form").join("\n");
    assert!(
        form.contains("says hello") && form.contains("p_times (integer)") && form.contains("p_more (jsonb)"),
        "{form}"
    );
    accessible(&browser, "a call");
    let fill = |field: usize, text: &str| {
        let text = json!(text);
        browser.run(&format!("const field = [...document.querySelectorAll('form input:not([type]), form textarea')][{field}]; field.value = {text}"));
    };
    let call = |browser: &Browser| browser.run("document.querySelector('form').requestSubmit()");
    fill(0, "Ada");
    call(&browser);
    browser.until("document.querySelector('#result td')?.innerText === 'Hello, Ada'");
    fill(1, "3");
    fill(2, "{\"mark\": \"<b>!</b>\"}");
    call(&browser);
    browser.until("document.querySelectorAll('#result tbody tr').length === 3");
    // What a function gives is text, whatever it looks like.
    assert_eq!(texts(&browser, "#result td")[0], "Hello, Ada<b>!</b>");
    browser.picture("phone");
    fill(1, "three");
    call(&browser);
    browser.until("document.getElementById('result').innerText.includes('22P02')");
    accessible(&browser, "an error");
    // The whole of it fits into the width of a phone.
    for view in ["tenants", "deployments", "deploy", "history", "executors", "call"] {
        open(&browser, &cluster, view);
        browser.until("document.querySelector('#view h2, #view .grid')");
        let wide = browser.eval("document.documentElement.scrollWidth - document.documentElement.clientWidth");
        assert_eq!(wide, 0, "{view} is wider than the screen");
    }
    assert_eq!(browser.eval("matchMedia('(prefers-color-scheme: dark)').matches"), true);
    accessible(&browser, "a call in the dark");
}

#[test]
fn executors_and_queues() {
    let cluster = shared();
    let name = platform(&cluster);
    cluster.http().call(&name, None, "greet", json!(["Ada"])).ok();
    let browser = Browser::start(DESK);
    open(&browser, &cluster, "executors");
    browser.until(&format!("document.body.innerText.includes('{name}_main') && document.getElementById('counts').innerText.includes('0 requests wait')"));
    accessible(&browser, "executors");
    browser.picture("executors");
    without_complaints(&browser);
}
