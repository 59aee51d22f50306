//! Another spelling of the same is nothing to do: white space, comments, the case of keywords, line endings, in files of every kind.

use acceptance::{Files, shared, sql};
use serde_json::json;

use crate::world::{World, assert_nothing_to_do, grown};

/// Files with more than one line of everything, all keywords in lower case.
const SOURCES: &[(&str, &str)] = &[
    ("extensions/hstore.sql", "-- version: 1.8\n"),
    ("types/colour.pssql", "create type colour as enum (\n    'red',\n    'Green'\n);\n"),
    ("types/pair.pssql", "create type pair as (\n    a integer,\n    b text\n);\n"),
    ("types/even.pssql", "create domain even as integer\n    default 2\n    check (value % 2 = 0);\n"),
    (
        "tables/things.pssql",
        "create table things (\n    id bigint generated always as identity primary key,\n    name text not null default 'No Name',\n    \
         c colour default 'red' check (c <> 'Green' or name is not null),\n    price numeric(10,2) default 1.50,\n    \
         at timestamp with time zone not null default now()\n);\n\
         create index things_by_name on things (lower(name)) where price > 1;\n\
         comment on table things is 'Things -- and /* more */ of them';\n\
         alter table things enable row level security;\n\
         create policy own on things for select using (name = current_user);\n",
    ),
    (
        "functions/things_of.pssql",
        "create or replace function things_of(p_name text default 'No Name', p_limit integer default 10)\n\
         returns table (o_id bigint, o_name text) as $$\n-- what is asked for\ndeclare\n    n integer := 0;\nbegin\n    \
         /* only these */\n    return query select t.id, t.name || ' -- Of' from things t where t.name = p_name limit p_limit;\n\
         end;\n$$ language plpgsql stable;\n",
    ),
    (
        "functions/one.pssql",
        "create function one() returns integer language sql immutable as 'select 1 -- One';\n\
         create function two() returns integer language sql begin atomic select 2; end;\n",
    ),
    (
        "functions/touch.pssql",
        "create function touch() returns trigger language plpgsql as $body$\nbegin\n    new.at := now();\n    return new;\nend\n$body$;\n\
         create trigger touch before update on things for each row execute function touch();\n",
    ),
    (
        "views/names.pssql",
        "create view names as\n    select id, upper(name) as name\n    from things\n    where c = 'red';\n",
    ),
    (
        "seeders/things.pssql",
        "insert into things (name, c)\nvalues ('First -- Thing', 'red'),\n    ('Second', null);\n",
    ),
];

const KEYWORDS: &[&str] = &[
    "all",
    "alter",
    "always",
    "as",
    "atomic",
    "before",
    "begin",
    "check",
    "comment",
    "create",
    "declare",
    "default",
    "domain",
    "each",
    "enable",
    "end",
    "enum",
    "execute",
    "for",
    "from",
    "function",
    "generated",
    "identity",
    "immutable",
    "index",
    "insert",
    "into",
    "is",
    "key",
    "language",
    "level",
    "limit",
    "not",
    "null",
    "on",
    "or",
    "policy",
    "primary",
    "query",
    "replace",
    "return",
    "returns",
    "row",
    "security",
    "select",
    "stable",
    "table",
    "trigger",
    "type",
    "update",
    "using",
    "values",
    "view",
    "where",
    "with",
    "zone",
];

fn rewritten(rewrite: impl Fn(&str) -> String) -> Files {
    SOURCES.iter().fold(grown(), |files, (path, text)| {
        // All of a line `-- version: …` is the version.
        let rewritten = if path.starts_with("extensions/") { format!("\n-- new\n{text}") } else { rewrite(text) };
        files.file(path, rewritten)
    })
}

/// Every word that is a keyword in upper case. The literals of the sources have none, but for bodies of functions.
fn shout(text: &str) -> String {
    let mut out = String::new();
    let mut word = String::new();
    for c in text.chars().chain(['\n']) {
        if c.is_ascii_alphanumeric() || c == '_' {
            word.push(c);
            continue;
        }
        out.push_str(&if KEYWORDS.contains(&word.as_str()) { word.to_uppercase() } else { std::mem::take(&mut word) });
        word.clear();
        out.push(c);
    }
    out.pop();
    out
}

fn variants() -> Vec<(&'static str, Files)> {
    vec![
        ("line endings", rewritten(|text| text.replace('\n', "\r\n"))),
        ("line endings of old Macs in none, but blank lines", rewritten(|text| text.replace('\n', "\n\n"))),
        ("tabs", rewritten(|text| text.replace("    ", "\t"))),
        ("trailing blanks", rewritten(|text| text.replace('\n', "  \t\n"))),
        ("more indentation", rewritten(|text| text.replace("\n ", "\n          "))),
        (
            "comments before and after",
            rewritten(|text| format!("-- new\n/* of\n   more /* nested */ lines */\n{text}-- the end")),
        ),
        ("comments at the ends of lines", rewritten(|text| text.replace('\n', " -- it's new; \"\n"))),
        (
            "other comments",
            rewritten(|text| text.replace("/* only these */", "").replace("-- what is asked for", "-- changed")),
        ),
        ("upper case", rewritten(shout)),
        ("all of it", rewritten(|text| format!("/* new */{}", shout(text).replace('\n', " -- new\r\n\t\r\n")))),
        ("the first again", rewritten(str::to_owned)),
    ]
}

#[test]
fn another_spelling_is_skipped() {
    let cluster = shared();
    let world = World::new(&cluster, "spell");
    world.assert_goes_in(&rewritten(str::to_owned), "the first spelling");
    let before = world.now();
    let mut failures = Vec::new();
    for (what, files) in variants() {
        let plan = cluster.http().migrate(&world.platform.name, None, &files.tar_gz(), &[("dry_run", "true")]);
        if plan.status != 200 || plan.json["plan"] != json!([]) || plan.json["functions_updated"] != 0 {
            failures.push(format!("{what}: {plan}"));
            continue;
        }
        let done = world.platform.migrate(&files).ok();
        if done.json["functions_updated"] != 0 || done.json["migrations_applied"] != 0 {
            failures.push(format!("{what}: {done}"));
        }
        let now = world.now();
        if now.main != before.main {
            failures.push(format!("{what}: {}", before.main.difference(&now.main)));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

/// A database in one spelling and the others from another are the same.
#[test]
fn a_tenant_made_of_another_spelling_is_the_same() {
    let cluster = shared();
    let world = World::new(&cluster, "spellten");
    let files = rewritten(str::to_owned);
    world.assert_goes_in(&files, "the first spelling");
    for (number, (what, other)) in variants().into_iter().enumerate() {
        world.platform.register_tenant(&format!("t{number}"), &other).ok();
        let answer = cluster.http().migrate(
            &world.platform.name,
            Some(&format!("t{number}")),
            &files.tar_gz(),
            &[("dry_run", "true"), ("verify", "full")],
        );
        assert_eq!(answer.ok().json["plan"], json!([]), "{what}");
    }
    assert_nothing_to_do(&cluster, &world.platform.name, &files, "all tenants");
}

/// An applied migration is known by its bytes (DESIGN.md §5): any change is an error that names it, and changes nothing.
#[test]
fn an_applied_migration_is_known_by_its_bytes() {
    let cluster = shared();
    let world = World::new(&cluster, "spellmig");
    let before = world.now();
    for (from, to) in [("UPDATE", "update"), ("\n", "\r\n"), ("\n", "\n-- done\n"), ("items", "public.items")] {
        let files = grown().edit("migrations/002_second.pssql", from, to);
        let answer = world.platform.migrate(&files).error(409, "migration_changed").says("002_second");
        assert!(answer.str("file").ends_with("migrations/002_second.pssql"), "{answer}");
        world.assert_unchanged_but_for_a_template(&before, to);
    }
}

/// Line endings inside of a literal are the literal's.
#[test]
fn line_endings_inside_a_literal_are_a_change() {
    let cluster = shared();
    let files = |end: &str| {
        grown()
            .file(
                "functions/lines.pssql",
                format!("CREATE FUNCTION lines() RETURNS text LANGUAGE sql AS $$ SELECT 'a{end}b' $$;\n"),
            )
            .edit("tables/items.pssql", "code text", &format!("code text DEFAULT 'a{end}b'"))
    };
    let world = World::new(&cluster, "spelllit");
    world.assert_goes_in(&files("\n"), "one ending");
    world.assert_goes_in(&files("\r\n"), "the other");
    let mut main = world.platform.connect();
    assert_eq!(sql::text(&mut main, "SELECT lines() = E'a\\r\\nb'"), "t");
    let default = "SELECT pg_get_expr(adbin, adrelid) = E'''a\\r\\nb''::text' FROM pg_attrdef WHERE adrelid = 'items'::regclass AND adnum = 4";
    assert_eq!(sql::text(&mut main, default), "t");
}
