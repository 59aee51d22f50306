//! psql's own commands in a file of SQL: the grammar has no word for them but "syntax error".

use super::error::PgError;

/// No command of psql is longer.
const LONGEST: usize = 24;

/// A syntax error that is a command of psql, named as such; any other error as it is.
pub(super) fn named(error: PgError, text: &str) -> PgError {
    if error.sqlstate != "42601" {
        return error;
    }
    let Some(command) = command_at(text, error.position) else { return error };
    let hint = match command {
        "\\i" | "\\ir" | "\\include" | "\\include_relative" => {
            "Every file of the bundle is read, and its statements are put in the order that they need."
        }
        "\\copy" => "Rows belong into a file of the folder seeders/ or migrations/, as INSERT.",
        "\\c" | "\\connect" => "A bundle is deployed to one database at a time, which the deployment chooses.",
        _ => "A bundle's files hold nothing but SQL.",
    };
    PgError { message: format!("{command} is a command of psql and not SQL"), hint: Some(hint.to_owned()), ..error }
}

/// The command at a character (from 1), or at the beginning of its line: what stands behind a command may be what the lexer stumbles over.
fn command_at(text: &str, position: usize) -> Option<&str> {
    let at = text.char_indices().nth(position.checked_sub(1)?)?.0;
    let rest = text.get(at..)?;
    let line = text.get(..at)?.rfind('\n').map_or(0, |end| end + 1);
    let rest = if rest.starts_with('\\') { rest } else { text.get(line..)?.trim_start() };
    let word = rest.split(char::is_whitespace).next()?;
    let is_command = word.starts_with('\\') && (2..=LONGEST).contains(&word.len());
    is_command.then_some(word)
}
