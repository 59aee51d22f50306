--- enum gets labels at all places
CREATE TYPE mood AS ENUM ('b', 'd');
CREATE TABLE t (m mood DEFAULT 'b');
-- rows
INSERT INTO t VALUES ('d');
-- new
CREATE TYPE mood AS ENUM ('a', 'b', 'c', 'd', 'e''s', 'f');
CREATE TABLE t (m mood DEFAULT 'a');
--- enum loses a label under a column with default, a view, an index, an array
CREATE TYPE mood AS ENUM ('a', 'b', 'c');
COMMENT ON TYPE mood IS 'M';
CREATE TABLE t (id int PRIMARY KEY, m mood NOT NULL DEFAULT 'a', l mood[] DEFAULT '{a,b}', CHECK (m <> 'b'));
CREATE INDEX t_m ON t (m) WHERE m > 'a';
CREATE INDEX t_plain ON t (m, id);
CREATE VIEW v AS SELECT id, m FROM t WHERE m = 'a';
CREATE FUNCTION f(m mood) RETURNS mood[] LANGUAGE sql AS 'SELECT array[m]';
CREATE POLICY p ON t USING (m = 'a');
-- rows
INSERT INTO t VALUES (1, 'a', '{c,a}');
-- by hand
CREATE VIEW mine AS SELECT m FROM t;
-- new
CREATE TYPE mood AS ENUM ('a', 'c');
COMMENT ON TYPE mood IS 'M';
CREATE TABLE t (id int PRIMARY KEY, m mood NOT NULL DEFAULT 'a', l mood[] DEFAULT '{a}', CHECK (m <> 'c'));
CREATE INDEX t_m ON t (m) WHERE m > 'a';
CREATE INDEX t_plain ON t (m, id);
CREATE VIEW v AS SELECT id, m FROM t WHERE m = 'a';
CREATE FUNCTION f(m mood) RETURNS mood[] LANGUAGE sql AS 'SELECT array[m]';
CREATE POLICY p ON t USING (m = 'a');
-- check SELECT l FROM t = {c,a}
--- enum reordered under a domain, a composite, a range of a table
CREATE TYPE mood AS ENUM ('a', 'b', 'c');
CREATE DOMAIN good AS mood DEFAULT 'a' CHECK (VALUE <> 'b');
CREATE TYPE pair AS (m mood, n int);
CREATE TYPE moods AS RANGE (subtype = mood);
CREATE TABLE t (d good, p pair, r moods);
-- rows
INSERT INTO t VALUES ('a', '(b,1)', '[a,a]');
-- new
CREATE TYPE mood AS ENUM ('c', 'b', 'a');
CREATE DOMAIN good AS mood DEFAULT 'a' CHECK (VALUE <> 'b');
CREATE TYPE pair AS (m mood, n int);
CREATE TYPE moods AS RANGE (subtype = mood);
CREATE TABLE t (d good, p pair, r moods);
-- check SELECT p FROM t = (b,1)
--- enum becomes text and goes
CREATE TYPE mood AS ENUM ('a', 'b');
CREATE TABLE t (m mood DEFAULT 'a');
-- rows
INSERT INTO t VALUES ('b');
-- new
CREATE TABLE t (m text DEFAULT 'a');
--- enum becomes a domain of its name
CREATE TYPE mood AS ENUM ('a', 'b');
CREATE TABLE t (m mood DEFAULT 'a');
-- rows
INSERT INTO t VALUES ('b');
-- new
CREATE DOMAIN mood AS text CHECK (VALUE IN ('a', 'b'));
CREATE TABLE t (m mood DEFAULT 'a');
--- types come and go
CREATE TYPE a AS ENUM ('x');
CREATE TYPE b AS (x int);
CREATE DOMAIN c AS int CHECK (VALUE > 0);
CREATE TYPE d AS RANGE (subtype = int);
CREATE TABLE t (id int, a a, b b, c c, d d);
-- new
CREATE TYPE a2 AS ENUM ('x');
CREATE TYPE b2 AS (x int, y text COLLATE "C");
CREATE DOMAIN c2 AS text COLLATE "C" NOT NULL DEFAULT 'x' CHECK (VALUE <> '') CONSTRAINT other CHECK (length(VALUE) < 9);
CREATE TYPE d2 AS RANGE (subtype = float8, subtype_diff = float8mi, multirange_type_name = many_d2);
CREATE TABLE t (id int, a a2, b b2, c c2, d d2, e many_d2);
COMMENT ON TYPE d2 IS 'd';
COMMENT ON DOMAIN c2 IS 'c';
GRANT USAGE ON DOMAIN c2 TO api;
REVOKE USAGE ON TYPE d2 FROM PUBLIC;
--- composite in a table gets, loses and changes attributes
CREATE TYPE addr AS (street text, zip int);
CREATE TABLE t (a addr);
CREATE FUNCTION f(a addr) RETURNS text LANGUAGE sql AS 'SELECT a.street';
-- rows
INSERT INTO t VALUES ('(x,1)');
-- new
CREATE TYPE addr AS (street text, city text);
CREATE TABLE t (a addr);
CREATE FUNCTION f(a addr) RETURNS text LANGUAGE sql AS 'SELECT a.street';
--- composite changes an attribute's type
CREATE TYPE addr AS (street text, zip int);
CREATE TABLE t (a addr, l addr[]);
CREATE VIEW v AS SELECT (a).zip FROM t;
CREATE FUNCTION f(a addr) RETURNS SETOF addr LANGUAGE sql AS 'SELECT a';
-- rows
INSERT INTO t VALUES ('(x,1)', '{"(y,2)"}');
-- new
CREATE TYPE addr AS (street text, zip text);
CREATE TABLE t (a addr, l addr[]);
CREATE VIEW v AS SELECT (a).zip FROM t;
CREATE FUNCTION f(a addr) RETURNS SETOF addr LANGUAGE sql AS 'SELECT a';
-- check SELECT (l[1]).zip FROM t = 2
--- domain changes everything but its type
CREATE DOMAIN d AS int DEFAULT 1 CONSTRAINT pos CHECK (VALUE > 0) CONSTRAINT small CHECK (VALUE < 100);
CREATE TABLE t (d d);
-- rows
INSERT INTO t VALUES (5);
-- new
CREATE DOMAIN d AS int DEFAULT 2 NOT NULL CONSTRAINT pos CHECK (VALUE >= 0) CONSTRAINT even CHECK (VALUE <> 2);
CREATE TABLE t (d d);
--- domain changes its type under a domain and an array
CREATE DOMAIN d AS varchar(10) CHECK (VALUE <> '');
CREATE DOMAIN e AS d CHECK (length(VALUE) > 1);
CREATE TABLE t (d d, e e, l d[]);
CREATE VIEW v AS SELECT e FROM t;
-- rows
INSERT INTO t VALUES ('x', 'yy', '{a}');
-- new
CREATE DOMAIN d AS text CHECK (VALUE <> '');
CREATE DOMAIN e AS d CHECK (length(VALUE) > 1);
CREATE TABLE t (d d, e e, l d[]);
CREATE VIEW v AS SELECT e FROM t;
--- domain check calls a function whose signature changes
CREATE FUNCTION ok(x int) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT x > 0';
CREATE DOMAIN d AS int DEFAULT 5 CHECK (ok(VALUE));
CREATE TABLE t (d d);
-- rows
INSERT INTO t VALUES (3);
-- new
CREATE FUNCTION ok(y int) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT y > 0';
CREATE DOMAIN d AS int DEFAULT 6 CHECK (ok(VALUE));
CREATE TABLE t (d d);
--- range changes
CREATE TYPE r AS RANGE (subtype = int);
CREATE TABLE t (r r DEFAULT '[1,1]', m r_multirange, l r[], EXCLUDE USING gist (r WITH &&));
CREATE INDEX i ON t USING gist (r);
CREATE VIEW v AS SELECT r FROM t;
CREATE FUNCTION f(r) RETURNS int LANGUAGE sql AS 'SELECT 1';
-- rows
INSERT INTO t VALUES ('[1,2]', '{[1,2]}', '{"[1,2]"}');
-- new
CREATE TYPE r AS RANGE (subtype = bigint);
CREATE TABLE t (r r DEFAULT '[1,1]', m r_multirange, l r[], EXCLUDE USING gist (r WITH &&));
CREATE INDEX i ON t USING gist (r);
CREATE VIEW v AS SELECT r FROM t;
CREATE FUNCTION f(r) RETURNS int LANGUAGE sql AS 'SELECT 1';
-- check SELECT r FROM t = [1,2]
--- typed table follows its type
CREATE TYPE person AS (name text, age int);
CREATE TABLE people OF person (PRIMARY KEY (name), age DEFAULT 1);
-- rows
INSERT INTO people VALUES ('x', 2);
-- new
CREATE TYPE person AS (name text, age int, born date);
CREATE TABLE people OF person (PRIMARY KEY (name), age DEFAULT 2);
--- sequences
CREATE SEQUENCE a;
CREATE SEQUENCE b START 10 INCREMENT 5 MAXVALUE 1000 CYCLE;
CREATE SEQUENCE gone;
CREATE TABLE t (x int DEFAULT nextval('a'), y int);
ALTER SEQUENCE b OWNED BY t.y;
-- rows
SELECT nextval('b'), nextval('b'), nextval('a');
-- new
CREATE SEQUENCE a AS int INCREMENT 2 CACHE 10;
CREATE SEQUENCE b START 11 INCREMENT -5 MINVALUE -7 MAXVALUE 2000;
CREATE SEQUENCE c AS smallint;
CREATE TABLE t (x int DEFAULT nextval('a'), y int);
ALTER SEQUENCE c OWNED BY t.x;
COMMENT ON SEQUENCE c IS 'c';
GRANT USAGE ON SEQUENCE a TO api;
-- check SELECT last_value FROM b = 15
--- a sequence outlives its column
CREATE TABLE t (id serial, x int);
-- rows
INSERT INTO t (x) VALUES (1), (2);
-- new
CREATE SEQUENCE t_id_seq AS int;
CREATE TABLE t (x int);
-- check SELECT nextval('t_id_seq') = 3
