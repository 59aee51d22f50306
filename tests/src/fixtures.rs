//! Bundles that several tests use.

use crate::Files;

/// A small shop: an enum, three tables with a foreign key, functions to read and write, a view, seeded products.
pub fn shop() -> Files {
    Files::new()
        .file("types/order_status.pssql", "CREATE TYPE order_status AS ENUM ('new', 'paid', 'sent');\n")
        .file(
            "tables/customers.pssql",
            "CREATE TABLE customers (id bigserial PRIMARY KEY, name text NOT NULL UNIQUE, joined timestamptz NOT NULL DEFAULT now());\n",
        )
        .file(
            "tables/bookings.pssql",
            "-- Sorts before the table that it refers to.\n\
             CREATE TABLE bookings (\n    id bigserial PRIMARY KEY,\n    customer_id bigint NOT NULL REFERENCES customers (id),\n    \
             status order_status NOT NULL DEFAULT 'new'\n);\nCREATE INDEX bookings_by_customer ON bookings (customer_id);\n",
        )
        .file(
            "tables/products.pssql",
            "CREATE TABLE products (id bigint PRIMARY KEY, name text NOT NULL, price numeric(12,2) NOT NULL);\n",
        )
        .file("views/product_names.pssql", "CREATE VIEW product_names AS SELECT id, upper(name) AS name FROM products;\n")
        .file(
            "seeders/products.pssql",
            "INSERT INTO products (id, name, price) VALUES (1, 'Pen', 1.50), (2, 'Ink; black', 12.00), (3, 'It''s paper', 3.25);\n",
        )
        .file(
            "functions/get_product.pssql",
            "CREATE OR REPLACE FUNCTION get_product(p_id bigint)\nRETURNS TABLE (id bigint, name text, price numeric) AS $$\nBEGIN\n    \
             RETURN QUERY SELECT p.id, p.name, p.price FROM products p WHERE p.id = p_id;\nEND;\n$$ LANGUAGE plpgsql;\n",
        )
        .file(
            "functions/list_products.pssql",
            "CREATE FUNCTION list_products(p_limit int DEFAULT 10) RETURNS SETOF product_names LANGUAGE sql STABLE AS\n\
             $$ SELECT * FROM product_names ORDER BY id LIMIT p_limit $$;\n",
        )
        .file(
            "functions/add_customer.pssql",
            "CREATE FUNCTION add_customer(p_name text) RETURNS bigint LANGUAGE sql AS\n\
             $$ INSERT INTO customers (name) VALUES (p_name) RETURNING id $$;\n",
        )
        .file(
            "functions/count_customers.pssql",
            "CREATE FUNCTION count_customers() RETURNS bigint LANGUAGE sql STABLE AS $$ SELECT count(*) FROM customers $$;\n",
        )
}

/// Functions only: `f()` gives 1, `nap(seconds)` sleeps and gives its argument, `pid()` the process it runs in.
pub fn tiny() -> Files {
    Files::new()
        .file("functions/f.pssql", "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1';\n")
        .file(
            "functions/nap.pssql",
            "CREATE FUNCTION nap(seconds float8) RETURNS float8 LANGUAGE plpgsql AS\n\
             $$ BEGIN PERFORM pg_sleep(seconds); RETURN seconds; END $$;\n",
        )
        .file("functions/pid.pssql", "CREATE FUNCTION pid() RETURNS int LANGUAGE sql AS 'SELECT pg_backend_pid()';\n")
}
