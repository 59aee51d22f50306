//! Constraints, indexes and statistics, on big tables after the transaction.

use petgraph::graph::NodeIndex;

use super::super::items::{Item, Verdict};
use super::super::operations::carrier;
use super::super::sql::{ident, name, owner_name, qualified};
use super::{Writer, plain};
use crate::{Body, Constraint, ConstraintType, Hazard, Index, Key, Safety, Stage, Statistics, Step};

impl Writer<'_, '_> {
    pub(super) fn make_constraint(
        &self,
        node: NodeIndex,
        item: &Item<'_>,
        before: Option<&Body>,
        after: &Constraint,
    ) -> Vec<Step> {
        let key = item.key;
        let Some(table) = key.table() else { return Vec::new() };
        let alter = |action: &str| plain(key, format!("ALTER TABLE {} {action}", owner_name(key)));
        let quoted = ident(&key.name);
        if let Some(Body::Constraint(before)) = before {
            let mut steps = Vec::new();
            if after.validated && !before.validated {
                let step = alter(&format!("VALIDATE CONSTRAINT {quoted}"));
                let stage = if self.is_big(&table) { Stage::After } else { Stage::Within };
                steps.push(Step { hazards: self.on_rows(&table, &[Hazard::ScansTable]), stage, ..step });
            }
            steps.extend(self.cluster(key, &table, before.clustered, after.clustered));
            if before.index_comment != after.index_comment {
                steps.extend(self.comment_on_index(key, after));
            }
            return steps;
        }
        let add = format!("ADD CONSTRAINT {quoted} {}", after.definition);
        let mut steps = match after.constraint_type {
            ConstraintType::Check | ConstraintType::ForeignKey if !after.is_enforced() => vec![alter(&add)],
            ConstraintType::Check | ConstraintType::ForeignKey if !after.validated => {
                vec![alter(&format!("{add} NOT VALID"))]
            }
            ConstraintType::Check | ConstraintType::ForeignKey if self.is_big(&table) => {
                let validate = alter(&format!("VALIDATE CONSTRAINT {quoted}"));
                let (hazards, stage) = (vec![Hazard::ScansTable], Stage::After);
                vec![alter(&format!("{add} NOT VALID")), Step { hazards, stage, ..validate }]
            }
            ConstraintType::Check | ConstraintType::ForeignKey => {
                vec![Step { hazards: self.on_rows(&table, &[Hazard::ScansTable, Hazard::StrongLock]), ..alter(&add) }]
            }
            ConstraintType::PrimaryKey | ConstraintType::Unique
                if self.is_big(&table) && !self.is_awaited(node) && !self.identifies(&table, &key.name) =>
            {
                let words = if after.constraint_type == ConstraintType::Unique { "UNIQUE" } else { "PRIMARY KEY" };
                match plain_columns(&after.definition, words) {
                    Some(columns) => {
                        let index = format!("CREATE UNIQUE INDEX CONCURRENTLY {quoted} ON {} {columns}", name(&table));
                        let using = alter(&format!("ADD CONSTRAINT {quoted} {words} USING INDEX {quoted}"));
                        let (hazards, stage) = (vec![Hazard::BuildsIndex], Stage::After);
                        vec![Step { hazards, stage, at_top_level: true, ..plain(key, index) }, Step { stage, ..using }]
                    }
                    None => vec![self.indexed(&table, alter(&add))],
                }
            }
            ConstraintType::PrimaryKey | ConstraintType::Unique | ConstraintType::Exclusion => {
                vec![self.indexed(&table, alter(&add))]
            }
        };
        let stage = steps.last().map_or(Stage::Within, |step| step.stage);
        let clustered = self.cluster(key, &table, false, after.clustered);
        let comment = after.index_comment.as_ref().and_then(|_| self.comment_on_index(key, after));
        steps.extend(clustered.into_iter().chain(comment).map(|step| Step { stage, ..step }));
        steps
    }

    /// The index of a constraint has its name, and can have a comment of its own.
    fn comment_on_index(&self, key: &Key, after: &Constraint) -> Option<Step> {
        self.comment_on(key, &format!("INDEX {}", qualified(&key.schema, &key.name)), after.index_comment.as_deref())
    }

    fn indexed(&self, table: &Key, step: Step) -> Step {
        Step { hazards: self.on_rows(table, &[Hazard::BuildsIndex, Hazard::StrongLock]), ..step }
    }

    /// Whether the table's replica identity is this index.
    fn identifies(&self, table: &Key, index: &str) -> bool {
        let after = self.items.get(table).and_then(|item| item.after).map(|object| &object.body);
        matches!(after, Some(Body::Table(table)) if table.replica_identity.strip_prefix("index ") == Some(index))
    }

    /// CLUSTER ON, or none if that goes and no other index takes its place.
    fn cluster(&self, key: &Key, table: &Key, before: bool, after: bool) -> Option<Step> {
        match (before, after) {
            (false, true) => Some(plain(key, format!("ALTER TABLE {} CLUSTER ON {}", name(table), ident(&key.name)))),
            (true, false) if !self.clustered.contains(table) => {
                Some(plain(key, format!("ALTER TABLE {} SET WITHOUT CLUSTER", name(table))))
            }
            _ => None,
        }
    }

    /// Whether the index is built after the transaction.
    fn waits(&self, node: NodeIndex, item: &Item<'_>, on: &Key) -> bool {
        self.is_big(on) && !self.is_awaited(node) && !self.identifies(on, &item.key.name)
    }

    pub(super) fn make_index(
        &self,
        node: NodeIndex,
        item: &Item<'_>,
        before: Option<&Body>,
        after: &Index,
    ) -> Vec<Step> {
        let key = item.key;
        if let Some(Body::Index(before)) = before {
            return self.cluster(key, &after.on, before.clustered, after.clustered).into_iter().collect();
        }
        let waits = self.waits(node, item, &after.on);
        let mut step = self.indexed(&after.on, plain(key, index_statement(after, &name(&after.on), waits)));
        if waits {
            step = Step { hazards: vec![Hazard::BuildsIndex], stage: Stage::After, at_top_level: true, ..step };
        }
        let stage = step.stage;
        let clustered = self.cluster(key, &after.on, false, after.clustered);
        std::iter::once(step).chain(clustered.map(|step| Step { stage, ..step })).collect()
    }

    pub(super) fn drop_index(&self, node: NodeIndex, item: &Item<'_>, before: &Index) -> Vec<Step> {
        let key = item.key;
        let unfinished = !before.valid && item.verdict == Verdict::Replace && self.waits(node, item, &before.on);
        if unfinished {
            let sql = format!("DROP INDEX CONCURRENTLY {}", name(key));
            return vec![Step { stage: Stage::After, at_top_level: true, ..plain(key, sql) }];
        }
        // The constraint of a partition of which it is the whole. No other statement lets go of it.
        let takes = |other: NodeIndex| self.items.graph[other].goes() && carrier(self.items, other) == Some(node);
        let cascade = if self.items.nodes().any(takes) { " CASCADE" } else { "" };
        vec![plain(key, format!("DROP INDEX {}{cascade}", name(key)))]
    }

    pub(super) fn make_statistics(&self, key: &Key, before: Option<&Body>, after: &Statistics) -> Vec<Step> {
        let mut steps = Vec::new();
        let target = match before {
            Some(Body::Statistics(before)) => before.target,
            _ => {
                steps.push(plain(key, after.definition.trim_end().trim_end_matches(';').to_owned()));
                None
            }
        };
        if target != after.target {
            let target = after.target.unwrap_or(-1);
            steps.push(plain(key, format!("ALTER STATISTICS {} SET STATISTICS {target}", name(key))));
        }
        steps.iter_mut().for_each(|step| step.safety = Safety::Safe);
        steps
    }
}

/// The definition, which of an index on a partitioned table says ONLY: its partitions would not get theirs. So it is meant only where
/// the index waits for those.
fn index_statement(index: &Index, table: &str, concurrently: bool) -> String {
    let mut sql = index.definition.trim_end_matches(';').to_owned();
    if let Some((head, rest)) = sql.split_once(" ON ONLY ")
        && rest.starts_with(table)
        && index.valid
    {
        sql = format!("{head} ON {rest}");
    }
    if concurrently {
        for head in ["CREATE UNIQUE INDEX ", "CREATE INDEX "] {
            if let Some(rest) = sql.strip_prefix(head) {
                return format!("{head}CONCURRENTLY {rest}");
            }
        }
    }
    sql
}

/// The columns in parentheses of a constraint that is no more than that.
fn plain_columns<'a>(definition: &'a str, words: &str) -> Option<&'a str> {
    let columns = definition.strip_prefix(words)?.trim_start();
    // A key WITHOUT OVERLAPS (18) has an index of another kind, which cannot be made by itself.
    let is_plain = columns.starts_with('(')
        && columns.ends_with(')')
        && columns.matches('(').count() == 1
        && !columns.ends_with(" WITHOUT OVERLAPS)");
    is_plain.then_some(columns)
}
