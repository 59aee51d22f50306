//! The server's log: how long a line may be, and how many were left out by `log_rate`, which `postgres::counters` counts.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::App;
use crate::postgres::counters::{self, Line};

/// How often it is told what was left out.
pub(super) const MINUTE: Duration = Duration::from_secs(60);
/// How often it is looked whether that is over.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// A message is cut off here, in bytes.
const LONGEST: usize = 4096;

/// Says at the end of each minute, and when settings are read again, what was left out; until the worker ends.
pub(super) async fn sum_up(app: Arc<App>) {
    let mut reloads = app.reloads.subscribe();
    let mut looks = tokio::time::interval(LOOK_EVERY);
    let mut told = Instant::now();
    loop {
        let reloaded = tokio::select! {
            _ = looks.tick() => false,
            changed = reloads.changed() => match changed {
                Ok(()) => true,
                Err(_) => return,
            },
        };
        app.refusals.sum_up(&app, reloaded);
        if reloaded || told.elapsed() >= MINUTE {
            told = Instant::now();
            if let Some(sum) = left_out() {
                app.main.tell(sum);
            }
        }
    }
}

/// Of failed calls the next line says it too, whichever comes first.
fn left_out() -> Option<String> {
    let of = [(Line::Call, "lines about failed calls"), (Line::Message, "messages")];
    let counts = of.map(|(line, name)| (counters::left_out(line), name));
    let counts: Vec<String> =
        counts.iter().filter(|(count, _)| *count > 0).map(|(count, name)| format!("{count} {name}")).collect();
    (!counts.is_empty()).then(|| format!("left out of the log, by stonescriptdb.log_rate: {}", counts.join(", ")))
}

/// A message that is not too long.
pub(super) fn shortened(mut message: String) -> String {
    if message.len() > LONGEST {
        let end = (0..=LONGEST).rev().find(|end| message.is_char_boundary(*end)).unwrap_or(0);
        message.truncate(end);
        message.push('…');
    }
    message
}
