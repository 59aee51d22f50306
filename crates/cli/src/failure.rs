//! What went wrong, how it is told, and the exit code that it gives.

use std::fmt::Write;
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::source::Source;

/// The exit codes. Written down in docs/cli.md: they do not change.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub(crate) enum Exit {
    /// All is done.
    Done = 0,
    /// The bundle, the deployment or the call failed, or there is drift.
    Failed = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// The server cannot be reached, or is not able now.
    Unreachable = 3,
    /// Refused because data would be lost.
    Refused = 4,
    /// A token is missing or wrong, or the address is not allowed.
    NotAllowed = 5,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// What went wrong.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    /// As the server's errors are: `error` (the code), `message`, and what else is known.
    pub(crate) body: Value,
}

impl Failure {
    pub(crate) fn new(exit: Exit, code: &str, message: impl Into<String>) -> Failure {
        Failure { exit, body: json!({"error": code, "message": message.into()}) }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Failure {
        Failure::new(Exit::Usage, "usage", message)
    }

    /// A file of this machine that cannot be read or written.
    pub(crate) fn file(path: &std::path::Path, error: &std::io::Error) -> Failure {
        Failure::usage(format!("{}: {error}", path.display()))
    }

    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Failure {
        if let Some(body) = self.body.as_object_mut() {
            body.insert(name.to_owned(), value.into());
        }
        self
    }

    /// An error answer of the server.
    pub(crate) fn answered(status: u16, body: Value) -> Failure {
        if body.get("error").and_then(Value::as_str).is_some() {
            return Failure { exit: exit_of(Some(status), &body), body };
        }
        let what = format!("the server answered {status}, which is no answer of stonescriptdb");
        Failure::new(Exit::Unreachable, "unreachable", what)
            .with("hint", "Is --url (SSDB_URL) the address of stonescriptdb?")
    }
}

/// The exit code for an error, by its code, and by its status where that is known.
pub(crate) fn exit_of(status: Option<u16>, body: &Value) -> Exit {
    match (text(body, "error").unwrap_or_default(), status) {
        ("schema_validation_failed", _) => Exit::Refused,
        // What a called function raises is the call's failure, whatever status it has.
        ("query_failed", _) => Exit::Failed,
        ("unauthorized" | "platform_isolation_violation" | "admin_disabled", _) => Exit::NotAllowed,
        ("lock_timeout" | "connection_failed" | "pool_exhausted", _) | (_, Some(502..=504)) => Exit::Unreachable,
        _ => Exit::Failed,
    }
}

pub(crate) fn text<'v>(body: &'v Value, name: &str) -> Option<&'v str> {
    body.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// What kind of message it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Level {
    Error,
    Warning,
}

/// A message in the way of a compiler: what, where, the line itself, and what else is known.
pub(crate) fn render(level: Level, body: &Value, source: Option<&Source>) -> String {
    let word = if level == Level::Error { "error" } else { "warning" };
    let mut out = match text(body, "error") {
        Some(code) => format!("{word}[{code}]: "),
        None => format!("{word}: "),
    };
    out.push_str(text(body, "message").unwrap_or("unknown"));
    out.push('\n');
    if let Some(file) = text(body, "file") {
        let shown = source.map_or_else(|| file.to_owned(), |source| source.shown(file));
        match body.get("line").and_then(Value::as_u64) {
            Some(line) => {
                let _ = writeln!(out, "  --> {shown}:{line}");
                let wanted = usize::try_from(line).unwrap_or(usize::MAX).saturating_sub(1);
                if let Some(text) = source.and_then(|source| source.text(file)?.lines().nth(wanted)) {
                    let width = line.to_string().len();
                    let _ = writeln!(out, "{:width$} |\n{line} | {}\n{:width$} |", "", text.trim_end(), "");
                }
            }
            None => {
                let _ = writeln!(out, "  --> {shown}");
            }
        }
    }
    for name in ["cause", "detail", "hint", "context", "sqlstate", "database", "deployment_id", "request_id"] {
        let own = if name == "hint" { hint(body) } else { None };
        if let Some(value) = own.or_else(|| text(body, name)) {
            let name = if name == "sqlstate" { "SQLSTATE" } else { name };
            // The lines that follow stand below the first.
            let indented = value.replace('\n', &format!("\n{:1$}", "", name.len() + 7));
            let _ = writeln!(out, "   = {name}: {indented}");
        }
    }
    let changes = body.get("schema_validation").map(refused).unwrap_or_default();
    for change in changes {
        let _ = writeln!(out, "   = {change}");
    }
    out
}

/// What is to be done, as it is done here: the server's hint is for those who write requests.
fn hint(body: &Value) -> Option<&'static str> {
    match (text(body, "error")?, text(body, "message")?) {
        ("unauthorized", _) => Some(
            "--token (SSDB_TOKEN) is for a platform's token, --admin-token (SSDB_ADMIN_TOKEN) for the admin token.",
        ),
        ("invalid_request", "the field platform is missing") => {
            Some("Say --platform (SSDB_PLATFORM), or put {\"platform\": \"…\"} into the bundle's stonescript.json.")
        }
        _ => None,
    }
}

/// The changes of a validation that would lose data, one a line.
pub(crate) fn refused(validation: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    for list in ["dataloss_changes", "incompatible_changes"] {
        for change in validation.get(list).and_then(Value::as_array).into_iter().flatten() {
            let of = match (text(change, "table"), text(change, "column")) {
                (Some(table), Some(column)) => format!("{table}.{column}"),
                (Some(table), None) => table.to_owned(),
                _ => text(change, "object").unwrap_or_default().to_owned(),
            };
            let kind = text(change, "change_type").unwrap_or_default();
            let class = text(change, "compatibility").unwrap_or("refused");
            let reason = text(change, "reason").map(|reason| format!(": {reason}")).unwrap_or_default();
            lines.push(format!("{class}: {kind} {of}{reason}"));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes() {
        let exit = |status, code: &str| exit_of(status, &json!({"error": code}));
        assert_eq!(exit(Some(409), "schema_validation_failed"), Exit::Refused);
        assert_eq!(exit(None, "schema_validation_failed"), Exit::Refused);
        assert_eq!(exit(Some(401), "unauthorized"), Exit::NotAllowed);
        assert_eq!(exit(Some(503), "pool_exhausted"), Exit::Unreachable);
        assert_eq!(exit(Some(504), "query_failed"), Exit::Failed);
        assert_eq!(exit(Some(422), "function_deploy_failed"), Exit::Failed);
        assert_eq!(Failure::answered(502, json!(null)).exit, Exit::Unreachable);
    }

    #[test]
    fn a_message_says_where() {
        let body = json!({"error": "function_deploy_failed", "message": "no", "file": "functions/f.pssql", "line": 7, "hint": "a\nb"});
        assert_eq!(
            render(Level::Error, &body, None),
            "error[function_deploy_failed]: no\n  --> functions/f.pssql:7\n   = hint: a\n           b\n"
        );
    }

    #[test]
    fn what_is_refused_is_named() {
        let body = json!({"error": "schema_validation_failed", "message": "no", "schema_validation": {"dataloss_changes":
            [{"table": "guests", "column": "name", "change_type": "DropColumn", "compatibility": "dataloss", "reason": "it goes"}]}});
        assert!(render(Level::Error, &body, None).ends_with("   = dataloss: DropColumn guests.name: it goes\n"));
    }
}
