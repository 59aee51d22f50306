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
    created_at timestamptz NOT NULL DEFAULT now(),
    networks cidr[] NOT NULL DEFAULT '{}',
    rate integer CHECK (rate >= 0),
    burst integer CHECK (burst > 0),
    CHECK (burst IS NULL OR rate IS NOT NULL)
);
COMMENT ON TABLE platform IS 'applications, each with its two roles';
COMMENT ON COLUMN platform.name IS 'as it was registered';
COMMENT ON COLUMN platform.key IS 'the name sanitised: lower-case ASCII letters, digits and underscores';
COMMENT ON COLUMN platform.owner_role IS 'owns the databases and their objects; deployments run as it';
COMMENT ON COLUMN platform.call_role IS 'calls run as it';
COMMENT ON COLUMN platform.created_by IS 'the deployment that registered it';
COMMENT ON COLUMN platform.rate IS 'requests a second over HTTP; 0 is no limit, NULL what stonescriptdb.platform_rate says';
COMMENT ON COLUMN platform.burst IS 'requests at once after a pause; NULL is what comes in a second';
COMMENT ON COLUMN platform.networks IS 'from which requests over HTTP may name it; none is all that the listener lets in';

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
    proved_on integer,
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
COMMENT ON COLUMN bundle.proved_on IS 'the major version of the server that it was built on: another one writes its catalog otherwise, and builds it anew';
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
    touches bigint NOT NULL DEFAULT 0,
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
COMMENT ON COLUMN database.touches IS 'how often that was noticed: clocks jump, numbers do not';
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
    touches bigint,
    deployed_by uuid,
    bundle_sha256 text,
    attempts integer NOT NULL DEFAULT 0,
    started_at timestamptz,
    finished_at timestamptz,
    duration_ms double precision,
    report jsonb,
    error jsonb,
    PRIMARY KEY (deployment_id, position)
);
CREATE INDEX deployment_database_error ON deployment_database (deployment_id, position) WHERE error IS NOT NULL;
COMMENT ON TABLE deployment_database IS 'how each deployment went in each database';
COMMENT ON COLUMN deployment_database.state IS
    'pending, running, completed, completed_with_warnings, unchanged, failed, skipped, cancelled, interrupted or superseded';
COMMENT ON COLUMN deployment_database.created IS 'it was to be made for this deployment';
COMMENT ON COLUMN deployment_database.touches IS 'how often it had been touched when this began, or was taken up again';
COMMENT ON COLUMN deployment_database.deployed_by IS 'the deployment that had brought it where it was when this began';

CREATE TABLE token (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    platform text NOT NULL REFERENCES platform ON UPDATE CASCADE ON DELETE CASCADE,
    hash bytea NOT NULL UNIQUE,
    name text,
    description text,
    scopes text[] NOT NULL DEFAULT '{call,deploy}' CHECK (scopes <@ '{call,deploy,admin}' AND scopes <> '{}'),
    for_tenant boolean NOT NULL DEFAULT false CHECK (NOT for_tenant OR scopes = '{call}'),
    database name REFERENCES database ON UPDATE CASCADE ON DELETE SET NULL,
    created_by text NOT NULL DEFAULT session_user,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    revoked_at timestamptz,
    replaced_by uuid REFERENCES token ON DELETE SET NULL,
    last_used_at timestamptz
);
COMMENT ON TABLE token IS 'tokens of platforms: whoever has one may do over HTTP what its scopes say, as far as its platform is concerned';
COMMENT ON COLUMN token.hash IS 'SHA-256; the token itself is stored nowhere';
COMMENT ON COLUMN token.scopes IS 'call: functions; deploy: bundles, deployments, new databases; admin: the platform''s tokens, the life of its tenants';
COMMENT ON COLUMN token.for_tenant IS 'it is for the calls of one database; once that is gone, for none';
COMMENT ON COLUMN token.database IS 'which one, as in the table database';
COMMENT ON COLUMN token.replaced_by IS 'the token that rotate_token made in its place';
COMMENT ON COLUMN token.last_used_at IS 'written once an hour at most, so it may be an hour or two behind';

SELECT pg_catalog.pg_extension_config_dump('platform', '');
SELECT pg_catalog.pg_extension_config_dump('bundle', '');
SELECT pg_catalog.pg_extension_config_dump('template', '');
SELECT pg_catalog.pg_extension_config_dump('stored_schema', '');
SELECT pg_catalog.pg_extension_config_dump('schema_version', '');
SELECT pg_catalog.pg_extension_config_dump('database', '');
SELECT pg_catalog.pg_extension_config_dump('deployment', '');
SELECT pg_catalog.pg_extension_config_dump('deployment_database', '');
SELECT pg_catalog.pg_extension_config_dump('token', '');
