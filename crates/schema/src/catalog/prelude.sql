-- What every query of objects begins with. It goes on with `, object AS (...)` and ends with answer.sql.
-- Relations and types are named with their schema, for an empty search_path still looks into pg_temp first.
WITH member AS (
    -- Everything that belongs to an extension. It is excluded by NOT IN, which is hashed whatever the planner expects: just after
    -- CREATE EXTENSION of a big one there are no statistics yet.
    SELECT d.classid, d.objid
    FROM pg_catalog.pg_depend d
    WHERE d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND d.deptype = 'e'
), space AS (
    -- The schemas that objects are looked for in. That one belongs to an extension says nothing of what others put into it.
    SELECT n.oid, n.nspname
    FROM pg_catalog.pg_namespace n
    WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
), relation AS (
    -- Tables, views, indexes, sequences and so on, except this project's own.
    SELECT c.*, s.nspname
    FROM pg_catalog.pg_class c
    JOIN space s ON s.oid = c.relnamespace
    WHERE c.relpersistence <> 't'
      AND NOT (s.nspname = 'public' AND pg_catalog.starts_with(c.relname::pg_catalog.text, '_stonescriptdb_'))
      AND c.oid NOT IN (SELECT m.objid FROM member m WHERE m.classid = 'pg_catalog.pg_class'::pg_catalog.regclass)
)
