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
        began timestamptz := clock_timestamp();
    BEGIN
        -- Who measures at the same time takes others.
        FOR one IN SELECT d.name, d.datid FROM database d
                   WHERE ($1 IS NULL OR d.platform = $1) AND d.state = 'ready'
                     -- One that was measured later than now was measured before the clock was set back.
                     AND (d.measured_at IS NULL OR d.measured_at NOT BETWEEN clock_timestamp() - $2 AND clock_timestamp())
                   ORDER BY d.measured_at NULLS FIRST FOR UPDATE SKIP LOCKED LOOP
            UPDATE database SET size_bytes = pg_database_size(one.datid), measured_at = clock_timestamp() WHERE name = one.name;
            measured := measured + 1;
            EXIT WHEN clock_timestamp() NOT BETWEEN began AND began + $3;
        END LOOP;
        RETURN measured;
    END $$;
COMMENT ON FUNCTION measure_stale(text, interval, interval) IS
    'measures databases whose sizes are older than stale_after, the oldest first, until the budget is used up; without one it measures all of them';

CREATE FUNCTION measure(platform text DEFAULT NULL) RETURNS bigint
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = stonescriptdb, pg_catalog, pg_temp
    AS $$ SELECT measure_stale(CASE WHEN $1 IS NOT NULL THEN platform_named($1) END, interval '0', NULL) $$;
COMMENT ON FUNCTION measure(text) IS 'measures the databases of a platform, or all of them, for the column size_bytes of the view databases; gives how many';

CREATE FUNCTION set_networks(platform text, networks cidr[]) RETURNS void
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = stonescriptdb, pg_catalog, pg_temp
    AS $$ UPDATE platform SET networks = array_remove(coalesce($2, '{}'), NULL) WHERE name = platform_named($1) $$;
COMMENT ON FUNCTION set_networks(text, cidr[]) IS
    'from which networks requests over HTTP may name a platform, of those that stonescriptdb.allowed_networks lets in; none, or NULL, is all of these';

CREATE FUNCTION set_rate(platform text, rate integer, burst integer DEFAULT NULL) RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = stonescriptdb, pg_catalog, pg_temp
    AS $$
    #variable_conflict use_column
    BEGIN
        IF $2 NOT BETWEEN 0 AND 1000000 OR $3 NOT BETWEEN 1 AND 1000000 OR ($3 IS NOT NULL AND $2 IS NULL) THEN
            RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
                MESSAGE = 'a rate is a number of requests a second from 0 to 1000000, a burst of a rate one from 1 to 1000000';
        END IF;
        UPDATE platform SET rate = $2, burst = $3 WHERE name = platform_named($1);
    END $$;
COMMENT ON FUNCTION set_rate(text, integer, integer) IS
    'requests a second that a platform may send over HTTP, and how many at once after a pause, in place of stonescriptdb.platform_rate and platform_burst; 0 is no limit, NULL is what these say';

-- Tokens --------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION issue_token(platform text, name text, description text, scopes text[], tenant_id text, schema_name text,
                            expires_at timestamptz, created_by text, OUT id uuid, OUT token text, OUT granted text[])
    LANGUAGE plpgsql VOLATILE SET search_path = stonescriptdb, pg_catalog, pg_temp
    AS $$
    #variable_conflict use_column
    DECLARE
        of_platform text := platform_named($1);
        of_tenant boolean := $5 IS NOT NULL;
        wanted text[] := $4;
        unknown text;
        of_database name;
    BEGIN
        IF wanted IS NULL THEN
            wanted := CASE WHEN of_tenant THEN '{call}' ELSE '{call,deploy}' END;
        END IF;
        SELECT coalesce(array_agg(DISTINCT lower(btrim(s)) ORDER BY lower(btrim(s))), '{}') INTO wanted FROM unnest(wanted) s;
        SELECT s INTO unknown FROM unnest(wanted) s WHERE s IS NULL OR s <> ALL ('{call,deploy,admin}') LIMIT 1;
        IF FOUND OR wanted = '{}' THEN
            RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
                MESSAGE = CASE WHEN wanted = '{}' THEN 'a token needs a scope' ELSE format('there is no scope "%s"', coalesce(unknown, 'NULL')) END,
                HINT = 'Scopes are call, deploy and admin.';
        END IF;
        IF of_tenant THEN
            IF wanted <> '{call}' THEN
                RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'a token for one tenant has the scope call and no other';
            END IF;
            SELECT d.name INTO of_database FROM database d
            WHERE d.platform = of_platform AND d.schema_name = coalesce($6, '') AND coalesce(nullif($5, ''), 'main') IN (d.tenant_id, d.tenant_key);
            IF NOT FOUND THEN
                RAISE EXCEPTION USING ERRCODE = 'undefined_object', MESSAGE = format('the platform "%s" has no tenant "%s"', of_platform, $5);
            END IF;
        END IF;
        -- 366 random bits, of which the token has 256. It is made here so that it stands in no query's text.
        $10 := 'ssdb_' || encode(sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())), 'hex');
        INSERT INTO token AS t (platform, hash, name, description, scopes, for_tenant, database, created_by, expires_at)
        VALUES (of_platform, sha256(convert_to($10, 'UTF8')), $2, $3, wanted, of_tenant, of_database, $8, $7)
        RETURNING t.id, t.scopes INTO $9, $11;
    END $$;
COMMENT ON FUNCTION issue_token(text, text, text, text[], text, text, timestamptz, text) IS 'a new token of a platform and its id';

CREATE FUNCTION create_token(platform text, description text DEFAULT NULL, expires_at timestamptz DEFAULT NULL, scopes text[] DEFAULT NULL,
                             name text DEFAULT NULL, tenant_id text DEFAULT NULL, schema_name text DEFAULT NULL) RETURNS text
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = stonescriptdb, pg_catalog, pg_temp
    AS $$ SELECT token FROM issue_token($1, $5, $2, $4, $6, $7, $3, session_user) $$;
COMMENT ON FUNCTION create_token(text, text, timestamptz, text[], text, text, text) IS
    'a new token of a platform, shown this once: from its first token on, requests over HTTP that name the platform need one of its tokens. Scopes are call, deploy (these two are the default) and admin; one for a tenant has call';

CREATE FUNCTION replace_token(of_platform text, old uuid, grace interval, expires_at timestamptz, created_by text,
                              OUT id uuid, OUT token text, OUT platform text, OUT new_expires_at timestamptz, OUT old_expires_at timestamptz)
    LANGUAGE plpgsql VOLATILE SET search_path = stonescriptdb, pg_catalog, pg_temp
    AS $$
    #variable_conflict use_column
    DECLARE
        was token;
    BEGIN
        SELECT * INTO was FROM token t WHERE t.id = $2 AND ($1 IS NULL OR t.platform = $1) FOR UPDATE;
        IF NOT FOUND THEN
            RAISE EXCEPTION USING ERRCODE = 'undefined_object', MESSAGE = format('there is no token %s', coalesce($2::text, 'NULL'));
        END IF;
        -- One that is no good must not become a good one in this way.
        IF was.revoked_at IS NOT NULL OR was.expires_at <= clock_timestamp() OR was.replaced_by IS NOT NULL THEN
            RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
                MESSAGE = format('the token %s %s', was.id, CASE WHEN was.replaced_by IS NOT NULL THEN 'has been replaced'
                                 WHEN was.revoked_at IS NOT NULL THEN 'is revoked' ELSE 'has expired' END),
                HINT = 'Rotate the one that is in use, or issue a new one.';
        END IF;
        IF coalesce($3, '0') < '0' THEN
            RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'the time for which the old token counts must not be negative';
        END IF;
        $7 := 'ssdb_' || encode(sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())), 'hex');
        -- It lives as long as the old one was meant to.
        INSERT INTO token AS t (platform, hash, name, description, scopes, for_tenant, database, created_by, expires_at)
        VALUES (was.platform, sha256(convert_to($7, 'UTF8')), was.name, was.description, was.scopes, was.for_tenant, was.database, $5,
                coalesce($4, now() + (was.expires_at - was.created_at)))
        RETURNING t.id, t.platform, t.expires_at INTO $6, $8, $9;
        -- One that is to end at once ends for good: an end in time would be undone by a clock that is set back.
        UPDATE token t SET expires_at = least(t.expires_at, clock_timestamp() + coalesce($3, '0')), replaced_by = $6,
                           revoked_at = CASE WHEN coalesce($3, '0') = '0' THEN clock_timestamp() END
        WHERE t.id = was.id RETURNING t.expires_at INTO $10;
    END $$;
COMMENT ON FUNCTION replace_token(text, uuid, interval, timestamptz, text) IS
    'a token in place of another one, of any platform or of the one that is named';

CREATE FUNCTION rotate_token(id uuid, grace interval DEFAULT '1 day', expires_at timestamptz DEFAULT NULL) RETURNS text
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = stonescriptdb, pg_catalog, pg_temp
    AS $$ SELECT token FROM replace_token(NULL, $1, $2, $3, session_user) $$;
COMMENT ON FUNCTION rotate_token(uuid, interval, timestamptz) IS
    'a new token, shown this once, with all that the old one has; that counts for the grace interval more. Without expires_at the new one lives as long as the old one was to';

CREATE FUNCTION end_token(of_platform text, id uuid) RETURNS boolean
    LANGUAGE plpgsql VOLATILE SET search_path = stonescriptdb, pg_catalog, pg_temp
    AS $$
    BEGIN
        UPDATE token t SET revoked_at = now() WHERE t.id = $2 AND ($1 IS NULL OR t.platform = $1) AND t.revoked_at IS NULL;
        RETURN FOUND;
    END $$;
COMMENT ON FUNCTION end_token(text, uuid) IS 'revokes a token of any platform, or of the one that is named';

CREATE FUNCTION revoke_token(id uuid) RETURNS boolean
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = stonescriptdb, pg_catalog, pg_temp
    AS $$ SELECT end_token(NULL, $1) $$;
COMMENT ON FUNCTION revoke_token(uuid) IS 'makes a token useless; false if there is none of that id that is not revoked already';

CREATE FUNCTION note_tokens_used(ids uuid[]) RETURNS void
    LANGUAGE sql VOLATILE SET search_path = stonescriptdb, pg_catalog, pg_temp
    AS $$ UPDATE token t SET last_used_at = clock_timestamp() WHERE t.id = ANY ($1) $$;
COMMENT ON FUNCTION note_tokens_used(uuid[]) IS 'the server worker has seen these tokens';

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
