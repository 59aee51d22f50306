--- a range of another subtype
CREATE TYPE r AS RANGE (subtype = time);
CREATE TABLE t (c r, m r_multirange);
-- new
CREATE TYPE r AS RANGE (subtype = float8);
CREATE TABLE t (c r, m r_multirange);
--- a right on the table goes, the one on its column stays
CREATE TABLE t (c int, d int, e int);
GRANT SELECT (c), INSERT (c) ON t TO PUBLIC;
GRANT SELECT (d), INSERT (e) ON t TO api WITH GRANT OPTION;
GRANT ALL ON t TO PUBLIC;
GRANT SELECT ON t TO api WITH GRANT OPTION;
CREATE TABLE u (c int);
GRANT UPDATE ON u TO api WITH GRANT OPTION;
GRANT UPDATE (c) ON u TO api WITH GRANT OPTION;
-- by hand
ALTER TABLE t ADD mine int;
GRANT SELECT (mine) ON t TO PUBLIC;
-- new
CREATE TABLE t (c int, d int, e bigint, f int);
GRANT SELECT (c), INSERT (c), SELECT (f) ON t TO PUBLIC;
GRANT SELECT (d), INSERT (e) ON t TO api WITH GRANT OPTION;
CREATE TABLE u (c int);
GRANT UPDATE ON u TO api;
GRANT UPDATE (c) ON u TO api WITH GRANT OPTION;
--- options of a TOAST table that a column brings
CREATE TABLE t (c varchar(10)) WITH (toast.autovacuum_enabled=false, fillfactor=50);
CREATE TABLE u (c varchar(10));
-- rows
INSERT INTO t VALUES (NULL);
-- new
CREATE TABLE t (c int8range, d text) WITH (toast.autovacuum_enabled=false, fillfactor=60);
CREATE TABLE u (c text, e text) WITH (toast.autovacuum_enabled=false);
--- a partition with other bounds and another column
CREATE TABLE p (a int) PARTITION BY HASH (a);
CREATE TABLE c PARTITION OF p FOR VALUES WITH (MODULUS 8, REMAINDER 3);
-- new
CREATE TABLE p (a int, b int8range) PARTITION BY HASH (a);
CREATE TABLE c PARTITION OF p FOR VALUES WITH (MODULUS 8, REMAINDER 6);
--- a partition with other bounds and everything else changed
CREATE TABLE p (a int, gone int, k int, n int, s text DEFAULT 'x', g int GENERATED ALWAYS AS (a + 1) STORED,
    CONSTRAINT old CHECK (a > 0)) PARTITION BY LIST (a);
CREATE TABLE c PARTITION OF p FOR VALUES IN (1, 2);
CREATE TABLE d PARTITION OF p FOR VALUES IN (3);
-- rows
INSERT INTO p (a, gone, k, n) VALUES (1, 2, 3, 4), (3, 4, 5, 6);
-- new
CREATE TABLE p (a int, k bigint NOT NULL, n text, s text DEFAULT 'y', g int GENERATED ALWAYS AS (a + 2) STORED,
    b text NOT NULL DEFAULT 'b', CONSTRAINT new CHECK (a > 0 AND k > 0)) PARTITION BY LIST (a);
CREATE TABLE c PARTITION OF p FOR VALUES IN (1, 4);
CREATE TABLE d PARTITION OF p FOR VALUES IN (3);
-- check SELECT string_agg(a || '/' || k || '/' || n || '/' || g || '/' || b, ' ' ORDER BY a) FROM p = 1/3/4/3/b 3/5/6/5/b
--- a partitioned partition with other bounds
CREATE TABLE p (a int, b int, k int) PARTITION BY RANGE (a);
CREATE TABLE q PARTITION OF p FOR VALUES FROM (0) TO (10) PARTITION BY RANGE (b);
CREATE TABLE c PARTITION OF q FOR VALUES FROM (0) TO (10);
-- rows
INSERT INTO p VALUES (1, 2, 3);
-- new
CREATE TABLE p (a int, b int, k bigint NOT NULL, n int, CHECK (k > 0)) PARTITION BY RANGE (a);
CREATE TABLE q PARTITION OF p FOR VALUES FROM (0) TO (20) PARTITION BY RANGE (b);
CREATE TABLE c PARTITION OF q FOR VALUES FROM (0) TO (20);
-- check SELECT p::text FROM p = (1,2,3,)
--- a partition with other bounds without the key
CREATE TABLE p (a int, PRIMARY KEY (a)) PARTITION BY RANGE (a);
CREATE TABLE c PARTITION OF p FOR VALUES FROM (0) TO (10);
-- rows
INSERT INTO p VALUES (1);
-- new
CREATE TABLE p (a int) PARTITION BY RANGE (a);
CREATE TABLE c PARTITION OF p FOR VALUES FROM (0) TO (20);
--- a partition of another table
CREATE TABLE p (a int, b int) PARTITION BY RANGE (a);
CREATE TABLE q (a int) PARTITION BY RANGE (a);
CREATE TABLE c PARTITION OF p FOR VALUES FROM (0) TO (10);
-- rows
INSERT INTO p VALUES (1);
-- new
CREATE TABLE p (a int, b bigint) PARTITION BY RANGE (a);
CREATE TABLE q (a int NOT NULL, x text, CHECK (a > 0), PRIMARY KEY (a)) PARTITION BY RANGE (a);
CREATE INDEX q_x ON q (x);
CREATE TABLE c PARTITION OF q FOR VALUES FROM (0) TO (20);
-- check SELECT count(*) FROM q = 1
--- a typed table becomes a partition of a table with a check
CREATE TYPE ct AS (x bigint);
CREATE TABLE c OF ct;
-- new
CREATE TABLE p (a int, CHECK (a > 0)) PARTITION BY LIST (a);
CREATE TABLE c PARTITION OF p DEFAULT;
--- plain tables become children of tables with checks
CREATE TABLE c (a int, k text);
CREATE TABLE d (a int);
CREATE TABLE g (a int);
-- rows
INSERT INTO c VALUES (1, 'x');
INSERT INTO d VALUES (1);
-- new
CREATE TABLE p (a int NOT NULL, CHECK (a > 0), CONSTRAINT own CHECK (a > 1) NO INHERIT) ;
CREATE TABLE c (k text) INHERITS (p);
CREATE TABLE q (a int, CHECK (a > 0)) PARTITION BY LIST (a);
CREATE TABLE d PARTITION OF q DEFAULT;
CREATE TABLE g () INHERITS (c);
-- check SELECT count(*) FROM p = 1
--- a child that leaves keeps a column that its parent loses
CREATE TABLE p (a int, x int);
CREATE TABLE c (k boolean) INHERITS (p);
CREATE TABLE e (k boolean) INHERITS (p);
-- rows
INSERT INTO c VALUES (7, 8, true);
INSERT INTO e VALUES (7, 8, true);
-- new
CREATE TABLE p (b boolean);
CREATE TABLE c (a int, k boolean);
CREATE TABLE e (k boolean);
-- check SELECT a FROM c = 7
--- a child stays and keeps a column that its parent loses
CREATE TABLE p (a int, x int);
CREATE TABLE c (k boolean) INHERITS (p);
CREATE TABLE g () INHERITS (c);
-- rows
INSERT INTO c VALUES (7, 8, true);
INSERT INTO g VALUES (9, 8, true);
-- new
CREATE TABLE p (x int);
CREATE TABLE c (a int, k boolean) INHERITS (p);
CREATE TABLE g () INHERITS (c);
-- check SELECT string_agg(a::text, ',' ORDER BY a) FROM c = 7,9
--- a child whose parent goes keeps the columns
CREATE TABLE p (a int);
CREATE TABLE c (k boolean) INHERITS (p);
-- rows
INSERT INTO c VALUES (7, true);
-- new
CREATE TABLE c (a int, k boolean);
-- check SELECT a FROM c = 7
--- an index of the parent beside one of a partition
CREATE TABLE p (a int) PARTITION BY RANGE (a);
CREATE TABLE c PARTITION OF p FOR VALUES FROM (500) TO (600);
CREATE INDEX c_i ON c USING hash (a);
-- new
CREATE TABLE p (a int) PARTITION BY RANGE (a);
CREATE INDEX p_i ON p USING hash (a);
CREATE TABLE c PARTITION OF p FOR VALUES FROM (500) TO (600);
CREATE INDEX c_i ON c USING hash (a);
--- statistics of columns that come again
CREATE TABLE t (x int, y int);
CREATE STATISTICS s ON x, y FROM t;
-- new
CREATE TABLE t (y int, x int GENERATED ALWAYS AS (1) STORED);
CREATE STATISTICS s ON x, y FROM t;
--- rights of another kind by default
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO api;
-- new
CREATE SCHEMA s;
ALTER DEFAULT PRIVILEGES IN SCHEMA s GRANT SELECT ON TABLES TO api;
ALTER DEFAULT PRIVILEGES GRANT USAGE ON SCHEMAS TO api;
CREATE TABLE s.t (a int);
--- storage and compression of a column of another type
CREATE TABLE t (c varchar(255), d text COMPRESSION pglz, e varchar(9));
ALTER TABLE t ALTER c SET STORAGE EXTERNAL, ALTER d SET STORAGE MAIN, ALTER e SET STORAGE MAIN, ALTER e SET COMPRESSION pglz;
-- new
CREATE TABLE t (c money, d varchar(10) COMPRESSION pglz, e text);
ALTER TABLE t ALTER d SET STORAGE MAIN, ALTER e SET STORAGE MAIN;
--- partitions of tables that keys refer to go
CREATE TABLE p (a int UNIQUE, b int) PARTITION BY HASH (a);
CREATE TABLE c PARTITION OF p FOR VALUES WITH (MODULUS 8, REMAINDER 7);
CREATE TABLE d PARTITION OF p FOR VALUES WITH (MODULUS 8, REMAINDER 6);
CREATE TABLE q PARTITION OF p FOR VALUES WITH (MODULUS 8, REMAINDER 5) PARTITION BY RANGE (a);
CREATE TABLE q1 PARTITION OF q FOR VALUES FROM (0) TO (9);
CREATE TABLE t (x int REFERENCES p (a), y int REFERENCES p (a));
CREATE TABLE s (id int PRIMARY KEY, p int REFERENCES s) PARTITION BY RANGE (id);
CREATE TABLE s1 PARTITION OF s FOR VALUES FROM (0) TO (9);
CREATE TABLE s2 PARTITION OF s FOR VALUES FROM (9) TO (19);
-- new
CREATE TABLE p (a int UNIQUE, b int) PARTITION BY HASH (a);
CREATE TABLE d PARTITION OF p FOR VALUES WITH (MODULUS 8, REMAINDER 6);
CREATE TABLE t (x int REFERENCES p (a));
CREATE TABLE s (id int PRIMARY KEY, p int REFERENCES s) PARTITION BY RANGE (id);
CREATE TABLE s2 PARTITION OF s FOR VALUES FROM (9) TO (19);
--- an identity column of a table that has children
CREATE TABLE p (a inet);
CREATE TABLE c (k bigint) INHERITS (p);
CREATE TABLE g () INHERITS (c);
CREATE TABLE q (k int) PARTITION BY LIST (k);
CREATE TABLE q1 PARTITION OF q DEFAULT;
CREATE TABLE r (k int);
CREATE TABLE s (a bigint) INHERITS (r);
-- rows
INSERT INTO p VALUES ('::1'), ('::2');
INSERT INTO c VALUES ('::3', 1);
INSERT INTO g VALUES ('::4', 1);
INSERT INTO q VALUES (1), (2);
INSERT INTO r VALUES (1);
INSERT INTO s VALUES (1, 7);
-- new
CREATE TABLE r (k int, a bigint GENERATED ALWAYS AS IDENTITY);
CREATE TABLE s () INHERITS (r);
CREATE TABLE p (a inet, b bigint GENERATED BY DEFAULT AS IDENTITY (START WITH 10 INCREMENT BY 5));
CREATE TABLE c (k bigint, b bigint DEFAULT 7) INHERITS (p);
CREATE TABLE g () INHERITS (c);
CREATE TABLE q (k int, "N" int GENERATED ALWAYS AS IDENTITY) PARTITION BY LIST (k);
CREATE TABLE q1 PARTITION OF q DEFAULT;
-- check SELECT string_agg(b::text, ',' ORDER BY b) FROM p = 10,15,20,25
-- check SELECT nextval('p_b_seq') = 30
-- check SELECT string_agg("N"::text, ',' ORDER BY "N") FROM q = 1,2
-- check SELECT nextval('"q_N_seq"') = 3
-- check SELECT string_agg(a::text, ',' ORDER BY a) FROM r = 1,7
--- NOT NULL of a parent goes, that of a child's key stays
CREATE TABLE p (a boolean NOT NULL, b int NOT NULL);
CREATE TABLE c (k text, PRIMARY KEY (a)) INHERITS (p);
CREATE TABLE g (PRIMARY KEY (b)) INHERITS (c);
CREATE TABLE d () INHERITS (p);
-- rows
INSERT INTO c VALUES (true, 1, 'x');
-- new
CREATE TABLE p (a boolean, b int);
CREATE TABLE c (k text, PRIMARY KEY (a)) INHERITS (p);
CREATE TABLE g (PRIMARY KEY (b)) INHERITS (c);
CREATE TABLE d () INHERITS (p);
--- a column of a primary key goes from a parent, and its child keeps it
CREATE TABLE p (a int PRIMARY KEY, b int);
CREATE TABLE c (k int) INHERITS (p);
CREATE TABLE d () INHERITS (p);
-- rows
INSERT INTO p VALUES (1, 2);
INSERT INTO c VALUES (3, 4, 5);
INSERT INTO d VALUES (6, 7);
-- new
CREATE TABLE p (b int);
CREATE TABLE c (a int, k int) INHERITS (p);
CREATE TABLE d (a int NOT NULL) INHERITS (p);
-- check SELECT a + b + k FROM c = 12
-- check SELECT string_agg(a || '.' || b, ',') FROM d = 6.7
--- a parent gets a column that its child has in another way
CREATE TABLE p (b text);
CREATE TABLE c (k text, a jsonb, d int, e int) INHERITS (p);
CREATE TABLE g () INHERITS (c);
-- rows
INSERT INTO c VALUES ('b', 'k', '[1]', 5, 6);
INSERT INTO g VALUES ('b', 'k', '[2]', 7, 8);
-- new
CREATE TABLE p (a text, b text, d int NOT NULL DEFAULT 4, e bigint);
CREATE TABLE c (k text, d int DEFAULT 3) INHERITS (p);
CREATE TABLE g () INHERITS (c);
-- check SELECT string_agg(a || d || e, ',' ORDER BY a) FROM p = [1]56,[2]78
--- a parent gets a computed column that its child has as another
CREATE TABLE p (b int, a int);
CREATE TABLE c (a int) INHERITS (p);
CREATE TABLE d () INHERITS (p);
-- rows
INSERT INTO c VALUES (1, 2);
INSERT INTO d VALUES (1, 2);
-- new
CREATE TABLE p (b int, a bigint GENERATED ALWAYS AS (b + 1) STORED);
CREATE TABLE c () INHERITS (p);
CREATE TABLE d () INHERITS (p);
-- check SELECT string_agg(a::text, ',') FROM p = 2,2
--- a composite is replaced and an enum in it changes
CREATE TYPE e AS ENUM ('x');
CREATE TYPE c AS (a text, b e);
CREATE DOMAIN d AS e;
CREATE TABLE t (c c, d d[]);
-- rows
INSERT INTO t VALUES (ROW('2020-01-01', 'x'), '{x}');
-- new
CREATE TYPE e AS ENUM ('x', 'y');
REVOKE ALL ON TYPE e FROM PUBLIC;
COMMENT ON TYPE e IS 'e';
CREATE TYPE c AS (a timestamptz, b e);
CREATE DOMAIN d AS text;
CREATE TABLE t (c c, d d[]);
-- check SELECT (c).b || d[1] FROM t = xx
--- a range type is replaced while a partition moves
CREATE TYPE r AS RANGE (subtype = int4);
CREATE TABLE p (k int, x r) PARTITION BY RANGE (k);
CREATE TABLE c PARTITION OF p FOR VALUES FROM (500) TO (600);
-- rows
INSERT INTO p VALUES (510, '[1,3)');
-- new
CREATE TYPE r AS RANGE (subtype = int8);
CREATE TABLE p (k int, x r) PARTITION BY RANGE (k);
CREATE TABLE c PARTITION OF p FOR VALUES FROM (500) TO (700);
-- check SELECT x FROM p = [1,3)
--- an enum is replaced while a partition moves
CREATE TYPE e AS ENUM ('a', 'b', 'c');
CREATE TABLE p (k int, x e DEFAULT 'a', d text, CHECK (x <> 'b'), PRIMARY KEY (k)) PARTITION BY RANGE (k);
CREATE TABLE c PARTITION OF p FOR VALUES FROM (500) TO (600);
CREATE INDEX p_x ON p (x);
CREATE TABLE o (k int REFERENCES p);
-- rows
INSERT INTO p VALUES (510, 'a', 'x');
-- new
CREATE TYPE e AS ENUM ('b', 'a');
CREATE TABLE p (k int, x e DEFAULT 'a', n int NOT NULL DEFAULT 3, CHECK (x <> 'b'), g int GENERATED ALWAYS AS (k + 1) STORED,
    PRIMARY KEY (k)) PARTITION BY RANGE (k);
CREATE TABLE c PARTITION OF p FOR VALUES FROM (500) TO (650);
CREATE INDEX p_x ON p (x);
CREATE TABLE o (k int REFERENCES p);
-- check SELECT x || n::text || g FROM p = a3511
--- two parents of a child get what it has
CREATE TABLE p (k int);
CREATE TABLE q (a int);
CREATE TABLE c (z text) INHERITS (p, q);
-- rows
INSERT INTO c VALUES (1, 7);
-- new
CREATE TABLE p (k int, a bigint, n int NOT NULL DEFAULT 3);
CREATE TABLE q (a bigint, n int DEFAULT 3);
CREATE TABLE c (z text) INHERITS (p, q);
-- check SELECT a || '/' || n FROM p = 7/3
--- a column of another type is included in a key that is referred to
CREATE TABLE t (a int, b bigint, c int, CONSTRAINT k PRIMARY KEY (a) INCLUDE (b));
CREATE UNIQUE INDEX u ON t (c) INCLUDE (b);
CREATE TABLE o (a int REFERENCES t, c int REFERENCES t (c));
CREATE VIEW v AS SELECT a, c FROM t GROUP BY a;
-- rows
INSERT INTO t VALUES (1, 2, 3);
INSERT INTO o VALUES (1, 3);
-- new
CREATE TABLE t (a int, b numeric(10, 2), c int, CONSTRAINT k PRIMARY KEY (a) INCLUDE (b));
CREATE UNIQUE INDEX u ON t (c) INCLUDE (b);
CREATE TABLE o (a int REFERENCES t, c int REFERENCES t (c));
CREATE VIEW v AS SELECT a, c FROM t GROUP BY a;
