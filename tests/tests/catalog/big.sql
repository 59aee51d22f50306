-- 500 tables of ten columns with a primary key, two indexes and a foreign key, and 1,000 functions.
DO $do$
BEGIN
    FOR n IN 1..500 LOOP
        EXECUTE format($$
            CREATE TABLE t%1$s (
                id bigserial PRIMARY KEY, parent bigint REFERENCES t%2$s, name varchar(100) NOT NULL, note text,
                made timestamptz NOT NULL DEFAULT now(), changed timestamptz, price numeric(12, 2) CHECK (price >= 0),
                active boolean NOT NULL DEFAULT true, tags text[], data jsonb NOT NULL DEFAULT '{}')$$, n, greatest(1, n - 1));
        EXECUTE format('CREATE INDEX t%1$s_name ON t%1$s (name); CREATE INDEX t%1$s_made ON t%1$s (made DESC) WHERE active', n);
    END LOOP;
    FOR n IN 1..1000 LOOP
        EXECUTE format($$
            CREATE FUNCTION f%1$s(p_id bigint, p_name text DEFAULT 'x') RETURNS TABLE (id bigint, name text) LANGUAGE plpgsql AS $f$
            BEGIN
                RETURN QUERY SELECT t.id, t.name::text FROM t%2$s t WHERE t.id = p_id OR t.name = p_name ORDER BY t.id LIMIT 10;
            END $f$ $$, n, 1 + n % 500);
    END LOOP;
END $do$;
