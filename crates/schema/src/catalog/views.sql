-- Views and materialized views.
, object (kind, schema, parent, name, arguments, body, acl, class, oid, attnum, bytes, volatile) AS (
    SELECT CASE c.relkind WHEN 'v' THEN 'view' ELSE 'materialized_view' END,
        c.nspname::pg_catalog.text, '', c.relname::pg_catalog.text, '',
        CASE c.relkind WHEN 'v' THEN pg_catalog.json_build_object(
            'definition', pg_catalog.rtrim(pg_catalog.pg_get_viewdef(c.oid), ';'),
            'options', coalesce(c.reloptions, '{}'),
            'columns', coalesce((
                SELECT pg_catalog.json_agg(pg_catalog.json_build_object(
                    'name', a.attname,
                    'data_type', pg_catalog.format_type(a.atttypid, a.atttypmod),
                    'default', pg_catalog.pg_get_expr(d.adbin, d.adrelid),
                    'comment', pg_catalog.col_description(a.attrelid, a.attnum)
                ) ORDER BY a.attnum)
                FROM pg_catalog.pg_attribute a
                LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
                WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
            ), '[]'))
        ELSE pg_catalog.json_build_object(
            'definition', pg_catalog.rtrim(pg_catalog.pg_get_viewdef(c.oid), ';'),
            'options', coalesce(c.reloptions, '{}') || coalesce((
                SELECT pg_catalog.array_agg('toast.' || x.x)
                FROM pg_catalog.pg_class toast, pg_catalog.unnest(toast.reloptions) x (x)
                WHERE toast.oid = c.reltoastrelid), '{}'),
            'access_method', CASE WHEN m.amname <> 'heap' THEN m.amname END,
            'populated', c.relispopulated,
            'columns', coalesce((
                SELECT pg_catalog.json_agg(pg_catalog.json_build_object(
                    'name', a.attname,
                    'data_type', pg_catalog.format_type(a.atttypid, a.atttypmod),
                    'storage', CASE WHEN a.attstorage <> t.typstorage THEN
                        CASE a.attstorage WHEN 'p' THEN 'plain' WHEN 'e' THEN 'external' WHEN 'x' THEN 'extended' ELSE 'main' END END,
                    'compression', CASE a.attcompression WHEN 'p' THEN 'pglz' WHEN 'l' THEN 'lz4' END,
                    -- Without one of its own it is -1, from PostgreSQL 17 on null.
                    'statistics', nullif(a.attstattarget, -1),
                    'options', coalesce(a.attoptions, '{}'),
                    'comment', pg_catalog.col_description(a.attrelid, a.attnum)
                ) ORDER BY a.attnum)
                FROM pg_catalog.pg_attribute a
                JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
                WHERE a.attrelid = c.oid AND a.attnum > 0
            ), '[]'))
        END,
        coalesce(c.relacl, pg_catalog.acldefault('r', c.relowner)),
        'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid, c.oid, 0, 0::bigint, false
    FROM relation c
    LEFT JOIN pg_catalog.pg_am m ON m.oid = c.relam
    WHERE c.relkind IN ('v', 'm')
)
