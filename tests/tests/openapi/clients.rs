//! What others make of the document: a validator, and a client of openapi-typescript's that is compiled and run.
//!
//! Needs Node.js with npm (Debian: nodejs, npm; `make test` installs them) and, the first time, npm's registry: the packages are pinned in
//! `client/package-lock.json` and kept in the target folder. Where that cannot be had the test fails, for nobody would notice that it does
//! not run; who wants that sets `SSDB_OPENAPI_CLIENT=skip`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use acceptance::{Platform, shared};
use serde_json::{Value, json};

use super::files;

const CLIENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/openapi/client");

/// Runs a program; gives what it printed.
fn run(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        return Ok(text(&output.stdout));
    }
    Err(format!("{command:?}: {}\n{}{}", output.status, text(&output.stdout), text(&output.stderr)))
}

/// The folder with the packages, installed once for each state of the lock file.
static PACKAGES: LazyLock<Result<PathBuf, String>> = LazyLock::new(|| {
    let lock = fs::read(Path::new(CLIENT).join("package-lock.json")).map_err(|error| error.to_string())?;
    let sum = lock
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("openapi_client_{sum:016x}"));
    if folder.join("node_modules").exists() {
        return Ok(folder);
    }
    // Whoever is interrupted leaves nothing that looks complete.
    let making = folder.with_extension(std::process::id().to_string());
    let _ = fs::remove_dir_all(&making);
    fs::create_dir_all(&making).map_err(|error| error.to_string())?;
    for name in ["package.json", "package-lock.json"] {
        fs::copy(Path::new(CLIENT).join(name), making.join(name)).map_err(|error| error.to_string())?;
    }
    run(Command::new("npm").args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(&making))
        .map_err(|why| format!("the packages of the client are not to be had (see the top of clients.rs): {why}"))?;
    let _ = fs::remove_dir_all(&folder);
    fs::rename(&making, &folder).map_err(|error| error.to_string())?;
    Ok(folder)
});

/// A folder below the packages with the client's files, PLATFORM replaced; `None` if the test is to be left out.
fn workplace(name: &str, platform: &str) -> Option<PathBuf> {
    if std::env::var("SSDB_OPENAPI_CLIENT").is_ok_and(|value| value == "skip") {
        println!("left out: SSDB_OPENAPI_CLIENT=skip");
        return None;
    }
    let packages = PACKAGES.as_ref().unwrap_or_else(|why| panic!("{why}"));
    let folder = packages.join(format!("{name}_{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    for file in ["package.json", "tsconfig.json", "client.ts", "validate.mjs"] {
        let text = fs::read_to_string(Path::new(CLIENT).join(file)).expect(file);
        fs::write(folder.join(file), text.replace("PLATFORM", platform)).expect(file);
    }
    Some(folder)
}

/// The script of a package.
fn script(package: &str, path: &str) -> Command {
    let packages = PACKAGES.as_ref().unwrap_or_else(|why| panic!("{why}"));
    let mut command = Command::new("node");
    command.arg(packages.join("node_modules").join(package).join(path));
    command
}

#[test]
fn it_is_valid_and_answers_fit_it() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "valid", &files());
    let Some(folder) = workplace("valid", &platform.name) else { return };
    let document = cluster.http().get(&format!("/openapi.json?platform={}", platform.name)).ok();
    fs::write(folder.join("openapi.json"), &document.text).expect("written");
    let call =
        |function: &str, body: Value| json!({"path": format!("/call/{}/{function}", platform.name), "body": body});
    let get =
        |function: &str, query: &str| json!({"path": format!("/call/{}/{function}", platform.name), "query": query});
    let mut refused = call("fail", json!({}));
    refused["status"] = json!(418);
    let calls = json!([
        call("add_item", json!({"p_name": "a", "p_price": 1.5, "p_details": [1, {"b": null}]})),
        call("add_item", json!({"p_name": "b", "p_price": "12345678.90", "p_colour": "green", "p_tags": ["x", null]})),
        call("add_item", json!({"p_name": "c", "p_price": 1, "p_colour": null, "p_tags": null})),
        call("find_items", json!({})),
        get("find_items", "?p_colour=green&p_limit=5"),
        get("total", ""),
        call("say", json!({"a": 1})),
        call("say", json!({"a": "x", "b": false})),
        get("say", "?a=x&b=true"),
        call("put", json!({"p_part": {"label": "a", "inner": [{"label": "b", "size": "[1,2)"}, null]}})),
        call("put", json!({"p_part": null})),
        call("unnamed", json!([1])),
        call("outs", json!({"a": 1})),
        call("listed", json!({"p_many": [1, 2, 3]})),
        call("nothing", json!({})),
        call("go", json!({"a": 1})),
        call("quiet", json!({})),
        call("coded", json!({"p_code": "abc"})),
        call("labelled", json!({"p_labels": ["a", null]})),
        call("labelled", json!({"p_labels": null})),
        call("%22Any%20Thing%22", json!({"a": 1})),
        get("sorts", ""),
        get("absent", ""),
        call("app.hidden", json!({"p_id": "9007199254740993"})),
        refused,
    ]);
    fs::write(folder.join("calls.json"), calls.to_string()).expect("written");
    let base = format!("http://127.0.0.1:{}", cluster.port());
    let said =
        run(Command::new("node").args(["validate.mjs", "openapi.json", &base, "calls.json"]).current_dir(&folder));
    let said = said.unwrap_or_else(|why| panic!("{why}\n{}", document.text));
    assert_eq!(said.trim(), "valid; 25 calls fit");
    fs::remove_dir_all(folder).expect("removed");
}

#[test]
fn a_generated_client_compiles_and_calls() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "typed", &files());
    platform.register_tenant("acme", &files()).ok();
    let Some(folder) = workplace("typed", &platform.name) else { return };
    let document = cluster.http().get(&format!("/openapi.json?platform={}", platform.name)).ok();
    fs::write(folder.join("openapi.json"), &document.text).expect("written");
    let done = |result: Result<String, String>| result.unwrap_or_else(|why| panic!("{why}"));
    done(run(script("openapi-typescript", "bin/cli.js")
        .args(["openapi.json", "-o", "schema.ts"])
        .current_dir(&folder)));
    let types = fs::read_to_string(folder.join("schema.ts")).expect("types");
    let compiled = run(script("typescript", "bin/tsc").args(["-p", "."]).current_dir(&folder));
    compiled.unwrap_or_else(|why| panic!("{why}\n{types}"));
    let base = format!("http://127.0.0.1:{}", cluster.port());
    let said = done(run(Command::new("node").args(["out/client.js", &base]).current_dir(&folder)));
    assert_eq!(said.trim(), "all calls went as typed");
    fs::remove_dir_all(folder).expect("removed");
}
