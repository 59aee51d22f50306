-- Tables, without what belongs to them.
, object (kind, schema, parent, name, arguments, body, acl, class, oid, attnum, bytes, volatile) AS (
    SELECT 'table', c.nspname::pg_catalog.text, '', c.relname::pg_catalog.text, '',
        pg_catalog.json_build_object(
            'unlogged', c.relpersistence = 'u',
            'partition_key', CASE WHEN c.relkind = 'p' THEN pg_catalog.pg_get_partkeydef(c.oid) END,
            'partition_of', CASE WHEN c.relispartition THEN pg_catalog.json_build_object(
                'of', h.parents -> 0,
                'bound', pg_catalog.pg_get_expr(c.relpartbound, c.oid)) END,
            'inherits', CASE WHEN c.relispartition THEN '[]' ELSE coalesce(h.parents, '[]') END,
            'of_type', CASE WHEN c.reloftype <> 0 THEN pg_catalog.format_type(c.reloftype, NULL) END,
            'options', coalesce(c.reloptions, '{}') || coalesce((
                SELECT pg_catalog.array_agg('toast.' || x.x) FROM pg_catalog.unnest(toast.reloptions) x (x)), '{}'),
            'access_method', CASE WHEN c.relkind = 'r' AND m.amname <> 'heap' THEN m.amname END,
            'replica_identity', CASE c.relreplident
                WHEN 'd' THEN 'default' WHEN 'n' THEN 'nothing' WHEN 'f' THEN 'full' ELSE 'index ' || i.relname END,
            'row_security', pg_catalog.json_build_object('enabled', c.relrowsecurity, 'forced', c.relforcerowsecurity),
            'triggers', coalesce(g.triggers, '[]')),
        coalesce(c.relacl, pg_catalog.acldefault('r', c.relowner)),
        'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid, c.oid, 0,
        -- Null if it has been dropped meanwhile.
        CASE WHEN c.relkind = 'r' THEN pg_catalog.pg_relation_size(c.oid) END, false
    FROM relation c
    LEFT JOIN pg_catalog.pg_am m ON m.oid = c.relam
    LEFT JOIN pg_catalog.pg_class toast ON toast.oid = c.reltoastrelid AND toast.reloptions IS NOT NULL
    LEFT JOIN (
        SELECT x.indrelid, k.relname
        FROM pg_catalog.pg_index x
        JOIN pg_catalog.pg_class k ON k.oid = x.indexrelid
        WHERE x.indisreplident
    ) i ON i.indrelid = c.oid
    LEFT JOIN (
        SELECT h.inhrelid,
            pg_catalog.json_agg(pg_catalog.json_build_array('table', n.nspname, '', p.relname) ORDER BY h.inhseqno) AS parents
        FROM pg_catalog.pg_inherits h
        JOIN pg_catalog.pg_class p ON p.oid = h.inhparent
        JOIN pg_catalog.pg_namespace n ON n.oid = p.relnamespace
        GROUP BY h.inhrelid
    ) h ON h.inhrelid = c.oid
    LEFT JOIN (
        SELECT g.tgrelid, pg_catalog.json_agg(
            pg_catalog.json_build_object('name', g.tgname, 'enabled', g.tgenabled) ORDER BY g.tgname) AS triggers
        FROM pg_catalog.pg_trigger g
        JOIN pg_catalog.pg_trigger p ON p.oid = g.tgparentid
        WHERE g.tgenabled <> p.tgenabled AND NOT p.tgisinternal
        GROUP BY g.tgrelid
    ) g ON g.tgrelid = c.oid
    WHERE c.relkind IN ('r', 'p')
)
