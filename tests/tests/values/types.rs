//! Every type in and out: sent as text and as the JSON that PostgreSQL makes of it, and compared with what PostgreSQL says.

use std::fmt::Write;

use acceptance::json::raw_rows;
use acceptance::sql::{done, texts};
use acceptance::{Files, Platform, shared};
use postgres::Client;
use serde_json::json;

use crate::samples::{NO_INPUT, OWN_TYPES, SAMPLES};

/// A type that a function can take and return.
struct Type {
    name: String,
    /// The type of its elements, if it is an array of them.
    element: Option<String>,
}

/// All types that there are but row types of tables and pseudo-types; what is ours is in `public`.
const TYPES: &str = "
SELECT format_type(t.oid, -1), format_type(e.oid, -1)
FROM pg_type t LEFT JOIN pg_type e ON e.typarray = t.oid
    LEFT JOIN pg_class r ON r.oid = coalesce(nullif(t.typrelid, 0), e.typrelid)
WHERE t.typisdefined AND t.typtype <> 'p' AND e.typtype IS DISTINCT FROM 'p' AND (r.oid IS NULL OR r.relkind = 'c')
ORDER BY 1";

fn types(client: &mut Client) -> Vec<Type> {
    done(client.query(TYPES, &[])).iter().map(|row| Type { name: row.get(0), element: row.get(1) }).collect()
}

fn function_of(index: usize) -> String {
    format!("echo{index:03}")
}

fn echoes(types: &[Type]) -> Files {
    let mut functions = String::new();
    for (index, Type { name, .. }) in types.iter().enumerate() {
        let function = function_of(index);
        writeln!(functions, "CREATE FUNCTION {function}(v {name}) RETURNS {name} LANGUAGE sql AS 'SELECT v';")
            .expect("memory");
    }
    Files::new().file("types/own.pssql", OWN_TYPES).file("functions/echoes.pssql", functions)
}

/// The literals of a type; those of an array are made of its elements'.
fn literals(client: &mut Client, kind: &Type) -> Vec<String> {
    let of = |name: &str| SAMPLES.iter().find(|(known, _)| *known == name).map(|(_, literals)| *literals);
    if let Some(literals) = of(&kind.name) {
        return literals.iter().map(|literal| (*literal).to_owned()).collect();
    }
    let Some((element, literals)) = kind.element.as_ref().and_then(|element| Some((element, of(element)?))) else {
        return Vec::new();
    };
    // By a function of that type, as a cast to bit would cut off.
    let values: Vec<String> = literals.iter().map(|literal| format!("pg_temp.made({})", quoted(literal))).collect();
    done(client.batch_execute(&format!(
        "DROP FUNCTION IF EXISTS pg_temp.made; CREATE FUNCTION pg_temp.made(v {element}) RETURNS {element} LANGUAGE sql AS 'SELECT v'"
    )));
    let all = values.join(", ");
    let (first, last) = (&values[0], &values[values.len() - 1]);
    let sql = format!(
        "WITH a AS (SELECT ARRAY[{all}, NULL]::{name} AS whole, ARRAY[[{first}, {last}], [NULL, {first}]]::{name} AS square)
         SELECT unnest(ARRAY['{{}}', whole::text, square::text,
             '[-3:' || cardinality(whole) - 4 || ']=' || whole::text, '[0:1][5:6]=' || square::text]) FROM a",
        name = kind.name
    );
    texts(client, &sql)
}

fn quoted(literal: &str) -> String {
    format!("'{}'", literal.replace('\'', "''"))
}

#[test]
fn every_type_goes_in_and_comes_back_as_postgresql_has_it() {
    let cluster = shared();
    let platform = Platform::register(&cluster, "kinds", &Files::new().file("types/own.pssql", OWN_TYPES));
    let mut client = platform.connect();
    let types = types(&mut client);
    assert!(types.len() > 150, "{} types", types.len());
    platform.migrate(&echoes(&types)).ok();
    done(client.batch_execute("SET timezone = 'UTC'; SET extra_float_digits = 1"));

    let (mut wrong, mut unknown, mut compared) = (String::new(), Vec::new(), 0);
    for (index, kind) in types.iter().enumerate() {
        let function = function_of(index);
        let literals = literals(&mut client, kind);
        let refused = |name: &str| NO_INPUT.contains(&name);
        if literals.is_empty() && !refused(&kind.name) && !kind.element.as_deref().is_some_and(refused) {
            unknown.push(&kind.name);
        }
        for literal in literals {
            // What to_json says and what psql prints of the same function's result.
            let sql = format!(
                "SELECT to_json(v)::text, format('%s', v) FROM (SELECT public.{function}({}) AS v OFFSET 0) s",
                quoted(&literal)
            );
            let row = done(client.query_one(&sql, &[]));
            let (as_json, printed): (String, String) = (row.get(0), row.get(1));
            let sent = [json!(literal).to_string(), json!(printed).to_string(), as_json.clone()];
            for (way, param) in sent.iter().enumerate() {
                // A list in a list for json[] is JSON, so it is not the two dimensions any more that PostgreSQL wrote; nor can domains over
                // arrays be told from dimensions.
                let of = kind.element.as_deref().unwrap_or_default();
                if way == 2 && as_json.starts_with("[[") && ["json", "jsonb", "note", "few"].contains(&of)
                    || way == 2 && as_json.starts_with("[[[") && ["int2vector", "oidvector"].contains(&of)
                {
                    continue;
                }
                let answer = platform.call_text(&function, &format!("[{param}]"));
                compared += 1;
                if let Err(why) = compare(&answer, &function, &as_json, &printed) {
                    writeln!(wrong, "{} of {param}: {why}", kind.name).expect("memory");
                }
            }
        }
    }
    assert!(unknown.is_empty(), "types of this server without samples: {unknown:?}");
    assert!(wrong.is_empty(), "of {compared} calls:\n{wrong}");
}

fn compare(answer: &acceptance::Answer, function: &str, as_json: &str, printed: &str) -> Result<(), String> {
    if answer.status != 200 {
        return Err(answer.text.clone());
    }
    // Byte for byte; a composite is its columns.
    let column = json!(function).to_string();
    let rows = format!("{{\"rows\":[{{{column}:{as_json}}}],\"row_count\":1,");
    let spread = format!("{{\"rows\":[{as_json}],\"row_count\":1,");
    if !answer.text.starts_with(&rows) && !answer.text.starts_with(&spread) {
        return Err(format!("{as_json} expected, but: {}", answer.text));
    }
    // Texts are what psql prints, but for times, in which to_json has a T, and arrays and the like.
    let row = raw_rows(&answer.text).remove(0);
    match row.get(function).and_then(|raw| serde_json::from_str::<String>(raw).ok()) {
        Some(text) if text != printed && text.replacen('T', " ", 1) != printed.replace("+00", "+00:00") => {
            Err(format!("psql prints {printed}, but: {text}"))
        }
        _ => Ok(()),
    }
}

#[test]
fn what_has_no_input_is_refused() {
    let cluster = shared();
    let mut functions = String::new();
    let refused: Vec<&str> = NO_INPUT.iter().copied().filter(|name| !["hollow", "refcursor"].contains(name)).collect();
    for (index, name) in refused.iter().enumerate() {
        let function = function_of(index);
        writeln!(functions, "CREATE FUNCTION {function}(v {name}) RETURNS int LANGUAGE sql AS 'SELECT 1';")
            .expect("memory");
    }
    let platform = Platform::register(&cluster, "noinput", &Files::new().file("functions/f.pssql", functions));
    for (index, name) in refused.iter().enumerate() {
        let answer = platform.call(&function_of(index), json!(["x"])).shaped();
        assert_eq!((answer.code(), answer.str("sqlstate")), ("query_failed", "0A000"), "{name}: {answer}");
        // What there is none of can still be NULL.
        platform.call(&function_of(index), json!([null])).ok();
    }
}

#[test]
fn a_composite_without_columns_is_an_empty_object() {
    let cluster = shared();
    let files = Files::new().file("types/hollow.pssql", "CREATE TYPE hollow AS ();\n").file(
        "functions/f.pssql",
        "CREATE FUNCTION f(v hollow) RETURNS hollow LANGUAGE sql AS 'SELECT v';\n\
         CREATE FUNCTION g(v hollow) RETURNS TABLE (v1 hollow, n int) LANGUAGE sql AS 'SELECT v, 1';\n",
    );
    let platform = Platform::register(&cluster, "hollow", &files);
    assert_eq!(platform.call("f", json!([{}])).rows(), [json!({})]);
    assert_eq!(platform.call("g", json!(["()"])).row(), json!({"v1": {}, "n": 1}));
}
