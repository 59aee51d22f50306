-- A stamp of the catalog: row versions (identity and xmin) of all that is not the system's own, added up so that their order does not
-- matter. In-place updates (VACUUM, ANALYZE) keep xmin. The rows of pg_class also change by what is no change of the schema (TRUNCATE,
-- VACUUM FULL, REFRESH MATERIALIZED VIEW), so of them it is what they say that counts.
WITH passing AS (
    SELECT n.oid FROM pg_catalog.pg_namespace n WHERE n.nspname ~ '^pg_(toast_)?temp_'
), passing_type AS (
    SELECT y.oid FROM pg_catalog.pg_type y WHERE y.typnamespace IN (SELECT t.oid FROM passing t)
), temporary AS (
    -- Temporary relations, and TOAST tables: these are made anew with their table's file.
    SELECT c.oid FROM pg_catalog.pg_class c
    WHERE c.oid >= 16384 AND (c.relpersistence = 't' OR c.relnamespace = 'pg_toast'::pg_catalog.regnamespace)
), part (label, count, sum) AS (
    SELECT 'pg_class', pg_catalog.count(*), pg_catalog.sum(pg_catalog.hash_record_extended(ROW(r.oid, r.relname, r.relnamespace,
        r.reloftype, r.relowner, r.relam, r.relpersistence, r.relkind, r.relrowsecurity, r.relforcerowsecurity, r.relispopulated,
        r.relreplident, r.relispartition, r.relpartbound::pg_catalog.text, r.relacl, r.reloptions), 0))
    FROM pg_catalog.pg_class r
    WHERE r.oid >= 16384 AND r.oid NOT IN (SELECT t.oid FROM temporary t)
    -- ALTER TABLE ... SET (toast....): a TOAST table is named after its table's number.
    UNION ALL SELECT 'toast', pg_catalog.count(*), pg_catalog.sum(pg_catalog.hash_record_extended(ROW(r.relname, r.reloptions), 0))
    FROM pg_catalog.pg_class r
    WHERE r.oid >= 16384 AND r.relkind = 't' AND r.relpersistence <> 't' AND r.reloptions IS NOT NULL
    -- Membership of extensions, which no other row says.
    UNION ALL SELECT 'member', pg_catalog.count(*),
        pg_catalog.sum(pg_catalog.hash_record_extended(ROW(r.classid, r.objid, r.refobjid, r.deptype), 0))
    FROM pg_catalog.pg_depend r
    WHERE r.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass
    -- pg_user_mapping is not for everybody to read.
    UNION ALL SELECT 'pg_user_mappings', pg_catalog.count(*),
        pg_catalog.sum(pg_catalog.hash_record_extended(ROW(r.umid, r.srvid, r.usename), 0))
    FROM pg_catalog.pg_user_mappings r
    UNION ALL SELECT 'pg_attribute', pg_catalog.count(*),
        pg_catalog.sum(pg_catalog.hash_record_extended(ROW(r.attrelid, r.attnum, r.xmin), 0))
    FROM pg_catalog.pg_attribute r
    WHERE r.attrelid >= 16384 AND r.attnum > 0 AND r.attrelid NOT IN (SELECT t.oid FROM temporary t)
    UNION ALL SELECT 'pg_attrdef', pg_catalog.count(*), pg_catalog.sum(pg_catalog.hash_record_extended(ROW(r.oid, r.xmin), 0))
    FROM pg_catalog.pg_attrdef r
    WHERE r.adrelid NOT IN (SELECT t.oid FROM temporary t)
    UNION ALL SELECT 'pg_constraint', pg_catalog.count(*), pg_catalog.sum(pg_catalog.hash_record_extended(ROW(r.oid, r.xmin), 0))
    FROM pg_catalog.pg_constraint r
    WHERE r.oid >= 16384 AND r.connamespace NOT IN (SELECT t.oid FROM passing t)
    UNION ALL SELECT 'pg_index', pg_catalog.count(*), pg_catalog.sum(pg_catalog.hash_record_extended(ROW(r.indexrelid, r.xmin), 0))
    FROM pg_catalog.pg_index r
    WHERE r.indexrelid >= 16384 AND r.indrelid NOT IN (SELECT t.oid FROM temporary t)
    UNION ALL SELECT 'pg_inherits', pg_catalog.count(*),
        pg_catalog.sum(pg_catalog.hash_record_extended(ROW(r.inhrelid, r.inhseqno, r.xmin), 0))
    FROM pg_catalog.pg_inherits r
    WHERE r.inhrelid NOT IN (SELECT t.oid FROM temporary t)
    UNION ALL SELECT 'pg_sequence', pg_catalog.count(*), pg_catalog.sum(pg_catalog.hash_record_extended(ROW(r.seqrelid, r.xmin), 0))
    FROM pg_catalog.pg_sequence r
    WHERE r.seqrelid NOT IN (SELECT t.oid FROM temporary t)
    UNION ALL SELECT 'pg_trigger', pg_catalog.count(*), pg_catalog.sum(pg_catalog.hash_record_extended(ROW(r.oid, r.xmin), 0))
    FROM pg_catalog.pg_trigger r
    WHERE r.tgrelid NOT IN (SELECT t.oid FROM temporary t)
    UNION ALL SELECT 'pg_rewrite', pg_catalog.count(*), pg_catalog.sum(pg_catalog.hash_record_extended(ROW(r.oid, r.xmin), 0))
    FROM pg_catalog.pg_rewrite r
    WHERE r.oid >= 16384 AND r.ev_class NOT IN (SELECT t.oid FROM temporary t)
    UNION ALL SELECT 'pg_policy', pg_catalog.count(*), pg_catalog.sum(pg_catalog.hash_record_extended(ROW(r.oid, r.xmin), 0))
    FROM pg_catalog.pg_policy r
    UNION ALL SELECT 'pg_statistic_ext', pg_catalog.count(*), pg_catalog.sum(pg_catalog.hash_record_extended(ROW(r.oid, r.xmin), 0))
    FROM pg_catalog.pg_statistic_ext r
    UNION ALL SELECT 'pg_proc', pg_catalog.count(*), pg_catalog.sum(pg_catalog.hash_record_extended(ROW(r.oid, r.xmin), 0))
    FROM pg_catalog.pg_proc r
    WHERE r.oid >= 16384 AND r.pronamespace NOT IN (SELECT t.oid FROM passing t)
    UNION ALL SELECT 'pg_aggregate', pg_catalog.count(*),
        pg_catalog.sum(pg_catalog.hash_record_extended(ROW(r.aggfnoid, r.xmin), 0))
    FROM pg_catalog.pg_aggregate r
    WHERE r.aggfnoid >= 16384::pg_catalog.oid
    UNION ALL SELECT 'pg_type', pg_catalog.count(*), pg_catalog.sum(pg_catalog.hash_record_extended(ROW(r.oid, r.xmin), 0))
    FROM pg_catalog.pg_type r
    WHERE r.oid >= 16384 AND r.typnamespace NOT IN (SELECT t.oid FROM passing t)
    UNION ALL SELECT 'pg_enum', pg_catalog.count(*), pg_catalog.sum(pg_catalog.hash_record_extended(ROW(r.oid, r.xmin), 0))
    FROM pg_catalog.pg_enum r
    WHERE r.oid >= 16384 AND r.enumtypid NOT IN (SELECT t.oid FROM passing_type t)
    UNION ALL SELECT 'pg_range', pg_catalog.count(*), pg_catalog.sum(pg_catalog.hash_record_extended(ROW(r.rngtypid, r.xmin), 0))
    FROM pg_catalog.pg_range r
    WHERE r.rngtypid >= 16384 AND r.rngtypid NOT IN (SELECT t.oid FROM passing_type t)
    UNION ALL SELECT 'pg_description', pg_catalog.count(*),
        pg_catalog.sum(pg_catalog.hash_record_extended(ROW(r.objoid, r.classoid, r.objsubid, r.xmin), 0))
    FROM pg_catalog.pg_description r
    WHERE r.objoid >= 16384 OR r.classoid = 'pg_catalog.pg_namespace'::pg_catalog.regclass
    UNION ALL SELECT 'pg_namespace', pg_catalog.count(*), pg_catalog.sum(pg_catalog.hash_record_extended(ROW(r.oid, r.xmin), 0))
    FROM pg_catalog.pg_namespace r
    WHERE r.nspname !~ '^pg_(toast_)?temp_'
    UNION ALL SELECT 'pg_default_acl', pg_catalog.count(*), pg_catalog.sum(pg_catalog.hash_record_extended(ROW(r.oid, r.xmin), 0))
    FROM pg_catalog.pg_default_acl r
    UNION ALL SELECT 'pg_extension', pg_catalog.count(*), pg_catalog.sum(pg_catalog.hash_record_extended(ROW(r.oid, r.xmin), 0))
    FROM pg_catalog.pg_extension r
    UNION ALL SELECT 'pg_operator', pg_catalog.count(*), pg_catalog.sum(pg_catalog.hash_record_extended(ROW(r.oid, r.xmin), 0))
    FROM pg_catalog.pg_operator r
    WHERE r.oid >= 16384
    UNION ALL SELECT 'pg_opclass', pg_catalog.count(*), pg_catalog.sum(pg_catalog.hash_record_extended(ROW(r.oid, r.xmin), 0))
    FROM pg_catalog.pg_opclass r
    WHERE r.oid >= 16384
    UNION ALL SELECT 'pg_opfamily', pg_catalog.count(*), pg_catalog.sum(pg_catalog.hash_record_extended(ROW(r.oid, r.xmin), 0))
    FROM pg_catalog.pg_opfamily r
    WHERE r.oid >= 16384
    UNION ALL SELECT 'pg_cast', pg_catalog.count(*), pg_catalog.sum(pg_catalog.hash_record_extended(ROW(r.oid, r.xmin), 0))
    FROM pg_catalog.pg_cast r
    WHERE r.oid >= 16384 AND r.castsource NOT IN (SELECT t.oid FROM passing_type t)
    UNION ALL SELECT 'pg_collation', pg_catalog.count(*), pg_catalog.sum(pg_catalog.hash_record_extended(ROW(r.oid, r.xmin), 0))
    FROM pg_catalog.pg_collation r
    WHERE r.oid >= 16384
    UNION ALL SELECT 'pg_conversion', pg_catalog.count(*), pg_catalog.sum(pg_catalog.hash_record_extended(ROW(r.oid, r.xmin), 0))
    FROM pg_catalog.pg_conversion r
    WHERE r.oid >= 16384
    UNION ALL SELECT 'pg_language', pg_catalog.count(*), pg_catalog.sum(pg_catalog.hash_record_extended(ROW(r.oid, r.xmin), 0))
    FROM pg_catalog.pg_language r
    WHERE r.oid >= 16384
    UNION ALL SELECT 'pg_transform', pg_catalog.count(*), pg_catalog.sum(pg_catalog.hash_record_extended(ROW(r.oid, r.xmin), 0))
    FROM pg_catalog.pg_transform r
    WHERE r.oid >= 16384
    UNION ALL SELECT 'pg_am', pg_catalog.count(*), pg_catalog.sum(pg_catalog.hash_record_extended(ROW(r.oid, r.xmin), 0))
    FROM pg_catalog.pg_am r
    WHERE r.oid >= 16384
    UNION ALL SELECT 'pg_ts_config', pg_catalog.count(*), pg_catalog.sum(pg_catalog.hash_record_extended(ROW(r.oid, r.xmin), 0))
    FROM pg_catalog.pg_ts_config r
    WHERE r.oid >= 16384
    UNION ALL SELECT 'pg_ts_dict', pg_catalog.count(*), pg_catalog.sum(pg_catalog.hash_record_extended(ROW(r.oid, r.xmin), 0))
    FROM pg_catalog.pg_ts_dict r
    WHERE r.oid >= 16384
    UNION ALL SELECT 'pg_ts_parser', pg_catalog.count(*), pg_catalog.sum(pg_catalog.hash_record_extended(ROW(r.oid, r.xmin), 0))
    FROM pg_catalog.pg_ts_parser r
    WHERE r.oid >= 16384
    UNION ALL SELECT 'pg_ts_template', pg_catalog.count(*), pg_catalog.sum(pg_catalog.hash_record_extended(ROW(r.oid, r.xmin), 0))
    FROM pg_catalog.pg_ts_template r
    WHERE r.oid >= 16384
    UNION ALL SELECT 'pg_foreign_data_wrapper', pg_catalog.count(*),
        pg_catalog.sum(pg_catalog.hash_record_extended(ROW(r.oid, r.xmin), 0))
    FROM pg_catalog.pg_foreign_data_wrapper r
    WHERE r.oid >= 16384
    UNION ALL SELECT 'pg_foreign_server', pg_catalog.count(*),
        pg_catalog.sum(pg_catalog.hash_record_extended(ROW(r.oid, r.xmin), 0))
    FROM pg_catalog.pg_foreign_server r
    WHERE r.oid >= 16384
    UNION ALL SELECT 'pg_event_trigger', pg_catalog.count(*), pg_catalog.sum(pg_catalog.hash_record_extended(ROW(r.oid, r.xmin), 0))
    FROM pg_catalog.pg_event_trigger r
    WHERE r.oid >= 16384
    UNION ALL SELECT 'pg_publication', pg_catalog.count(*), pg_catalog.sum(pg_catalog.hash_record_extended(ROW(r.oid, r.xmin), 0))
    FROM pg_catalog.pg_publication r
    WHERE r.oid >= 16384
)
SELECT pg_catalog.string_agg(pg_catalog.concat_ws(' ', p.label, p.count, p.sum), E'\n' ORDER BY p.label)
FROM part p
