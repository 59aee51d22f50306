//! The one shape in which an error travels between processes.

use serde::{Deserialize, Serialize};

/// What went wrong, as a closed list. The names, SQLSTATEs and HTTP statuses of these are chosen in the extension's `error.rs`,
/// nowhere else.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "each is a row of the table of errors in the HTTP reference")]
pub enum ErrorCode {
    InvalidRequest,
    NotFound,
    MethodNotAllowed,
    PayloadTooLarge,
    UnsupportedMediaType,
    SchemaExtractionFailed,
    ExtensionNotAvailable,
    Unauthorized,
    AddressNotAllowed,
    PlatformIsolationViolation,
    InsufficientScope,
    OriginNotAllowed,
    HostNotAllowed,
    TooManyRequests,
    UnauthorizedFunction,
    DatabaseNotFound,
    FunctionNotFound,
    PlatformNotFound,
    DeploymentNotFound,
    TokenNotFound,
    SchemaNotFound,
    DatabaseAlreadyExists,
    PlatformAlreadyRegistered,
    NameCollision,
    MigrationChanged,
    AdminDisabled,
    LockTimeout,
    DeploymentPartial,
    DeploymentInProgress,
    SchemaValidationFailed,
    MigrationFailed,
    FunctionDeployFailed,
    SeederFailed,
    VerificationFailed,
    QueryFailed,
    ConnectionFailed,
    TenantSuspended,
    PoolExhausted,
    NotReady,
    InternalError,
}

impl ErrorCode {
    /// All of them, in order: a code's place is its number.
    pub const ALL: &[ErrorCode] = &[
        ErrorCode::InvalidRequest,
        ErrorCode::NotFound,
        ErrorCode::MethodNotAllowed,
        ErrorCode::PayloadTooLarge,
        ErrorCode::UnsupportedMediaType,
        ErrorCode::SchemaExtractionFailed,
        ErrorCode::ExtensionNotAvailable,
        ErrorCode::Unauthorized,
        ErrorCode::AddressNotAllowed,
        ErrorCode::PlatformIsolationViolation,
        ErrorCode::InsufficientScope,
        ErrorCode::OriginNotAllowed,
        ErrorCode::HostNotAllowed,
        ErrorCode::TooManyRequests,
        ErrorCode::UnauthorizedFunction,
        ErrorCode::DatabaseNotFound,
        ErrorCode::FunctionNotFound,
        ErrorCode::PlatformNotFound,
        ErrorCode::DeploymentNotFound,
        ErrorCode::TokenNotFound,
        ErrorCode::SchemaNotFound,
        ErrorCode::DatabaseAlreadyExists,
        ErrorCode::PlatformAlreadyRegistered,
        ErrorCode::NameCollision,
        ErrorCode::MigrationChanged,
        ErrorCode::AdminDisabled,
        ErrorCode::LockTimeout,
        ErrorCode::DeploymentPartial,
        ErrorCode::DeploymentInProgress,
        ErrorCode::SchemaValidationFailed,
        ErrorCode::MigrationFailed,
        ErrorCode::FunctionDeployFailed,
        ErrorCode::SeederFailed,
        ErrorCode::VerificationFailed,
        ErrorCode::QueryFailed,
        ErrorCode::ConnectionFailed,
        ErrorCode::TenantSuspended,
        ErrorCode::PoolExhausted,
        ErrorCode::NotReady,
        ErrorCode::InternalError,
    ];
}

/// An error with everything its reader may need. Fields that are not known are `None` and left out of every answer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Failure {
    /// Which row of the table of errors.
    pub code: ErrorCode,
    /// One sentence for a person.
    pub message: String,
    /// The five characters of PostgreSQL's SQLSTATE, where PostgreSQL raised it.
    pub sqlstate: Option<String>,
    /// PostgreSQL's DETAIL, or ours.
    pub detail: Option<String>,
    /// PostgreSQL's HINT, or ours.
    pub hint: Option<String>,
    /// PostgreSQL's CONTEXT: the call stack inside the database.
    pub context: Option<String>,
    /// The database concerned.
    pub database: Option<String>,
    /// The reason below the message, where a stage wraps another error.
    pub cause: Option<String>,
    /// File of the bundle, relative to its root.
    pub file: Option<String>,
    /// Line in that file, from 1.
    pub line: Option<u32>,
    /// The deployment that is in the way or that failed.
    pub deployment_id: Option<String>,
    /// `schema_validation` of the answer, as JSON text.
    pub validation: Option<String>,
    /// Which call of a batch failed, from 0.
    pub failed_call: Option<u32>,
    /// Seconds after which trying again makes sense, where that is known better than from the code.
    pub retry_after: Option<u32>,
    /// The platform that a refused request named, for the server's log: no answer has it.
    pub platform: Option<String>,
}

impl Failure {
    /// A failure that has only a code and a message yet.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Failure {
        Failure {
            code,
            message: message.into(),
            sqlstate: None,
            detail: None,
            hint: None,
            context: None,
            database: None,
            cause: None,
            file: None,
            line: None,
            deployment_id: None,
            validation: None,
            failed_call: None,
            retry_after: None,
            platform: None,
        }
    }

    /// Ours to mend: the message must hold no SQL text and no path.
    pub fn internal(message: impl Into<String>) -> Failure {
        Failure::new(ErrorCode::InternalError, message)
    }

    /// With a hint.
    pub fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hint = Some(hint.into());
        self
    }

    /// With a detail.
    pub fn detail(mut self, detail: impl Into<String>) -> Failure {
        self.detail = Some(detail.into());
        self
    }

    /// With the database concerned.
    pub fn database(mut self, database: impl Into<String>) -> Failure {
        self.database = Some(database.into());
        self
    }

    /// With the place in the bundle.
    pub fn at(mut self, file: impl Into<String>, line: Option<u32>) -> Failure {
        self.file = Some(file.into());
        self.line = line;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_found_by_its_number() {
        for (place, code) in ErrorCode::ALL.iter().enumerate() {
            assert_eq!(*code as usize, place, "{code:?} is out of order in ALL");
        }
        assert_eq!(ErrorCode::ALL.len(), ErrorCode::InternalError as usize + 1, "ALL lacks a code");
    }
}
