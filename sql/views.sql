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
           (SELECT count(*) FROM stored_schema s WHERE s.platform = p.name AND s.name <> '') AS schemas, p.networks, p.rate, p.burst
    FROM platform p;
COMMENT ON VIEW platforms IS 'every platform with its roles, the number of its databases and stored schemas, and the newest bundle of its own';
COMMENT ON COLUMN platforms.rate IS 'requests a second over HTTP; 0 is no limit, NULL what stonescriptdb.platform_rate says';
COMMENT ON COLUMN platforms.networks IS 'from which requests over HTTP may name it; empty is all that stonescriptdb.allowed_networks lets in';

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
    SELECT t.id, t.platform, t.description, t.created_by, t.created_at, t.expires_at, t.revoked_at, t.name, t.scopes,
           CASE WHEN t.for_tenant THEN coalesce(d.tenant_id, '') END AS tenant_id, nullif(d.schema_name, '') AS schema_name,
           t.replaced_by, t.last_used_at
    FROM token t LEFT JOIN database d ON d.name = t.database;
COMMENT ON VIEW tokens IS 'the tokens of platforms, without the tokens themselves, which are stored nowhere';
COMMENT ON COLUMN tokens.tenant_id IS 'the only tenant that it is for; empty if that is gone';
COMMENT ON COLUMN tokens.replaced_by IS 'the token that rotate_token made in its place';
COMMENT ON COLUMN tokens.last_used_at IS 'written once an hour at most';

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
           c.total - c.succeeded - c.unchanged - c.failed AS remaining,
           CASE WHEN d.state = 'running' THEN coalesce(r.rate, 0.00) END AS rate,
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
         LEFT JOIN (
             -- Of those that run, and not for each deployment: by the cost of the latter the planner had JIT begin, which took a second.
             SELECT y.id, pg_catalog.round((count(*) / nullif(extract(epoch FROM coalesce(y.finished_at, pg_catalog.clock_timestamp())
                                                                    - coalesce(y.resumed_at, y.started_at)), 0))::numeric, 2) AS rate
             FROM deployment y JOIN deployment_database x ON x.deployment_id = y.id
             WHERE y.state = 'running' AND x.state IN ('completed', 'completed_with_warnings', 'failed')
               AND x.finished_at >= coalesce(y.resumed_at, y.started_at)
             GROUP BY y.id) r ON r.id = d.id;
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
    SELECT d.platform, d.tenant_id, d.database, d.kind, d.object, d.deviation, d.detail, nullif(d.schema_name, '') AS schema_name
    FROM pg_catalog.jsonb_to_recordset(check_list())
         AS d(platform text, tenant_id text, database name, kind text, object text, deviation text, detail text, schema_name text);
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
GRANT SELECT ON stats, stats_latency, stats_calls, stats_executors, stats_queues, stats_deployments, stats_refusals, stats_errors, stats_http
    TO stonescriptdb_admin;

-- The server worker learns at the commit that it is installed.
UPDATE platform SET name = name;
