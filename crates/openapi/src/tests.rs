//! Documents of catalogs written by hand.

use serde_json::{Value, json};

use crate::{About, Catalog, document};

/// What every test's functions may use, by OID.
fn types() -> Value {
    let base =
        |oid: u32, name: &str| json!({"oid": oid, "schema": "pg_catalog", "name": name, "written": name, "kind": "b"});
    let pseudo =
        |oid: u32, name: &str| json!({"oid": oid, "schema": "pg_catalog", "name": name, "written": name, "kind": "p"});
    json!([
        base(16, "bool"), base(20, "int8"), base(23, "int4"), base(25, "text"), base(1043, "varchar"), base(1700, "numeric"),
        base(3802, "jsonb"), base(1184, "timestamptz"), base(1790, "refcursor"), pseudo(2249, "record"), pseudo(2278, "void"),
        pseudo(2283, "anyelement"),
        {"oid": 1007, "schema": "pg_catalog", "name": "_int4", "written": "integer[]", "kind": "b", "element": 23},
        {"oid": 3904, "schema": "pg_catalog", "name": "int4range", "written": "int4range", "kind": "r"},
        {"oid": 100, "schema": "public", "name": "colour", "written": "colour", "kind": "e", "labels": ["red", "green"], "comment": "What it looks like"},
        {"oid": 101, "schema": "public", "name": "code", "written": "code", "kind": "d", "base": 1043, "modifier": 12, "is_not_null": true,
         "checks": ["CHECK ((VALUE ~ 'x'))"]},
        {"oid": 102, "schema": "app", "name": "item", "written": "app.item", "kind": "c", "comment": "What is sold", "columns": [
            {"name": "id", "type": 20, "modifier": -1, "is_not_null": true, "comment": "Its number"},
            {"name": "name", "type": 1043, "modifier": 44, "is_not_null": true, "comment": null},
            {"name": "colour", "type": 100, "modifier": -1, "is_not_null": false, "comment": null},
            {"name": "parts", "type": 103, "modifier": -1, "is_not_null": false, "comment": null}]},
        {"oid": 103, "schema": "app", "name": "_item", "written": "app.item[]", "kind": "b", "element": 102},
    ])
}

fn argument(name: &str, type_oid: u32, default: Option<&str>) -> Value {
    json!({"name": name, "type": type_oid, "mode": "i", "has_default": default.is_some(), "default": default})
}

fn output(name: &str, type_oid: u32, mode: &str) -> Value {
    json!({"name": name, "type": type_oid, "mode": mode, "has_default": false, "default": null})
}

fn function(name: &str, arguments: &[Value], returns: u32, more: Value) -> Value {
    let mut function = json!({"schema": "public", "name": name, "called": name, "signature": format!("{name}(…)"), "is_procedure": false,
        "only_reads": false, "is_strict": false, "returns_set": false, "returns": returns, "is_variadic": false, "arguments": arguments,
        "comment": null});
    for (key, value) in more.as_object().unwrap() {
        function[key] = value.clone();
    }
    function
}

fn made(functions: &[Value]) -> Value {
    let catalog: Catalog = serde_json::from_value(json!({"functions": functions, "types": types()})).unwrap();
    let about = About { platform: "shop", tenant: "main", version: "1", errors: &["query_failed"], ..About::default() };
    let document = document(&catalog, &about);
    check_references(&document, &document);
    document
}

/// Every reference has what it refers to.
fn check_references(value: &Value, document: &Value) {
    match value {
        Value::Object(object) => {
            if let Some(Value::String(reference)) = object.get("$ref") {
                assert!(document.pointer(&reference[1..]).is_some(), "{reference}");
            }
            object.values().for_each(|value| check_references(value, document));
        }
        Value::Array(values) => values.iter().for_each(|value| check_references(value, document)),
        _ => {}
    }
}

fn schemas(document: &Value) -> &Value {
    &document["components"]["schemas"]
}

#[test]
fn parameters_by_name_with_defaults() {
    let arguments = [
        argument("p_id", 20, None),
        argument("p_tag", 25, Some("'x'::text")),
        argument("p_list", 1007, Some("NULL::integer[]")),
    ];
    let document = made(&[function("find", &arguments, 16, json!({"comment": "Finds.\nMore."}))]);
    let post = &document["paths"]["/call/shop/find"]["post"];
    assert_eq!(
        (&post["operationId"], &post["summary"], &post["description"]),
        (&json!("find"), &json!("Finds."), &json!("Finds.\nMore."))
    );
    assert_eq!(post["requestBody"]["required"], true);
    assert_eq!(
        schemas(&document)["find.params"],
        json!({"type": "object", "additionalProperties": false, "required": ["p_id"], "properties": {
            "p_id": {"type": ["integer", "string", "null"], "format": "int64"},
            "p_tag": {"type": ["string", "null"], "description": "Default: `'x'::text`"},
            "p_list": {"type": ["array", "null"], "items": {"type": ["integer", "null"], "format": "int32"},
                       "description": "Default: `NULL::integer[]`"}}})
    );
    assert_eq!(
        schemas(&document)["find.row"],
        json!({"type": "object", "additionalProperties": false, "required": ["find"], "properties": {"find": {"type": ["boolean", "null"]}}})
    );
    assert!(document["paths"]["/call/shop/find"]["get"].is_null());
}

#[test]
fn strict_functions_take_no_null_and_unnamed_parameters_are_a_list() {
    let document = made(&[
        function("strict", &[argument("a", 25, None)], 2278, json!({"is_strict": true})),
        function("unnamed", &[argument("", 25, None), argument("b", 23, Some("1"))], 2278, json!({"only_reads": true})),
    ]);
    assert_eq!(schemas(&document)["strict.params"]["properties"]["a"], json!({"type": "string"}));
    let list = &schemas(&document)["unnamed.params"];
    assert_eq!((&list["type"], &list["minItems"], &list["maxItems"]), (&json!("array"), &json!(1), &json!(2)));
    assert_eq!(list["prefixItems"].as_array().unwrap().len(), 2);
    // By GET there are names only.
    assert!(document["paths"]["/call/shop/unnamed"]["get"].is_null());
    assert_eq!(schemas(&document)["strict.row"]["properties"]["strict"], json!({"type": "null"}));
}

#[test]
fn types_with_names_are_components_that_differ_by_direction() {
    let arguments = [argument("p_item", 102, None), argument("p_colour", 100, None), argument("p_code", 101, None)];
    let document = made(&[function("put", &arguments, 102, json!({"returns_set": true}))]);
    let schemas = schemas(&document);
    assert_eq!(
        schemas["colour"],
        json!({"type": "string", "enum": ["red", "green"], "description": "What it looks like"})
    );
    let item = &schemas["app.item"];
    assert_eq!(item["required"], json!(["id", "name", "colour", "parts"]));
    assert_eq!(item["description"], "What is sold");
    let columns = &item["properties"];
    assert_eq!(columns["id"], json!({"type": "integer", "format": "int64", "description": "Its number"}));
    assert_eq!(columns["name"], json!({"type": "string", "maxLength": 40}));
    assert_eq!(columns["colour"], json!({"anyOf": [{"$ref": "#/components/schemas/colour"}, {"type": "null"}]}));
    assert_eq!(columns["parts"]["items"]["anyOf"][0]["$ref"], "#/components/schemas/app.item");
    let sent = &schemas["app.item.input"];
    assert!(sent["required"].is_null(), "{sent}");
    assert_eq!(sent["properties"]["id"]["type"], json!(["integer", "string", "null"]));
    // A domain that takes no NULL.
    assert_eq!(schemas["put.params"]["properties"]["p_code"], json!({"$ref": "#/components/schemas/code"}));
    assert_eq!(schemas["code"], json!({"type": "string", "maxLength": 8, "description": "CHECK ((VALUE ~ 'x'))"}));
    let rows = &document["paths"]["/call/shop/put"]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
        ["properties"]["rows"];
    assert_eq!(rows, &json!({"type": "array", "items": {"$ref": "#/components/schemas/app.item"}}));
}

#[test]
fn one_row_may_be_a_row_of_nulls() {
    let document = made(&[function("get", &[], 102, json!({"only_reads": true}))]);
    let columns = &schemas(&document)["get.row"]["properties"];
    assert_eq!(columns["id"]["type"], json!(["integer", "null"]));
    let rows = &document["paths"]["/call/shop/get"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        ["properties"]["rows"];
    assert_eq!((&rows["minItems"], &rows["maxItems"]), (&json!(1), &json!(1)));
    assert_eq!(document["paths"]["/call/shop/get"]["get"]["operationId"], "read_get");
}

#[test]
fn out_parameters_tables_and_procedures() {
    let outputs = [argument("a", 23, None), output("b", 25, "b"), output("", 20, "o")];
    let document = made(&[
        function("out", &outputs, 2249, json!({})),
        function("listed", &[output("x", 1700, "t")], 1700, json!({"returns_set": true})),
        function("done", &[argument("a", 23, None)], 2278, json!({"is_procedure": true})),
    ]);
    let schemas = schemas(&document);
    assert_eq!(schemas["out.row"]["required"], json!(["b", "column2"]));
    assert_eq!(schemas["out.params"]["required"], json!(["a", "b"]));
    assert_eq!(schemas["listed.row"]["properties"]["x"], json!({"type": ["number", "null"]}));
    assert_eq!(schemas["done.row"], json!({"type": "object"}));
}

#[test]
fn what_cannot_be_answered_is_left_out() {
    let document = made(&[
        function("cursor", &[], 1790, json!({})),
        function("out_cursor", &[output("c", 1790, "o")], 1790, json!({})),
        function("record", &[], 2249, json!({})),
        function("any", &[argument("a", 2283, None)], 2283, json!({})),
    ]);
    assert_eq!(document["paths"].as_object().unwrap().keys().collect::<Vec<_>>(), ["/call/shop/any"]);
    assert_eq!(schemas(&document)["any.row"]["properties"]["any"], json!({}));
}

#[test]
fn overloads_share_a_path() {
    let reads = json!({"only_reads": true, "comment": "Says."});
    let document = made(&[
        function("say", &[argument("a", 23, None)], 25, reads.clone()),
        function("say", &[argument("a", 25, None), argument("b", 16, None)], 25, reads.clone()),
    ]);
    let item = &document["paths"]["/call/shop/say"];
    let either = &item["post"]["requestBody"]["content"]["application/json"]["schema"]["anyOf"];
    assert_eq!(
        either,
        &json!([{"$ref": "#/components/schemas/say.params.1"}, {"$ref": "#/components/schemas/say.params.2"}])
    );
    assert!(item["post"]["description"].as_str().unwrap().contains("`say(…)`\nSays."));
    let by_get: Vec<(&str, bool)> = item["get"]["parameters"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|parameter| Some((parameter["name"].as_str()?, parameter["required"].as_bool()?)))
        .collect();
    assert_eq!(by_get, [("a", true), ("b", false)]);
}

#[test]
fn names_that_are_no_identifiers() {
    let called = |name: &str, called: &str| function(name, &[], 16, json!({"called": called}));
    let document =
        made(&[called("Ä/b", "\"Ä/b\""), called("Ö/b", "\"Ö/b\""), called("Error", "\"Error\""), called("x", "app.x")]);
    let paths: Vec<&String> = document["paths"].as_object().unwrap().keys().collect();
    assert_eq!(
        paths,
        ["/call/shop/%22%C3%84%2Fb%22", "/call/shop/%22%C3%96%2Fb%22", "/call/shop/%22Error%22", "/call/shop/app.x"]
    );
    let ids = |path: &str| document["paths"][path]["post"]["operationId"].clone();
    assert_eq!(
        (ids("/call/shop/%22%C3%84%2Fb%22"), ids("/call/shop/%22%C3%96%2Fb%22")),
        (json!("__b"), json!("__b_2"))
    );
    for name in schemas(&document).as_object().unwrap().keys() {
        assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)), "{name}");
    }
}

#[test]
fn what_the_document_is_of() {
    let catalog = Catalog::default();
    let plain = document(&catalog, &About { platform: "shop", tenant: "main", ..About::default() });
    assert_eq!((&plain["openapi"], &plain["info"]["title"]), (&json!("3.1.0"), &json!("shop")));
    assert_eq!(plain["security"], json!([{}, {"token": []}]));
    let other = document(
        &catalog,
        &About { platform: "shop", tenant: "acme", schema: Some("s"), needs_token: true, ..About::default() },
    );
    assert_eq!((&other["info"]["title"], &other["security"]), (&json!("shop (acme)"), &json!([{"token": []}])));
    assert!(other["components"]["parameters"]["schema_name"].is_object());
}
