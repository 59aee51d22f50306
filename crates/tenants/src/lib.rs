//! The tenants of a schema, in as little memory as they can be found in: there may be many thousands, and few of them are called.
//!
//! All of them together are two pieces of memory, one of their names and one of 40 bytes for each tenant. A tenant that is called gets its
//! target, which the pool knows it by, at the first call. So what lasts does not come to lie one by one between what is needed for a moment
//! only: there it kept whole pages, which took more memory than the tenants themselves.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod oids;

use std::ops::Range;
use std::sync::{Arc, OnceLock};

pub use oids::Oids;
use stonescriptdb_pool::Target;

/// What is known of a database when it is entered.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'e> {
    /// Its name.
    pub database: &'e str,
    /// What the tenant sanitises to.
    pub key: &'e str,
    /// As it was registered, where that is not its key.
    pub written: Option<&'e str>,
    /// Why calls of it are refused.
    pub suspended: Option<&'e str>,
    /// Deployments made it, and it can be called.
    pub ready: bool,
}

/// Tenants by their keys, whose calls are made by one role.
#[derive(Debug, Default)]
pub struct Tenants {
    role: Arc<str>,
    /// The names of each, one after the other, in the order in which they were entered.
    names: String,
    /// In the order of their keys once all are entered.
    rows: Vec<Row>,
}

/// One tenant. Its names lie one after the other: of the database, as it was written, the key, the reason.
#[derive(Debug)]
struct Row {
    start: u32,
    /// Ends of its four names. None of them is empty but the reason.
    ends: [u32; 4],
    /// Where in the database's name the key begins, which it ends with if nobody has renamed or adopted it.
    key_at: Option<u8>,
    suspended: bool,
    ready: bool,
    /// Made when it is called first.
    target: OnceLock<Arc<Target>>,
}

/// The places of a row's names in their order.
#[derive(Clone, Copy)]
enum Name {
    Database,
    Written,
    Key,
    Reason,
}

impl Row {
    fn name<'n>(&self, names: &'n str, name: Name) -> &'n str {
        let [database, written, key, reason] = self.ends;
        let (start, end) = match name {
            Name::Database => (self.start, database),
            Name::Written => (database, written),
            Name::Key => (written, key),
            Name::Reason => (key, reason),
        };
        names.get(place(start)..place(end)).unwrap_or_default()
    }

    fn key<'n>(&self, names: &'n str) -> &'n str {
        match self.key_at {
            Some(at) => self.name(names, Name::Database).get(usize::from(at)..).unwrap_or_default(),
            None => self.name(names, Name::Key),
        }
    }
}

fn place(at: u32) -> usize {
    usize::try_from(at).unwrap_or(usize::MAX)
}

impl Tenants {
    /// None yet, with calls by `role`, and with room for as many as there were `before`: while a list grows by itself it is there twice, and
    /// half empty then.
    pub fn of(role: Arc<str>, before: Option<&Tenants>) -> Tenants {
        let (names, rows) = before.map_or((0, 0), |before| (before.names.len(), before.rows.len()));
        Tenants { role, names: String::with_capacity(names), rows: Vec::with_capacity(rows) }
    }

    /// How many have been entered.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// None has been entered.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Enters one; it is found after [`Tenants::order`].
    pub fn enter(&mut self, entry: Entry<'_>) {
        let key_at = entry.database.strip_suffix(entry.key).and_then(|before| u8::try_from(before.len()).ok());
        let key = if key_at.is_some() { "" } else { entry.key };
        let start = self.end();
        let names = [entry.database, entry.written.unwrap_or_default(), key, entry.suspended.unwrap_or_default()];
        let ends = names.map(|name| {
            self.names.push_str(name);
            self.end()
        });
        let (suspended, ready) = (entry.suspended.is_some(), entry.ready);
        self.rows.push(Row { start, ends, key_at, suspended, ready, target: OnceLock::new() });
    }

    /// Where the next name begins. Beyond 4 GB of names nothing is found.
    fn end(&self) -> u32 {
        u32::try_from(self.names.len()).unwrap_or(u32::MAX)
    }

    /// To be called when all are entered; the targets that were known `before` are shared.
    pub fn order(&mut self, before: Option<&Tenants>) {
        let names = &self.names;
        self.rows.sort_unstable_by(|a, b| a.key(names).cmp(b.key(names)));
        self.rows.dedup_by(|a, b| a.key(names) == b.key(names));
        self.rows.shrink_to_fit();
        self.names.shrink_to_fit();
        for known in before.into_iter().flat_map(Tenants::iter) {
            let Some(target) = known.row.target.get() else { continue };
            if let Some(now) = self.get(known.key())
                && *target.database == *now.database()
                && known.of.role == self.role
            {
                // It has none yet.
                let _ = now.row.target.set(target.clone());
            }
        }
    }

    /// The one with this key.
    pub fn get(&self, key: &str) -> Option<Tenant<'_>> {
        let place = self.rows.binary_search_by(|row| row.key(&self.names).cmp(key)).ok()?;
        Some(Tenant { of: self, row: self.rows.get(place)? })
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = Tenant<'_>> {
        self.rows.iter().map(|row| Tenant { of: self, row })
    }
}

/// They say the same; which of them have been called does not count.
impl PartialEq for Tenants {
    fn eq(&self, other: &Tenants) -> bool {
        self.role == other.role && self.len() == other.len() && self.iter().zip(other.iter()).all(|(a, b)| a.says(b))
    }
}

impl Eq for Tenants {}

/// One database.
#[derive(Clone, Copy, Debug)]
pub struct Tenant<'t> {
    of: &'t Tenants,
    row: &'t Row,
}

impl<'t> Tenant<'t> {
    /// Its name.
    pub fn database(self) -> &'t str {
        self.row.name(&self.of.names, Name::Database)
    }

    /// What it sanitises to.
    pub fn key(self) -> &'t str {
        self.row.key(&self.of.names)
    }

    /// As it was registered.
    pub fn written(self) -> &'t str {
        match self.row.name(&self.of.names, Name::Written) {
            "" => self.key(),
            written => written,
        }
    }

    /// Why calls of it are refused.
    pub fn suspended(self) -> Option<&'t str> {
        self.row.suspended.then(|| self.row.name(&self.of.names, Name::Reason))
    }

    /// Deployments made it, and it can be called.
    pub fn ready(self) -> bool {
        self.row.ready
    }

    /// The database and the call role.
    pub fn target(self) -> &'t Arc<Target> {
        self.row.target.get_or_init(|| {
            Arc::new(Target { database: self.database().into(), role: Some(self.of.role.clone()), calls: true })
        })
    }

    fn says(self, other: Tenant<'_>) -> bool {
        let all = |one: Tenant<'_>| (one.row.key_at, one.row.suspended, one.row.ready);
        let names = |one: Tenant<'t>| one.of.names.get(one.names());
        all(self) == all(other) && self.lengths() == other.lengths() && names(self) == other.of.names.get(other.names())
    }

    fn names(self) -> Range<usize> {
        let [.., end] = self.row.ends;
        place(self.row.start)..place(end)
    }

    fn lengths(self) -> [u32; 4] {
        self.row.ends.map(|end| end.saturating_sub(self.row.start))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry<'e>(database: &'e str, key: &'e str) -> Entry<'e> {
        Entry { database, key, written: None, suspended: None, ready: true }
    }

    fn tenants(role: &str, before: Option<&Tenants>, entries: &[Entry<'_>]) -> Tenants {
        let mut tenants = Tenants::of(role.into(), before);
        entries.iter().for_each(|entry| tenants.enter(*entry));
        tenants.order(before);
        tenants
    }

    #[test]
    fn a_key_is_found_in_the_name_of_the_database_or_beside_it() {
        let adopted =
            Entry { written: Some("Çà"), suspended: Some("unpaid"), ready: false, ..entry("legacy", "a_a") };
        let quiet = Entry { suspended: Some(""), ..entry("shop_b", "b") };
        let all = tenants("call", None, &[entry("shop_acme", "acme"), adopted, quiet]);
        let said = |key: &str| {
            let one = all.get(key).unwrap();
            (one.database(), one.key(), one.written(), one.suspended(), one.ready())
        };
        assert_eq!(said("acme"), ("shop_acme", "acme", "acme", None, true));
        assert_eq!(said("a_a"), ("legacy", "a_a", "Çà", Some("unpaid"), false));
        assert_eq!(said("b"), ("shop_b", "b", "b", Some(""), true));
        assert_eq!(all.names.matches("acme").count(), 1, "its key takes no room of its own");
    }

    #[test]
    fn tenants_are_found_by_their_keys_in_whatever_order_they_came() {
        let all = tenants(
            "call",
            None,
            &[entry("shop_b", "b"), entry("x", "c"), entry("shop_a", "a"), entry("shop_aa", "aa")],
        );
        assert_eq!(all.iter().map(Tenant::key).collect::<Vec<_>>(), ["a", "aa", "b", "c"]);
        let found = |key: &str| all.get(key).map(Tenant::database);
        assert_eq!((found("aa"), found("c"), found("d")), (Some("shop_aa"), Some("x"), None));
    }

    #[test]
    fn a_target_is_made_once_and_shared_with_who_says_the_same() {
        let before = tenants("call", None, &[entry("shop_a", "a"), entry("shop_b", "b"), entry("shop_c", "c")]);
        let target = |of: &Tenants, key: &str| of.get(key).unwrap().target().clone();
        let [a, b] = ["a", "b"].map(|key| target(&before, key));
        assert_eq!((&*a.database, a.role.as_deref(), a.calls), ("shop_a", Some("call"), true));
        assert!(Arc::ptr_eq(&a, &target(&before, "a")));

        let suspended = Entry { suspended: Some("why"), ..entry("shop_a", "a") };
        let after = tenants("call", Some(&before), &[suspended, entry("other", "b"), entry("shop_c", "c")]);
        assert!(Arc::ptr_eq(&a, &target(&after, "a")));
        assert!(after.get("c").unwrap().row.target.get().is_none(), "nobody has called it");
        assert_eq!((&*target(&after, "b").database, &*b.database), ("other", "shop_b"));
        let of_other = tenants("other", Some(&before), &[entry("shop_a", "a")]);
        assert_eq!(target(&of_other, "a").role.as_deref(), Some("other"));
    }

    #[test]
    fn lists_are_equal_that_say_the_same() {
        let plain = [entry("shop_a", "a"), entry("shop_b", "b")];
        let first = tenants("call", None, &plain);
        first.get("a").unwrap().target();
        let [a, b] = plain;
        assert_eq!(first, tenants("call", None, &[b, a]), "in another order, and never called");
        let others = [
            tenants("other", None, &plain),
            tenants("call", None, &[a]),
            tenants("call", None, &[a, Entry { ready: false, ..b }]),
            tenants("call", None, &[a, Entry { suspended: Some(""), ..b }]),
            tenants("call", None, &[a, Entry { written: Some("B"), ..b }]),
            tenants("call", None, &[a, Entry { database: "shop2b", ..b }]),
            // The same letters in other places.
            tenants("call", None, &[a, Entry { written: Some("b"), ..entry("shop_", "b") }]),
        ];
        for other in others {
            assert_ne!(first, other);
        }
    }

    #[test]
    fn a_tenant_takes_40_bytes_beside_its_names() {
        assert_eq!(size_of::<Row>(), 40);
    }
}
