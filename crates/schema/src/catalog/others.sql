-- What is known by name only. Objects of the system's own have lower numbers.
, candidate (class, oid) AS (
    SELECT 'pg_catalog.pg_operator'::pg_catalog.regclass::pg_catalog.oid, o.oid FROM pg_catalog.pg_operator o WHERE o.oid >= 16384
    UNION ALL SELECT 'pg_catalog.pg_opclass'::pg_catalog.regclass, o.oid FROM pg_catalog.pg_opclass o WHERE o.oid >= 16384
    UNION ALL SELECT 'pg_catalog.pg_opfamily'::pg_catalog.regclass, o.oid FROM pg_catalog.pg_opfamily o WHERE o.oid >= 16384
    UNION ALL SELECT 'pg_catalog.pg_cast'::pg_catalog.regclass, o.oid FROM pg_catalog.pg_cast o WHERE o.oid >= 16384
    UNION ALL SELECT 'pg_catalog.pg_collation'::pg_catalog.regclass, o.oid FROM pg_catalog.pg_collation o
        JOIN space s ON s.oid = o.collnamespace WHERE o.oid >= 16384
    UNION ALL SELECT 'pg_catalog.pg_conversion'::pg_catalog.regclass, o.oid FROM pg_catalog.pg_conversion o WHERE o.oid >= 16384
    UNION ALL SELECT 'pg_catalog.pg_ts_config'::pg_catalog.regclass, o.oid FROM pg_catalog.pg_ts_config o WHERE o.oid >= 16384
    UNION ALL SELECT 'pg_catalog.pg_ts_dict'::pg_catalog.regclass, o.oid FROM pg_catalog.pg_ts_dict o WHERE o.oid >= 16384
    UNION ALL SELECT 'pg_catalog.pg_ts_parser'::pg_catalog.regclass, o.oid FROM pg_catalog.pg_ts_parser o WHERE o.oid >= 16384
    UNION ALL SELECT 'pg_catalog.pg_ts_template'::pg_catalog.regclass, o.oid FROM pg_catalog.pg_ts_template o WHERE o.oid >= 16384
    UNION ALL SELECT 'pg_catalog.pg_foreign_data_wrapper'::pg_catalog.regclass, o.oid
        FROM pg_catalog.pg_foreign_data_wrapper o WHERE o.oid >= 16384
    UNION ALL SELECT 'pg_catalog.pg_foreign_server'::pg_catalog.regclass, o.oid
        FROM pg_catalog.pg_foreign_server o WHERE o.oid >= 16384
    -- pg_user_mapping itself is not for everybody to read.
    UNION ALL SELECT 'pg_catalog.pg_user_mapping'::pg_catalog.regclass, o.umid FROM pg_catalog.pg_user_mappings o
    UNION ALL SELECT 'pg_catalog.pg_class'::pg_catalog.regclass, o.oid FROM relation o WHERE o.relkind = 'f'
    UNION ALL SELECT 'pg_catalog.pg_event_trigger'::pg_catalog.regclass, o.oid
        FROM pg_catalog.pg_event_trigger o WHERE o.oid >= 16384
    UNION ALL SELECT 'pg_catalog.pg_publication'::pg_catalog.regclass, o.oid FROM pg_catalog.pg_publication o WHERE o.oid >= 16384
    UNION ALL SELECT 'pg_catalog.pg_language'::pg_catalog.regclass, o.oid FROM pg_catalog.pg_language o WHERE o.oid >= 16384
    UNION ALL SELECT 'pg_catalog.pg_transform'::pg_catalog.regclass, o.oid FROM pg_catalog.pg_transform o WHERE o.oid >= 16384
    UNION ALL SELECT 'pg_catalog.pg_am'::pg_catalog.regclass, o.oid FROM pg_catalog.pg_am o WHERE o.oid >= 16384
    -- Base types and shell types.
    UNION ALL SELECT 'pg_catalog.pg_type'::pg_catalog.regclass, o.oid FROM pg_catalog.pg_type o
        JOIN space s ON s.oid = o.typnamespace
        WHERE o.oid >= 16384 AND o.typtype IN ('b', 'p') AND NOT EXISTS (
            SELECT FROM pg_catalog.pg_type e WHERE e.oid = o.typelem AND e.typarray = o.oid)
), object (kind, schema, parent, name, arguments, body, acl, class, oid, attnum, bytes, volatile) AS (
    SELECT 'other', coalesce(i.schema, ''), '', i.identity, i.type,
        NULL::pg_catalog.json, NULL::pg_catalog.aclitem[], c.class, c.oid, 0, 0::bigint, false
    FROM candidate c
    CROSS JOIN LATERAL pg_catalog.pg_identify_object(c.class, c.oid, 0) i
    WHERE coalesce(i.schema, '') !~ '^pg_|^information_schema$' AND i.identity IS NOT NULL
      -- Neither an extension's, nor made by the system along with another: the cast of a range to its multirange, for example.
      AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_depend d WHERE d.classid = c.class AND d.objid = c.oid AND d.deptype IN ('e', 'i'))
)
