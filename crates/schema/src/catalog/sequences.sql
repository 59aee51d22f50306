-- Sequences, also those of identity columns.
, object (kind, schema, parent, name, arguments, body, acl, class, oid, attnum, bytes, volatile) AS (
    SELECT 'sequence', c.nspname::pg_catalog.text, '', c.relname::pg_catalog.text, '',
        pg_catalog.json_build_object(
            'data_type', pg_catalog.format_type(s.seqtypid, NULL),
            'start', s.seqstart,
            'min', s.seqmin,
            'max', s.seqmax,
            'increment', s.seqincrement,
            'cache', s.seqcache,
            'cycle', s.seqcycle,
            'unlogged', c.relpersistence = 'u',
            'owned_by', CASE WHEN d.objid IS NOT NULL THEN
                pg_catalog.json_build_array('column', t.nspname, t.relname, a.attname) END,
            'of_identity', coalesce(d.deptype = 'i', false)),
        coalesce(c.relacl, pg_catalog.acldefault('s', c.relowner)),
        'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid, c.oid, 0, 0::bigint, false
    FROM relation c
    JOIN pg_catalog.pg_sequence s ON s.seqrelid = c.oid
    LEFT JOIN pg_catalog.pg_depend d
        ON d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.objsubid = 0
        AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')
    LEFT JOIN relation t ON t.oid = d.refobjid
    LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
    -- That of a table which is not in the model is not either.
    WHERE c.relkind = 'S' AND (d.objid IS NULL OR t.oid IS NOT NULL)
)
