//! A schema as data. References are by name; [`repair`](super::repair) takes out those that lead nowhere.

use serde::{Deserialize, Serialize};

use super::types::Type;

/// A schema and a name, neither quoted.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub(super) struct Name {
    pub(super) schema: String,
    pub(super) name: String,
}

impl Name {
    /// Quoted where it must be, without `public`.
    pub(super) fn sql(&self) -> String {
        if self.schema == "public" {
            ident(&self.name)
        } else {
            format!("{}.{}", ident(&self.schema), ident(&self.name))
        }
    }
}

/// An identifier as SQL takes it.
pub(super) fn ident(name: &str) -> String {
    const RESERVED: &[&str] = &["order", "select", "user", "table", "end", "default", "group", "check"];
    let simple = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if simple && !RESERVED.contains(&name) { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// A schema: all objects of a bundle, each list in an order in which its objects can be made.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Schema {
    pub(super) namespaces: Vec<Namespace>,
    pub(super) enums: Vec<Enum>,
    pub(super) composites: Vec<Composite>,
    pub(super) domains: Vec<Domain>,
    pub(super) ranges: Vec<Range>,
    pub(super) routines: Vec<Routine>,
    pub(super) sequences: Vec<Sequence>,
    pub(super) tables: Vec<Table>,
    pub(super) views: Vec<View>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Namespace {
    pub(super) name: String,
    pub(super) comment: Option<String>,
    pub(super) granted: bool,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Enum {
    pub(super) name: Name,
    pub(super) labels: Vec<String>,
    pub(super) comment: Option<String>,
    /// USAGE is revoked from PUBLIC.
    pub(super) revoked: bool,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Attribute {
    pub(super) name: String,
    pub(super) data_type: Type,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Composite {
    pub(super) name: Name,
    pub(super) attributes: Vec<Attribute>,
    pub(super) comment: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Domain {
    pub(super) name: Name,
    pub(super) base: Type,
    pub(super) not_null: bool,
    pub(super) default: Option<u8>,
    /// A value that it does not accept.
    pub(super) check: Option<u8>,
    pub(super) check_name: Option<String>,
    pub(super) comment: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Range {
    pub(super) name: Name,
    pub(super) subtype: String,
    pub(super) comment: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Sequence {
    pub(super) name: Name,
    pub(super) data_type: Option<String>,
    /// INCREMENT, MAXVALUE, CACHE, CYCLE and the like.
    pub(super) options: Vec<String>,
    /// A table and a column.
    pub(super) owned_by: Option<(Name, String)>,
    pub(super) comment: Option<String>,
    pub(super) granted: bool,
}

/// What a routine is for. Those for tables are made before them and take no table's type.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Role {
    /// `f()`, for defaults.
    Maker,
    /// `f(T) → boolean`, immutable, for CHECK, WHERE and policies.
    Predicate,
    /// `f(T) → text`, immutable, for indexes and generated columns.
    Key,
    Trigger,
    /// Anything; may be overloaded.
    General,
    Procedure,
    Aggregate,
    /// BEGIN ATOMIC over a table.
    Atomic,
    /// RETURNS SETOF a table or view.
    SetOf,
    /// RETURNS TABLE (…).
    Rows,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Parameter {
    pub(super) name: Option<String>,
    pub(super) data_type: Type,
    pub(super) default: Option<u8>,
    /// INOUT or OUT; of procedures and general functions.
    pub(super) out: bool,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Routine {
    pub(super) name: Name,
    pub(super) role: Role,
    pub(super) parameters: Vec<Parameter>,
    pub(super) returns: Type,
    /// A table or view, and a column of it.
    pub(super) target: Option<(Name, String)>,
    pub(super) plpgsql: bool,
    /// STRICT, SECURITY DEFINER, PARALLEL SAFE, COST, SET …
    pub(super) options: Vec<String>,
    /// Makes bodies differ.
    pub(super) body: u8,
    pub(super) comment: Option<String>,
    pub(super) revoked: bool,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Default {
    Sample(u8),
    Now,
    NextVal(Name),
    Maker(Name),
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Identity {
    pub(super) always: bool,
    pub(super) options: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) data_type: Type,
    pub(super) not_null: bool,
    pub(super) default: Option<Default>,
    /// The column that it is made of; the type follows from that one's.
    pub(super) generated: Option<(String, Option<Name>)>,
    pub(super) identity: Option<Identity>,
    pub(super) serial: bool,
    pub(super) collation: Option<String>,
    pub(super) storage: Option<String>,
    pub(super) compression: Option<String>,
    pub(super) statistics: Option<u16>,
    pub(super) options: Vec<String>,
    pub(super) comment: Option<String>,
    pub(super) granted: bool,
}

/// A condition on a column: of CHECK, WHERE, WHEN, USING.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Condition {
    pub(super) column: String,
    pub(super) shape: u8,
    pub(super) sample: u8,
    pub(super) predicate: Option<Name>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Rule {
    Primary {
        columns: Vec<String>,
        include: Vec<String>,
        deferrable: bool,
    },
    Unique {
        columns: Vec<String>,
        include: Vec<String>,
        deferrable: bool,
        nulls_not_distinct: bool,
    },
    Check {
        condition: Condition,
        no_inherit: bool,
        not_valid: bool,
    },
    Foreign {
        column: String,
        table: Name,
        referenced: Option<String>,
        actions: String,
        deferrable: u8,
        not_valid: bool,
    },
    Exclude {
        column: String,
        condition: Option<Condition>,
        deferrable: bool,
    },
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Constraint {
    pub(super) name: Option<String>,
    pub(super) rule: Rule,
    pub(super) comment: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct IndexKey {
    pub(super) column: String,
    pub(super) key: Option<Name>,
    /// 0 the column, 1 an expression on it.
    pub(super) shape: u8,
    pub(super) collation: Option<String>,
    pub(super) pattern_ops: bool,
    /// DESC, NULLS FIRST
    pub(super) order: String,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Index {
    pub(super) name: String,
    pub(super) method: String,
    pub(super) keys: Vec<IndexKey>,
    pub(super) include: Vec<String>,
    pub(super) unique: bool,
    pub(super) fillfactor: Option<u8>,
    pub(super) condition: Option<Condition>,
    pub(super) comment: Option<String>,
    /// CLUSTER ON it, REPLICA IDENTITY USING it are left out: they need more than an index.
    pub(super) statistics: Option<u16>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Trigger {
    pub(super) name: String,
    pub(super) before: bool,
    pub(super) events: Vec<String>,
    pub(super) update_of: Vec<String>,
    pub(super) row: bool,
    pub(super) condition: Option<Condition>,
    pub(super) function: Name,
    pub(super) arguments: Vec<String>,
    pub(super) transition: bool,
    /// A constraint trigger: 1 deferrable, 2 initially deferred.
    pub(super) constraint: u8,
    pub(super) disabled: bool,
    pub(super) comment: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Policy {
    pub(super) name: String,
    pub(super) restrictive: bool,
    pub(super) command: String,
    pub(super) using: Condition,
    pub(super) check: Option<Condition>,
    pub(super) comment: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct RewriteRule {
    pub(super) name: String,
    pub(super) event: String,
    pub(super) instead: bool,
    pub(super) condition: Option<Condition>,
    pub(super) disabled: bool,
    pub(super) comment: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Statistics {
    pub(super) name: String,
    pub(super) kinds: Vec<String>,
    pub(super) columns: Vec<String>,
    pub(super) comment: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct PartitionBy {
    /// `range`, `list` or `hash`
    pub(super) strategy: String,
    pub(super) column: String,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct PartitionOf {
    pub(super) table: Name,
    /// Which of the bounds that its strategy has; 0 is DEFAULT (for hash the remainder).
    pub(super) bound: u8,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Table {
    pub(super) name: Name,
    pub(super) unlogged: bool,
    pub(super) columns: Vec<Column>,
    pub(super) inherits: Option<Name>,
    pub(super) partition_by: Option<PartitionBy>,
    pub(super) partition_of: Option<PartitionOf>,
    pub(super) of_type: Option<Name>,
    pub(super) constraints: Vec<Constraint>,
    pub(super) indexes: Vec<Index>,
    pub(super) triggers: Vec<Trigger>,
    pub(super) policies: Vec<Policy>,
    pub(super) rules: Vec<RewriteRule>,
    pub(super) statistics: Vec<Statistics>,
    pub(super) row_security: bool,
    pub(super) force_row_security: bool,
    pub(super) replica_full: bool,
    pub(super) options: Vec<String>,
    pub(super) grants: Vec<String>,
    pub(super) comment: Option<String>,
}

/// A column of a view: a column of its source, as it is or in an expression.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct ViewColumn {
    pub(super) name: String,
    pub(super) of: String,
    pub(super) shape: u8,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct View {
    pub(super) name: Name,
    pub(super) materialized: bool,
    /// A table or an earlier view.
    pub(super) source: Name,
    /// SELECT *, which the server writes out.
    pub(super) star: bool,
    pub(super) columns: Vec<ViewColumn>,
    pub(super) condition: Option<Condition>,
    pub(super) options: Vec<String>,
    pub(super) indexes: Vec<Index>,
    pub(super) comment: Option<String>,
    pub(super) grants: Vec<String>,
    /// An INSTEAD OF trigger's function.
    pub(super) trigger: Option<Name>,
}

impl Schema {
    pub(super) fn table(&self, name: &Name) -> Option<&Table> {
        self.tables.iter().find(|table| table.name == *name)
    }

    pub(super) fn routine(&self, name: &Name) -> Option<&Routine> {
        self.routines.iter().find(|routine| routine.name == *name)
    }

    /// All columns of a table, with those that it has from elsewhere, and their types.
    pub(super) fn columns_of(&self, table: &Table) -> Vec<(String, Type)> {
        let mut columns = Vec::new();
        let above = table.inherits.as_ref().or(table.partition_of.as_ref().map(|partition| &partition.table));
        if let Some(above) = above.and_then(|name| self.table(name)) {
            columns.extend(self.columns_of(above));
        }
        if let Some(composite) =
            table.of_type.as_ref().and_then(|name| self.composites.iter().find(|c| c.name == *name))
        {
            columns.extend(composite.attributes.iter().map(|a| (a.name.clone(), a.data_type.clone())));
        }
        for column in &table.columns {
            if !columns.iter().any(|(name, _)| *name == column.name) {
                columns.push((column.name.clone(), column.data_type.clone()));
            }
        }
        columns
    }

    /// The columns of a table or view.
    pub(super) fn relation(&self, name: &Name) -> Vec<(String, Type)> {
        if let Some(table) = self.table(name) {
            return self.columns_of(table);
        }
        let Some(view) = self.views.iter().find(|view| view.name == *name) else { return Vec::new() };
        let source = self.relation(&view.source);
        if view.star {
            return source;
        }
        let type_of =
            |column: &ViewColumn| source.iter().find(|(name, _)| *name == column.of).map(|(_, of)| of.clone());
        view.columns
            .iter()
            .filter_map(|column| {
                type_of(column).map(|of| (column.name.clone(), super::render::shaped(&of, column.shape, "", self).1))
            })
            .collect()
    }
}
