//! The one place that says what an error is called, which SQLSTATE it raises over SQL, and which status it answers over HTTP.

use serde_json::{Map, Value, json};
use stonescriptdb_protocol::{ErrorCode, Failure};

use crate::postgres::PgError;

/// What the outside world sees of an [`ErrorCode`].
pub(crate) struct Outside {
    /// `error` of the answers.
    pub(crate) name: &'static str,
    /// The HTTP status.
    pub(crate) status: u16,
    /// The SQLSTATE that SQL callers get where PostgreSQL gave none.
    pub(crate) sqlstate: &'static str,
}

pub(crate) fn outside(code: ErrorCode) -> Outside {
    use ErrorCode::*;
    let (name, status, sqlstate) = match code {
        InvalidRequest => ("invalid_request", 400, "22023"),
        NotFound => ("not_found", 404, "42883"),
        MethodNotAllowed => ("method_not_allowed", 405, "42883"),
        PayloadTooLarge => ("payload_too_large", 413, "54000"),
        UnsupportedMediaType => ("unsupported_media_type", 415, "22023"),
        SchemaExtractionFailed => ("schema_extraction_failed", 400, "22023"),
        ExtensionNotAvailable => ("extension_not_available", 400, "0A000"),
        Unauthorized => ("unauthorized", 401, "28000"),
        AddressNotAllowed => ("unauthorized", 403, "28000"),
        PlatformIsolationViolation => ("platform_isolation_violation", 403, "42501"),
        InsufficientScope => ("insufficient_scope", 403, "42501"),
        OriginNotAllowed => ("origin_not_allowed", 403, "42501"),
        HostNotAllowed => ("host_not_allowed", 403, "42501"),
        TooManyRequests => ("too_many_requests", 429, "53400"),
        UnauthorizedFunction => ("unauthorized_function", 403, "42501"),
        DatabaseNotFound => ("database_not_found", 404, "3D000"),
        FunctionNotFound => ("function_not_found", 404, "42883"),
        PlatformNotFound => ("platform_not_found", 404, "42704"),
        SchemaNotFound => ("schema_not_found", 404, "42704"),
        DeploymentNotFound => ("deployment_not_found", 404, "42704"),
        TokenNotFound => ("token_not_found", 404, "42704"),
        DatabaseAlreadyExists => ("database_already_exists", 409, "42P04"),
        PlatformAlreadyRegistered => ("platform_already_registered", 409, "42710"),
        NameCollision => ("name_collision", 409, "42710"),
        MigrationChanged => ("migration_changed", 409, "55000"),
        AdminDisabled => ("admin_disabled", 503, "55000"),
        LockTimeout => ("lock_timeout", 503, "55P03"),
        DeploymentPartial => ("deployment_partial", 422, "55000"),
        DeploymentInProgress => ("deployment_in_progress", 409, "55006"),
        SchemaValidationFailed => ("schema_validation_failed", 409, "55000"),
        MigrationFailed => ("migration_failed", 422, "P0001"),
        FunctionDeployFailed => ("function_deploy_failed", 422, "42P13"),
        SeederFailed => ("seeder_failed", 422, "P0001"),
        VerificationFailed => ("verification_failed", 422, "55000"),
        QueryFailed => ("query_failed", 500, "XX000"),
        ConnectionFailed => ("connection_failed", 503, "08006"),
        // Clients of the gateway read this name as "the tenant cannot be reached now".
        TenantSuspended => ("connection_failed", 503, "57P03"),
        PoolExhausted => ("pool_exhausted", 503, "53300"),
        NotReady => ("not_ready", 503, "57P03"),
        InternalError => ("internal_error", 500, "XX000"),
    };
    Outside { name, status, sqlstate }
}

/// Seconds that a client should wait before it tries again; `None` where trying again does not help by itself.
pub(crate) fn retry_after(failure: &Failure) -> Option<u32> {
    failure.retry_after.or(match failure.code {
        ErrorCode::LockTimeout | ErrorCode::ConnectionFailed | ErrorCode::PoolExhausted => Some(1),
        // A person ends it.
        ErrorCode::TenantSuspended => Some(60),
        _ => None,
    })
}

/// The HTTP status of a failure: by its code, and for `query_failed` by PostgreSQL's SQLSTATE.
pub(crate) fn status(failure: &Failure) -> u16 {
    match (failure.code, failure.sqlstate.as_deref()) {
        (ErrorCode::QueryFailed, Some(sqlstate)) => status_of_sqlstate(sqlstate),
        (code, _) => outside(code).status,
    }
}

fn status_of_sqlstate(sqlstate: &str) -> u16 {
    match sqlstate {
        "P0001" => 400,
        "23502" | "23514" => 422,
        "23505" | "23503" | "40001" | "40P01" => 409,
        "42501" => 403,
        "57014" => 504,
        // A write in a transaction that only reads, as those of GET are.
        "25006" => 405,
        _ => match sqlstate.strip_prefix("PT").and_then(|status| status.parse().ok()) {
            Some(status @ 400..=599) => status,
            _ if sqlstate.starts_with("22") => 422,
            _ if sqlstate.starts_with("53") || sqlstate.starts_with("57P") => 503,
            _ => 500,
        },
    }
}

/// The answer's body. What is not known is left out.
pub(crate) fn to_json(failure: &Failure, request_id: Option<&str>) -> Value {
    let mut body = Map::new();
    body.insert("error".to_owned(), json!(outside(failure.code).name));
    body.insert("message".to_owned(), json!(failure.message));
    let texts = [
        ("database", &failure.database),
        ("cause", &failure.cause),
        ("sqlstate", &failure.sqlstate),
        ("detail", &failure.detail),
        ("hint", &failure.hint),
        ("context", &failure.context),
        ("file", &failure.file),
        ("deployment_id", &failure.deployment_id),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            body.insert(name.to_owned(), json!(text));
        }
    }
    if let Some(line) = failure.line {
        body.insert("line".to_owned(), json!(line));
    }
    if let Some(index) = failure.failed_call {
        body.insert("failed_call".to_owned(), json!(index));
    }
    if let Some(validation) = failure.validation.as_deref().and_then(|text| serde_json::from_str(text).ok()) {
        body.insert("schema_validation".to_owned(), validation);
    }
    if let Some(id) = request_id {
        body.insert("request_id".to_owned(), json!(id));
    }
    Value::Object(body)
}

/// A PostgreSQL error under one of our codes, nothing of it lost.
pub(crate) fn from_postgres(code: ErrorCode, error: PgError) -> Failure {
    Failure {
        sqlstate: Some(error.sqlstate),
        detail: error.detail,
        hint: error.hint,
        context: error.context,
        ..Failure::new(code, error.message)
    }
}

/// What a caller's function or its parameters raised.
impl From<PgError> for Failure {
    fn from(error: PgError) -> Failure {
        from_postgres(ErrorCode::QueryFailed, error)
    }
}

/// What a SQL caller sees in CONTEXT: our code and the place in the bundle, then the stack of the process that raised it.
pub(crate) fn context_line(failure: &Failure) -> String {
    let mut line = format!("stonescriptdb: {}", outside(failure.code).name);
    if let Some(database) = &failure.database {
        line.push_str(&format!(", database \"{database}\""));
    }
    if let Some(file) = &failure.file {
        line.push_str(&format!(", file \"{file}\""));
    }
    if let Some(number) = failure.line {
        line.push_str(&format!(", line {number}"));
    }
    if let Some(index) = failure.failed_call {
        line.push_str(&format!(", call {index} of the batch"));
    }
    if let Some(context) = &failure.context {
        line.push('\n');
        line.push_str(context);
    }
    line
}
