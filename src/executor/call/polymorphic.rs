//! The types that polymorphic parameters take for JSON values.
//!
//! PostgreSQL wants parameters of one family (anyelement and anyarray; anycompatible and anycompatiblearray) to agree. So all arguments
//! of a family are looked at together, and its type is the least that holds them all: `[1, [2.5]]` is numeric and numeric[].

use pgrx::pg_sys;
use serde_json::value::RawValue;

use super::parameters::{Json, Kind};

/// What the values of a family have in common; a later one holds the values of those before it, but for `Boolean`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Debug)]
enum Common {
    /// Nulls only.
    Nothing,
    Boolean,
    Int4,
    Int8,
    Numeric,
    Text,
    /// Objects, and lists where no array is declared.
    Jsonb,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    Element,
    Compatible,
}

/// Puts the types that are meant into the places of polymorphic ones; other types stay as they are.
pub(super) fn resolve(types: &mut [pg_sys::Oid], arguments: &[Json]) {
    for family in [Family::Element, Family::Compatible] {
        let common = types
            .iter()
            .zip(arguments)
            .filter_map(|(type_oid, argument)| match place(*type_oid)? {
                (of, is_array) if of == family => Some(if is_array { of_list(argument) } else { of_value(argument) }),
                _ => None,
            })
            .fold(Common::Nothing, join);
        for type_oid in types.iter_mut() {
            if let Some((of, is_array)) = place(*type_oid)
                && of == family
            {
                *type_oid = type_of(common, is_array);
            }
        }
    }
}

/// The family of a polymorphic type whose values JSON can tell, and whether it is the array of it.
fn place(type_oid: pg_sys::Oid) -> Option<(Family, bool)> {
    match type_oid {
        pg_sys::ANYELEMENTOID | pg_sys::ANYNONARRAYOID => Some((Family::Element, false)),
        pg_sys::ANYARRAYOID => Some((Family::Element, true)),
        pg_sys::ANYCOMPATIBLEOID | pg_sys::ANYCOMPATIBLENONARRAYOID => Some((Family::Compatible, false)),
        pg_sys::ANYCOMPATIBLEARRAYOID => Some((Family::Compatible, true)),
        _ => None,
    }
}

fn of_value(value: &Json) -> Common {
    match value.kind {
        Kind::Null => Common::Nothing,
        Kind::Boolean => Common::Boolean,
        Kind::Integer(number) if i32::try_from(number).is_ok() => Common::Int4,
        Kind::Integer(_) => Common::Int8,
        Kind::Number => Common::Numeric,
        Kind::String => Common::Text,
        Kind::Array | Kind::Object => Common::Jsonb,
    }
}

/// Of the elements of a list, in all its dimensions. A text is an array as PostgreSQL writes it, of whatever.
fn of_list(value: &Json) -> Common {
    match value.kind {
        Kind::Array => {
            let elements: Vec<&RawValue> = serde_json::from_str(value.text).unwrap_or_default();
            elements.into_iter().map(|element| of_list(&Json::new(element))).fold(Common::Nothing, join)
        }
        _ => of_value(value),
    }
}

fn join(one: Common, other: Common) -> Common {
    match (one, other) {
        (Common::Nothing, common) | (common, Common::Nothing) => common,
        // Between truth and numbers there is only text.
        (Common::Boolean, Common::Int4 | Common::Int8 | Common::Numeric)
        | (Common::Int4 | Common::Int8 | Common::Numeric, Common::Boolean) => Common::Text,
        (one, other) if one < other => other,
        (one, _) => one,
    }
}

fn type_of(common: Common, is_array: bool) -> pg_sys::Oid {
    let (value, array) = match common {
        Common::Boolean => (pg_sys::BOOLOID, pg_sys::BOOLARRAYOID),
        Common::Int4 => (pg_sys::INT4OID, pg_sys::INT4ARRAYOID),
        Common::Int8 => (pg_sys::INT8OID, pg_sys::INT8ARRAYOID),
        Common::Numeric => (pg_sys::NUMERICOID, pg_sys::NUMERICARRAYOID),
        Common::Nothing | Common::Text => (pg_sys::TEXTOID, pg_sys::TEXTARRAYOID),
        Common::Jsonb => (pg_sys::JSONBOID, pg_sys::JSONBARRAYOID),
    };
    if is_array { array } else { value }
}
