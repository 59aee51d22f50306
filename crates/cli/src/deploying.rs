//! `plan`, `register`, `migrate`, `watch`.

use serde_json::{Value, json};

use crate::args::{Allowed, Global, Migrate, OfTenant, Plan, Register, Seeders};
use crate::client::Client;
use crate::failure::{Exit, Failure, Level, exit_of, refused, render, text};
use crate::source::Source;
use crate::watch::{database_line, follow};
use crate::{answer, complain, show};

type Fields = Vec<(&'static str, String)>;

fn fields_of(of: &OfTenant) -> Fields {
    let mut fields = Fields::new();
    fields.extend(of.platform.clone().map(|platform| ("platform", platform)));
    fields.extend(of.tenant.clone().map(|tenant| ("tenant_id", tenant)));
    fields
}

fn fields_of_allowed(allowed: &Allowed) -> Fields {
    let mut fields = Fields::new();
    if !allowed.allow.is_empty() {
        fields.push(("allow", allowed.allow.join(",")));
    }
    if allowed.force {
        fields.push(("force", "true".to_owned()));
    }
    if allowed.verify {
        fields.push(("verify", "true".to_owned()));
    }
    if let Some(seeders) = allowed.seeders {
        let value = if seeders == Seeders::Check { "check" } else { "insert_missing" };
        fields.push(("seeders", value.to_owned()));
    }
    fields
}

/// Sends a bundle. A deployment that is partly done is no failure to be thrown: its answer tells of every database.
fn send(client: &Client<'_>, path: &str, fields: &Fields, source: &Source) -> Result<Value, Failure> {
    let (status, body) = client.form(path, fields, &source.archive)?;
    let is_partial = text(&body, "error") == Some("deployment_partial");
    if (200..300).contains(&status) && !body.is_null() || is_partial {
        Ok(body)
    } else {
        Err(Failure::answered(status, body))
    }
}

/// Tells of a failure with the lines of the bundle's files.
fn told<T>(global: &Global, source: &Source, result: Result<T, Failure>) -> Result<T, Exit> {
    result.map_err(|failure| {
        complain(global, &failure, Some(source));
        failure.exit
    })
}

/// What a deployment would do, of every database: one in which it would fail does not hide the others. Refused if data would be lost, as
/// the deployment itself is.
pub(crate) fn dry_run(
    global: &Global,
    source: &Source,
    of: &OfTenant,
    more: &[(&'static str, String)],
) -> Result<Value, Failure> {
    let mut fields = fields_of(of);
    fields.push(("dry_run", "true".to_owned()));
    fields.push(("on_error", "continue".to_owned()));
    fields.extend_from_slice(more);
    send(&Client::new(global)?, "/migrate", &fields, source)
}

/// The errors of a deployment's databases, each with its database's name.
pub(crate) fn errors_of(body: &Value) -> Vec<Value> {
    let databases = body.get("databases").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let failed = databases.iter().filter_map(|row| Some((row, row.get("error").filter(|error| !error.is_null())?)));
    let named = failed.map(|(row, error)| {
        let mut error = if error.is_object() { error.clone() } else { json!({"message": error}) };
        if let (Some(error), Some(database)) = (error.as_object_mut(), row.get("database")) {
            error.entry("database").or_insert_with(|| database.clone());
        }
        error
    });
    named.collect()
}

pub(crate) fn plan(global: &Global, plan: &Plan) -> Result<Exit, Failure> {
    let source = Source::read(&plan.bundle)?;
    let result = dry_run(global, &source, &plan.of, &fields_of_allowed(&plan.allowed));
    let body = match told(global, &source, result) {
        Ok(body) => body,
        Err(exit) => return Ok(exit),
    };
    warn(global, &body, &source);
    answer(global, &body, || planned(&body));
    let failed = errors_of(&body);
    if !global.json {
        failed.iter().for_each(|error| eprint!("{}", render(Level::Error, error, Some(&source))));
    }
    Ok(match (failed.is_empty(), is_refused(&body, &plan.allowed)) {
        (false, _) => Exit::Failed,
        (true, true) => Exit::Refused,
        (true, false) => Exit::Done,
    })
}

/// Whether a deployment of what was planned would be refused: a dry run is not, it shows everything.
fn is_refused(body: &Value, allowed: &Allowed) -> bool {
    let validation = body.get("schema_validation").unwrap_or(&Value::Null);
    let lists = ["dataloss_changes", "incompatible_changes"];
    let mut changes = lists.iter().filter_map(|list| validation.get(list)?.as_array()).flatten();
    let is_allowed =
        |change: &Value| text(change, "allow").is_some_and(|kind| allowed.allow.iter().any(|named| named == kind));
    !allowed.force && changes.any(|change| !is_allowed(change))
}

/// A dry run for people: a plan for each group of databases in one state.
fn planned(body: &Value) -> String {
    let colour = show::in_colour();
    let mut out = String::new();
    let one = |out: &mut String, group: &Value, of: String| {
        let steps = group.get("plan").unwrap_or(&Value::Null);
        let count = steps.as_array().map_or(0, Vec::len);
        out.push_str(&format!("-- {of}: {count} statements\n"));
        out.push_str(&show::plan(steps, colour));
        for change in group.get("schema_validation").map(refused).unwrap_or_default() {
            out.push_str(&format!("-- {change}\n"));
        }
        if let Some(fingerprint) = text(group, "plan_fingerprint") {
            out.push_str(&format!("-- fingerprint {fingerprint}\n"));
        }
    };
    match body.get("plans").and_then(Value::as_array) {
        Some(groups) => {
            for group in groups {
                let names = group.get("databases").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
                let first: Vec<String> = names.iter().take(3).map(|name| show::cell(Some(name))).collect();
                let more = names.len().saturating_sub(first.len());
                let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                one(&mut out, group, format!("{}{more}", first.join(", ")));
            }
        }
        None => {
            let databases = body.get("databases").and_then(Value::as_array).into_iter().flatten();
            let names: Vec<String> = databases.map(|row| show::cell(row.get("database"))).collect();
            let of = if names.is_empty() { "no database yet".to_owned() } else { names.join(", ") };
            one(&mut out, body, of);
        }
    }
    out
}

pub(crate) fn register(global: &Global, register: &Register) -> Result<Exit, Failure> {
    let source = Source::read(&register.bundle)?;
    let mut fields = fields_of(&register.of);
    fields.extend(fields_of_allowed(&register.allowed));
    fields.extend(register.plan.clone().map(|plan| ("plan", plan)));
    let result = send(&Client::new(global)?, "/register", &fields, &source);
    let body = match told(global, &source, result) {
        Ok(body) => body,
        Err(exit) => return Ok(exit),
    };
    warn(global, &body, &source);
    answer(global, &body, || {
        let count = |name: &str| show::cell(body.get(name));
        format!(
            "{}: {}, {} tables created, {} migrations applied, {} functions, {} ms\n",
            count("database"),
            count("status"),
            count("tables_created"),
            count("migrations_applied"),
            count("functions_deployed"),
            count("execution_time_ms")
        )
    });
    Ok(Exit::Done)
}

pub(crate) fn migrate(global: &Global, migrate: &Migrate) -> Result<Exit, Failure> {
    let source = Source::read(&migrate.bundle)?;
    let mut fields = fields_of(&migrate.of);
    fields.extend(fields_of_allowed(&migrate.allowed));
    fields.extend(migrate.plan.clone().map(|plan| ("plan", plan)));
    if !migrate.canary.is_empty() {
        fields.push(("canary", migrate.canary.join(",")));
    }
    fields.extend(migrate.parallel.map(|number| ("parallel", number.to_string())));
    fields.extend(migrate.retries.map(|number| ("retries", number.to_string())));
    if migrate.keep_going {
        fields.push(("on_error", "continue".to_owned()));
    }
    let client = Client::new(global)?;
    if migrate.watch {
        fields.push(("wait", "false".to_owned()));
        let begun = match told(global, &source, send(&client, "/migrate", &fields, &source)) {
            Ok(begun) => begun,
            Err(exit) => return Ok(exit),
        };
        let Some(id) = text(&begun, "deployment_id") else { return Err(no_deployment()) };
        return watched(global, &client, id, Some(&source));
    }
    let body = match told(global, &source, send(&client, "/migrate", &fields, &source)) {
        Ok(body) => body,
        Err(exit) => return Ok(exit),
    };
    warn(global, &body, &source);
    Ok(ended(global, &body, Some(&source)))
}

fn no_deployment() -> Failure {
    Failure::new(Exit::Failed, "internal_error", "the server named no deployment")
}

pub(crate) fn watch(global: &Global, id: &str) -> Result<Exit, Failure> {
    if !id.chars().all(|c| c.is_ascii_hexdigit() || c == '-') {
        return Err(Failure::usage(format!("{id} is no deployment's id")));
    }
    watched(global, &Client::new(global)?, id, None)
}

fn watched(global: &Global, client: &Client<'_>, id: &str, source: Option<&Source>) -> Result<Exit, Failure> {
    let record = follow(client, id)?;
    Ok(ended(global, &record, source))
}

/// Tells how a deployment ended; its exit code.
fn ended(global: &Global, body: &Value, source: Option<&Source>) -> Exit {
    let state = text(body, "status").or(text(body, "state")).unwrap_or_default();
    let databases = body.get("databases").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let failed = errors_of(body);
    answer(global, body, || {
        let mut out = String::new();
        // Of a fleet only the counts; of a few databases each.
        if databases.len() <= 10 {
            for row in databases {
                out.push_str(&database_line(row));
                out.push('\n');
            }
        }
        out.push_str(&format!("{state}: {}\n", counts(body, databases)));
        if let Some(id) = text(body, "deployment_id") {
            out.push_str(&format!("deployment {id}\n"));
        }
        out
    });
    if matches!(state, "completed" | "completed_with_warnings" | "planned") {
        return Exit::Done;
    }
    let whole = body.get("error").filter(|error| failed.is_empty() && error.is_object());
    let told: Vec<&Value> = failed.iter().chain(whole).collect();
    if !global.json {
        told.iter().for_each(|error| eprint!("{}", render(Level::Error, error, source)));
    }
    let exits: Vec<Exit> = told.iter().map(|error| exit_of(None, error)).collect();
    // Refused is only what was refused everywhere where it was not done.
    match exits.as_slice() {
        [first, rest @ ..] if rest.iter().all(|exit| exit == first) => *first,
        _ => Exit::Failed,
    }
}

fn counts(body: &Value, databases: &[Value]) -> String {
    let number = |name: &str| body.get(name).and_then(Value::as_u64);
    let Some(total) = number("total") else { return format!("{} databases", databases.len()) };
    let mut out = format!("{total} databases");
    for name in ["succeeded", "unchanged", "failed", "skipped"] {
        match number(name) {
            Some(count) if count > 0 => out.push_str(&format!(", {count} {name}")),
            _ => {}
        }
    }
    out
}

fn warn(global: &Global, body: &Value, source: &Source) {
    if global.json {
        return;
    }
    for warning in body.get("warnings").and_then(Value::as_array).into_iter().flatten() {
        eprint!("{}", render(Level::Warning, &json!({"message": warning}), Some(source)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_plan_would_be_refused_for() {
        let body =
            json!({"schema_validation": {"dataloss_changes": [{"allow": "drop_column"}], "incompatible_changes": []}});
        let allowed = |allow: &[&str], force| Allowed {
            allow: allow.iter().map(|kind| (*kind).to_owned()).collect(),
            force,
            verify: false,
            seeders: None,
        };
        assert!(is_refused(&body, &allowed(&[], false)));
        assert!(is_refused(&body, &allowed(&["drop_table"], false)));
        assert!(!is_refused(&body, &allowed(&["drop_column"], false)));
        assert!(!is_refused(&body, &allowed(&[], true)));
        assert!(!is_refused(&json!({}), &allowed(&[], false)));
    }

    #[test]
    fn a_plan_for_people() {
        let step = json!({"seq": 1, "object": "table a", "class": "safe", "hazards": [], "sql": "CREATE TABLE a ()", "transactional": true});
        let group = json!({"databases": ["a", "b", "c", "d"], "plan": [step], "plan_fingerprint": "f0"});
        assert_eq!(
            planned(&json!({"plans": [group]})),
            "-- a, b, c and 1 more: 1 statements\n--   1 table a: safe\nCREATE TABLE a ();\n-- fingerprint f0\n"
        );
    }
}
