//! The JSON that a deployment is answered with.

use serde_json::{Map, Value, json};
use stonescriptdb_protocol::{DatabaseOutcome, DeployMode, DeployReport, ErrorCode, Failure, Validation};

use super::Done;
use crate::error;

impl Done {
    /// The body of the answer.
    ///
    /// # Errors
    /// The failure of the one database, or of the first where none is done; `deployment_partial` is an answer of its own kind, see
    /// [`Done::is_partial`].
    pub(in crate::server) fn into_body(self) -> Result<Value, Failure> {
        let succeeded = self.outcomes.iter().filter(|outcome| matches!(outcome.result, Some(Ok(_)))).count();
        if succeeded == 0
            && let Some(Err(failure)) = self.outcomes.iter().find_map(|outcome| outcome.result.as_ref())
        {
            return Err(Failure { deployment_id: Some(self.deployment_id), ..failure.clone() });
        }
        Ok(self.body())
    }

    /// Some databases are done, others are not.
    pub(in crate::server) fn is_partial(&self) -> bool {
        let done = |outcome: &DatabaseOutcome| matches!(outcome.result, Some(Ok(_)));
        self.outcomes.iter().any(done) && !self.outcomes.iter().all(done)
    }

    fn body(&self) -> Value {
        let reports: Vec<&DeployReport> =
            self.outcomes.iter().filter_map(|outcome| outcome.result.as_ref()?.as_ref().ok()).collect();
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
                    .filter(|outcome| matches!(outcome.result, Some(Ok(_))))
                    .map(|outcome| outcome.database.as_str())
                    .collect();
                put("databases_updated", if self.dry_run { json!([]) } else { json!(updated) });
                put("functions_updated", json!(sum(|report| report.functions_updated)));
                let checks: Vec<_> = reports.iter().flat_map(|report| &report.seeder_validations).collect();
                put("seeder_validations", json!(checks));
                put("verification", verification(&reports));
                put("databases", self.outcomes.iter().map(outcome_json).collect());
            }
        }
        if self.dry_run {
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

/// The answer of HTTP 422 `deployment_partial`: all fields of the success, and the error's.
pub(in crate::server) fn partial_body(done: &Done, request_id: Option<&str>) -> Value {
    let mut body = done.body();
    let failure =
        Failure::new(ErrorCode::DeploymentPartial, "not every database could be brought to the bundle's state");
    if let (Value::Object(body), Value::Object(error)) = (&mut body, error::to_json(&failure, request_id)) {
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
    let (status, failure) = match &outcome.result {
        None => ("skipped", None),
        Some(Ok(report)) if report.unfinished => ("completed_with_warnings", None),
        Some(Ok(_)) => ("completed", None),
        Some(Err(failure)) => ("failed", Some(error::to_json(failure, None))),
    };
    let mut row = json!({"database": outcome.database, "status": status, "execution_time_ms": outcome.duration_ms.round() as u64});
    if let (Some(failure), Some(row)) = (failure, row.as_object_mut()) {
        row.insert("error".to_owned(), failure);
    }
    row
}
