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

-- The registry ---------------------------------------------------------------------------------------------------------------

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

CREATE TABLE database (
    name name PRIMARY KEY,
    platform text NOT NULL REFERENCES platform ON UPDATE CASCADE,
    tenant_id text NOT NULL,
    tenant_key text NOT NULL,
    datid oid,
    state text NOT NULL CHECK (state IN ('creating', 'adopting', 'ready')),
    bundle_sha256 text,
    deployment_id uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (platform, tenant_key)
);
COMMENT ON TABLE database IS 'one database per tenant; the tenant main is the platform''s own';
COMMENT ON COLUMN database.tenant_id IS 'as it was registered';
COMMENT ON COLUMN database.tenant_key IS 'the tenant sanitised';
COMMENT ON COLUMN database.datid IS 'OID of the database: a rename is followed by it';
COMMENT ON COLUMN database.state IS 'creating until its first deployment has committed';
COMMENT ON COLUMN database.bundle_sha256 IS 'the bundle whose state it is in';
COMMENT ON COLUMN database.deployment_id IS 'the deployment that brought it there';

CREATE TABLE deployment (
    id uuid PRIMARY KEY,
    kind text NOT NULL,
    platform text NOT NULL,
    bundle_sha256 text,
    state text NOT NULL,
    requested_by text NOT NULL,
    client_address text,
    request_id text,
    force boolean NOT NULL,
    allow text[] NOT NULL,
    dry_run boolean NOT NULL,
    tenant_id text,
    error jsonb,
    started_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz
);
COMMENT ON TABLE deployment IS 'every run of register and migrate, failed ones too';
COMMENT ON COLUMN deployment.tenant_id IS 'as it was sent';
COMMENT ON COLUMN deployment.error IS 'why it was refused before any database was touched';
COMMENT ON COLUMN deployment.state IS 'running, completed, partial, failed, cancelled, interrupted or planned';

CREATE TABLE deployment_database (
    deployment_id uuid NOT NULL REFERENCES deployment ON DELETE CASCADE,
    position integer NOT NULL,
    database name NOT NULL,
    state text NOT NULL,
    bundle_sha256 text,
    duration_ms double precision,
    report jsonb,
    error jsonb,
    PRIMARY KEY (deployment_id, position)
);
COMMENT ON TABLE deployment_database IS 'how each deployment went in each database';

SELECT pg_catalog.pg_extension_config_dump('platform', '');
SELECT pg_catalog.pg_extension_config_dump('bundle', '');
SELECT pg_catalog.pg_extension_config_dump('template', '');
SELECT pg_catalog.pg_extension_config_dump('database', '');
SELECT pg_catalog.pg_extension_config_dump('deployment', '');
SELECT pg_catalog.pg_extension_config_dump('deployment_database', '');

-- Functions ------------------------------------------------------------------------------------------------------------------

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

CREATE FUNCTION call(platform text, function text, params jsonb DEFAULT '[]', tenant_id text DEFAULT NULL) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'stonescriptdb_call';
COMMENT ON FUNCTION call(text, text, jsonb, text) IS
    'calls a deployed function of a tenant as the platform''s call role, in a transaction of its own; gives rows, row_count and execution_time_ms';

CREATE FUNCTION call_rows(platform text, function text, params jsonb DEFAULT '[]', tenant_id text DEFAULT NULL) RETURNS SETOF jsonb
    LANGUAGE sql VOLATILE SET search_path = stonescriptdb, pg_catalog, pg_temp
    AS $$ SELECT row FROM pg_catalog.jsonb_array_elements(stonescriptdb.call($1, $2, $3, $4) -> 'rows') AS row $$;
COMMENT ON FUNCTION call_rows(text, text, jsonb, text) IS 'as call, one row of the result a row';

CREATE FUNCTION create_tenant(platform text, tenant_id text) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'stonescriptdb_create_tenant';
COMMENT ON FUNCTION create_tenant(text, text) IS 'creates a tenant''s database from the newest bundle of its platform';

CREATE FUNCTION drop_tenant(platform text, tenant_id text, confirm text) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'stonescriptdb_drop_tenant';
COMMENT ON FUNCTION drop_tenant(text, text, text) IS
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
CREATE TRIGGER registry_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON database
    FOR EACH STATEMENT EXECUTE FUNCTION registry_changed();

-- Views ----------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION database_size(datid oid) RETURNS bigint
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$ SELECT pg_database_size(d.oid) FROM pg_database d WHERE d.oid = $1 $$;
COMMENT ON FUNCTION database_size(oid) IS 'bytes on disk of a database that the caller may not connect to';

CREATE VIEW databases AS
    SELECT d.platform, d.tenant_id, coalesce(c.datname, d.name) AS database,
           CASE WHEN c.oid IS NULL AND d.state = 'ready' THEN 'missing' ELSE d.state END AS state,
           d.bundle_sha256, d.deployment_id, d.created_at,
           database_size(c.oid) AS size_bytes
    FROM database d LEFT JOIN pg_catalog.pg_database c ON c.oid = d.datid;
COMMENT ON VIEW databases IS 'every tenant and its database; state missing: the database was dropped by other means';

CREATE VIEW platforms AS
    SELECT p.name AS platform, p.owner_role, p.call_role, p.created_at,
           (SELECT count(*) FROM database d WHERE d.platform = p.name) AS databases,
           (SELECT b.sha256 FROM bundle b WHERE b.platform = p.name AND b.deployed_at IS NOT NULL
            ORDER BY b.deployed_at DESC LIMIT 1) AS bundle_sha256
    FROM platform p;
COMMENT ON VIEW platforms IS 'every platform with its roles, the number of its databases, and its newest bundle';

CREATE VIEW deployments AS
    SELECT d.id, d.kind, d.platform, d.bundle_sha256, d.state, d.requested_by, d.client_address, d.request_id, d.force, d.allow,
           d.dry_run, d.started_at, d.finished_at,
           (SELECT count(*) FROM deployment_database x WHERE x.deployment_id = d.id) AS databases,
           coalesce(d.error, (SELECT x.error FROM deployment_database x WHERE x.deployment_id = d.id AND x.error IS NOT NULL
                              ORDER BY x.position LIMIT 1)) AS first_error
    FROM deployment d;
COMMENT ON VIEW deployments IS 'every run of register and migrate with its outcome';

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

-- Rights ---------------------------------------------------------------------------------------------------------------------

REVOKE ALL ON ALL TABLES IN SCHEMA stonescriptdb FROM PUBLIC;
REVOKE ALL ON ALL ROUTINES IN SCHEMA stonescriptdb FROM PUBLIC;
GRANT EXECUTE ON ALL ROUTINES IN SCHEMA stonescriptdb TO stonescriptdb_admin;
GRANT SELECT ON databases, platforms, deployments, changelog, drift, workers TO stonescriptdb_admin;

-- The server worker learns at the commit that it is installed.
UPDATE platform SET name = name;
