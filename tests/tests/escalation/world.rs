//! Two platforms on one server, of which one attacks the other, and all that no attempt may change.

use acceptance::{ADMIN_TOKEN, Cluster, Files, Platform, Snapshot, fixtures, sql};
use serde_json::json;

/// The platform that attacks, with the tenants `main` and `acme`; the one that is attacked; and what is the cluster's.
pub struct World<'a> {
    pub cluster: &'a Cluster,
    pub spy: Platform<'a>,
    pub victim: Platform<'a>,
    /// Process of the server worker.
    pub server: String,
    /// The victim's template.
    pub template: String,
    before: Vec<(&'static str, Vec<String>)>,
    databases: Vec<(String, Snapshot)>,
}

/// Everything in shared catalogs and in the registry that decides who may do what, but for the record of deployments.
const STATE: [(&str, &str); 9] = [
    (
        "databases",
        "SELECT concat_ws(' ', oid, datname, datdba::regrole, datacl::text, datallowconn, datistemplate, datconnlimit, shobj_description(oid, 'pg_database'))
         FROM pg_database ORDER BY datname",
    ),
    (
        "roles",
        "SELECT concat_ws(' ', oid, rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolbypassrls, rolconnlimit,
                          rolpassword IS NULL, rolvaliduntil) FROM pg_authid ORDER BY rolname",
    ),
    ("memberships", "SELECT m::text FROM pg_auth_members m ORDER BY roleid, member"),
    ("settings of logins", "SELECT s::text FROM pg_db_role_setting s ORDER BY setdatabase, setrole"),
    ("tablespaces", "SELECT t::text FROM pg_tablespace t ORDER BY spcname"),
    ("ALTER SYSTEM", "SELECT pg_read_file('postgresql.auto.conf')"),
    ("subscriptions and slots", "SELECT subname::text FROM pg_subscription UNION ALL SELECT slot_name::text FROM pg_replication_slots"),
    (
        "platforms and tokens",
        "SELECT concat_ws(' ', name, key, owner_role, call_role) FROM stonescriptdb.platform
         UNION ALL SELECT (to_jsonb(t) - 'last_used_at')::text FROM stonescriptdb.token t ORDER BY 1",
    ),
    (
        "tenants",
        "SELECT concat_ws(' ', name, platform, schema_name, tenant_id, datid, state, suspended, bundle_sha256) FROM stonescriptdb.database ORDER BY name",
    ),
];

impl<'a> World<'a> {
    /// Registers both. `files` makes the attacker's bundle, when the names are known that it has to have.
    #[track_caller]
    pub fn new(cluster: &'a Cluster, files: impl FnOnce(&World<'a>) -> Files) -> World<'a> {
        let victim = Platform::register(cluster, "victim", &fixtures::shop());
        victim.call("add_customer", json!(["Ada"])).ok();
        let spy = Platform::register(cluster, "spy", &fixtures::tiny());
        let mut control = cluster.control();
        let like = format!(
            "SELECT datname FROM pg_database WHERE datname LIKE 'stonescriptdb\\_template\\_{}\\_%'",
            victim.name
        );
        let (server, template) = (cluster.server_worker(), sql::text(&mut control, &like));
        let mut world = World { cluster, spy, victim, server, template, before: Vec::new(), databases: Vec::new() };
        let files = files(&world);
        world.spy.register_again(&files).ok();
        world.spy.register_tenant("acme", &files).ok();
        world.look();
        world
    }

    /// Notes how everything is.
    #[track_caller]
    pub fn look(&mut self) {
        self.before = self.state();
        let names = [self.victim.database(), self.spy.database(), self.spy.database_of("acme")];
        self.databases = names.map(|name| (name.clone(), Snapshot::of(self.cluster, &name))).into();
    }

    /// Puts names into an attempt's text.
    pub fn fill(&self, text: &str) -> String {
        [
            ("{db}", self.spy.database()),
            ("{sibling}", self.spy.database_of("acme")),
            ("{victim}", self.victim.database()),
            ("{template}", self.template.clone()),
            ("{owner}", self.spy.owner_role()),
            ("{call}", self.spy.call_role()),
            ("{victim_owner}", self.victim.owner_role()),
            ("{victim_call}", self.victim.call_role()),
            ("{server}", self.server.clone()),
            ("{dir}", self.cluster.dir().display().to_string()),
        ]
        .iter()
        .fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
    }

    fn state(&self) -> Vec<(&'static str, Vec<String>)> {
        let mut control = self.cluster.control();
        STATE.iter().map(|(what, query)| (*what, sql::texts(&mut control, query))).collect()
    }

    /// Nothing has changed since [`World::look`], the same server worker is there, no file was made, and both platforms answer.
    #[track_caller]
    pub fn assert_untouched(&self) {
        for ((what, before), (_, now)) in self.before.iter().zip(self.state()) {
            let new: Vec<&String> = now.iter().filter(|line| !before.contains(line)).collect();
            let gone: Vec<&String> = before.iter().filter(|line| !now.contains(line)).collect();
            assert!(new.is_empty() && gone.is_empty(), "{what} changed.\nnew: {new:#?}\ngone: {gone:#?}");
        }
        for (name, before) in &self.databases {
            before.assert_unchanged(self.cluster, name, "an attempt worked");
        }
        let made = self.cluster.dir().join("evil");
        assert!(!made.exists(), "a file was written");
        assert_eq!(self.cluster.server_worker(), self.server, "the server worker was ended");
        assert!(!self.cluster.log().contains(ADMIN_TOKEN), "the admin token is in the log");
        assert_eq!(self.cluster.http().admin().get("/admin/tokens").status, 200, "the admin token has changed");
    }
}
