-- What major versions of PostgreSQL write in different ways, beside atomic/regression/views.sql.
CREATE VIEW x_single AS SELECT onek.unique1, onek.two FROM onek WHERE onek.four = 1 ORDER BY onek.ten;
CREATE VIEW x_sub AS SELECT a, (SELECT max(o.two) FROM onek o WHERE o.four = ticked.a) AS m FROM ticked WHERE ticked.a IN (SELECT onek2.two FROM onek2);
CREATE VIEW x_tz AS SELECT at AT TIME ZONE 'UTC' AS a, extract(epoch FROM at) AS e, date_trunc('day', at) AS d, id FROM audit_log;
CREATE VIEW x_group AS SELECT day, count(*) AS n, sum(n) FILTER (WHERE n > 1) FROM audit_log GROUP BY day HAVING count(*) > 1;
CREATE VIEW x_user AS SELECT current_user AS u, current_date AS d, current_timestamp(0) AS t, current_schema AS s, session_user;
CREATE VIEW x_json AS SELECT j -> 'a' AS a, j #>> '{a,b}' AS b, jsonb_agg(x) OVER () AS c FROM jsons;
CREATE VIEW x_xml AS SELECT xmlserialize(CONTENT xmlelement(name a, two) AS text) AS t FROM onek;
CREATE VIEW x_rule AS SELECT a FROM ticked;
CREATE RULE x_rule_ins AS ON INSERT TO x_rule DO INSTEAD INSERT INTO ticked (a) SELECT NEW.a WHERE EXISTS (SELECT 1 FROM onek WHERE onek.two = NEW.a) RETURNING ticked.a;
CREATE RULE x_rule_upd AS ON UPDATE TO x_rule DO INSTEAD UPDATE ticked SET a = NEW.a FROM onek o WHERE o.two = OLD.a AND ticked.a = OLD.a;
CREATE VIEW x_union AS SELECT ticked.a FROM ticked UNION SELECT granted.a FROM granted ORDER BY 1;
CREATE VIEW x_fk AS SELECT audit_log.id FROM audit_log JOIN audit_ref ON audit_ref.id = audit_log.id LEFT JOIN strict_tbl s ON s.c = audit_log.id::int;
CREATE VIEW x_pk AS SELECT id, day, who FROM audit_log GROUP BY id, day;
CREATE MATERIALIZED VIEW x_mat AS SELECT onek.two, count(*) AS n FROM onek GROUP BY onek.two;
