--- sequences that are not logged as their tables are
CREATE TABLE u (a int GENERATED ALWAYS AS IDENTITY);
CREATE UNLOGGED TABLE w (a int GENERATED ALWAYS AS IDENTITY);
CREATE TABLE v (a int);
CREATE TABLE x (k int);
-- rows
INSERT INTO u DEFAULT VALUES;
-- new
CREATE TABLE t (a int GENERATED ALWAYS AS IDENTITY);
ALTER SEQUENCE t_a_seq SET UNLOGGED;
CREATE UNLOGGED TABLE t2 (a int GENERATED ALWAYS AS IDENTITY);
ALTER SEQUENCE t2_a_seq SET LOGGED;
CREATE TABLE u (a int GENERATED ALWAYS AS IDENTITY);
ALTER SEQUENCE u_a_seq SET UNLOGGED;
CREATE UNLOGGED TABLE w (a int GENERATED ALWAYS AS IDENTITY);
ALTER SEQUENCE w_a_seq SET LOGGED;
CREATE TABLE v (a int GENERATED ALWAYS AS IDENTITY);
ALTER SEQUENCE v_a_seq SET UNLOGGED;
CREATE TABLE x (k int, a int GENERATED ALWAYS AS IDENTITY);
ALTER SEQUENCE x_a_seq SET UNLOGGED;
-- check SELECT nextval('u_a_seq') = 2
--- tables that take their sequences along, or not
CREATE TABLE a (a int GENERATED ALWAYS AS IDENTITY);
CREATE TABLE b (a int GENERATED ALWAYS AS IDENTITY);
ALTER SEQUENCE b_a_seq SET UNLOGGED;
CREATE TABLE c (a serial);
CREATE TABLE d (a serial);
CREATE UNLOGGED TABLE e (a serial);
-- new
CREATE UNLOGGED TABLE a (a int GENERATED ALWAYS AS IDENTITY);
ALTER SEQUENCE a_a_seq SET LOGGED;
CREATE UNLOGGED TABLE b (a int GENERATED ALWAYS AS IDENTITY);
CREATE UNLOGGED TABLE c (a serial);
ALTER SEQUENCE c_a_seq SET LOGGED;
CREATE UNLOGGED TABLE d (a serial);
CREATE TABLE e (a serial);
ALTER SEQUENCE e_a_seq SET UNLOGGED;
CREATE UNLOGGED TABLE f (a serial);
ALTER SEQUENCE f_a_seq SET LOGGED;
--- comments on the indexes of constraints
CREATE TABLE t (a int PRIMARY KEY, b int UNIQUE, c int UNIQUE);
COMMENT ON INDEX t_pkey IS 'to go';
COMMENT ON INDEX t_b_key IS 'to change';
COMMENT ON INDEX t_c_key IS 'stays';
-- new
CREATE TABLE t (a int PRIMARY KEY, b int UNIQUE, c bigint UNIQUE, d int UNIQUE);
COMMENT ON INDEX t_b_key IS 'it''s changed';
COMMENT ON CONSTRAINT t_b_key ON t IS 'the constraint''s own';
COMMENT ON INDEX t_c_key IS 'stays';
COMMENT ON INDEX t_d_key IS 'new';
CREATE TABLE "U" ("Id" int PRIMARY KEY, EXCLUDE USING btree ("Id" WITH =));
COMMENT ON INDEX "U_pkey" IS 'of the key';
COMMENT ON INDEX "U_Id_excl" IS 'of the exclusion';
-- check SELECT string_agg(obj_description(i::regclass), ', ') FROM unnest('{t_b_key,t_c_key,t_d_key,"\"U_pkey\""}'::text[]) i = it's changed, stays, new, of the key
--- a partitioned table that refers to itself goes
CREATE TABLE t (id int PRIMARY KEY, p int REFERENCES t) PARTITION BY RANGE (id);
CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (9);
CREATE TABLE t2 PARTITION OF t FOR VALUES FROM (9) TO (19) PARTITION BY RANGE (id);
CREATE TABLE t21 PARTITION OF t2 FOR VALUES FROM (9) TO (19);
-- rows
INSERT INTO t VALUES (1, NULL), (10, 1);
-- new
CREATE TABLE x (a int);
--- a child with a computed column of its own that its parent has too
CREATE TABLE x (a int);
-- new
CREATE TABLE p (a int, b int GENERATED ALWAYS AS (a * 2) STORED);
CREATE TABLE c (a int, b int GENERATED ALWAYS AS (a * 2) STORED NOT NULL, k int);
ALTER TABLE c INHERIT p;
--- a check of c that p has too, not valid
CREATE TABLE p (f int);
CREATE TABLE c () INHERITS (p);
-- rows
INSERT INTO p VALUES (-1);
INSERT INTO c VALUES (1);
-- new
CREATE TABLE p (f int);
CREATE TABLE c () INHERITS (p);
ALTER TABLE c ADD CONSTRAINT k CHECK (f > 0);
ALTER TABLE p ADD CONSTRAINT k CHECK (f > 0) NOT VALID;
--- a check of c that p has too stays with p
CREATE TABLE p (f int, CONSTRAINT k CHECK (f > 0), CONSTRAINT l CHECK (f > 1), CONSTRAINT m CHECK (f > 2), g int);
CREATE TABLE c (CONSTRAINT k CHECK (f > 0), CONSTRAINT l CHECK (f > 1)) INHERITS (p);
CREATE TABLE cc (CONSTRAINT k CHECK (f > 0), CONSTRAINT m CHECK (f > 2)) INHERITS (c);
CREATE TABLE zc (CONSTRAINT l CHECK (f > 1), CONSTRAINT m CHECK (f > 2)) INHERITS (p);
-- rows
INSERT INTO c VALUES (3);
INSERT INTO zc VALUES (3);
-- new
CREATE TABLE p (f int, CONSTRAINT k CHECK (f > 0), CONSTRAINT l CHECK (f > 1));
CREATE TABLE c (CONSTRAINT l CHECK (f > 1)) INHERITS (p);
CREATE TABLE cc () INHERITS (c);
CREATE TABLE zc (f int);
--- a check of b that a has too, not valid
CREATE TABLE a (f int);
CREATE TABLE b () INHERITS (a);
-- rows
INSERT INTO a VALUES (-1);
INSERT INTO b VALUES (1);
-- new
CREATE TABLE a (f int);
CREATE TABLE b () INHERITS (a);
ALTER TABLE b ADD CONSTRAINT k CHECK (f > 0);
ALTER TABLE a ADD CONSTRAINT k CHECK (f > 0) NOT VALID;
--- a check of b that a has too stays with a
CREATE TABLE a (f int, CONSTRAINT k CHECK (f > 0), CONSTRAINT l CHECK (f > 1), CONSTRAINT m CHECK (f > 2), g int);
CREATE TABLE b (CONSTRAINT k CHECK (f > 0), CONSTRAINT l CHECK (f > 1)) INHERITS (a);
CREATE TABLE bb (CONSTRAINT k CHECK (f > 0), CONSTRAINT m CHECK (f > 2)) INHERITS (b);
CREATE TABLE zb (CONSTRAINT l CHECK (f > 1), CONSTRAINT m CHECK (f > 2)) INHERITS (a);
-- rows
INSERT INTO b VALUES (3);
INSERT INTO zb VALUES (3);
-- new
CREATE TABLE a (f int, CONSTRAINT k CHECK (f > 0), CONSTRAINT l CHECK (f > 1));
CREATE TABLE b (CONSTRAINT l CHECK (f > 1)) INHERITS (a);
CREATE TABLE bb () INHERITS (b);
CREATE TABLE zb (f int);
--- the key of a partition is a part of an index
CREATE TABLE s (a int NOT NULL) PARTITION BY LIST (a);
CREATE TABLE s1 PARTITION OF s FOR VALUES IN (1);
CREATE TABLE u (a int NOT NULL) PARTITION BY LIST (a);
CREATE TABLE u1 PARTITION OF u FOR VALUES IN (1);
CREATE UNIQUE INDEX ui ON ONLY u (a);
ALTER TABLE u1 ADD PRIMARY KEY (a);
ALTER INDEX ui ATTACH PARTITION u1_pkey;
-- rows
INSERT INTO s VALUES (1);
INSERT INTO u VALUES (1);
-- new
CREATE TABLE t (a int NOT NULL, b int NOT NULL) PARTITION BY LIST (a);
CREATE TABLE t1 PARTITION OF t FOR VALUES IN (1);
CREATE UNIQUE INDEX ti ON ONLY t (a);
ALTER TABLE t1 ADD PRIMARY KEY (a);
ALTER INDEX ti ATTACH PARTITION t1_pkey;
CREATE TABLE s (a int NOT NULL) PARTITION BY LIST (a);
CREATE TABLE s1 PARTITION OF s FOR VALUES IN (1);
CREATE UNIQUE INDEX si ON ONLY s (a);
ALTER TABLE s1 ADD PRIMARY KEY (a);
ALTER INDEX si ATTACH PARTITION s1_pkey;
CREATE TABLE u (a int NOT NULL) PARTITION BY LIST (a);
CREATE TABLE u1 PARTITION OF u FOR VALUES IN (1);
CREATE UNIQUE INDEX ui ON u (a);
-- check SELECT string_agg(inhparent::regclass || ':' || inhrelid::regclass, ' ' ORDER BY 1) FROM pg_inherits WHERE inhrelid::regclass::text IN ('t1_a_idx', 't1_pkey', 'u1_a_idx') = ti:t1_pkey ui:u1_a_idx
--- an index on the partitioned table only
CREATE TABLE t (a int) PARTITION BY RANGE (a);
CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (1) TO (9);
CREATE TABLE u (a int) PARTITION BY RANGE (a);
CREATE TABLE u1 PARTITION OF u FOR VALUES FROM (1) TO (9);
CREATE INDEX ui ON u (a);
CREATE TABLE v (a int) PARTITION BY RANGE (a);
CREATE TABLE v1 PARTITION OF v FOR VALUES FROM (1) TO (9);
CREATE INDEX vi ON ONLY v (a);
-- rows
INSERT INTO t VALUES (1);
-- new
CREATE TABLE t (a int) PARTITION BY RANGE (a);
CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (1) TO (9);
CREATE INDEX ti ON ONLY t (a);
COMMENT ON INDEX ti IS 'to be';
CREATE TABLE u (a int) PARTITION BY RANGE (a);
CREATE TABLE u1 PARTITION OF u FOR VALUES FROM (1) TO (9);
CREATE INDEX ui ON ONLY u (a);
CREATE TABLE v (a int) PARTITION BY RANGE (a);
CREATE TABLE v1 PARTITION OF v FOR VALUES FROM (1) TO (9);
CREATE INDEX vi ON v (a);
CREATE TABLE w (a int) PARTITION BY RANGE (a);
CREATE TABLE w1 PARTITION OF w FOR VALUES FROM (1) TO (9);
CREATE INDEX wi ON ONLY w (a);
-- check SELECT string_agg(indexrelid::regclass || ' ' || indisvalid, ', ' ORDER BY indexrelid::regclass::text) FROM pg_index WHERE indexrelid::regclass::text ~ '^.i$' = ti false, ui true, vi true, wi false
--- settings and comments of columns of materialized views
CREATE TABLE t (a int, b text, c text);
CREATE MATERIALIZED VIEW m AS SELECT a, b, c FROM t;
CREATE MATERIALIZED VIEW k AS SELECT a, b FROM t;
ALTER MATERIALIZED VIEW m ALTER COLUMN b SET STORAGE EXTERNAL, ALTER COLUMN a SET STATISTICS 5;
COMMENT ON COLUMN m.a IS 'old';
COMMENT ON COLUMN m.b IS 'to go';
ALTER MATERIALIZED VIEW k ALTER COLUMN b SET STORAGE MAIN, ALTER COLUMN b SET (n_distinct = 7), ALTER COLUMN b SET STATISTICS 9;
-- new
CREATE TABLE t (a int, b text, c text);
CREATE MATERIALIZED VIEW m AS SELECT a, b, c FROM t;
CREATE MATERIALIZED VIEW k AS SELECT a, b FROM t;
ALTER MATERIALIZED VIEW m ALTER COLUMN b SET COMPRESSION pglz, ALTER COLUMN a SET STATISTICS 6, ALTER COLUMN c SET (n_distinct = 3);
COMMENT ON COLUMN m.a IS 'new';
CREATE MATERIALIZED VIEW n AS SELECT a AS "A", b FROM t WITH NO DATA;
ALTER MATERIALIZED VIEW n ALTER COLUMN b SET STORAGE EXTERNAL;
COMMENT ON COLUMN n."A" IS 'of n';
-- check SELECT string_agg(attrelid::regclass || '.' || attname || ' ' || attstorage::text || attcompression::text || attstattarget || CASE WHEN attoptions::text ~ 'n_dis' THEN 'n' ELSE '' END, ', ' ORDER BY attrelid::regclass::text, attnum) FROM pg_attribute WHERE attrelid IN ('k'::regclass, 'm'::regclass, 'n'::regclass) AND attnum > 0 = k.a p-1, k.b x-1, m.a p6, m.b xp-1, m.c x-1n, n.A p-1, n.b e-1
-- check SELECT string_agg(description, ', ' ORDER BY description) FROM pg_description WHERE objoid >= 16384 = new, of n
