-- Constraints of tables, without those that come from a parent only, and without NOT NULL, which is the column's.
, object (kind, schema, parent, name, arguments, body, acl, class, oid, attnum, bytes, volatile) AS (
    SELECT 'constraint', k.nspname::pg_catalog.text, k.relname::pg_catalog.text, k.conname::pg_catalog.text, '',
        pg_catalog.json_build_object(
            'type', CASE k.contype WHEN 'p' THEN 'primary_key' WHEN 'u' THEN 'unique' WHEN 'c' THEN 'check'
                WHEN 'f' THEN 'foreign_key' ELSE 'exclusion' END,
            'definition', CASE
                WHEN k.definition ~ ' NOT VALID$' THEN pg_catalog.regexp_replace(k.definition, ' NOT VALID$', '')
                -- The server leaves the options of the index out of the text.
                WHEN k.contype IN ('p', 'u') AND i.reloptions IS NOT NULL THEN pg_catalog.regexp_replace(
                    k.definition, '(?=( DEFERRABLE)?( INITIALLY DEFERRED)?$)', ' WITH (' || (
                        SELECT pg_catalog.string_agg(pg_catalog.format('%I=%L',
                            pg_catalog.split_part(x.x, '=', 1), pg_catalog.substr(x.x, pg_catalog.strpos(x.x, '=') + 1)), ', '
                            ORDER BY x.x)
                        FROM pg_catalog.unnest(i.reloptions) x (x)) || ')')
                ELSE k.definition END,
            'validated', k.definition !~ ' NOT VALID$',
            'clustered', coalesce(x.indisclustered, false),
            'index_comment', pg_catalog.obj_description(k.own_index, 'pg_class')),
        NULL::pg_catalog.aclitem[],
        'pg_catalog.pg_constraint'::pg_catalog.regclass::pg_catalog.oid, k.oid, 0, 0::bigint, false
    FROM (
        SELECT c.nspname, c.relname, k.oid, k.conname, k.contype,
            CASE WHEN k.contype IN ('p', 'u', 'x') THEN k.conindid END AS own_index,
            pg_catalog.pg_get_constraintdef(k.oid) AS definition
        FROM pg_catalog.pg_constraint k
        JOIN relation c ON c.oid = k.conrelid
        WHERE c.relkind IN ('r', 'p') AND k.contype IN ('p', 'u', 'c', 'f', 'x') AND k.conislocal AND k.conparentid = 0
        -- The definition shall be made once for each.
        OFFSET 0
    ) k
    LEFT JOIN pg_catalog.pg_index x ON x.indexrelid = k.own_index
    LEFT JOIN pg_catalog.pg_class i ON i.oid = k.own_index
)
