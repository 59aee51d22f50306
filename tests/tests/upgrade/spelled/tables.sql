-- What major versions of PostgreSQL write in different ways, beside atomic/regression/tables.sql.
CREATE TABLE strict_tbl (a strict_text, b strict_named, c int CONSTRAINT c_is_there NOT NULL, d int NOT NULL DEFAULT 1);
CREATE TABLE strict_child (e text NOT NULL) INHERITS (strict_tbl);
CREATE TABLE strict_child2 (c int) INHERITS (strict_tbl);
CREATE TABLE strict_like (LIKE strict_tbl INCLUDING ALL);
CREATE TABLE ticked (a int);
CREATE TABLE granted (a int);
GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER ON granted TO PUBLIC;
CREATE TABLE audit_log (id bigint GENERATED ALWAYS AS IDENTITY, at timestamptz DEFAULT (now() AT TIME ZONE 'utc'), day date NOT NULL DEFAULT CURRENT_DATE, who name DEFAULT CURRENT_USER, u uuid DEFAULT gen_random_uuid(), n numeric DEFAULT 1.50 CHECK (n BETWEEN 0 AND 10), PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE audit_2020 PARTITION OF audit_log FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
CREATE TABLE audit_rest PARTITION OF audit_log DEFAULT;
CREATE TABLE audit_ref (id bigint, day date, FOREIGN KEY (id, day) REFERENCES audit_log ON DELETE CASCADE);
CREATE INDEX audit_who ON audit_log (who) WHERE who IS NOT NULL;
CREATE TABLE jsons (j jsonb CHECK (j ? 'a' AND jsonb_path_exists(j, '$.a ? (@ > 1)')), x int GENERATED ALWAYS AS (((j ->> 'a')::int)) STORED, z varchar(10)[] DEFAULT ARRAY['a'::varchar, 'b'], iv interval(3) DEFAULT '1 day 2 hours', bt bit(3) DEFAULT B'101', tz timestamptz DEFAULT '2020-01-01 00:00:00+00', h bytea DEFAULT '\x00ff', f float8 DEFAULT 'NaN', mm money DEFAULT 1);
CREATE TABLE t_policy (a int, o name DEFAULT current_user);
ALTER TABLE t_policy ENABLE ROW LEVEL SECURITY;
CREATE POLICY p_all ON t_policy USING (o = current_user OR a IN (SELECT two FROM onek WHERE four = 1)) WITH CHECK (a BETWEEN 1 AND 5);
