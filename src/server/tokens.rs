//! Tokens of platforms as they stand in memory: what each may, which of them were used.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use subtle::ConstantTimeEq;

use super::{App, deploy};
use crate::postgres::secret;

/// What a token may be good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Functions.
    Call = 1,
    /// Bundles, deployments, new databases, and lists of what there is.
    Deploy = 2,
    /// The platform's own tokens, and the life of its tenants.
    Admin = 4,
}

impl Scope {
    const ALL: [Scope; 3] = [Scope::Call, Scope::Deploy, Scope::Admin];

    pub(super) fn name(self) -> &'static str {
        match self {
            Scope::Call => "call",
            Scope::Deploy => "deploy",
            Scope::Admin => "admin",
        }
    }
}

/// A set of scopes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scopes(u8);

impl Scopes {
    /// By their names; one that is not known is good for nothing.
    pub(super) fn named(names: &[String]) -> Scopes {
        let known = Scope::ALL.into_iter().filter(|scope| names.iter().any(|name| name == scope.name()));
        Scopes(known.fold(0, |set, scope| set | scope as u8))
    }

    pub(super) fn has(self, scope: Scope) -> bool {
        self.0 & scope as u8 != 0
    }

    pub(super) fn names(self) -> Vec<&'static str> {
        Scope::ALL.into_iter().filter(|scope| self.has(*scope)).map(Scope::name).collect()
    }
}

/// The SHA-256 of a token. With a hash, the time of a look-up says nothing of the token, wherever it ends.
pub(super) use secret::Hash;

/// What is compared.
pub(super) use secret::hash;

/// A platform's token.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Token {
    /// Its id, a UUID.
    pub(super) id: Box<str>,
    pub(super) hash: Hash,
    /// From when on it is no good.
    pub(super) expires: Option<SystemTime>,
    pub(super) scopes: Scopes,
    /// The only database that it is for, as it is called now; empty is one that is gone.
    pub(super) only: Option<Box<str>>,
}

impl Token {
    pub(super) fn is(&self, hash: &Hash) -> bool {
        self.hash.ct_eq(hash).into()
    }

    pub(super) fn is_over(&self) -> bool {
        self.expires.is_some_and(|end| end <= SystemTime::now())
    }
}

/// Which platform a token may be of, by the first bytes of its hash. What it finds is compared as a whole.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Index(HashMap<[u8; 8], Vec<Arc<str>>>);

impl Index {
    pub(super) fn add(&mut self, hash: &Hash, platform: &Arc<str>) {
        self.0.entry(prefix(hash)).or_default().push(platform.clone());
    }

    /// The keys of platforms.
    pub(super) fn platforms(&self, hash: &Hash) -> impl Iterator<Item = &str> {
        self.0.get(&prefix(hash)).into_iter().flatten().map(|key| &**key)
    }
}

fn prefix(hash: &Hash) -> [u8; 8] {
    hash.first_chunk().copied().unwrap_or_default()
}

/// Tokens that were used and of which that is not written down yet.
#[derive(Default)]
pub(super) struct Used(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    now: HashSet<Box<str>>,
    /// When that was written down last.
    written: HashMap<Box<str>, Instant>,
}

/// How often it is looked whether there is something to write.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How often a token is written at most: what is known of it is coarse, so that calls do not become writes.
const WRITE_EVERY: Duration = Duration::from_secs(60 * 60);

impl Used {
    pub(super) fn note(&self, token: &Token) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !seen.now.contains(&token.id) {
            seen.now.insert(token.id.clone());
        }
    }

    /// What is to be written now.
    fn due(&self) -> Vec<String> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let Seen { now: used, written } = &mut *seen;
        written.retain(|_, when| now.duration_since(*when) < WRITE_EVERY);
        let due: Vec<Box<str>> = used.drain().filter(|id| !written.contains_key(id)).collect();
        written.extend(due.iter().map(|id| (id.clone(), now)));
        due.into_iter().map(String::from).collect()
    }
}

/// Writes down now and then which tokens were used, until the worker ends.
pub(super) async fn write_used(app: Arc<App>) {
    let mut looks = tokio::time::interval(LOOK_EVERY);
    loop {
        looks.tick().await;
        let due = app.used.due();
        if !due.is_empty() {
            // What is lost is written with the next use, an hour later.
            let _ = deploy::note_tokens_used(&app, due).await;
        }
    }
}
