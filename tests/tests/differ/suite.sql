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
