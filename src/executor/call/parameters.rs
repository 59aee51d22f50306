//! Parameters: read from JSON, and made into values of the declared types.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use stonescriptdb_protocol::{ErrorCode, Failure, whole_number};

use crate::postgres::{Input, PgError, Shape, Value};

/// The parameters of a call.
pub(super) enum Parameters<'a> {
    /// In order.
    Positional(Vec<Json<'a>>),
    /// By name.
    Named(Vec<(String, Json<'a>)>),
}

/// One JSON value, unread but for what it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Json<'a> {
    pub(super) text: &'a str,
    pub(super) kind: Kind,
}

/// What kind of JSON it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Null,
    Boolean,
    /// A number without fraction or exponent that fits into 64 bits.
    Integer(i64),
    Number,
    String,
    Array,
    Object,
}

impl<'a> Json<'a> {
    pub(super) fn new(raw: &'a RawValue) -> Json<'a> {
        let text = raw.get();
        let kind = match text.as_bytes().first() {
            Some(b'n') => Kind::Null,
            Some(b't' | b'f') => Kind::Boolean,
            Some(b'"') => Kind::String,
            Some(b'[') => Kind::Array,
            Some(b'{') => Kind::Object,
            _ => text.parse().map_or(Kind::Number, Kind::Integer),
        };
        Json { text, kind }
    }
}

impl<'a> Parameters<'a> {
    /// Reads `params` of a call: an array, an object, nothing or null.
    ///
    /// # Errors
    /// `invalid_request` for anything else.
    pub(super) fn read(params: &'a [u8]) -> Result<Parameters<'a>, Failure> {
        let invalid = |message: String| Failure::new(ErrorCode::InvalidRequest, message);
        match params.iter().find(|byte| !byte.is_ascii_whitespace()) {
            None | Some(b'n') => Ok(Parameters::Positional(Vec::new())),
            Some(b'[') => {
                let values: Vec<&RawValue> = serde_json::from_slice(params)
                    .map_err(|error| invalid(format!("params does not read: {error}")))?;
                if values.len() > MAX_PARAMETERS {
                    return Err(invalid(format!(
                        "params has {} values; a function has at most {MAX_PARAMETERS}",
                        values.len()
                    )));
                }
                Ok(Parameters::Positional(values.into_iter().map(Json::new).collect()))
            }
            Some(b'{') => {
                let Object(values) = serde_json::from_slice(params)
                    .map_err(|error| invalid(format!("params does not read: {error}")))?;
                Ok(Parameters::Named(values.into_iter().map(|(name, raw)| (name, Json::new(raw))).collect()))
            }
            Some(_) => Err(invalid("params must be an array or an object".to_owned())),
        }
    }
}

/// FUNC_MAX_ARGS of pg_config_manual.h.
const MAX_PARAMETERS: usize = 100;

/// An object's members in the order in which they were sent; a name that comes twice is an error, not a guess.
struct Object<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Object<'de>;

            fn expecting(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
                formatter.write_str("an object of parameters")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
                let mut members: Vec<(String, &RawValue)> = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
                    if members.len() >= MAX_PARAMETERS {
                        return Err(serde::de::Error::custom(format!(
                            "a function has at most {MAX_PARAMETERS} parameters"
                        )));
                    }
                    if members.iter().any(|(known, _)| *known == name) {
                        return Err(serde::de::Error::custom(format!("the parameter \"{name}\" comes twice")));
                    }
                    members.push((name, value));
                }
                Ok(Object(members))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

/// A JSON value as a value of a declared type. A number's digits never go through a double; NULL comes of null alone.
///
/// # Errors
/// PostgreSQL's own, of the type's input function: `query_failed` with 22P02 and its kin.
pub(super) fn convert(input: &mut Input, json: &Json) -> Result<Value, Failure> {
    let value = match (json.kind, input.shape()) {
        (Kind::Null, _) => return null(input),
        (Kind::Integer(number), _) => match input.value_of_integer(number) {
            Some(value) => Ok(value),
            None => input.value_of_text(json.text),
        },
        (Kind::Number, Shape::Int2 | Shape::Int4 | Shape::Int8) => {
            input.value_of_text(&whole_number(json.text).unwrap_or(json.text.into()))
        }
        (Kind::String, _) => input.value_of_text(&decode(json.text)?),
        (Kind::Array, Shape::Array) if input.element().is_some() => return list(input, json.text),
        (Kind::Array | Kind::Object, Shape::Array | Shape::Composite) => input.value_of_structure(json.text),
        _ => input.value_of_text(json.text),
    };
    value.map_err(|error| match error.sqlstate.as_str() {
        // PostgreSQL's JSON parser uses its stack.
        "54001" => Failure {
            sqlstate: Some(error.sqlstate),
            ..Failure::new(ErrorCode::InvalidRequest, "a value of the parameters is nested too deeply")
        },
        _ => error.into(),
    })
}

/// An array whose elements may be lists themselves, of JSON for one: PostgreSQL would take these for further dimensions.
fn list(input: &mut Input, json: &str) -> Result<Value, Failure> {
    let elements: Vec<&RawValue> = serde_json::from_str(json)
        .map_err(|error| PgError::new("22P02", format!("a list of the parameters does not read: {error}")))?;
    let mut values = Vec::with_capacity(elements.len());
    if let Some(element) = input.element() {
        for raw in elements {
            let json = Json::new(raw);
            values.push(match (json.kind, element.shape()) {
                (Kind::Null, _) => null(element)?,
                // Only a parameter itself is JSON in a text; within JSON a text is a text.
                (_, Shape::Json) => element.value_of_text(json.text)?,
                _ => convert(element, &json)?,
            });
        }
    }
    Ok(input.array_of(&values)?)
}

/// NULL, if the type takes it: a domain may not.
fn null(input: &mut Input) -> Result<Value, Failure> {
    input.check_null().map_err(Failure::from)?;
    Ok(Value::NULL)
}

fn decode(text: &str) -> Result<Cow<'_, str>, Failure> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    let text: Text = serde_json::from_str(text)
        .map_err(|error| PgError::new("22P05", format!("a string of the parameters is not valid: {error}")))?;
    Ok(text.0)
}
