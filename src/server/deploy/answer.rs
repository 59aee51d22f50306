//! The JSON that a deployment is answered with.

use serde_json::{Map, Value, json};
use stonescriptdb_protocol::{
    Counts, DatabaseOutcome, DeployMode, DeployReport, ErrorCode, Failure, MAIN_TENANT, Outcome, Validation,
};

use super::Done;
use super::job::was_cancelled;
use crate::error;

impl Done {
    /// The body of the answer.
    ///
    /// # Errors
    /// The failure of the one database, or of the first where none is done; `deployment_partial` is an answer of its own kind, see
    /// [`Done::is_partial`].
    pub(in crate::server) fn into_body(self) -> Result<Value, Failure> {
        let why = |outcome: &DatabaseOutcome| match &outcome.result {
            Outcome::Failed(failure) => Some(failure.clone()),
            Outcome::Cancelled => Some(was_cancelled()),
            _ => None,
        };
        if self.counts.succeeded + self.counts.unchanged == 0
            && let Some(failure) = self.outcomes.iter().find_map(why)
        {
            return Err(Failure { deployment_id: Some(self.deployment_id), ..failure });
        }
        Ok(self.body())
    }

    /// Some databases are done, others are not.
    pub(in crate::server) fn is_partial(&self) -> bool {
        let Counts { total, succeeded, unchanged, .. } = &self.counts;
        succeeded + unchanged > 0 && succeeded + unchanged < *total
    }

    fn body(&self) -> Value {
        let reports: Vec<&DeployReport> = self.outcomes.iter().filter_map(|outcome| outcome.result.report()).collect();
        let sum = |field: fn(&DeployReport) -> u32| reports.iter().map(|report| u64::from(field(report))).sum::<u64>();
        let mut warnings = self.warnings.clone();
        reports.iter().for_each(|report| warnings.extend(report.warnings.iter().cloned()));
        let mut body = Map::new();
        let mut put = |name: &str, value: Value| body.insert(name.to_owned(), value);
        put("deployment_id", json!(self.deployment_id));
        put("migrations_applied", json!(sum(|report| report.migrations_applied)));
        match self.mode {
            DeployMode::Register => {
                put("status", json!("ready"));
                put("database", json!(self.outcomes.first().map(|outcome| &outcome.database)));
                put("extensions_installed", json!(sum(|report| report.extensions_installed)));
                put("types_deployed", json!(sum(|report| report.types_deployed)));
                put("tables_created", json!(sum(|report| report.tables_created)));
                put("functions_deployed", json!(sum(|report| report.functions_deployed)));
                let seeders: Vec<_> = reports.iter().flat_map(|report| &report.seeders).collect();
                put("seeders", json!(seeders));
            }
            DeployMode::Migrate => {
                let unfinished = reports.iter().any(|report| report.unfinished);
                let status = match (self.dry_run, unfinished) {
                    (true, _) => "planned",
                    (false, true) => "completed_with_warnings",
                    (false, false) => "completed",
                };
                put("status", json!(status));
                let updated: Vec<&str> = self
                    .outcomes
                    .iter()
                    .filter(|outcome| matches!(outcome.result, Outcome::Done(_) | Outcome::Unchanged))
                    .map(|outcome| outcome.database.as_str())
                    .collect();
                put("databases_updated", if self.dry_run { json!([]) } else { json!(updated) });
                put("functions_updated", json!(sum(|report| report.functions_updated)));
                let checks: Vec<_> = reports.iter().flat_map(|report| &report.seeder_validations).collect();
                put("seeder_validations", json!(checks));
                put("verification", verification(&reports));
                let databases = || self.outcomes.iter().map(outcome_json).collect();
                put("databases", self.recorded.clone().unwrap_or_else(databases));
            }
        }
        if !self.is_single {
            put("platform", json!(self.platform));
            put("total", json!(self.counts.total));
            put("succeeded", json!(self.counts.succeeded));
            put("unchanged", json!(self.counts.unchanged));
            put("failed", json!(self.counts.failed));
            put("skipped", json!(self.counts.skipped));
        }
        if !self.schema.is_empty() {
            put("platform", json!(self.platform));
            put("schema_name", json!(self.schema));
        }
        if self.dry_run && self.outcomes.len() > 1 {
            put("plans", self.plans());
        }
        if self.dry_run {
            // Of databases in the same state one has kept the statements.
            let steps: Vec<_> = reports.iter().flat_map(|report| &report.plan).collect();
            put("plan", json!(steps));
        }
        if let [report] = reports.as_slice() {
            put("plan_fingerprint", json!(report.plan_fingerprint));
            put("from_fingerprint", json!(report.from_fingerprint));
            put("to_fingerprint", json!(report.to_fingerprint));
        }
        put("schema_validation", validation(&reports));
        put("warnings", json!(warnings));
        put("execution_time_ms", json!(self.started.elapsed().as_millis() as u64));
        Value::Object(body)
    }
}

impl Done {
    /// The plans of a dry run: one for all databases that are in the same state.
    fn plans(&self) -> Value {
        let mut groups: Vec<(&DeployReport, Vec<&str>, Vec<&str>)> = Vec::new();
        for outcome in &self.outcomes {
            let Some(report) = outcome.result.report() else { continue };
            let state = |report: &DeployReport| (report.from_fingerprint.clone(), report.plan_fingerprint.clone());
            let place = match groups.iter().position(|(of, ..)| state(of) == state(report)) {
                Some(place) => place,
                None => {
                    groups.push((report, Vec::new(), Vec::new()));
                    groups.len() - 1
                }
            };
            if let Some((of, databases, tenants)) = groups.get_mut(place) {
                databases.push(&outcome.database);
                tenants.push(&outcome.tenant);
                // One of them has kept the statements.
                if of.plan.is_empty() {
                    *of = report;
                }
            }
        }
        let group = |(report, databases, tenants): (&DeployReport, Vec<&str>, Vec<&str>)| {
            json!({
                "databases": databases, "tenants": tenants, "from_fingerprint": report.from_fingerprint,
                "to_fingerprint": report.to_fingerprint, "plan_fingerprint": report.plan_fingerprint, "plan": report.plan,
                "schema_validation": report.validation,
            })
        };
        groups.into_iter().map(group).collect()
    }
}

/// The answer of HTTP 422 `deployment_partial`: all fields of the success, and the error's.
pub(in crate::server) fn partial_body(done: &Done) -> Value {
    let mut body = done.body();
    let failure =
        Failure::new(ErrorCode::DeploymentPartial, "not every database could be brought to the bundle's state");
    if let (Value::Object(body), Value::Object(error)) = (&mut body, error::to_json(&failure, None)) {
        body.extend(error);
        body.insert("status".to_owned(), json!("partial"));
    }
    body
}

fn validation(reports: &[&DeployReport]) -> Value {
    let mut all = Validation::default();
    for report in reports {
        all.safe_changes.extend(report.validation.safe_changes.iter().cloned());
        all.dataloss_changes.extend(report.validation.dataloss_changes.iter().cloned());
        all.incompatible_changes.extend(report.validation.incompatible_changes.iter().cloned());
    }
    json!(all)
}

fn verification(reports: &[&DeployReport]) -> Value {
    let sum = |field: fn(&DeployReport) -> u32| reports.iter().map(|report| u64::from(field(report))).sum::<u64>();
    let log: Vec<&String> = reports.iter().flat_map(|report| &report.verification.error_log).collect();
    json!({
        "passed": reports.iter().all(|report| report.verification.passed),
        "extensions_verified": sum(|report| report.verification.extensions_verified),
        "types_verified": sum(|report| report.verification.types_verified),
        "tables_verified": sum(|report| report.verification.tables_verified),
        "seeders_verified": sum(|report| report.verification.seeders_verified),
        "error_log": log,
    })
}

fn outcome_json(outcome: &DatabaseOutcome) -> Value {
    let tenant = if outcome.tenant.is_empty() { MAIN_TENANT } else { &outcome.tenant };
    let mut row = json!({
        "database": outcome.database, "tenant_id": tenant, "status": outcome.result.word(),
        "execution_time_ms": outcome.duration_ms.round() as u64,
    });
    let Some(fields) = row.as_object_mut() else { return row };
    match &outcome.result {
        Outcome::Done(report) => {
            fields.insert("migrations_applied".to_owned(), json!(report.migrations_applied));
            fields.insert("functions_updated".to_owned(), json!(report.functions_updated));
        }
        Outcome::Failed(failure) => {
            fields.insert("error".to_owned(), error::to_json(failure, None));
        }
        _ => {}
    }
    row
}
