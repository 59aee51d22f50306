//! The tenants of a schema, in as little memory as they can be found in: there may be many thousands, and few of them are called.
//!
//! A tenant is 40 bytes here, its target, which the pool knows it by, and the names of the database and of the tenant. What has not changed
//! since the registry was read last is shared with what was read then, so that for the moment in which there are two it is these 40 bytes
//! once more.

use std::sync::Arc;

use stonescriptdb_pool::Target;

/// One database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    /// The database and the call role.
    pub target: Arc<Target>,
    /// As it was registered, where that is not its key.
    written: Option<Arc<str>>,
    rare: Option<Arc<Rare>>,
    /// Where in the database's name the tenant's key begins, which it ends with if nobody has renamed or adopted it.
    key_at: Option<u8>,
    /// Deployments made it, and it can be called.
    pub ready: bool,
}

/// What few tenants have.
#[derive(Debug, PartialEq, Eq)]
struct Rare {
    /// What the tenant sanitises to, where the database's name does not say it.
    key: Option<Box<str>>,
    /// Why calls of it are refused.
    suspended: Option<Box<str>>,
}

impl Tenant {
    /// A tenant of `key`, which is what it sanitises to; `written` is as it was registered where that is another text.
    pub fn new(
        target: Arc<Target>,
        key: String,
        written: Option<Arc<str>>,
        suspended: Option<Box<str>>,
        ready: bool,
    ) -> Tenant {
        let key_at = target.database.strip_suffix(&*key).and_then(|before| u8::try_from(before.len()).ok());
        let key = if key_at.is_some() { None } else { Some(key.into()) };
        let rare = (key.is_some() || suspended.is_some()).then(|| Arc::new(Rare { key, suspended }));
        Tenant { target, written, rare, key_at, ready }
    }

    /// What it sanitises to.
    pub fn key(&self) -> &str {
        match self.key_at {
            Some(at) => self.target.database.get(usize::from(at)..).unwrap_or_default(),
            None => self.rare.as_ref().and_then(|rare| rare.key.as_deref()).unwrap_or_default(),
        }
    }

    /// As it was registered.
    pub fn written(&self) -> &str {
        self.written.as_deref().unwrap_or_else(|| self.key())
    }

    /// Why calls of it are refused.
    pub fn suspended(&self) -> Option<&str> {
        self.rare.as_ref()?.suspended.as_deref()
    }

    /// This one, or the one that was known before if that says the same.
    pub fn shared_with(self, before: &Tenant) -> Tenant {
        if *before == self {
            return before.clone();
        }
        let target = if before.target == self.target { before.target.clone() } else { self.target };
        Tenant { target, ..self }
    }
}

/// Tenants by their keys.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tenants(
    /// In the order of their keys once all are entered.
    Vec<Tenant>,
);

impl Tenants {
    /// With room for as many as there were before: while a list grows by itself it is there twice, and half empty then.
    pub fn with_room_for(tenants: usize) -> Tenants {
        Tenants(Vec::with_capacity(tenants))
    }

    /// How many have been entered.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// None has been entered.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Enters one; it is found after [`Tenants::order`].
    pub fn enter(&mut self, tenant: Tenant) {
        self.0.push(tenant);
    }

    /// To be called when all are entered.
    pub fn order(&mut self) {
        self.0.sort_unstable_by(|a, b| a.key().cmp(b.key()));
        self.0.dedup_by(|a, b| a.key() == b.key());
        self.0.shrink_to_fit();
    }

    /// The one with this key.
    pub fn get(&self, key: &str) -> Option<&Tenant> {
        let place = self.0.binary_search_by(|tenant| tenant.key().cmp(key)).ok()?;
        self.0.get(place)
    }

    /// All of them.
    pub fn iter(&self) -> std::slice::Iter<'_, Tenant> {
        self.0.iter()
    }
}

/// The OIDs of databases.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Oids(
    /// In their order.
    Vec<u32>,
);

impl Oids {
    /// Whether this is one of them.
    pub fn contains(&self, oid: u32) -> bool {
        self.0.binary_search(&oid).is_ok()
    }
}

impl FromIterator<u32> for Oids {
    fn from_iter<I: IntoIterator<Item = u32>>(oids: I) -> Oids {
        let mut oids: Vec<u32> = oids.into_iter().collect();
        oids.sort_unstable();
        oids.shrink_to_fit();
        Oids(oids)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(database: &str, key: &str, written: Option<&str>, suspended: Option<&str>) -> Tenant {
        let target = Target { database: database.into(), role: Some("call".into()), calls: true };
        Tenant::new(Arc::new(target), key.to_owned(), written.map(Into::into), suspended.map(Into::into), true)
    }

    #[test]
    fn a_key_is_found_in_the_name_of_the_database_or_beside_it() {
        let plain = tenant("shop_acme", "acme", None, None);
        assert_eq!((plain.key(), plain.written(), plain.suspended()), ("acme", "acme", None));
        assert!(plain.rare.is_none(), "nothing is kept for it");
        let adopted = tenant("legacy", "acme", Some("Acme"), Some("unpaid"));
        assert_eq!((adopted.key(), adopted.written(), adopted.suspended()), ("acme", "Acme", Some("unpaid")));
    }

    #[test]
    fn tenants_are_found_by_their_keys_in_whatever_order_they_came() {
        let mut tenants = Tenants::with_room_for(2);
        for (database, key) in [("shop_b", "b"), ("x", "c"), ("shop_a", "a"), ("shop_aa", "aa")] {
            tenants.enter(tenant(database, key, None, None));
        }
        tenants.order();
        assert_eq!(tenants.iter().map(Tenant::key).collect::<Vec<_>>(), ["a", "aa", "b", "c"]);
        let found = |key: &str| tenants.get(key).map(|tenant| tenant.target.database.to_string());
        assert_eq!((found("aa"), found("c"), found("d")), (Some("shop_aa".to_owned()), Some("x".to_owned()), None));
    }

    #[test]
    fn what_has_not_changed_is_shared() {
        let before = tenant("shop_a", "a", Some("A"), None);
        let same = tenant("shop_a", "a", Some("A"), None).shared_with(&before);
        assert!(Arc::ptr_eq(&same.target, &before.target));
        assert_eq!(same.written.as_ref().map(Arc::as_ptr), before.written.as_ref().map(Arc::as_ptr));
        let suspended = tenant("shop_a", "a", Some("A"), Some("why")).shared_with(&before);
        assert!(Arc::ptr_eq(&suspended.target, &before.target));
        assert_eq!(suspended.suspended(), Some("why"));
        let moved = tenant("shop_b", "b", None, None).shared_with(&before);
        assert_eq!(&*moved.target.database, "shop_b");
    }

    #[test]
    fn oids_are_found() {
        let oids: Oids = [7, 3, 5].into_iter().collect();
        assert!(oids.contains(3) && oids.contains(7) && !oids.contains(4));
    }
}
