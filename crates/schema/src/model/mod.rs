//! A database's catalog as plain data: what the objects of its schemas are, in PostgreSQL's own words.
//!
//! Every definition is what the server says of the object with an empty search path, so that two databases that are alike have equal
//! models, however their SQL was spelt. Left out are the system's own schemas, temporary objects, members of extensions, and this
//! project's tracking tables.

mod body;
mod key;
mod read;
mod spelling;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

pub use body::{
    Aggregated, Attribute, Body, Column, Constraint, ConstraintType, DefaultPrivileges, Domain, DomainCheck, Enum,
    Extension, Generated, Identity, Index, InheritedTrigger, MaterializedColumn, MaterializedView, Partition, Policy,
    Range, Routine, RoutineKind, RowSecurity, Sequence, Statistics, Switch, Table, View, ViewColumn,
};
pub use key::{Key, Kind};
pub use read::{ModelError, routine_definition};

/// A right on an object, as `aclexplode` gives it. The grantor is left out.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Grant {
    /// The role; empty for PUBLIC.
    pub grantee: String,
    /// `SELECT`, `EXECUTE`, …
    pub privilege: String,
    /// WITH GRANT OPTION.
    pub grantable: bool,
}

/// Where the catalog keeps an object: the identity that outlives a rename.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Address {
    /// OID of the system catalog.
    pub class: u32,
    /// OID in it.
    pub object: u32,
    /// Number of the column; 0 is the object itself.
    pub column: i32,
}

/// What is known of an object beside what it is. Never compared: it differs from database to database.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Notes {
    /// Where it is.
    pub address: Option<Address>,
    /// A column's place in its table (attnum), a label's among the labels.
    pub position: i32,
    /// Bytes of a table's main fork; 0 is an empty table. In models of tenants only.
    pub bytes: u64,
    /// A column's default is volatile: adding it to a table that has rows rewrites the table.
    pub volatile: bool,
}

/// An object of the catalog.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Object {
    /// What it is known by.
    pub key: Key,
    /// What it is.
    pub body: Body,
    /// COMMENT ON.
    #[serde(default)]
    pub comment: Option<String>,
    /// Who may do what, defaults written out, sorted. Empty for kinds without rights.
    #[serde(default)]
    pub grants: Vec<Grant>,
    /// The objects that it depends on, as pg_depend says (automatic and internal dependencies too).
    #[serde(default)]
    pub needs: BTreeSet<Key>,
    /// Not compared.
    #[serde(default)]
    pub notes: Notes,
}

impl Object {
    /// Equal in everything that two databases can have in common.
    pub fn is_same(&self, other: &Object) -> bool {
        self.body == other.body && self.comment == other.comment && self.grants == other.grants
    }
}

/// A catalog.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(from = "Vec<Object>", into = "Vec<Object>")]
pub struct Model {
    objects: BTreeMap<Key, Object>,
}

impl From<Vec<Object>> for Model {
    fn from(objects: Vec<Object>) -> Model {
        Model { objects: objects.into_iter().map(|object| (object.key.clone(), object)).collect() }
    }
}

impl From<Model> for Vec<Object> {
    fn from(model: Model) -> Vec<Object> {
        model.objects.into_values().collect()
    }
}

impl Model {
    /// One object.
    pub fn get(&self, key: &Key) -> Option<&Object> {
        self.objects.get(key)
    }

    /// Whether it is there.
    pub fn has(&self, key: &Key) -> bool {
        self.objects.contains_key(key)
    }

    /// All objects, by key.
    pub fn iter(&self) -> impl Iterator<Item = &Object> {
        self.objects.values()
    }

    /// All keys.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.objects.keys()
    }

    /// The objects of one kind.
    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &Object> {
        self.objects.values().filter(move |object| object.key.kind == kind)
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// No object at all.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// The object at an address.
    pub fn at(&self, address: Address) -> Option<&Object> {
        self.objects.values().find(|object| object.notes.address == Some(address))
    }
}
