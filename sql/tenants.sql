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
