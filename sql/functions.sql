-- What a DBA calls, and the triggers.

CREATE FUNCTION register(schema bytea, platform text DEFAULT NULL, tenant_id text DEFAULT NULL, force boolean DEFAULT false,
                         allow text[] DEFAULT '{}') RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'stonescriptdb_register';
COMMENT ON FUNCTION register(bytea, text, text, boolean, text[]) IS
    'creates the database of a platform''s tenant if it is not there, and brings it to the state of a bundle (a tar.gz). Commits by itself, whatever the calling transaction does later';

CREATE FUNCTION migrate(schema bytea, platform text DEFAULT NULL, tenant_id text DEFAULT NULL, force boolean DEFAULT false,
                        allow text[] DEFAULT '{}', dry_run boolean DEFAULT false, verify boolean DEFAULT false,
                        seeders text DEFAULT 'check', plan text DEFAULT NULL,
                        full_verify boolean DEFAULT false) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'stonescriptdb_migrate';
COMMENT ON FUNCTION migrate(bytea, text, text, boolean, text[], boolean, boolean, text, text, boolean) IS
    'brings the databases of a platform (or of one tenant) to the state of a bundle. Commits by itself, whatever the calling transaction does later. verify looks into databases that seem to be up to date, and compares those of which any row of the catalog has changed; full_verify compares all; seeders => ''insert_missing'' inserts rows that seeders make and that are missing; plan is the fingerprint of the only plan that may run';

CREATE FUNCTION plan(schema bytea, platform text DEFAULT NULL, tenant_id text DEFAULT 'main')
    RETURNS TABLE (seq integer, object text, class text, hazards text[], sql text, transactional boolean, lock_timeout interval,
                   statement_timeout interval)
    LANGUAGE sql VOLATILE SET search_path = stonescriptdb, pg_catalog, pg_temp
    AS $$
    SELECT s.seq, s.object, s.class, s.hazards, s.sql, s.transactional, s.lock_timeout * interval '1 ms', s.statement_timeout * interval '1 ms'
    FROM pg_catalog.jsonb_to_recordset(stonescriptdb.migrate($1, $2, $3, dry_run => true) -> 'plan')
         AS s(seq integer, object text, class text, hazards text[], sql text, transactional boolean, lock_timeout integer,
              statement_timeout integer) $$;
COMMENT ON FUNCTION plan(bytea, text, text) IS
    'the statements that migrate would run in the database of one tenant, in order; statement_timeout zero is no limit';

CREATE FUNCTION check_list(platform text DEFAULT NULL, tenant_id text DEFAULT NULL, schema_name text DEFAULT NULL) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'stonescriptdb_check';
COMMENT ON FUNCTION check_list(text, text, text) IS 'the rows of check and of the view drift as JSON';

CREATE FUNCTION "check"(platform text, tenant_id text DEFAULT 'main', schema_name text DEFAULT NULL)
    RETURNS TABLE (kind text, object text, deviation text, detail text)
    LANGUAGE sql VOLATILE SET search_path = stonescriptdb, pg_catalog, pg_temp
    AS $$ SELECT d.kind, d.object, d.deviation, d.detail
          FROM pg_catalog.jsonb_to_recordset(stonescriptdb.check_list($1, coalesce($2, 'main'), $3))
               AS d(kind text, object text, deviation text, detail text) $$;
COMMENT ON FUNCTION "check"(text, text, text) IS
    'how a tenant''s database differs from its bundle, object by object: missing, changed, extra, or of another owner';

CREATE FUNCTION call(platform text, function text, params jsonb DEFAULT '[]', tenant_id text DEFAULT NULL,
                     schema_name text DEFAULT NULL) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'stonescriptdb_call';
COMMENT ON FUNCTION call(text, text, jsonb, text, text) IS
    'calls a deployed function of a tenant as the platform''s call role, in a transaction of its own; gives rows, row_count and execution_time_ms';

CREATE FUNCTION call_rows(platform text, function text, params jsonb DEFAULT '[]', tenant_id text DEFAULT NULL,
                          schema_name text DEFAULT NULL) RETURNS SETOF jsonb
    LANGUAGE sql VOLATILE SET search_path = stonescriptdb, pg_catalog, pg_temp
    AS $$ SELECT row FROM pg_catalog.jsonb_array_elements(stonescriptdb.call($1, $2, $3, $4, $5) -> 'rows') AS row $$;
COMMENT ON FUNCTION call_rows(text, text, jsonb, text, text) IS 'as call, one row of the result a row';

CREATE FUNCTION call_batch(platform text, calls jsonb, tenant_id text DEFAULT NULL, schema_name text DEFAULT NULL) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'stonescriptdb_call_batch';
COMMENT ON FUNCTION call_batch(text, jsonb, text, text) IS
    'calls functions of a tenant in order, all in one transaction of its own, all or none: calls is an array of {"function", "params"}; gives results and execution_time_ms';

CREATE FUNCTION create_tenant(platform text, tenant_id text) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'stonescriptdb_create_tenant';
COMMENT ON FUNCTION create_tenant(text, text) IS 'creates a tenant''s database from the newest bundle of its platform';

CREATE FUNCTION drop_tenant(platform text, tenant_id text, confirm text, schema_name text DEFAULT NULL) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'stonescriptdb_drop_tenant';
COMMENT ON FUNCTION drop_tenant(text, text, text, text) IS
    'drops a tenant''s database and all its data; confirm is the database''s name, typed again';

CREATE FUNCTION health() RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'stonescriptdb_health';
COMMENT ON FUNCTION health() IS 'state of the server worker, as GET /health answers';

CREATE FUNCTION worker_list() RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'stonescriptdb_workers';
COMMENT ON FUNCTION worker_list() IS 'the rows of the view workers as JSON';

CREATE FUNCTION registry_changed() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'stonescriptdb_registry_changed';
COMMENT ON FUNCTION registry_changed() IS 'has the server worker read the registry again after the commit';

CREATE TRIGGER registry_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON platform
    FOR EACH STATEMENT EXECUTE FUNCTION registry_changed();
-- Not for what deployments note about databases at each step: the server worker does not look at it.
CREATE TRIGGER registry_changed AFTER INSERT OR UPDATE OF name, platform, schema_name, tenant_id, tenant_key, datid, state, suspended
    OR DELETE OR TRUNCATE ON database FOR EACH STATEMENT EXECUTE FUNCTION registry_changed();
CREATE TRIGGER registry_changed AFTER INSERT OR UPDATE OF platform, hash, scopes, for_tenant, database, expires_at, revoked_at
    OR DELETE OR TRUNCATE ON token FOR EACH STATEMENT EXECUTE FUNCTION registry_changed();
