//! A deployment followed to its end.

use std::io::{BufRead, IsTerminal};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use crate::client::{As, Client};
use crate::failure::{Exit, Failure, text};

/// A stream that breaks off is asked for again so often; each event that comes forgives the failures before it.
const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_secs(1);

/// One server-sent event.
#[derive(Debug, PartialEq)]
struct Event {
    name: String,
    data: Value,
}

/// Shows how a deployment goes on until it has ended; gives its record.
pub(crate) fn follow(client: &Client<'_>, id: &str) -> Result<Value, Failure> {
    let bar = Bar::new();
    let mut failures = 0;
    loop {
        match stream(client, id, &bar, &mut failures) {
            Ok(true) => break,
            // It broke off, or the server worker was started again: what came of the deployment is in its record.
            Ok(false) => {}
            Err(failure) if failure.exit != Exit::Unreachable => return Err(failure),
            Err(failure) if failures >= ATTEMPTS => {
                return Err(failure
                    .with("deployment_id", id)
                    .with("hint", "The deployment goes on; `watch` shows how."));
            }
            Err(_) => {}
        }
        failures += 1;
        std::thread::sleep(PAUSE);
    }
    bar.end();
    client.get(&format!("/deployments/{id}"), &[], As::Platform)
}

/// Reads events until the last one; false if the stream ends without it.
fn stream(client: &Client<'_>, id: &str, bar: &Bar, failures: &mut u32) -> Result<bool, Failure> {
    let mut reader = client.events(&format!("/deployments/{id}/events"))?;
    while let Ok(Some(event)) = next_event(&mut reader) {
        *failures = 0;
        match event.name.as_str() {
            "database" => bar.database(&event.data),
            "progress" => bar.counts(&event.data),
            "end" => {
                bar.counts(&event.data);
                return Ok(true);
            }
            _ => {}
        }
    }
    if *failures >= ATTEMPTS {
        return Err(Failure::new(Exit::Unreachable, "unreachable", "the stream of events breaks off again and again"));
    }
    Ok(false)
}

/// The next event; none at the end.
fn next_event(reader: &mut impl BufRead) -> std::io::Result<Option<Event>> {
    let (mut name, mut data) = (String::new(), String::new());
    let mut line = String::new();
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let line = line.trim_end_matches(['\n', '\r']);
        if line.is_empty() {
            if data.is_empty() {
                name.clear();
                continue;
            }
            return Ok(Some(Event { name, data: serde_json::from_str(&data).unwrap_or_default() }));
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut name),
            "data" => {
                if !data.is_empty() {
                    data.push('\n');
                }
                data.push_str(value);
            }
            _ => {}
        }
    }
}

/// The bar on a terminal; elsewhere a line for each database.
struct Bar {
    bar: Option<ProgressBar>,
}

impl Bar {
    fn new() -> Bar {
        if !std::io::stderr().is_terminal() {
            return Bar { bar: None };
        }
        let bar = ProgressBar::new(0);
        let style = "{spinner} {bar:40} {pos}/{len} databases, {msg}{elapsed} (ends in {eta})";
        bar.set_style(ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.enable_steady_tick(Duration::from_millis(200));
        Bar { bar: Some(bar) }
    }

    fn database(&self, row: &Value) {
        let line = database_line(row);
        match &self.bar {
            // Of thousands of databases, those that are done would hide those that are not.
            Some(bar) if text(row, "status") == Some("failed") => bar.println(line),
            Some(_) => {}
            None => eprintln!("{line}"),
        }
    }

    fn counts(&self, counts: &Value) {
        let Some(bar) = &self.bar else { return };
        let number = |name: &str| counts.get(name).and_then(Value::as_u64).unwrap_or_default();
        bar.set_length(number("total"));
        bar.set_position(number("done"));
        bar.set_message(match number("failed") {
            0 => String::new(),
            failed => format!("{failed} failed, "),
        });
    }

    fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// A database of a deployment in one line.
pub(crate) fn database_line(row: &Value) -> String {
    let mut line = format!(
        "{}: {}",
        text(row, "database").unwrap_or_default(),
        text(row, "status").or(text(row, "state")).unwrap_or_default()
    );
    let ms = row.get("execution_time_ms").and_then(Value::as_f64);
    // What was left out took no time.
    if let Some(ms) = ms.filter(|_| !line.ends_with(": skipped")) {
        line.push_str(&format!(" in {ms:.0} ms"));
    }
    let message = row.get("error").and_then(|error| text(error, "message").or(error.as_str()));
    if let Some(message) = message {
        line.push_str(": ");
        line.push_str(message);
    }
    line
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn events_as_they_are_sent() {
        let sent = ": alive\n\nevent: progress\r\ndata: {\"done\":1}\r\n\r\nevent:database\ndata:{\"a\":\ndata: 2}\n\nevent: cut\ndata: {";
        let mut reader = sent.as_bytes();
        let mut next = || next_event(&mut reader).unwrap();
        assert_eq!(next(), Some(Event { name: "progress".to_owned(), data: json!({"done": 1}) }));
        assert_eq!(next(), Some(Event { name: "database".to_owned(), data: json!({"a": 2}) }));
        assert_eq!(next(), None);
    }

    #[test]
    fn a_database_in_one_line() {
        let row =
            json!({"database": "shop_a", "status": "failed", "execution_time_ms": 12, "error": {"message": "no"}});
        assert_eq!(database_line(&row), "shop_a: failed in 12 ms: no");
        let row = json!({"database": "shop_b", "status": "skipped", "execution_time_ms": 0});
        assert_eq!(database_line(&row), "shop_b: skipped");
    }
}
