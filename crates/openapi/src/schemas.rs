//! PostgreSQL's types as JSON schemas.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::{Map, Value, json};

use crate::catalog::{Catalog, Column, Type};
use crate::names::Names;

/// Which way a value goes. What is sent may be written in more ways than what is answered.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Way {
    /// To the server.
    In,
    /// From it.
    Out,
}

/// What of `Type::modifier` is the header of a varlena (VARHDRSZ).
const HEADER: i32 = 4;

/// The schemas of types; those that have a name of their own become components when they are first used.
pub(crate) struct Schemas<'a> {
    types: HashMap<u32, &'a Type>,
    names: Names,
    known: HashMap<(u32, Way), String>,
    /// In the making: a type may be a part of itself.
    open: HashSet<(u32, Way)>,
    components: BTreeMap<String, Value>,
}

impl<'a> Schemas<'a> {
    pub(crate) fn new(catalog: &'a Catalog) -> Schemas<'a> {
        let types: HashMap<u32, &Type> = catalog.types.iter().map(|one| (one.oid, one)).collect();
        let mut schemas = Schemas {
            types,
            names: Names::default(),
            known: HashMap::new(),
            open: HashSet::new(),
            components: BTreeMap::new(),
        };
        schemas.names.take("Error");
        schemas
    }

    pub(crate) fn find(&self, oid: u32) -> Option<&'a Type> {
        self.types.get(&oid).copied()
    }

    /// A component of that name, or one like it; gives the reference to it.
    pub(crate) fn add(&mut self, name: &str, schema: Value) -> Value {
        let name = self.names.take(name);
        self.components.insert(name.clone(), schema);
        reference(&name)
    }

    pub(crate) fn into_components(self) -> BTreeMap<String, Value> {
        self.components
    }

    /// The schema of a value that is not NULL.
    pub(crate) fn of(&mut self, oid: u32, modifier: i32, way: Way) -> Value {
        let Some(of) = self.find(oid) else { return json!({}) };
        if let Some(element) = of.element {
            let items = self.of_perhaps_null(element, -1, way, false);
            return json!({"type": "array", "items": items});
        }
        match of.kind.as_str() {
            "e" => self.component(of, Way::Out, |_, of| json!({"type": "string", "enum": of.labels})),
            "d" => {
                // Mostly it is the same in both directions, as most base types are.
                let is_same = self.domain(of, Way::In) == self.domain(of, Way::Out);
                let way = if is_same { Way::Out } else { way };
                self.component(of, way, |schemas, of| schemas.domain(of, way))
            }
            "c" => self.component(of, way, |schemas, of| {
                let columns = of.columns.as_deref().unwrap_or_default();
                schemas.object(columns, way, of.comment.as_deref(), false)
            }),
            "r" => json!({"type": "string", "description": format!("A range: {}", of.written)}),
            "m" => json!({"type": "string", "description": format!("A multirange: {}", of.written)}),
            _ => scalar(of, modifier, way),
        }
    }

    /// The schema of a value that may be NULL, unless its type says no.
    pub(crate) fn of_perhaps_null(&mut self, oid: u32, modifier: i32, way: Way, not_null: bool) -> Value {
        let never = not_null || self.find(oid).is_some_and(|of| of.kind == "d" && of.is_not_null);
        let schema = self.of(oid, modifier, way);
        if never { schema } else { or_null(schema) }
    }

    fn component(&mut self, of: &'a Type, way: Way, make: impl FnOnce(&mut Self, &'a Type) -> Value) -> Value {
        let key = (of.oid, way);
        if let Some(name) = self.known.get(&key) {
            return reference(name);
        }
        let name = if of.schema == "public" { of.name.clone() } else { format!("{}.{}", of.schema, of.name) };
        let name = self.names.take(&if way == Way::In { format!("{name}.input") } else { name });
        self.known.insert(key, name.clone());
        if self.open.insert(key) {
            let mut schema = make(self, of);
            if let (Some(comment), Some(schema)) = (&of.comment, schema.as_object_mut()) {
                schema.entry("description").or_insert_with(|| json!(comment));
            }
            self.components.insert(name.clone(), schema);
            self.open.remove(&key);
        }
        reference(&name)
    }

    fn domain(&mut self, of: &Type, way: Way) -> Value {
        let base = self.of(of.base.unwrap_or(0), of.modifier.unwrap_or(-1), way);
        let mut says: Vec<String> = of.comment.iter().cloned().collect();
        says.extend(of.checks.iter().flatten().cloned());
        // A reference may have a description beside it since OpenAPI 3.1, but not every generator reads it there.
        let mut schema = match base {
            Value::Object(base) if !base.contains_key("$ref") => base,
            other => Map::from_iter([("allOf".to_owned(), json!([other]))]),
        };
        if !says.is_empty() {
            schema.insert("description".to_owned(), json!(says.join("\n")));
        }
        Value::Object(schema)
    }

    /// An object of these columns. `all_null`: each may be NULL whatever its table says, as those of a row that was not found are.
    pub(crate) fn object(&mut self, columns: &[Column], way: Way, comment: Option<&str>, all_null: bool) -> Value {
        let mut properties = Map::new();
        for column in columns {
            let not_null = column.is_not_null && !all_null && way == Way::Out;
            let mut schema = self.of_perhaps_null(column.type_oid, column.modifier, way, not_null);
            if all_null {
                schema = or_null(schema);
            }
            properties.insert(column.name.clone(), described(schema, column.comment.as_deref()));
        }
        // What is left out of an object that is sent is NULL; in an answer nothing is left out.
        let required: Vec<&str> =
            if way == Way::Out { columns.iter().map(|column| column.name.as_str()).collect() } else { Vec::new() };
        let mut object = json!({"type": "object", "properties": properties, "additionalProperties": false});
        if let Some(object) = object.as_object_mut() {
            if !required.is_empty() {
                object.insert("required".to_owned(), json!(required));
            }
            if let Some(comment) = comment {
                object.insert("description".to_owned(), json!(comment));
            }
        }
        object
    }
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

/// The schema with a description.
pub(crate) fn described(schema: Value, text: Option<&str>) -> Value {
    let Some(text) = text else { return schema };
    match schema {
        Value::Object(mut object) if !object.contains_key("$ref") => {
            let before = object.get("description").and_then(Value::as_str).map(|before| format!("\n{before}"));
            object.insert("description".to_owned(), json!(format!("{text}{}", before.unwrap_or_default())));
            Value::Object(object)
        }
        other => json!({"allOf": [other], "description": text}),
    }
}

/// The schema, or null.
pub(crate) fn or_null(schema: Value) -> Value {
    let Value::Object(mut object) = schema else { return schema };
    // Anything at all.
    if object.is_empty() || object.keys().all(|key| key == "description") {
        return Value::Object(object);
    }
    match object.get_mut("type") {
        Some(Value::String(kind)) if kind == "null" => {}
        Some(Value::String(kind)) => {
            let kind = std::mem::take(kind);
            object.insert("type".to_owned(), json!([kind, "null"]));
        }
        Some(Value::Array(kinds)) => {
            if !kinds.iter().any(|kind| kind == "null") {
                kinds.push(json!("null"));
            }
        }
        _ => {
            let is_null = |one: &Value| one.get("type").is_some_and(|kind| kind == "null");
            if let Some(Value::Array(any)) = object.get_mut("anyOf") {
                if !any.iter().any(is_null) {
                    any.push(json!({"type": "null"}));
                }
            } else {
                let description = object.remove("description");
                let mut either = Map::from_iter([("anyOf".to_owned(), json!([object, {"type": "null"}]))]);
                either.extend(description.map(|text| ("description".to_owned(), text)));
                return Value::Object(either);
            }
        }
    }
    Value::Object(object)
}

/// A type without parts. Numbers that a double does not hold may be sent as texts.
fn scalar(of: &Type, modifier: i32, way: Way) -> Value {
    let builtin = if of.schema == "pg_catalog" { of.name.as_str() } else { "" };
    let exact = |kind: &str, format: Option<&str>| {
        let kinds = if way == Way::In { json!([kind, "string"]) } else { json!(kind) };
        match format {
            Some(format) => json!({"type": kinds, "format": format}),
            None => json!({"type": kinds}),
        }
    };
    match builtin {
        "bool" => json!({"type": "boolean"}),
        "int2" => json!({"type": "integer", "minimum": i16::MIN, "maximum": i16::MAX}),
        "int4" => json!({"type": "integer", "format": "int32"}),
        "int8" => exact("integer", Some("int64")),
        // A text for PostgreSQL's to_json.
        "oid" if way == Way::In => json!({"type": ["integer", "string"]}),
        "float4" => exact("number", Some("float")),
        "float8" => exact("number", Some("double")),
        "numeric" => exact("number", None),
        "uuid" => json!({"type": "string", "format": "uuid"}),
        "date" => json!({"type": "string", "format": "date"}),
        "timestamptz" => json!({"type": "string", "format": "date-time"}),
        // Without an offset these are no date-time and no time of RFC 3339.
        "timestamp" => json!({"type": "string", "description": "A time without a zone, as in 2026-01-02T03:04:05"}),
        "bytea" => json!({"type": "string", "description": "Bytes in hexadecimal digits after \\x"}),
        "varchar" | "bpchar" if modifier > HEADER => {
            json!({"type": "string", "maxLength": modifier - HEADER})
        }
        "text" | "varchar" | "bpchar" | "name" | "char" => json!({"type": "string"}),
        // As it is, whatever it is.
        "json" | "jsonb" => json!({}),
        "void" => json!({"type": "null"}),
        "record" => json!({"type": "object"}),
        _ if of.kind == "p" || of.casts_to_json => json!({}),
        _ => json!({"type": "string", "description": of.written}),
    }
}
