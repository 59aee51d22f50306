# What README.md's chapter "The first bundle" leaves: the platform hello, with one table and one function.
mkdir -p hello/postgresql/tables hello/postgresql/functions
cat > hello/postgresql/tables/guests.pssql <<'SQL'
CREATE TABLE guests (
    id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE,
    seen timestamptz NOT NULL DEFAULT now()
);
SQL
cat > hello/postgresql/functions/greet.pssql <<'SQL'
CREATE FUNCTION greet(p_name text) RETURNS TABLE (greeting text, guest_no bigint)
LANGUAGE sql AS $$
    INSERT INTO guests (name) VALUES (p_name) RETURNING 'Hello, ' || name, id
$$;
SQL
tar -C hello -czf hello.tar.gz postgresql
curl -sf $SSDB_URL/register -F platform=hello -F schema=@hello.tar.gz
