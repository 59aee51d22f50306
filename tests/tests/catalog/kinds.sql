-- At least one object of every kind that an owner without special rights can make.
CREATE SCHEMA audit;
COMMENT ON SCHEMA audit IS 'who did what';
GRANT USAGE ON SCHEMA audit TO reader_call;
ALTER DEFAULT PRIVILEGES IN SCHEMA audit GRANT SELECT ON TABLES TO reader_call;
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;

CREATE TYPE mood AS ENUM ('sad', 'happy');
ALTER TYPE mood ADD VALUE 'ok' BEFORE 'happy';
COMMENT ON TYPE mood IS 'how it goes';
CREATE TYPE place AS (street varchar(40), "Town" text COLLATE "C", moods mood[]);
CREATE DOMAIN email AS varchar(200) COLLATE "C" DEFAULT 'nobody' NOT NULL
    CONSTRAINT has_at CHECK (VALUE LIKE '%@%' OR VALUE = 'nobody');
ALTER DOMAIN email ADD CONSTRAINT short CHECK (length(VALUE) < 100) NOT VALID;
REVOKE USAGE ON TYPE email FROM PUBLIC;
CREATE FUNCTION span(float8, float8) RETURNS float8 LANGUAGE sql IMMUTABLE AS 'SELECT $2 - $1';
CREATE TYPE stretch AS RANGE (subtype = float8, subtype_diff = span, multirange_type_name = stretches);
CREATE TYPE words AS RANGE (subtype = text, collation = "C");

CREATE SEQUENCE numbers AS int START 5 INCREMENT 5 MINVALUE 5 MAXVALUE 500 CACHE 3 CYCLE;
GRANT USAGE ON numbers TO reader_call WITH GRANT OPTION;

CREATE FUNCTION is_long(t text, n int DEFAULT 3) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$ SELECT length(t) > n $$;
CREATE TABLE people (
    id bigserial PRIMARY KEY,
    number int GENERATED ALWAYS AS IDENTITY (START 100),
    gone int,
    name varchar(80) COLLATE "C" NOT NULL,
    born timestamp(3) with time zone DEFAULT now(),
    key uuid DEFAULT gen_random_uuid(),
    random_number double precision DEFAULT (random() + 1),
    feels mood[] DEFAULT '{happy}',
    at place,
    mail email,
    upper_name text GENERATED ALWAYS AS (upper(name)) STORED,
    tags text[],
    CONSTRAINT long_name CHECK (is_long(name)),
    CONSTRAINT one_name UNIQUE (name, born) INCLUDE (key) WITH (fillfactor = 70) DEFERRABLE INITIALLY DEFERRED
) WITH (fillfactor = 90, toast.autovacuum_enabled = off, autovacuum_enabled = off);
ALTER TABLE people DROP COLUMN gone;
ALTER TABLE people ALTER tags SET STORAGE EXTERNAL, ALTER tags SET STATISTICS 500, ALTER tags SET (n_distinct = 7),
    ALTER name SET COMPRESSION pglz;
CREATE UNIQUE INDEX people_by_key ON people (key) WHERE key IS NOT NULL;
COMMENT ON INDEX people_by_key IS 'quick';
ALTER TABLE people ALTER key SET NOT NULL;
CREATE UNIQUE INDEX people_identity ON people (key);
ALTER TABLE people REPLICA IDENTITY USING INDEX people_identity;
CREATE INDEX people_by_length ON people (length(name) DESC, id);
CLUSTER people USING people_by_length;
COMMENT ON TABLE people IS 'everybody';
COMMENT ON COLUMN people.name IS 'as they say it';
COMMENT ON CONSTRAINT long_name ON people IS 'three at least';
GRANT SELECT ON people TO reader_call, PUBLIC;
GRANT UPDATE (name), SELECT (id) ON people TO reader_call;

CREATE UNLOGGED TABLE friends (
    one bigint CONSTRAINT friends_one REFERENCES people ON DELETE CASCADE,
    other bigint,
    during tstzrange DEFAULT tstzrange(clock_timestamp(), NULL),
    EXCLUDE USING gist (during WITH &&)
);
ALTER TABLE friends ADD CONSTRAINT friends_other FOREIGN KEY (other) REFERENCES people DEFERRABLE NOT VALID;
ALTER TABLE friends ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY mine ON friends AS RESTRICTIVE FOR UPDATE TO reader_call USING (one > 0) WITH CHECK (is_long(other::text));
COMMENT ON POLICY mine ON friends IS 'only mine';
CREATE POLICY everyone ON friends USING (true);

CREATE TABLE measured (at date NOT NULL, value numeric(10, 2), PRIMARY KEY (at)) PARTITION BY RANGE (at);
CREATE TABLE measured_2020 PARTITION OF measured (value DEFAULT 0, CONSTRAINT own_check CHECK (value < 100))
    FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
CREATE TABLE measured_rest PARTITION OF measured DEFAULT;
CREATE INDEX measured_by_value ON measured (value);
CREATE TABLE refers (at date REFERENCES measured);
CREATE TABLE animals (legs int CHECK (legs >= 0), CHECK (legs < 1000) NO INHERIT);
CREATE TABLE plants (height int);
CREATE TABLE corals (colour text) INHERITS (plants, animals);
CREATE TABLE homes OF place (street NOT NULL);

CREATE VIEW grown (id, "Name") WITH (security_barrier = true) AS SELECT id, name FROM people WHERE born < CURRENT_TIMESTAMP;
ALTER VIEW grown ALTER "Name" SET DEFAULT 'x';
COMMENT ON COLUMN grown."Name" IS 'of the person';
CREATE VIEW audit.both AS SELECT g.*, f.other FROM grown g JOIN friends f ON f.one = g.id;
CREATE MATERIALIZED VIEW counted WITH (fillfactor = 80) AS SELECT count(*) AS n FROM people WITH NO DATA;
CREATE UNIQUE INDEX counted_once ON counted (n);
CREATE STATISTICS name_and_born (dependencies) ON name, born FROM people;
ALTER STATISTICS name_and_born SET STATISTICS 77;
COMMENT ON STATISTICS name_and_born IS 'they go together';

CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE TRIGGER touched BEFORE UPDATE OF name ON people FOR EACH ROW WHEN (new.name <> old.name) EXECUTE FUNCTION touch('x');
ALTER TABLE people DISABLE TRIGGER touched;
COMMENT ON TRIGGER touched ON people IS 'touches';
CREATE CONSTRAINT TRIGGER checked AFTER INSERT ON people DEFERRABLE FOR EACH ROW EXECUTE FUNCTION touch();
CREATE TRIGGER each_row AFTER INSERT ON measured FOR EACH ROW EXECUTE FUNCTION touch();
CREATE TRIGGER instead INSTEAD OF INSERT ON grown FOR EACH ROW EXECUTE FUNCTION touch();
CREATE RULE no_delete AS ON DELETE TO people DO INSTEAD NOTHING;
COMMENT ON RULE no_delete ON people IS 'they stay';

CREATE PROCEDURE work(a int, INOUT b text DEFAULT 'x') LANGUAGE plpgsql AS $$ BEGIN COMMIT; END $$;
CREATE PROCEDURE rest() LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION everybody(int, VARIADIC names text[]) RETURNS TABLE (who people, n bigint) LANGUAGE sql STABLE
    AS 'SELECT p, 1 FROM people p';
CREATE FUNCTION standard(n bigint) RETURNS text LANGUAGE sql STABLE RETURN (SELECT name FROM people WHERE id = n);
CREATE FUNCTION moods(m mood[], OUT first mood, OUT "Last" mood) LANGUAGE plpgsql AS $$ BEGIN first := m[1]; END $$;
COMMENT ON FUNCTION moods(mood[]) IS 'both ends';
REVOKE EXECUTE ON FUNCTION is_long FROM PUBLIC;
GRANT EXECUTE ON FUNCTION is_long TO reader_call;
CREATE FUNCTION add(numeric, numeric) RETURNS numeric LANGUAGE sql IMMUTABLE AS 'SELECT $1 + $2';
CREATE FUNCTION subtract(numeric, numeric) RETURNS numeric LANGUAGE sql IMMUTABLE AS 'SELECT $1 - $2';
CREATE FUNCTION finish(numeric, numeric) RETURNS numeric LANGUAGE sql IMMUTABLE AS 'SELECT $1';
CREATE AGGREGATE total(numeric) (SFUNC = add, STYPE = numeric, SSPACE = 64, INITCOND = '0', FINALFUNC = finish, FINALFUNC_EXTRA,
    FINALFUNC_MODIFY = SHAREABLE, COMBINEFUNC = add, MSFUNC = add, MINVFUNC = subtract, MSTYPE = numeric, MINITCOND = '0',
    MFINALFUNC = finish, MFINALFUNC_EXTRA, SORTOP = <, PARALLEL = SAFE);
CREATE AGGREGATE many(*) (SFUNC = int8inc, STYPE = int8, INITCOND = '0');
CREATE FUNCTION pick(numeric, float8) RETURNS numeric LANGUAGE sql IMMUTABLE AS 'SELECT $1';
CREATE AGGREGATE picked(float8 ORDER BY numeric) (SFUNC = add, STYPE = numeric, FINALFUNC = pick);
CREATE FUNCTION ranked(numeric, numeric) RETURNS numeric LANGUAGE sql IMMUTABLE AS 'SELECT $1';
CREATE AGGREGATE hypothetical_rank(numeric ORDER BY numeric) (SFUNC = add, STYPE = numeric, FINALFUNC = ranked, HYPOTHETICAL);
COMMENT ON AGGREGATE total(numeric) IS 'all of it';

CREATE OPERATOR ~~> (LEFTARG = text, RIGHTARG = int, FUNCTION = is_long);
CREATE FUNCTION to_place(text) RETURNS place LANGUAGE sql IMMUTABLE AS 'SELECT ROW($1, NULL, NULL)::place';
CREATE CAST (text AS place) WITH FUNCTION to_place(text);
CREATE COLLATION german (provider = libc, locale = 'C');
CREATE TEXT SEARCH CONFIGURATION plain (COPY = simple);
CREATE TEXT SEARCH DICTIONARY stems (TEMPLATE = simple);
CREATE CONVERSION odd FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8;

-- None of this is in a model.
CREATE TABLE public._stonescriptdb_gateway_tables (id bigserial PRIMARY KEY, name text UNIQUE CHECK (name <> ''));
CREATE INDEX odd_name ON public._stonescriptdb_gateway_tables (name);
CREATE SEQUENCE another OWNED BY public._stonescriptdb_gateway_tables.id;
CREATE TEMPORARY TABLE passing (id serial PRIMARY KEY, name text);
