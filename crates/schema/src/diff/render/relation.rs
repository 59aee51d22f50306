//! Views, routines, triggers, rules and policies.

use super::super::sql::{ident, list, name, option, option_name, owner_name};
use super::{Writer, plain};
use crate::{Body, Column, Key, Kind, MaterializedColumn, MaterializedView, Policy, Routine, Step, Switch, View};

/// ` WITH (…)`, or nothing.
pub(super) fn with(options: &[String]) -> String {
    if options.is_empty() { String::new() } else { format!(" WITH ({})", list(options.iter().map(|o| option(o)))) }
}

/// `SET (…)` and `RESET (…)` that lead from some options to others.
pub(super) fn change_options(before: &[String], after: &[String]) -> Vec<String> {
    let set: Vec<String> = after.iter().filter(|o| !before.contains(o)).map(|o| option(o)).collect();
    let gone = before.iter().map(|o| option_name(o)).filter(|name| !after.iter().any(|o| option_name(o) == *name));
    let reset: Vec<String> = gone.collect();
    let mut actions = Vec::new();
    if !reset.is_empty() {
        actions.push(format!("RESET ({})", list(reset)));
    }
    if !set.is_empty() {
        actions.push(format!("SET ({})", list(set)));
    }
    actions
}

impl Writer<'_, '_> {
    pub(super) fn make_view(&self, key: &Key, before: Option<&Body>, after: &View) -> Vec<Step> {
        let before = match before {
            Some(Body::View(before)) => Some(before),
            _ => None,
        };
        let mut steps = Vec::new();
        let same =
            before.is_some_and(|before| before.definition == after.definition && before.options == after.options);
        if !same {
            let replace = if before.is_some() { "OR REPLACE " } else { "" };
            let sql = format!("CREATE {replace}VIEW {}{} AS\n{}", name(key), with(&after.options), after.definition);
            steps.push(plain(key, sql));
        }
        for (position, column) in after.columns.iter().enumerate() {
            let old = before.and_then(|before| before.columns.get(position));
            let target = ident(&column.name);
            if old.and_then(|old| old.default.as_ref()) != column.default.as_ref() {
                let action = match &column.default {
                    Some(default) => format!("SET DEFAULT {default}"),
                    None => "DROP DEFAULT".to_owned(),
                };
                steps.push(plain(key, format!("ALTER VIEW {} ALTER COLUMN {target} {action}", name(key))));
            }
            if old.and_then(|old| old.comment.as_ref()) != column.comment.as_ref() {
                let clause = format!("COLUMN {}.{target}", name(key));
                steps.extend(self.comment_on(key, &clause, column.comment.as_deref()));
            }
        }
        steps
    }

    pub(super) fn make_materialized_view(
        &self,
        key: &Key,
        before: Option<&Body>,
        after: &MaterializedView,
    ) -> Vec<Step> {
        let Some(Body::MaterializedView(before)) = before else {
            let method = after.access_method.as_ref().map(|name| format!(" USING {}", ident(name))).unwrap_or_default();
            let data = if after.populated { "" } else { "\nWITH NO DATA" };
            let head = format!("CREATE MATERIALIZED VIEW {}{method}{}", name(key), with(&after.options));
            let create = plain(key, format!("{head} AS\n{}{data}", after.definition));
            return std::iter::once(create).chain(self.materialized_columns(key, &[], &after.columns)).collect();
        };
        let mut steps: Vec<Step> = change_options(&before.options, &after.options)
            .into_iter()
            .map(|action| plain(key, format!("ALTER MATERIALIZED VIEW {} {action}", name(key))))
            .collect();
        steps.extend(self.materialized_columns(key, &before.columns, &after.columns));
        if after.populated && !before.populated {
            steps.push(plain(key, format!("REFRESH MATERIALIZED VIEW {}", name(key))));
        }
        steps
    }

    fn materialized_columns(
        &self,
        key: &Key,
        before: &[MaterializedColumn],
        after: &[MaterializedColumn],
    ) -> Vec<Step> {
        let unset = |column: &MaterializedColumn| MaterializedColumn {
            storage: None,
            compression: None,
            statistics: None,
            options: Vec::new(),
            comment: None,
            ..column.clone()
        };
        let find = |columns: &[MaterializedColumn], other: &MaterializedColumn| {
            columns.iter().find(|column| column.name == other.name).cloned().unwrap_or_else(|| unset(other))
        };
        let gone = before.iter().filter(|old| !after.iter().any(|new| new.name == old.name));
        let pairs = after.iter().map(|new| (find(before, new), new.clone()));
        let pairs = pairs.chain(gone.map(|old| (old.clone(), unset(old))));
        let mut steps = Vec::new();
        for (old, new) in pairs {
            let column = Key::part(Kind::Column, &key.schema, &key.name, &new.name);
            let settings = self.settings(&column, &as_column(&old), &as_column(&new), false).into_iter();
            steps.extend(settings.map(|step| Step { object: key.clone(), ..step }));
            if old.comment != new.comment {
                let clause = format!("COLUMN {}.{}", name(key), ident(&new.name));
                steps.extend(self.comment_on(key, &clause, new.comment.as_deref()));
            }
        }
        steps
    }

    pub(super) fn make_routine(&self, key: &Key, before: Option<&Body>, after: &Routine) -> Vec<Step> {
        match before {
            Some(Body::Routine(before)) if before == after => Vec::new(),
            _ => vec![plain(key, after.definition.trim_end().trim_end_matches(';').to_owned())],
        }
    }

    pub(super) fn make_switch(&self, key: &Key, before: Option<&Body>, after: &Switch) -> Vec<Step> {
        let before = match before {
            Some(Body::Trigger(before) | Body::Rule(before)) => Some(before),
            _ => None,
        };
        let mut steps = Vec::new();
        if before.is_none() {
            steps.push(plain(key, after.definition.trim_end().trim_end_matches(';').to_owned()));
        }
        if before.map_or("O", |before| before.enabled.as_str()) != after.enabled {
            steps.push(self.switch(key, key, &after.enabled));
        }
        steps
    }

    /// Tells a trigger or rule when to fire, as a step of an object.
    pub(super) fn switch(&self, object: &Key, key: &Key, enabled: &str) -> Step {
        let how = match enabled {
            "D" => "DISABLE",
            "R" => "ENABLE REPLICA",
            "A" => "ENABLE ALWAYS",
            _ => "ENABLE",
        };
        let word = if key.kind == Kind::Rule { "RULE" } else { "TRIGGER" };
        plain(object, format!("ALTER TABLE {} {how} {word} {}", owner_name(key), ident(&key.name)))
    }

    pub(super) fn create_policy(&self, key: &Key, policy: &Policy) -> Vec<Step> {
        let kind = if policy.permissive { "" } else { " AS RESTRICTIVE" };
        let command = if policy.command == "ALL" { String::new() } else { format!(" FOR {}", policy.command) };
        let roles = if policy.roles.is_empty() {
            String::new()
        } else {
            format!(" TO {}", list(policy.roles.iter().map(|role| ident(role))))
        };
        let using = policy.using.as_ref().map(|text| format!(" USING ({text})")).unwrap_or_default();
        let check = policy.check.as_ref().map(|text| format!(" WITH CHECK ({text})")).unwrap_or_default();
        let head = format!("CREATE POLICY {} ON {}", ident(&key.name), owner_name(key));
        vec![plain(key, format!("{head}{kind}{command}{roles}{using}{check}"))]
    }
}

/// The column of a materialized view as one of a table: ALTER TABLE changes its settings too.
fn as_column(column: &MaterializedColumn) -> Column {
    Column {
        data_type: column.data_type.clone(),
        collation: None,
        not_null: false,
        not_valid: false,
        no_inherit: false,
        default: None,
        generated: None,
        identity: None,
        storage: column.storage.clone(),
        compression: column.compression.clone(),
        statistics: column.statistics,
        options: column.options.clone(),
        is_local: true,
    }
}
