//! What the catalog says, as the executor's query gives it.

use serde::Deserialize;

/// The functions that may be called, and every type that they use.
#[derive(Deserialize, Debug, Default)]
pub struct Catalog {
    /// In the order of schema, name and OID.
    pub functions: Vec<Function>,
    /// By no order.
    pub types: Vec<Type>,
}

/// A function or procedure.
#[derive(Deserialize, Debug, Clone, Default)]
pub struct Function {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// What it is called by: quoted where it must be, with its schema where the search path does not find it.
    pub called: String,
    /// `name(arguments)`, as PostgreSQL writes it.
    pub signature: String,
    /// It is a procedure.
    pub is_procedure: bool,
    /// It is STABLE or IMMUTABLE.
    pub only_reads: bool,
    /// It is STRICT: with a NULL among its arguments it is not run.
    pub is_strict: bool,
    /// It returns a set.
    pub returns_set: bool,
    /// The OID of the type that it returns.
    pub returns: u32,
    /// The last input parameter is VARIADIC.
    pub is_variadic: bool,
    /// All parameters in order, OUT ones too.
    pub arguments: Vec<Argument>,
    /// Its comment.
    pub comment: Option<String>,
}

/// A parameter.
#[derive(Deserialize, Debug, Clone, Default)]
pub struct Argument {
    /// None or empty: it has none.
    pub name: Option<String>,
    /// The type's OID.
    #[serde(rename = "type")]
    pub type_oid: u32,
    /// `i`, `o`, `b`, `v` or `t`, as in `pg_proc.proargmodes`.
    pub mode: String,
    /// It has a default.
    pub has_default: bool,
    /// The default, as SQL.
    pub default: Option<String>,
}

impl Argument {
    pub(crate) fn is_input(&self) -> bool {
        matches!(self.mode.as_str(), "i" | "b" | "v")
    }

    pub(crate) fn is_output(&self) -> bool {
        matches!(self.mode.as_str(), "o" | "b" | "t")
    }

    pub(crate) fn name(&self) -> Option<&str> {
        self.name.as_deref().filter(|name| !name.is_empty())
    }
}

/// A type.
#[derive(Deserialize, Debug, Clone, Default)]
pub struct Type {
    /// Its OID.
    pub oid: u32,
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// As PostgreSQL writes it.
    pub written: String,
    /// `pg_type.typtype`: `b`, `c`, `d`, `e`, `m`, `p`, `r`.
    pub kind: String,
    /// Of an array, the OID of its elements' type.
    pub element: Option<u32>,
    /// Of a domain, the OID of the type below it.
    pub base: Option<u32>,
    /// Of a domain, what narrows that type; -1 is nothing.
    pub modifier: Option<i32>,
    /// Of a domain: it takes no NULL.
    #[serde(default)]
    pub is_not_null: bool,
    /// Of a domain, its constraints as SQL.
    pub checks: Option<Vec<String>>,
    /// Of an enum, its values in order.
    pub labels: Option<Vec<String>>,
    /// Of a composite type.
    pub columns: Option<Vec<Column>>,
    /// It has a cast of its own to json.
    #[serde(default)]
    pub casts_to_json: bool,
    /// Its comment, or that of its table.
    pub comment: Option<String>,
}

/// A column of a composite type.
#[derive(Deserialize, Debug, Clone, Default)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// The type's OID.
    #[serde(rename = "type")]
    pub type_oid: u32,
    /// What narrows the type; -1 is nothing.
    pub modifier: i32,
    /// It is NOT NULL in its table.
    pub is_not_null: bool,
    /// Its comment.
    pub comment: Option<String>,
}
