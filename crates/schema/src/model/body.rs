//! What each kind of object is. Texts are the server's own, made with an empty search path.

use serde::{Deserialize, Serialize};

use super::Key;

/// What an object is.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "each is named after its kind")]
pub enum Body {
    Extension(Extension),
    Schema,
    DefaultPrivileges(DefaultPrivileges),
    Enum(Enum),
    Composite {
        attributes: Vec<Attribute>,
    },
    Domain(Domain),
    Range(Range),
    Sequence(Sequence),
    Table(Table),
    Column(Column),
    Routine(Routine),
    View(View),
    MaterializedView(MaterializedView),
    Constraint(Constraint),
    Index(Index),
    Statistics(Statistics),
    Trigger(Switch),
    Rule(Switch),
    Policy(Policy),
    /// Known by its key alone.
    Other,
}

/// An extension. Its members are not in the model.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Extension {
    /// The schema of its members.
    pub schema: String,
}

/// ALTER DEFAULT PRIVILEGES; the rights are the object's grants (empty: all were revoked).
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct DefaultPrivileges {}

/// CREATE TYPE … AS ENUM.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Enum {
    /// In order.
    pub labels: Vec<String>,
}

/// An attribute of a composite type.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Attribute {
    /// Its name.
    pub name: String,
    /// format_type with modifier.
    pub data_type: String,
    /// Where it is not the type's own; quoted and qualified, ready for SQL.
    pub collation: Option<String>,
}

/// CREATE DOMAIN.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Domain {
    /// format_type of the base type with modifier.
    pub data_type: String,
    /// Where it is not the type's own; ready for SQL.
    pub collation: Option<String>,
    /// NOT NULL.
    pub not_null: bool,
    /// The default's expression.
    pub default: Option<String>,
    /// CHECK constraints, by name.
    pub checks: Vec<DomainCheck>,
}

/// A CHECK constraint of a domain.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct DomainCheck {
    /// Its name.
    pub name: String,
    /// pg_get_constraintdef.
    pub definition: String,
    /// False for NOT VALID.
    pub validated: bool,
    /// COMMENT ON CONSTRAINT … ON DOMAIN.
    #[serde(default)]
    pub comment: Option<String>,
}

/// CREATE TYPE … AS RANGE.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Range {
    /// What stands between the parentheses, with the name of the multirange type: `subtype = …, …`, ready for SQL.
    pub definition: String,
}

/// CREATE SEQUENCE, or the sequence of an identity column.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Sequence {
    /// `bigint`, `integer` or `smallint`.
    pub data_type: String,
    /// START.
    pub start: i64,
    /// MINVALUE.
    pub min: i64,
    /// MAXVALUE.
    pub max: i64,
    /// INCREMENT.
    pub increment: i64,
    /// CACHE.
    pub cache: i64,
    /// CYCLE.
    pub cycle: bool,
    /// UNLOGGED.
    pub unlogged: bool,
    /// OWNED BY, a column.
    pub owned_by: Option<Key>,
    /// It is the sequence of an identity column (of `owned_by`): made and dropped with the column.
    pub of_identity: bool,
}

/// CREATE TABLE, without its columns, constraints, triggers, policies: these are objects of their own.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Table {
    /// UNLOGGED.
    pub unlogged: bool,
    /// PARTITION BY: pg_get_partkeydef.
    pub partition_key: Option<String>,
    /// It is a partition.
    pub partition_of: Option<Partition>,
    /// INHERITS, in order.
    pub inherits: Vec<Key>,
    /// OF type, ready for SQL.
    pub of_type: Option<String>,
    /// WITH (…): each `name=value`, those of the TOAST table as `toast.name=value`; sorted.
    pub options: Vec<String>,
    /// USING, where it is not heap. None for partitioned tables.
    pub access_method: Option<String>,
    /// `default`, `nothing`, `full`, or the name of the index after `index `.
    pub replica_identity: String,
    /// ENABLE and FORCE ROW LEVEL SECURITY.
    pub row_security: RowSecurity,
    /// The triggers that a partition has from the table that it is a partition of, and that fire at other times than there; by name.
    #[serde(default)]
    pub triggers: Vec<InheritedTrigger>,
}

/// A trigger that a partition has from its partitioned table.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct InheritedTrigger {
    /// Its name.
    pub name: String,
    /// As [`Switch::enabled`].
    pub enabled: String,
}

/// A partition's place.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Partition {
    /// The partitioned table.
    pub of: Key,
    /// `FOR VALUES …` or `DEFAULT`.
    pub bound: String,
}

/// Row-level security of a table.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct RowSecurity {
    /// ENABLE.
    pub enabled: bool,
    /// FORCE.
    pub forced: bool,
}

/// A column of a table. Those of a partition or child that come from its parent are here too, with `is_local` false.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Column {
    /// format_type with modifier, as SQL takes it.
    pub data_type: String,
    /// Where it is not the type's own; ready for SQL.
    pub collation: Option<String>,
    /// NOT NULL.
    pub not_null: bool,
    /// NOT NULL … NOT VALID, from PostgreSQL 18 on: rows that were there before it may have no value.
    #[serde(default, skip_serializing_if = "is_false")]
    pub not_valid: bool,
    /// NOT NULL NO INHERIT, from PostgreSQL 18 on: the tables below need not have it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub no_inherit: bool,
    /// The default's or the generation's expression.
    pub default: Option<String>,
    /// GENERATED ALWAYS AS (default).
    pub generated: Option<Generated>,
    /// GENERATED … AS IDENTITY.
    pub identity: Option<Identity>,
    /// SET STORAGE, where it is not the type's own: `plain`, `external`, `extended`, `main`.
    pub storage: Option<String>,
    /// SET COMPRESSION: `pglz`, `lz4`.
    pub compression: Option<String>,
    /// SET STATISTICS.
    pub statistics: Option<i32>,
    /// SET (…), each `name=value`, sorted.
    pub options: Vec<String>,
    /// Defined by this table, not only by a parent.
    pub is_local: bool,
}

impl Column {
    /// Whether the tables below have its NOT NULL too.
    pub(crate) fn hands_down_not_null(&self) -> bool {
        self.not_null && !self.no_inherit
    }
}

/// What most columns have is not written, so that their fingerprints stay what they were before the field was.
fn is_false(value: &bool) -> bool {
    !value
}

/// When a generated column's value is computed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Generated {
    /// STORED.
    Stored,
    /// VIRTUAL, from PostgreSQL 18 on.
    Virtual,
}

/// Who gives an identity column's values.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Identity {
    /// GENERATED ALWAYS.
    Always,
    /// GENERATED BY DEFAULT.
    ByDefault,
}

/// What a routine is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "PostgreSQL's own words")]
pub enum RoutineKind {
    Function,
    Procedure,
    Aggregate,
    Window,
}

/// A function, procedure, aggregate or window function.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Routine {
    /// Which of them.
    pub kind: RoutineKind,
    /// pg_get_functiondef; for an aggregate a whole CREATE AGGREGATE.
    pub definition: String,
    /// pg_get_function_result; none for procedures without OUT parameters.
    pub result: Option<String>,
    /// Each parameter's mode, name and type: what CREATE OR REPLACE cannot change, except for the names of input parameters that had
    /// none.
    pub parameters: Vec<String>,
    /// How many have defaults: CREATE OR REPLACE cannot take one away.
    pub defaults: u32,
    /// For aggregates.
    #[serde(default)]
    pub aggregated: Option<Aggregated>,
}

/// What DROP and COMMENT need to know of an aggregate.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Aggregated {
    /// Its arguments as DROP AGGREGATE takes them (`*`, or with ORDER BY).
    pub arguments: String,
}

/// CREATE VIEW.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct View {
    /// pg_get_viewdef, without the last semicolon.
    pub definition: String,
    /// WITH (…), each `name=value`, sorted.
    pub options: Vec<String>,
    /// The columns in order: CREATE OR REPLACE can only add some at the end.
    pub columns: Vec<ViewColumn>,
}

/// A column of a view.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct ViewColumn {
    /// Its name.
    pub name: String,
    /// format_type with modifier.
    pub data_type: String,
    /// ALTER VIEW … SET DEFAULT.
    pub default: Option<String>,
    /// COMMENT ON COLUMN.
    #[serde(default)]
    pub comment: Option<String>,
}

/// CREATE MATERIALIZED VIEW.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct MaterializedView {
    /// pg_get_viewdef, without the last semicolon.
    pub definition: String,
    /// WITH (…), each `name=value`, sorted.
    pub options: Vec<String>,
    /// USING, where it is not heap.
    pub access_method: Option<String>,
    /// False for WITH NO DATA.
    pub populated: bool,
    /// The columns that anything was set of, in order.
    #[serde(default)]
    pub columns: Vec<MaterializedColumn>,
}

/// What was set of a column of a materialized view.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct MaterializedColumn {
    /// Its name.
    pub name: String,
    /// format_type with modifier.
    pub data_type: String,
    /// SET STORAGE, where it is not the type's own: `plain`, `external`, `extended`, `main`.
    pub storage: Option<String>,
    /// SET COMPRESSION: `pglz`, `lz4`.
    pub compression: Option<String>,
    /// SET STATISTICS.
    pub statistics: Option<i32>,
    /// SET (…), each `name=value`, sorted.
    pub options: Vec<String>,
    /// COMMENT ON COLUMN.
    pub comment: Option<String>,
}

impl MaterializedColumn {
    /// Whether anything differs from what the column has by itself.
    pub fn is_set(&self) -> bool {
        let set = self.storage.is_some() || self.compression.is_some() || self.statistics.is_some();
        set || self.comment.is_some() || !self.options.is_empty()
    }
}

/// What a constraint is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "PostgreSQL's own words")]
pub enum ConstraintType {
    PrimaryKey,
    Unique,
    Check,
    ForeignKey,
    Exclusion,
}

/// A constraint of a table. Those that come from a parent table only are not in the model.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Constraint {
    /// Which.
    #[serde(rename = "type")]
    pub constraint_type: ConstraintType,
    /// pg_get_constraintdef, without NOT VALID.
    pub definition: String,
    /// False for NOT VALID.
    pub validated: bool,
    /// For PRIMARY KEY, UNIQUE, EXCLUDE: WITH (…) of the index and the like are part of the definition already; this is whether
    /// the table is CLUSTERed on it.
    pub clustered: bool,
    /// COMMENT ON INDEX of its index.
    #[serde(default)]
    pub index_comment: Option<String>,
}

impl Constraint {
    /// Not NOT ENFORCED, as there is from PostgreSQL 18 on: then rows are never looked at, and VALIDATE is refused.
    pub(crate) fn is_enforced(&self) -> bool {
        !self.definition.ends_with(" NOT ENFORCED")
    }
}

/// An index that belongs to no constraint. Those that a partitioned index made on partitions are not in the model.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Index {
    /// The table or materialized view.
    pub on: Key,
    /// pg_get_indexdef.
    pub definition: String,
    /// UNIQUE.
    pub unique: bool,
    /// False for one that CREATE INDEX CONCURRENTLY left unfinished, and for one that was made ON ONLY a partitioned table and to which those
    /// of the partitions are not attached yet.
    pub valid: bool,
    /// The table is CLUSTERed on it.
    pub clustered: bool,
}

/// CREATE STATISTICS.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Statistics {
    /// The table.
    pub on: Key,
    /// pg_get_statisticsobjdef.
    pub definition: String,
    /// SET STATISTICS.
    pub target: Option<i32>,
}

/// A trigger or rule.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Switch {
    /// pg_get_triggerdef or pg_get_ruledef, without the last semicolon.
    pub definition: String,
    /// When it fires: `O` origin and local (the default), `D` disabled, `R` replica, `A` always.
    pub enabled: String,
}

/// CREATE POLICY.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Policy {
    /// `ALL`, `SELECT`, `INSERT`, `UPDATE` or `DELETE`.
    pub command: String,
    /// Not RESTRICTIVE.
    pub permissive: bool,
    /// The roles, sorted; empty for PUBLIC.
    pub roles: Vec<String>,
    /// USING.
    pub using: Option<String>,
    /// WITH CHECK.
    pub check: Option<String>,
}
