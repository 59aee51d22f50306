, rights AS (
    -- Most objects have the same few rights: each set is taken apart once.
    SELECT x.acl, (
        SELECT pg_catalog.json_agg(pg_catalog.json_build_array(
            CASE WHEN e.grantee = 0 THEN '' ELSE pg_catalog.pg_get_userbyid(e.grantee) END, e.privilege_type, e.is_grantable))
        FROM pg_catalog.aclexplode(x.acl) e
    ) AS grants
    FROM (SELECT DISTINCT o.acl FROM object o WHERE o.acl IS NOT NULL) x
)
SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
    'key', pg_catalog.json_build_array(o.kind, o.schema, o.parent, o.name, o.arguments),
    'body', CASE WHEN o.body IS NULL THEN pg_catalog.to_json(o.kind) ELSE pg_catalog.json_build_object(o.kind, o.body) END,
    'comment', d.description,
    'grants', coalesce(r.grants, '[]'),
    'notes', pg_catalog.json_build_array(
        pg_catalog.json_build_array(o.class::bigint, o.oid::bigint, o.attnum), o.attnum, coalesce(o.bytes, 0), o.volatile)
)), '[]')::pg_catalog.text
FROM object o
LEFT JOIN rights r ON r.acl = o.acl
-- An extension's comment is its control file's, which differs from server to server.
LEFT JOIN pg_catalog.pg_description d
    ON d.classoid = o.class AND d.objoid = o.oid AND d.objsubid = o.attnum AND o.kind NOT IN ('extension', 'other')
