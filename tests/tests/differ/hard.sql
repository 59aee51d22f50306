--- a foreign key to a unique index, and to a constraint that changes
CREATE TABLE a (x int, y int, CONSTRAINT u UNIQUE (y));
CREATE UNIQUE INDEX a_x ON a (x);
CREATE TABLE b (x int REFERENCES a (x), y int REFERENCES a (y));
-- rows
INSERT INTO a VALUES (1, 2);
INSERT INTO b VALUES (1, 2);
-- by hand
CREATE TABLE mine (y int REFERENCES a (y));
-- new
CREATE TABLE a (x int, y int, CONSTRAINT u UNIQUE (y) DEFERRABLE, CONSTRAINT u2 UNIQUE (y) INCLUDE (x));
CREATE UNIQUE INDEX a_x ON a (x) WITH (fillfactor = 50);
CREATE TABLE b (x int REFERENCES a (x), y int);
--- a function's default argument is of an enum that loses a label
CREATE TYPE "user" AS ENUM ('a', 'b', 'c');
CREATE SEQUENCE q;
CREATE FUNCTION f(x "user" DEFAULT 'a', n bigint DEFAULT nextval('q')) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE TABLE t (x int DEFAULT f(), y "user"[] DEFAULT ARRAY['a'::"user"]);
CREATE MATERIALIZED VIEW m AS SELECT y FROM t;
-- rows
INSERT INTO t DEFAULT VALUES;
-- by hand
CREATE INDEX mine ON m (y);
-- new
CREATE TYPE "user" AS ENUM ('b', 'a');
CREATE SEQUENCE q;
CREATE FUNCTION f(x "user" DEFAULT 'b', n bigint DEFAULT nextval('q')) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE TABLE t (x int DEFAULT f(), y "user"[] DEFAULT ARRAY['b'::"user"]);
CREATE MATERIALIZED VIEW m AS SELECT y FROM t;
-- check SELECT y FROM t = {a}
--- a partitioned table's column under a view, a foreign key, an index, a statistics object
CREATE TABLE p (id int, k int, v varchar(5), PRIMARY KEY (id, k)) PARTITION BY LIST (k);
CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1);
CREATE TABLE p2 (k int, id int NOT NULL, v varchar(5)) ;
ALTER TABLE p2 ALTER k SET NOT NULL;
ALTER TABLE p ATTACH PARTITION p2 FOR VALUES IN (2);
CREATE INDEX p_v ON p (v) WHERE v <> 'x';
CREATE STATISTICS s ON (id + 1), v FROM p;
CREATE VIEW v1 AS SELECT v FROM p1;
CREATE VIEW v2 AS SELECT id, v FROM p;
CREATE TABLE r (id int, k int, FOREIGN KEY (id, k) REFERENCES p);
CREATE POLICY pol ON p1 USING (v = 'a');
-- rows
INSERT INTO p VALUES (1, 1, 'a'), (2, 2, 'b');
INSERT INTO r VALUES (1, 1);
-- new
CREATE TABLE p (id bigint, k int, v text DEFAULT 'd', PRIMARY KEY (id, k)) PARTITION BY LIST (k);
CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1);
CREATE TABLE p2 PARTITION OF p FOR VALUES IN (2);
CREATE INDEX p_v ON p (v) WHERE v <> 'x';
CREATE STATISTICS s ON (id + 1), v FROM p;
CREATE VIEW v1 AS SELECT v FROM p1;
CREATE VIEW v2 AS SELECT id, v FROM p;
CREATE TABLE r (id bigint, k int, FOREIGN KEY (id, k) REFERENCES p);
CREATE POLICY pol ON p1 USING (v = 'a');
-- check SELECT sum(id) FROM p = 3
--- keys move from column to column
CREATE TABLE t (a int PRIMARY KEY, b int, c int GENERATED ALWAYS AS IDENTITY);
CREATE TABLE r (a int REFERENCES t);
-- rows
INSERT INTO t VALUES (1, 2);
INSERT INTO r VALUES (1);
-- new
CREATE TABLE t (a int UNIQUE, b int PRIMARY KEY, c int);
CREATE TABLE r (a int REFERENCES t (a));
--- an unlogged table with a serial, and one that ceases to be
CREATE TABLE a (id serial);
CREATE UNLOGGED TABLE b (id int GENERATED ALWAYS AS IDENTITY);
-- rows
INSERT INTO a DEFAULT VALUES;
-- new
CREATE UNLOGGED TABLE a (id serial);
CREATE TABLE b (id int GENERATED ALWAYS AS IDENTITY);
CREATE UNLOGGED TABLE c (id int GENERATED ALWAYS AS IDENTITY, n serial);
--- a view with triggers, rules, rights on columns and a default is made again
CREATE TABLE t (a int, b text);
CREATE VIEW v AS SELECT a, b FROM t;
CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
CREATE TRIGGER tr INSTEAD OF UPDATE ON v FOR EACH ROW EXECUTE FUNCTION f();
CREATE RULE r AS ON DELETE TO v DO INSTEAD NOTHING;
ALTER VIEW v ALTER b SET DEFAULT 'x';
CREATE FUNCTION of_v(v) RETURNS text LANGUAGE sql AS 'SELECT $1.b';
CREATE VIEW w AS SELECT of_v(v) FROM v;
GRANT SELECT ON v TO api;
-- new
CREATE TABLE t (a bigint, b text);
CREATE VIEW v AS SELECT a, b FROM t;
CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
CREATE TRIGGER tr INSTEAD OF UPDATE ON v FOR EACH ROW EXECUTE FUNCTION f();
CREATE RULE r AS ON DELETE TO v DO INSTEAD NOTHING;
ALTER VIEW v ALTER b SET DEFAULT 'x';
CREATE FUNCTION of_v(v) RETURNS text LANGUAGE sql AS 'SELECT $1.b';
CREATE VIEW w AS SELECT of_v(v) FROM v;
GRANT SELECT ON v TO api;
--- a hand-made view on a table that goes: PostgreSQL has nothing against what is left
CREATE TABLE t (a int, b int);
CREATE VIEW v AS SELECT a FROM t;
-- by hand
CREATE VIEW mine AS SELECT a FROM v;
CREATE INDEX mine_b ON t (a);
-- new
CREATE TABLE t (a text, c int);
CREATE VIEW v AS SELECT a, c FROM t;
--- a type moves between a table's row type, a composite and an array of both
CREATE TABLE item (a int, b text);
CREATE TYPE pack AS (l item, n int);
CREATE TABLE doc (id int, packs pack[], head item);
CREATE FUNCTION f(item[]) RETURNS SETOF pack LANGUAGE sql AS 'SELECT null::pack';
-- rows
INSERT INTO doc VALUES (1, ARRAY[ROW(ROW(1, 'x')::item, 2)::pack], ROW(3, 'y')::item);
-- new
CREATE TABLE item (a int, b text, c date);
CREATE TYPE pack AS (l item, n bigint);
CREATE TABLE doc (id int, packs pack[], head item);
CREATE FUNCTION f(item[]) RETURNS SETOF pack LANGUAGE sql AS 'SELECT null::pack';
-- check SELECT (packs[1]).n + (head).a FROM doc = 5
--- everything under names that need quotes
CREATE SCHEMA "My ""Schema""";
CREATE TYPE "My ""Schema"""."Enum'x" AS ENUM ('a''b', 'c\d');
CREATE DOMAIN "My ""Schema"""."Do main" AS int CHECK (VALUE > 0);
CREATE TABLE "My ""Schema"""."Table" ("Col" "My ""Schema"""."Enum'x" DEFAULT 'a''b', "a.b" "My ""Schema"""."Do main", id serial);
CREATE FUNCTION "My ""Schema"""."F n"("My ""Schema"""."Enum'x") RETURNS int LANGUAGE sql AS 'SELECT 1';
-- rows
INSERT INTO "My ""Schema"""."Table" VALUES ('c\d', 5);
-- new
CREATE SCHEMA "My ""Schema""";
CREATE TYPE "My ""Schema"""."Enum'x" AS ENUM ('c\d', 'e');
CREATE DOMAIN "My ""Schema"""."Do main" AS bigint CHECK (VALUE > 0);
CREATE TABLE "My ""Schema"""."Table" ("Col" "My ""Schema"""."Enum'x" DEFAULT 'e', "a.b" "My ""Schema"""."Do main", id serial, CONSTRAINT "K 1" UNIQUE ("a.b"));
COMMENT ON CONSTRAINT "K 1" ON "My ""Schema"""."Table" IS 'k';
CREATE POLICY "P 1" ON "My ""Schema"""."Table" TO PUBLIC USING ("Col" = 'e');
CREATE FUNCTION "My ""Schema"""."F n"("My ""Schema"""."Enum'x") RETURNS int LANGUAGE sql AS 'SELECT 1';
-- check SELECT "a.b" FROM "My ""Schema"""."Table" = 5
--- many changes of one table at once
CREATE TYPE state AS ENUM ('new', 'paid', 'gone');
CREATE FUNCTION price(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1';
CREATE TABLE customer (id serial PRIMARY KEY, name varchar(20) NOT NULL);
CREATE TABLE orders (id serial PRIMARY KEY, customer int NOT NULL REFERENCES customer ON DELETE CASCADE, state state NOT NULL DEFAULT 'new', amount int CHECK (price(amount) > 0), total int GENERATED ALWAYS AS (price(amount)) STORED);
CREATE INDEX orders_state ON orders (state) WHERE state <> 'gone';
CREATE VIEW open_orders AS SELECT o.id, c.name, o.state, o.total FROM orders o JOIN customer c ON c.id = o.customer WHERE o.state = 'new';
CREATE VIEW open_sums AS SELECT name, sum(total) AS total FROM open_orders GROUP BY name;
GRANT SELECT ON open_sums TO api, reader;
-- rows
INSERT INTO customer (name) VALUES ('a');
INSERT INTO orders (customer, amount) VALUES (1, 5), (1, 6);
-- by hand
CREATE VIEW report AS SELECT * FROM open_sums;
COMMENT ON VIEW report IS 'monthly';
GRANT SELECT ON report TO reader;
-- new
CREATE TYPE state AS ENUM ('new', 'paid');
CREATE FUNCTION price(amount bigint) RETURNS bigint IMMUTABLE LANGUAGE sql AS 'SELECT $1';
CREATE TABLE customer (id bigserial PRIMARY KEY, name text NOT NULL, mail text UNIQUE);
CREATE TABLE orders (id bigserial PRIMARY KEY, customer bigint NOT NULL REFERENCES customer ON DELETE RESTRICT, state state NOT NULL DEFAULT 'new', amount bigint CHECK (price(amount) > 0), total bigint GENERATED ALWAYS AS (price(amount)) STORED);
CREATE INDEX orders_state ON orders (state) WHERE state <> 'paid';
CREATE INDEX orders_customer ON orders (customer);
CREATE VIEW open_orders AS SELECT o.id, c.name, o.state, o.total FROM orders o JOIN customer c ON c.id = o.customer WHERE o.state = 'new';
CREATE VIEW open_sums AS SELECT name, sum(total) AS total FROM open_orders GROUP BY name;
GRANT SELECT ON open_sums TO api;
-- check SELECT total FROM report = 11
