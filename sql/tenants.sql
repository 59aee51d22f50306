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
