//! Rights: what an object that was just created has, and the statements that lead to what it is to have.

use std::collections::{BTreeMap, BTreeSet};

use petgraph::graph::NodeIndex;

use super::super::items::{Item, Verdict};
use super::super::sql::{ident, list, name, owner_name, role};
use super::{Writer, plain};
use crate::{Body, Grant, Key, Kind, Model, Object, RoutineKind, Step};

/// All rights that there are on a kind of object in every version of PostgreSQL.
fn all(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Table | Kind::View | Kind::MaterializedView => {
            &["DELETE", "INSERT", "REFERENCES", "SELECT", "TRIGGER", "TRUNCATE", "UPDATE"]
        }
        Kind::Sequence => &["SELECT", "UPDATE", "USAGE"],
        Kind::Routine => &["EXECUTE"],
        Kind::Schema => &["CREATE", "USAGE"],
        Kind::Enum | Kind::Composite | Kind::Domain | Kind::Range => &["USAGE"],
        _ => &[],
    }
}

/// The kind that an object type of default privileges is about; None for what no bundle has.
fn kind_of_defaults(object_type: &str) -> Option<Kind> {
    match object_type {
        "r" => Some(Kind::Table),
        "S" => Some(Kind::Sequence),
        "f" => Some(Kind::Routine),
        "T" => Some(Kind::Enum),
        "n" => Some(Kind::Schema),
        // Large objects (L), from PostgreSQL 18 on.
        _ => None,
    }
}

/// The right that there is on tables from PostgreSQL 17 on.
const MAINTAIN: &str = "MAINTAIN";

/// Whether the server knows it. The owner of a table has it without anybody having said so, hence it shows where there is one.
pub(super) fn knows_maintain(present: &Model, wanted: &Model) -> bool {
    let mut grants = present.iter().chain(wanted.iter()).flat_map(|object| &object.grants);
    grants.any(|grant| grant.privilege == MAINTAIN)
}

/// The role and the object type of default privileges.
fn defaults_of(key: &Key) -> (&str, &str) {
    (&key.name, &key.arguments)
}

/// What PUBLIC may without anybody having said so.
fn of_public(kind: Kind) -> Option<Grant> {
    let privilege = match kind {
        Kind::Routine => "EXECUTE",
        Kind::Enum | Kind::Composite | Kind::Domain | Kind::Range => "USAGE",
        _ => return None,
    };
    Some(Grant { grantee: String::new(), privilege: privilege.to_owned(), grantable: false })
}

/// The one role that has all rights on everything, if there is exactly one: who owns the objects. The models do not say it.
pub(super) fn owner<'a>(present: &'a Model, wanted: &'a Model) -> Option<&'a str> {
    let mut candidates: Option<BTreeSet<&str>> = None;
    for object in present.iter().chain(wanted.iter()) {
        let all = all(object.key.kind);
        if all.is_empty() || object.grants.is_empty() || object.key.kind == Kind::Schema {
            continue;
        }
        let mut rights: BTreeMap<&str, usize> = BTreeMap::new();
        for grant in object.grants.iter().filter(|grant| all.contains(&grant.privilege.as_str())) {
            *rights.entry(&grant.grantee).or_default() += 1;
        }
        let full = rights.into_iter().filter(|(grantee, count)| *count == all.len() && !grantee.is_empty());
        let full: BTreeSet<&str> = full.map(|(grantee, _)| grantee).collect();
        candidates = Some(match candidates {
            None => full,
            Some(before) => before.intersection(&full).copied().collect(),
        });
    }
    let mut candidates = candidates?.into_iter();
    candidates.next().filter(|_| candidates.next().is_none())
}

impl Writer<'_, '_> {
    /// GRANT and REVOKE, as far as the rights differ from those that the object has.
    pub(super) fn privileges(&self, node: NodeIndex, item: &Item<'_>, created: bool) -> Vec<Step> {
        let key = item.key;
        if key.kind == Kind::DefaultPrivileges {
            return self.default_privileges(item);
        }
        let Some(after) = item.after else { return Vec::new() };
        let target = match (&after.body, key.kind) {
            (Body::Routine(routine), _) => {
                let word = if routine.kind == RoutineKind::Procedure { "PROCEDURE" } else { "FUNCTION" };
                format!("{word} {}({})", name(key), key.arguments)
            }
            (_, Kind::Schema) => format!("SCHEMA {}", ident(&key.name)),
            (_, Kind::Sequence) => format!("SEQUENCE {}", name(key)),
            (_, Kind::Table | Kind::View | Kind::MaterializedView) => format!("TABLE {}", name(key)),
            (_, Kind::Enum | Kind::Composite | Kind::Domain | Kind::Range) => format!("TYPE {}", name(key)),
            (_, Kind::Column) => format!("TABLE {}", owner_name(key)),
            _ => return Vec::new(),
        };
        let wanted: BTreeSet<&Grant> = after.grants.iter().collect();
        let column = (key.kind == Kind::Column).then(|| ident(&key.name));
        let mut statements = if created {
            let initial = self.initial(key, after);
            change(&initial.iter().collect(), &wanted, &target, column.as_deref())
        } else {
            let before: BTreeSet<&Grant> = item.before.map(|before| before.grants.iter().collect()).unwrap_or_default();
            change(&before, &wanted, &target, column.as_deref())
        };
        if let Some(before) = item.before.filter(|_| !created && key.kind == Kind::Table) {
            statements.extend(self.rights_of_columns(node, &before.grants, &after.grants, &target));
        }
        statements.into_iter().map(|sql| plain(key, sql)).collect()
    }

    /// The rights on single columns that a REVOKE on their table takes along, given again: those that a column had and keeps. What else
    /// is to become of a column's rights comes after the table's.
    fn rights_of_columns(&self, table: NodeIndex, before: &[Grant], after: &[Grant], target: &str) -> Vec<String> {
        let find = |grants: &[Grant], grant: &Grant| {
            let same = |other: &&Grant| other.grantee == grant.grantee && other.privilege == grant.privilege;
            grants.iter().find(same).map(|grant| grant.grantable)
        };
        // The weaker of the two: none, without the option, with it.
        let revoked = |grant: &Grant| find(before, grant).is_some_and(|had| find(after, grant) < Some(had));
        let mut statements = Vec::new();
        if !before.iter().any(revoked) {
            return statements;
        }
        for column in self.columns(table) {
            let column = &self.items.graph[column];
            let (Some(had), Some(has)) = (column.before.filter(|_| !column.comes()), column.after) else { continue };
            let lost: BTreeSet<&Grant> = had.grants.iter().filter(|grant| revoked(grant)).collect();
            let kept: Vec<Grant> = lost
                .into_iter()
                .filter_map(|grant| {
                    let grantable = find(&has.grants, grant)? && grant.grantable;
                    Some(Grant { grantable, ..grant.clone() })
                })
                .collect();
            let kept: BTreeSet<&Grant> = kept.iter().collect();
            statements.extend(change(&BTreeSet::new(), &kept, target, Some(&ident(&column.key.name))));
        }
        statements
    }

    /// The rights on an object when it has just been created.
    fn initial(&self, key: &Key, object: &Object) -> BTreeSet<Grant> {
        let kind = match key.kind {
            Kind::View | Kind::MaterializedView => Kind::Table,
            Kind::Composite | Kind::Domain | Kind::Range => Kind::Enum,
            kind => kind,
        };
        let mut grants: BTreeSet<Grant> = of_public(kind).into_iter().collect();
        if kind != Kind::Column {
            let applies = |defaults: &&&Object| {
                let (role, object_type) = defaults_of(&defaults.key);
                kind_of_defaults(object_type) == Some(kind) && self.owner.is_none_or(|owner| owner == role)
            };
            let mut built_in = true;
            for defaults in self.defaults.iter().filter(applies) {
                if defaults.key.schema.is_empty() {
                    // They stand in the place of the built-in ones.
                    grants = defaults.grants.iter().cloned().collect();
                    built_in = false;
                }
            }
            if let Some(owner) = self.owner.filter(|_| built_in) {
                grants.extend(self.of_owner(Some(kind), owner));
            }
            for defaults in self.defaults.iter().filter(applies).filter(|defaults| defaults.key.schema == key.schema) {
                if !key.schema.is_empty() {
                    grants.extend(defaults.grants.iter().cloned());
                }
            }
        }
        // A right with the option to grant it on is one entry, not two.
        let strong: BTreeSet<(String, String)> =
            grants.iter().filter(|g| g.grantable).map(|g| (g.grantee.clone(), g.privilege.clone())).collect();
        grants.retain(|g| g.grantable || !strong.contains(&(g.grantee.clone(), g.privilege.clone())));
        // What the owner has of itself.
        grants.extend(object.grants.iter().filter(|grant| Some(grant.grantee.as_str()) == self.owner).cloned());
        grants
    }

    /// What the owner of an object may without anybody having said so; of a large object, if there is no kind.
    fn of_owner(&self, kind: Option<Kind>, owner: &str) -> Vec<Grant> {
        let newer: &[&str] = if kind == Some(Kind::Table) && self.knows_maintain { &[MAINTAIN] } else { &[] };
        let all = kind.map_or(&["SELECT", "UPDATE"] as &[&str], all);
        let grant = |privilege: &&str| Grant {
            grantee: owner.to_owned(),
            privilege: (*privilege).to_owned(),
            grantable: false,
        };
        all.iter().chain(newer).map(grant).collect()
    }

    fn default_privileges(&self, item: &Item<'_>) -> Vec<Step> {
        let key = item.key;
        let (role, object_type) = defaults_of(key);
        let kind = kind_of_defaults(object_type);
        let mut built_in: Vec<Grant> = Vec::new();
        if key.schema.is_empty() {
            built_in.extend(kind.and_then(of_public));
            built_in.extend(self.of_owner(kind, role));
        }
        let before = item.before.map_or(&built_in, |object| &object.grants);
        let after = item.after.filter(|_| item.verdict != Verdict::Drop).map_or(&built_in, |object| &object.grants);
        let mut prefix = "ALTER DEFAULT PRIVILEGES".to_owned();
        if self.owner.is_some_and(|owner| owner != role) {
            prefix.push_str(&format!(" FOR ROLE {}", ident(role)));
        }
        if !key.schema.is_empty() {
            prefix.push_str(&format!(" IN SCHEMA {}", ident(&key.schema)));
        }
        let target = match kind {
            Some(Kind::Sequence) => "SEQUENCES",
            Some(Kind::Routine) => "FUNCTIONS",
            Some(Kind::Enum) => "TYPES",
            Some(Kind::Schema) => "SCHEMAS",
            Some(_) => "TABLES",
            None => "LARGE OBJECTS",
        };
        change(&before.iter().collect(), &after.iter().collect(), target, None)
            .into_iter()
            .map(|sql| plain(key, format!("{prefix} {sql}")))
            .collect()
    }
}

/// The statements that lead from some rights to others; of a column, if it is given.
fn change(before: &BTreeSet<&Grant>, after: &BTreeSet<&Grant>, target: &str, column: Option<&str>) -> Vec<String> {
    let rights = |grants: &BTreeSet<&Grant>| -> BTreeMap<(String, String), bool> {
        grants.iter().map(|grant| ((grant.grantee.clone(), grant.privilege.clone()), grant.grantable)).collect()
    };
    let (before, after) = (rights(before), rights(after));
    let mut revoked: BTreeMap<(&str, bool), Vec<&str>> = BTreeMap::new();
    let mut granted: BTreeMap<(&str, bool), Vec<&str>> = BTreeMap::new();
    for ((grantee, privilege), grantable) in &before {
        match after.get(&(grantee.clone(), privilege.clone())) {
            None => revoked.entry((grantee, false)).or_default().push(privilege),
            Some(false) if *grantable => revoked.entry((grantee, true)).or_default().push(privilege),
            Some(_) => {}
        }
    }
    for ((grantee, privilege), grantable) in &after {
        match before.get(&(grantee.clone(), privilege.clone())) {
            Some(had) if *had || !*grantable => {}
            _ => granted.entry((grantee, *grantable)).or_default().push(privilege),
        }
    }
    let rights = |privileges: Vec<&str>| {
        list(privileges.into_iter().map(|privilege| match column {
            Some(column) => format!("{privilege} ({column})"),
            None => privilege.to_owned(),
        }))
    };
    let revokes = revoked.into_iter().map(|((grantee, option), privileges)| {
        let option = if option { "GRANT OPTION FOR " } else { "" };
        format!("REVOKE {option}{} ON {target} FROM {}", rights(privileges), role(grantee))
    });
    let grants = granted.into_iter().map(|((grantee, option), privileges)| {
        let option = if option { " WITH GRANT OPTION" } else { "" };
        format!("GRANT {} ON {target} TO {}{option}", rights(privileges), role(grantee))
    });
    revokes.chain(grants).collect()
}
