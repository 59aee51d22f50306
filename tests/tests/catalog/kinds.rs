//! Key facts of an object of every kind.

use std::collections::BTreeSet;

use acceptance::sql::done;
use acceptance::{read_model, sql};
use postgres::Client;
use serde_json::{Value, json};
use stonescriptdb_schema::{Kind, Model, Object};

/// The object that is written so.
#[track_caller]
fn object<'a>(model: &'a Model, name: &str) -> &'a Object {
    let all = || model.keys().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    model.iter().find(|object| object.key.to_string() == name).unwrap_or_else(|| panic!("no {name} among: {}", all()))
}

/// What an object is, as JSON.
#[track_caller]
fn body(model: &Model, name: &str) -> Value {
    let Value::Object(body) = serde_json::to_value(&object(model, name).body).unwrap() else {
        panic!("{name} has no body")
    };
    body.into_iter().next().unwrap().1
}

/// Asserts on parts of what an object is.
#[track_caller]
fn is(model: &Model, name: &str, wanted: Value) {
    let found = body(model, name);
    for (field, value) in wanted.as_object().unwrap() {
        assert_eq!(&found[field], value, "{field} of {name}: {found:#}");
    }
}

/// Asserts on an object's needs beside its schema.
#[track_caller]
fn needs(model: &Model, name: &str, wanted: &[&str]) {
    let found: BTreeSet<String> = object(model, name).needs.iter().map(ToString::to_string).collect();
    let found: Vec<&str> = found.iter().map(String::as_str).filter(|need| !need.starts_with("schema ")).collect();
    assert_eq!(found, wanted, "needs of {name}");
}

/// `role:PRIVILEGE` of each right that is not the owner's, `*` for a grant option.
fn rights(model: &Model, name: &str) -> Vec<String> {
    let others = object(model, name).grants.iter().filter(|grant| grant.grantee != crate::OWNER);
    others.map(|g| format!("{}:{}{}", g.grantee, g.privilege, if g.grantable { "*" } else { "" })).collect()
}

#[test]
fn an_owner_reads_every_kind() {
    let cluster = crate::cluster();
    let mut client = crate::database_of_all_kinds(&cluster, "kinds");
    done(client.batch_execute("INSERT INTO people (name) VALUES ('someone')"));
    let model = &read_model(&mut client);
    let has_kind = |kind: Kind| model.of_kind(kind).next().is_some();
    for kind in [
        Kind::Extension,
        Kind::Schema,
        Kind::DefaultPrivileges,
        Kind::Enum,
        Kind::Composite,
        Kind::Domain,
        Kind::Range,
        Kind::Sequence,
        Kind::Table,
        Kind::Column,
        Kind::Routine,
        Kind::View,
        Kind::MaterializedView,
        Kind::Constraint,
        Kind::Index,
        Kind::Statistics,
        Kind::Trigger,
        Kind::Rule,
        Kind::Policy,
        Kind::Other,
    ] {
        assert!(has_kind(kind), "no {}", kind.word());
    }
    // A superuser sees the same.
    assert_eq!(read_model(&mut cluster.connect("kinds")), *model);
    for object in model.iter() {
        let address = object.notes.address.unwrap();
        assert_eq!(model.at(address).unwrap().key, object.key);
        let ours = object.key.name.contains("stonescriptdb") || object.key.parent.contains("stonescriptdb");
        let passing = object.key.name == "passing" || object.key.schema.starts_with("pg_");
        assert!(!ours && !passing && object.key.name != "odd_name" && object.key.name != "another", "{}", object.key);
        assert!(object.key.schema != "public" || !object.key.name.contains("trgm"), "{}", object.key);
    }
    spaces_and_types(model);
    tables(model);
    parts(model);
    routines(model);
}

fn spaces_and_types(m: &Model) {
    is(m, "extension pg_trgm", json!({"schema": "public"}));
    assert_eq!(object(m, "extension pg_trgm").comment, None);
    assert_eq!(object(m, "schema audit").comment.as_deref(), Some("who did what"));
    assert_eq!(rights(m, "schema audit"), ["reader_call:USAGE"]);
    assert_eq!(rights(m, "default privileges audit.reader_owner"), ["reader_call:SELECT"]);
    assert_eq!(object(m, "default privileges audit.reader_owner").key.arguments, "r");
    assert_eq!(object(m, "default privileges reader_owner").grants.len(), 1);

    is(m, "enum mood", json!({"labels": ["sad", "ok", "happy"]}));
    assert_eq!(rights(m, "enum mood"), [":USAGE"]);
    let town = json!({"name": "Town", "data_type": "text", "collation": "\"C\""});
    assert_eq!(body(m, "composite type place")["attributes"][1], town);
    needs(m, "composite type place", &["enum mood"]);
    is(
        m,
        "domain email",
        json!({"data_type": "character varying(200)", "collation": "\"C\"", "not_null": true,
            "default": "'nobody'::character varying"}),
    );
    assert_eq!(rights(m, "domain email"), [""; 0]);
    let checks = &body(m, "domain email")["checks"];
    assert_eq!((&checks[0]["name"], &checks[0]["validated"]), (&json!("has_at"), &json!(true)));
    let short = json!({"name": "short", "definition": "CHECK ((length((VALUE)::text) < 100))", "validated": false, "comment": null});
    assert_eq!(checks[1], short);
    let stretch = "subtype = double precision, multirange_type_name = public.stretches, subtype_diff = public.span";
    is(m, "range type stretch", json!({"definition": stretch}));
    needs(m, "range type stretch", &["routine span(double precision, double precision)"]);
    let words = "subtype = text, multirange_type_name = public.words_multirange, collation = \"C\"";
    is(m, "range type words", json!({"definition": words}));

    is(
        m,
        "sequence numbers",
        json!({"data_type": "integer", "start": 5, "min": 5, "max": 500, "increment": 5, "cache": 3, "cycle": true,
            "owned_by": null, "of_identity": false}),
    );
    assert_eq!(rights(m, "sequence numbers"), ["reader_call:USAGE*"]);
    assert_eq!(body(m, "sequence people_id_seq")["owned_by"]["name"], "id");
    is(m, "sequence people_number_seq", json!({"of_identity": true, "start": 100}));

    for other in [
        "cast (pg_catalog.text AS public.place)",
        "server far",
        "publication news",
        "event trigger watch",
        "foreign-data wrapper wrapper",
        "type public.base",
        "foreign table public.far_away",
        "collation public.german",
        "conversion public.odd",
        "operator class public.odd_ops USING btree",
        "operator public.~~>(pg_catalog.text,integer)",
        "text search configuration public.plain",
        "text search dictionary public.stems",
    ] {
        object(m, other);
    }
    assert_eq!(m.of_kind(Kind::Other).count(), 14, "and the family of the operator class");
    needs(m, "foreign table public.far_away", &["server far"]);
}

fn tables(m: &Model) {
    is(
        m,
        "table people",
        json!({"options": ["autovacuum_enabled=off", "fillfactor=90", "toast.autovacuum_enabled=off"], "unlogged": false,
            "replica_identity": "index people_identity", "partition_key": null, "access_method": null}),
    );
    assert_eq!(rights(m, "table people"), [":SELECT", "reader_call:SELECT"]);
    assert_eq!(object(m, "table people").comment.as_deref(), Some("everybody"));
    assert_eq!((object(m, "table people").notes.bytes, object(m, "table plants").notes.bytes), (8192, 0));
    is(m, "table friends", json!({"unlogged": true, "row_security": {"enabled": true, "forced": true}}));
    is(m, "table measured", json!({"partition_key": "RANGE (at)", "partition_of": null}));
    let part = &body(m, "table measured_2020")["partition_of"];
    assert_eq!(part["of"], json!({"kind": "table", "schema": "public", "name": "measured"}));
    assert_eq!(part["bound"], "FOR VALUES FROM ('2020-01-01') TO ('2021-01-01')");
    assert_eq!(body(m, "table measured_rest")["partition_of"]["bound"], "DEFAULT");
    let parents = &body(m, "table corals")["inherits"];
    assert_eq!((&parents[0]["name"], &parents[1]["name"]), (&json!("plants"), &json!("animals")));
    needs(m, "table corals", &["table animals", "table plants"]);
    is(m, "table homes", json!({"of_type": "public.place"}));
    needs(m, "table homes", &["composite type place"]);

    let volatile = |name: &str| object(m, name).notes.volatile;
    is(m, "column people.id", json!({"default": "nextval('public.people_id_seq'::regclass)", "not_null": true}));
    needs(m, "column people.id", &["sequence people_id_seq", "table people"]);
    assert_eq!(rights(m, "column people.id"), ["reader_call:SELECT"]);
    is(m, "column people.number", json!({"identity": "always", "default": null}));
    let name = json!({"data_type": "character varying(80)", "collation": "\"C\"", "compression": "pglz", "storage": null,
        "statistics": null, "options": []});
    is(m, "column people.name", name);
    assert_eq!(object(m, "column people.name").notes.position, 4, "one was dropped");
    assert_eq!(object(m, "column people.name").comment.as_deref(), Some("as they say it"));
    is(m, "column people.born", json!({"data_type": "timestamp(3) with time zone", "default": "now()"}));
    assert!(
        !volatile("column people.born") && !volatile("column people.feels") && !volatile("column people.upper_name")
    );
    assert!(
        volatile("column people.key") && volatile("column people.random_number") && volatile("column friends.during")
    );
    is(m, "column people.feels", json!({"data_type": "public.mood[]", "default": "'{happy}'::public.mood[]"}));
    needs(m, "column people.feels", &["enum mood", "table people"]);
    needs(m, "column people.at", &["composite type place", "table people"]);
    needs(m, "column people.mail", &["domain email", "table people"]);
    is(m, "column people.upper_name", json!({"generated": "stored", "default": "upper((name)::text)"}));
    needs(m, "column people.upper_name", &["column people.name", "table people"]);
    is(m, "column people.tags", json!({"storage": "external", "statistics": 500, "options": ["n_distinct=7"]}));
    is(m, "column corals.legs", json!({"is_local": false}));
    is(m, "column measured_2020.value", json!({"is_local": false, "default": "0"}));

    is(m, "constraint people.people_pkey", json!({"type": "primary_key", "definition": "PRIMARY KEY (id)"}));
    let unique = "UNIQUE (name, born) INCLUDE (key) WITH (fillfactor='70') DEFERRABLE INITIALLY DEFERRED";
    is(m, "constraint people.one_name", json!({"type": "unique", "definition": unique}));
    assert_eq!(object(m, "constraint people.long_name").comment.as_deref(), Some("three at least"));
    needs(m, "constraint people.long_name", &["column people.name", "routine is_long(text, integer)", "table people"]);
    let foreign = "FOREIGN KEY (other) REFERENCES public.people(id) DEFERRABLE";
    is(
        m,
        "constraint friends.friends_other",
        json!({"definition": foreign, "validated": false, "type": "foreign_key"}),
    );
    needs(
        m,
        "constraint friends.friends_one",
        &["column friends.one", "column people.id", "constraint people.people_pkey", "table friends"],
    );
    needs(
        m,
        "constraint refers.refers_at_fkey",
        &["column measured.at", "column refers.at", "constraint measured.measured_pkey", "table refers"],
    );
    is(m, "constraint friends.friends_during_excl", json!({"type": "exclusion"}));
    let of = |table: &str| {
        m.of_kind(Kind::Constraint).filter(|o| o.key.parent == table).map(|o| o.key.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(of("corals"), [""; 0], "its checks are its parent's");
    assert_eq!(of("measured_2020"), ["own_check"], "its primary key is its parent's");
}

fn parts(m: &Model) {
    let partial = "CREATE UNIQUE INDEX people_by_key ON public.people USING btree (key) WHERE (key IS NOT NULL)";
    is(m, "index people_by_key", json!({"definition": partial, "unique": true, "valid": true, "clustered": false}));
    is(m, "index people_by_length", json!({"clustered": true, "unique": false}));
    assert_eq!(body(m, "index counted_once")["on"]["kind"], "materialized_view");
    let names: Vec<&str> = m.of_kind(Kind::Index).map(|index| &*index.key.name).collect();
    assert_eq!(names, ["counted_once", "measured_by_value", "people_by_key", "people_by_length", "people_identity"]);
    is(m, "statistics name_and_born", json!({"target": 77}));
    assert_eq!(object(m, "statistics name_and_born").comment.as_deref(), Some("they go together"));

    let view = body(m, "view grown");
    let text = " SELECT people.id,\n    people.name AS \"Name\"\n   FROM public.people\n  WHERE (people.born < CURRENT_TIMESTAMP)";
    // Before PostgreSQL 16 columns were always qualified.
    let text_16 = text.replace("people.id", "id").replace("people.name", "name").replace("people.born", "born");
    assert!(view["definition"] == text || view["definition"] == text_16, "{view:#}");
    assert_eq!(view["options"], json!(["security_barrier=true"]));
    let column = json!({"name": "Name", "data_type": "character varying(80)", "default": "'x'::character varying",
        "comment": "of the person"});
    assert_eq!(view["columns"][1], column);
    needs(m, "view audit.both", &["column friends.one", "column friends.other", "view grown"]);
    is(m, "materialized view counted", json!({"populated": false, "options": ["fillfactor=80"]}));
    needs(m, "materialized view counted", &["table people"]);

    is(m, "trigger people.touched", json!({"enabled": "D"}));
    needs(m, "trigger people.touched", &["column people.name", "routine touch()", "table people"]);
    needs(m, "trigger grown.instead", &["routine touch()", "view grown"]);
    let names: Vec<String> = m.of_kind(Kind::Trigger).map(|trigger| trigger.key.to_string()).collect();
    assert_eq!(
        names,
        ["trigger grown.instead", "trigger measured.each_row", "trigger people.checked", "trigger people.touched"]
    );
    let rule = "CREATE RULE no_delete AS\n    ON DELETE TO public.people DO INSTEAD NOTHING";
    is(m, "rule people.no_delete", json!({"definition": rule, "enabled": "O"}));
    assert_eq!(m.of_kind(Kind::Rule).count(), 1);
    is(
        m,
        "policy friends.mine",
        json!({"command": "UPDATE", "permissive": false, "roles": ["reader_call"], "using": "(one > 0)",
            "check": "public.is_long((other)::text)"}),
    );
    is(m, "policy friends.everyone", json!({"command": "ALL", "permissive": true, "roles": [], "check": null}));
    for (name, comment) in [
        ("index people_by_key", "quick"),
        ("policy friends.mine", "only mine"),
        ("rule people.no_delete", "they stay"),
        ("trigger people.touched", "touches"),
        ("enum mood", "how it goes"),
    ] {
        assert_eq!(object(m, name).comment.as_deref(), Some(comment), "{name}");
    }
}

fn routines(m: &Model) {
    is(m, "routine is_long(text, integer)", json!({"kind": "function", "defaults": 1, "result": "boolean"}));
    is(m, "routine is_long(text, integer)", json!({"parameters": ["IN t text", "IN n integer"]}));
    assert_eq!(rights(m, "routine is_long(text, integer)"), ["reader_call:EXECUTE"]);
    let everybody = json!(["IN \"\" integer", "VARIADIC names text[]", "TABLE who public.people", "TABLE n bigint"]);
    is(m, "routine everybody(integer, text[])", json!({"parameters": everybody}));
    needs(m, "routine everybody(integer, text[])", &["table people"]);
    needs(m, "routine standard(bigint)", &["column people.id", "column people.name"]);
    needs(m, "routine touch()", &["extension plpgsql"]);
    is(m, "routine rest()", json!({"kind": "procedure", "result": null, "parameters": []}));
    is(m, "routine work(integer, text)", json!({"result": "record", "parameters": ["IN a integer", "INOUT b text"]}));
    let moods = json!(["IN m public.mood[]", "OUT first public.mood", "OUT \"Last\" public.mood"]);
    is(m, "routine moods(public.mood[])", json!({"parameters": moods, "aggregated": null}));
    assert_eq!(object(m, "routine moods(public.mood[])").comment.as_deref(), Some("both ends"));

    let total = "CREATE AGGREGATE public.total(numeric) (\n    SFUNC = public.add,\n    STYPE = numeric,\n    SSPACE = 64,\n    \
        INITCOND = '0',\n    FINALFUNC = public.finish,\n    FINALFUNC_EXTRA,\n    FINALFUNC_MODIFY = SHAREABLE,\n    \
        COMBINEFUNC = public.add,\n    MSFUNC = public.add,\n    MINVFUNC = public.subtract,\n    MSTYPE = numeric,\n    \
        MINITCOND = '0',\n    MFINALFUNC = public.finish,\n    MFINALFUNC_EXTRA,\n    SORTOP = OPERATOR(pg_catalog.<),\n    \
        PARALLEL = SAFE\n)";
    is(
        m,
        "routine total(numeric)",
        json!({"kind": "aggregate", "definition": total, "aggregated": {"arguments": "numeric"}}),
    );
    is(m, "routine many()", json!({"aggregated": {"arguments": "*"}}));
    let picked = json!({"arguments": "double precision ORDER BY numeric"});
    is(m, "routine picked(double precision, numeric)", json!({"aggregated": picked}));
    needs(
        m,
        "routine total(numeric)",
        &["routine add(numeric, numeric)", "routine finish(numeric, numeric)", "routine subtract(numeric, numeric)"],
    );
    assert!(
        !m.keys().any(|key| key.kind == Kind::Routine && key.name == "stretch"),
        "constructors belong to their range"
    );
}

/// Drops an object, runs what remakes it, and asserts that it is as before.
#[track_caller]
fn remade(client: &mut Client, name: &str, drop: &str, make: &str) {
    let before = read_model(client);
    for statement in [drop, make] {
        client.batch_execute(statement).unwrap_or_else(|e| panic!("{statement}: {}", sql::describe(&e)));
    }
    let now = read_model(client);
    assert_eq!(object(&now, name).body, object(&before, name).body, "{make}");
}

#[test]
fn definitions_are_statements() {
    let cluster = crate::cluster();
    let mut client = crate::database_of_all_kinds(&cluster, "again");
    let model = read_model(&mut client);
    for routine in model.of_kind(Kind::Routine) {
        let body = body(&model, &routine.key.to_string());
        let definition = body["definition"].as_str().unwrap();
        if body["kind"] == "aggregate" {
            let arguments = body["aggregated"]["arguments"].as_str().unwrap();
            let drop = format!("DROP AGGREGATE public.{}({arguments})", routine.key.name);
            remade(&mut client, &routine.key.to_string(), &drop, definition);
        } else if !routine.key.name.starts_with("shell_") && routine.key.name != "on_ddl" {
            remade(&mut client, &routine.key.to_string(), "SELECT 1", definition);
        }
    }
    for range in ["stretch", "words"] {
        let definition = body(&model, &format!("range type {range}"))["definition"].as_str().unwrap().to_owned();
        let make = format!("CREATE TYPE public.{range} AS RANGE ({definition})");
        remade(&mut client, &format!("range type {range}"), &format!("DROP TYPE {range}"), &make);
    }
    for constraint in ["one_name", "long_name"] {
        let definition =
            body(&model, &format!("constraint people.{constraint}"))["definition"].as_str().unwrap().to_owned();
        let make = format!("ALTER TABLE people ADD CONSTRAINT {constraint} {definition}");
        let drop = format!("ALTER TABLE people DROP CONSTRAINT {constraint}");
        remade(&mut client, &format!("constraint people.{constraint}"), &drop, &make);
    }
}
