//! Tables as statements.

use super::model::{
    Column, Constraint, Default, Index, IndexKey, Name, Policy, RewriteRule, Rule, Schema, Table, Trigger, ident,
};
use super::render::{Pieces, path};
use super::types::{Type, quote};

/// All tables, each with all that belongs to it; the foreign keys that look ahead, policies and the like come after all tables.
pub(super) fn tables(schema: &Schema, out: &mut Pieces) {
    for (place, table) in schema.tables.iter().enumerate() {
        create(schema, table, place, out);
    }
    for (place, table) in schema.tables.iter().enumerate() {
        let path = path("tables", &table.name);
        for constraint in &table.constraints {
            if !is_inline(schema, constraint, place) {
                out.add(
                    &path,
                    format!("ALTER TABLE {} ADD {}", table.name.sql(), constraint_sql(schema, table, constraint)),
                );
            }
            if let (Some(name), Some(_)) = (&constraint.name, &constraint.comment) {
                out.comment(&path, &format!("CONSTRAINT {} ON {}", ident(name), table.name.sql()), &constraint.comment);
            }
        }
        let columns = schema.columns_of(table);
        indexes(schema, &table.name, &table.indexes, &columns, &path, out);
        for trigger in &table.triggers {
            render_trigger(schema, table, trigger, &columns, &path, out);
        }
        for policy in &table.policies {
            render_policy(schema, table, policy, &columns, &path, out);
        }
        for rule in &table.rules {
            render_rule(schema, table, rule, &columns, &path, out);
        }
    }
}

fn create(schema: &Schema, table: &Table, place: usize, out: &mut Pieces) {
    let path = path("tables", &table.name);
    let name = table.name.sql();
    let inline: Vec<String> = table
        .constraints
        .iter()
        .filter(|constraint| is_inline(schema, constraint, place))
        .map(|constraint| constraint_sql(schema, table, constraint))
        .collect();
    let unlogged = if table.unlogged { "UNLOGGED " } else { "" };
    let options =
        if table.options.is_empty() { String::new() } else { format!(" WITH ({})", table.options.join(", ")) };
    let mut sql = format!("CREATE {unlogged}TABLE {name} ");
    if let Some(of) = &table.partition_of {
        let constraints = if inline.is_empty() { String::new() } else { format!("({}) ", inline.join(", ")) };
        sql.push_str(&format!("PARTITION OF {} {constraints}{}", of.table.sql(), bound(schema, table)));
    } else if let Some(of) = &table.of_type {
        let constraints = if inline.is_empty() { String::new() } else { format!(" ({})", inline.join(", ")) };
        sql.push_str(&format!("OF {}{constraints}", of.sql()));
    } else {
        let columns = table.columns.iter().map(|column| column_sql(schema, table, column));
        sql.push_str(&format!("({})", columns.chain(inline).collect::<Vec<_>>().join(", ")));
    }
    if let Some(parent) = &table.inherits {
        sql.push_str(&format!(" INHERITS ({})", parent.sql()));
    }
    if let Some(by) = &table.partition_by {
        sql.push_str(&format!(" PARTITION BY {} ({})", by.strategy.to_uppercase(), ident(&by.column)));
    }
    sql.push_str(&options);
    out.add(&path, sql);
    for column in &table.columns {
        let c = ident(&column.name);
        if let Some(storage) = &column.storage {
            out.add(&path, format!("ALTER TABLE {name} ALTER COLUMN {c} SET STORAGE {storage}"));
        }
        if let Some(statistics) = column.statistics {
            out.add(&path, format!("ALTER TABLE {name} ALTER COLUMN {c} SET STATISTICS {statistics}"));
        }
        if !column.options.is_empty() {
            out.add(&path, format!("ALTER TABLE {name} ALTER COLUMN {c} SET ({})", column.options.join(", ")));
        }
        if column.granted {
            out.add(&path, format!("GRANT SELECT ({c}) ON {name} TO PUBLIC"));
        }
        out.comment(&path, &format!("COLUMN {name}.{c}"), &column.comment);
    }
    for (on, clause) in [
        (table.row_security, "ENABLE ROW LEVEL SECURITY"),
        (table.force_row_security, "FORCE ROW LEVEL SECURITY"),
        (table.replica_full, "REPLICA IDENTITY FULL"),
    ] {
        if on {
            out.add(&path, format!("ALTER TABLE {name} {clause}"));
        }
    }
    for statistics in &table.statistics {
        let kinds =
            if statistics.kinds.is_empty() { String::new() } else { format!(" ({})", statistics.kinds.join(", ")) };
        let columns: Vec<String> = statistics.columns.iter().map(|column| ident(column)).collect();
        let own = Name { schema: table.name.schema.clone(), name: statistics.name.clone() };
        out.add(&path, format!("CREATE STATISTICS {}{kinds} ON {} FROM {name}", own.sql(), columns.join(", ")));
        out.comment(&path, &format!("STATISTICS {}", own.sql()), &statistics.comment);
    }
    for grant in &table.grants {
        out.add(&path, format!("GRANT {grant} ON {name} TO PUBLIC"));
    }
    out.comment(&path, &format!("TABLE {name}"), &table.comment);
}

/// Whether a constraint can be part of its CREATE TABLE.
fn is_inline(schema: &Schema, constraint: &Constraint, place: usize) -> bool {
    match &constraint.rule {
        Rule::Foreign { table, not_valid, .. } => {
            !not_valid && schema.tables.iter().position(|t| t.name == *table).is_some_and(|at| at < place)
        }
        Rule::Check { not_valid, .. } => !not_valid,
        _ => true,
    }
}

fn column_sql(schema: &Schema, table: &Table, column: &Column) -> String {
    let mut sql = ident(&column.name);
    if column.serial {
        sql.push_str(if column.data_type.is(&["bigint"]) { " bigserial" } else { " serial" });
    } else {
        sql.push_str(&format!(" {}", column.data_type.sql()));
    }
    if let Some(compression) = &column.compression {
        sql.push_str(&format!(" COMPRESSION {compression}"));
    }
    if let Some(collation) = &column.collation {
        sql.push_str(&format!(" COLLATE \"{collation}\""));
    }
    if let Some((from, key)) = &column.generated {
        let columns = schema.columns_of(table);
        let of = columns.iter().find(|(name, _)| name == from).map(|(_, of)| of.clone());
        let expression = generation(&of.unwrap_or(Type::builtin("integer")), from, key);
        sql.push_str(&format!(" GENERATED ALWAYS AS ({expression}) STORED"));
    }
    if let Some(identity) = &column.identity {
        let when = if identity.always { "ALWAYS" } else { "BY DEFAULT" };
        sql.push_str(&format!(" GENERATED {when} AS IDENTITY"));
        if !identity.options.is_empty() {
            sql.push_str(&format!(" ({})", identity.options.join(" ")));
        }
    }
    if column.not_null {
        sql.push_str(" NOT NULL");
    }
    match &column.default {
        None => {}
        Some(Default::Sample(n)) => sql.push_str(&format!(" DEFAULT {}", column.data_type.literal(schema, *n))),
        Some(Default::Now) => sql.push_str(" DEFAULT now()"),
        Some(Default::NextVal(sequence)) => {
            sql.push_str(&format!(" DEFAULT nextval({})", quote(&sequence.sql())));
        }
        Some(Default::Maker(routine)) => sql.push_str(&format!(" DEFAULT {}()", routine.sql())),
    }
    sql
}

/// The expression of a generated column.
fn generation(of: &Type, from: &str, key: &Option<Name>) -> String {
    let c = ident(from);
    match key {
        Some(key) => format!("{}({c})", key.sql()),
        None if of.is_integer() => format!("{c}::bigint * 2"),
        None if of.is_text() => format!("lower({c})"),
        None => format!("{c} IS NULL"),
    }
}

/// The type of a generated column.
pub(super) fn generated_type(of: &Type, key: &Option<Name>) -> Type {
    match key {
        Some(_) => Type::builtin("text"),
        None if of.is_integer() => Type::builtin("bigint"),
        None if of.is_text() => Type::builtin("text"),
        None => Type::builtin("boolean"),
    }
}

fn bound(schema: &Schema, table: &Table) -> String {
    let Some(of) = &table.partition_of else { return String::new() };
    let parent = schema.table(&of.table);
    let Some(by) = parent.and_then(|parent| parent.partition_by.as_ref()) else { return "DEFAULT".to_owned() };
    let columns = parent.map(|parent| schema.columns_of(parent)).unwrap_or_default();
    let is_date = columns.iter().any(|(name, of)| *name == by.column && of.is(&["date"]));
    let n = u32::from(of.bound);
    match (&*by.strategy, n) {
        ("hash", n) => format!("FOR VALUES WITH (MODULUS 8, REMAINDER {n})"),
        (_, 0) => "DEFAULT".to_owned(),
        ("range", n) if is_date => format!("FOR VALUES FROM ('{}-01-01') TO ('{}-01-01')", 2000 + n, 2001 + n),
        ("range", 1) => "FOR VALUES FROM (MINVALUE) TO (100)".to_owned(),
        ("range", n) => format!("FOR VALUES FROM ({}) TO ({})", (n - 1) * 100, n * 100),
        (_, n) => format!("FOR VALUES IN ('{}', '{}')", n, 100 + n),
    }
}

fn names(columns: &[String]) -> String {
    columns.iter().map(|column| ident(column)).collect::<Vec<_>>().join(", ")
}

fn included(include: &[String]) -> String {
    if include.is_empty() { String::new() } else { format!(" INCLUDE ({})", names(include)) }
}

fn constraint_sql(schema: &Schema, table: &Table, constraint: &Constraint) -> String {
    let columns = schema.columns_of(table);
    let mut sql = constraint.name.as_ref().map(|name| format!("CONSTRAINT {} ", ident(name))).unwrap_or_default();
    let deferred = |on: bool| if on { " DEFERRABLE INITIALLY DEFERRED" } else { "" };
    match &constraint.rule {
        Rule::Primary { columns, include, deferrable } => {
            sql.push_str(&format!("PRIMARY KEY ({}){}{}", names(columns), included(include), deferred(*deferrable)));
        }
        Rule::Unique { columns, include, deferrable, nulls_not_distinct } => {
            let nulls = if *nulls_not_distinct { " NULLS NOT DISTINCT" } else { "" };
            let (columns, include) = (names(columns), included(include));
            sql.push_str(&format!("UNIQUE{nulls} ({columns}){include}{}", deferred(*deferrable)));
        }
        Rule::Check { condition, no_inherit, not_valid } => {
            sql.push_str(&format!("CHECK ({})", schema.condition(condition, &columns, "")));
            sql.push_str(if *no_inherit { " NO INHERIT" } else { "" });
            sql.push_str(if *not_valid { " NOT VALID" } else { "" });
        }
        Rule::Foreign { column, table, referenced, actions, deferrable, not_valid } => {
            let referenced = referenced.as_ref().map(|c| format!(" ({})", ident(c))).unwrap_or_default();
            sql.push_str(&format!("FOREIGN KEY ({}) REFERENCES {}{referenced}{actions}", ident(column), table.sql()));
            sql.push_str(["", " DEFERRABLE", " DEFERRABLE INITIALLY DEFERRED"][usize::from(*deferrable) % 3]);
            sql.push_str(if *not_valid { " NOT VALID" } else { "" });
        }
        Rule::Exclude { column, condition, deferrable } => {
            let ranges = columns.iter().any(|(name, of)| name == column && schema.is_range(of));
            let (method, operator) = if ranges { ("gist", "&&") } else { ("btree", "=") };
            sql.push_str(&format!("EXCLUDE USING {method} ({} WITH {operator})", ident(column)));
            if let Some(condition) = condition {
                sql.push_str(&format!(" WHERE ({})", schema.condition(condition, &columns, "")));
            }
            sql.push_str(deferred(*deferrable));
        }
    }
    sql
}

/// The indexes of a table or materialized view.
pub(super) fn indexes(
    schema: &Schema,
    on: &Name,
    indexes: &[Index],
    columns: &[(String, Type)],
    path: &str,
    out: &mut Pieces,
) {
    for index in indexes {
        let keys: Vec<String> = index.keys.iter().map(|key| key_sql(key, &index.method, columns)).collect();
        let unique = if index.unique { "UNIQUE " } else { "" };
        let mut sql = format!(
            "CREATE {unique}INDEX {} ON {} USING {} ({}){}",
            ident(&index.name),
            on.sql(),
            index.method,
            keys.join(", "),
            included(&index.include)
        );
        if let Some(fillfactor) = index.fillfactor {
            sql.push_str(&format!(" WITH (fillfactor = {fillfactor})"));
        }
        if let Some(condition) = &index.condition {
            sql.push_str(&format!(" WHERE {}", schema.condition(condition, columns, "")));
        }
        out.add(path, sql);
        let own = Name { schema: on.schema.clone(), name: index.name.clone() };
        if let Some(statistics) = index.statistics {
            // Only an expression has statistics of its own.
            if let Some(place) = index.keys.iter().position(|key| key.shape == 1) {
                out.add(
                    path,
                    format!("ALTER INDEX {} ALTER COLUMN {} SET STATISTICS {statistics}", own.sql(), place + 1),
                );
            }
        }
        out.comment(path, &format!("INDEX {}", own.sql()), &index.comment);
    }
}

fn key_sql(key: &IndexKey, method: &str, columns: &[(String, Type)]) -> String {
    let c = ident(&key.column);
    let of = columns.iter().find(|(name, _)| *name == key.column).map(|(_, of)| of.clone());
    let of = of.unwrap_or(Type::builtin("integer"));
    let mut sql = match (key.shape, &key.key) {
        (1, Some(function)) => format!("{}({c})", function.sql()),
        (1, None) if of.is_text() => format!("lower({c})"),
        (1, None) => format!("({c} IS NULL)"),
        _ => c,
    };
    if let Some(collation) = key.collation.as_ref().filter(|_| of.is_text()) {
        sql.push_str(&format!(" COLLATE \"{collation}\""));
    }
    if key.pattern_ops && key.shape == 0 {
        if method == "btree" && of.is_text() {
            sql.push_str(" text_pattern_ops");
        } else if method == "gin" && of.is(&["jsonb"]) {
            sql.push_str(" jsonb_path_ops");
        }
    }
    if method == "btree" && !key.order.is_empty() {
        sql.push_str(&format!(" {}", key.order));
    }
    sql
}

fn render_trigger(
    schema: &Schema,
    table: &Table,
    trigger: &Trigger,
    columns: &[(String, Type)],
    path: &str,
    out: &mut Pieces,
) {
    let name = table.name.sql();
    let constraint = if trigger.constraint > 0 { "CONSTRAINT " } else { "" };
    let when = if trigger.before { "BEFORE" } else { "AFTER" };
    let events: Vec<String> = trigger
        .events
        .iter()
        .map(|event| match event.as_str() {
            "UPDATE" if !trigger.update_of.is_empty() => format!("UPDATE OF {}", names(&trigger.update_of)),
            other => other.to_owned(),
        })
        .collect();
    let mut sql =
        format!("CREATE {constraint}TRIGGER {} {when} {} ON {name}", ident(&trigger.name), events.join(" OR "));
    sql.push_str(["", " DEFERRABLE", " DEFERRABLE INITIALLY DEFERRED"][usize::from(trigger.constraint) % 3]);
    if trigger.transition {
        let (old, new) = (" OLD TABLE AS gone", " NEW TABLE AS come");
        sql.push_str(" REFERENCING");
        sql.push_str(match trigger.events.first().map(String::as_str) {
            Some("INSERT") => new,
            Some("DELETE") => old,
            _ => " OLD TABLE AS gone NEW TABLE AS come",
        });
    }
    sql.push_str(if trigger.row { " FOR EACH ROW" } else { " FOR EACH STATEMENT" });
    if let Some(condition) = &trigger.condition {
        sql.push_str(&format!(" WHEN ({})", schema.condition(condition, columns, "NEW.")));
    }
    let arguments: Vec<String> = trigger.arguments.iter().map(|argument| quote(argument)).collect();
    sql.push_str(&format!(" EXECUTE FUNCTION {}({})", trigger.function.sql(), arguments.join(", ")));
    out.add(path, sql);
    if trigger.disabled {
        out.add(path, format!("ALTER TABLE {name} DISABLE TRIGGER {}", ident(&trigger.name)));
    }
    out.comment(path, &format!("TRIGGER {} ON {name}", ident(&trigger.name)), &trigger.comment);
}

fn render_policy(
    schema: &Schema,
    table: &Table,
    policy: &Policy,
    columns: &[(String, Type)],
    path: &str,
    out: &mut Pieces,
) {
    let name = table.name.sql();
    let kind = if policy.restrictive { " AS RESTRICTIVE" } else { "" };
    let mut sql = format!("CREATE POLICY {} ON {name}{kind} FOR {}", ident(&policy.name), policy.command);
    if policy.command != "INSERT" {
        sql.push_str(&format!(" USING ({})", schema.condition(&policy.using, columns, "")));
    }
    let check = if policy.command == "INSERT" { Some(&policy.using) } else { policy.check.as_ref() };
    if let Some(check) = check.filter(|_| !["SELECT", "DELETE"].contains(&policy.command.as_str())) {
        sql.push_str(&format!(" WITH CHECK ({})", schema.condition(check, columns, "")));
    }
    out.add(path, sql);
    out.comment(path, &format!("POLICY {} ON {name}", ident(&policy.name)), &policy.comment);
}

fn render_rule(
    schema: &Schema,
    table: &Table,
    rule: &RewriteRule,
    columns: &[(String, Type)],
    path: &str,
    out: &mut Pieces,
) {
    let name = table.name.sql();
    let mut sql = format!("CREATE RULE {} AS ON {} TO {name}", ident(&rule.name), rule.event);
    if let Some(condition) = &rule.condition {
        let prefix = if rule.event == "INSERT" { "NEW." } else { "OLD." };
        sql.push_str(&format!(" WHERE {}", schema.condition(condition, columns, prefix)));
    }
    sql.push_str(if rule.instead { " DO INSTEAD NOTHING" } else { " DO ALSO NOTHING" });
    out.add(path, sql);
    if rule.disabled {
        out.add(path, format!("ALTER TABLE {name} DISABLE RULE {}", ident(&rule.name)));
    }
    out.comment(path, &format!("RULE {} ON {name}", ident(&rule.name)), &rule.comment);
}

impl Schema {
    pub(super) fn is_range(&self, of: &Type) -> bool {
        match of.base(self) {
            Type::Range(_) => true,
            base => base.is(&["int4range", "int8range", "numrange", "tstzrange", "daterange"]),
        }
    }
}
