--- tables come and go with foreign keys in a circle
CREATE TABLE a (id int PRIMARY KEY);
CREATE TABLE b (id int PRIMARY KEY, a int REFERENCES a);
ALTER TABLE a ADD b int REFERENCES b;
CREATE VIEW v AS SELECT a.id FROM a JOIN b ON b.a = a.id;
-- rows
INSERT INTO a VALUES (1);
-- new
CREATE TABLE c (id int PRIMARY KEY);
CREATE TABLE d (id int PRIMARY KEY, c int REFERENCES c);
ALTER TABLE c ADD d int REFERENCES d;
CREATE TABLE e ();
--- nothing to something with serials, defaults by functions, checks, triggers
-- new
CREATE FUNCTION next_no() RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE TABLE t (id serial PRIMARY KEY, no int NOT NULL DEFAULT next_no(), s text);
CREATE FUNCTION of_t(t) RETURNS text STABLE LANGUAGE sql AS 'SELECT $1.s';
CREATE FUNCTION good(text) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT true';
ALTER TABLE t ADD CONSTRAINT good CHECK (good(s));
CREATE INDEX t_s ON t ((good(s)));
CREATE FUNCTION tr() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
CREATE TRIGGER tr AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION tr();
CREATE VIEW v AS SELECT of_t(t) AS s FROM t;
CREATE FUNCTION of_v() RETURNS SETOF v LANGUAGE sql BEGIN ATOMIC SELECT * FROM v; END;
ALTER TABLE t ADD w int DEFAULT 0;
--- a default's function needs its table
-- new
CREATE TABLE t (id int, n int);
CREATE FUNCTION top() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT max(n) + 1 FROM t; END;
ALTER TABLE t ALTER n SET DEFAULT top();
--- options, unlogged, replica identity, row security
CREATE TABLE t (id int NOT NULL, a text) WITH (fillfactor = 70, autovacuum_enabled = false);
CREATE UNIQUE INDEX t_i ON t (id);
CREATE TABLE u (id int PRIMARY KEY);
ALTER TABLE u ENABLE ROW LEVEL SECURITY;
-- rows
INSERT INTO t VALUES (1, 'a');
INSERT INTO u VALUES (1);
-- new
CREATE UNLOGGED TABLE t (id int NOT NULL, a text) WITH (fillfactor = 80, toast.autovacuum_enabled = false);
CREATE UNIQUE INDEX t_i ON t (id);
ALTER TABLE t REPLICA IDENTITY USING INDEX t_i, ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE TABLE u (id int PRIMARY KEY);
ALTER TABLE u REPLICA IDENTITY FULL;
--- partitions come and go
CREATE TABLE p (id int, at date NOT NULL, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE p1 PARTITION OF p FOR VALUES FROM ('2024-01-01') TO ('2024-02-01');
CREATE TABLE p2 PARTITION OF p FOR VALUES FROM ('2024-02-01') TO ('2024-03-01');
CREATE INDEX p_at ON p (at);
CREATE TABLE r (id int PRIMARY KEY, p int, at date, FOREIGN KEY (p, at) REFERENCES p);
-- rows
INSERT INTO p VALUES (1, '2024-01-05');
INSERT INTO r VALUES (1, 1, '2024-01-05');
-- new
CREATE TABLE p (id bigint, at date NOT NULL, note text DEFAULT 'n', PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE p1 PARTITION OF p FOR VALUES FROM ('2024-01-01') TO ('2024-02-01');
CREATE TABLE p3 PARTITION OF p DEFAULT PARTITION BY LIST (id);
CREATE TABLE p31 PARTITION OF p3 FOR VALUES IN (1, 2) WITH (fillfactor = 50);
ALTER TABLE p31 ALTER note SET DEFAULT 'other';
CREATE INDEX p_note ON p (note);
CREATE TABLE r (id int PRIMARY KEY, p bigint, at date, FOREIGN KEY (p, at) REFERENCES p);
COMMENT ON COLUMN p31.note IS 'x';
GRANT SELECT (note) ON p31 TO api;
-- check SELECT count(*) FROM p1 = 1
--- a partition gets other bounds
CREATE TABLE p (id int) PARTITION BY RANGE (id);
CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10);
-- rows
INSERT INTO p VALUES (1);
-- new
CREATE TABLE p (id int, x text) PARTITION BY RANGE (id);
CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (20);
-- check SELECT count(*) FROM p = 1
--- a partition becomes a table, a table a partition
CREATE TABLE p (id int) PARTITION BY RANGE (id);
CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10);
CREATE TABLE p2 (id int);
-- rows
INSERT INTO p1 VALUES (1);
INSERT INTO p2 VALUES (11);
-- new
CREATE TABLE p (id int) PARTITION BY RANGE (id);
CREATE TABLE p1 (id int);
CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20);
-- check SELECT count(*) FROM p = 1
--- a table is partitioned otherwise
CREATE TABLE p (id int, k text) PARTITION BY RANGE (id);
CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10);
CREATE VIEW v AS SELECT k FROM p;
CREATE TABLE q (id int);
-- new
CREATE TABLE p (id int, k text) PARTITION BY LIST (k);
CREATE TABLE p1 PARTITION OF p FOR VALUES IN ('a');
CREATE VIEW v AS SELECT k FROM p;
CREATE TABLE q (id int) PARTITION BY HASH (id);
--- inheritance
CREATE TABLE base (id int, a int DEFAULT 1);
CREATE TABLE child (c text) INHERITS (base);
CREATE TABLE lone (id int, a int DEFAULT 1, x int);
CREATE TABLE grandchild () INHERITS (child);
CREATE VIEW v AS SELECT a FROM child;
-- rows
INSERT INTO child VALUES (1, 2, 'c');
INSERT INTO grandchild VALUES (1, 2, 'c');
-- new
CREATE TABLE base (id int, a bigint DEFAULT 3, n text NOT NULL DEFAULT '');
CREATE TABLE child (c text) INHERITS (base);
ALTER TABLE child ALTER a SET DEFAULT 4;
CREATE TABLE lone (x int) INHERITS (base);
CREATE TABLE grandchild () INHERITS (child);
CREATE VIEW v AS SELECT a FROM child;
-- check SELECT count(*) FROM base = 2
--- inheritance ends
CREATE TABLE base (id int, old int);
CREATE TABLE child (c text) INHERITS (base);
-- rows
INSERT INTO child VALUES (1, 2, 'c');
-- new
CREATE TABLE base (id int);
CREATE TABLE child (id int, c text);
-- check SELECT count(*) FROM child = 1
--- table gives way to a view of its name
CREATE TABLE t (id int PRIMARY KEY);
CREATE INDEX i ON t (id);
CREATE VIEW w AS SELECT 1 AS x;
-- new
CREATE TABLE real_t (id int PRIMARY KEY);
CREATE VIEW t AS SELECT id FROM real_t;
CREATE TABLE w (x int);
CREATE TABLE i (x int);
--- what is not declared stays
CREATE TABLE t (id int PRIMARY KEY, a int);
CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
-- by hand
ALTER TABLE t ADD mine text DEFAULT 'x';
CREATE INDEX mine_i ON t (mine);
CREATE TABLE other (id int REFERENCES t);
CREATE TYPE e AS ENUM ('x');
CREATE FUNCTION mine(t) RETURNS int LANGUAGE sql AS 'SELECT $1.id';
CREATE TRIGGER mine AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION f();
-- rows
INSERT INTO t VALUES (1, 2, 'm');
-- new
CREATE TABLE t (id int PRIMARY KEY, b int);
CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN old; END';
-- check SELECT mine FROM t = m
