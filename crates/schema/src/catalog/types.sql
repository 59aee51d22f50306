-- Types that are not a relation's, an array or a multirange.
, type AS (
    SELECT t.*, s.nspname
    FROM pg_catalog.pg_type t
    JOIN space s ON s.oid = t.typnamespace
    WHERE t.typtype IN ('e', 'c', 'd', 'r')
      AND t.oid NOT IN (SELECT m.objid FROM member m WHERE m.classid = 'pg_catalog.pg_type'::pg_catalog.regclass)
), object (kind, schema, parent, name, arguments, body, acl, class, oid, attnum, bytes, volatile) AS (
    SELECT b.kind, t.nspname::pg_catalog.text, '', t.typname::pg_catalog.text, '',
        b.body,
        coalesce(t.typacl, pg_catalog.acldefault('T', t.typowner)),
        'pg_catalog.pg_type'::pg_catalog.regclass::pg_catalog.oid, t.oid, 0, 0::bigint, false
    FROM type t
    CROSS JOIN LATERAL (
        SELECT 'enum', pg_catalog.json_build_object(
            'labels', coalesce((
                SELECT pg_catalog.json_agg(e.enumlabel ORDER BY e.enumsortorder) FROM pg_catalog.pg_enum e WHERE e.enumtypid = t.oid
            ), '[]'))
        WHERE t.typtype = 'e'
        UNION ALL
        SELECT 'composite', pg_catalog.json_build_object(
            'attributes', coalesce((
                SELECT pg_catalog.json_agg(pg_catalog.json_build_object(
                    'name', a.attname,
                    'data_type', pg_catalog.format_type(a.atttypid, a.atttypmod),
                    'collation', CASE WHEN a.attcollation <> u.typcollation THEN a.attcollation::pg_catalog.regcollation END
                ) ORDER BY a.attnum)
                FROM pg_catalog.pg_attribute a
                JOIN pg_catalog.pg_type u ON u.oid = a.atttypid
                WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
            ), '[]'))
        FROM pg_catalog.pg_class c
        WHERE t.typtype = 'c' AND c.oid = t.typrelid AND c.relkind = 'c'
        UNION ALL
        SELECT 'domain', pg_catalog.json_build_object(
            'data_type', pg_catalog.format_type(t.typbasetype, t.typtypmod),
            'collation', CASE WHEN t.typcollation <> u.typcollation THEN t.typcollation::pg_catalog.regcollation END,
            'not_null', t.typnotnull,
            'default', pg_catalog.pg_get_expr(t.typdefaultbin, 0),
            'checks', coalesce((
                SELECT pg_catalog.json_agg(pg_catalog.json_build_object(
                    'name', k.conname,
                    'definition', pg_catalog.regexp_replace(k.definition, ' NOT VALID$', ''),
                    'validated', k.definition !~ ' NOT VALID$',
                    'comment', k.comment
                ) ORDER BY k.conname)
                FROM (
                    SELECT k.conname, pg_catalog.pg_get_constraintdef(k.oid) AS definition,
                           pg_catalog.obj_description(k.oid, 'pg_constraint') AS comment
                    FROM pg_catalog.pg_constraint k
                    WHERE k.contypid = t.oid AND k.contype = 'c'
                ) k
            ), '[]'))
        FROM pg_catalog.pg_type u
        WHERE t.typtype = 'd' AND u.oid = t.typbasetype
        UNION ALL
        SELECT 'range', pg_catalog.json_build_object(
            'definition', pg_catalog.concat_ws(', ',
                'subtype = ' || pg_catalog.format_type(r.rngsubtype, NULL),
                'multirange_type_name = ' || pg_catalog.format_type(r.rngmultitypid, NULL),
                'subtype_opclass = ' || CASE WHEN NOT o.opcdefault
                    THEN pg_catalog.format('%I.%I', n.nspname, o.opcname) END,
                'collation = ' || CASE WHEN r.rngcollation <> u.typcollation
                    THEN r.rngcollation::pg_catalog.regcollation END,
                'canonical = ' || nullif(r.rngcanonical::pg_catalog.oid, 0)::pg_catalog.regproc,
                'subtype_diff = ' || nullif(r.rngsubdiff::pg_catalog.oid, 0)::pg_catalog.regproc))
        FROM pg_catalog.pg_range r
        JOIN pg_catalog.pg_type u ON u.oid = r.rngsubtype
        JOIN pg_catalog.pg_opclass o ON o.oid = r.rngsubopc
        JOIN pg_catalog.pg_namespace n ON n.oid = o.opcnamespace
        WHERE t.typtype = 'r' AND r.rngtypid = t.oid
    ) b (kind, body)
)
