//! `stonescript.json`: what a bundle says about itself.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::BundleError;

/// What a bundle says about itself in its `stonescript.json`, all of it optional. Names are as written, not yet checked.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Manifest {
    /// The platform it belongs to, for an upload that does not say so.
    pub platform: Option<String>,
    /// The name of the stored schema that it is a version of.
    pub schema_name: Option<String>,
    /// Modules it needs, by name. What the values mean is the modules' affair.
    pub requires: Map<String, Value>,
}

impl Manifest {
    /// The name of the file.
    pub const FILE_NAME: &str = "stonescript.json";

    /// The text of a manifest that reads as this one; none only if memory gives out.
    pub(crate) fn to_text(&self) -> Option<String> {
        serde_json::to_string(self).ok()
    }

    /// Reads the text of the manifest at `path`. An unknown key goes to `warnings`: it may be of a later version, or a slip of the
    /// pen that somebody would otherwise look for in vain. A `null` is an absent key.
    pub(crate) fn parse(path: &str, text: &str, warnings: &mut Vec<String>) -> Result<Manifest, BundleError> {
        let bad = |line, reason| BundleError::BadManifest { path: path.to_owned(), line, reason };
        let value: Value =
            serde_json::from_str(text).map_err(|e| bad(u32::try_from(e.line()).ok(), reason_without_place(&e)))?;
        let Value::Object(object) = value else {
            return Err(bad(None, format!("it must be a JSON object, not {}", type_name(&value))));
        };
        let mut manifest = Manifest::default();
        for (key, value) in object {
            let slot = match key.as_str() {
                "platform" => &mut manifest.platform,
                "schema_name" => &mut manifest.schema_name,
                "requires" => {
                    manifest.requires = match value {
                        Value::Null => Map::new(),
                        Value::Object(requires) => requires,
                        other => {
                            let reason = format!("\"requires\" must be a JSON object, not {}", type_name(&other));
                            return Err(bad(None, reason));
                        }
                    };
                    continue;
                }
                _ => {
                    warnings.push(format!("{path}: unknown key {:?} is ignored", crate::path::shown(key.as_bytes())));
                    continue;
                }
            };
            *slot = match value {
                Value::Null => None,
                Value::String(name) => Some(name),
                other => return Err(bad(None, format!("{key:?} must be a string, not {}", type_name(&other)))),
            };
        }
        Ok(manifest)
    }
}

/// serde_json's message without the line that the error carries separately.
fn reason_without_place(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let reason = message.rsplit_once(" at line ").map_or(message.as_str(), |(reason, _)| reason);
    format!("{reason} (line {}, column {})", error.line(), error.column())
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
