-- ALTER EXTENSION stonescriptdb UPDATE, from 0.1.0 to 0.2.0. What it leads to is what sql/*.sql make: tests/tests/upgrade compares the two.

-- Functions with another signature.
DROP FUNCTION migrate(bytea, text, text, boolean, text[], boolean, boolean, text, text);
CREATE FUNCTION migrate(schema bytea, platform text DEFAULT NULL, tenant_id text DEFAULT NULL, force boolean DEFAULT false,
                        allow text[] DEFAULT '{}', dry_run boolean DEFAULT false, verify boolean DEFAULT false,
                        seeders text DEFAULT 'check', plan text DEFAULT NULL,
                        full_verify boolean DEFAULT false) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'stonescriptdb_migrate';
COMMENT ON FUNCTION migrate(bytea, text, text, boolean, text[], boolean, boolean, text, text, boolean) IS
    'brings the databases of a platform (or of one tenant) to the state of a bundle. Commits by itself, whatever the calling transaction does later. verify looks into databases that seem to be up to date, and compares those of which any row of the catalog has changed; full_verify compares all; seeders => ''insert_missing'' inserts rows that seeders make and that are missing; plan is the fingerprint of the only plan that may run';

DROP FUNCTION migrate_all(text, text, bytea, text[], text[], integer, text, integer, boolean, text[], boolean, boolean, text, boolean);
CREATE FUNCTION migrate_all(platform text, schema_name text DEFAULT NULL, schema bytea DEFAULT NULL, tenants text[] DEFAULT NULL,
                            canary text[] DEFAULT '{}', parallel integer DEFAULT 2, on_error text DEFAULT 'stop',
                            retries integer DEFAULT 1, force boolean DEFAULT false, allow text[] DEFAULT '{}',
                            dry_run boolean DEFAULT false, verify boolean DEFAULT false, seeders text DEFAULT 'check',
                            wait boolean DEFAULT true, full_verify boolean DEFAULT false) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'stonescriptdb_migrate_all';
COMMENT ON FUNCTION migrate_all(text, text, bytea, text[], text[], integer, text, integer, boolean, text[], boolean, boolean, text, boolean, boolean) IS
    'brings all databases of a platform''s schema (or those of some tenants) to a bundle, by default the newest: canaries first, the others parallel at a time. wait => false leaves it to the server worker and returns at once. Commits by itself, database by database';

DROP VIEW drift;
DROP FUNCTION "check"(text, text);
DROP FUNCTION check_list(text, text);
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

CREATE VIEW drift AS
    SELECT d.platform, d.tenant_id, d.database, d.kind, d.object, d.deviation, d.detail, nullif(d.schema_name, '') AS schema_name
    FROM pg_catalog.jsonb_to_recordset(check_list())
         AS d(platform text, tenant_id text, database name, kind text, object text, deviation text, detail text, schema_name text);
COMMENT ON VIEW drift IS 'how the databases of all tenants differ from their bundles; looks into every one of them';
GRANT SELECT ON drift TO stonescriptdb_admin;

-- moved.sql ------------------------------------------------------------------------------------------------------------------

-- Whose a database is, where DROP EXTENSION does not reach: in its comment. A comment of a DBA's own stays.
CREATE FUNCTION whose(platform text, schema_name text, tenant_id text) RETURNS jsonb
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
    AS $$ SELECT jsonb_strip_nulls(jsonb_build_object('platform', $1, 'schema', nullif($2, ''), 'tenant', $3)) $$;
COMMENT ON FUNCTION whose(text, text, text) IS 'what the comment of a tenant''s database says of it';

CREATE FUNCTION whose(database oid) RETURNS jsonb
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
    DECLARE
        said text := shobj_description($1, 'pg_database');
    BEGIN
        RETURN CASE WHEN starts_with(said, 'stonescriptdb: {') THEN substr(said, length('stonescriptdb: ') + 1)::jsonb END;
    EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
        -- Its owner may write what they like.
        RETURN NULL;
    END $$;
COMMENT ON FUNCTION whose(oid) IS 'whose a database is, as its comment says; NULL if it does not';

CREATE FUNCTION name_database() RETURNS trigger
    LANGUAGE plpgsql SET search_path = stonescriptdb, pg_catalog, pg_temp
    AS $$
    DECLARE
        name name;
        comment text;
        said text := 'stonescriptdb: ' || whose(NEW.platform, NEW.schema_name, NEW.tenant_id)::text;
    BEGIN
        SELECT c.datname, shobj_description(c.oid, 'pg_database') INTO name, comment FROM pg_database c WHERE c.oid = NEW.datid;
        IF FOUND AND said IS DISTINCT FROM comment AND (comment IS NULL OR starts_with(comment, 'stonescriptdb: {')) THEN
            EXECUTE format('COMMENT ON DATABASE %I IS %L', name, said);
        END IF;
        RETURN NULL;
    END $$;
COMMENT ON FUNCTION name_database() IS 'says in the comment of a tenant''s database whose it is, for recover';
CREATE TRIGGER name_database AFTER INSERT OR UPDATE OF name, platform, schema_name, tenant_id, datid, state ON database FOR EACH ROW
    WHEN (NEW.state = 'ready' AND NEW.datid IS NOT NULL) EXECUTE FUNCTION name_database();

CREATE FUNCTION prepare_upgrade() RETURNS bigint
    LANGUAGE plpgsql VOLATILE SET search_path = stonescriptdb, pg_catalog, pg_temp
    AS $$
    DECLARE
        one record;
        opened bigint := 0;
    BEGIN
        -- What is unfinished is dropped when the server worker starts; meanwhile nothing is copied from it.
        FOR one IN UPDATE template t SET state = 'building' FROM pg_database c
                   WHERE c.oid = t.datid AND c.datname = t.database AND c.datistemplate RETURNING c.datname LOOP
            EXECUTE format('ALTER DATABASE %I ALLOW_CONNECTIONS true', one.datname);
            opened := opened + 1;
        END LOOP;
        RETURN opened;
    END $$;
COMMENT ON FUNCTION prepare_upgrade() IS
    'to be called before pg_upgrade, which takes no cluster with databases that admit no connections: gives up the templates, which are dropped at the next start and built again when they are needed';

-- OIDs of databases mean something in one cluster only, and rows of a dump may come from any, and from any time. A row that is
-- inserted keeps its database's OID if the database there is the tenant's: by its name or by its comment, and by its owner. Otherwise the
-- server worker finds it by its name and recognises it by its tracking tables, as it does with a tenant that was dropped and restored.
CREATE FUNCTION settle_database() RETURNS trigger
    LANGUAGE plpgsql SET search_path = stonescriptdb, pg_catalog, pg_temp
    AS $$
    BEGIN
        NEW.datid := (SELECT c.oid FROM pg_database c LEFT JOIN platform p ON p.name = NEW.platform
                      WHERE c.oid = NEW.datid
                        AND (c.datname = NEW.name OR whose(c.oid) = whose(NEW.platform, NEW.schema_name, NEW.tenant_id))
                        AND (NEW.state <> 'ready' OR p.owner_role = (SELECT r.rolname FROM pg_roles r WHERE r.oid = c.datdba)));
        IF NEW.state = 'ready' THEN
            -- Registry and databases are not dumped at one moment.
            NEW.touched := true;
            NEW.touched_at := clock_timestamp();
            NEW.touches := NEW.touches + 1;
        END IF;
        RETURN NEW;
    END $$;
COMMENT ON FUNCTION settle_database() IS 'forgets the OID of a database that is not this tenant''s here';
CREATE TRIGGER settle_database BEFORE INSERT ON database FOR EACH ROW EXECUTE FUNCTION settle_database();

-- pg_dumpall leaves databases out that admit no connections: templates are built again when they are needed.
CREATE FUNCTION settle_template() RETURNS trigger
    LANGUAGE plpgsql SET search_path = stonescriptdb, pg_catalog, pg_temp
    AS $$
    BEGIN
        IF NEW.state = 'ready'
           AND NOT EXISTS (SELECT FROM pg_database c WHERE c.oid = NEW.datid AND c.datname = NEW.database AND c.datistemplate) THEN
            RETURN NULL;
        END IF;
        RETURN NEW;
    END $$;
COMMENT ON FUNCTION settle_template() IS 'leaves a template out whose database is not here';
CREATE TRIGGER settle_template BEFORE INSERT ON template FOR EACH ROW EXECUTE FUNCTION settle_template();

CREATE FUNCTION settle_deployment() RETURNS trigger
    LANGUAGE plpgsql SET search_path = stonescriptdb, pg_catalog, pg_temp
    AS $$
    BEGIN
        NEW.state := 'interrupted';
        NEW.finished_at := now();
        RETURN NEW;
    END $$;
COMMENT ON FUNCTION settle_deployment() IS 'a deployment that was running when it was dumped runs no more where it is restored';
CREATE TRIGGER settle_deployment BEFORE INSERT ON deployment FOR EACH ROW
    -- One that begins has the time of its transaction.
    WHEN (NEW.state = 'running' AND NEW.started_at IS DISTINCT FROM now()) EXECUTE FUNCTION settle_deployment();

CREATE FUNCTION sanitised(name text) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp
    AS $$ SELECT btrim(regexp_replace(lower($1 COLLATE "C"), '[^a-z0-9]', '_', 'g'), '_') $$;
COMMENT ON FUNCTION sanitised(text) IS 'what becomes of a name in the name of a database';

CREATE FUNCTION unknown_databases(OUT platform text, OUT platform_key text, OUT owner_role name, OUT call_role name, OUT schema_name text,
                                  OUT tenant_id text, OUT tenant_key text, OUT database name) RETURNS SETOF record
    LANGUAGE sql STABLE SET search_path = stonescriptdb, pg_catalog, pg_temp
    AS $$
    WITH ours AS (
        -- The platforms' roles, by their comments and by the names that their platforms give them.
        SELECT r.oid, r.rolname, k.key, n.call_name FROM pg_roles r
        CROSS JOIN LATERAL (SELECT substr(shobj_description(r.oid, 'pg_authid'),
                                          length('stonescriptdb: owns the databases of the platform ') + 1) AS key) k
        CROSS JOIN LATERAL (SELECT CASE WHEN length(k.key) <= 43 THEN k.key
                                        ELSE left(k.key, 34) || '_' || left(encode(sha256(convert_to(k.key, 'UTF8')), 'hex'), 8) END AS cut) c
        CROSS JOIN LATERAL (SELECT 'stonescriptdb_' || c.cut || '_owner' AS owner_name, 'stonescriptdb_' || c.cut || '_call' AS call_name) n
        WHERE shobj_description(r.oid, 'pg_authid') LIKE 'stonescriptdb: owns the databases of the platform %' AND r.rolname = n.owner_name
          AND NOT (r.rolsuper OR r.rolcreaterole OR r.rolcreatedb OR r.rolreplication OR r.rolbypassrls)
          AND EXISTS (SELECT FROM pg_roles x WHERE x.rolname = n.call_name
                      AND shobj_description(x.oid, 'pg_authid') = 'stonescriptdb: calls functions of the platform ' || k.key)
    ), said AS (
        SELECT o.key, o.rolname, o.call_name, c.datname, whose(c.oid) AS it
        FROM pg_database c JOIN ours o ON o.oid = c.datdba
        WHERE c.datallowconn AND NOT c.datistemplate
          AND NOT EXISTS (SELECT FROM database d WHERE d.datid = c.oid OR d.name = c.datname)
    ), named AS (
        SELECT coalesce(t.it ->> 'platform', t.key) AS platform, t.key, t.rolname, t.call_name, coalesce(t.it ->> 'schema', '') AS schema_name,
               -- Without a comment of ours its name tells what its tenant sanitises to.
               coalesce(t.it ->> 'tenant', CASE WHEN starts_with(t.datname::text, t.key || '_') THEN substr(t.datname::text, length(t.key) + 2) END)
                   AS tenant, t.datname
        FROM said t
    )
    SELECT n.platform, n.key, n.rolname, n.call_name::name, n.schema_name, n.tenant, sanitised(n.tenant), n.datname
    FROM named n WHERE sanitised(n.platform) = n.key AND sanitised(n.tenant) <> '' $$;
COMMENT ON FUNCTION unknown_databases() IS 'databases of platforms'' owner roles that the registry does not know, and whose they are';

CREATE FUNCTION recover(open boolean DEFAULT false) RETURNS TABLE (platform text, schema_name text, tenant_id text, database name)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = stonescriptdb, pg_catalog, pg_temp
    AS $$
    #variable_conflict use_column
    DECLARE
        one record;
        name_of_platform text;
    BEGIN
        FOR one IN SELECT u.* FROM unknown_databases() u ORDER BY u.platform, u.schema_name, u.tenant_id LOOP
            SELECT p.name INTO name_of_platform FROM platform p WHERE p.key = one.platform_key;
            IF NOT FOUND THEN
                name_of_platform := one.platform;
                INSERT INTO platform (name, key, owner_role, call_role)
                VALUES (one.platform, one.platform_key, one.owner_role, one.call_role);
                -- Whether it had tokens nobody knows any more. One that has expired keeps it closed until it has another.
                IF NOT $1 THEN
                    INSERT INTO token (platform, hash, description, expires_at)
                    VALUES (one.platform, sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())),
                            'made by recover: closes the platform until it has a token', now());
                END IF;
            END IF;
            IF one.schema_name <> '' THEN
                INSERT INTO stored_schema (platform, name, key) VALUES (name_of_platform, one.schema_name, sanitised(one.schema_name))
                ON CONFLICT DO NOTHING;
            END IF;
            -- Without the OID: the server worker looks into it first.
            INSERT INTO database AS d (name, platform, schema_name, tenant_id, tenant_key, state, touched)
            VALUES (one.database, name_of_platform, one.schema_name, one.tenant_id, one.tenant_key, 'ready', true)
            ON CONFLICT DO NOTHING;
            IF FOUND THEN
                RETURN QUERY SELECT name_of_platform, nullif(one.schema_name, ''), one.tenant_id, one.database;
            ELSE
                RAISE WARNING 'the database "%" is not taken: its tenant "%" of the platform "%" has another one', one.database,
                    one.tenant_id, name_of_platform;
            END IF;
        END LOOP;
    END $$;
COMMENT ON FUNCTION recover(boolean) IS
    'enters the databases of platforms that the registry does not know, as after DROP EXTENSION and CREATE EXTENSION. Over HTTP a platform that comes back so is closed until it gets a token; open => true leaves it open to all allowed networks';

-- Networks and rates of platforms; scopes, names, tenants and rotation of tokens ---------------------------------------------

ALTER TABLE platform ADD COLUMN networks cidr[] NOT NULL DEFAULT '{}', ADD COLUMN rate integer CHECK (rate >= 0),
    ADD COLUMN burst integer CHECK (burst > 0), ADD CHECK (burst IS NULL OR rate IS NOT NULL);
COMMENT ON COLUMN platform.rate IS 'requests a second over HTTP; 0 is no limit, NULL what stonescriptdb.platform_rate says';
COMMENT ON COLUMN platform.burst IS 'requests at once after a pause; NULL is what comes in a second';
COMMENT ON COLUMN platform.networks IS 'from which requests over HTTP may name it; none is all that the listener lets in';

-- A token of before may call and deploy, as it could.
ALTER TABLE token ADD COLUMN name text,
    ADD COLUMN scopes text[] NOT NULL DEFAULT '{call,deploy}' CHECK (scopes <@ '{call,deploy,admin}' AND scopes <> '{}'),
    ADD COLUMN for_tenant boolean NOT NULL DEFAULT false CHECK (NOT for_tenant OR scopes = '{call}'),
    ADD COLUMN database name REFERENCES database ON UPDATE CASCADE ON DELETE SET NULL,
    ADD COLUMN replaced_by uuid REFERENCES token ON DELETE SET NULL, ADD COLUMN last_used_at timestamptz;
COMMENT ON TABLE token IS 'tokens of platforms: whoever has one may do over HTTP what its scopes say, as far as its platform is concerned';
COMMENT ON COLUMN token.hash IS 'SHA-256; the token itself is stored nowhere';
COMMENT ON COLUMN token.scopes IS 'call: functions; deploy: bundles, deployments, new databases; admin: the platform''s tokens, the life of its tenants';
COMMENT ON COLUMN token.for_tenant IS 'it is for the calls of one database; once that is gone, for none';
COMMENT ON COLUMN token.database IS 'which one, as in the table database';
COMMENT ON COLUMN token.replaced_by IS 'the token that rotate_token made in its place';
COMMENT ON COLUMN token.last_used_at IS 'written once an hour at most, so it may be an hour or two behind';
DROP TRIGGER registry_changed ON token;
CREATE TRIGGER registry_changed AFTER INSERT OR UPDATE OF platform, hash, scopes, for_tenant, database, expires_at, revoked_at
    OR DELETE OR TRUNCATE ON token FOR EACH STATEMENT EXECUTE FUNCTION registry_changed();

DROP FUNCTION create_token(text, text, timestamptz);
DROP FUNCTION issue_token(text, text, timestamptz, text);
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

CREATE OR REPLACE FUNCTION revoke_token(id uuid) RETURNS boolean
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = stonescriptdb, pg_catalog, pg_temp
    AS $$ SELECT end_token(NULL, $1) $$;
COMMENT ON FUNCTION revoke_token(uuid) IS 'makes a token useless; false if there is none of that id that is not revoked already';

CREATE FUNCTION note_tokens_used(ids uuid[]) RETURNS void
    LANGUAGE sql VOLATILE SET search_path = stonescriptdb, pg_catalog, pg_temp
    AS $$ UPDATE token t SET last_used_at = clock_timestamp() WHERE t.id = ANY ($1) $$;
COMMENT ON FUNCTION note_tokens_used(uuid[]) IS 'the server worker has seen these tokens';

CREATE OR REPLACE VIEW platforms AS
    SELECT p.name AS platform, p.owner_role, p.call_role, p.created_at,
           (SELECT count(*) FROM database d WHERE d.platform = p.name) AS databases,
           (SELECT s.bundle_sha256 FROM stored_schema s WHERE s.platform = p.name AND s.name = '') AS bundle_sha256,
           (SELECT count(*) FROM stored_schema s WHERE s.platform = p.name AND s.name <> '') AS schemas, p.networks, p.rate, p.burst
    FROM platform p;
COMMENT ON VIEW platforms IS 'every platform with its roles, the number of its databases and stored schemas, and the newest bundle of its own';
COMMENT ON COLUMN platforms.rate IS 'requests a second over HTTP; 0 is no limit, NULL what stonescriptdb.platform_rate says';
COMMENT ON COLUMN platforms.networks IS 'from which requests over HTTP may name it; empty is all that stonescriptdb.allowed_networks lets in';

CREATE OR REPLACE VIEW tokens AS
    SELECT t.id, t.platform, t.description, t.created_by, t.created_at, t.expires_at, t.revoked_at, t.name, t.scopes,
           CASE WHEN t.for_tenant THEN coalesce(d.tenant_id, '') END AS tenant_id, nullif(d.schema_name, '') AS schema_name,
           t.replaced_by, t.last_used_at
    FROM token t LEFT JOIN database d ON d.name = t.database;
COMMENT ON VIEW tokens IS 'the tokens of platforms, without the tokens themselves, which are stored nowhere';
COMMENT ON COLUMN tokens.tenant_id IS 'the only tenant that it is for; empty if that is gone';
COMMENT ON COLUMN tokens.replaced_by IS 'the token that rotate_token made in its place';
COMMENT ON COLUMN tokens.last_used_at IS 'written once an hour at most';

-- stats.sql ------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION stats_list() RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'stonescriptdb_stats';
COMMENT ON FUNCTION stats_list() IS 'the rows of the view stats as JSON';

CREATE VIEW stats AS
    SELECT s.metric, s.labels, s.value
    FROM pg_catalog.jsonb_to_recordset(stats_list()) AS s(metric text, labels jsonb, value double precision);
COMMENT ON VIEW stats IS 'all figures, named as in GET /metrics; counters begin with PostgreSQL''s start';

CREATE VIEW stats_latency AS
    SELECT s.labels ->> 'platform' AS platform,
           CASE WHEN s.labels ->> 'le' = '+Inf' THEN 'infinity' ELSE (s.labels ->> 'le')::double precision * 1000 END AS le_ms,
           s.value::bigint AS calls
    FROM stats s WHERE s.metric = 'stonescriptdb_call_duration_seconds_bucket';
COMMENT ON VIEW stats_latency IS 'how many calls of each platform took so long or less';

CREATE VIEW stats_calls AS
    WITH s AS MATERIALIZED (SELECT x.metric, x.labels, x.labels ->> 'platform' AS platform, x.value FROM stats x),
    sums AS (
        SELECT platform, sum(value) FILTER (WHERE metric = 'stonescriptdb_calls_total') AS calls,
               sum(value) FILTER (WHERE labels ->> 'outcome' = 'ok') AS ok,
               sum(value) FILTER (WHERE labels ->> 'outcome' = 'refused') AS refused,
               sum(value) FILTER (WHERE labels ->> 'outcome' = 'failed') AS failed,
               sum(value) FILTER (WHERE labels ->> 'outcome' = 'error') AS error,
               sum(value) FILTER (WHERE labels ->> 'outcome' = 'timeout') AS timeout,
               sum(value) FILTER (WHERE labels ->> 'outcome' = 'unavailable') AS unavailable,
               sum(value) FILTER (WHERE labels ->> 'outcome' = 'cancelled') AS cancelled,
               sum(value) FILTER (WHERE metric = 'stonescriptdb_call_duration_seconds_sum') AS seconds,
               sum(value) FILTER (WHERE metric = 'stonescriptdb_call_duration_seconds_count') AS timed,
               sum(value) FILTER (WHERE metric = 'stonescriptdb_call_parameter_bytes_total') AS parameter_bytes,
               sum(value) FILTER (WHERE metric = 'stonescriptdb_call_result_bytes_total') AS result_bytes
        FROM s WHERE platform IS NOT NULL GROUP BY platform)
    SELECT platform, calls::bigint, ok::bigint, refused::bigint, failed::bigint, error::bigint, timeout::bigint, unavailable::bigint,
           cancelled::bigint, seconds / nullif(timed, 0) * 1000 AS mean_ms, quantiles.p50_ms, quantiles.p95_ms, quantiles.p99_ms,
           parameter_bytes::bigint, result_bytes::bigint
    FROM sums, LATERAL (
        SELECT min(b.le) FILTER (WHERE b.calls >= sums.timed * 0.5) AS p50_ms, min(b.le) FILTER (WHERE b.calls >= sums.timed * 0.95) AS p95_ms,
               min(b.le) FILTER (WHERE b.calls >= sums.timed * 0.99) AS p99_ms
        FROM (SELECT CASE WHEN s.labels ->> 'le' = '+Inf' THEN 'infinity' ELSE (s.labels ->> 'le')::double precision * 1000 END AS le, s.value AS calls
              FROM s WHERE s.platform = sums.platform AND s.metric = 'stonescriptdb_call_duration_seconds_bucket') b
        WHERE sums.timed > 0) quantiles;
COMMENT ON VIEW stats_calls IS 'calls of each platform by outcome, and how long they took; a batch is one call';
COMMENT ON COLUMN stats_calls.p50_ms IS 'half of the calls took so long or less: the upper end of a bucket of stats_latency';

CREATE VIEW stats_executors AS
    SELECT s.labels ->> 'kind' AS kind, s.labels ->> 'state' AS state, s.value::bigint AS executors
    FROM stats s WHERE s.metric = 'stonescriptdb_executors';
COMMENT ON VIEW stats_executors IS 'executors by what they are for (calls, or deployments and other work) and what they do; the view workers has each';

CREATE VIEW stats_queues AS
    SELECT s.labels ->> 'kind' AS kind, sum(s.value) FILTER (WHERE s.metric = 'stonescriptdb_queue_length')::bigint AS waiting,
           sum(s.value) FILTER (WHERE s.metric = 'stonescriptdb_queue_wait_seconds') * 1000 AS longest_ms
    FROM stats s WHERE s.metric IN ('stonescriptdb_queue_length', 'stonescriptdb_queue_wait_seconds') GROUP BY 1;
COMMENT ON VIEW stats_queues IS 'requests that wait for an executor, and how long the first of them has been waiting';

CREATE VIEW stats_deployments AS
    SELECT s.labels ->> 'outcome' AS outcome,
           sum(s.value) FILTER (WHERE s.metric = 'stonescriptdb_deployments_total')::bigint AS deployments,
           sum(s.value) FILTER (WHERE s.metric = 'stonescriptdb_deployment_databases_total')::bigint AS databases
    FROM stats s WHERE s.metric IN ('stonescriptdb_deployments_total', 'stonescriptdb_deployment_databases_total') GROUP BY 1;
COMMENT ON VIEW stats_deployments IS 'how deployments have ended since PostgreSQL''s start, and how in each of their databases; the view deployments has each';

CREATE VIEW stats_refusals AS
    SELECT s.labels ->> 'reason' AS reason, s.value::bigint AS refused
    FROM stats s WHERE s.metric = 'stonescriptdb_refusals_total';
COMMENT ON VIEW stats_refusals IS 'requests that got no executor and connections that were not served, by reason';

CREATE VIEW stats_errors AS
    SELECT s.labels ->> 'error' AS error, s.value::bigint AS answered
    FROM stats s WHERE s.metric = 'stonescriptdb_http_errors_total';
COMMENT ON VIEW stats_errors IS 'errors answered over HTTP, by code';

CREATE VIEW stats_http AS
    SELECT sum(s.value) FILTER (WHERE s.metric = 'stonescriptdb_http_connections')::bigint AS connections,
           sum(s.value) FILTER (WHERE s.metric = 'stonescriptdb_http_connections_direct')::bigint AS direct,
           sum(s.value) FILTER (WHERE s.metric = 'stonescriptdb_http_connections_total')::bigint AS served,
           sum(s.value) FILTER (WHERE s.metric = 'stonescriptdb_http_received_bytes_total')::bigint AS received_bytes,
           sum(s.value) FILTER (WHERE s.metric = 'stonescriptdb_http_sent_bytes_total')::bigint AS sent_bytes
    FROM stats s;
COMMENT ON VIEW stats_http IS 'HTTP connections: those that are open, those of them that executors serve, those served so far, and their bytes';

-- Whose the databases are that there are.
UPDATE database SET state = state;

-- Rights, and the server worker's notice at the commit.
REVOKE ALL ON ALL TABLES IN SCHEMA stonescriptdb FROM PUBLIC;
REVOKE ALL ON ALL ROUTINES IN SCHEMA stonescriptdb FROM PUBLIC;
GRANT EXECUTE ON ALL ROUTINES IN SCHEMA stonescriptdb TO stonescriptdb_admin;
GRANT SELECT ON stats, stats_latency, stats_calls, stats_executors, stats_queues, stats_deployments, stats_refusals, stats_errors, stats_http
    TO stonescriptdb_admin;
UPDATE platform SET name = name;

-- Proofs of other major versions -----------------------------------------------------------------------------------------------

ALTER TABLE bundle ADD COLUMN proved_on integer;
COMMENT ON COLUMN bundle.proved_on IS 'the major version of the server that it was built on: another one writes its catalog otherwise, and builds it anew';

-- Clocks jump ----------------------------------------------------------------------------------------------------------------

ALTER TABLE database ADD COLUMN touches bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN database.touches IS 'how often that was noticed: clocks jump, numbers do not';
ALTER TABLE deployment_database ADD COLUMN touches bigint, ADD COLUMN deployed_by uuid;
COMMENT ON COLUMN deployment_database.touches IS 'how often it had been touched when this began, or was taken up again';
COMMENT ON COLUMN deployment_database.deployed_by IS 'the deployment that had brought it where it was when this began';
-- As it was told until now: by the order of ids.
UPDATE deployment_database x SET deployed_by = d.deployment_id FROM database d
WHERE d.name = x.database AND d.deployment_id < x.deployment_id;

CREATE OR REPLACE FUNCTION measure_stale(platform text, stale_after interval, budget interval) RETURNS bigint
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

-- The first error of a deployment is found without its other databases, and the rate of those that run only.
CREATE INDEX deployment_database_error ON deployment_database (deployment_id, position) WHERE error IS NOT NULL;
CREATE OR REPLACE VIEW deployments AS
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
