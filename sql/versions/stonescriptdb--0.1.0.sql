-- stonescriptdb 0.1.0, as it was. Frozen: the update scripts beside this folder start from it (tests/tests/upgrade).

-- What CREATE EXTENSION stonescriptdb installs. Run by PostgreSQL with the schema stonescriptdb first in the search path.

DO $$
BEGIN
    IF pg_catalog.current_setting('stonescriptdb.database', true) IS NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = 'stonescriptdb is not loaded',
            HINT = 'Add this line to postgresql.conf and restart the server: shared_preload_libraries = ''stonescriptdb''';
    END IF;
    IF pg_catalog.current_database() <> pg_catalog.current_setting('stonescriptdb.database') THEN
        RAISE EXCEPTION USING
            ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = pg_catalog.format('stonescriptdb is created in the control database "%s", not in "%s"',
                                        pg_catalog.current_setting('stonescriptdb.database'), pg_catalog.current_database()),
            HINT = 'Connect to that database, or set stonescriptdb.database in postgresql.conf and restart the server.';
    END IF;
    -- Roles are the whole server's and outlive the extension: its databases belong to them.
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'stonescriptdb_admin') THEN
        CREATE ROLE stonescriptdb_admin NOLOGIN;
        COMMENT ON ROLE stonescriptdb_admin IS 'may use the SQL functions and views of stonescriptdb';
    END IF;
END
$$;

REVOKE ALL ON SCHEMA stonescriptdb FROM PUBLIC;
GRANT USAGE ON SCHEMA stonescriptdb TO stonescriptdb_admin;
COMMENT ON SCHEMA stonescriptdb IS 'stonescriptdb: the registry of platforms and tenants, and the functions to deploy and to call';

-- The registry --------------------------------------------------------------------------------------------------------------

CREATE TABLE platform (
    name text PRIMARY KEY,
    key text NOT NULL UNIQUE,
    owner_role name NOT NULL UNIQUE,
    call_role name NOT NULL UNIQUE,
    created_by uuid,
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE platform IS 'applications, each with its two roles';
COMMENT ON COLUMN platform.name IS 'as it was registered';
COMMENT ON COLUMN platform.key IS 'the name sanitised: lower-case ASCII letters, digits and underscores';
COMMENT ON COLUMN platform.owner_role IS 'owns the databases and their objects; deployments run as it';
COMMENT ON COLUMN platform.call_role IS 'calls run as it';
COMMENT ON COLUMN platform.created_by IS 'the deployment that registered it';

CREATE TABLE bundle (
    platform text NOT NULL REFERENCES platform ON UPDATE CASCADE ON DELETE CASCADE,
    sha256 text NOT NULL,
    archive bytea NOT NULL,
    manifest jsonb,
    uploaded_at timestamptz NOT NULL DEFAULT now(),
    deployed_at timestamptz,
    proof text,
    seeds text,
    summary jsonb,
    clonable boolean,
    fingerprint text,
    plain boolean,
    bodies text,
    elevated jsonb,
    kinds text[],
    proved_at timestamptz,
    PRIMARY KEY (platform, sha256)
);
ALTER TABLE bundle ALTER COLUMN archive SET STORAGE EXTERNAL;
COMMENT ON TABLE bundle IS 'archives as they were uploaded, by platform and SHA-256';
COMMENT ON COLUMN bundle.manifest IS 'stonescript.json of the archive, if it has one';
COMMENT ON COLUMN bundle.proof IS 'what building it from nothing has shown: the model of the catalog and where objects are defined, as JSON';
COMMENT ON COLUMN bundle.seeds IS 'the rows that its seeders make, as JSON';
COMMENT ON COLUMN bundle.summary IS 'what it has, in numbers';
COMMENT ON COLUMN bundle.plain IS 'nothing in it runs a function while it is built, but perhaps its seeders';
COMMENT ON COLUMN bundle.bodies IS 'what leads to it from a bundle from which it differs in the bodies of functions only, as JSON';
COMMENT ON COLUMN bundle.fingerprint IS 'of the catalog that it leads to';
COMMENT ON COLUMN bundle.clonable IS 'its migrations leave no rows, so that new tenants are copies of its template';
COMMENT ON COLUMN bundle.elevated IS 'its extensions that only a superuser can install';
COMMENT ON COLUMN bundle.kinds IS 'the kinds of files that it has';
COMMENT ON COLUMN bundle.proved_at IS 'when it was built from nothing';
COMMENT ON COLUMN bundle.deployed_at IS 'when a deployment of it last succeeded; the newest one makes new tenants';

CREATE TABLE template (
    platform text NOT NULL,
    sha256 text NOT NULL,
    database name NOT NULL UNIQUE,
    datid oid,
    state text NOT NULL CHECK (state IN ('building', 'ready')),
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (platform, sha256),
    FOREIGN KEY (platform, sha256) REFERENCES bundle ON UPDATE CASCADE ON DELETE CASCADE
);
COMMENT ON TABLE template IS 'databases in which bundles were built from nothing; new tenants are copies of them';
COMMENT ON COLUMN template.state IS 'building until its bundle is proved';

CREATE TABLE stored_schema (
    platform text NOT NULL REFERENCES platform ON UPDATE CASCADE ON DELETE CASCADE,
    name text NOT NULL,
    key text NOT NULL,
    bundle_sha256 text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (platform, name),
    UNIQUE (platform, key)
);
COMMENT ON TABLE stored_schema IS 'schemas of platforms: what their databases are made of; the one without a name is the platform''s own, which register and migrate deploy';
COMMENT ON COLUMN stored_schema.name IS 'as it was uploaded';
COMMENT ON COLUMN stored_schema.key IS 'the name sanitised';
COMMENT ON COLUMN stored_schema.bundle_sha256 IS 'the newest bundle: new databases are made of it';

CREATE TABLE schema_version (
    platform text NOT NULL,
    schema_name text NOT NULL,
    sha256 text NOT NULL,
    uploaded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (platform, schema_name, sha256),
    FOREIGN KEY (platform, schema_name) REFERENCES stored_schema ON UPDATE CASCADE ON DELETE CASCADE
);
COMMENT ON TABLE schema_version IS 'the bundles that stored schemas have had';

CREATE TABLE database (
    name name PRIMARY KEY,
    platform text NOT NULL REFERENCES platform ON UPDATE CASCADE,
    schema_name text NOT NULL DEFAULT '',
    tenant_id text NOT NULL,
    tenant_key text NOT NULL,
    datid oid,
    state text NOT NULL CHECK (state IN ('creating', 'adopting', 'ready')),
    suspended text,
    bundle_sha256 text,
    touched boolean NOT NULL DEFAULT false,
    touched_at timestamptz,
    unfinished boolean NOT NULL DEFAULT false,
    deployment_id uuid,
    deployed_at timestamptz,
    drift integer,
    checked_at timestamptz,
    size_bytes bigint,
    measured_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (platform, schema_name, tenant_key)
);
CREATE UNIQUE INDEX database_datid ON database (datid);
COMMENT ON TABLE database IS 'one database per tenant; the tenant main is the platform''s own';
COMMENT ON COLUMN database.schema_name IS 'the stored schema that it is made of; empty is the platform''s own';
COMMENT ON COLUMN database.tenant_id IS 'as it was registered';
COMMENT ON COLUMN database.tenant_key IS 'the tenant sanitised';
COMMENT ON COLUMN database.datid IS 'OID of the database: a rename is followed by it';
COMMENT ON COLUMN database.state IS 'creating until its first deployment has committed';
COMMENT ON COLUMN database.suspended IS 'why calls of it are refused; they are not where it is NULL';
COMMENT ON COLUMN database.bundle_sha256 IS 'the bundle whose state it is in';
COMMENT ON COLUMN database.touched IS 'its catalog was changed by other means since: the next deployment looks';
COMMENT ON COLUMN database.touched_at IS 'when that was noticed last';
COMMENT ON COLUMN database.unfinished IS 'statements behind the transaction of its deployment are still to be done';
COMMENT ON COLUMN database.deployment_id IS 'the deployment that brought it there';
COMMENT ON COLUMN database.drift IS 'differences from its bundle that the last check found';
COMMENT ON COLUMN database.size_bytes IS 'bytes on disk when it was last measured';

CREATE TABLE deployment (
    id uuid PRIMARY KEY,
    kind text NOT NULL,
    platform text NOT NULL,
    schema_name text NOT NULL DEFAULT '',
    bundle_sha256 text,
    state text NOT NULL,
    requested_by text NOT NULL,
    client_address text,
    request_id text,
    force boolean NOT NULL,
    allow text[] NOT NULL,
    dry_run boolean NOT NULL,
    tenant_id text,
    options jsonb,
    error jsonb,
    counts jsonb,
    started_at timestamptz NOT NULL DEFAULT now(),
    resumed_at timestamptz,
    finished_at timestamptz
);
CREATE INDEX deployment_state ON deployment (state) WHERE state = 'running';
COMMENT ON TABLE deployment IS 'every run of register and migrate, failed ones too';
COMMENT ON COLUMN deployment.tenant_id IS 'as it was sent';
COMMENT ON COLUMN deployment.options IS 'all that it was asked with, so that it can be resumed';
COMMENT ON COLUMN deployment.counts IS 'how its databases were counted when it ended';
COMMENT ON COLUMN deployment.error IS 'why it was refused before any database was touched';
COMMENT ON COLUMN deployment.state IS 'running, completed, completed_with_warnings, planned, partial, failed, cancelled or interrupted';

CREATE TABLE deployment_database (
    deployment_id uuid NOT NULL REFERENCES deployment ON DELETE CASCADE,
    position integer NOT NULL,
    database name NOT NULL,
    tenant_id text,
    state text NOT NULL,
    created boolean NOT NULL DEFAULT false,
    bundle_sha256 text,
    attempts integer NOT NULL DEFAULT 0,
    started_at timestamptz,
    finished_at timestamptz,
    duration_ms double precision,
    report jsonb,
    error jsonb,
    PRIMARY KEY (deployment_id, position)
);
COMMENT ON TABLE deployment_database IS 'how each deployment went in each database';
COMMENT ON COLUMN deployment_database.state IS
    'pending, running, completed, completed_with_warnings, unchanged, failed, skipped, cancelled, interrupted or superseded';
COMMENT ON COLUMN deployment_database.created IS 'it was to be made for this deployment';

CREATE TABLE token (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    platform text NOT NULL REFERENCES platform ON UPDATE CASCADE ON DELETE CASCADE,
    hash bytea NOT NULL UNIQUE,
    description text,
    created_by text NOT NULL DEFAULT session_user,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    revoked_at timestamptz
);
COMMENT ON TABLE token IS 'tokens of platforms: whoever has one may do over HTTP what concerns its platform';
COMMENT ON COLUMN token.hash IS 'SHA-256; the token itself is stored nowhere';

SELECT pg_catalog.pg_extension_config_dump('platform', '');
SELECT pg_catalog.pg_extension_config_dump('bundle', '');
SELECT pg_catalog.pg_extension_config_dump('template', '');
SELECT pg_catalog.pg_extension_config_dump('stored_schema', '');
SELECT pg_catalog.pg_extension_config_dump('schema_version', '');
SELECT pg_catalog.pg_extension_config_dump('database', '');
SELECT pg_catalog.pg_extension_config_dump('deployment', '');
SELECT pg_catalog.pg_extension_config_dump('deployment_database', '');
SELECT pg_catalog.pg_extension_config_dump('token', '');

-- What a DBA calls, and the triggers.

CREATE FUNCTION register(schema bytea, platform text DEFAULT NULL, tenant_id text DEFAULT NULL, force boolean DEFAULT false,
                         allow text[] DEFAULT '{}') RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'stonescriptdb_register';
COMMENT ON FUNCTION register(bytea, text, text, boolean, text[]) IS
    'creates the database of a platform''s tenant if it is not there, and brings it to the state of a bundle (a tar.gz). Commits by itself, whatever the calling transaction does later';

CREATE FUNCTION migrate(schema bytea, platform text DEFAULT NULL, tenant_id text DEFAULT NULL, force boolean DEFAULT false,
                        allow text[] DEFAULT '{}', dry_run boolean DEFAULT false, verify boolean DEFAULT false,
                        seeders text DEFAULT 'check', plan text DEFAULT NULL) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'stonescriptdb_migrate';
COMMENT ON FUNCTION migrate(bytea, text, text, boolean, text[], boolean, boolean, text, text) IS
    'brings the databases of a platform (or of one tenant) to the state of a bundle. Commits by itself, whatever the calling transaction does later. verify compares everything even where nothing has changed; seeders => ''insert_missing'' inserts rows that seeders make and that are missing; plan is the fingerprint of the only plan that may run';

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

CREATE FUNCTION check_list(platform text DEFAULT NULL, tenant_id text DEFAULT NULL) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'stonescriptdb_check';
COMMENT ON FUNCTION check_list(text, text) IS 'the rows of check and of the view drift as JSON';

CREATE FUNCTION "check"(platform text, tenant_id text DEFAULT 'main')
    RETURNS TABLE (kind text, object text, deviation text, detail text)
    LANGUAGE sql VOLATILE SET search_path = stonescriptdb, pg_catalog, pg_temp
    AS $$ SELECT d.kind, d.object, d.deviation, d.detail
          FROM pg_catalog.jsonb_to_recordset(stonescriptdb.check_list($1, coalesce($2, 'main')))
               AS d(kind text, object text, deviation text, detail text) $$;
COMMENT ON FUNCTION "check"(text, text) IS
    'how a tenant''s database differs from its bundle, object by object: missing, changed, or extra';

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
CREATE TRIGGER registry_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON token
    FOR EACH STATEMENT EXECUTE FUNCTION registry_changed();

-- Deployments of many databases, stored schemas, the life of tenants, tokens.

CREATE FUNCTION deployment_counts(deployment uuid, OUT total integer, OUT succeeded integer, OUT unchanged integer, OUT failed integer,
                                  OUT skipped integer, OUT warned integer)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = stonescriptdb, pg_catalog, pg_temp
    AS $$ SELECT count(*), count(*) FILTER (WHERE x.state IN ('completed', 'completed_with_warnings')),
                 count(*) FILTER (WHERE x.state IN ('unchanged', 'superseded')), count(*) FILTER (WHERE x.state = 'failed'),
                 count(*) FILTER (WHERE x.state = 'skipped'), count(*) FILTER (WHERE x.state = 'completed_with_warnings')
          FROM deployment_database x WHERE x.deployment_id = $1 $$;
COMMENT ON FUNCTION deployment_counts(uuid) IS 'how the databases of a deployment are counted as it stands';

CREATE FUNCTION upload_schema(platform text, schema_name text, schema bytea) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'stonescriptdb_upload_schema';
COMMENT ON FUNCTION upload_schema(text, text, bytea) IS
    'proves a bundle and stores it as the newest one of a platform''s schema, from which databases are created. Commits by itself';

CREATE FUNCTION create_database(platform text, schema_name text, database_id text DEFAULT NULL) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'stonescriptdb_create_database';
COMMENT ON FUNCTION create_database(text, text, text) IS 'creates a database from the newest bundle of a stored schema. Commits by itself';

CREATE FUNCTION migrate_all(platform text, schema_name text DEFAULT NULL, schema bytea DEFAULT NULL, tenants text[] DEFAULT NULL,
                            canary text[] DEFAULT '{}', parallel integer DEFAULT 2, on_error text DEFAULT 'stop',
                            retries integer DEFAULT 1, force boolean DEFAULT false, allow text[] DEFAULT '{}',
                            dry_run boolean DEFAULT false, verify boolean DEFAULT false, seeders text DEFAULT 'check',
                            wait boolean DEFAULT true) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'stonescriptdb_migrate_all';
COMMENT ON FUNCTION migrate_all(text, text, bytea, text[], text[], integer, text, integer, boolean, text[], boolean, boolean, text, boolean) IS
    'brings all databases of a platform''s schema (or those of some tenants) to a bundle, by default the newest: canaries first, the others parallel at a time. wait => false leaves it to the server worker and returns at once. Commits by itself, database by database';

CREATE FUNCTION cancel_deployment(deployment uuid) RETURNS jsonb
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'stonescriptdb_cancel_deployment';
COMMENT ON FUNCTION cancel_deployment(uuid) IS
    'ends a running deployment: what is under way is rolled back, what is done stays, resume_deployment goes on with the rest';

CREATE FUNCTION resume_deployment(deployment uuid, wait boolean DEFAULT true) RETURNS jsonb
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'stonescriptdb_resume_deployment';
COMMENT ON FUNCTION resume_deployment(uuid, boolean) IS
    'goes on with a deployment that was interrupted, cancelled or stopped, as it was asked for';

CREATE FUNCTION retry_deployment(deployment uuid, wait boolean DEFAULT true) RETURNS jsonb
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'stonescriptdb_retry_deployment';
COMMENT ON FUNCTION retry_deployment(uuid, boolean) IS
    'tries the databases of a deployment again that failed, and those that were skipped because of them';

CREATE FUNCTION watch(deployment uuid) RETURNS text
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = stonescriptdb, pg_catalog, pg_temp
    AS $$
    DECLARE
        seen integer[] := '{}';
        told integer := -1;
        one record;
        it record;
    BEGIN
        LOOP
            -- First the deployment, then its databases: what ends between the two is told in this turn.
            SELECT d.state, d.databases, d.done, d.failed, d.rate, d.expected_end INTO it FROM deployments d WHERE d.id = $1;
            IF NOT FOUND THEN
                RAISE EXCEPTION USING ERRCODE = 'undefined_object', MESSAGE = format('there is no deployment %s', $1);
            END IF;
            FOR one IN SELECT x.position, x.database, x.state, x.duration_ms, x.message FROM deployment_databases x
                       WHERE x.deployment_id = $1 AND NOT x.position = ANY (seen)
                         AND x.state NOT IN ('pending', 'running') ORDER BY x.finished_at, x.position LOOP
                seen := seen || one.position;
                RAISE NOTICE '%', one.database || ': ' || one.state || coalesce(' in ' || round(one.duration_ms) || ' ms', '')
                                  || coalesce(': ' || one.message, '');
            END LOOP;
            IF it.done <> told THEN
                told := it.done;
                RAISE NOTICE '%', format('%s of %s done', it.done, it.databases)
                                  || CASE WHEN it.failed > 0 THEN format(', %s failed', it.failed) ELSE '' END
                                  || CASE WHEN it.rate > 0 THEN format(', %s per second', it.rate) ELSE '' END
                                  || coalesce(', the end is expected at ' || it.expected_end::timestamptz(0), '');
            END IF;
            EXIT WHEN it.state <> 'running';
            PERFORM pg_sleep(0.2);
        END LOOP;
        RETURN it.state;
    END $$;
COMMENT ON FUNCTION watch(uuid) IS 'raises notices while a deployment goes on, one for each database that ends, and gives the state that it ends in';

-- Platforms and tenants beside deployments: registering, sizes.

CREATE FUNCTION platform_named(name text) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = stonescriptdb, pg_catalog, pg_temp
    AS $$
    DECLARE
        found_name text;
    BEGIN
        SELECT p.name INTO found_name FROM platform p WHERE $1 IN (p.name, p.key);
        IF NOT FOUND THEN
            RAISE EXCEPTION USING ERRCODE = 'undefined_object', MESSAGE = format('there is no platform "%s"', $1);
        END IF;
        RETURN found_name;
    END $$;
COMMENT ON FUNCTION platform_named(text) IS 'a platform as it was registered, by that name or the sanitised one';

CREATE FUNCTION register_platform(platform text) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'stonescriptdb_register_platform';
COMMENT ON FUNCTION register_platform(text) IS 'registers a platform without databases and makes its roles. Commits by itself';

CREATE FUNCTION measure_stale(platform text, stale_after interval, budget interval) RETURNS bigint
    LANGUAGE plpgsql VOLATILE SET search_path = stonescriptdb, pg_catalog, pg_temp
    AS $$
    #variable_conflict use_column
    DECLARE
        one record;
        measured bigint := 0;
        until timestamptz := clock_timestamp() + $3;
    BEGIN
        -- Who measures at the same time takes others.
        FOR one IN SELECT d.name, d.datid FROM database d
                   WHERE ($1 IS NULL OR d.platform = $1) AND d.state = 'ready'
                     AND (d.measured_at IS NULL OR d.measured_at < clock_timestamp() - $2)
                   ORDER BY d.measured_at NULLS FIRST FOR UPDATE SKIP LOCKED LOOP
            UPDATE database SET size_bytes = pg_database_size(one.datid), measured_at = clock_timestamp() WHERE name = one.name;
            measured := measured + 1;
            EXIT WHEN clock_timestamp() > until;
        END LOOP;
        RETURN measured;
    END $$;
COMMENT ON FUNCTION measure_stale(text, interval, interval) IS
    'measures databases whose sizes are older than stale_after, the oldest first, until the budget is used up; without one it measures all of them';

CREATE FUNCTION measure(platform text DEFAULT NULL) RETURNS bigint
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = stonescriptdb, pg_catalog, pg_temp
    AS $$ SELECT measure_stale(CASE WHEN $1 IS NOT NULL THEN platform_named($1) END, interval '0', NULL) $$;
COMMENT ON FUNCTION measure(text) IS 'measures the databases of a platform, or all of them, for the column size_bytes of the view databases; gives how many';

-- Tokens --------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION issue_token(platform text, description text, expires_at timestamptz, created_by text, OUT id uuid, OUT token text)
    LANGUAGE plpgsql VOLATILE SET search_path = stonescriptdb, pg_catalog, pg_temp
    AS $$
    #variable_conflict use_column
    BEGIN
        -- 366 random bits, of which the token has 256. It is made here so that it stands in no query's text.
        $6 := 'ssdb_' || encode(sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())), 'hex');
        INSERT INTO token AS t (platform, hash, description, created_by, expires_at)
        VALUES (platform_named($1), sha256(convert_to($6, 'UTF8')), $2, $4, $3)
        RETURNING t.id INTO $5;
    END $$;
COMMENT ON FUNCTION issue_token(text, text, timestamptz, text) IS 'a new token of a platform and its id';

CREATE FUNCTION create_token(platform text, description text DEFAULT NULL, expires_at timestamptz DEFAULT NULL) RETURNS text
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = stonescriptdb, pg_catalog, pg_temp
    AS $$ SELECT token FROM issue_token($1, $2, $3, session_user) $$;
COMMENT ON FUNCTION create_token(text, text, timestamptz) IS
    'a new token of a platform, shown this once: from its first token on, requests over HTTP that name the platform need one of its tokens';

CREATE FUNCTION revoke_token(id uuid) RETURNS boolean
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = stonescriptdb, pg_catalog, pg_temp
    AS $$
    BEGIN
        UPDATE token t SET revoked_at = now() WHERE t.id = $1 AND t.revoked_at IS NULL;
        RETURN FOUND;
    END $$;
COMMENT ON FUNCTION revoke_token(uuid) IS 'makes a token useless; false if there is none of that id that is not revoked already';

-- The life of tenants -------------------------------------------------------------------------------------------------------

CREATE FUNCTION rename_tenant(platform text, tenant_id text, new_tenant_id text, schema_name text DEFAULT NULL) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'stonescriptdb_rename_tenant';
COMMENT ON FUNCTION rename_tenant(text, text, text, text) IS
    'gives a tenant another name, and its database the name that goes with it. Commits by itself';

CREATE FUNCTION copy_tenant(platform text, tenant_id text, new_tenant_id text, schema_name text DEFAULT NULL) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'stonescriptdb_copy_tenant';
COMMENT ON FUNCTION copy_tenant(text, text, text, text) IS
    'makes a new tenant whose database is a copy of another''s with all its data; calls of that wait meanwhile. Commits by itself';

CREATE FUNCTION suspend_tenant(platform text, tenant_id text, reason text DEFAULT NULL, schema_name text DEFAULT NULL) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'stonescriptdb_suspend_tenant';
COMMENT ON FUNCTION suspend_tenant(text, text, text, text) IS
    'has calls of a tenant refused with a reason; deployments of it go on. Commits by itself';

CREATE FUNCTION resume_tenant(platform text, tenant_id text, schema_name text DEFAULT NULL) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'stonescriptdb_resume_tenant';
COMMENT ON FUNCTION resume_tenant(text, text, text) IS 'ends what suspend_tenant began. Commits by itself';

CREATE FUNCTION adopt(platform text, database text, tenant_id text, schema_name text DEFAULT NULL) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'stonescriptdb_adopt';
COMMENT ON FUNCTION adopt(text, text, text, text) IS
    'makes a database that exists a tenant''s, under the name that it has: the platform''s owner role owns it and its objects from then on. Commits by itself';

-- Views, and who may use what.

CREATE VIEW databases AS
    SELECT d.platform, nullif(d.schema_name, '') AS schema_name, d.tenant_id, coalesce(c.datname, d.name) AS database,
           CASE WHEN d.state <> 'ready' THEN d.state WHEN c.oid IS NULL THEN 'missing' WHEN d.suspended IS NOT NULL THEN 'suspended'
                ELSE 'ready' END AS state,
           d.suspended AS suspended_because, d.bundle_sha256, coalesce(c.oid IS NOT NULL AND d.bundle_sha256 = s.bundle_sha256, false) AS is_current,
           d.touched, d.unfinished, d.deployment_id, d.deployed_at,
           pg_catalog.pg_stat_get_db_numbackends(c.oid) AS connections, d.drift, d.checked_at, d.size_bytes, d.measured_at, d.created_at
    FROM database d LEFT JOIN pg_catalog.pg_database c ON c.oid = d.datid
         LEFT JOIN stored_schema s ON s.platform = d.platform AND s.name = d.schema_name;
COMMENT ON VIEW databases IS 'every tenant and its database; state missing: the database was dropped by other means';
COMMENT ON COLUMN databases.is_current IS 'it is in the state of its schema''s newest bundle';
COMMENT ON COLUMN databases.drift IS 'differences from its bundle that the last check found';
COMMENT ON COLUMN databases.size_bytes IS 'as of measured_at; stonescriptdb.measure() measures again';

CREATE VIEW platforms AS
    SELECT p.name AS platform, p.owner_role, p.call_role, p.created_at,
           (SELECT count(*) FROM database d WHERE d.platform = p.name) AS databases,
           (SELECT s.bundle_sha256 FROM stored_schema s WHERE s.platform = p.name AND s.name = '') AS bundle_sha256,
           (SELECT count(*) FROM stored_schema s WHERE s.platform = p.name AND s.name <> '') AS schemas
    FROM platform p;
COMMENT ON VIEW platforms IS 'every platform with its roles, the number of its databases and stored schemas, and the newest bundle of its own';

CREATE VIEW schemas AS
    SELECT s.platform, s.name AS schema_name, s.bundle_sha256,
           (SELECT count(*) FROM schema_version v WHERE v.platform = s.platform AND v.schema_name = s.name) AS versions,
           (SELECT count(*) FROM database d WHERE d.platform = s.platform AND d.schema_name = s.name) AS databases,
           'tables' = ANY (b.kinds) AS has_tables, 'functions' = ANY (b.kinds) AS has_functions,
           'migrations' = ANY (b.kinds) AS has_migrations, 'seeders' = ANY (b.kinds) AS has_seeders, s.created_at, s.updated_at
    FROM stored_schema s LEFT JOIN bundle b ON b.platform = s.platform AND b.sha256 = s.bundle_sha256
    WHERE s.name <> '';
COMMENT ON VIEW schemas IS 'the stored schemas of platforms, from which databases are created';

CREATE VIEW tokens AS
    SELECT t.id, t.platform, t.description, t.created_by, t.created_at, t.expires_at, t.revoked_at FROM token t;
COMMENT ON VIEW tokens IS 'the tokens of platforms, without the tokens themselves, which are stored nowhere';

CREATE VIEW deployment_databases AS
    SELECT x.deployment_id, x.position, d.platform, nullif(d.schema_name, '') AS schema_name, x.tenant_id, x.database, x.state,
           x.bundle_sha256, x.attempts, x.started_at, x.finished_at, x.duration_ms, x.error, x.error ->> 'sqlstate' AS sqlstate,
           x.error ->> 'message' AS message, x.error ->> 'detail' AS detail, x.error ->> 'file' AS file,
           (x.error ->> 'line')::integer AS line, (x.report ->> 'migrations_applied')::integer AS migrations_applied,
           (x.report ->> 'functions_updated')::integer AS functions_updated
    FROM deployment_database x JOIN deployment d ON d.id = x.deployment_id;
COMMENT ON VIEW deployment_databases IS 'how each deployment went, or goes, in each of its databases';

CREATE VIEW deployments AS
    SELECT d.id, d.kind, d.platform, nullif(d.schema_name, '') AS schema_name, d.bundle_sha256, d.state, d.requested_by, d.client_address,
           d.request_id, d.force, d.allow, d.dry_run, d.started_at, d.finished_at, c.total AS databases,
           c.succeeded + c.unchanged + c.failed AS done, c.succeeded, c.unchanged, c.failed, c.skipped,
           c.total - c.succeeded - c.unchanged - c.failed AS remaining, CASE WHEN d.state = 'running' THEN r.rate END AS rate,
           CASE WHEN d.state = 'running' THEN
               pg_catalog.clock_timestamp() + (c.total - c.succeeded - c.unchanged - c.failed) / nullif(r.rate, 0) * interval '1 s'
           END AS expected_end,
           coalesce(d.error, (SELECT x.error FROM deployment_database x WHERE x.deployment_id = d.id AND x.error IS NOT NULL
                              ORDER BY x.position LIMIT 1)) AS first_error
    FROM deployment d
         LEFT JOIN LATERAL (
             SELECT k.total, k.succeeded, k.unchanged, k.failed, k.skipped FROM deployment_counts(d.id) k WHERE d.counts IS NULL
             UNION ALL
             SELECT j.total, j.succeeded, j.unchanged, j.failed, j.skipped
             FROM pg_catalog.jsonb_to_record(d.counts)
                  AS j(total integer, succeeded integer, unchanged integer, failed integer, skipped integer)
             WHERE d.counts IS NOT NULL) c ON true
         LEFT JOIN LATERAL (
             SELECT pg_catalog.round((count(*) / nullif(extract(epoch FROM coalesce(d.finished_at, pg_catalog.clock_timestamp())
                                                              - coalesce(d.resumed_at, d.started_at)), 0))::numeric, 2) AS rate
             FROM deployment_database x WHERE d.state = 'running' AND x.deployment_id = d.id
               AND x.state IN ('completed', 'completed_with_warnings', 'failed')
               AND x.finished_at >= coalesce(d.resumed_at, d.started_at)) r ON true;
COMMENT ON VIEW deployments IS 'every run of register and migrate: how far it is, or how it ended';
COMMENT ON COLUMN deployments.done IS 'databases that need no more: succeeded, unchanged and failed';
COMMENT ON COLUMN deployments.rate IS 'databases a second, while it runs';

CREATE FUNCTION deployment_status(deployment uuid) RETURNS jsonb
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = stonescriptdb, pg_catalog, pg_temp
    AS $$
    SELECT jsonb_build_object(
        'deployment_id', d.id, 'kind', d.kind, 'platform', d.platform, 'schema_name', d.schema_name, 'state', d.state,
        'bundle_sha256', d.bundle_sha256, 'dry_run', d.dry_run, 'total', d.databases, 'done', d.done, 'succeeded', d.succeeded,
        'unchanged', d.unchanged, 'failed', d.failed, 'skipped', d.skipped, 'remaining', d.remaining, 'rate', d.rate,
        'expected_end', d.expected_end, 'started_at', d.started_at, 'finished_at', d.finished_at, 'error', d.first_error,
        'requested_by', d.requested_by,
        'execution_time_ms', round(extract(epoch FROM coalesce(d.finished_at, clock_timestamp()) - d.started_at) * 1000),
        'databases', coalesce((SELECT jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
                'database', x.database, 'tenant_id', x.tenant_id, 'status', x.state, 'migrations_applied', x.migrations_applied,
                'functions_updated', x.functions_updated, 'execution_time_ms', round(x.duration_ms), 'error', x.error)) ORDER BY x.position)
            FROM deployment_databases x WHERE x.deployment_id = d.id), '[]'))
    FROM deployments d WHERE d.id = $1 $$;
COMMENT ON FUNCTION deployment_status(uuid) IS 'a deployment and its databases, as GET /deployments/{id} answers; NULL for one that is not known';

CREATE VIEW changelog AS
    SELECT x.database, d.platform, d.id AS deployment_id, d.kind, x.state, d.requested_by, d.client_address, d.request_id,
           coalesce(x.bundle_sha256, d.bundle_sha256) AS bundle_sha256, d.force, d.allow, d.started_at, x.duration_ms AS deployment_ms,
           (s.step ->> 'seq')::integer AS seq, s.step ->> 'object' AS object, s.step ->> 'class' AS class, s.step ->> 'sql' AS sql,
           s.step ->> 'migration' AS migration, (s.step ->> 'duration_ms')::double precision AS duration_ms, x.error
    FROM deployment d JOIN deployment_database x ON x.deployment_id = d.id
         LEFT JOIN LATERAL pg_catalog.jsonb_array_elements(x.report -> 'plan') WITH ORDINALITY AS s(step, place) ON true
    WHERE NOT d.dry_run
    UNION ALL
    SELECT NULL, d.platform, d.id, d.kind, d.state, d.requested_by, d.client_address, d.request_id, d.bundle_sha256, d.force, d.allow,
           d.started_at, NULL, NULL, NULL, NULL, NULL, NULL, NULL, d.error
    FROM deployment d WHERE d.error IS NOT NULL AND NOT d.dry_run;
COMMENT ON VIEW changelog IS 'what deployments did in which database: a row per statement, and one for each that failed or had nothing to do';

CREATE FUNCTION changelog(platform text, tenant_id text DEFAULT 'main') RETURNS SETOF changelog
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = stonescriptdb, pg_catalog, pg_temp
    AS $$ SELECT c.* FROM stonescriptdb.changelog c JOIN stonescriptdb.platform p ON p.name = c.platform
          WHERE $1 IN (p.name, p.key) AND (c.database = (
              SELECT d.name FROM stonescriptdb.database d WHERE d.platform = p.name AND coalesce($2, 'main') IN (d.tenant_id, d.tenant_key))
              OR c.database IS NULL AND EXISTS (SELECT FROM stonescriptdb.deployment x WHERE x.id = c.deployment_id
                     AND coalesce(nullif(x.tenant_id, ''), 'main') = coalesce($2, 'main')))
          ORDER BY c.started_at, c.deployment_id, c.seq $$;
COMMENT ON FUNCTION changelog(text, text) IS
    'the history of a tenant''s database: who deployed what and when, from which address, each statement with its duration, and what failed';

CREATE VIEW drift AS
    SELECT d.platform, d.tenant_id, d.database, d.kind, d.object, d.deviation, d.detail
    FROM pg_catalog.jsonb_to_recordset(check_list())
         AS d(platform text, tenant_id text, database name, kind text, object text, deviation text, detail text);
COMMENT ON VIEW drift IS 'how the databases of all tenants differ from their bundles; looks into every one of them';

CREATE VIEW workers AS
    SELECT w.pid, w.database, w.role, w.state, w.served, w.age_ms
    FROM pg_catalog.jsonb_to_recordset(worker_list())
         AS w(pid integer, database name, role name, state text, served bigint, age_ms bigint);
COMMENT ON VIEW workers IS 'the executors: the database and role each is attached to, and what it does';

-- Rights --------------------------------------------------------------------------------------------------------------------

REVOKE ALL ON ALL TABLES IN SCHEMA stonescriptdb FROM PUBLIC;
REVOKE ALL ON ALL ROUTINES IN SCHEMA stonescriptdb FROM PUBLIC;
GRANT EXECUTE ON ALL ROUTINES IN SCHEMA stonescriptdb TO stonescriptdb_admin;
GRANT SELECT ON databases, platforms, schemas, tokens, deployments, deployment_databases, changelog, drift, workers TO stonescriptdb_admin;

-- The server worker learns at the commit that it is installed.
UPDATE platform SET name = name;
