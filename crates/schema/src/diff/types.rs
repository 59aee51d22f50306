//! What a change of a column's type does to the values.

use crate::Safety;

/// How dangerous it is to give a column of one type (format_type, with modifier) another, and whether the table is written anew.
pub fn type_change(from: &str, to: &str) -> (Safety, bool) {
    if from == to {
        return (Safety::Safe, false);
    }
    let (from_array, to_array) = (from.ends_with("[]"), to.ends_with("[]"));
    match (Type::parse(from), Type::parse(to)) {
        (from, to) if from_array && to_array => of_types(&from, &to),
        (_, to) if from_array => {
            (if to.is_text() && to.limit.is_none() { Safety::Safe } else { Safety::Incompatible }, true)
        }
        _ if to_array => (Safety::Incompatible, true),
        (from, to) => of_types(&from, &to),
    }
}

/// A type's name and modifiers.
struct Type {
    name: String,
    /// A length or precision.
    limit: Option<i32>,
    scale: Option<i32>,
}

impl Type {
    /// `numeric(10,2)[]`, `timestamp(3) with time zone`.
    fn parse(text: &str) -> Type {
        let text = text.trim_end_matches("[]");
        let (name, modifiers) = match (text.find('('), text.find(')')) {
            (Some(open), Some(close)) if open < close && !text.contains('"') => {
                let rest = text.get(close + 1..).unwrap_or_default();
                (
                    format!("{}{rest}", text.get(..open).unwrap_or_default()),
                    text.get(open + 1..close).unwrap_or_default(),
                )
            }
            _ => (text.to_owned(), ""),
        };
        let mut numbers = modifiers.split(',').map(|number| number.trim().parse().ok());
        let (limit, scale) = (numbers.next().flatten(), numbers.next().flatten());
        // `character` and `bit` without a length are of length 1.
        let limit = limit.or((name == "character" || name == "bit").then_some(1));
        Type { name, limit, scale }
    }

    fn is_text(&self) -> bool {
        matches!(self.name.as_str(), "text" | "character varying")
    }

    fn is_user(&self) -> bool {
        self.name.contains('.') || self.name.contains('"')
    }

    /// Bytes of an integer type.
    fn integer(&self) -> Option<u32> {
        Some(match self.name.as_str() {
            "smallint" => 2,
            "integer" => 4,
            "bigint" => 8,
            _ => return None,
        })
    }

    /// The longest text of a value, where a type has one.
    fn text_length(&self) -> Option<i32> {
        Some(match self.name.as_str() {
            "boolean" => 5,
            "smallint" => 6,
            "integer" => 11,
            "bigint" => 20,
            "uuid" => 36,
            "\"char\"" => 1,
            "name" => 63,
            "date" => 13,
            "character" | "character varying" | "bit" | "bit varying" => return self.limit,
            "numeric" => return self.limit.map(|digits| digits.saturating_add(3)),
            _ => return None,
        })
    }
}

const SAFE: (Safety, bool) = (Safety::Safe, true);
/// The values stay byte for byte.
const SAME: (Safety, bool) = (Safety::Safe, false);
const LOSS: (Safety, bool) = (Safety::Dataloss, true);
const NONE: (Safety, bool) = (Safety::Incompatible, true);

/// A limit that is gone or not smaller.
fn widens(from: Option<i32>, to: Option<i32>) -> bool {
    match (from, to) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(from), Some(to)) => from <= to,
    }
}

fn of_types(from: &Type, to: &Type) -> (Safety, bool) {
    let (f, t) = (from.name.as_str(), to.name.as_str());
    if to.is_text() {
        return to_text(from, to);
    }
    if f == t {
        return same_name(from, to);
    }
    if let (Some(from), Some(to)) = (from.integer(), to.integer()) {
        return if from < to { SAFE } else { LOSS };
    }
    match (f, t) {
        ("smallint" | "integer" | "bigint", "numeric") => {
            let digits = match f {
                "smallint" => 5,
                "integer" => 10,
                _ => 19,
            };
            let fits = to.limit.is_none_or(|precision| precision - to.scale.unwrap_or(0) >= digits);
            if fits { SAFE } else { LOSS }
        }
        // 24 and 53 bits of mantissa.
        ("smallint", "real" | "double precision") | ("integer", "double precision") | ("real", "double precision") => {
            SAFE
        }
        ("integer" | "bigint" | "numeric" | "double precision", "real")
        | ("bigint" | "numeric", "double precision") => LOSS,
        ("numeric", "smallint" | "integer" | "bigint") => {
            let digits = to.integer().map_or(0, |bytes| {
                if bytes == 2 {
                    4
                } else if bytes == 4 {
                    9
                } else {
                    18
                }
            });
            let fits = from.limit.is_some_and(|precision| from.scale.unwrap_or(0) <= 0 && precision <= digits);
            if fits { SAFE } else { LOSS }
        }
        ("real" | "double precision", "numeric" | "smallint" | "integer" | "bigint") => LOSS,
        // What 0 and 1 mean, and whether there are others, no type says.
        ("boolean", "integer") | ("integer", "boolean") => LOSS,
        // Blanks at the end.
        ("text" | "character varying" | "name", "character") => LOSS,
        ("text" | "character varying" | "character", "name") => LOSS,
        ("date", "timestamp without time zone" | "timestamp with time zone") => SAFE,
        // Which instants they are depends on the time zone of the session that changes the type.
        ("timestamp without time zone", "timestamp with time zone")
        | ("timestamp with time zone", "timestamp without time zone") => LOSS,
        ("timestamp without time zone" | "timestamp with time zone", "date") => LOSS,
        ("timestamp without time zone" | "timestamp with time zone", "time without time zone") => LOSS,
        ("timestamp with time zone", "time with time zone") | ("time with time zone", "time without time zone") => LOSS,
        ("time without time zone", "time with time zone" | "interval") => SAFE,
        ("interval", "time without time zone") => LOSS,
        ("bit", "bit varying") => {
            if widens(from.limit, to.limit) {
                SAFE
            } else {
                LOSS
            }
        }
        ("bit varying", "bit") | ("bit" | "bit varying", "integer" | "bigint") => LOSS,
        ("json", "jsonb") | ("jsonb", "json") => SAFE,
        ("cidr", "inet") => SAME,
        ("inet", "cidr") => LOSS,
        ("macaddr", "macaddr8") => SAFE,
        ("macaddr8", "macaddr") => LOSS,
        ("xml", "character") => LOSS,
        ("integer", "oid") => LOSS,
        ("oid", "bigint") => SAFE,
        ("money", "numeric") => {
            if widens(Some(20), to.limit) {
                SAFE
            } else {
                LOSS
            }
        }
        ("numeric" | "integer" | "bigint", "money") => LOSS,
        _ => NONE,
    }
}

/// To text or varchar: everything has a text.
fn to_text(from: &Type, to: &Type) -> (Safety, bool) {
    match from.name.as_str() {
        "text" | "character varying" => {
            if widens(from.limit, to.limit) {
                SAME
            } else {
                LOSS
            }
        }
        // Their blanks at the end go; PostgreSQL takes them as no part of the value.
        "character" => {
            if widens(from.limit, to.limit) {
                SAFE
            } else {
                LOSS
            }
        }
        "xml" if to.limit.is_none() => SAME,
        _ => match (to.limit, from.text_length()) {
            (None, _) => SAFE,
            (Some(limit), Some(length)) if length <= limit => SAFE,
            _ => LOSS,
        },
    }
}

/// Another modifier.
fn same_name(from: &Type, to: &Type) -> (Safety, bool) {
    match from.name.as_str() {
        "numeric" => match (from.limit, to.limit) {
            (_, None) => SAME,
            (None, Some(_)) => LOSS,
            (Some(old), Some(new)) => {
                let (old_scale, new_scale) = (from.scale.unwrap_or(0), to.scale.unwrap_or(0));
                if new_scale == old_scale && new >= old {
                    SAME
                } else if new_scale >= old_scale && new - new_scale >= old - old_scale {
                    SAFE
                } else {
                    LOSS
                }
            }
        },
        "character" => {
            if widens(from.limit, to.limit) {
                SAFE
            } else {
                LOSS
            }
        }
        "bit" => {
            if from.limit == to.limit {
                SAME
            } else {
                LOSS
            }
        }
        "bit varying" => {
            if widens(from.limit, to.limit) {
                SAME
            } else {
                LOSS
            }
        }
        "timestamp without time zone"
        | "timestamp with time zone"
        | "time without time zone"
        | "time with time zone" => {
            if widens(Some(from.limit.unwrap_or(6)), Some(to.limit.unwrap_or(6))) {
                SAME
            } else {
                LOSS
            }
        }
        name if name.starts_with("interval") => {
            if widens(Some(from.limit.unwrap_or(6)), Some(to.limit.unwrap_or(6))) {
                SAME
            } else {
                LOSS
            }
        }
        // An extension's type with modifiers, like geometry or vector: only it knows.
        _ if from.is_user() => LOSS,
        _ => LOSS,
    }
}

/// Whether PostgreSQL converts in an ALTER TYPE without USING.
pub(super) fn is_assignable(from: &str, to: &str) -> bool {
    let (from_type, to_type) = (Type::parse(from), Type::parse(to));
    let casts = matches!(
        (from_type.name.as_str(), to_type.name.as_str()),
        ("boolean", "integer") | ("integer", "boolean") | ("bit" | "bit varying", "integer" | "bigint")
    );
    let (safety, _) = type_change(from, to);
    from.ends_with("[]") == to.ends_with("[]")
        && !casts
        && !from_type.is_user()
        && !to_type.is_user()
        && safety == Safety::Safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_classed_by_what_the_values_suffer() {
        use Safety::{Dataloss, Incompatible, Safe};
        for (from, to, safety, rewrites) in [
            ("integer", "bigint", Safe, true),
            ("bigint", "integer", Dataloss, true),
            ("integer", "numeric", Safe, true),
            ("integer", "numeric(10,2)", Dataloss, true),
            ("integer", "numeric(12,2)", Safe, true),
            ("bigint", "double precision", Dataloss, true),
            ("integer", "double precision", Safe, true),
            ("numeric(10,2)", "numeric(12,2)", Safe, false),
            ("numeric(10,2)", "numeric(12,4)", Safe, true),
            ("numeric(10,2)", "numeric(10,4)", Dataloss, true),
            ("numeric(10,2)", "numeric", Safe, false),
            ("numeric", "numeric(10,2)", Dataloss, true),
            ("numeric(4,0)", "smallint", Safe, true),
            ("numeric", "integer", Dataloss, true),
            ("real", "double precision", Safe, true),
            ("double precision", "real", Dataloss, true),
            ("character varying(10)", "character varying(20)", Safe, false),
            ("character varying(20)", "character varying(10)", Dataloss, true),
            ("character varying", "text", Safe, false),
            ("text", "character varying", Safe, false),
            ("text", "character varying(10)", Dataloss, true),
            ("character(5)", "text", Safe, true),
            ("character(5)", "character(3)", Dataloss, true),
            ("text", "integer", Incompatible, true),
            ("text", "uuid", Incompatible, true),
            ("uuid", "text", Safe, true),
            ("uuid", "character varying(36)", Safe, true),
            ("uuid", "character varying(30)", Dataloss, true),
            ("integer", "text", Safe, true),
            ("integer", "character varying(5)", Dataloss, true),
            ("timestamp(3) without time zone", "timestamp without time zone", Safe, false),
            ("timestamp without time zone", "timestamp(0) without time zone", Dataloss, true),
            ("timestamp without time zone", "timestamp with time zone", Dataloss, true),
            ("timestamp with time zone", "timestamp(3) without time zone", Dataloss, true),
            ("integer", "boolean", Dataloss, true),
            ("timestamp with time zone", "date", Dataloss, true),
            ("date", "timestamp with time zone", Safe, true),
            ("json", "jsonb", Safe, true),
            ("text", "jsonb", Incompatible, true),
            ("boolean", "integer", Dataloss, true),
            ("boolean", "bigint", Incompatible, true),
            ("bit(3)", "bit(4)", Dataloss, true),
            ("bit varying(3)", "bit varying(4)", Safe, false),
            ("integer[]", "bigint[]", Safe, true),
            ("bigint[]", "integer[]", Dataloss, true),
            ("integer[]", "bigint", Incompatible, true),
            ("integer", "integer[]", Incompatible, true),
            ("integer[]", "text", Safe, true),
            ("public.mood", "text", Safe, true),
            ("text", "public.mood", Incompatible, true),
            ("public.mood", "public.other", Incompatible, true),
            ("cidr", "inet", Safe, false),
            ("integer", "uuid", Incompatible, true),
        ] {
            assert_eq!(type_change(from, to), (safety, rewrites), "{from} to {to}");
        }
    }
}
