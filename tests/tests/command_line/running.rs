//! What the examples of the documentation do not show.

use acceptance::{Files, Platform, fixtures, shared, unique};
use serde_json::json;

use super::tool::{Ran, Shell};

/// A table whose column cannot become NOT NULL in a tenant that has a row without a value.
fn strict(files: &Files) -> Files {
    files
        .clone()
        .edit("tables/a.sql", "email text", "email text NOT NULL")
        .file("migrations/001_strict.sql", "-- All have one.\nALTER TABLE a ALTER COLUMN email SET NOT NULL;\n")
}

fn simple() -> Files {
    Files::new()
        .file("tables/a.sql", "CREATE TABLE a (id int PRIMARY KEY, email text);\n")
        .file("functions/f.sql", "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1';\n")
}

#[test]
fn a_fleet_with_a_failing_tenant() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "cli", &simple());
    for tenant in ["t1", "t2", "t3"] {
        platform.register_tenant(tenant, &simple()).ok();
    }
    cluster.connect(&platform.database_of("t2")).batch_execute("INSERT INTO a VALUES (1, NULL)").unwrap();
    let shell = Shell::new(&cluster);
    shell.put("strict.tar.gz", &strict(&simple()));
    let name = platform.name.as_str();
    // Looked at before: the plan of those in which it goes, and why it does not in the other.
    let ran = shell.run(&["plan", "strict.tar.gz", "-p", name]).exits(1);
    let ran = ran.says(&format!("-- {name}_main, {name}_t1, {name}_t3: 1 statements")).says("error[migration_failed]");
    ran.says("--> migrations/001_strict.sql:2").says(&format!("database: {name}_t2"));
    let ran = shell.run(&["lint", "strict.tar.gz", "--server", "-p", name, "--json"]).exits(1);
    let found = &ran.json()["findings"];
    assert_eq!((&found[0]["error"], &found[0]["line"]), (&json!("migration_failed"), &json!(2)), "{ran}");
    let ran = shell.run(&["migrate", "strict.tar.gz", "-p", name, "--watch", "--keep-going"]).exits(1);
    let ran =
        ran.says(&format!("{name}_t2: failed")).says("error[migration_failed]").says("--> migrations/001_strict.sql:2");
    let ran = ran.says("2 | ALTER TABLE a ALTER COLUMN email SET NOT NULL;").says("SQLSTATE: 23502");
    ran.says("partial: 4 databases, 3 succeeded, 1 failed");
    // The same as JSON, without watching; the others are done.
    let ran = shell.run(&["migrate", "strict.tar.gz", "-p", name, "--keep-going", "--json"]).exits(1);
    assert_eq!((&ran.json()["failed"], &ran.json()["unchanged"]), (&json!(1), &json!(3)), "{ran}");
    let tenants = shell.run(&["tenants", "-p", name, "--json"]).exits(0).json();
    let current: Vec<bool> =
        tenants["tenants"].as_array().unwrap().iter().map(|row| row["is_current"] == true).collect();
    assert_eq!(current, [true, true, false, true], "{tenants:#}");
    assert!(tenants["tenants"][0]["size_bytes"].as_u64().unwrap() > 1_000_000, "{tenants:#}");
    let logs = shell.run(&["logs", "-p", name, "-t", "t2", "--json", "-n", "1"]).exits(0).json();
    assert_eq!(logs["changelog"][0]["message"], "column \"email\" of relation \"a\" contains null values", "{logs:#}");
    let id = logs["changelog"][0]["deployment_id"].as_str().unwrap().to_owned();
    shell.run(&["logs", &id]).exits(0).says(&format!("{name}_t2: failed"));
}

#[test]
fn what_loses_data_is_refused_everywhere() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "cli", &simple());
    let shell = Shell::new(&cluster);
    let name = platform.name.as_str();
    shell.put("less.tar.gz", &simple().edit("tables/a.sql", ", email text", ""));
    shell.run(&["lint", "less.tar.gz", "--server", "-p", name]).exits(4).says("dataloss: DropColumn a.email");
    shell.run(&["migrate", "less.tar.gz", "-p", name, "-w"]).exits(4).says("error[schema_validation_failed]");
    let plan = shell.run(&["plan", "less.tar.gz", "-p", name, "--json"]).exits(4).json();
    let change = &plan["schema_validation"]["dataloss_changes"][0];
    assert_eq!(change["allow"], "drop_column", "{plan:#}");
    let fingerprint = plan["plan_fingerprint"].as_str().unwrap();
    let other = "0".repeat(64);
    shell.run(&["migrate", "less.tar.gz", "-p", name, "--force", "--plan", &other]).exits(4).says("plan");
    shell.run(&["migrate", "less.tar.gz", "-p", name, "--force", "--plan", fingerprint]).exits(0);
}

#[test]
fn drift_is_a_failure() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "cli", &simple());
    let shell = Shell::new(&cluster);
    let name = platform.name.as_str();
    shell.run(&["drift", "-p", name]).exits(0).says("no drift");
    platform.connect().batch_execute("ALTER TABLE a ADD COLUMN more int").unwrap();
    shell.run(&["drift", "-p", name, "-t", "main"]).exits(1).says("a.more").says("extra");
    let row = shell.run(&["tenants", "-p", name]).exits(0);
    row.says("1 differences");
    shell.run(&["drift", "-p", &unique("nobody")]).exits(1).says("error[platform_not_found]");
}

#[test]
fn what_is_missing_is_said_as_it_is_said_here() {
    let cluster = shared();
    let shell = Shell::new(&cluster);
    shell.put("simple.tar.gz", &simple());
    shell.run(&["register", "simple.tar.gz"]).exits(1).says("Say --platform (SSDB_PLATFORM)");
    let refused = Ran::of(shell.command("stonescriptdb").arg("tenants").env("SSDB_ADMIN_TOKEN", "wrong")).exits(5);
    refused.says("--admin-token (SSDB_ADMIN_TOKEN)");
    let platform = Platform::register(&cluster, "cli", &simple());
    let suspend = "SELECT stonescriptdb.suspend_tenant($1, 'main', 'not paid')";
    cluster.control().execute(suspend, &[&platform.name]).unwrap();
    shell.run(&["tenants", "-p", &platform.name]).exits(0).says("suspended: not paid");
}

/// What a package puts where shells and man look.
#[test]
fn it_describes_itself() {
    let cluster = shared();
    let shell = Shell::new(&cluster);
    for (of, says) in [
        ("bash", "complete -F _stonescriptdb"),
        ("zsh", "#compdef stonescriptdb"),
        ("fish", "complete -c stonescriptdb"),
    ] {
        shell.run(&["completions", of]).exits(0).says(says).says("keep-going");
    }
    let bash = "stonescriptdb completions bash > completions && . ./completions && \
                COMP_WORDS=(stonescriptdb mig) COMP_CWORD=1 && _stonescriptdb stonescriptdb mig stonescriptdb && echo \"${COMPREPLY[@]}\"";
    let completed = Ran::of(shell.command("bash").args(["-c", bash])).exits(0);
    assert_eq!(completed.out.trim(), "migrate", "{completed}");
    shell.run(&["man", "nowhere"]).exits(2).says("nowhere is no folder");
    shell.run(&["man", "."]).exits(0);
    let page = std::fs::read_to_string(shell.dir().join("stonescriptdb-migrate.1")).unwrap();
    assert!(page.starts_with(".ie") && page.contains("SSDB_URL") && page.contains("canary"), "{page}");
    assert!(!page.contains(&format!(":{}", cluster.port())) && !page.contains(acceptance::ADMIN_TOKEN), "{page}");
}

#[test]
fn tokens_open_and_close() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "cli", &fixtures::tiny());
    let shell = Shell::new(&cluster);
    let issue = "SELECT stonescriptdb.create_token($1)";
    let token: String = cluster.control().query_one(issue, &[&platform.name]).unwrap().get(0);
    let call = |token: Option<&str>, admin: &str| {
        let mut command = shell.command("stonescriptdb");
        command.args(["call", "f", "-p", &platform.name, "--json"]).env("SSDB_ADMIN_TOKEN", admin);
        token.map(|token| command.env("SSDB_TOKEN", token));
        Ran::of(&mut command)
    };
    assert_eq!(call(Some(&token), "").exits(0).json()["rows"], json!([{"f": 1}]));
    assert_eq!(call(Some("wrong"), "").exits(5).json()["error"], "unauthorized");
    call(None, acceptance::ADMIN_TOKEN).exits(0);
    let refused = call(None, "").exits(5);
    assert!(!refused.err.contains("panicked"), "{refused}");
}

#[test]
fn rows_as_lines_that_break_off() {
    let cluster = shared();
    let files = Files::new().file(
        "functions/g.sql",
        "CREATE FUNCTION g(fail boolean) RETURNS TABLE (n int, t text) LANGUAGE sql STABLE AS\n\
         $$ SELECT i, repeat('x', 100) FROM generate_series(1, 5000) i WHERE NOT fail OR 1 / (4000 - i) IS NOT NULL $$;\n",
    );
    let platform = Platform::register(&cluster, "cli", &files);
    let shell = Shell::new(&cluster);
    let ran = shell.run(&["call", "g", "false", "-p", &platform.name, "--lines"]).exits(0);
    assert_eq!(ran.out.lines().count(), 5000);
    let ran = shell.run(&["call", "g", "true", "-p", &platform.name, "--lines"]).exits(1);
    assert!(ran.err.contains("division by zero"), "{ran}");
    assert!(ran.out.lines().count() < 4000 && !ran.out.contains("\"error\""), "{}", ran.out.lines().count());
}

#[test]
fn archives_are_the_same_every_time() {
    let cluster = shared();
    let shell = Shell::new(&cluster);
    let copy = |to: &str| {
        let shop = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/shop");
        Ran::of(shell.command("cp").args(["-r", shop, to])).exits(0);
    };
    copy("one");
    copy("two");
    Ran::of(shell.command("touch").args(["-d", "2001-01-01", "two/postgresql/tables/orders.pssql"])).exits(0);
    shell.run(&["pack", "one", "-o", "one.tar.gz"]).exits(0);
    let packed = shell.run(&["pack", "two/postgresql", "-o", "two.tar.gz", "--json"]).exits(0).json();
    let read = |name: &str| std::fs::read(shell.dir().join(name)).unwrap();
    assert_eq!(read("one.tar.gz"), read("two.tar.gz"));
    assert_eq!(packed["files"]["tables"], 11, "{packed:#}");
    let standard = Ran::of(shell.command("sh").args(["-c", "stonescriptdb pack one -o - | sha256sum"])).exits(0);
    assert!(standard.out.starts_with(packed["sha256"].as_str().unwrap()), "{standard} {packed}");
    // The server takes the manifest's platform.
    shell.run(&["lint", "one.tar.gz"]).exits(0).says("0 errors, 0 warnings");
}
