//! Ways to stop a deployment that waits at a gate.

use std::time::Duration;

use acceptance::http::{multipart_body, multipart_type};
use acceptance::server::signal;
use acceptance::wait::check;
use acceptance::{Files, Shutdown, eventually, refused, sql};
use postgres::NoTls;
use rustix::process::Signal;

use super::gates::Gate;
use crate::world::{OTHER, World};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The SQL statement is cancelled.
    Cancel,
    /// The HTTP client closes its connection.
    Leave,
    /// pg_terminate_backend of the executor.
    Terminate,
    /// kill -9 of the executor.
    Kill,
    /// An immediate shutdown of the server.
    Immediate,
}

pub const ALL: [Stop; 5] = [Stop::Cancel, Stop::Leave, Stop::Terminate, Stop::Kill, Stop::Immediate];

impl Stop {
    /// What the deployment may be recorded as.
    pub fn states(self, gate: &Gate) -> &'static [&'static str] {
        match self {
            // What is committed is done; the rest is for the next.
            Stop::Cancel | Stop::Leave if !gate.is_before_commit() => &["completed_with_warnings"],
            Stop::Cancel | Stop::Leave => &["cancelled"],
            Stop::Terminate if !gate.is_before_commit() => &["failed", "completed_with_warnings"],
            Stop::Terminate => &["failed"],
            // The server worker may come to write the failure down before it is ended too.
            Stop::Kill | Stop::Immediate => &["failed", "interrupted"],
        }
    }

    /// Deploys a bundle (migrate for a tenant that is there, register for another) and stops that at the gate.
    #[track_caller]
    pub fn stop(self, world: &World, tenant: &str, files: &Files, gate: &Gate) {
        let is_there = tenant == "main" || tenant == OTHER;
        let bundle = files.tar_gz();
        let (platform, http) = (world.platform.name.as_str(), world.cluster.http());
        let path = if is_there { "/migrate" } else { "/register" };
        let fields = [("platform", platform), ("tenant_id", tenant)];
        match self {
            Stop::Cancel => {
                let mut control = world.cluster.control();
                let cancel = control.cancel_token();
                std::thread::scope(|scope| {
                    let deployment = scope.spawn(|| match is_there {
                        true => refused(sql::migrate(&mut control, &bundle, Some(platform), Some(tenant))),
                        false => refused(sql::register(&mut control, &bundle, Some(platform), Some(tenant))),
                    });
                    gate.reached(world);
                    cancel.cancel_query(NoTls).expect("the cancel request");
                    deployment.join().expect("the caller").sqlstate("57014");
                });
            }
            Stop::Leave => {
                let body = multipart_body(&fields, Some(("schema", &bundle)));
                let mut wire = http.wire();
                wire.send(&http.request_bytes("POST", path, &[("Content-Type", &multipart_type())], &body))
                    .expect("sent");
                gate.reached(world);
                drop(wire);
            }
            Stop::Terminate => {
                std::thread::scope(|scope| {
                    let deployment = scope.spawn(|| http.multipart(path, &fields, Some(("schema", &bundle))));
                    let pid = gate.reached(world);
                    sql::text(&mut world.cluster.control(), &format!("SELECT pg_terminate_backend({pid})"));
                    let answer = deployment.join().expect("the caller");
                    if gate.is_before_commit() {
                        assert!(answer.status >= 500, "{gate:?}: {answer}");
                        answer.shaped();
                    }
                });
            }
            Stop::Kill | Stop::Immediate => {
                let mut witness = world.cluster.control();
                std::thread::scope(|scope| {
                    let http = http.timeout(Duration::from_secs(30));
                    let deployment = scope.spawn(move || http.multipart_status(path, &fields, &bundle));
                    let pid = gate.reached(world);
                    match self {
                        Stop::Kill => signal(pid, Signal::KILL),
                        _ => drop(world.cluster.stop(Shutdown::Immediate)),
                    }
                    let status = deployment.join().expect("the caller");
                    assert!(status.is_none_or(|status| status >= 500), "{gate:?}: {status:?}");
                });
                // The postmaster ends everybody before it starts anew.
                eventually("all sessions to be ended", || {
                    check(witness.batch_execute("SELECT 1").is_err(), "one lives")
                });
                if world.cluster.is_running() {
                    eventually("the server to be back", || {
                        world.cluster.try_connect_as("postgres", "postgres").map(drop).map_err(|e| e.to_string())
                    });
                }
            }
        }
    }
}
