-- Views and rules in the manner of create_view.sql, rules.sql, matview.sql, updatable_views.sql, with.sql, window.sql, groupingsets.sql.
CREATE VIEW iexit AS SELECT ih.name, ih.thepath, ih.thepath <-> r.thepath AS exit FROM ihighway ih, road r WHERE ih.thepath ?# r.thepath;
CREATE VIEW toyemp AS SELECT name, age, location, 12 * salary AS annualsal FROM emp;
CREATE VIEW street AS SELECT r.name, r.thepath, c.cname AS cname FROM ONLY road r, real_city c WHERE c.outline ?# r.thepath;
CREATE VIEW shoe AS SELECT sh.shoename, sh.sh_avail, sh.slcolor, sh.slminlen, sh.slminlen * un.un_fact AS slminlen_cm, sh.slmaxlen, sh.slunit FROM shoe_data sh, unit un WHERE sh.slunit = un.un_name;
CREATE VIEW shoelace AS SELECT s.sl_name, s.sl_avail, s.sl_color, s.sl_len, s.sl_unit, s.sl_len * u.un_fact AS sl_len_cm FROM shoelace_data s, unit u WHERE s.sl_unit = u.un_name;
CREATE VIEW shoe_ready AS SELECT rsh.shoename, rsh.sh_avail, rsl.sl_name, rsl.sl_avail, int4smaller(rsh.sh_avail, rsl.sl_avail) AS total_avail
    FROM shoe rsh, shoelace rsl WHERE rsl.sl_color = rsh.slcolor AND rsl.sl_len_cm >= rsh.slminlen_cm;
CREATE VIEW shoelace_obsolete AS SELECT * FROM shoelace WHERE NOT EXISTS (SELECT shoename FROM shoe WHERE slcolor = sl_color);
CREATE RULE shoelace_upd AS ON UPDATE TO shoelace DO INSTEAD UPDATE shoelace_data SET sl_name = NEW.sl_name, sl_avail = NEW.sl_avail WHERE sl_name = OLD.sl_name;
CREATE RULE shoelace_del AS ON DELETE TO shoelace DO INSTEAD DELETE FROM shoelace_data WHERE sl_name = OLD.sl_name;
CREATE RULE log_shoelace AS ON UPDATE TO shoelace_data WHERE NEW.sl_avail != OLD.sl_avail
    DO INSERT INTO shoelace_log VALUES (NEW.sl_name, NEW.sl_avail, 'Al Bundy', 'epoch');
CREATE VIEW rtest_v1 AS SELECT * FROM rtest_t1;
CREATE RULE rtest_v1_ins AS ON INSERT TO rtest_v1 DO INSTEAD INSERT INTO rtest_t1 VALUES (NEW.a, NEW.b) RETURNING a, b;
CREATE RULE rtest_v1_upd AS ON UPDATE TO rtest_v1 DO INSTEAD (UPDATE rtest_t1 SET a = NEW.a, b = NEW.b WHERE a = OLD.a; NOTIFY rtest);
CREATE RULE rtest_nothing AS ON DELETE TO rtest_v1 WHERE OLD.a IN (1, 2) DO INSTEAD NOTHING;
CREATE RULE rtest_del AS ON DELETE TO rtest_v1 DO INSTEAD DELETE FROM rtest_t1 WHERE a = OLD.a;
CREATE RULE rtest_emp_ins AS ON INSERT TO rtest_emp DO INSERT INTO rtest_emplog VALUES (NEW.ename, current_user, 'hired', NEW.salary, '0.00');
CREATE RULE rtest_conflict AS ON INSERT TO rtest_t2 DO ALSO INSERT INTO users VALUES (NEW.a, NEW.b) ON CONFLICT (tid, id) DO UPDATE SET id = excluded.id + 1 WHERE users.id > 0;
ALTER TABLE rtest_emp DISABLE RULE rtest_emp_ins;
CREATE VIEW v_cte AS WITH RECURSIVE t(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM t WHERE n < 100) SELECT sum(n) AS total FROM t;
CREATE VIEW v_cte2 AS WITH a AS MATERIALIZED (SELECT 1 AS x), b AS NOT MATERIALIZED (SELECT x + 1 AS y FROM a) SELECT * FROM a CROSS JOIN b;
CREATE VIEW v_search AS WITH RECURSIVE s(id, parent) AS (SELECT id, parent FROM self_ref WHERE parent IS NULL UNION ALL SELECT c.id, c.parent FROM self_ref c JOIN s ON c.parent = s.id)
    SEARCH DEPTH FIRST BY id SET seq CYCLE id SET is_cycle USING path SELECT id, parent, is_cycle FROM s;
CREATE VIEW v_window AS SELECT unique1, sum(four) OVER w AS s, rank() OVER (PARTITION BY ten ORDER BY two DESC NULLS LAST), lag(odd, 2, 0) OVER (w ROWS BETWEEN 1 PRECEDING AND CURRENT ROW EXCLUDE TIES) AS l
    FROM tenk1 WINDOW w AS (PARTITION BY four ORDER BY ten);
CREATE VIEW v_grouping AS SELECT two, four, grouping(two, four) AS g, count(*) FILTER (WHERE odd > 1) AS c, string_agg(DISTINCT string4::text, ',' ORDER BY string4::text) AS l
    FROM onek GROUP BY GROUPING SETS ((two, four), ROLLUP (two), CUBE (four), ()) HAVING count(*) > 1;
CREATE VIEW v_ordered AS SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY unique1) AS median, mode() WITHIN GROUP (ORDER BY two) AS m, newavg(four) AS a FROM onek;
CREATE VIEW v_join AS SELECT * FROM int4_tbl a LEFT JOIN int8_tbl b ON a.f1 = b.q1 FULL JOIN int2_tbl c USING (f1) NATURAL JOIN text_tbl_2;
CREATE VIEW text_tbl_2 AS SELECT 1::smallint AS f1, 'x'::text AS other;
CREATE VIEW v_lateral AS SELECT o.unique1, l.s FROM onek o, LATERAL (SELECT sum(i.two) AS s FROM onek2 i WHERE i.four = o.four) l;
CREATE VIEW v_sets AS (SELECT f1 FROM int4_tbl EXCEPT SELECT 1) UNION ALL SELECT f1 FROM int2_tbl INTERSECT ALL SELECT 2 ORDER BY 1 LIMIT 10 OFFSET 2;
CREATE VIEW v_distinct AS SELECT DISTINCT ON (two, four) two, four, ten FROM onek ORDER BY two, four DESC, ten FETCH FIRST 5 ROWS WITH TIES;
CREATE VIEW v_values AS VALUES (1, 'a'), (2, 'b'), (3, NULL);
CREATE VIEW v_functions AS SELECT * FROM ROWS FROM (generate_series(1, 3), unnest(ARRAY['a', 'b'])) WITH ORDINALITY AS t(a, b, c), jsonb_to_recordset('[{"x": 1}]') AS j(x int, y text);
CREATE VIEW v_case AS SELECT CASE WHEN two = 1 THEN 'one' WHEN two IN (2, 3) THEN 'more' ELSE NULL END AS k, coalesce(four, 0), nullif(ten, 1), greatest(two, four, 3), two IS DISTINCT FROM four AS d,
    (two, four) < (1, 2) AS r, ARRAY[two, four] AS a, ARRAY(SELECT f1 FROM int4_tbl) AS b, EXISTS (SELECT 1) AS e, two = ANY (SELECT f1 FROM int4_tbl) AS n FROM onek;
CREATE VIEW v_types AS SELECT a, (b).r, (c[1]).c1.i AS ci, d || 'x' AS d, e, f + 1 AS f, i * '[1,2]'::float8range AS i, m::rainbow = 'red' AS m, m::rainbow IN ('red', 'blue') AS mm FROM typed_tbl;
CREATE VIEW v_time AS SELECT extract(year FROM now()) AS y, now() AT TIME ZONE 'UTC' AS u, CURRENT_DATE - date '2020-01-01' AS d, interval '1 day' AS i, (now(), interval '1 day') OVERLAPS (now(), now()) AS o, LOCALTIMESTAMP(2) AS l;
CREATE VIEW v_text AS SELECT f1 COLLATE "C" AS c, f1 LIKE 'a%' ESCAPE '!' AS l, f1 SIMILAR TO '_b' AS s, substring(f1 FROM 2 FOR 3) AS x, trim(LEADING 'x' FROM f1) AS t, overlay(f1 PLACING 'y' FROM 1) AS o, f1 IS NORMALIZED AS n FROM text_tbl ORDER BY f1 COLLATE "POSIX" USING >;
CREATE VIEW v_xml AS SELECT xmlelement(name foo, xmlattributes(1 AS a), xmlforest(2 AS b)) AS e, xmlparse(document '<a/>') AS p, xmlroot('<a/>', version '1.0', standalone yes) AS r, xmlexists('//a' PASSING BY VALUE ('<a/>'::xml)) AS x;
CREATE VIEW v_xmltable AS SELECT * FROM XMLTABLE('/r' PASSING ('<r a="1"/>'::xml) COLUMNS a int PATH '@a' NOT NULL, o FOR ORDINALITY, d text DEFAULT 'x');
CREATE VIEW v_system AS SELECT ctid, tableoid::regclass AS t, xmin FROM onek TABLESAMPLE BERNOULLI (50) REPEATABLE (1);
CREATE VIEW v_whole AS SELECT o, o::onek = o AS same, (o).unique1 AS u FROM onek o;
CREATE VIEW "V Quoted" ("A", "select") AS SELECT "Column", "select" FROM "Quoted ""Table""" AS "T T";
CREATE VIEW v_rename (x, y) AS SELECT j.a, j.b FROM (rtest_t1 JOIN rtest_t2 USING (a, b)) AS j;
CREATE VIEW v_using AS SELECT j.a FROM rtest_t1 JOIN rtest_t2 USING (a) AS j;
CREATE VIEW v_barrier WITH (security_barrier) AS SELECT * FROM document WHERE dlevel < 3 WITH LOCAL CHECK OPTION;
CREATE VIEW v_invoker WITH (security_invoker = true, check_option = cascaded) AS SELECT did, dtitle FROM document WHERE cid IN (1, 2);
ALTER VIEW v_invoker ALTER COLUMN dtitle SET DEFAULT 'none';
CREATE RECURSIVE VIEW nums (n) AS VALUES (1) UNION ALL SELECT n + 1 FROM nums WHERE n < 5;
CREATE MATERIALIZED VIEW mvtest AS SELECT two, sum(four) AS total FROM onek GROUP BY two WITH NO DATA;
CREATE MATERIALIZED VIEW mvtest2 (a, b) WITH (fillfactor = 70) AS SELECT total, two FROM mvtest WHERE two IN (1, 2) WITH NO DATA;
CREATE UNIQUE INDEX mvtest_two ON mvtest (two);
CREATE VIEW mvview AS SELECT * FROM mvtest2;
COMMENT ON VIEW toyemp IS 'toys';
COMMENT ON COLUMN toyemp.age IS 'years';
COMMENT ON MATERIALIZED VIEW mvtest IS 'stored';
COMMENT ON RULE log_shoelace ON shoelace_data IS 'a log';
GRANT SELECT ON v_values TO PUBLIC;
