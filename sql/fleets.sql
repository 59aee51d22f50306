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
                            wait boolean DEFAULT true, full_verify boolean DEFAULT false) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'stonescriptdb_migrate_all';
COMMENT ON FUNCTION migrate_all(text, text, bytea, text[], text[], integer, text, integer, boolean, text[], boolean, boolean, text, boolean, boolean) IS
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
