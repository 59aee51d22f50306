//! A model out of the answers of [`catalog_queries`](crate::catalog_queries), and its fingerprint.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::fmt::Write;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::spelling::settled;
use super::{Address, Body, Key, Kind, MaterializedColumn, Model, Object};
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

/// What a model keeps of a routine's `pg_get_functiondef`.
pub fn routine_definition(text: String) -> String {
    match settled(&text) {
        Cow::Owned(settled) => settled,
        Cow::Borrowed(_) => text,
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
    if let Some(default) = default_of(&mut object.body)
        && default == "CURRENT_TIMESTAMP"
    {
        // Two trees to the server, one value to everybody.
        *default = "now()".to_owned();
    }
    for text in texts_of(&mut object.body) {
        if let Cow::Owned(settled) = settled(text) {
            *text = settled;
        }
    }
    match &mut object.body {
        Body::Table(table) => table.options.sort_unstable(),
        Body::Column(column) => {
            column.options.retain(|option| !option.starts_with(ATTRIBUTE_VERSION));
            column.options.sort_unstable();
        }
        Body::View(view) => view.options.sort_unstable(),
        Body::MaterializedView(view) => {
            view.options.sort_unstable();
            for column in &mut view.columns {
                column.options.retain(|option| !option.starts_with(ATTRIBUTE_VERSION));
                column.options.sort_unstable();
            }
            view.columns.retain(MaterializedColumn::is_set);
        }
        Body::Policy(policy) => policy.roles.sort_unstable(),
        _ => {}
    }
}

/// Whatever holds expressions.
fn texts_of(body: &mut Body) -> Vec<&mut String> {
    match body {
        Body::Domain(domain) => {
            domain.checks.iter_mut().map(|check| &mut check.definition).chain(domain.default.as_mut()).collect()
        }
        Body::Table(table) => {
            let bound = table.partition_of.as_mut().map(|partition| &mut partition.bound);
            table.partition_key.as_mut().into_iter().chain(bound).collect()
        }
        Body::Column(column) => column.default.as_mut().into_iter().collect(),
        Body::Routine(routine) => vec![&mut routine.definition],
        Body::View(view) => {
            let defaults = view.columns.iter_mut().filter_map(|column| column.default.as_mut());
            std::iter::once(&mut view.definition).chain(defaults).collect()
        }
        Body::MaterializedView(view) => vec![&mut view.definition],
        Body::Constraint(constraint) => vec![&mut constraint.definition],
        Body::Index(index) => vec![&mut index.definition],
        Body::Statistics(statistics) => vec![&mut statistics.definition],
        Body::Trigger(switch) | Body::Rule(switch) => vec![&mut switch.definition],
        Body::Policy(policy) => policy.using.as_mut().into_iter().chain(policy.check.as_mut()).collect(),
        _ => Vec::new(),
    }
}

fn default_of(body: &mut Body) -> Option<&mut String> {
    match body {
        Body::Column(column) => column.default.as_mut(),
        Body::Domain(domain) => domain.default.as_mut(),
        _ => None,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Body;

    /// Answers with these objects, in the form of the queries, and these edges.
    fn answers(objects: &[&str], edges: &str) -> Vec<String> {
        let mut answers = vec!["[]".to_owned(); catalog_queries().len() - 2];
        answers.push(format!("[{}]", objects.join(",")));
        answers.push(edges.to_owned());
        answers
    }

    fn model(objects: &[&str], edges: &str) -> Model {
        Model::from_catalog(&answers(objects, edges)).unwrap()
    }

    fn table(name: &str, oid: u32) -> String {
        format!(
            r#"{{"key":["table","public","","{name}",""],"body":{{"table":{{"unlogged":false,"partition_key":null,
            "partition_of":null,"inherits":[],"of_type":null,"options":["b=1","a=2"],"access_method":null,
            "replica_identity":"default","row_security":{{"enabled":false,"forced":false}}}}}},"comment":null,
            "grants":[["x","SELECT",false],["","SELECT",false],["x","SELECT",true]],"notes":[[1259,{oid},0],0,8192,false]}}"#
        )
    }

    fn column(table: &str, name: &str, oid: u32, number: i32, default: &str) -> String {
        format!(
            r#"{{"key":["column","public","{table}","{name}",""],"body":{{"column":{{"data_type":"text","collation":null,
            "not_null":true,"default":"{default}","generated":null,"identity":null,"storage":null,"compression":null,
            "statistics":null,"options":["pg_attver=77","n_distinct=5"],"is_local":true}}}},"comment":"c","grants":[],
            "notes":[[1259,{oid},{number}],{number},0,true]}}"#
        )
    }

    fn extension(oid: u32) -> String {
        format!(
            r#"{{"key":["extension","","","e",""],"body":{{"extension":{{"schema":"public"}}}},"comment":null,"grants":[],
            "notes":[[3079,{oid},0],0,0,false]}}"#
        )
    }

    fn needs(model: &Model, key: &Key) -> Vec<String> {
        model.get(key).unwrap().needs.iter().map(Key::to_string).collect()
    }

    #[test]
    fn what_has_no_order_gets_one() {
        let model = model(&[&table("t", 1), &column("t", "a", 1, 3, "CURRENT_TIMESTAMP")], "[]");
        let table = model.get(&Key::new(Kind::Table, "public", "t")).unwrap();
        let grants: Vec<_> = table.grants.iter().map(|g| (&*g.grantee, g.grantable)).collect();
        assert_eq!(grants, [("", false), ("x", true)]);
        assert_eq!(table.notes.bytes, 8192);
        let Body::Table(body) = &table.body else { panic!("{table:?}") };
        assert_eq!(body.options, ["a=2", "b=1"]);

        let column = model.get(&Key::part(Kind::Column, "public", "t", "a")).unwrap();
        let Body::Column(body) = &column.body else { panic!("{column:?}") };
        assert_eq!(body.options, ["n_distinct=5"], "the version of the row format is not an option");
        assert_eq!(body.default.as_deref(), Some("now()"));
        assert_eq!((column.notes.position, column.notes.volatile), (3, true));
        assert_eq!(model.at(Address { class: 1259, object: 1, column: 3 }), Some(column));
    }

    #[test]
    fn needs_are_followed_to_the_objects_that_are_meant() {
        let objects = [table("t", 1), column("t", "a", 1, 1, "x"), table("u", 2), extension(9)];
        let objects: Vec<&str> = objects.iter().map(String::as_str).collect();
        // A default (5) of t.a that needs the array (7) of the row type (6) of u, and a function (8) of the extension.
        let edges = r#"[[2604,5,0,1259,1,1,"i"],[2604,5,0,1247,7,0,"n"],[1247,7,0,1247,6,0,"i"],[1247,6,0,1259,2,0,"i"],
            [2604,5,0,1255,8,0,"n"],[1255,8,0,3079,9,0,"e"],[1259,1,0,1259,1,1,"n"],[1259,2,0,1255,404,0,"n"],
            [1,1,0,1,2,0,"i"],[1,2,0,1,1,0,"i"],[1259,2,0,1,1,0,"n"]]"#;
        let model = model(&objects, edges);
        assert_eq!(needs(&model, &Key::part(Kind::Column, "public", "t", "a")), ["extension e", "table t", "table u"]);
        assert_eq!(needs(&model, &Key::new(Kind::Table, "public", "t")), [""; 0]);
        assert_eq!(needs(&model, &Key::new(Kind::Table, "public", "u")), [""; 0]);
    }

    #[test]
    fn a_fingerprint_is_of_what_is_compared_and_nothing_else() {
        let one = model(&[&table("t", 1), &column("t", "a", 1, 1, "x")], "[]");
        let same = model(&[&column("t", "a", 7, 2, "x"), &table("t", 7)], r#"[[1259,7,2,1259,7,0,"n"]]"#);
        assert_eq!(one.fingerprint(), same.fingerprint());
        assert_eq!(one.declared(), same.declared());
        let text = one.fingerprint();
        assert!(text.starts_with("m1:") && text.len() == 67, "{text}");
        let others = [
            model(&[&table("t", 1), &column("t", "a", 1, 1, "y")], "[]"),
            model(&[&table("t", 1), &column("t", "b", 1, 1, "x")], "[]"),
            model(&[&table("t", 1), &column("t", "a", 1, 1, "x").replace(r#""c""#, "null")], "[]"),
            model(&[&table("t", 1).replace("SELECT", "INSERT"), &column("t", "a", 1, 1, "x")], "[]"),
            model(&[&table("t", 1)], "[]"),
        ];
        others.iter().for_each(|other| assert_ne!(one.fingerprint(), other.fingerprint()));
    }

    #[test]
    fn what_is_not_an_answer_is_refused() {
        let mut few = answers(&[], "[]");
        few.pop();
        assert!(matches!(Model::from_catalog(&few), Err(ModelError::Answers { found, .. }) if found == few.len()));
        assert!(matches!(Model::from_catalog(&[]), Err(ModelError::Answers { found: 0, .. })));
        let broken = Model::from_catalog(&answers(&["{}"], "[]")).unwrap_err();
        assert!(matches!(broken, ModelError::Answer { number: 10, .. }), "{broken}");
        let broken = Model::from_catalog(&answers(&[], "[[1]]")).unwrap_err();
        assert!(broken.to_string().contains("answer 11 of the catalog"), "{broken}");
        assert!(Model::from_catalog(&answers(&[], "[]")).unwrap().is_empty());
    }
}
