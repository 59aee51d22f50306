//! SQL from outside: the extension's functions with their types, and errors with everything the server says.

use postgres::Client;
use postgres::error::DbError;
use serde_json::Value;

/// An error of the server, all its parts.
#[derive(Debug, Clone)]
pub struct Failure {
    /// Five characters.
    pub sqlstate: String,
    /// The first line that psql shows.
    pub message: String,
    /// The line DETAIL, or empty.
    pub detail: String,
    /// The line HINT, or empty.
    pub hint: String,
    /// The lines CONTEXT, or empty.
    pub context: String,
}

impl Failure {
    /// Message, detail, hint and context, for asserts on a fragment wherever it is said.
    pub fn text(&self) -> String {
        [&*self.message, &self.detail, &self.hint, &self.context].join("\n")
    }

    /// Asserts on the SQLSTATE; a pattern ends in `*` to mean a class.
    #[track_caller]
    pub fn sqlstate(self, wanted: &str) -> Self {
        let right = match wanted.strip_suffix('*') {
            Some(class) => self.sqlstate.starts_with(class),
            None => self.sqlstate == wanted,
        };
        assert!(right, "SQLSTATE {wanted} expected: {self:#?}");
        self
    }

    /// Asserts that the error speaks of something, in whichever of its parts, in upper or lower case.
    #[track_caller]
    pub fn says(self, fragment: &str) -> Self {
        let found = self.text().to_lowercase().contains(&fragment.to_lowercase());
        assert!(found, "{fragment:?} expected somewhere in: {self:#?}");
        self
    }

    /// Asserts that this is an error that somebody meant: not an internal one (class XX), and with a message.
    #[track_caller]
    pub fn meant(self) -> Self {
        assert!(!self.sqlstate.starts_with("XX") && !self.message.is_empty(), "a deliberate error expected: {self:#?}");
        self
    }
}

impl From<&DbError> for Failure {
    fn from(error: &DbError) -> Self {
        Failure {
            sqlstate: error.code().code().to_owned(),
            message: error.message().to_owned(),
            detail: error.detail().unwrap_or_default().to_owned(),
            hint: error.hint().unwrap_or_default().to_owned(),
            context: error.where_().unwrap_or_default().to_owned(),
        }
    }
}

/// The server's error of a statement that must fail.
///
/// # Panics
/// When it succeeded, or failed without an answer of the server (a lost connection).
#[track_caller]
pub fn refused<T: std::fmt::Debug>(result: Result<T, postgres::Error>) -> Failure {
    match result {
        Ok(value) => panic!("an error expected, but: {value:?}"),
        Err(error) => match error.as_db_error() {
            Some(error) => error.into(),
            None => panic!("an error of the server expected, but: {error:?}"),
        },
    }
}

/// An error as a person wants to read it.
pub fn describe(error: &postgres::Error) -> String {
    match error.as_db_error() {
        Some(error) => format!("{:#?}", Failure::from(error)),
        None => format!("{error:?}"),
    }
}

/// The value of a statement that must succeed.
#[track_caller]
pub fn done<T>(result: Result<T, postgres::Error>) -> T {
    result.unwrap_or_else(|e| panic!("success expected, but: {}", describe(&e)))
}

/// `stonescriptdb.register(schema, platform, tenant_id)`.
pub fn register(
    client: &mut Client,
    bundle: &[u8],
    platform: Option<&str>,
    tenant: Option<&str>,
) -> Result<Value, postgres::Error> {
    let sql = "SELECT stonescriptdb.register($1::bytea, $2::text, $3::text)";
    client.query_one(sql, &[&bundle, &platform, &tenant]).map(|row| row.get(0))
}

/// `stonescriptdb.migrate(schema, platform, tenant_id)`.
pub fn migrate(
    client: &mut Client,
    bundle: &[u8],
    platform: Option<&str>,
    tenant: Option<&str>,
) -> Result<Value, postgres::Error> {
    let sql = "SELECT stonescriptdb.migrate($1::bytea, $2::text, $3::text)";
    client.query_one(sql, &[&bundle, &platform, &tenant]).map(|row| row.get(0))
}

/// `stonescriptdb.call(platform, function, params, tenant_id)`.
pub fn call(
    client: &mut Client,
    platform: &str,
    tenant: Option<&str>,
    function: &str,
    params: &Value,
) -> Result<Value, postgres::Error> {
    let sql = "SELECT stonescriptdb.call($1::text, $2::text, $3::jsonb, $4::text)";
    client.query_one(sql, &[&platform, &function, &params, &tenant]).map(|row| row.get(0))
}

/// `stonescriptdb.call_rows(platform, function, params, tenant_id)`.
pub fn call_rows(
    client: &mut Client,
    platform: &str,
    tenant: Option<&str>,
    function: &str,
    params: &Value,
) -> Result<Vec<Value>, postgres::Error> {
    let sql = "SELECT r FROM stonescriptdb.call_rows($1::text, $2::text, $3::jsonb, $4::text) AS r";
    let rows = client.query(sql, &[&platform, &function, &params, &tenant])?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// The first column of all rows, as text.
#[track_caller]
pub fn texts(client: &mut Client, sql: &str) -> Vec<String> {
    let rows = client.simple_query(sql).unwrap_or_else(|e| panic!("{sql}: {}", describe(&e)));
    rows.iter()
        .filter_map(|message| match message {
            postgres::SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or("NULL").to_owned()),
            _ => None,
        })
        .collect()
}

/// The first column of the one row, as text.
#[track_caller]
pub fn text(client: &mut Client, sql: &str) -> String {
    let mut texts = texts(client, sql);
    assert_eq!(texts.len(), 1, "one row expected of {sql}: {texts:?}");
    texts.remove(0)
}

/// Whether a database of that name exists.
#[track_caller]
pub fn database_exists(client: &mut Client, database: &str) -> bool {
    !done(client.query("SELECT FROM pg_database WHERE datname = $1", &[&database])).is_empty()
}
