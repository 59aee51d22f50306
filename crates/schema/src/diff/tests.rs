//! Pure tests: order, hazards, stages, classes. That the statements run is shown in tests/tests/differ, on a server.

use std::collections::BTreeSet;
use std::time::Duration;

use super::*;
use crate::{
    Address, Body, Column, Constraint, ConstraintType, Enum, Grant, Hazard, Index, Kind, Notes, Object, Safety, Stage,
    Switch, Table, View, ViewColumn,
};

fn key(kind: Kind, name: &str) -> Key {
    match name.split_once('.') {
        Some((table, name)) => Key::part(kind, "public", table, name),
        None => Key::new(kind, "public", name),
    }
}

fn object(kind: Kind, name: &str, body: Body, needs: &[Key]) -> Object {
    let (comment, grants, notes) = (None, Vec::new(), Notes::default());
    Object { key: key(kind, name), body, comment, grants, needs: needs.iter().cloned().collect(), notes }
}

fn table(name: &str, bytes: u64) -> Object {
    let body = Table {
        unlogged: false,
        partition_key: None,
        partition_of: None,
        inherits: Vec::new(),
        of_type: None,
        options: Vec::new(),
        access_method: None,
        replica_identity: "default".to_owned(),
        row_security: crate::RowSecurity { enabled: false, forced: false },
        triggers: Vec::new(),
    };
    let mut object = object(Kind::Table, name, Body::Table(body), &[]);
    object.notes.bytes = bytes;
    object
}

fn column(name: &str, data_type: &str, change: impl FnOnce(&mut Column)) -> Object {
    let mut body = Column {
        data_type: data_type.to_owned(),
        collation: None,
        not_null: false,
        not_valid: false,
        no_inherit: false,
        default: None,
        generated: None,
        identity: None,
        storage: None,
        compression: None,
        statistics: None,
        options: Vec::new(),
        is_local: true,
    };
    change(&mut body);
    object(Kind::Column, name, Body::Column(body), &[])
}

fn view(name: &str, definition: &str, columns: &[(&str, &str)], needs: &[Key]) -> Object {
    let columns = columns.iter().map(|(name, data_type)| ViewColumn {
        name: (*name).to_owned(),
        data_type: (*data_type).to_owned(),
        default: None,
        comment: None,
    });
    let body = View { definition: definition.to_owned(), options: Vec::new(), columns: columns.collect() };
    object(Kind::View, name, Body::View(body), needs)
}

fn index(name: &str, on: &str, definition: &str, valid: bool) -> Object {
    let body =
        Index { on: key(Kind::Table, on), definition: definition.to_owned(), unique: false, valid, clustered: false };
    object(Kind::Index, name, Body::Index(body), &[])
}

fn constraint(name: &str, constraint_type: ConstraintType, definition: &str, needs: &[Key]) -> Object {
    let body = Constraint {
        constraint_type,
        definition: definition.to_owned(),
        validated: true,
        clustered: false,
        index_comment: None,
    };
    object(Kind::Constraint, name, Body::Constraint(body), needs)
}

fn labels(name: &str, labels: &[&str]) -> Object {
    let body = Enum { labels: labels.iter().map(|label| (*label).to_owned()).collect() };
    object(Kind::Enum, name, Body::Enum(body), &[])
}

fn model(objects: &[Object]) -> Model {
    Model::from(objects.to_vec())
}

/// Everything present was declared.
fn plan(present: &[Object], wanted: &[Object], online_bytes: u64) -> Vec<Step> {
    let (present, wanted) = (model(present), model(wanted));
    let declared_before: BTreeSet<Key> = present.keys().cloned().collect();
    steps(&present, &Wanted { model: &wanted, declared_before: &declared_before, online_bytes })
}

fn sql(steps: &[Step]) -> Vec<&str> {
    steps.iter().map(|step| step.sql.as_str()).collect()
}

#[test]
fn equal_states_need_nothing() {
    let state = [table("t", 0), column("t.a", "integer", |_| {}), labels("e", &["x"])];
    assert_eq!(plan(&state, &state, 0), []);
    assert_eq!(differences(&model(&state), &model(&state)), []);
}

#[test]
fn a_view_is_out_of_the_way_of_its_column() {
    let on = [key(Kind::Column, "t.a")];
    let old = [table("t", 8192), column("t.a", "integer", |_| {}), view("v", "SELECT a", &[("a", "integer")], &on)];
    let new = [table("t", 0), column("t.a", "bigint", |_| {}), view("v", "SELECT a", &[("a", "bigint")], &on)];
    let plan = plan(&old, &new, u64::MAX);
    assert_eq!(
        sql(&plan),
        ["DROP VIEW public.v", "ALTER TABLE public.t ALTER COLUMN a TYPE bigint", "CREATE VIEW public.v AS\nSELECT a"]
    );
    assert_eq!(plan[1].hazards, [Hazard::RewritesTable, Hazard::StrongLock]);
    assert_eq!(plan[1].safety, Safety::Safe);
}

#[test]
fn work_on_big_tables_waits() {
    let old = [
        table("t", 1 << 20),
        column("t.a", "integer", |_| {}),
        index("broken", "t", "CREATE INDEX broken ON public.t USING btree (a)", false),
    ];
    let new = [
        table("t", 0),
        column("t.a", "integer", |_| {}),
        index("broken", "t", "CREATE INDEX broken ON public.t USING btree (a)", true),
        index("i", "t", "CREATE UNIQUE INDEX i ON public.t USING btree (a)", true),
        constraint("t.c", ConstraintType::Check, "CHECK ((a > 0))", &[key(Kind::Column, "t.a")]),
        constraint("t.u", ConstraintType::Unique, "UNIQUE (a)", &[key(Kind::Column, "t.a")]),
    ];
    let online = plan(&old, &new, 1 << 20);
    assert_eq!(
        sql(&online),
        [
            "ALTER TABLE public.t ADD CONSTRAINT c CHECK ((a > 0)) NOT VALID",
            "DROP INDEX CONCURRENTLY public.broken",
            "ALTER TABLE public.t VALIDATE CONSTRAINT c",
            "CREATE UNIQUE INDEX CONCURRENTLY u ON public.t (a)",
            "ALTER TABLE public.t ADD CONSTRAINT u UNIQUE USING INDEX u",
            "CREATE INDEX CONCURRENTLY broken ON public.t USING btree (a)",
            "CREATE UNIQUE INDEX CONCURRENTLY i ON public.t USING btree (a)",
        ]
    );
    let top: Vec<bool> = online.iter().map(|step| step.at_top_level).collect();
    assert_eq!(top, [false, true, false, true, false, true, true]);
    assert!(online[1..].iter().all(|step| step.stage == Stage::After));

    let at_once = plan(&old, &new, u64::MAX);
    assert!(at_once.iter().all(|step| step.stage == Stage::Within && !step.at_top_level));
    assert!(at_once.iter().any(|step| step.hazards == [Hazard::BuildsIndex, Hazard::StrongLock]));
}

#[test]
fn new_labels_are_committed_before() {
    let steps = plan(&[labels("e", &["b"])], &[labels("e", &["a", "b", "c"])], 0);
    assert_eq!(
        sql(&steps),
        [
            "ALTER TYPE public.e ADD VALUE IF NOT EXISTS 'a' BEFORE 'b'",
            "ALTER TYPE public.e ADD VALUE IF NOT EXISTS 'c' AFTER 'b'"
        ]
    );
    assert!(steps.iter().all(|step| step.stage == Stage::Before));
}

#[test]
fn only_what_was_declared_is_dropped() {
    let present = model(&[table("a", 0), table("b", 0), labels("e", &["x"])]);
    let (wanted, declared_before) = (Model::default(), BTreeSet::from([key(Kind::Table, "a")]));
    let steps = steps(&present, &Wanted { model: &wanted, declared_before: &declared_before, online_bytes: 0 });
    assert_eq!(sql(&steps), ["DROP TABLE public.a"]);
    assert_eq!((steps[0].safety, steps[0].hazards.as_slice()), (Safety::Dataloss, [Hazard::DeletesData].as_slice()));
}

#[test]
fn rights_end_as_they_are_wanted() {
    let grant = |grantee: &str, privilege: &str| Grant {
        grantee: grantee.to_owned(),
        privilege: privilege.to_owned(),
        grantable: false,
    };
    let all = ["DELETE", "INSERT", "REFERENCES", "SELECT", "TRIGGER", "TRUNCATE", "UPDATE"];
    let mut old = table("t", 0);
    old.grants = all.iter().map(|privilege| grant("owner", privilege)).chain([grant("x", "SELECT")]).collect();
    let mut new = table("t", 0);
    new.grants = all.iter().map(|privilege| grant("owner", privilege)).chain([grant("", "SELECT")]).collect();
    let both = ["REVOKE SELECT ON TABLE public.t FROM x", "GRANT SELECT ON TABLE public.t TO PUBLIC"];
    assert_eq!(sql(&plan(&[old], &[new.clone()], 0)), both);
    // What the owner has of itself is not granted to a new table.
    assert_eq!(sql(&plan(&[], &[new], 0)), ["CREATE TABLE public.t ()", both[1]]);
}

#[test]
fn renames_apply_where_they_can() {
    let present = model(&[table("old", 0), column("old.a", "integer", |_| {}), table("here", 0)]);
    let rename = |kind, from: &str, to: &str| Rename { from: key(kind, from), to: key(kind, to) };
    let asked = [
        rename(Kind::Table, "old", "New"),
        rename(Kind::Column, "New.a", "New.b"),
        rename(Kind::Table, "gone", "here"),
        rename(Kind::Column, "here.x", "here.y"),
    ];
    let steps = renames(&present, &asked);
    let renamed = "ALTER TABLE public.\"New\" RENAME COLUMN a TO b";
    assert_eq!(sql(&steps), ["ALTER TABLE public.old RENAME TO \"New\"", renamed]);
    // The same, the column's table by its old name.
    let asked = [asked[0].clone(), Rename { from: key(Kind::Column, "old.a"), to: key(Kind::Column, "New.b") }];
    assert_eq!(sql(&renames(&present, &asked)), ["ALTER TABLE public.old RENAME TO \"New\"", renamed]);
}

#[test]
fn a_constraint_of_another_name_is_renamed() {
    let of = |name: &str| {
        [
            table("t", 0),
            column("t.a", "integer", |_| {}),
            constraint(name, ConstraintType::Unique, "UNIQUE (a)", &[key(Kind::Column, "t.a")]),
        ]
    };
    assert_eq!(sql(&plan(&of("t.x"), &of("t.y"), 0)), ["ALTER TABLE public.t RENAME CONSTRAINT x TO y"]);
}

#[test]
fn differences_say_what_differs() {
    let old = [table("t", 0), column("t.a", "integer", |c| c.default = Some("0".to_owned())), labels("e", &["x"])];
    let new = [table("t", 0), column("t.a", "integer", |c| c.default = Some("1".to_owned())), table("u", 0)];
    let found: Vec<String> = differences(&model(&old), &model(&new))
        .iter()
        .map(|found| format!("{} {} {}", found.deviation.word(), found.object, found.detail))
        .collect();
    assert_eq!(found, ["missing table u ", "changed column t.a default: 0 → 1", "extra enum e "]);
}

/// Classifies from the wanted model's point of view, everything declared; as `column change allow safety by_migration`.
fn classes(before: &[Object], now: &[Object], wanted: &[Object]) -> Vec<String> {
    let (before, now, wanted) = (model(before), model(now), model(wanted));
    let declared_before: BTreeSet<Key> = before.keys().chain(now.keys()).cloned().collect();
    let wanted = Wanted { model: &wanted, declared_before: &declared_before, online_bytes: 0 };
    classify(&before, &now, &wanted)
        .into_iter()
        .map(|found| {
            let by = if found.by_migration { " by migration" } else { "" };
            let column = found.column.map(|column| format!(".{column}")).unwrap_or_default();
            let allow = found.allow.map(|allow| format!(" {}", allow.word())).unwrap_or_default();
            format!("{} {}{column}: {}{allow}{by}", found.change_type, found.table, found.safety.word())
        })
        .collect()
}

fn at(mut object: Object, oid: u32, number: i32) -> Object {
    object.notes.address = Some(Address { class: 1259, object: oid, column: number });
    object
}

#[test]
fn changes_are_classed() {
    let old = [
        table("t", 0),
        column("t.gone", "integer", |_| {}),
        column("t.wide", "integer", |_| {}),
        column("t.narrow", "text", |_| {}),
        column("t.other", "text", |_| {}),
        column("t.strict", "text", |_| {}),
        column("t.loose", "text", |c| c.not_null = true),
        labels("e", &["a", "b"]),
        table("dropped", 0),
        column("dropped.x", "integer", |_| {}),
    ];
    let new = [
        table("t", 0),
        column("t.wide", "bigint", |_| {}),
        column("t.narrow", "character varying(5)", |_| {}),
        column("t.other", "integer", |_| {}),
        column("t.strict", "text", |c| c.not_null = true),
        column("t.loose", "text", |_| {}),
        column("t.nullable", "text", |_| {}),
        column("t.filled", "text", |c| (c.not_null, c.default) = (true, Some("''".to_owned()))),
        column("t.demanding", "text", |c| c.not_null = true),
        labels("e", &["a"]),
        table("created", 0),
        column("created.x", "integer", |c| c.not_null = true),
    ];
    let mut expected = vec![
        "AddColumn t.demanding: dataloss add_not_null_column",
        "AddColumn t.filled: safe",
        "AddColumn t.nullable: safe",
        "CreateTable created: safe",
        "DropColumn t.gone: dataloss drop_column",
        "DropEnumValue e: dataloss drop_enum_value",
        "DropTable dropped: dataloss drop_table",
        "ModifyColumnNullable t.loose: safe",
        "ModifyColumnNullable t.strict: dataloss set_not_null",
        "ModifyColumnType t.narrow: dataloss modify_column_type",
        "ModifyColumnType t.other: incompatible modify_column_type",
        "ModifyColumnType t.wide: safe",
    ];
    let mut found = classes(&old, &old, &new);
    found.sort();
    assert_eq!(found, expected);

    // A migration made all of it: drops and narrowing are still losses.
    expected = vec![
        "AddColumn t.demanding: safe by migration",
        "AddColumn t.filled: safe by migration",
        "AddColumn t.nullable: safe by migration",
        "CreateTable created: safe by migration",
        "DropColumn t.gone: dataloss drop_column",
        "DropEnumValue e: dataloss drop_enum_value",
        "DropTable dropped: dataloss drop_table",
        "ModifyColumnNullable t.loose: safe by migration",
        "ModifyColumnNullable t.strict: safe by migration",
        "ModifyColumnType t.narrow: dataloss modify_column_type",
        "ModifyColumnType t.other: safe by migration",
        "ModifyColumnType t.wide: safe by migration",
    ];
    let mut found = classes(&old, &new, &new);
    found.sort();
    assert_eq!(found, expected);
}

#[test]
fn the_type_of_what_a_table_is_partitioned_by_does_not_change() {
    let of = |data_type: &str| {
        let mut table = table("t", 0);
        if let Body::Table(table) = &mut table.body {
            table.partition_key = Some("RANGE (lower(\"K\"), a)".to_owned());
        }
        [table, column("t.a", data_type, |_| {}), column("t.K", data_type, |_| {}), column("t.b", data_type, |_| {})]
    };
    let (old, new) = (of("integer"), of("bigint"));
    let found = classes(&old, &old, &new);
    assert_eq!(
        found,
        [
            "ModifyColumnType t.K: incompatible modify_column_type",
            "ModifyColumnType t.a: incompatible modify_column_type",
            "ModifyColumnType t.b: safe"
        ]
    );
    assert!(classes(&old, &new, &new).iter().all(|found| found.ends_with(": safe by migration")));
}

#[test]
fn a_rename_in_a_migration_is_no_loss() {
    let before = [at(table("old", 0), 1, 0), at(column("old.a", "integer", |_| {}), 1, 1)];
    let now = [at(table("new", 0), 1, 0), at(column("new.b", "integer", |_| {}), 1, 1)];
    assert_eq!(classes(&before, &now, &now), [] as [String; 0]);
    // Dropped and made again under its name is a loss, whatever it looks like.
    let again = [at(table("old", 0), 2, 0), at(column("old.a", "integer", |_| {}), 2, 1)];
    assert_eq!(
        classes(&before, &again, &again),
        ["CreateTable old: safe by migration", "DropTable old: dataloss drop_table"]
    );
}

/// Tables of ten objects each, a fifth of them partitions of one.
fn many(objects: usize) -> Vec<Object> {
    let mut all = vec![object(Kind::Schema, "public", Body::Schema, &[]), table("parent", 0)];
    all[1].body = match all[1].body.clone() {
        Body::Table(table) => Body::Table(Table { partition_key: Some("LIST (c0)".to_owned()), ..table }),
        other => other,
    };
    all.extend((0..7).map(|c| column(&format!("parent.c{c}"), "integer", |_| {})));
    for n in 0..objects / 10 {
        let t = format!("t{n}");
        let mut own = table(&t, 0);
        if let (Body::Table(table), 0) = (&mut own.body, n % 5) {
            let (of, bound) = (key(Kind::Table, "parent"), format!("FOR VALUES IN ({n})"));
            table.partition_of = Some(crate::Partition { of, bound });
        }
        all.push(own);
        all.extend((0..7).map(|c| column(&format!("{t}.c{c}"), "integer", |_| {})));
        let on = key(Kind::Column, &format!("{t}.c0"));
        all.push(view(&format!("v{n}"), "SELECT 1", &[("a", "integer")], &[on]));
        let switch = Switch { definition: "CREATE TRIGGER".to_owned(), enabled: "O".to_owned() };
        all.push(object(Kind::Trigger, &format!("{t}.x"), Body::Trigger(switch), &[]));
    }
    all
}

/// The processor time of this thread so far. Tests judge it, which other work on the machine changes little, and not the clock.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// How long each takes: there already, from nothing, to nothing, everything changed, differences, classes.
fn durations(objects: usize) -> Vec<(&'static str, Duration)> {
    let old = many(objects);
    let mut new = old.clone();
    for object in &mut new {
        match &mut object.body {
            Body::Column(column) if object.key.name == "c1" => column.data_type = "bigint".to_owned(),
            Body::Table(Table { partition_of: Some(partition), .. }) => partition.bound.push('x'),
            _ => object.comment = Some("new".to_owned()),
        }
    }
    new.retain(|object| object.key.name != "c2");
    let (old, new, none) = (model(&old), model(&new), Model::default());
    let (declared_before, nothing) = (old.declared(), BTreeSet::new());
    let wanted = |model, declared_before| Wanted { model, declared_before, online_bytes: 0 };
    let timed = |what: &'static str, run: &dyn Fn() -> usize| {
        let start = processor_time();
        let _ = run();
        (what, processor_time() - start)
    };
    vec![
        timed("equal", &|| steps(&old, &wanted(&old, &declared_before)).len()),
        timed("created", &|| steps(&none, &wanted(&old, &nothing)).len()),
        timed("dropped", &|| steps(&old, &wanted(&none, &declared_before)).len()),
        timed("changed", &|| steps(&old, &wanted(&new, &declared_before)).len()),
        timed("differences of equals", &|| differences(&old, &old).len()),
        timed("differences", &|| differences(&old, &new).len()),
        timed("classes of equals", &|| classify(&old, &old, &wanted(&old, &declared_before)).len()),
        timed("classes", &|| classify(&old, &old, &wanted(&new, &declared_before)).len()),
    ]
}

/// `cargo test --release -p stonescriptdb-schema how_long -- --ignored --nocapture`
#[test]
#[ignore = "measures; run it with --release"]
fn how_long_it_takes() {
    for objects in [2_000, 20_000] {
        for (what, duration) in durations(objects) {
            println!("{objects} {what}: {duration:?}");
            assert!(duration < Duration::from_secs(if what.contains("equal") { 1 } else { 5 }), "{what}: {duration:?}");
        }
    }
}

#[test]
fn big_models_take_little_time() {
    let mut old = Vec::new();
    for n in 0..2000 {
        let t = format!("t{n}");
        old.push(table(&t, 0));
        for c in 0..8 {
            old.push(column(&format!("{t}.c{c}"), "integer", |_| {}));
        }
        let on = key(Kind::Column, &format!("{t}.c0"));
        old.push(view(&format!("v{n}"), "SELECT 1", &[("a", "integer")], &[on]));
        let switch = Switch { definition: "CREATE TRIGGER".to_owned(), enabled: "O".to_owned() };
        old.push(object(Kind::Trigger, &format!("{t}.x"), Body::Trigger(switch), &[]));
    }
    let start = processor_time();
    assert_eq!(plan(&[], &old, 0).len(), 6000);
    assert_eq!(plan(&old, &[], 0).len(), 4000);
    assert_eq!(plan(&old, &old, 0).len(), 0);
    assert!(classes(&old, &old, &old).is_empty());
    let took = processor_time() - start;
    assert!(took < Duration::from_secs(20), "{took:?}");
}
