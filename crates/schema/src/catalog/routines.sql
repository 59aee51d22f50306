-- Functions, procedures, aggregates.
, internal AS (
    -- The constructors of range types.
    SELECT d.objid
    FROM pg_catalog.pg_depend d
    WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.deptype = 'i'
), object (kind, schema, parent, name, arguments, body, acl, class, oid, attnum, bytes, volatile) AS (
    SELECT 'routine', s.nspname::pg_catalog.text, '', p.proname::pg_catalog.text, pg_catalog.oidvectortypes(p.proargtypes),
        pg_catalog.json_build_object(
            'kind', CASE p.prokind
                WHEN 'p' THEN 'procedure' WHEN 'a' THEN 'aggregate' WHEN 'w' THEN 'window' ELSE 'function' END,
            'definition', CASE WHEN p.prokind <> 'a' THEN pg_catalog.pg_get_functiondef(p.oid) ELSE a.definition END,
            'result', CASE WHEN p.prokind <> 'p' THEN pg_catalog.pg_get_function_result(p.oid)
                WHEN p.prorettype <> 'pg_catalog.void'::pg_catalog.regtype THEN pg_catalog.format_type(p.prorettype, NULL) END,
            'parameters', CASE WHEN p.pronargs = 0 AND p.proallargtypes IS NULL THEN '[]' ELSE coalesce((
                SELECT pg_catalog.json_agg(pg_catalog.concat_ws(' ',
                    CASE p.proargmodes[x.n]
                        WHEN 'o' THEN 'OUT' WHEN 'b' THEN 'INOUT' WHEN 'v' THEN 'VARIADIC' WHEN 't' THEN 'TABLE' ELSE 'IN' END,
                    pg_catalog.quote_ident(coalesce(p.proargnames[x.n], '')),
                    pg_catalog.format_type(x.type, NULL)
                ) ORDER BY x.n)
                FROM pg_catalog.unnest(coalesce(p.proallargtypes, p.proargtypes::pg_catalog.oid[])) WITH ORDINALITY x (type, n)
            ), '[]') END,
            'defaults', p.pronargdefaults,
            'aggregated', CASE WHEN p.prokind = 'a' THEN pg_catalog.json_build_object(
                'arguments', coalesce(nullif(pg_catalog.pg_get_function_identity_arguments(p.oid), ''), '*')) END),
        coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner)),
        'pg_catalog.pg_proc'::pg_catalog.regclass::pg_catalog.oid, p.oid, 0, 0::bigint, false
    FROM pg_catalog.pg_proc p
    JOIN space s ON s.oid = p.pronamespace
    LEFT JOIN LATERAL (
        -- As pg_dump writes it. Names of functions are qualified wherever they need be by their type's output.
        SELECT pg_catalog.format(E'CREATE AGGREGATE %I.%I(%s) (\n    %s\n)', s.nspname, p.proname,
            coalesce(nullif(pg_catalog.pg_get_function_arguments(p.oid), ''), '*'),
            pg_catalog.concat_ws(E',\n    ',
                'SFUNC = ' || g.aggtransfn,
                'STYPE = ' || pg_catalog.format_type(g.aggtranstype, NULL),
                'SSPACE = ' || nullif(g.aggtransspace, 0),
                'INITCOND = ' || pg_catalog.quote_literal(g.agginitval),
                'FINALFUNC = ' || nullif(g.aggfinalfn::pg_catalog.oid, 0)::pg_catalog.regproc,
                CASE WHEN g.aggfinalextra THEN 'FINALFUNC_EXTRA' END,
                'FINALFUNC_MODIFY = ' || CASE WHEN g.aggfinalmodify <> CASE g.aggkind WHEN 'n' THEN 'r' ELSE 'w' END THEN
                    CASE g.aggfinalmodify WHEN 'r' THEN 'READ_ONLY' WHEN 's' THEN 'SHAREABLE' ELSE 'READ_WRITE' END END,
                'COMBINEFUNC = ' || nullif(g.aggcombinefn::pg_catalog.oid, 0)::pg_catalog.regproc,
                'SERIALFUNC = ' || nullif(g.aggserialfn::pg_catalog.oid, 0)::pg_catalog.regproc,
                'DESERIALFUNC = ' || nullif(g.aggdeserialfn::pg_catalog.oid, 0)::pg_catalog.regproc,
                'MSFUNC = ' || nullif(g.aggmtransfn::pg_catalog.oid, 0)::pg_catalog.regproc,
                'MINVFUNC = ' || nullif(g.aggminvtransfn::pg_catalog.oid, 0)::pg_catalog.regproc,
                'MSTYPE = ' || CASE WHEN g.aggmtranstype <> 0 THEN pg_catalog.format_type(g.aggmtranstype, NULL) END,
                'MSSPACE = ' || nullif(g.aggmtransspace, 0),
                'MINITCOND = ' || pg_catalog.quote_literal(g.aggminitval),
                'MFINALFUNC = ' || nullif(g.aggmfinalfn::pg_catalog.oid, 0)::pg_catalog.regproc,
                CASE WHEN g.aggmfinalextra THEN 'MFINALFUNC_EXTRA' END,
                'MFINALFUNC_MODIFY = ' || CASE WHEN g.aggmfinalmodify <> CASE g.aggkind WHEN 'n' THEN 'r' ELSE 'w' END THEN
                    CASE g.aggmfinalmodify WHEN 'r' THEN 'READ_ONLY' WHEN 's' THEN 'SHAREABLE' ELSE 'READ_WRITE' END END,
                (SELECT pg_catalog.format('SORTOP = OPERATOR(%I.%s)', n.nspname, o.oprname)
                    FROM pg_catalog.pg_operator o JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace
                    WHERE o.oid = g.aggsortop),
                CASE WHEN g.aggkind = 'h' THEN 'HYPOTHETICAL' END,
                'PARALLEL = ' || CASE p.proparallel WHEN 's' THEN 'SAFE' WHEN 'r' THEN 'RESTRICTED' END)) AS definition
        FROM pg_catalog.pg_aggregate g
        WHERE p.prokind = 'a' AND g.aggfnoid = p.oid
    ) a ON true
    WHERE p.oid NOT IN (SELECT m.objid FROM member m WHERE m.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass)
      AND NOT EXISTS (SELECT FROM internal i WHERE i.objid = p.oid)
)
