//! Types, domains and sequences.

use petgraph::graph::NodeIndex;

use super::super::items::{Item, Verdict};
use super::super::operations::{carries_count, checks_wait, needs_aside};
use super::super::sql::{aside, clause, ident, list, literal, name, qualified};
use super::super::verdict::is_subsequence;
use super::{Writer, plain};
use crate::{
    Attribute, Body, Domain, DomainCheck, Enum, Hazard, Key, Object, Range, Safety, Sequence, Stage, Step, Table,
};

impl Writer<'_, '_> {
    pub(super) fn make_enum(&self, key: &Key, item: &Item<'_>, before: Option<&Body>, after: &Enum) -> Vec<Step> {
        let Some(Body::Enum(before)) = before else {
            let labels = list(after.labels.iter().map(|label| literal(label)));
            let mut step = plain(key, format!("CREATE TYPE {} AS ENUM ({labels})", name(key)));
            if let Some(Body::Enum(before)) = item.before.map(|object| &object.body)
                && !before.labels.iter().all(|label| after.labels.contains(label))
            {
                step.safety = Safety::Dataloss;
            }
            return vec![step];
        };
        if before.labels == after.labels || !is_subsequence(&before.labels, &after.labels) {
            return Vec::new();
        }
        let (mut steps, mut previous) = (Vec::new(), None::<&String>);
        for label in &after.labels {
            if !before.labels.contains(label) {
                let place = match (previous, before.labels.first()) {
                    (Some(previous), _) => format!(" AFTER {}", literal(previous)),
                    (None, Some(first)) => format!(" BEFORE {}", literal(first)),
                    (None, None) => String::new(),
                };
                let sql = format!("ALTER TYPE {} ADD VALUE IF NOT EXISTS {}{place}", name(key), literal(label));
                // Nobody can use a new value before it is committed.
                steps.push(Step { stage: Stage::Before, ..plain(key, sql) });
            }
            previous = Some(label);
        }
        steps
    }

    pub(super) fn make_composite(&self, key: &Key, before: Option<&Body>, after: &[Attribute]) -> Vec<Step> {
        let attribute = |attribute: &Attribute| {
            let collation = attribute.collation.as_ref().map(|name| format!(" COLLATE {name}")).unwrap_or_default();
            format!("{} {}{collation}", ident(&attribute.name), attribute.data_type)
        };
        let Some(Body::Composite { attributes: before }) = before else {
            return vec![plain(key, format!("CREATE TYPE {} AS ({})", name(key), list(after.iter().map(attribute))))];
        };
        let gone = before.iter().filter(|old| !after.iter().any(|new| new.name == old.name));
        let new = after.iter().filter(|new| !before.iter().any(|old| new.name == old.name));
        let drops = gone.map(|old| Step {
            safety: Safety::Dataloss,
            ..plain(key, format!("ALTER TYPE {} DROP ATTRIBUTE {}", name(key), ident(&old.name)))
        });
        let adds = new.map(|new| plain(key, format!("ALTER TYPE {} ADD ATTRIBUTE {}", name(key), attribute(new))));
        drops.chain(adds).collect()
    }

    pub(super) fn make_range(&self, key: &Key, before: Option<&Body>, after: &Range) -> Vec<Step> {
        if before.is_some() {
            return Vec::new();
        }
        vec![plain(key, format!("CREATE TYPE {} AS RANGE ({})", name(key), after.definition))]
    }

    pub(super) fn make_domain(
        &self,
        node: NodeIndex,
        item: &Item<'_>,
        before: Option<&Body>,
        after: &Domain,
    ) -> Vec<Step> {
        let (key, waits) = (item.key, checks_wait(self.items, node));
        let Some(Body::Domain(before)) = before else {
            let mut sql = format!("CREATE DOMAIN {} AS {}", name(key), after.data_type);
            if let Some(collation) = &after.collation {
                sql.push_str(&format!(" COLLATE {collation}"));
            }
            if let Some(default) = after.default.as_ref().filter(|_| !waits) {
                sql.push_str(&format!(" DEFAULT {default}"));
            }
            if after.not_null {
                sql.push_str(" NOT NULL");
            }
            for check in after.checks.iter().filter(|check| !waits && check.validated) {
                sql.push_str(&format!(" CONSTRAINT {} {}", ident(&check.name), validated(&check.definition)));
            }
            let (made, late): (Vec<&DomainCheck>, Vec<&DomainCheck>) =
                after.checks.iter().filter(|_| !waits).partition(|check| check.validated);
            let comments = made.into_iter().filter(|check| check.comment.is_some()).map(|check| comment_on(key, check));
            let late = late.into_iter().flat_map(|check| self.add_check(key, check));
            return std::iter::once(plain(key, sql)).chain(comments).chain(late).collect();
        };
        let alter = |action: String| plain(key, format!("ALTER DOMAIN {} {action}", name(key)));
        let mut steps = Vec::new();
        for check in before.checks.iter().filter(|_| !waits) {
            let same = after.checks.iter().any(|new| new.name == check.name && definition(new) == definition(check));
            if !same {
                steps.push(alter(format!("DROP CONSTRAINT {}", ident(&check.name))));
            }
        }
        match &after.default {
            default if waits || *default == before.default => {}
            Some(default) => steps.push(alter(format!("SET DEFAULT {default}"))),
            None => steps.push(alter("DROP DEFAULT".to_owned())),
        }
        match (before.not_null, after.not_null) {
            (false, true) => steps.push(Step {
                safety: Safety::Dataloss,
                hazards: vec![Hazard::ScansTable],
                ..alter("SET NOT NULL".to_owned())
            }),
            (true, false) => steps.push(alter("DROP NOT NULL".to_owned())),
            _ => {}
        }
        for check in after.checks.iter().filter(|_| !waits) {
            match before.checks.iter().find(|old| old.name == check.name && definition(old) == definition(check)) {
                None => steps.extend(self.add_check(key, check)),
                Some(old) if check.validated && !old.validated => steps.push(Step {
                    hazards: vec![Hazard::ScansTable],
                    ..alter(format!("VALIDATE CONSTRAINT {}", ident(&check.name)))
                }),
                Some(_) => {}
            }
            let old = before.checks.iter().find(|old| old.name == check.name && definition(old) == definition(check));
            if old.is_some_and(|old| old.comment != check.comment) {
                steps.push(comment_on(key, check));
            }
        }
        steps
    }

    fn add_check(&self, key: &Key, check: &DomainCheck) -> Vec<Step> {
        let (rest, hazards) = if check.validated { ("", vec![Hazard::ScansTable]) } else { (" NOT VALID", Vec::new()) };
        let definition = validated(&check.definition);
        let sql = format!("ALTER DOMAIN {} ADD CONSTRAINT {} {definition}{rest}", name(key), ident(&check.name));
        let comment = check.comment.as_ref().map(|_| comment_on(key, check));
        std::iter::once(Step { hazards, ..plain(key, sql) }).chain(comment).collect()
    }

    pub(super) fn cut_domain(&self, key: &Key, domain: &Domain) -> Vec<Step> {
        let checks = domain.checks.iter().map(|check| format!("DROP CONSTRAINT {}", ident(&check.name)));
        let default = domain.default.iter().map(|_| "DROP DEFAULT".to_owned());
        checks.chain(default).map(|action| plain(key, format!("ALTER DOMAIN {} {action}", name(key)))).collect()
    }

    pub(super) fn finish_domain(&self, item: &Item<'_>, domain: &Domain) -> Vec<Step> {
        let key = item.key;
        let default = domain.default.iter();
        let default = default.map(|default| plain(key, format!("ALTER DOMAIN {} SET DEFAULT {default}", name(key))));
        let checks = domain.checks.iter().flat_map(|check| self.add_check(key, check)).map(|mut step| {
            if item.comes() {
                step.hazards.clear();
            }
            step
        });
        default.chain(checks).collect()
    }

    pub(super) fn drop_type(&self, node: NodeIndex, item: &Item<'_>) -> Vec<Step> {
        let key = item.key;
        let Some(clause) = item.before.and_then(clause) else { return Vec::new() };
        if !needs_aside(self.items, node) {
            return vec![plain(key, format!("DROP {clause}"))];
        }
        let word = clause.split(' ').next().unwrap_or("TYPE");
        vec![plain(key, format!("DROP {word} {}", qualified(&key.schema, &aside(&key.name))))]
    }

    pub(super) fn drop_sequence(&self, node: NodeIndex, item: &Item<'_>) -> Vec<Step> {
        let key = item.key;
        let name = if needs_aside(self.items, node) { qualified(&key.schema, &aside(&key.name)) } else { name(key) };
        vec![plain(key, format!("DROP SEQUENCE {name}"))]
    }

    pub(super) fn make_sequence(
        &self,
        node: NodeIndex,
        item: &Item<'_>,
        before: Option<&Body>,
        after: &Sequence,
    ) -> Vec<Step> {
        let key = item.key;
        if let Some(Body::Sequence(before)) = before {
            let follows = !item.cut && before.owned_by == after.owned_by && self.sequence_follows(after);
            let steps = alter_sequence(key, before, after).into_iter();
            return steps
                .chain((!follows && before.unlogged != after.unlogged).then(|| persistence(key, after)))
                .collect();
        }
        let mut steps = Vec::new();
        if !after.of_identity {
            let unlogged = if after.unlogged { "UNLOGGED " } else { "" };
            let rest = format!("AS {} {}", after.data_type, options(after));
            steps.push(plain(key, format!("CREATE {unlogged}SEQUENCE {} {rest}", name(key))));
        }
        if item.verdict == Verdict::Replace && carries_count(self.items, node) {
            let old = qualified(&key.schema, &aside(&key.name));
            let sequence = literal(&name(key));
            let sql = format!("SELECT pg_catalog.setval({sequence}, last_value, is_called) FROM {old}");
            steps.push(plain(key, sql));
        }
        steps
    }

    /// Whether SET LOGGED or SET UNLOGGED of the table that owns a sequence brings the sequence where it is to be.
    fn sequence_follows(&self, sequence: &Sequence) -> bool {
        let table = sequence.owned_by.as_ref().and_then(Key::table).and_then(|table| self.items.get(&table));
        let body = |object: Option<&Object>| match object.map(|object| &object.body) {
            Some(Body::Table(table)) => Some(table.unlogged),
            _ => None,
        };
        table.is_some_and(|table| {
            let after = body(table.after);
            !table.comes() && body(table.before) != after && after == Some(sequence.unlogged)
        })
    }

    /// The persistence of an identity column's sequence, if it is not that of its table, which it is made with.
    pub(super) fn persistence_of_identity(&self, column: &Key) -> Option<Step> {
        let Object { key, body: Body::Sequence(sequence), .. } = self.identities.get(column)? else { return None };
        let table = self.items.get(&column.table()?)?.after?;
        matches!(&table.body, Body::Table(table) if table.unlogged != sequence.unlogged)
            .then(|| persistence(key, sequence))
    }

    /// The persistence of a table's sequences, where it is not to be that which the table has just got: they got it too.
    pub(super) fn persistence_of_sequences(&self, table: &Key, after: &Table) -> Vec<Step> {
        let items = self.items;
        let others = items.nodes().filter_map(|node| {
            let (Body::Sequence(before), Object { key, body: Body::Sequence(wanted), .. }) =
                (&items.graph[node].before?.body, items.graph[node].after?)
            else {
                return None;
            };
            let owner = before.owned_by.as_ref().and_then(Key::table);
            (owner.as_ref() == Some(table) && !items.graph[node].comes() && wanted.unlogged != after.unlogged)
                .then(|| persistence(key, wanted))
        });
        others.collect()
    }
}

fn comment_on(key: &Key, check: &DomainCheck) -> Step {
    let comment = check.comment.as_deref().map_or_else(|| "NULL".to_owned(), literal);
    plain(key, format!("COMMENT ON CONSTRAINT {} ON DOMAIN {} IS {comment}", ident(&check.name), name(key)))
}

/// A domain's check without NOT VALID.
fn validated(definition: &str) -> &str {
    definition.strip_suffix(" NOT VALID").unwrap_or(definition)
}

fn definition(check: &DomainCheck) -> &str {
    validated(&check.definition)
}

/// What CREATE SEQUENCE and an identity take.
pub(super) fn options(sequence: &Sequence) -> String {
    format!(
        "START WITH {} INCREMENT BY {} MINVALUE {} MAXVALUE {} CACHE {}{}",
        sequence.start,
        sequence.increment,
        sequence.min,
        sequence.max,
        sequence.cache,
        if sequence.cycle { " CYCLE" } else { "" }
    )
}

/// What differs; where the sequence stands is never changed.
fn alter_sequence(key: &Key, before: &Sequence, after: &Sequence) -> Option<Step> {
    let mut actions = String::new();
    let mut add = |differs: bool, action: String| {
        if differs {
            actions.push(' ');
            actions.push_str(&action);
        }
    };
    let retyped = before.data_type != after.data_type;
    add(retyped, format!("AS {}", after.data_type));
    add(before.increment != after.increment, format!("INCREMENT BY {}", after.increment));
    // AS moves limits that were those of the type.
    add(retyped || before.min != after.min, format!("MINVALUE {}", after.min));
    add(retyped || before.max != after.max, format!("MAXVALUE {}", after.max));
    add(before.start != after.start, format!("START WITH {}", after.start));
    add(before.cache != after.cache, format!("CACHE {}", after.cache));
    add(before.cycle != after.cycle, if after.cycle { "CYCLE" } else { "NO CYCLE" }.to_owned());
    (!actions.is_empty()).then(|| plain(key, format!("ALTER SEQUENCE {}{actions}", name(key))))
}

/// SET LOGGED or SET UNLOGGED.
fn persistence(key: &Key, sequence: &Sequence) -> Step {
    let word = if sequence.unlogged { "UNLOGGED" } else { "LOGGED" };
    plain(key, format!("ALTER SEQUENCE {} SET {word}", name(key)))
}
