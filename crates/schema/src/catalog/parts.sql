-- Triggers, rules and policies of tables and views.
, object (kind, schema, parent, name, arguments, body, acl, class, oid, attnum, bytes, volatile) AS (
    SELECT 'trigger', c.nspname::pg_catalog.text, c.relname::pg_catalog.text, g.tgname::pg_catalog.text, '',
        pg_catalog.json_build_object('definition', pg_catalog.pg_get_triggerdef(g.oid), 'enabled', g.tgenabled),
        NULL::pg_catalog.aclitem[],
        'pg_catalog.pg_trigger'::pg_catalog.regclass::pg_catalog.oid, g.oid, 0, 0::bigint, false
    FROM pg_catalog.pg_trigger g
    JOIN relation c ON c.oid = g.tgrelid
    WHERE NOT g.tgisinternal AND g.tgparentid = 0 AND c.relkind IN ('r', 'p', 'v')
    UNION ALL
    SELECT 'rule', c.nspname, c.relname, w.rulename, '',
        pg_catalog.json_build_object(
            'definition', pg_catalog.rtrim(pg_catalog.pg_get_ruledef(w.oid), ';'), 'enabled', w.ev_enabled),
        NULL,
        'pg_catalog.pg_rewrite'::pg_catalog.regclass, w.oid, 0, 0, false
    FROM pg_catalog.pg_rewrite w
    JOIN relation c ON c.oid = w.ev_class
    WHERE w.rulename <> '_RETURN' AND c.relkind IN ('r', 'p', 'v')
    UNION ALL
    SELECT 'policy', c.nspname, c.relname, p.polname, '',
        pg_catalog.json_build_object(
            'command', CASE p.polcmd
                WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE' ELSE 'ALL' END,
            'permissive', p.polpermissive,
            'roles', coalesce((
                SELECT pg_catalog.json_agg(pg_catalog.pg_get_userbyid(r.r)) FROM pg_catalog.unnest(p.polroles) r (r) WHERE r.r <> 0
            ), '[]'),
            'using', pg_catalog.pg_get_expr(p.polqual, p.polrelid),
            'check', pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid)),
        NULL,
        'pg_catalog.pg_policy'::pg_catalog.regclass, p.oid, 0, 0, false
    FROM pg_catalog.pg_policy p
    JOIN relation c ON c.oid = p.polrelid
    WHERE c.relkind IN ('r', 'p')
)
