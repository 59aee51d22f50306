-- Columns of tables.
, unstable AS (
    -- Defaults that call a volatile function. Those of the system's own functions are not in pg_depend, so the stored trees say it.
    SELECT DISTINCT x.adrelid, x.adnum
    FROM (
        SELECT d.adrelid, d.adnum, pg_catalog.regexp_matches(d.adbin::pg_catalog.text, ':(?:op)?funcid (\d+)', 'g') AS found
        FROM pg_catalog.pg_attrdef d
    ) x
    JOIN pg_catalog.pg_proc p ON p.oid = x.found[1]::pg_catalog.oid
    WHERE p.provolatile = 'v'
), unstable_type AS (
    -- Domains of which the default does so: it is the default of their columns.
    SELECT DISTINCT x.oid
    FROM (
        SELECT t.oid, pg_catalog.regexp_matches(t.typdefaultbin::pg_catalog.text, ':(?:op)?funcid (\d+)', 'g') AS found
        FROM pg_catalog.pg_type t
        WHERE t.typtype = 'd' AND t.typdefaultbin IS NOT NULL
    ) x
    JOIN pg_catalog.pg_proc p ON p.oid = x.found[1]::pg_catalog.oid
    WHERE p.provolatile = 'v'
), object (kind, schema, parent, name, arguments, body, acl, class, oid, attnum, bytes, volatile) AS (
    SELECT 'column', c.nspname::pg_catalog.text, c.relname::pg_catalog.text, a.attname::pg_catalog.text, '',
        pg_catalog.json_build_object(
            'data_type', pg_catalog.format_type(a.atttypid, a.atttypmod),
            'collation', CASE WHEN a.attcollation <> t.typcollation THEN a.attcollation::pg_catalog.regcollation END,
            'not_null', a.attnotnull,
            -- From PostgreSQL 18 on NOT NULL is a constraint. What else can be said of it is in no column of pg_attribute.
            'not_valid', coalesce(NOT k.convalidated, false),
            'no_inherit', coalesce(k.connoinherit, false),
            'default', pg_catalog.pg_get_expr(d.adbin, d.adrelid),
            'generated', CASE a.attgenerated WHEN 's' THEN 'stored' WHEN 'v' THEN 'virtual' END,
            'identity', CASE a.attidentity WHEN 'a' THEN 'always' WHEN 'd' THEN 'by_default' END,
            'storage', CASE WHEN a.attstorage <> t.typstorage THEN
                CASE a.attstorage WHEN 'p' THEN 'plain' WHEN 'e' THEN 'external' WHEN 'x' THEN 'extended' ELSE 'main' END END,
            'compression', CASE a.attcompression WHEN 'p' THEN 'pglz' WHEN 'l' THEN 'lz4' END,
            -- Without one of its own it is -1, from PostgreSQL 17 on null.
            'statistics', nullif(a.attstattarget, -1),
            'options', coalesce(a.attoptions, '{}'),
            'is_local', a.attislocal),
        a.attacl,
        'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid, c.oid, a.attnum::int, 0::bigint,
        u.adrelid IS NOT NULL OR (d.oid IS NULL AND v.oid IS NOT NULL)
    FROM relation c
    JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
    LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    LEFT JOIN pg_catalog.pg_constraint k ON k.conrelid = a.attrelid AND k.contype = 'n' AND k.conkey = ARRAY[a.attnum]
    LEFT JOIN unstable u ON u.adrelid = a.attrelid AND u.adnum = a.attnum
    LEFT JOIN unstable_type v ON v.oid = a.atttypid
    WHERE c.relkind IN ('r', 'p')
)
