//! A plan: what is to be done to a database, as data. What a dry run shows is what runs and what the changelog records.

use serde::{Deserialize, Serialize};

use crate::Key;

/// How dangerous a change is to the rows that are there. It depends on the two states, not on how many rows a tenant has.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Safety {
    /// No row can be lost or refused.
    #[default]
    Safe,
    /// Rows or parts of them are lost, or rows that are there may refuse it.
    Dataloss,
    /// No cast keeps the values.
    Incompatible,
}

impl Safety {
    /// As the answers write it.
    pub fn word(self) -> &'static str {
        match self {
            Safety::Safe => "safe",
            Safety::Dataloss => "dataloss",
            Safety::Incompatible => "incompatible",
        }
    }
}

/// What a statement can do to those who use the database meanwhile.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hazard {
    /// Every row is written anew, under ACCESS EXCLUSIVE.
    RewritesTable,
    /// Every row is read while the table is locked.
    ScansTable,
    /// An index is built.
    BuildsIndex,
    /// A lock that readers or writers wait for, on a table with rows.
    StrongLock,
    /// Rows, or parts of them, are gone for good.
    DeletesData,
}

impl Hazard {
    /// As a plan shows it.
    pub fn word(self) -> &'static str {
        match self {
            Hazard::RewritesTable => "rewrites_table",
            Hazard::ScansTable => "scans_table",
            Hazard::BuildsIndex => "builds_index",
            Hazard::StrongLock => "strong_lock",
            Hazard::DeletesData => "deletes_data",
        }
    }
}

/// When a step runs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Before the deployment's transaction, in one of its own: new enum values, which nobody can use before they are committed.
    Before,
    /// In the deployment's transaction.
    #[default]
    Within,
    /// After it, in one of its own or in none: what must not hold its locks for long.
    After,
}

/// One statement of a plan.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Step {
    /// The statement.
    pub sql: String,
    /// What it is about.
    pub object: Key,
    /// How dangerous it is.
    pub safety: Safety,
    /// What it can do to others.
    pub hazards: Vec<Hazard>,
    /// When it runs.
    pub stage: Stage,
    /// It cannot run in a transaction block (CREATE INDEX CONCURRENTLY).
    pub at_top_level: bool,
}

/// A kind of change that loses data or may fail on the rows, which a deployment makes only if its caller allows it (`allow`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// A table goes with its rows.
    DropTable,
    /// A column goes with its values.
    DropColumn,
    /// Values change with their type.
    ModifyColumnType,
    /// A column that rows have no value for.
    AddNotNullColumn,
    /// Rows without a value are refused.
    SetNotNull,
    /// Rows with an enum's value have to go.
    DropEnumValue,
}

impl Loss {
    /// All of them.
    pub const ALL: [Loss; 6] = [
        Loss::DropTable,
        Loss::DropColumn,
        Loss::ModifyColumnType,
        Loss::AddNotNullColumn,
        Loss::SetNotNull,
        Loss::DropEnumValue,
    ];

    /// Its name in `allow`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Loss::DropTable => "drop_table",
            Loss::DropColumn => "drop_column",
            Loss::ModifyColumnType => "modify_column_type",
            Loss::AddNotNullColumn => "add_not_null_column",
            Loss::SetNotNull => "set_not_null",
            Loss::DropEnumValue => "drop_enum_value",
        }
    }
}

/// A change of the schema between two states, as the answers of a deployment classify it (`schema_validation`).
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Classified {
    /// The table or other object.
    pub table: String,
    /// `CreateTable`, `DropTable`, `AddColumn`, `DropColumn`, `ModifyColumnType`, `ModifyColumnNullable`, …
    pub change_type: String,
    /// The column, where one is concerned.
    pub column: Option<String>,
    /// The type before.
    pub from_type: Option<String>,
    /// The type after.
    pub to_type: Option<String>,
    /// How dangerous it is.
    pub safety: Safety,
    /// What `allow` must name for it.
    pub allow: Option<Loss>,
    /// A pending migration of the bundle makes it, and for its kind that is enough.
    pub by_migration: bool,
    /// Why it is classed so.
    pub reason: String,
    /// The object that it is about.
    pub object: Option<Key>,
}

/// How an object of a database differs from the wanted state.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Deviation {
    /// It is not there.
    Missing,
    /// It is not as it should be.
    Changed,
    /// It is there, and the bundle does not know it.
    Extra,
}

impl Deviation {
    /// As the view `drift` writes it.
    pub fn word(self) -> &'static str {
        match self {
            Deviation::Missing => "missing",
            Deviation::Changed => "changed",
            Deviation::Extra => "extra",
        }
    }
}

/// One difference between a database and the wanted state.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Difference {
    /// The object.
    pub object: Key,
    /// How.
    pub deviation: Deviation,
    /// What exactly: `default: 0 → 1`; empty for missing and extra ones.
    pub detail: String,
}
