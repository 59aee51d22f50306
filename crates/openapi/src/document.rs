//! The document around the functions.

use serde_json::{Map, Value, json};

use crate::catalog::{Catalog, Function};
use crate::functions::{is_answerable, path_item};
use crate::names::{Names, segment};
use crate::schemas::Schemas;

/// What the document is of.
#[derive(Debug, Clone, Default)]
pub struct About<'a> {
    /// The platform as registered.
    pub platform: &'a str,
    /// The stored schema; `None` is the platform's own.
    pub schema: Option<&'a str>,
    /// The tenant as registered.
    pub tenant: &'a str,
    /// The version of the document.
    pub version: &'a str,
    /// Calls need a token.
    pub needs_token: bool,
    /// The codes of errors that there are.
    pub errors: &'a [&'a str],
}

impl About<'_> {
    /// The parameters that every operation has, as references.
    pub(crate) fn parameters(&self) -> Vec<Value> {
        let mut names = vec!["tenant_id", "timeout"];
        if self.schema.is_some() {
            names.push("schema_name");
        }
        names.into_iter().map(|name| json!({"$ref": format!("#/components/parameters/{name}")})).collect()
    }
}

const NOTES: &str = "Each function of the platform is a path. Its parameters are the members of the body's object; those that are left out \
have their defaults. The answer has the rows that it returned.\n\nNumbers that are no numbers in JSON (NaN, infinities) come as strings. \
Arrays of several dimensions are nested. Parameters of types that a double cannot hold may be sent as strings.";

/// The document.
pub fn document(catalog: &Catalog, about: &About) -> Value {
    let mut schemas = Schemas::new(catalog);
    let mut ids = Names::default();
    let mut paths = Map::new();
    let mut functions: Vec<&Function> = catalog.functions.iter().collect();
    functions.retain(|function| is_answerable(function, |oid| schemas.find(oid).cloned()));
    while let Some(first) = functions.first().copied() {
        let (same, others) = functions.into_iter().partition(|function: &&Function| function.called == first.called);
        functions = others;
        let path = format!("/call/{}/{}", segment(about.platform), segment(&first.called));
        paths.extend(path_item(&same, &mut schemas, &mut ids, about).map(|item| (path, item)));
    }
    let mut components = schemas.into_components();
    components.insert("Error".to_owned(), error(about.errors));
    let of = if about.tenant == "main" { String::new() } else { format!(" ({})", about.tenant) };
    let token = json!([{"token": []}]);
    let perhaps = json!([{}, {"token": []}]);
    json!({
        "openapi": "3.1.0",
        "info": {"title": format!("{}{of}", about.platform), "version": about.version, "description": NOTES},
        // Wherever this document was fetched.
        "servers": [{"url": "/"}],
        "security": if about.needs_token { token } else { perhaps },
        "paths": paths,
        "components": {
            "schemas": components,
            "parameters": parameters(about),
            "responses": {"Error": {
                "description": "An error; its status is in the table of errors, or the function's own choice",
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
            }},
            "securitySchemes": {"token": {
                "type": "http", "scheme": "bearer", "description": "A token of the platform, or the admin's",
            }},
        },
    })
}

fn parameters(about: &About) -> Value {
    let text = |name: &str, description: String| json!({"name": name, "in": "query", "required": false, "schema": {"type": "string"}, "description": description});
    let mut all = json!({
        "tenant_id": text("tenant_id", format!("Whose database is called; main if it is left out. This document is of {}.", about.tenant)),
        "timeout": {"name": "X-Timeout-Ms", "in": "header", "required": false, "schema": {"type": "integer", "minimum": 1},
                    "description": "Milliseconds after which the call is cancelled"},
    });
    if let (Some(schema), Some(all)) = (about.schema, all.as_object_mut()) {
        let description = format!("The stored schema that the database is of: {schema}");
        all.insert("schema_name".to_owned(), text("schema_name", description));
    }
    all
}

fn error(codes: &[&str]) -> Value {
    let text = |description: &str| json!({"type": "string", "description": description});
    json!({"type": "object", "required": ["error", "message"], "description": "The shape of every error", "properties": {
        "error": {"type": "string", "enum": codes, "description": "What went wrong"},
        "message": text("One sentence for a person"),
        "sqlstate": text("PostgreSQL's SQLSTATE"),
        "detail": text("PostgreSQL's DETAIL"),
        "hint": text("PostgreSQL's HINT"),
        "context": text("PostgreSQL's CONTEXT: the call stack inside the database"),
        "database": text("The database"),
        "cause": text("What is behind it"),
        "request_id": text("The request's id, as in the header X-Request-Id"),
    }})
}
