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
