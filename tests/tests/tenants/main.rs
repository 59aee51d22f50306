//! Platforms, tokens and the life of tenants beside deployments.

mod following;
mod life;
mod living;
mod platforms;
mod scale;
mod tokens;

use acceptance::{Cluster, Files};

/// A function that tells a mark, and a table to tell databases apart.
fn notes() -> Files {
    Files::new()
        .file("tables/notes.pssql", "CREATE TABLE notes (id bigserial PRIMARY KEY, body text NOT NULL);\n")
        .file(
            "functions/add_note.pssql",
            "CREATE FUNCTION add_note(p_body text) RETURNS bigint LANGUAGE sql AS\n\
             $$ INSERT INTO notes (body) VALUES (p_body) RETURNING id $$;\n",
        )
        .file(
            "functions/read_notes.pssql",
            "CREATE FUNCTION read_notes() RETURNS SETOF text LANGUAGE sql STABLE AS $$ SELECT body FROM notes ORDER BY id $$;\n",
        )
}

/// A row of the view `databases` as text.
#[track_caller]
fn database_row(cluster: &Cluster, database: &str, columns: &str) -> String {
    let query = format!("SELECT concat_ws(' ', {columns}) FROM stonescriptdb.databases WHERE database = '{database}'");
    acceptance::sql::texts(&mut cluster.control(), &query).join("; ")
}
