//! What building a bundle from nothing has shown: all that a deployment needs to know of it.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use stonescriptdb_protocol::{ExtensionSpec, Failure, Summary};
use stonescriptdb_schema::{Class, Key, Kind, Model, ObjectName, Rename};

/// A bundle, proved.
#[derive(Serialize, Deserialize)]
pub(super) struct Proof {
    /// The catalog that it leads to.
    pub(super) model: Model,
    /// The catalogs before each of the migrations outside the transaction with which the bundle ends. Those that have one with a transaction
    /// behind them run before the transaction, and count as done.
    pub(super) before_untransacted: Vec<Model>,
    /// Extensions, each with its file.
    pub(super) extensions: Vec<(String, ExtensionSpec)>,
    pub(super) migrations: Vec<Migration>,
    /// What the tracking tables say of routines, tables and types.
    pub(super) tracked: Vec<Tracked>,
    /// Statements that make objects which are known by name only.
    pub(super) others: Vec<Statement>,
    /// Where objects are defined.
    pub(super) places: Vec<(Key, Place)>,
    /// From `-- @renamed from=…`.
    pub(super) renames: Vec<Rename>,
}

/// A migration file.
#[derive(Serialize, Deserialize, Clone)]
pub(super) struct Migration {
    pub(super) file_name: String,
    pub(super) path: String,
    /// SHA-256 of the bytes, in hex.
    pub(super) checksum: String,
    pub(super) transactional: bool,
}

/// An object that a tracking table has a row for.
#[derive(Serialize, Deserialize, Clone)]
pub(super) struct Tracked {
    pub(super) key: Key,
    /// Over the file's tokens.
    pub(super) checksum: String,
    pub(super) path: String,
}

/// A statement of the bundle.
#[derive(Serialize, Deserialize)]
pub(super) struct Statement {
    pub(super) sql: String,
    /// What it is about, for people.
    pub(super) object: String,
    pub(super) place: Place,
}

/// A place in the bundle.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub(super) struct Place {
    pub(super) path: String,
    /// From 1.
    pub(super) line: u32,
}

impl Proof {
    /// Reads what [`Proof::to_json`] wrote.
    ///
    /// # Errors
    /// An internal one: it was written by this build or one before it.
    pub(super) fn from_json(text: &str) -> Result<Proof, Failure> {
        serde_json::from_str(text).map_err(|error| Failure::internal(format!("a proof does not read: {error}")))
    }

    pub(super) fn to_json(&self) -> Result<String, Failure> {
        serde_json::to_string(self).map_err(|error| Failure::internal(error.to_string()))
    }

    /// The catalog that the deployment's transaction leads to, when so many of the migrations outside it have run.
    pub(super) fn within(&self, untransacted_done: usize) -> &Model {
        self.before_untransacted.get(untransacted_done).unwrap_or(&self.model)
    }

    pub(super) fn summary(&self) -> Summary {
        let count = |kind: Kind| self.model.of_kind(kind).count() as u32;
        Summary {
            extensions: self.extensions.len() as u32,
            types: count(Kind::Enum) + count(Kind::Composite) + count(Kind::Domain) + count(Kind::Range),
            tables: count(Kind::Table),
            functions: count(Kind::Routine),
            migrations: self.migrations.len() as u32,
        }
    }
}

/// Finds where an object is defined, or the table that it belongs to.
pub(super) struct Places<'p>(HashMap<&'p Key, &'p Place>);

impl<'p> Places<'p> {
    pub(super) fn of(proof: &'p Proof) -> Places<'p> {
        Places::at(&proof.places)
    }

    pub(super) fn at(places: &'p [(Key, Place)]) -> Places<'p> {
        Places(places.iter().map(|(key, place)| (key, place)).collect())
    }

    pub(super) fn find(&self, key: &Key) -> Option<&'p Place> {
        self.0.get(key).copied().or_else(|| self.0.get(&key.table()?).copied())
    }
}

/// The keys that a name of a statement may mean.
pub(super) fn keys_of(name: &ObjectName) -> Vec<Key> {
    let kinds: &[Kind] = match name.class {
        Class::Schema => return vec![Key::new(Kind::Schema, "", &name.name)],
        Class::Relation => &[Kind::Table, Kind::View, Kind::MaterializedView, Kind::Sequence, Kind::Index],
        Class::Type => &[Kind::Enum, Kind::Composite, Kind::Domain, Kind::Range],
        // Told apart by their arguments, which a name does not have.
        Class::Function => &[],
    };
    kinds.iter().map(|kind| Key::new(*kind, &name.schema, &name.name)).collect()
}
