//! Names and texts as SQL takes them.

use super::keywords::KEYWORDS;
use crate::{Aggregated, Body, Key, Kind, Object, Range, Routine, RoutineKind};

/// A name, in quotes only where it needs them.
pub(super) fn ident(name: &str) -> String {
    let simple = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if simple && KEYWORDS.binary_search(&name).is_err() {
        name.to_owned()
    } else {
        format!("\"{}\"", name.replace('"', "\"\""))
    }
}

/// A string constant, right whatever `standard_conforming_strings` is.
pub(super) fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if quoted.contains('\\') { format!("E'{}'", quoted.replace('\\', "\\\\")) } else { format!("'{quoted}'") }
}

/// `schema.name`.
pub(super) fn qualified(schema: &str, name: &str) -> String {
    if schema.is_empty() { ident(name) } else { format!("{}.{}", ident(schema), ident(name)) }
}

/// The name of an object that a schema holds.
pub(super) fn name(key: &Key) -> String {
    qualified(&key.schema, &key.name)
}

/// The name of the table or view that a part belongs to.
pub(super) fn owner_name(key: &Key) -> String {
    qualified(&key.schema, &key.parent)
}

/// `a, b`.
pub(super) fn list<T: AsRef<str>>(parts: impl IntoIterator<Item = T>) -> String {
    let mut text = String::new();
    for part in parts {
        if !text.is_empty() {
            text.push_str(", ");
        }
        text.push_str(part.as_ref());
    }
    text
}

/// `name=value` of a reloption, as WITH and SET take it.
pub(super) fn option(option: &str) -> String {
    match option.split_once('=') {
        Some((name, value)) => format!("{}={}", option_name(name), literal(value)),
        None => option_name(option),
    }
}

/// The name in `name=value`, as RESET takes it.
pub(super) fn option_name(option: &str) -> String {
    let name = option.split_once('=').map_or(option, |(name, _)| name);
    name.split('.').map(ident).collect::<Vec<_>>().join(".")
}

/// `public` as a role is the keyword.
pub(super) fn role(name: &str) -> String {
    if name.is_empty() { "PUBLIC".to_owned() } else { ident(name) }
}

/// FUNCTION, PROCEDURE or AGGREGATE with name and arguments, as DROP and COMMENT take it.
fn routine(key: &Key, routine: &Routine) -> String {
    let arguments = match &routine.aggregated {
        Some(Aggregated { arguments }) => arguments,
        None => &key.arguments,
    };
    let word = match routine.kind {
        RoutineKind::Function | RoutineKind::Window => "FUNCTION",
        RoutineKind::Procedure => "PROCEDURE",
        RoutineKind::Aggregate => "AGGREGATE",
    };
    format!("{word} {}({arguments})", name(key))
}

/// An object as DROP (where there is one) and COMMENT ON name it: `TABLE public.t`, `COLUMN public.t.c`, `TRIGGER x ON public.t`.
/// None for those that no statement can name.
pub(super) fn clause(object: &Object) -> Option<String> {
    let key = &object.key;
    let on = |word: &str| format!("{word} {} ON {}", ident(&key.name), owner_name(key));
    Some(match (&object.body, key.kind) {
        (Body::Routine(body), _) => routine(key, body),
        (_, Kind::Extension) => format!("EXTENSION {}", ident(&key.name)),
        (_, Kind::Schema) => format!("SCHEMA {}", ident(&key.name)),
        (_, Kind::Enum | Kind::Composite | Kind::Range) => format!("TYPE {}", name(key)),
        (_, Kind::Domain) => format!("DOMAIN {}", name(key)),
        (_, Kind::Sequence) => format!("SEQUENCE {}", name(key)),
        (_, Kind::Table) => format!("TABLE {}", name(key)),
        (_, Kind::Column) => format!("COLUMN {}.{}", owner_name(key), ident(&key.name)),
        (_, Kind::View) => format!("VIEW {}", name(key)),
        (_, Kind::MaterializedView) => format!("MATERIALIZED VIEW {}", name(key)),
        (_, Kind::Constraint) => on("CONSTRAINT"),
        (_, Kind::Index) => format!("INDEX {}", name(key)),
        (_, Kind::Statistics) => format!("STATISTICS {}", name(key)),
        (_, Kind::Trigger) => on("TRIGGER"),
        (_, Kind::Rule) => on("RULE"),
        (_, Kind::Policy) => on("POLICY"),
        (_, Kind::DefaultPrivileges | Kind::Other | Kind::Routine) => return None,
    })
}

/// Whether a type as format_type writes it is this type or an array of it.
pub(super) fn names_type(data_type: &str, key: &Key) -> bool {
    let element = element(data_type);
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let strip = |text: &str, part: &str| -> Option<String> {
        [ident(part), quoted(part), part.to_owned()]
            .iter()
            .find_map(|form| text.strip_prefix(form.as_str()))
            .map(str::to_owned)
    };
    let rest = if key.schema.is_empty() {
        Some(element.to_owned())
    } else {
        strip(element, &key.schema).and_then(|rest| rest.strip_prefix('.').map(str::to_owned))
    };
    rest.and_then(|rest| strip(&rest, &key.name)).is_some_and(|rest| rest.is_empty())
}

/// Whether a type as format_type writes it is that of an object, its multirange type or an array of one of them.
pub(super) fn names_type_of(data_type: &str, object: &Object) -> bool {
    let multirange = match &object.body {
        Body::Range(range) => multirange(range),
        _ => None,
    };
    names_type(data_type, &object.key) || multirange == Some(element(data_type))
}

/// The name of a range type's multirange type, ready for SQL.
pub(super) fn multirange(range: &Range) -> Option<&str> {
    let (_, rest) = range.definition.split_once("multirange_type_name = ")?;
    Some(rest.split(", ").next().unwrap_or(rest).trim())
}

/// A type without its array brackets.
pub(super) fn element(data_type: &str) -> &str {
    data_type.trim_end_matches("[]")
}

/// A name of at most 63 bytes for what is put aside for the time of a deployment.
pub(super) fn aside(name: &str) -> String {
    let mut end = name.len().min(63 - "__replaced".len());
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}__replaced", name.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_where_they_must_be() {
        for (name, quoted) in [
            ("orders", "orders"),
            ("_x1", "_x1"),
            ("Orders", "\"Orders\""),
            ("order", "\"order\""),
            ("user", "\"user\""),
            ("int", "\"int\""),
            ("left", "\"left\""),
            ("name", "name"),
            ("1a", "\"1a\""),
            ("", "\"\""),
            ("a\"b", "\"a\"\"b\""),
            ("größe", "\"größe\""),
        ] {
            assert_eq!(ident(name), quoted);
        }
        assert!(KEYWORDS.is_sorted());
    }

    #[test]
    fn texts_are_constants() {
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal("a\\b'"), "E'a\\\\b'''");
        assert_eq!(option("toast.autovacuum_enabled=false"), "toast.autovacuum_enabled='false'");
    }

    #[test]
    fn types_are_recognised_whatever_their_quotes() {
        let key = Key::new(Kind::Enum, "public", "Mood");
        assert!(names_type("public.\"Mood\"[]", &key));
        assert!(!names_type("public.\"Mood2\"", &key));
        assert!(!names_type("other.\"Mood\"", &key));
        assert!(names_type("public.mood", &Key::new(Kind::Enum, "public", "mood")));
    }
}
