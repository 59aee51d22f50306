//! The field `verify` of deployments, in forms and in JSON.

use serde::Deserialize;
use stonescriptdb_protocol::Failure;

use super::body::{invalid, shortened};

/// The field `verify`: how much is looked at in a database where nothing seems to be to be done.
#[derive(Deserialize, Debug, Clone, Copy, Default, PartialEq, Eq)]
#[serde(try_from = "Asked")]
pub(super) enum Verify {
    #[default]
    No,
    /// The versions of all rows of the catalog, and the seeded rows.
    Yes,
    /// The catalog too, object by object.
    Full,
}

/// The field in JSON.
#[derive(Deserialize)]
#[serde(untagged)]
enum Asked {
    Flag(bool),
    Text(String),
}

impl TryFrom<Asked> for Verify {
    type Error = String;

    fn try_from(asked: Asked) -> Result<Verify, String> {
        match asked {
            Asked::Flag(false) => Ok(Verify::No),
            Asked::Flag(true) => Ok(Verify::Yes),
            Asked::Text(text) => Verify::of_field(Some(&text)).map_err(|failure| failure.message),
        }
    }
}

impl Verify {
    /// Of a form's field.
    ///
    /// # Errors
    /// `invalid_request`.
    pub(super) fn of_field(value: Option<&str>) -> Result<Verify, Failure> {
        match value {
            None | Some("false" | "0") => Ok(Verify::No),
            Some("true" | "1") => Ok(Verify::Yes),
            Some("full") => Ok(Verify::Full),
            Some(other) => {
                Err(invalid(format!("the field verify is true, false or full, not \"{}\"", shortened(other))))
            }
        }
    }

    pub(super) fn is_asked(self) -> bool {
        self != Verify::No
    }
}
