//! The main job, end to end: register, migrate and call, over SQL and over HTTP, for a platform and its tenants.

mod migrating;
mod serving;
mod tenants;

use acceptance::{Files, fixtures};
use serde_json::Value;

/// The second version of the shop: a column more by a migration, a table, a function; one function changed.
fn shop_v2() -> Files {
    fixtures::shop()
        .edit("tables/products.pssql", "price numeric(12,2) NOT NULL", "price numeric(12,2) NOT NULL, stock int NOT NULL DEFAULT 5")
        .file("migrations/001_stock.pssql", "ALTER TABLE products ADD COLUMN IF NOT EXISTS stock int NOT NULL DEFAULT 5;\n")
        .file("tables/coupons.pssql", "CREATE TABLE coupons (code text PRIMARY KEY, worth numeric NOT NULL);\n")
        .file(
            "functions/stock_of.pssql",
            "CREATE FUNCTION stock_of(p_id bigint) RETURNS int LANGUAGE sql AS 'SELECT stock FROM products WHERE id = p_id';\n",
        )
        .edit("functions/count_customers.pssql", "count(*)", "count(*) + 100")
}

/// Only HTTP has requests with an id.
fn without_request_id(answer: &Value) -> Value {
    let mut answer = answer.clone();
    answer.as_object_mut().map(|object| object.remove("request_id"));
    answer
}

/// The names of an object's fields.
fn keys(value: &Value) -> Option<Vec<String>> {
    value.as_object().map(|object| object.keys().cloned().collect())
}
