What newer versions of PostgreSQL brought; `-- from` says which one.

--- not null that is not checked yet, added
-- from 18
CREATE TABLE t (id int PRIMARY KEY, a int);
-- rows
INSERT INTO t VALUES (1, NULL);
-- new
CREATE TABLE t (id int PRIMARY KEY, a int);
ALTER TABLE t ADD CONSTRAINT a_is_there NOT NULL a NOT VALID;
-- check (SELECT convalidated FROM pg_constraint WHERE conrelid = 't'::regclass AND contype = 'n' AND conkey = '{2}') = false

--- not null that was not checked, checked
-- from 18
CREATE TABLE t (id int PRIMARY KEY, a int);
ALTER TABLE t ADD CONSTRAINT a_is_there NOT NULL a NOT VALID;
-- rows
INSERT INTO t VALUES (1, 2);
-- new
CREATE TABLE t (id int PRIMARY KEY, a int NOT NULL);
-- check (SELECT convalidated FROM pg_constraint WHERE conrelid = 't'::regclass AND contype = 'n' AND conkey = '{2}') = true

--- not null that was checked already need not be unchecked
-- from 18
CREATE TABLE t (id int PRIMARY KEY, a int);
ALTER TABLE t ADD NOT NULL a NOT VALID;
-- rows
ALTER TABLE t VALIDATE CONSTRAINT t_a_not_null;
-- new
CREATE TABLE t (id int PRIMARY KEY, a int, b int);
ALTER TABLE t ADD NOT NULL a NOT VALID;
-- check (SELECT convalidated FROM pg_constraint WHERE conrelid = 't'::regclass AND contype = 'n' AND conkey = '{2}') = true

--- not null that was not checked, dropped
-- from 18
CREATE TABLE t (id int PRIMARY KEY, a int);
ALTER TABLE t ADD CONSTRAINT a_is_there NOT NULL a NOT VALID;
-- rows
INSERT INTO t VALUES (1, 2);
-- new
CREATE TABLE t (id int PRIMARY KEY, a int);
-- check (SELECT count(*) FROM pg_constraint WHERE conrelid = 't'::regclass AND contype = 'n' AND conkey = '{2}') = 0

--- a new column with a not null that is not checked
-- from 18
CREATE TABLE t (id int PRIMARY KEY);
-- rows
INSERT INTO t VALUES (1);
-- new
CREATE TABLE t (id int PRIMARY KEY, a int);
ALTER TABLE t ADD CONSTRAINT a_is_there NOT NULL a NOT VALID;
-- check (SELECT count(*) FROM t WHERE a IS NULL) = 1

--- a new table with a not null that is not checked
-- from 18
CREATE TABLE u (id int);
-- new
CREATE TABLE u (id int);
CREATE TABLE t (id int PRIMARY KEY, a int);
ALTER TABLE t ADD CONSTRAINT a_is_there NOT NULL a NOT VALID;

--- not null that is not checked, of a parent and its child
-- from 18
CREATE TABLE p (id int, a int);
CREATE TABLE c (b int) INHERITS (p);
-- rows
INSERT INTO c VALUES (1, NULL, 2);
-- new
CREATE TABLE p (id int, a int);
CREATE TABLE c (b int) INHERITS (p);
ALTER TABLE p ADD NOT NULL a NOT VALID;
-- check (SELECT string_agg(convalidated::text, ',') FROM pg_constraint WHERE contype = 'n' AND conrelid IN ('p'::regclass, 'c'::regclass)) = false,false

--- not null that is not checked, of a parent and its child, checked
-- from 18
CREATE TABLE p (id int, a int);
CREATE TABLE c (b int) INHERITS (p);
ALTER TABLE p ADD NOT NULL a NOT VALID;
-- rows
INSERT INTO c VALUES (1, 3, 2);
-- new
CREATE TABLE p (id int, a int NOT NULL);
CREATE TABLE c (b int) INHERITS (p);
-- check (SELECT string_agg(convalidated::text, ',') FROM pg_constraint WHERE contype = 'n' AND conrelid IN ('p'::regclass, 'c'::regclass)) = true,true

--- not null that is not checked, of a partitioned table
-- from 18
CREATE TABLE p (id int, a int) PARTITION BY LIST (id);
CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1);
-- rows
INSERT INTO p VALUES (1, NULL);
-- new
CREATE TABLE p (id int, a int) PARTITION BY LIST (id);
CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1);
CREATE TABLE p2 PARTITION OF p FOR VALUES IN (2);
ALTER TABLE p ADD NOT NULL a NOT VALID;

--- not null that is not handed down, added
-- from 18
CREATE TABLE p (id int, a int);
CREATE TABLE c (b int) INHERITS (p);
-- rows
INSERT INTO c VALUES (1, NULL, 2);
-- new
CREATE TABLE p (id int, a int NOT NULL NO INHERIT);
CREATE TABLE c (b int) INHERITS (p);
-- check (SELECT string_agg(attnotnull::text, ',' ORDER BY attrelid::regclass::text) FROM pg_attribute WHERE attname = 'a' AND attrelid IN ('p'::regclass, 'c'::regclass)) = false,true

--- not null that is handed down from now on
-- from 18
CREATE TABLE p (id int, a int NOT NULL NO INHERIT);
CREATE TABLE c (b int) INHERITS (p);
-- rows
INSERT INTO c VALUES (1, 1, 2);
-- new
CREATE TABLE p (id int, a int NOT NULL);
CREATE TABLE c (b int) INHERITS (p);

--- not null that is not handed down, of new tables
-- from 18
CREATE TABLE u (id int);
-- new
CREATE TABLE u (id int);
CREATE TABLE p (id int, a int NOT NULL NO INHERIT, b int CONSTRAINT b_is_there NOT NULL);
CREATE TABLE c (b int, d int) INHERITS (p);
CREATE TABLE e (a int NOT NULL) INHERITS (p);

--- not null of a child where the parent's is not handed down
-- from 18
CREATE TABLE p (id int, a int NOT NULL NO INHERIT);
CREATE TABLE c (b int) INHERITS (p);
-- new
CREATE TABLE p (id int, a int NOT NULL NO INHERIT);
CREATE TABLE c (b int, a int NOT NULL) INHERITS (p);

--- a check that is not enforced, added
-- from 18
CREATE TABLE t (id int PRIMARY KEY, a int);
-- rows
INSERT INTO t VALUES (1, -1);
-- new
CREATE TABLE t (id int PRIMARY KEY, a int, CONSTRAINT positive CHECK (a > 0) NOT ENFORCED);
-- check (SELECT conenforced FROM pg_constraint WHERE conname = 'positive') = false

--- a check that is not enforced, enforced
-- from 18
CREATE TABLE t (id int PRIMARY KEY, a int, CONSTRAINT positive CHECK (a > 0) NOT ENFORCED);
-- rows
INSERT INTO t VALUES (1, 1);
-- new
CREATE TABLE t (id int PRIMARY KEY, a int, CONSTRAINT positive CHECK (a > 0));
-- check (SELECT conenforced AND convalidated FROM pg_constraint WHERE conname = 'positive') = true

--- a foreign key that is not enforced, added
-- from 18
CREATE TABLE t (id int PRIMARY KEY);
CREATE TABLE u (t int);
-- rows
INSERT INTO u VALUES (7);
-- new
CREATE TABLE t (id int PRIMARY KEY);
CREATE TABLE u (t int REFERENCES t NOT ENFORCED);
-- check (SELECT conenforced FROM pg_constraint WHERE conname = 'u_t_fkey') = false

--- a foreign key that is not enforced, enforced
-- from 18
CREATE TABLE t (id int PRIMARY KEY);
CREATE TABLE u (t int REFERENCES t NOT ENFORCED);
-- rows
INSERT INTO t VALUES (7);
INSERT INTO u VALUES (7);
-- new
CREATE TABLE t (id int PRIMARY KEY);
CREATE TABLE u (t int REFERENCES t);
-- check (SELECT conenforced AND convalidated FROM pg_constraint WHERE conname = 'u_t_fkey') = true

--- a check that is not enforced, of a parent and of a partitioned table
-- from 18
CREATE TABLE p (a int);
CREATE TABLE c () INHERITS (p);
CREATE TABLE q (a int) PARTITION BY LIST (a);
CREATE TABLE q1 PARTITION OF q FOR VALUES IN (1);
-- new
CREATE TABLE p (a int CONSTRAINT positive CHECK (a > 0) NOT ENFORCED);
CREATE TABLE c () INHERITS (p);
CREATE TABLE q (a int CONSTRAINT small CHECK (a < 9) NOT ENFORCED) PARTITION BY LIST (a);
CREATE TABLE q1 PARTITION OF q FOR VALUES IN (1);

--- a table joins a parent with a check that is not enforced
-- from 18
CREATE TABLE p (a int CONSTRAINT positive CHECK (a > 0) NOT ENFORCED);
CREATE TABLE c (a int);
-- rows
INSERT INTO c VALUES (-1);
-- new
CREATE TABLE p (a int CONSTRAINT positive CHECK (a > 0) NOT ENFORCED);
CREATE TABLE c () INHERITS (p);

--- virtual columns, added and dropped
-- from 18
CREATE TABLE t (a int, old int GENERATED ALWAYS AS (a + 1) VIRTUAL);
-- rows
INSERT INTO t VALUES (3);
-- new
CREATE TABLE t (a int, twice int GENERATED ALWAYS AS (a * 2) VIRTUAL, thrice int GENERATED ALWAYS AS (a * 3) NOT NULL);
-- check (SELECT twice || ' ' || thrice FROM t) = 6 9

--- a virtual column's expression
-- from 18
CREATE TABLE t (a int, b int GENERATED ALWAYS AS (a * 2) VIRTUAL CHECK (b > 0), c int);
CREATE VIEW v AS SELECT b FROM t;
-- rows
INSERT INTO t VALUES (3);
-- new
CREATE TABLE t (a int, b int GENERATED ALWAYS AS (a * 5) VIRTUAL CHECK (b > 0), c int);
CREATE VIEW v AS SELECT b FROM t;
-- check (SELECT b FROM v) = 15

--- a virtual column becomes stored, and a stored one virtual
-- from 18
CREATE TABLE t (a int, b int GENERATED ALWAYS AS (a * 2) VIRTUAL, c int GENERATED ALWAYS AS (a * 3) STORED);
-- rows
INSERT INTO t VALUES (3);
-- new
CREATE TABLE t (a int, b int GENERATED ALWAYS AS (a * 2) STORED, c int GENERATED ALWAYS AS (a * 3) VIRTUAL);
-- check (SELECT b || ' ' || c FROM t) = 6 9

--- a virtual column becomes an ordinary one, and an ordinary one virtual
-- from 18
CREATE TABLE t (a int, b int GENERATED ALWAYS AS (a * 2) VIRTUAL, c int);
-- rows
INSERT INTO t VALUES (3);
-- new
CREATE TABLE t (a int, b int DEFAULT 4, c int GENERATED ALWAYS AS (a * 3) VIRTUAL);
-- check (SELECT c FROM t) = 9

--- the type of what a virtual column is computed from, and its own
-- from 18
CREATE TABLE t (a int, b int GENERATED ALWAYS AS (a * 2) VIRTUAL, c int GENERATED ALWAYS AS (1) VIRTUAL);
-- rows
INSERT INTO t VALUES (3);
-- new
CREATE TABLE t (a bigint, b bigint GENERATED ALWAYS AS (a * 2) VIRTUAL, c bigint GENERATED ALWAYS AS (1) VIRTUAL);
-- check (SELECT b FROM t) = 6

--- virtual columns of a parent, a child and partitions
-- from 18
CREATE TABLE p (a int);
CREATE TABLE c (x int) INHERITS (p);
CREATE TABLE q (a int, v int GENERATED ALWAYS AS (a + 1) VIRTUAL) PARTITION BY LIST (a);
CREATE TABLE q1 PARTITION OF q FOR VALUES IN (1);
-- rows
INSERT INTO c VALUES (1, 2);
INSERT INTO q VALUES (1);
-- new
CREATE TABLE p (a int, v int GENERATED ALWAYS AS (a + 1) VIRTUAL);
CREATE TABLE c (x int) INHERITS (p);
CREATE TABLE q (a int, v int GENERATED ALWAYS AS (a + 5) VIRTUAL) PARTITION BY LIST (a);
CREATE TABLE q1 PARTITION OF q FOR VALUES IN (1);
CREATE TABLE q2 PARTITION OF q FOR VALUES IN (2);
-- check (SELECT v FROM c) = 2
-- check (SELECT v FROM q) = 6

--- periods, added
-- from 18
CREATE TABLE rooms (id int4range, open daterange);
CREATE TABLE stays (id int4range, room int4range, at daterange);
-- rows
INSERT INTO rooms VALUES ('[1,2)', '[2026-01-01,2026-02-01)'), ('[1,2)', '[2026-02-01,2026-03-01)');
INSERT INTO stays VALUES ('[5,6)', '[1,2)', '[2026-01-15,2026-02-15)');
-- new
CREATE TABLE rooms (id int4range, open daterange, PRIMARY KEY (id, open WITHOUT OVERLAPS));
CREATE TABLE stays (
    id int4range, room int4range, at daterange,
    CONSTRAINT once UNIQUE (id, at WITHOUT OVERLAPS),
    CONSTRAINT of_room FOREIGN KEY (room, PERIOD at) REFERENCES rooms (id, PERIOD open)
);
-- check (SELECT count(*) FROM pg_constraint WHERE conperiod) = 3

--- a period of a key that changes
-- from 18
CREATE TABLE rooms (id int4range, open daterange, shown daterange NOT NULL, PRIMARY KEY (id, open WITHOUT OVERLAPS));
-- rows
INSERT INTO rooms VALUES ('[1,2)', '[2026-01-01,2026-02-01)', '[2026-01-01,2026-02-01)');
-- new
CREATE TABLE rooms (id int4range, open daterange, shown daterange NOT NULL, PRIMARY KEY (id, shown WITHOUT OVERLAPS));

--- what a change returns, before and after
-- from 18
CREATE TABLE t (id int PRIMARY KEY, a int);
-- rows
INSERT INTO t VALUES (1, 1);
-- new
CREATE TABLE t (id int PRIMARY KEY, a int, u uuid NOT NULL DEFAULT uuidv7());
CREATE FUNCTION f(n int) RETURNS TABLE (was int, is_now int) BEGIN ATOMIC UPDATE t SET a = n RETURNING old.a, new.a; END;

--- a partitioned table's identity column
-- from 17
CREATE TABLE q (a int, b text) PARTITION BY LIST (a);
CREATE TABLE q1 PARTITION OF q FOR VALUES IN (1);
-- rows
INSERT INTO q VALUES (1, 'x');
-- new
CREATE TABLE q (a int, b text, id bigint GENERATED ALWAYS AS IDENTITY) PARTITION BY LIST (a);
CREATE TABLE q1 PARTITION OF q FOR VALUES IN (1);
CREATE TABLE q2 PARTITION OF q FOR VALUES IN (2);
-- check (SELECT id FROM q) = 1

--- a partition with an identity column comes, and an identity goes
-- from 17
CREATE TABLE q (a int, id bigint GENERATED ALWAYS AS IDENTITY, n int GENERATED BY DEFAULT AS IDENTITY) PARTITION BY LIST (a);
CREATE TABLE q1 PARTITION OF q FOR VALUES IN (1);
-- rows
INSERT INTO q VALUES (1);
-- new
CREATE TABLE q (a int, id bigint GENERATED BY DEFAULT AS IDENTITY, n int) PARTITION BY LIST (a);
CREATE TABLE q1 PARTITION OF q FOR VALUES IN (1);
CREATE TABLE q2 PARTITION OF q FOR VALUES IN (2);
-- check (SELECT id FROM q) = 1

--- the right to maintain
-- from 17
CREATE TABLE t (a int);
CREATE TABLE u (a int);
CREATE TABLE w (a int);
GRANT MAINTAIN ON u TO reader;
GRANT ALL ON w TO api;
-- new
CREATE TABLE t (a int);
CREATE TABLE u (a int);
CREATE TABLE w (a int);
CREATE TABLE n (a int);
CREATE MATERIALIZED VIEW m AS SELECT a FROM t;
GRANT MAINTAIN ON t TO api WITH GRANT OPTION;
GRANT ALL ON n TO api;
REVOKE MAINTAIN ON n FROM shop_owner;
GRANT SELECT, MAINTAIN ON m TO reader;
GRANT SELECT ON w TO api;
-- check (has_table_privilege('api', 't', 'MAINTAIN WITH GRANT OPTION')) = true
-- check (has_table_privilege('reader', 'u', 'MAINTAIN')) = false
-- check (has_table_privilege('api', 'w', 'MAINTAIN')) = false

--- the right to maintain by default
-- from 17
CREATE TABLE t (a int);
ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO reader;
-- new
CREATE TABLE t (a int);
ALTER DEFAULT PRIVILEGES GRANT SELECT, MAINTAIN ON TABLES TO reader;
ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO api;

--- merge and JSON_TABLE in views and functions
-- from 17
CREATE TABLE t (a int PRIMARY KEY, b jsonb);
-- new
CREATE TABLE t (a int PRIMARY KEY, b jsonb);
CREATE VIEW v AS SELECT t.a, j.x FROM t, JSON_TABLE(t.b, '$[*]' COLUMNS (x int PATH '$')) j;
CREATE FUNCTION f(n int) RETURNS SETOF text BEGIN ATOMIC
    MERGE INTO t USING (SELECT n) s (n) ON t.a = s.n
    WHEN MATCHED THEN UPDATE SET b = '[]'
    WHEN NOT MATCHED BY SOURCE THEN DELETE
    WHEN NOT MATCHED THEN INSERT (a) VALUES (s.n)
    RETURNING merge_action();
END;

--- constraints of domains that refuse null
-- from 17
CREATE DOMAIN d AS int;
CREATE TABLE t (a d);
-- new
CREATE DOMAIN d AS int CONSTRAINT is_there NOT NULL CHECK (VALUE > 0);
CREATE TABLE t (a d);

--- an exclusion constraint of a partitioned table
-- from 17
CREATE TABLE q (a int4range, b int4range) PARTITION BY RANGE (a);
CREATE TABLE q1 PARTITION OF q DEFAULT;
-- new
CREATE TABLE q (a int4range, b int4range, CONSTRAINT apart EXCLUDE USING gist (a WITH =, b WITH &&)) PARTITION BY RANGE (a);
CREATE TABLE q1 PARTITION OF q DEFAULT;

--- a foreign key of a partitioned table that is not checked
-- from 18
CREATE TABLE t (id int PRIMARY KEY);
CREATE TABLE q (a int, t int) PARTITION BY LIST (a);
CREATE TABLE q1 PARTITION OF q FOR VALUES IN (1);
-- rows
INSERT INTO q VALUES (1, 9);
-- new
CREATE TABLE t (id int PRIMARY KEY);
CREATE TABLE q (a int, t int) PARTITION BY LIST (a);
CREATE TABLE q1 PARTITION OF q FOR VALUES IN (1);
ALTER TABLE q ADD CONSTRAINT of_t FOREIGN KEY (t) REFERENCES t NOT VALID;

--- default privileges of the owner and of others come and go
-- from 17
CREATE TABLE t (a int);
ALTER DEFAULT PRIVILEGES REVOKE MAINTAIN ON TABLES FROM shop_owner;
-- new
CREATE TABLE t (a int);

--- default privileges of tables come and go where there is the right to maintain
-- from 17
CREATE TABLE t (a int);
ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO reader;
-- new
CREATE TABLE t (a int);

--- default privileges of large objects
-- from 18
CREATE TABLE t (a int);
ALTER DEFAULT PRIVILEGES GRANT SELECT ON LARGE OBJECTS TO reader;
-- new
CREATE TABLE t (a int);
ALTER DEFAULT PRIVILEGES GRANT UPDATE ON LARGE OBJECTS TO reader WITH GRANT OPTION;
GRANT SELECT ON t TO reader;
