-- What depends on what, by address. Who is meant by an address that is no object's own is found out by the reader: it follows
-- internal dependencies ('i') and membership ('e'). That a default depends on its column and a domain's constraint on the domain
-- automatically is the same to it. Left out are members' own dependencies, the triggers of foreign keys, and the constraints that the
-- server makes for partitions along with another.
WITH member AS (
    SELECT d.classid, d.objid
    FROM pg_catalog.pg_depend d
    WHERE d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND d.deptype = 'e'
)
SELECT '[' || coalesce(pg_catalog.string_agg(pg_catalog.concat(
    '[', d.classid, ',', d.objid, ',', d.objsubid, ',', d.refclassid, ',', d.refobjid, ',', d.refobjsubid, ',"',
    CASE WHEN d.deptype = 'a' AND (d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass OR (
            d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass AND d.refclassid = 'pg_catalog.pg_type'::pg_catalog.regclass))
        THEN 'i' ELSE d.deptype END,
    '"]'), ','), '') || ']'
FROM pg_catalog.pg_depend d
-- NOT IN is hashed whatever the planner expects: joined, each row had all constraints read.
WHERE (d.objid >= 16384
       AND NOT (d.classid = 'pg_catalog.pg_trigger'::pg_catalog.regclass AND d.deptype = 'i')
       AND NOT (d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass
                AND d.objid IN (SELECT k.oid FROM pg_catalog.pg_constraint k WHERE k.conparentid <> 0))
       AND (d.classid, d.objid) NOT IN (SELECT m.classid, m.objid FROM member m))
   OR (d.deptype = 'e' AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass)
