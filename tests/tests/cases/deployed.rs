//! The cases against the extension.

use acceptance::{Answer, Cluster, Platform, Snapshot, read_model, shared, sql};
use postgres::{Client, SimpleQueryMessage};
use serde_json::Value;
use stonescriptdb_schema::{Deviation, differences};

use crate::case::{Case, Outcome, PlanLine, bundle};

#[test]
fn every_case_comes_out_as_it_says() {
    let cluster = shared();
    super::run_all("deployed", |case| run(&cluster, case));
}

/// Fails with a text that says what was expected and what came.
macro_rules! check {
    ($holds:expr, $($why:tt)*) => { if !$holds { return Err(format!($($why)*)); } };
}

fn run(cluster: &Cluster, case: &Case) -> Result<(), String> {
    let platform = Platform::unregistered(cluster, "case");
    let (old, new) = (bundle(&case.old), bundle(&case.new));
    let answer = platform.register_again(&old);
    check!(answer.status == 200, "the first bundle is refused: {answer}");
    if let Some(rows) = &case.rows {
        let mut client = platform.connect();
        let sql = format!("SET ROLE \"{}\";\n{rows}", platform.owner_role());
        client.batch_execute(&sql).map_err(|e| format!("rows: {}", sql::describe(&e)))?;
    }
    let before = platform.snapshot();
    let options: Vec<(&str, &str)> = case.options.iter().map(|(name, value)| (&**name, &**value)).collect();
    let migrate = |more: &[(&str, &str)]| {
        let options: Vec<(&str, &str)> = options.iter().chain(more).copied().collect();
        cluster.http().migrate(&platform.name, Some("main"), &new.tar_gz(), &options)
    };

    let planned = migrate(&[("dry_run", "true")]);
    same(&before, &platform, "a dry run")?;
    check_changes(case, &planned)?;
    check!(planned.status == 200 || !matches!(case.outcome, Outcome::Done), "the dry run fails: {planned}");
    if let Some(plan) = &case.plan {
        check!(planned.status == 200, "the dry run fails: {planned}");
        check_plan(plan, &planned)?;
    }

    let answer = migrate(&[]);
    match &case.outcome {
        Outcome::Done => check!(answer.status == 200, "success expected: {answer}"),
        Outcome::Refused(code, change) => {
            check!(answer.status == 409 && answer.code() == code, "409 {code} expected: {answer}");
            let named =
                change.as_ref().is_none_or(|change| answer.json["schema_validation"].to_string().contains(&**change));
            check!(named, "{change:?} expected in schema_validation: {answer}");
        }
        Outcome::Fails(sqlstate, place) => {
            check!(answer.status >= 400 && answer.status < 500, "a client error expected: {answer}");
            let right = sqlstate == "*" || answer.json["sqlstate"] == **sqlstate;
            check!(right, "SQLSTATE {sqlstate} expected: {answer}");
            if let Some((file, line)) = place {
                let there = answer.json["file"].as_str().is_some_and(|path| path.ends_with(&**file));
                check!(there && answer.json["line"] == *line, "{file}:{line} expected: {answer}");
            }
        }
        Outcome::Any => check!(answer.status < 500, "an error of ours: {answer}"),
    }
    if answer.status == 200 {
        check_reached(cluster, case, &platform)?;
        let again = migrate(&[("dry_run", "true")]);
        check!(again.status == 200 && plan_of(&again).is_empty(), "a second plan is not empty: {again}");
    } else {
        same(&before, &platform, "a refused deployment")?;
    }
    let mut client = platform.connect();
    for (query, wanted) in &case.then {
        let found = rows(&mut client, query)?;
        check!(found == *wanted, "{query}\nexpected: {wanted:?}\nfound:    {found:?}");
    }
    Ok(())
}

fn same(before: &Snapshot, platform: &Platform<'_>, what: &str) -> Result<(), String> {
    let now = platform.snapshot();
    check!(*before == now, "{what} changed something:\n{}", before.difference(&now));
    Ok(())
}

/// The tenant's catalog is that of a database made from the new bundle alone. That database is another tenant of the same platform, so
/// that both have the same roles.
fn check_reached(cluster: &Cluster, case: &Case, platform: &Platform<'_>) -> Result<(), String> {
    let answer = platform.register_tenant("fresh", &bundle(&case.new));
    check!(answer.status == 200, "the new bundle alone is refused: {answer}");
    let present = read_model(&mut platform.connect());
    let wanted = read_model(&mut cluster.connect(&platform.database_of("fresh")));
    let mut left = case.left.clone();
    let differences: Vec<String> = differences(&present, &wanted)
        .iter()
        .filter(|difference| {
            let object = difference.object.to_string();
            let known = difference.deviation == Deviation::Extra && left.contains(&object);
            left.retain(|name| *name != object);
            !known
        })
        .map(|difference| format!("{} {}: {}", difference.deviation.word(), difference.object, difference.detail))
        .collect();
    check!(differences.is_empty(), "not as made from the new bundle alone:\n{}", differences.join("\n"));
    check!(left.is_empty() || matches!(case.outcome, Outcome::Any), "no longer there: {left:?}");
    Ok(())
}

fn plan_of(answer: &Answer) -> Vec<Value> {
    answer.json["plan"].as_array().cloned().unwrap_or_default()
}

fn check_plan(wanted: &[PlanLine], answer: &Answer) -> Result<(), String> {
    let steps = plan_of(answer);
    if wanted.is_empty() {
        check!(steps.is_empty(), "an empty plan expected: {answer}");
    }
    let mut rest = steps.iter();
    for line in wanted {
        let found = rest.any(|step| fits(step, line));
        let hazards = line.hazards.join(" ");
        check!(
            found,
            "no step (or not in this order): {} | {} | {hazards}\nin: {:#}",
            line.class,
            line.object,
            answer.json["plan"]
        );
    }
    Ok(())
}

fn fits(step: &Value, line: &PlanLine) -> bool {
    let hazards: Vec<&str> = step["hazards"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    step["class"] == *line.class
        && step["object"] == *line.object
        && line.hazards.iter().all(|hazard| match hazard.strip_prefix('-') {
            Some(absent) => !hazards.contains(&absent),
            None => hazards.contains(&&**hazard),
        })
}

fn check_changes(case: &Case, answer: &Answer) -> Result<(), String> {
    for [class, change_type, object] in &case.changes {
        let changes = &answer.json["schema_validation"][format!("{class}_changes")];
        let found = changes.as_array().into_iter().flatten().any(|change| {
            let table = change["table"].as_str().unwrap_or_default();
            let name = change["column"].as_str().map_or_else(|| table.to_owned(), |column| format!("{table}.{column}"));
            change["change_type"] == **change_type && name == *object
        });
        check!(found, "{class} | {change_type} | {object} expected in schema_validation: {answer}");
    }
    Ok(())
}

/// The rows of a query, columns separated by a bar.
fn rows(client: &mut Client, query: &str) -> Result<Vec<String>, String> {
    let messages = client.simple_query(query).map_err(|e| format!("{query}: {}", sql::describe(&e)))?;
    let text = |message: &SimpleQueryMessage| match message {
        SimpleQueryMessage::Row(row) => {
            let values: Vec<&str> = (0..row.len()).map(|place| row.get(place).unwrap_or("NULL")).collect();
            Some(values.join("|"))
        }
        _ => None,
    };
    Ok(messages.iter().filter_map(text).collect())
}
