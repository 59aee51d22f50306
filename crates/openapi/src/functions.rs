//! Functions as operations.

use serde_json::{Map, Value, json};

use crate::catalog::{Argument, Column, Function, Type};
use crate::document::About;
use crate::names::Names;
use crate::schemas::{Schemas, Way, described};

/// A function that can be answered: neither a cursor nor a record of unknown columns comes of it.
pub(crate) fn is_answerable(function: &Function, find: impl Fn(u32) -> Option<Type>) -> bool {
    let is_builtin = |oid: u32, name: &str| find(oid).is_some_and(|of| of.schema == "pg_catalog" && of.name == name);
    let is_cursor = |oid: u32| {
        let element = find(oid).and_then(|of| of.element);
        is_builtin(oid, "refcursor") || element.is_some_and(|element| is_builtin(element, "refcursor"))
    };
    let outputs: Vec<&Argument> = function.arguments.iter().filter(|argument| argument.is_output()).collect();
    let is_record = !function.is_procedure && is_builtin(function.returns, "record") && outputs.len() < 2;
    !is_cursor(function.returns) && !outputs.iter().any(|argument| is_cursor(argument.type_oid)) && !is_record
}

/// The item of a path: all functions that are called by one name.
pub(crate) fn path_item(
    functions: &[&Function],
    schemas: &mut Schemas,
    ids: &mut Names,
    about: &About,
) -> Option<Value> {
    let first = functions.first()?;
    let name = first.called.replace('"', "");
    let answer = answer(functions, &name, schemas);
    let texts = texts(functions);
    let shared = |id: String| {
        let mut operation = texts.clone();
        operation.insert("operationId".to_owned(), json!(id));
        operation.insert(
            "responses".to_owned(),
            json!({"200": {"description": "The rows", "content": {"application/json": {"schema": answer}}},
                   "default": {"$ref": "#/components/responses/Error"}}),
        );
        operation
    };
    let mut post = shared(ids.take(&name));
    post.insert("parameters".to_owned(), json!(about.parameters()));
    post.insert("requestBody".to_owned(), body(functions, &name, schemas));
    let mut item = Map::from_iter([("post".to_owned(), Value::Object(post))]);
    if let Some(parameters) = query(functions, schemas) {
        let mut get = shared(ids.take(&format!("read_{name}")));
        let all: Vec<Value> = parameters.into_iter().chain(about.parameters()).collect();
        get.insert("parameters".to_owned(), json!(all));
        item.insert("get".to_owned(), Value::Object(get));
    }
    Some(Value::Object(item))
}

/// Comments, and the signatures where there are several.
fn texts(functions: &[&Function]) -> Map<String, Value> {
    let comments = functions.iter().filter_map(|function| match (&function.comment, functions.len()) {
        // One line is the summary.
        (Some(comment), 1) => comment.contains('\n').then(|| comment.clone()),
        (None, 1) => None,
        (comment, _) => {
            Some(format!("`{}`\n{}", function.signature, comment.as_deref().unwrap_or_default()).trim_end().to_owned())
        }
    });
    let text = comments.collect::<Vec<_>>().join("\n\n");
    let mut texts = Map::new();
    let summary = match functions {
        [one] => one.comment.as_deref().and_then(|comment| comment.lines().next()).unwrap_or(&one.signature),
        _ => functions.first().map_or("", |first| first.called.as_str()),
    };
    texts.insert("summary".to_owned(), json!(summary));
    if !text.is_empty() {
        texts.insert("description".to_owned(), json!(text));
    }
    texts
}

/// The parameters as the body of a request.
fn body(functions: &[&Function], name: &str, schemas: &mut Schemas) -> Value {
    let several = functions.len() > 1;
    let mut alternatives = Vec::new();
    let mut required = true;
    for (place, function) in functions.iter().enumerate() {
        let (schema, needs) = parameters(function, schemas);
        required &= needs;
        let suffix = if several { format!("{name}.params.{}", place + 1) } else { format!("{name}.params") };
        alternatives.push(schemas.add(&suffix, schema));
    }
    // Not oneOf: what fits two of them is no error, PostgreSQL's rules choose.
    let schema = if several { json!({"anyOf": alternatives}) } else { alternatives.pop().unwrap_or_default() };
    json!({"required": required, "content": {"application/json": {"schema": schema}}})
}

/// An object by name; an array in order where a parameter has no name. And whether any of them must be sent.
fn parameters(function: &Function, schemas: &mut Schemas) -> (Value, bool) {
    let inputs: Vec<&Argument> = function.arguments.iter().filter(|argument| argument.is_input()).collect();
    let needed = inputs.iter().filter(|argument| !argument.has_default).count();
    let mut one = |argument: &Argument| {
        let schema = schemas.of_perhaps_null(argument.type_oid, -1, Way::In, function.is_strict);
        // Not the keyword `default`: generators take what has one as always there.
        let default = argument.default.as_ref().map(|sql| format!("Default: `{sql}`"));
        described(schema, default.as_deref())
    };
    if inputs.iter().any(|argument| argument.name().is_none()) {
        let items: Vec<Value> = inputs.iter().map(|argument| one(argument)).collect();
        let schema = json!({"type": "array", "prefixItems": items, "minItems": needed, "maxItems": inputs.len(), "items": false});
        return (schema, needed > 0);
    }
    let properties: Map<String, Value> =
        inputs.iter().filter_map(|argument| Some((argument.name()?.to_owned(), one(argument)))).collect();
    let required: Vec<&str> =
        inputs.iter().filter(|argument| !argument.has_default).filter_map(|argument| argument.name()).collect();
    let mut schema = json!({"type": "object", "properties": properties, "additionalProperties": false});
    if let (false, Some(schema)) = (required.is_empty(), schema.as_object_mut()) {
        schema.insert("required".to_owned(), json!(required));
    }
    (schema, needed > 0)
}

/// Names that mean the database in a query.
const RESERVED: [&str; 3] = ["tenant_id", "uuid", "schema_name"];

/// The parameters as those of a query, if all functions of the name only read and all their parameters can be named there.
fn query(functions: &[&Function], schemas: &mut Schemas) -> Option<Vec<Value>> {
    let mut found: Vec<(String, Value, usize)> = Vec::new();
    for function in functions {
        if !function.only_reads {
            return None;
        }
        for argument in function.arguments.iter().filter(|argument| argument.is_input()) {
            let name = argument.name().filter(|name| !RESERVED.contains(name))?;
            let schema = as_text(schemas, argument.type_oid);
            let needed = usize::from(!argument.has_default);
            match found.iter_mut().find(|(known, ..)| known == name) {
                Some((_, known, times)) => {
                    *times += needed;
                    if *known != schema {
                        *known = json!({"type": "string"});
                    }
                }
                None => found.push((name.to_owned(), schema, needed)),
            }
        }
    }
    // What every overload needs must be there.
    let parameter = |(name, schema, times): (String, Value, usize)| json!({"name": name, "in": "query", "required": times == functions.len(), "schema": schema});
    Some(found.into_iter().map(parameter).collect())
}

/// A value in a query: what is no number, truth value or word is PostgreSQL's own text of it.
fn as_text(schemas: &mut Schemas, oid: u32) -> Value {
    let text = |of: &Type| json!({"type": "string", "description": format!("{} as PostgreSQL writes it", of.written)});
    match schemas.find(oid) {
        Some(of) if of.kind == "e" => schemas.of(oid, -1, Way::In),
        Some(of) if of.kind == "b" && of.element.is_none() => match schemas.of(oid, -1, Way::In) {
            Value::Object(schema) if schema.contains_key("type") => Value::Object(schema),
            _ => json!({"type": "string", "description": "JSON"}),
        },
        Some(of) => text(of),
        None => json!({"type": "string"}),
    }
}

/// The answer to a call.
fn answer(functions: &[&Function], name: &str, schemas: &mut Schemas) -> Value {
    let several = functions.len() > 1;
    let mut alternatives: Vec<Value> = Vec::new();
    for (place, function) in functions.iter().enumerate() {
        let suffix = if several { format!("{name}.row.{}", place + 1) } else { format!("{name}.row") };
        let row = row(function, &suffix, schemas);
        let mut rows = json!({"type": "array", "items": row});
        if let (false, Some(rows)) = (function.returns_set, rows.as_object_mut()) {
            let least = if function.is_procedure { 0 } else { 1 };
            rows.insert("minItems".to_owned(), json!(least));
            rows.insert("maxItems".to_owned(), json!(1));
        }
        if !alternatives.contains(&rows) {
            alternatives.push(rows);
        }
    }
    let rows = match alternatives.as_slice() {
        [one] => one.clone(),
        _ => json!({"anyOf": alternatives}),
    };
    json!({"type": "object", "required": ["rows", "row_count", "execution_time_ms"], "properties": {
        "rows": rows,
        "row_count": {"type": "integer", "minimum": 0},
        "execution_time_ms": {"type": "integer", "minimum": 0},
    }})
}

/// A row of the answer.
fn row(function: &Function, name: &str, schemas: &mut Schemas) -> Value {
    let outputs: Vec<&Argument> = function.arguments.iter().filter(|argument| argument.is_output()).collect();
    if !outputs.is_empty() {
        let columns: Vec<Column> = outputs
            .iter()
            .enumerate()
            .map(|(place, argument)| Column {
                name: argument.name().map_or_else(|| format!("column{}", place + 1), str::to_owned),
                type_oid: argument.type_oid,
                modifier: -1,
                is_not_null: false,
                comment: None,
            })
            .collect();
        let object = schemas.object(&columns, Way::Out, None, false);
        return schemas.add(name, object);
    }
    if function.is_procedure {
        return schemas.add(name, json!({"type": "object"}));
    }
    let composite = composite(function.returns, schemas);
    match composite {
        Some(of) if function.returns_set => schemas.of(of.oid, -1, Way::Out),
        // A row that was not found is a row of NULLs.
        Some(of) => {
            let columns = of.columns.as_deref().unwrap_or_default();
            let object = schemas.object(columns, Way::Out, of.comment.as_deref(), true);
            schemas.add(name, object)
        }
        None => {
            let value = schemas.of_perhaps_null(function.returns, -1, Way::Out, false);
            let column = &function.name;
            let object = json!({"type": "object", "properties": {column: value}, "required": [column], "additionalProperties": false});
            schemas.add(name, object)
        }
    }
}

/// The composite type that a type is, perhaps below domains.
fn composite<'a>(oid: u32, schemas: &Schemas<'a>) -> Option<&'a Type> {
    let mut of = schemas.find(oid)?;
    while of.kind == "d" {
        of = schemas.find(of.base?)?;
    }
    (of.kind == "c").then_some(of)
}
