//! The figures: gathered here once, shown as Prometheus text (`text.rs`) and as rows for the views `stats…`, so that both say the same.

mod gather;
mod text;

use serde_json::{Number, Value, json};

use super::App;
pub(super) use text::CONTENT_TYPE;

/// What Prometheus makes of a family.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// It only grows, but for a restart of PostgreSQL.
    Counter,
    Gauge,
    Histogram,
}

/// Figures of one name.
struct Family {
    name: &'static str,
    help: &'static str,
    kind: Kind,
    samples: Vec<Sample>,
}

type Labels = Vec<(&'static str, String)>;

struct Sample {
    /// What follows the family's name.
    suffix: &'static str,
    labels: Labels,
    value: Number,
}

/// Everything as Prometheus reads it.
pub(super) fn as_text(app: &App) -> String {
    text::write(&gather::all(app))
}

/// Everything as an array of `{"metric", "labels", "value"}`.
pub(super) fn as_rows(app: &App) -> Value {
    let families = gather::all(app);
    let rows = families.iter().flat_map(|family| {
        family.samples.iter().map(|sample| {
            let labels: serde_json::Map<String, Value> =
                sample.labels.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
            json!({"metric": format!("{}{}", family.name, sample.suffix), "labels": labels, "value": sample.value})
        })
    });
    rows.collect()
}
