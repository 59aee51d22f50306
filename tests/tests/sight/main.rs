//! What those see who operate the server: whether it lives and is ready, its figures over HTTP and SQL, activity, log, traces.

mod activity;
mod figures;
mod logged;
mod prometheus;
mod ready;
mod traces;

use acceptance::wait::check;
use acceptance::{Cluster, Http, Platform, Wire, eventually};
use prometheus::Page;
use serde_json::{Value, json};

/// The figures as they are now.
fn page(cluster: &Cluster) -> Page {
    let answer = cluster.http().admin().get("/metrics").ok();
    prometheus::read(&answer.text).unwrap_or_else(|why| panic!("{why}\n{answer}"))
}

/// A connection on which one platform is called.
struct Line<'a> {
    http: Http,
    wire: Wire,
    platform: &'a Platform<'a>,
}

impl<'a> Line<'a> {
    /// One that an executor serves: it is called until whoever answers makes other ids of requests than the server worker does.
    fn direct(cluster: &'a Cluster, platform: &'a Platform<'a>) -> Line<'a> {
        let http = cluster.http();
        let mut line = Line { wire: http.wire(), http, platform };
        let maker = |answer: &acceptance::Answer| answer.header("x-request-id").map(|id| id[..16].to_owned());
        eventually("an executor serves the connection", || {
            (0..40).for_each(|_| drop(line.call("f", json!([]), &[]).ok()));
            let by_executor = maker(&line.call("f", json!([]), &[])) != maker(&line.http.get("/live"));
            check(by_executor, "the server worker does")
        });
        line
    }

    fn call(&mut self, function: &str, params: Value, headers: &[(&str, &str)]) -> acceptance::Answer {
        let body = json!({"platform": self.platform.name, "function": function, "params": params}).to_string();
        let mut all = vec![("Content-Type", "application/json")];
        all.extend(headers);
        self.wire.send(&self.http.request_bytes("POST", "/call", &all, body.as_bytes())).expect("sent");
        self.wire.read_answer("POST").expect("an answer")
    }
}
