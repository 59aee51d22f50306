//! Requests with damage, of every route, by eight clients at once.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use acceptance::generator::Rng;
use acceptance::http::{multipart_body, multipart_type};
use acceptance::{ADMIN_TOKEN, Cluster};

use crate::mutator::{Client, Outcome, Seed};
use crate::number;
use crate::victim::{Victim, files};

const CLIENTS: usize = 8;
/// Requests on their way at once, of those whose framing is right.
const PIPELINED: usize = 8;

fn seed(method: &'static str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Seed {
    let headers = headers.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    Seed { method, path: path.to_owned(), headers, body: body.to_vec() }
}

/// Real requests of all routes. Those with the admin token do no harm; with the platform's no platform can be made, and no tenant without
/// its name.
fn seeds(token: &str) -> Vec<Seed> {
    let json = ("Content-Type", "application/json");
    let admin = format!("Bearer {ADMIN_TOKEN}");
    let admin = ("Authorization", admin.as_str());
    let own = format!("Bearer {token}");
    let own = ("Authorization", own.as_str());
    let id = "01890a5d-ac96-774b-bcce-b302099a8057";
    let kind = multipart_type();
    let form = ("Content-Type", kind.as_str());
    let archive = files().tar_gz();
    let mut seeds = Vec::new();
    for body in [
        r#"{"platform":"victim","function":"add","params":[1,2]}"#,
        r#"{"platform":"victim","tenant_id":"main","function":"add","params":{"a":1,"b":20},"retry":true}"#,
        r#"{"platform":"victim","function":"same","params":[{"a":[1,2.5,"x\u00e4\n",null,true]}]}"#,
        r#"{"platform":"victim","function":"many","params":["7"]}"#,
        r#"{"platform":"nobody","schema_name":"s","function":"f"}"#,
    ] {
        seeds.push(seed("POST", "/call", &[json, own], body.as_bytes()));
        seeds.push(seed(
            "POST",
            "/call",
            &[json, own, ("Accept", "application/x-ndjson"), ("Cookie", "a=b")],
            body.as_bytes(),
        ));
        seeds.push(seed(
            "POST",
            "/call",
            &[own, json, ("X-Request-Id", "id-1"), ("Connection", "keep-alive")],
            body.as_bytes(),
        ));
    }
    let batch = r#"{"platform":"victim","calls":[{"function":"add","params":[1]},{"function":"f"},{"function":"same","params":{"v":[]}}]}"#;
    seeds.push(seed("POST", "/call/batch", &[json, own], batch.as_bytes()));
    for path in [
        "/call/victim/add?a=1&b=2",
        "/call/victim/add?a=%31&tenant_id=main",
        "/call/nobody/f",
        "/health",
        "/platforms",
        "/platform/victim/schemas",
        "/platform/victim/databases?schema=x",
        "/nothing",
    ] {
        seeds.push(seed("GET", path, &[own, ("If-None-Match", "\"0\""), ("Accept", "*/*")], b""));
    }
    for path in ["/admin/databases?platform=victim", "/admin/platforms", "/admin/tokens?platform=victim"] {
        seeds.push(seed("GET", path, &[admin], b""));
    }
    for path in ["/deployments", "/v2/migrate-all"] {
        seeds.push(seed("GET", &format!("{path}/{id}"), &[admin], b""));
    }
    seeds.push(seed("GET", &format!("/deployments/{id}/events"), &[own, ("Accept", "text/event-stream")], b""));
    for verb in ["cancel", "resume", "retry"] {
        seeds.push(seed("POST", &format!("/deployments/{id}/{verb}"), &[admin], b""));
    }
    // Of tenants that are not there; names with damage are not there either.
    let tenant =
        br#"{"platform":"victim","tenant_id":"nobody","new_tenant_id":"other","confirm":"no","reason":"r","id":"x"}"#;
    for verb in ["rename-tenant", "copy-tenant", "suspend-tenant", "resume-tenant", "drop-tenant", "revoke-token"] {
        seeds.push(seed("POST", &format!("/admin/{verb}"), &[json, admin], tenant));
    }
    let migrate = br#"{"platform":"victim","schema_name":"none","dry_run":true,"allow":["drop_column"],"canary":"a,b","parallel":2}"#;
    seeds.push(seed("POST", "/v2/migrate", &[json, admin], migrate));
    seeds.push(seed("POST", "/v2/migrate-all", &[json, own], migrate));
    for (path, fields) in [
        ("/register", &[("platform", "victim")][..]),
        ("/migrate", &[("platform", "victim"), ("dry_run", "true"), ("allow", "drop_table"), ("on_error", "continue")]),
        ("/platform/victim/schema", &[("schema_name", "stored")]),
    ] {
        seeds.push(seed("POST", path, &[form, own], &multipart_body(fields, Some(("schema", &archive)))));
    }
    seeds.push(seed("POST", "/platform/register", &[json, own], br#"{"platform":"new"}"#));
    seeds.push(seed(
        "POST",
        "/database/create",
        &[json, own],
        br#"{"platform":"victim","schema_name":"s","uuid":"u"}"#,
    ));
    seeds
}

/// One of the seeds: mostly a call. Archives are few, for what comes of them is the work of a deployment (`archives.rs`).
fn choose<'a>(seeds: &'a [Seed], random: &mut Rng) -> &'a Seed {
    let is_call = random.below(4) > 0;
    let takes_archive = random.below(200) == 0;
    loop {
        let seed = random.pick(seeds);
        if seed.path.starts_with("/call") == is_call && (takes_archive || seed.body.len() < 400) {
            return seed;
        }
    }
}

#[test]
fn requests_with_damage() {
    let count = number("SSDB_MUTATED_REQUESTS", 20_000, 1_000_000);
    let builder =
        Cluster::builder().setting("stonescriptdb.body_timeout", "2s").setting("stonescriptdb.header_timeout", "2s");
    let victim = Victim::new(builder).with_token();
    let token = victim.token();
    let seeds = seeds(token);
    // Each of them as it is first, so that it is known to be one.
    let mut client = Client::new(victim.cluster.port(), token);
    for seed in &seeds {
        client.send(&[seed.bytes()]);
    }
    assert_eq!(client.outcome.answered, seeds.len(), "{:?}", client.outcome);

    let mut outcome = Outcome::default();
    let mut memory = Vec::new();
    let parts = 4;
    for part in 0..parts {
        let done = AtomicUsize::new(0);
        victim.attack(&format!("{} requests with damage", count / parts), || {
            let start = Instant::now();
            std::thread::scope(|scope| {
                let client = |n: usize| {
                    let (seeds, done, port) = (&seeds, &done, victim.cluster.port());
                    scope.spawn(move || {
                        let mut random = Rng::new(1 + (part * CLIENTS + n) as u64 * 7919);
                        let mut client = Client::new(port, token);
                        while done.load(Relaxed) < count / parts {
                            let before = client.outcome;
                            if random.below(2) == 0 {
                                // Of one seed, so that calls of one tenant come in a row.
                                let seed = choose(seeds, &mut random).clone();
                                let requests: Vec<_> =
                                    (0..PIPELINED).map(|_| seed.damaged_within(&mut random)).collect();
                                client.send(&requests);
                            } else {
                                for _ in 0..PIPELINED / 2 {
                                    let request = choose(seeds, &mut random).clone().damaged(&mut random);
                                    client.send(&[request]);
                                }
                            }
                            // Those behind one that closed the connection were not looked at.
                            let now = client.outcome;
                            done.fetch_add(now.answered + now.closed - before.answered - before.closed, Relaxed);
                        }
                        client.outcome
                    })
                };
                let clients: Vec<_> = (0..CLIENTS).map(client).collect();
                for client in clients {
                    outcome += client.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                }
            });
            eprintln!("{:.0} a second", count as f64 / parts as f64 / start.elapsed().as_secs_f64());
        });
        memory.push(victim.memory());
    }
    eprintln!("{outcome:?}, kB of the server worker after each part: {memory:?}");
    assert!(outcome.answered + outcome.closed >= count && outcome.of_200 > count / 100, "{outcome:?}");
    assert!(memory[parts - 1] < memory[0] + 16_000, "{memory:?}");
}
