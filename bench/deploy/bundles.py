"""Synthetic bundles of any size, as tar.gz: tables with foreign keys among them, and five functions for each table in turn.

The files' names are not in the order in which the tables can be made. The same arguments give the same bytes.
"""
import gzip
import hashlib
import io
import tarfile

FUNCTIONS = {
    "get": """\
CREATE OR REPLACE FUNCTION {name}(p_id BIGINT)
RETURNS TABLE (o_id BIGINT, o_name TEXT, o_qty INTEGER) AS $$
BEGIN
{mark}    RETURN QUERY SELECT x.id, x.name, x.qty FROM {table} x WHERE x.id = p_id;
END;
$$ LANGUAGE plpgsql;
""",
    "list": """\
CREATE OR REPLACE FUNCTION {name}(p_limit INTEGER DEFAULT 50, p_offset INTEGER DEFAULT 0)
RETURNS TABLE (o_id BIGINT, o_name TEXT, o_total BIGINT) AS $$
BEGIN
{mark}    RETURN QUERY SELECT x.id, x.name, count(*) OVER () FROM {table} x WHERE x.active ORDER BY x.id LIMIT p_limit OFFSET p_offset;
END;
$$ LANGUAGE plpgsql;
""",
    "add": """\
CREATE OR REPLACE FUNCTION {name}(p_name TEXT, p_qty INTEGER DEFAULT 0, p_meta JSONB DEFAULT NULL)
RETURNS BIGINT AS $$
DECLARE v_id BIGINT;
BEGIN
{mark}    INSERT INTO {table} (name, qty, meta) VALUES (p_name, p_qty, p_meta) RETURNING id INTO v_id;
    RETURN v_id;
END;
$$ LANGUAGE plpgsql;
""",
    "rename": """\
CREATE OR REPLACE FUNCTION {name}(p_id BIGINT, p_name TEXT)
RETURNS INTEGER AS $$
DECLARE n INTEGER;
BEGIN
{mark}    UPDATE {table} SET name = COALESCE(p_name, name) WHERE id = p_id;
    GET DIAGNOSTICS n = ROW_COUNT;
    RETURN n;
END;
$$ LANGUAGE plpgsql;
""",
    "remove": """\
CREATE OR REPLACE FUNCTION {name}(p_id BIGINT)
RETURNS BOOLEAN AS $$
BEGIN
{mark}    DELETE FROM {table} WHERE id = p_id;
    RETURN FOUND;
END;
$$ LANGUAGE plpgsql;
""",
}


def bundle(tables, functions, changed_functions=0, changed_tables=0, revision=1):
    """A bundle. Of the first `changed_functions` functions the bodies, and of the first `changed_tables` tables the columns, are those of
    the `revision`: one that no server has seen."""
    files = {}
    for number in range(tables):
        name = table_name(number)
        mark = hashlib.sha256(name.encode()).hexdigest()[:4]
        files[f"tables/{mark}_{name}.pssql"] = table(number, revision if number < changed_tables else 0)
    for number in range(functions):
        name, text = function(number, tables, revision if number < changed_functions else 0)
        files[f"functions/{name}.pssql"] = text
    return archive(files)


def table_name(number):
    return f"t_{number:04d}"


def table(number, revision):
    name = table_name(number)
    columns = [
        "id BIGSERIAL PRIMARY KEY",
        "name TEXT NOT NULL",
        "qty INTEGER NOT NULL DEFAULT 0",
        "price REAL",
        "active BOOLEAN NOT NULL DEFAULT TRUE",
        "meta JSONB",
        "created_at TIMESTAMPTZ DEFAULT NOW()",
    ]
    if revision:
        columns.append(f"more_{revision} INTEGER")
    # One to three tables before it, spread over all of them.
    parents = sorted({(number * step) // 7 for step in range(1, 2 + number % 3)}) if number else []
    indexes = ""
    for parent in map(table_name, parents):
        columns.append(f"{parent}_id BIGINT REFERENCES {parent} (id) ON DELETE CASCADE")
        indexes += f"CREATE INDEX {name}_by_{parent} ON {name} ({parent}_id);\n"
    body = ",\n    ".join(columns)
    return f"-- table {number}\nCREATE TABLE {name} (\n    {body}\n);\n{indexes}"


def function(number, tables, revision):
    """Name and text."""
    verb = list(FUNCTIONS)[number % len(FUNCTIONS)]
    turn, place = divmod(number // len(FUNCTIONS), tables)
    name = f"{verb}_{table_name(place)}" + (f"_{turn}" if turn else "")
    mark = f"    PERFORM {number} + {revision};\n" if revision else ""
    return name, FUNCTIONS[verb].format(name=name, table=table_name(place), mark=mark)


def archive(files):
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for path in sorted(files):
            data = files[path].encode()
            info = tarfile.TarInfo(f"postgresql/{path}")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return gzip.compress(raw.getvalue(), mtime=0)
