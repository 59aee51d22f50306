-- Extensions, schemas, default privileges.
, object (kind, schema, parent, name, arguments, body, acl, class, oid, attnum, bytes, volatile) AS (
    SELECT 'extension', '', '', e.extname::pg_catalog.text, '',
        pg_catalog.json_build_object('schema', n.nspname),
        NULL::pg_catalog.aclitem[], 'pg_catalog.pg_extension'::pg_catalog.regclass::pg_catalog.oid, e.oid, 0, 0::bigint, false
    FROM pg_catalog.pg_extension e
    JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
    UNION ALL
    SELECT 'schema', '', '', n.nspname, '',
        NULL,
        coalesce(n.nspacl, pg_catalog.acldefault('n', n.nspowner)),
        'pg_catalog.pg_namespace'::pg_catalog.regclass, n.oid, 0, 0, false
    FROM pg_catalog.pg_namespace n
    JOIN space s ON s.oid = n.oid
    WHERE n.oid NOT IN (SELECT m.objid FROM member m WHERE m.classid = 'pg_catalog.pg_namespace'::pg_catalog.regclass)
    UNION ALL
    SELECT 'default_privileges', coalesce(n.nspname::pg_catalog.text, ''), '',
        pg_catalog.pg_get_userbyid(a.defaclrole)::pg_catalog.text, a.defaclobjtype::pg_catalog.text,
        '{}',
        a.defaclacl,
        'pg_catalog.pg_default_acl'::pg_catalog.regclass, a.oid, 0, 0, false
    FROM pg_catalog.pg_default_acl a
    LEFT JOIN pg_catalog.pg_namespace n ON n.oid = a.defaclnamespace
)
