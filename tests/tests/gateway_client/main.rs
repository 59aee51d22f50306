//! The clients that are there: the StoneScriptPHP command line, which deploys, and its runtime client, which calls. What they send and
//! what they make of the answers is written down here as they do it.

mod client;
mod deploying;
mod older;
mod polling;

use acceptance::Files;

/// The bundle of the platform's main database, or of its tenants: a table, a function that says which edition, one that writes.
fn bundle(kind: &str, edition: u32) -> Files {
    Files::new()
        .file(
            "tables/notes.pssql",
            "CREATE TABLE IF NOT EXISTS notes (\n    id SERIAL PRIMARY KEY,\n    body TEXT,\n    at TIMESTAMP DEFAULT CURRENT_TIMESTAMP\n);\n",
        )
        .file(
            "functions/edition.pssql",
            format!("CREATE OR REPLACE FUNCTION edition() RETURNS TEXT AS $$ BEGIN RETURN '{kind} {edition}'; END; $$ LANGUAGE plpgsql;\n"),
        )
        .file(
            "functions/add_note.pssql",
            "CREATE OR REPLACE FUNCTION add_note(p_body TEXT) RETURNS TABLE (o_id INT, o_body TEXT) AS $$\nBEGIN\n    \
             RETURN QUERY INSERT INTO notes (body) VALUES (p_body) RETURNING id, body;\nEND;\n$$ LANGUAGE plpgsql;\n",
        )
}

/// [`bundle`] of tenants, in which every note has a body: a migration says so, and a tenant's row may make it impossible.
fn strict(edition: u32) -> Files {
    bundle("tenant", edition)
        .edit("tables/notes.pssql", "body TEXT,", "body TEXT NOT NULL,")
        .file("migrations/001_strict.pssql", "ALTER TABLE notes ALTER COLUMN body SET NOT NULL;\n")
}

/// A bundle of tenants whose last migration waits while a role `gate_<database>` is there.
fn gated(files: Files, name: &str) -> Files {
    files.file(
        &format!("migrations/{name}.pssql"),
        "DO $$ BEGIN\n    WHILE EXISTS (SELECT FROM pg_roles WHERE rolname = 'gate_' || current_database()) LOOP\n        \
         PERFORM pg_sleep(0.01);\n    END LOOP;\nEND $$;\n",
    )
}
