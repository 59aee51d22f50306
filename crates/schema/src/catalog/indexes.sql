-- Indexes that belong to no constraint, and statistics.
, object (kind, schema, parent, name, arguments, body, acl, class, oid, attnum, bytes, volatile) AS (
    SELECT 'index', c.nspname::pg_catalog.text, '', c.relname::pg_catalog.text, '',
        pg_catalog.json_build_object(
            'on', pg_catalog.json_build_array(
                CASE t.relkind WHEN 'm' THEN 'materialized_view' ELSE 'table' END, t.nspname, '', t.relname),
            'definition', pg_catalog.pg_get_indexdef(c.oid),
            'unique', x.indisunique,
            'valid', x.indisvalid,
            'clustered', x.indisclustered),
        NULL::pg_catalog.aclitem[],
        'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid, c.oid, 0, 0::bigint, false
    FROM pg_catalog.pg_index x
    JOIN relation c ON c.oid = x.indexrelid
    JOIN relation t ON t.oid = x.indrelid
    WHERE NOT c.relispartition AND t.relkind IN ('r', 'p', 'm')
      AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_constraint k WHERE k.conindid = c.oid AND k.contype IN ('p', 'u', 'x'))
    UNION ALL
    SELECT 'statistics', s.nspname, '', e.stxname, '',
        pg_catalog.json_build_object(
            'on', pg_catalog.json_build_array(
                CASE t.relkind WHEN 'm' THEN 'materialized_view' ELSE 'table' END, t.nspname, '', t.relname),
            'definition', pg_catalog.pg_get_statisticsobjdef(e.oid),
            'target', nullif(e.stxstattarget, -1)),
        NULL,
        'pg_catalog.pg_statistic_ext'::pg_catalog.regclass, e.oid, 0, 0, false
    FROM pg_catalog.pg_statistic_ext e
    JOIN space s ON s.oid = e.stxnamespace
    JOIN relation t ON t.oid = e.stxrelid
    WHERE t.relkind IN ('r', 'p', 'm')
)
