//! `call`, `tenants`, `drift`, `logs`.

use std::fmt;
use std::io::BufRead;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::args::{Call, Drift, Global, Logs, OfPlatform};
use crate::client::{As, Client};
use crate::failure::{Exit, Failure, text};
use crate::{answer, out, show};

pub(crate) fn call(client: &Client<'_>, global: &Global, call: &Call) -> Result<Exit, Failure> {
    let Some(platform) = &call.of.platform else {
        return Err(Failure::usage("whose function it is must be said: --platform or SSDB_PLATFORM"));
    };
    let mut body = json!({"platform": platform, "function": call.function, "params": params(call)?});
    if let Some(body) = body.as_object_mut() {
        body.extend(call.of.tenant.clone().map(|tenant| ("tenant_id".to_owned(), json!(tenant))));
        if call.retry {
            body.insert("retry".to_owned(), json!(true));
        }
    }
    let mut headers = Vec::new();
    headers.extend(call.timeout.map(|limit| ("X-Timeout-Ms", limit.to_string())));
    if call.lines {
        headers.push(("Accept", "application/x-ndjson".to_owned()));
    }
    let response = client.post("/call", &body, &headers)?;
    if call.lines && response.status().as_u16() == 200 {
        return lines(std::io::BufReader::new(response.into_body().into_reader()));
    }
    // As it was sent: numbers with all their digits, columns in their order.
    let text = client.text(response)?;
    out(&if global.json { format!("{text}\n") } else { rows(&text)? });
    Ok(Exit::Done)
}

/// The arguments of a call as the server takes them.
fn params(call: &Call) -> Result<Value, Failure> {
    if let Some(text) = &call.params {
        return serde_json::from_str(text).map_err(|error| Failure::usage(format!("--params is no JSON: {error}")));
    }
    if call.named.is_empty() {
        return Ok(call.arguments.iter().map(|text| value(text)).collect());
    }
    let mut named = Map::new();
    for text in &call.named {
        let Some((name, given)) = text.split_once('=') else {
            return Err(Failure::usage(format!("--named {text}: NAME=VALUE is wanted")));
        };
        named.insert(name.to_owned(), value(given));
    }
    Ok(Value::Object(named))
}

/// JSON, or a text where it is none.
fn value(text: &str) -> Value {
    match serde_json::from_str::<Value>(text) {
        // Of a number, all digits that were written count, and no more.
        Ok(Value::Number(number)) if number.to_string() != text => json!(text),
        Ok(value) => value,
        Err(_) => json!(text),
    }
}

/// Rows as they come. The last line of a stream that did not come to its end is the error.
fn lines(mut reader: impl BufRead) -> Result<Exit, Failure> {
    let broken =
        |error: std::io::Error| Failure::new(Exit::Unreachable, "unreachable", format!("the rows broke off: {error}"));
    let mut line = String::new();
    loop {
        line.clear();
        match reader.read_line(&mut line) {
            Ok(0) => return Ok(Exit::Done),
            Ok(_) => {}
            Err(error) => return Err(broken(error)),
        }
        let error = line.starts_with("{\"error\":{").then(|| serde_json::from_str::<Value>(&line).ok()).flatten();
        match error.and_then(|line| line.get("error").cloned()) {
            // A row may look like an error, but then something follows it, if it be the proper end.
            Some(error) if text(&error, "error").is_some() && text(&error, "request_id").is_some() => {
                let mut rest = String::new();
                match reader.read_line(&mut rest) {
                    Ok(0) => {
                        out(&line);
                        return Ok(Exit::Done);
                    }
                    Ok(_) => {
                        out(&line);
                        out(&rest);
                    }
                    Err(_) => return Err(Failure { exit: Exit::Failed, body: error }),
                }
            }
            _ => out(&line),
        }
    }
}

/// An answer, of which nothing is read but the rows.
#[derive(Deserialize)]
struct Answer {
    rows: Vec<Row>,
}

/// A row: its columns in their order, values as they were sent.
struct Row(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Row {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Row, D::Error> {
        struct Columns;
        impl<'de> Visitor<'de> for Columns {
            type Value = Row;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a row")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Row, A::Error> {
                let mut columns = Vec::new();
                while let Some(column) = map.next_entry()? {
                    columns.push(column);
                }
                Ok(Row(columns))
            }
        }
        deserializer.deserialize_map(Columns)
    }
}

/// Rows as a table.
fn rows(text: &str) -> Result<String, Failure> {
    let answer: Answer = serde_json::from_str(text).map_err(|error| {
        Failure::new(Exit::Failed, "internal_error", format!("the answer is not one of a call: {error}"))
    })?;
    let count = answer.rows.len();
    let Some(first) = answer.rows.first() else { return Ok("(0 rows)\n".to_owned()) };
    let names: Vec<&str> = first.0.iter().map(|(name, _)| name.as_str()).collect();
    let line = |row: &Row| row.0.iter().map(|(_, value)| show::raw_cell(value.get())).collect();
    let table = show::table(&names, &answer.rows.iter().map(line).collect::<Vec<_>>());
    Ok(format!("{table}({count} {})\n", if count == 1 { "row" } else { "rows" }))
}

pub(crate) fn tenants(client: &Client<'_>, global: &Global, of: &OfPlatform) -> Result<Exit, Failure> {
    let body = client.get("/admin/tenants", &[("platform", of.platform.as_deref())], As::Admin)?;
    answer(global, &body, || {
        let one = |row: &Value| {
            let state = match text(row, "state") {
                Some("ready") if row.get("unfinished") == Some(&json!(true)) => "ready, unfinished".to_owned(),
                state => match text(row, "suspended_because") {
                    Some(why) => format!("{}: {}", state.unwrap_or_default(), show::cell(Some(&json!(why)))),
                    None => state.unwrap_or_default().to_owned(),
                },
            };
            let bundle = text(row, "bundle_sha256").map(show::short).unwrap_or_default();
            let current = if row.get("is_current") == Some(&json!(true)) { "newest" } else { "older" };
            let drift = match row.get("drift").and_then(Value::as_u64) {
                None => "not checked".to_owned(),
                Some(0) => "none".to_owned(),
                Some(count) => format!("{count} differences"),
            };
            vec![
                show::cell(row.get("platform")),
                show::cell(row.get("schema_name")),
                show::cell(row.get("tenant_id")),
                show::cell(row.get("database")),
                state,
                row.get("size_bytes").and_then(Value::as_u64).map(show::bytes).unwrap_or_default(),
                format!("{bundle} {}", if bundle.is_empty() { "" } else { current }),
                drift,
                show::time(row.get("deployed_at")),
            ]
        };
        let list = body.get("tenants").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let headings = ["platform", "schema", "tenant", "database", "state", "size", "bundle", "drift", "deployed"];
        show::table(&headings, &list.iter().map(one).collect::<Vec<_>>())
    });
    Ok(Exit::Done)
}

pub(crate) fn drift(client: &Client<'_>, global: &Global, drift: &Drift) -> Result<Exit, Failure> {
    if (drift.of.tenant.is_some() || drift.schema.is_some()) && drift.of.platform.is_none() {
        return Err(Failure::usage("whose it is must be said: --platform or SSDB_PLATFORM"));
    }
    let query = [
        ("platform", drift.of.platform.as_deref()),
        ("schema_name", drift.schema.as_deref()),
        ("tenant_id", drift.of.tenant.as_deref()),
    ];
    let body = client.get("/admin/drift", &query, As::Admin)?;
    let rows = body.get("drift").unwrap_or(&Value::Null);
    let found = rows.as_array().map_or(0, Vec::len);
    answer(global, &body, || {
        if found == 0 {
            return "no drift\n".to_owned();
        }
        let members = ["database", "kind", "object", "deviation", "detail"];
        show::table(&members, &show::rows_of(rows, &members))
    });
    Ok(if found == 0 { Exit::Done } else { Exit::Failed })
}

pub(crate) fn logs(client: &Client<'_>, global: &Global, logs: &Logs) -> Result<Exit, Failure> {
    let limit = logs.limit.map(|limit| limit.to_string());
    let platform = logs.of.platform.as_deref();
    if let Some(id) = &logs.deployment {
        if !id.chars().all(|c| c.is_ascii_hexdigit() || c == '-') {
            return Err(Failure::usage(format!("{id} is no deployment's id")));
        }
        let body = client.get(&format!("/deployments/{id}"), &[], As::Platform)?;
        answer(global, &body, || one_deployment(&body));
        return Ok(Exit::Done);
    }
    if logs.statements || logs.of.tenant.is_some() {
        if platform.is_none() {
            return Err(Failure::usage("whose statements they are must be said: --platform or SSDB_PLATFORM"));
        }
        let query = [("platform", platform), ("tenant_id", logs.of.tenant.as_deref()), ("limit", limit.as_deref())];
        let body = client.get("/admin/changelog", &query, As::Admin)?;
        answer(global, &body, || {
            let list = body.get("changelog").unwrap_or(&Value::Null);
            let members =
                ["started_at", "database", "state", "requested_by", "seq", "class", "object", "sql", "message"];
            let mut rows = show::rows_of(list, &members);
            for (row, entry) in rows.iter_mut().zip(list.as_array().into_iter().flatten()) {
                if let Some(first) = row.first_mut() {
                    *first = show::time(entry.get("started_at"));
                }
            }
            show::table(&members, &rows)
        });
        return Ok(Exit::Done);
    }
    let body = client.get("/admin/deployments", &[("platform", platform), ("limit", limit.as_deref())], As::Admin)?;
    answer(global, &body, || {
        let one = |row: &Value| {
            let kind = show::cell(row.get("kind"));
            let dry = row.get("dry_run") == Some(&json!(true));
            vec![
                show::time(row.get("started_at")),
                show::cell(row.get("deployment_id")),
                if dry { format!("{kind} (dry run)") } else { kind },
                show::cell(row.get("platform")),
                show::cell(row.get("state")),
                format!("{} of {}", show::cell(row.get("done")), show::cell(row.get("total"))),
                show::cell(row.get("message")),
            ]
        };
        let list = body.get("deployments").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let headings = ["started", "deployment", "kind", "platform", "state", "done", "message"];
        show::table(&headings, &list.iter().map(one).collect::<Vec<_>>())
    });
    Ok(Exit::Done)
}

fn one_deployment(body: &Value) -> String {
    let mut out = format!(
        "{} of {}: {}, {} of {} done, began {}\n",
        show::cell(body.get("kind")),
        show::cell(body.get("platform")),
        show::cell(body.get("state")),
        show::cell(body.get("done")),
        show::cell(body.get("total")),
        show::time(body.get("started_at"))
    );
    for row in body.get("databases").and_then(Value::as_array).into_iter().flatten() {
        out.push_str(&crate::watch::database_line(row));
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_keep_their_digits_and_order() {
        let text = r#"{"rows":[{"b":12.50,"a":null,"c":{"z":1, "y":"2"}},{"b":100000000000000000000.10,"a":"x\ny","c":[]}],"row_count":2}"#;
        assert_eq!(
            rows(text).unwrap(),
            "b                         a    c\n12.50                          {\"z\":1, \"y\":\"2\"}\n\
             100000000000000000000.10  x y  []\n(2 rows)\n"
        );
    }

    #[test]
    fn arguments() {
        assert_eq!(value("12"), json!(12));
        assert_eq!(value("mug"), json!("mug"));
        assert_eq!(value("[{\"a\": 1}]"), json!([{"a": 1}]));
        assert_eq!(value("null"), Value::Null);
        // What a number of serde_json's would lose is sent as it was written.
        assert_eq!(value("0.10000000000000000000001"), json!("0.10000000000000000000001"));
        assert_eq!(value("007"), json!("007"));
    }
}
