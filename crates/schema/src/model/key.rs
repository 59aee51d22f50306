//! What an object is known by.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The kinds of objects, in an order in which they could be created if nothing else decided.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "PostgreSQL's own words")]
pub enum Kind {
    Extension,
    Schema,
    DefaultPrivileges,
    Enum,
    Composite,
    Domain,
    Range,
    Sequence,
    Table,
    Column,
    Routine,
    View,
    MaterializedView,
    Constraint,
    Index,
    Statistics,
    Trigger,
    Rule,
    Policy,
    /// A kind that is known by name only: operators, operator classes and families, casts, collations, conversions, text search
    /// objects, foreign data objects, event triggers, publications, base types.
    Other,
}

impl Kind {
    /// As a person writes it.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Extension => "extension",
            Kind::Schema => "schema",
            Kind::DefaultPrivileges => "default privileges",
            Kind::Enum => "enum",
            Kind::Composite => "composite type",
            Kind::Domain => "domain",
            Kind::Range => "range type",
            Kind::Sequence => "sequence",
            Kind::Table => "table",
            Kind::Column => "column",
            Kind::Routine => "routine",
            Kind::View => "view",
            Kind::MaterializedView => "materialized view",
            Kind::Constraint => "constraint",
            Kind::Index => "index",
            Kind::Statistics => "statistics",
            Kind::Trigger => "trigger",
            Kind::Rule => "rule",
            Kind::Policy => "policy",
            Kind::Other => "object",
        }
    }
}

/// What an object is known by, in every database the same.
///
/// | kind | schema | parent | name | arguments |
/// |---|---|---|---|---|
/// | Extension, Schema | | | name | |
/// | DefaultPrivileges | schema, or empty for all | | the role | object type (`r`, `S`, `f`, `T`, `n`) |
/// | Column, Constraint (of a table), Trigger, Rule, Policy | its table's | the table or view | name | |
/// | Routine | schema | | name | input types, as format_type writes them, separated by `, ` |
/// | Other | schema, if any | | identity of pg_identify_object | its type (`operator`, `cast`, …) |
/// | everything else | schema | | name | |
///
/// The columns of views and composite types are part of their view or type. CHECK constraints of a domain are part of the domain.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Key {
    /// What it is.
    pub kind: Kind,
    /// The schema that it is in.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub schema: String,
    /// The table that it belongs to.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub parent: String,
    /// Its name.
    pub name: String,
    /// What tells routines of one name apart.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub arguments: String,
}

impl Key {
    /// An object that is known by schema and name.
    pub fn new(kind: Kind, schema: &str, name: &str) -> Key {
        Key { kind, schema: schema.to_owned(), parent: String::new(), name: name.to_owned(), arguments: String::new() }
    }

    /// A part of a table or view.
    pub fn part(kind: Kind, schema: &str, parent: &str, name: &str) -> Key {
        Key { parent: parent.to_owned(), ..Key::new(kind, schema, name) }
    }

    /// The table that a part belongs to.
    pub fn table(&self) -> Option<Key> {
        (matches!(self.kind, Kind::Column | Kind::Constraint | Kind::Trigger | Kind::Rule | Kind::Policy))
            .then(|| Key::new(Kind::Table, &self.schema, &self.parent))
    }

    /// Schema and name without quotes, the default schema left out: `orders`, `audit.log`, `orders.id`, `total(bigint)`.
    pub fn name_for_people(&self) -> String {
        let mut text = String::new();
        let schema = if self.schema == "public" { "" } else { &self.schema };
        for part in [schema, &self.parent].into_iter().filter(|part| !part.is_empty()) {
            text.push_str(part);
            text.push('.');
        }
        text.push_str(&self.name);
        if self.kind == Kind::Routine {
            text.push_str(&format!("({})", self.arguments));
        }
        text
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.kind == Kind::Other { &self.arguments } else { self.kind.word() };
        write!(f, "{word} {}", self.name_for_people())
    }
}
