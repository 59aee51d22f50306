//! A model out of the answers of [`catalog_queries`](crate::catalog_queries), and its fingerprint.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{Address, Body, Key, Kind, Model, Object};
use crate::catalog_queries;

/// What the fingerprint is made of may change from release to release; then this does too.
const FINGERPRINT: &str = "m1";

/// An entry of attoptions in which late minor releases of the older branches (15.20, for one) keep the version of a column's row
/// format, see ATTRIBUTE_VERSION_ATTOPTION in PostgreSQL's catalog/pg_attribute.h. It is the server's own, differs from database to
/// database, and is no option that anybody set.
const ATTRIBUTE_VERSION: &str = "pg_attver=";

/// Following an address to the object that is meant takes fewer steps than this: pg_depend has no longer chains (function of a
/// multirange, multirange, range, extension).
const STEPS: usize = 8;

/// Why there is no model.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// Not one answer for each query.
    #[error("the catalog is read by {expected} queries, but there are {found} answers")]
    Answers {
        /// How many there should be.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// An answer that is not what the query gives.
    #[error("answer {number} of the catalog cannot be read: {source}")]
    Answer {
        /// Which, from 0.
        number: usize,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// A row of pg_depend: the dependent, what it depends on, and how (deptype).
#[derive(Deserialize)]
struct Edge(u32, u32, i32, u32, u32, i32, char);

impl Edge {
    fn from(&self) -> Address {
        Address { class: self.0, object: self.1, column: self.2 }
    }

    fn to(&self) -> Address {
        Address { class: self.3, object: self.4, column: self.5 }
    }
}

impl Model {
    /// The model that the answers of [`catalog_queries`], in their order, describe.
    ///
    /// # Errors
    /// When they are not that.
    pub fn from_catalog(answers: &[String]) -> Result<Model, ModelError> {
        let expected = catalog_queries().len();
        let Some((edges, objects)) = answers.split_last().filter(|_| answers.len() == expected) else {
            return Err(ModelError::Answers { expected, found: answers.len() });
        };
        let mut all: Vec<Object> = Vec::new();
        for (number, answer) in objects.iter().enumerate() {
            let some: Vec<Object> =
                serde_json::from_str(answer).map_err(|source| ModelError::Answer { number, source })?;
            all.extend(some);
        }
        let edges: Vec<Edge> =
            serde_json::from_str(edges).map_err(|source| ModelError::Answer { number: objects.len(), source })?;
        all.iter_mut().for_each(normalise);
        let mut needs = needs(&all, &edges);
        for (object, needs) in all.iter_mut().zip(&mut needs) {
            object.needs = std::mem::take(needs);
        }
        Ok(Model::from(all))
    }

    /// The keys of all objects.
    pub fn declared(&self) -> BTreeSet<Key> {
        self.keys().cloned().collect()
    }

    /// A text that is the same for two models exactly if [`Object::is_same`] holds for all their objects: a version and 64
    /// hexadecimal digits.
    pub fn fingerprint(&self) -> String {
        let mut digest = Sha256::new();
        for object in self.iter() {
            // Plain data with keys that are text: it can always be written.
            let line = serde_json::to_vec(&(&object.key, &object.body, &object.comment, &object.grants));
            digest.update(line.unwrap_or_default());
            digest.update(b"\n");
        }
        let mut text = format!("{FINGERPRINT}:");
        for byte in digest.finalize() {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        text
    }
}

/// Brings what has no order of its own into one.
fn normalise(object: &mut Object) {
    object.grants.sort_unstable();
    // The same right from two grantors is one; `true` comes last.
    object.grants.dedup_by(|next, kept| {
        let same = next.grantee == kept.grantee && next.privilege == kept.privilege;
        if same {
            kept.grantable |= next.grantable;
        }
        same
    });
    match &mut object.body {
        Body::Table(table) => table.options.sort_unstable(),
        Body::Column(column) => {
            column.options.retain(|option| !option.starts_with(ATTRIBUTE_VERSION));
            column.options.sort_unstable();
        }
        Body::View(view) => view.options.sort_unstable(),
        Body::MaterializedView(view) => view.options.sort_unstable(),
        Body::Policy(policy) => policy.roles.sort_unstable(),
        _ => {}
    }
}

/// What each object needs, in the order of the objects.
fn needs(objects: &[Object], edges: &[Edge]) -> Vec<BTreeSet<Key>> {
    let places = Places::new(objects, edges);
    let keys: HashMap<&Key, usize> = objects.iter().enumerate().map(|(number, object)| (&object.key, number)).collect();
    let mut pairs: BTreeSet<(usize, usize)> = BTreeSet::new();
    for edge in edges {
        if let (Some(from), Some(to)) = (places.find(edge.from()), places.find(edge.to())) {
            pairs.insert((from, to));
        }
    }
    for (number, object) in objects.iter().enumerate() {
        // pg_depend does not say it of columns, and not always of the others.
        for key in owners(object) {
            if let Some(owner) = keys.get(&key) {
                pairs.insert((number, *owner));
            }
        }
    }
    let mut needs = vec![BTreeSet::new(); objects.len()];
    for (from, to) in pairs {
        if let (Some(needs), Some(one), Some(other)) = (needs.get_mut(from), objects.get(from), objects.get(to))
            && from != to
            // What a table says of its own columns (its partition key) is no need: they come with it.
            && !(one.key.kind == Kind::Table && other.key.kind == Kind::Column && other.key.table().as_ref() == Some(&one.key))
        {
            needs.insert(other.key.clone());
        }
    }
    needs
}

/// The objects that one belongs to or descends from, by what it is.
fn owners(object: &Object) -> Vec<Key> {
    let key = &object.key;
    let mut owners: Vec<Key> = Vec::new();
    match &object.body {
        Body::Column(_) | Body::Constraint(_) | Body::Trigger(_) | Body::Rule(_) | Body::Policy(_) => {
            owners.extend([Kind::Table, Kind::View].map(|kind| Key::new(kind, &key.schema, &key.parent)));
        }
        Body::Table(table) => {
            owners.extend(
                table.inherits.iter().chain(table.partition_of.as_ref().map(|partition| &partition.of)).cloned(),
            );
        }
        Body::Index(index) => owners.push(index.on.clone()),
        Body::Statistics(statistics) => owners.push(statistics.on.clone()),
        _ => {}
    }
    owners
}

/// Where the objects are, and which addresses mean another.
struct Places {
    objects: HashMap<Address, usize>,
    /// What an address without column stands for: the row type for its table, a view's rule for the view, a constraint's index for the
    /// constraint, an extension's member for the extension, a default for its column.
    stands_for: HashMap<(u32, u32), Address>,
}

impl Places {
    fn new(objects: &[Object], edges: &[Edge]) -> Places {
        let places = objects.iter().enumerate();
        let mut places = Places {
            objects: places.filter_map(|(number, object)| Some((object.notes.address?, number))).collect(),
            stands_for: HashMap::new(),
        };
        for edge in edges.iter().filter(|edge| matches!(edge.6, 'e' | 'i') && edge.2 == 0) {
            places.stands_for.entry((edge.0, edge.1)).or_insert(edge.to());
        }
        places
    }

    /// The object that an address means.
    fn find(&self, address: Address) -> Option<usize> {
        let mut address = address;
        for _ in 0..STEPS {
            let whole = Address { column: 0, ..address };
            if let Some(number) = self.objects.get(&address).or_else(|| self.objects.get(&whole)) {
                return Some(*number);
            }
            address = *self.stands_for.get(&(address.class, address.object))?;
        }
        None
    }
}
