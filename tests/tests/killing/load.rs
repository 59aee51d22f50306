//! Calls that each insert a row whose id the caller knows, over HTTP with a new connection each, over HTTP with one that is kept, and over SQL.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::Scope;
use std::time::Duration;

use acceptance::{Cluster, sql};
use serde_json::{Value, json};

use crate::kit::Fleet;

/// What was acknowledged so far.
pub(crate) struct Load<'f> {
    fleet: &'f Fleet<'f>,
    next: AtomicU64,
    stop: AtomicBool,
    acknowledged: Mutex<Vec<(String, u64)>>,
}

/// The load ends when this is dropped.
pub(crate) struct Running<'l>(&'l AtomicBool);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

impl<'f> Load<'f> {
    pub(crate) fn new(fleet: &'f Fleet<'f>) -> Load<'f> {
        Load { fleet, next: AtomicU64::new(1), stop: AtomicBool::new(false), acknowledged: Mutex::default() }
    }

    /// Begins to call, on threads of the scope, until the answer is dropped.
    pub(crate) fn start<'s, 'e>(&'e self, scope: &'s Scope<'s, 'e>) -> Running<'e> {
        self.stop.store(false, Relaxed);
        for _ in 0..2 {
            scope.spawn(move || self.run(over_http));
        }
        scope.spawn(move || self.run_kept());
        scope.spawn(move || self.run(over_sql));
        Running(&self.stop)
    }

    fn run(&self, call: fn(&Cluster, &str, &str, u64) -> bool) {
        while !self.stop.load(Relaxed) {
            let (tenant, id) = self.one();
            if call(self.fleet.cluster, &self.fleet.platform.name, &tenant, id) {
                self.acknowledge(tenant, id);
            } else {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }

    /// One connection and one tenant for as long as it goes: what executors serve themselves.
    fn run_kept(&self) {
        while !self.stop.load(Relaxed) {
            let (tenant, _) = self.one();
            let Ok(mut wire) = self.fleet.cluster.http().try_wire() else {
                std::thread::sleep(Duration::from_millis(20));
                continue;
            };
            while !self.stop.load(Relaxed) {
                let id = self.next.fetch_add(1, Relaxed);
                let body = json!({"platform": self.fleet.platform.name, "tenant_id": tenant, "function": "note", "params": [id]});
                let body = body.to_string();
                let head = format!(
                    "POST /call HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                    body.len()
                );
                if wire.send(&[head.as_bytes(), body.as_bytes()].concat()).is_err() {
                    break;
                }
                match wire.read_answer("POST") {
                    Ok(answer) if answer.status == 200 => self.acknowledge(tenant.clone(), id),
                    Ok(_) => std::thread::sleep(Duration::from_millis(20)),
                    Err(_) => break,
                }
            }
        }
    }

    fn one(&self) -> (String, u64) {
        let id = self.next.fetch_add(1, Relaxed);
        let place = id as usize % (self.fleet.tenants.len() + 1);
        (self.fleet.tenants.get(place).cloned().unwrap_or_else(|| "main".to_owned()), id)
    }

    fn acknowledge(&self, tenant: String, id: u64) {
        self.acknowledged.lock().expect("no thread panics with it").push((tenant, id));
    }

    /// Asserts that every call that was acknowledged is there; how many there are.
    #[track_caller]
    pub(crate) fn check(&self, what: &str) -> usize {
        let acknowledged = self.acknowledged.lock().expect("no thread panics with it");
        for tenant in self.fleet.tenants.iter().map(String::as_str).chain(["main"]) {
            let ids: Vec<i64> = acknowledged.iter().filter(|(of, _)| of == tenant).map(|(_, id)| *id as i64).collect();
            let database = self.fleet.database(tenant);
            let lost = self.fleet.cluster.connect(&database).query(
                "SELECT id FROM unnest($1::bigint[]) AS a(id) WHERE NOT EXISTS (SELECT FROM notes n WHERE n.id = a.id)",
                &[&ids],
            );
            let lost: Vec<i64> = sql::done(lost).iter().map(|row| row.get(0)).collect();
            assert!(lost.is_empty(), "{what}: acknowledged and lost in {database}: {lost:?}");
        }
        acknowledged.len()
    }
}

fn over_http(cluster: &Cluster, platform: &str, tenant: &str, id: u64) -> bool {
    cluster.http().try_call(platform, Some(tenant), "note", json!([id])).is_ok_and(|answer| answer.status == 200)
}

fn over_sql(cluster: &Cluster, platform: &str, tenant: &str, id: u64) -> bool {
    let Ok(mut client) = cluster.try_connect_as("postgres", "postgres") else { return false };
    let params: Value = json!([id]);
    client
        .query_one("SELECT stonescriptdb.call($1, 'note', $2, tenant_id => $3)", &[&platform, &params, &tenant])
        .is_ok()
}
