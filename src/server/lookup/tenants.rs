//! The tenants of a schema, in as little memory as they can be found in: there may be many thousands, and few of them are called.
//!
//! A tenant is 24 bytes here, and its target, which the pool knows it by, with the database's name. What most have not, a name that is no
//! database's and a reason why they are suspended, is kept apart. What has not changed since the registry was read last is shared with what
//! was read then, so that for the moment in which there are two it is these 24 bytes once more.

use std::sync::Arc;

use crate::server::pool::Target;

/// One database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tenant {
    /// The database and the call role.
    pub(in crate::server) target: Arc<Target>,
    /// Deployments made it, and it can be called.
    pub(in crate::server) ready: bool,
    /// Where in the database's name the tenant's key begins, which it ends with if nobody has renamed or adopted it.
    key_at: Option<u8>,
    more: Option<Arc<More>>,
}

/// What few tenants have.
#[derive(Debug, PartialEq, Eq)]
struct More {
    /// What the tenant sanitises to, where the database's name does not say it.
    key: Box<str>,
    /// As it was registered, where that is not its key.
    written: Option<Box<str>>,
    /// Why calls of it are refused.
    suspended: Option<Box<str>>,
}

impl Tenant {
    pub(in crate::server) fn new(
        target: Arc<Target>,
        key: Box<str>,
        written: Option<Box<str>>,
        suspended: Option<Box<str>>,
        ready: bool,
    ) -> Tenant {
        let at = target.database.strip_suffix(&*key).and_then(|before| u8::try_from(before.len()).ok());
        let key = if at.is_some() { Box::default() } else { key };
        let has_more = at.is_none() || written.is_some() || suspended.is_some();
        let more = has_more.then(|| Arc::new(More { key, written, suspended }));
        Tenant { target, ready, key_at: at, more }
    }

    /// What it sanitises to.
    pub(in crate::server) fn key(&self) -> &str {
        match self.key_at {
            Some(at) => self.target.database.get(usize::from(at)..).unwrap_or_default(),
            None => self.more.as_ref().map_or("", |more| &*more.key),
        }
    }

    /// As it was registered.
    pub(in crate::server) fn written(&self) -> &str {
        self.more.as_ref().and_then(|more| more.written.as_deref()).unwrap_or_else(|| self.key())
    }

    /// Why calls of it are refused.
    pub(in crate::server) fn suspended(&self) -> Option<&str> {
        self.more.as_ref()?.suspended.as_deref()
    }

    /// This one, or the one that was known before if that says the same.
    pub(in crate::server) fn shared_with(self, before: &Tenant) -> Tenant {
        if *before == self {
            return before.clone();
        }
        let target = if before.target == self.target { before.target.clone() } else { self.target };
        Tenant { target, ..self }
    }
}

/// Tenants by their keys.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tenants(
    /// In the order of their keys once all are entered.
    Vec<Tenant>,
);

impl Tenants {
    /// With room for as many as there were before: while a list grows by itself it is there twice, and half empty then.
    pub(in crate::server) fn with_room_for(tenants: usize) -> Tenants {
        Tenants(Vec::with_capacity(tenants))
    }

    pub(in crate::server) fn len(&self) -> usize {
        self.0.len()
    }

    /// Enters one; it is found after [`Tenants::order`].
    pub(in crate::server) fn enter(&mut self, tenant: Tenant) {
        self.0.push(tenant);
    }

    /// To be called when all are entered.
    pub(in crate::server) fn order(&mut self) {
        self.0.sort_unstable_by(|a, b| a.key().cmp(b.key()));
        self.0.dedup_by(|a, b| a.key() == b.key());
        self.0.shrink_to_fit();
    }

    /// The one with this key.
    pub(in crate::server) fn get(&self, key: &str) -> Option<&Tenant> {
        let place = self.0.binary_search_by(|tenant| tenant.key().cmp(key)).ok()?;
        self.0.get(place)
    }

    pub(in crate::server) fn iter(&self) -> std::slice::Iter<'_, Tenant> {
        self.0.iter()
    }
}

/// The OIDs of databases.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Oids(
    /// In their order.
    Vec<u32>,
);

impl Oids {
    pub(in crate::server) fn contains(&self, oid: u32) -> bool {
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
