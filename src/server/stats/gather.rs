//! Where the figures come from: the counters in shared memory, and for what is now, the pool, the registry and the listener.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Number;
use stonescriptdb_protocol::ErrorCode;

use super::{Family, Kind, Labels, Sample};
use crate::error;
use crate::postgres::counters::{self, BUCKETS, Calls, Counted, OUTCOMES, REFUSALS};
use crate::postgres::seats::SEATS;
use crate::server::App;
use crate::server::deploy::ENDS;

/// Calls of platforms that have no figures of their own.
const OTHER: &str = counters::OTHER;

pub(super) fn all(app: &App) -> Vec<Family> {
    let mut families = about(app);
    let counted = counters::read();
    if let Some(counted) = &counted {
        families.extend(calls(&counted.calls));
        families.extend(errors(counted));
    }
    families.extend(executors(app));
    families.extend(connections(app, counted.as_ref()));
    families.extend(databases(app));
    families.extend(deployments(app, counted.as_ref()));
    families
}

fn sample(labels: Labels, value: impl Into<Number>) -> Sample {
    Sample { suffix: "", labels, value: value.into() }
}

fn label(name: &'static str, value: &str) -> Labels {
    vec![(name, value.to_owned())]
}

/// Seconds, of which JSON and Prometheus both know fractions.
fn seconds(duration: Duration) -> Number {
    Number::from_f64(duration.as_secs_f64()).unwrap_or_else(|| 0.into())
}

fn one(name: &'static str, help: &'static str, kind: Kind, value: impl Into<Number>) -> Family {
    Family { name, help, kind, samples: vec![sample(Vec::new(), value)] }
}

fn about(app: &App) -> Vec<Family> {
    let started = SystemTime::now().checked_sub(app.started.elapsed()).unwrap_or(UNIX_EPOCH);
    let started = seconds(started.duration_since(UNIX_EPOCH).unwrap_or_default());
    vec![
        Family {
            name: "stonescriptdb_info",
            help: "The version.",
            kind: Kind::Gauge,
            samples: vec![sample(label("version", env!("CARGO_PKG_VERSION")), 1)],
        },
        one("stonescriptdb_start_time_seconds", "When the server worker started, in Unix time.", Kind::Gauge, started),
    ]
}

fn calls(all: &[Calls]) -> Vec<Family> {
    let platform = |calls: &Calls| calls.platform.clone().unwrap_or_else(|| OTHER.to_owned());
    let shown: Vec<(String, &Calls)> = all
        .iter()
        // What has no platform is shown only if there is any.
        .filter(|calls| calls.platform.is_some() || calls.outcomes.iter().any(|count| *count > 0))
        .map(|calls| (platform(calls), calls))
        .collect();
    let of_platform = |name: &str| label("platform", name);
    let outcomes = shown.iter().flat_map(|(name, calls)| {
        OUTCOMES
            .iter()
            .zip(calls.outcomes)
            .map(|(outcome, count)| sample(vec![("platform", name.clone()), ("outcome", (*outcome).to_owned())], count))
    });
    let simple = |name, help, of: fn(&Calls) -> u64| Family {
        name,
        help,
        kind: Kind::Counter,
        samples: shown.iter().map(|(name, calls)| sample(of_platform(name), of(calls))).collect(),
    };
    vec![
        Family {
            name: "stonescriptdb_calls_total",
            help: "Calls by platform and outcome; a batch is one.",
            kind: Kind::Counter,
            samples: outcomes.collect(),
        },
        Family {
            name: "stonescriptdb_call_duration_seconds",
            help: "Time from when a call was read to its answer, waiting for an executor included.",
            kind: Kind::Histogram,
            samples: shown.iter().flat_map(|(name, calls)| histogram(name, calls)).collect(),
        },
        simple("stonescriptdb_call_parameter_bytes_total", "Bytes of the parameters of calls.", |calls| calls.received),
        simple("stonescriptdb_call_result_bytes_total", "Bytes of the results of calls.", |calls| calls.sent),
    ]
}

/// The buckets added up, as Prometheus wants them, with sum and count.
fn histogram(platform: &str, calls: &Calls) -> Vec<Sample> {
    let mut so_far = 0;
    let ends = BUCKETS.iter().map(|end| (*end as f64 / 1e6).to_string()).chain(["+Inf".to_owned()]);
    let mut samples: Vec<Sample> = ends
        .zip(calls.buckets)
        .map(|(end, count)| {
            so_far += count;
            let labels = vec![("platform", platform.to_owned()), ("le", end)];
            Sample { suffix: "_bucket", labels, value: so_far.into() }
        })
        .collect();
    let sum = seconds(Duration::from_nanos(calls.nanoseconds));
    samples.push(Sample { suffix: "_sum", labels: label("platform", platform), value: sum });
    // What the buckets say, so that it fits them, whatever is counted meanwhile.
    samples.push(Sample { suffix: "_count", labels: label("platform", platform), value: so_far.into() });
    samples
}

fn errors(counted: &Counted) -> Vec<Family> {
    // Two codes may have one name.
    let mut named: Vec<(&str, u64)> = Vec::new();
    for (code, count) in ErrorCode::ALL.iter().zip(counted.errors) {
        let name = error::outside(*code).name;
        match named.iter_mut().find(|(known, _)| *known == name) {
            Some((_, sum)) => *sum += count,
            None => named.push((name, count)),
        }
    }
    let refused = REFUSALS.iter().zip(counted.refusals);
    vec![
        Family {
            name: "stonescriptdb_http_errors_total",
            help: "Errors answered over HTTP, by code.",
            kind: Kind::Counter,
            samples: named.into_iter().map(|(name, count)| sample(label("error", name), count)).collect(),
        },
        Family {
            name: "stonescriptdb_refusals_total",
            help: "Requests that got no executor and connections that were not served, by reason.",
            kind: Kind::Counter,
            samples: refused.map(|(name, count)| sample(label("reason", name), count)).collect(),
        },
    ]
}

fn executors(app: &App) -> Vec<Family> {
    let loads = app.pool.load();
    let by_kind = || ["calls", "work"].into_iter().zip(loads);
    let states = by_kind().flat_map(|(kind, load)| {
        [("starting", load.starting), ("idle", load.idle), ("busy", load.lent), ("serving", load.long)]
            .map(|(state, count)| sample(vec![("kind", kind.to_owned()), ("state", state.to_owned())], count))
    });
    vec![
        Family {
            name: "stonescriptdb_executors",
            help: "Executors by what they are for and what they do.",
            kind: Kind::Gauge,
            samples: states.collect(),
        },
        one("stonescriptdb_executors_max", "The setting max_workers.", Kind::Gauge, app.settings().max_workers),
        Family {
            name: "stonescriptdb_queue_length",
            help: "Requests that wait for an executor.",
            kind: Kind::Gauge,
            samples: by_kind().map(|(kind, load)| sample(label("kind", kind), load.waiting)).collect(),
        },
        Family {
            name: "stonescriptdb_queue_wait_seconds",
            help: "How long the first of them has been waiting.",
            kind: Kind::Gauge,
            samples: by_kind().map(|(kind, load)| sample(label("kind", kind), seconds(load.longest))).collect(),
        },
    ]
}

fn connections(app: &App, counted: Option<&Counted>) -> Vec<Family> {
    use Kind::{Counter, Gauge};
    let open = app.connections.load(Relaxed);
    let direct = (SEATS as usize).saturating_sub(app.directs.free_seats());
    let mut families = vec![
        one("stonescriptdb_http_connections", "HTTP connections that are open.", Gauge, open),
        one("stonescriptdb_http_connections_direct", "Those of them that executors serve themselves.", Gauge, direct),
    ];
    if let Some(counted) = counted {
        families.extend([
            one("stonescriptdb_http_connections_total", "HTTP connections served.", Counter, counted.connections),
            one(
                "stonescriptdb_http_received_bytes_total",
                "Bytes that came on HTTP connections.",
                Counter,
                counted.received,
            ),
            one("stonescriptdb_http_sent_bytes_total", "Bytes sent on HTTP connections.", Counter, counted.sent),
        ]);
    }
    families
}

fn databases(app: &App) -> Vec<Family> {
    let registry = app.registry();
    let (mut ready, mut suspended, mut other) = (0u64, 0u64, 0u64);
    for tenant in registry.tenants() {
        match (tenant.ready(), tenant.suspended()) {
            (false, _) => other += 1,
            (true, Some(_)) => suspended += 1,
            (true, None) => ready += 1,
        }
    }
    let states = [("ready", ready), ("suspended", suspended), ("unfinished", other)];
    vec![
        one("stonescriptdb_platforms", "Platforms.", Kind::Gauge, registry.platforms.len()),
        Family {
            name: "stonescriptdb_databases",
            help: "Databases of tenants, by state.",
            kind: Kind::Gauge,
            samples: states.map(|(state, count)| sample(label("state", state), count)).into(),
        },
    ]
}

fn deployments(app: &App, counted: Option<&Counted>) -> Vec<Family> {
    let running = "stonescriptdb_deployments_running";
    let mut families = vec![one(running, "Deployments that run.", Kind::Gauge, app.jobs.count())];
    if let Some(counted) = counted {
        let ends = |name, help, counts: [u64; ENDS.len()]| Family {
            name,
            help,
            kind: Kind::Counter,
            samples: ENDS.iter().zip(counts).map(|(end, count)| sample(label("outcome", end), count)).collect(),
        };
        families.extend([
            ends("stonescriptdb_deployments_total", "Deployments that have ended, by outcome.", counted.deployments),
            ends(
                "stonescriptdb_deployment_databases_total",
                "Databases that deployments have done with, by outcome.",
                counted.databases,
            ),
        ]);
    }
    families
}
