//! Connections that executors serve themselves: everything is as on any other connection.

mod access;
mod ends;
mod requests;
mod sharing;

use acceptance::wait::check;
use acceptance::{Answer, Cluster, Http, Platform, Wire, eventually};
use serde_json::{Value, json};

/// A connection that calls one tenant of a platform.
struct Line<'a> {
    http: Http,
    wire: Wire,
    platform: &'a str,
    tenant: Option<&'a str>,
}

impl<'a> Line<'a> {
    fn new(http: Http, platform: &'a str, tenant: Option<&'a str>) -> Line<'a> {
        let wire = http.wire();
        Line { http, wire, platform, tenant }
    }

    fn request(&self, function: &str, params: &Value, headers: &[(&str, &str)]) -> Vec<u8> {
        let mut body = json!({"platform": self.platform, "function": function, "params": params});
        if let Some(tenant) = self.tenant {
            body["tenant_id"] = tenant.into();
        }
        let mut all = vec![("Content-Type", "application/json")];
        all.extend(headers);
        self.http.request_bytes("POST", "/call", &all, body.to_string().as_bytes())
    }

    fn send(&mut self, function: &str, params: &Value) {
        let request = self.request(function, params, &[]);
        self.wire.send(&request).expect("the connection is kept");
    }

    fn read(&mut self) -> Answer {
        self.wire.read_answer("POST").expect("an answer")
    }

    fn call(&mut self, function: &str, params: Value) -> Answer {
        self.send(function, &params);
        self.read()
    }

    /// Calls until an executor serves this connection.
    fn settle(mut self) -> Self {
        eventually("an executor serves the connection", || {
            // Enough to make it worth while.
            (0..40).for_each(|_| drop(self.call("f", json!([])).ok()));
            let served = self.is_served();
            check(served, "the server worker does")
        });
        self
    }

    /// Makes a call; tells whether an executor has answered it: who answers gives the request its id, which begins with the process's own.
    fn is_served(&mut self) -> bool {
        let maker = |answer: &Answer| answer.header("x-request-id").and_then(|id| id.get(..16)).map(str::to_owned);
        let answer = self.call("f", json!([])).ok();
        maker(&answer) != maker(&self.http.get("/health"))
    }
}

/// What the call executors of a database do.
fn states(cluster: &Cluster, database: &str) -> Vec<String> {
    let rows = cluster
        .control()
        .query("SELECT state FROM stonescriptdb.workers WHERE database = $1 AND role LIKE '%\\_call'", &[&database]);
    rows.expect("workers").iter().map(|row| row.get(0)).collect()
}

/// A connection of a platform that an executor serves.
fn settled<'a>(cluster: &Cluster, platform: &'a Platform) -> Line<'a> {
    Line::new(cluster.http(), &platform.name, None).settle()
}
