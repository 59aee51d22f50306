-- The registry in another cluster than the one that it was written in, and registries that were lost.

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

DO $$
DECLARE
    found bigint;
BEGIN
    SELECT count(*) INTO found FROM unknown_databases();
    IF found > 0 THEN
        RAISE NOTICE USING
            MESSAGE = pg_catalog.format('there are %s databases of tenants that this registry does not know', found),
            HINT = 'If no dump of a registry is to be restored: SELECT * FROM stonescriptdb.recover()';
    END IF;
END
$$;
