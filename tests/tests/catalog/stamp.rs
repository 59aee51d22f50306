//! The stamp changes with every change of the schema, and with nothing else.

use acceptance::catalog::read_stamp;
use acceptance::sql::done;
use acceptance::{Cluster, read_model};
use postgres::Client;

fn run(cluster: &Cluster, client: &mut Client, statement: &str) {
    let superuser = statement.strip_prefix("superuser: ");
    let result = match superuser {
        Some(statement) => cluster.connect("d").batch_execute(statement),
        None => client.batch_execute(statement),
    };
    result.unwrap_or_else(|e| panic!("{statement}: {}", acceptance::sql::describe(&e)));
}

#[test]
fn every_change_of_the_schema_changes_it() {
    let cluster = crate::cluster();
    let mut client = crate::database_of_all_kinds(&cluster, "d");
    let mut seen = vec![read_stamp(&mut client)];
    for statement in [
        "CREATE TABLE new (a int)",
        "ALTER TABLE new ADD b text DEFAULT 'x'",
        "ALTER TABLE new ALTER b SET DEFAULT 'y'",
        "ALTER TABLE new ALTER b DROP DEFAULT",
        "ALTER TABLE new RENAME b TO c",
        "ALTER TABLE new ALTER c SET NOT NULL",
        "ALTER TABLE new ALTER c SET STATISTICS 7",
        "ALTER TABLE new ALTER c SET (n_distinct = 3)",
        "ALTER TABLE new ADD CHECK (a > 0) NOT VALID",
        "ALTER TABLE new VALIDATE CONSTRAINT new_a_check",
        "ALTER TABLE new SET (fillfactor = 50)",
        "ALTER TABLE new SET (toast.autovacuum_enabled = off)",
        "ALTER TABLE new RESET (toast.autovacuum_enabled)",
        "ALTER TABLE new ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE new REPLICA IDENTITY FULL",
        "ALTER TABLE new SET UNLOGGED",
        "ALTER TABLE new INHERIT plants",
        "ALTER TABLE new ADD height int; ALTER TABLE new INHERIT plants",
        "ALTER TABLE new NO INHERIT plants",
        "ALTER TABLE new RENAME TO newer",
        "ALTER TABLE newer SET SCHEMA audit",
        "DROP TABLE audit.newer",
        "ALTER TABLE measured DETACH PARTITION measured_rest",
        "ALTER TABLE measured ATTACH PARTITION measured_rest DEFAULT",
        "CREATE INDEX i ON plants (height)",
        "CLUSTER plants USING i",
        "COMMENT ON INDEX i IS 'x'",
        "ALTER INDEX i RENAME TO j",
        "DROP INDEX j",
        "GRANT SELECT ON plants TO reader_call",
        "REVOKE SELECT ON plants FROM reader_call",
        "GRANT SELECT (height) ON plants TO reader_call",
        "COMMENT ON TABLE plants IS 'green'",
        "COMMENT ON TABLE plants IS NULL",
        "COMMENT ON COLUMN plants.height IS 'cm'",
        "superuser: COMMENT ON SCHEMA public IS 'ours'",
        "superuser: GRANT CREATE ON SCHEMA public TO reader_call",
        "CREATE SCHEMA more",
        "ALTER SCHEMA more RENAME TO less",
        "GRANT USAGE ON SCHEMA less TO reader_call",
        "DROP SCHEMA less",
        "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO reader_call",
        "ALTER DEFAULT PRIVILEGES REVOKE SELECT ON TABLES FROM reader_call",
        "CREATE OR REPLACE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN OLD; END $$",
        "ALTER FUNCTION touch() SECURITY DEFINER",
        "GRANT EXECUTE ON FUNCTION touch() TO reader_call",
        "COMMENT ON FUNCTION touch() IS 'x'",
        "CREATE OR REPLACE AGGREGATE many(*) (SFUNC = int8inc, STYPE = int8, INITCOND = '1')",
        "CREATE OR REPLACE VIEW grown (id, \"Name\") WITH (security_barrier = true) AS SELECT id, name FROM people",
        "ALTER VIEW grown SET (security_barrier = false)",
        "ALTER VIEW grown ALTER \"Name\" DROP DEFAULT",
        "ALTER TYPE mood ADD VALUE 'glad'",
        "ALTER TYPE mood RENAME VALUE 'glad' TO 'merry'",
        "ALTER DOMAIN email VALIDATE CONSTRAINT short",
        "ALTER DOMAIN email DROP NOT NULL",
        "ALTER DOMAIN email SET DEFAULT 'x'",
        "ALTER DOMAIN email DROP CONSTRAINT short",
        "DROP TABLE homes",
        "ALTER TYPE stretch OWNER TO reader_owner; COMMENT ON TYPE stretch IS 'long'",
        "ALTER SEQUENCE numbers INCREMENT 10",
        "ALTER SEQUENCE numbers OWNED BY plants.height",
        "ALTER SEQUENCE numbers OWNED BY NONE",
        "ALTER TABLE people ENABLE TRIGGER touched",
        "COMMENT ON TRIGGER touched ON people IS NULL",
        "DROP TRIGGER touched ON people",
        "ALTER TABLE people DISABLE RULE no_delete",
        "DROP RULE no_delete ON people",
        "ALTER POLICY everyone ON friends USING (one > 1)",
        "ALTER POLICY everyone ON friends TO reader_call",
        "DROP POLICY everyone ON friends",
        "ALTER STATISTICS name_and_born SET STATISTICS 5",
        "DROP STATISTICS name_and_born",
        "REFRESH MATERIALIZED VIEW counted",
        "ALTER OPERATOR ~~>(text, int) SET (RESTRICT = eqsel)",
        "DROP OPERATOR ~~>(text, int)",
        "DROP CAST (text AS place)",
        "DROP COLLATION german",
        "DROP TEXT SEARCH CONFIGURATION plain",
        "DROP CONVERSION odd",
        "superuser: DROP EVENT TRIGGER watch",
        "superuser: DROP PUBLICATION news",
        "superuser: CREATE EXTENSION citext",
        "superuser: ALTER EXTENSION citext SET SCHEMA audit",
        "superuser: ALTER EXTENSION citext ADD PROCEDURE public.rest()",
        "superuser: ALTER EXTENSION citext DROP PROCEDURE public.rest()",
        "superuser: DROP EXTENSION citext",
        "superuser: CREATE USER MAPPING FOR reader_owner SERVER far",
        "superuser: DROP USER MAPPING FOR reader_owner SERVER far",
        "superuser: DROP SERVER far CASCADE",
        "DROP TABLE public._stonescriptdb_gateway_tables",
    ] {
        if statement == "ALTER TABLE new INHERIT plants" {
            // Without its column it cannot.
            assert!(client.batch_execute(statement).is_err());
            continue;
        }
        run(&cluster, &mut client, statement);
        let stamp = read_stamp(&mut client);
        assert_ne!(Some(&stamp), seen.last(), "{statement}");
        seen.push(stamp);
    }
}

#[test]
fn nothing_else_changes_it() {
    let cluster = crate::cluster();
    let mut client = crate::database_of_all_kinds(&cluster, "d");
    done(client.batch_execute("REFRESH MATERIALIZED VIEW counted"));
    let stamp = read_stamp(&mut client);
    let routines: Vec<&str> = stamp.lines().filter(|line| line.starts_with("pg_proc ")).collect();
    assert!(matches!(routines.as_slice(), [line] if line.split(' ').count() == 3), "a line for each part: {stamp}");
    let fingerprint = read_model(&mut client).fingerprint();
    for statement in [
        "SELECT 1",
        "INSERT INTO people (name, born) SELECT 'name ' || n, now() - n * interval '1 day' FROM generate_series(1, 1000) n",
        "UPDATE people SET mail = 'a@b'",
        "INSERT INTO measured VALUES ('2020-02-02', 1), ('2022-02-02', 1)",
        "ANALYZE",
        "VACUUM",
        "VACUUM (ANALYZE, FREEZE) people",
        "superuser: VACUUM (FREEZE, ANALYZE)",
        "superuser: VACUUM FREEZE pg_class",
        "SELECT nextval('numbers'), setval('people_number_seq', 9)",
        "REFRESH MATERIALIZED VIEW counted",
        "REFRESH MATERIALIZED VIEW CONCURRENTLY counted",
        "TRUNCATE friends",
        "VACUUM FULL people",
        "REINDEX TABLE people",
        "CLUSTER people",
        "CHECKPOINT",
        "CREATE TEMPORARY TABLE short_lived (id serial PRIMARY KEY, name text DEFAULT 'x' CHECK (name <> ''))",
        "CREATE TEMPORARY VIEW shorter AS SELECT * FROM short_lived; CREATE INDEX ON short_lived (name)",
        "CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE TYPE pg_temp.e AS ENUM ('x')",
        "CREATE TYPE pg_temp.r AS RANGE (subtype = int); CREATE DOMAIN pg_temp.d AS int CHECK (VALUE > 0)",
        "DISCARD ALL",
        "BEGIN; CREATE TABLE undone (a int); ROLLBACK",
        "superuser: CREATE ROLE somebody",
        "superuser: ALTER DATABASE d SET work_mem = '5MB'",
        "superuser: CREATE DATABASE another",
    ] {
        if statement == "CHECKPOINT" {
            done(cluster.control().batch_execute(statement));
        } else {
            run(&cluster, &mut client, statement);
        }
        assert_eq!(read_stamp(&mut client), stamp, "{statement}");
    }
    assert_eq!(read_model(&mut client).fingerprint(), fingerprint);
    // Another session and another role see the same.
    assert_eq!(read_stamp(&mut cluster.connect("d")), stamp);
    let mut other = cluster.connect("d");
    done(other.batch_execute("SET search_path = '', pg_temp; SET default_transaction_isolation = serializable"));
    assert_eq!(read_stamp(&mut other), stamp);
}
