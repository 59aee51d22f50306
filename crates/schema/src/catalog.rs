//! The SQL that reads a database's catalog.
//!
//! All of it is for an empty search_path, for any role, and the same for PostgreSQL 15 to 18.

/// A query of objects: what they share before and after the part of its own.
macro_rules! objects {
    ($file:literal) => {
        concat!(
            include_str!("catalog/prelude.sql"),
            include_str!(concat!("catalog/", $file, ".sql")),
            include_str!("catalog/answer.sql")
        )
    };
}

/// The queries that [`Model::from_catalog`](crate::Model::from_catalog) wants the answers of, in its order. Each gives one row with one
/// text. They must see one state of the database: run them in one transaction, REPEATABLE READ unless nothing else can change
/// the schema meanwhile, with `search_path` set to the empty string and `quote_all_identifiers` off.
///
/// Every role may run them. Definitions are made by functions of the server that lock the object for a moment, so a query waits while
/// another transaction holds ACCESS EXCLUSIVE on a table.
pub fn catalog_queries() -> &'static [&'static str] {
    &[
        objects!("spaces"),
        objects!("types"),
        objects!("sequences"),
        objects!("tables"),
        objects!("columns"),
        objects!("constraints"),
        objects!("indexes"),
        objects!("parts"),
        objects!("views"),
        objects!("routines"),
        objects!("others"),
        include_str!("catalog/edges.sql"),
    ]
}

/// One query that gives one text: a stamp of the state of the catalog. Where it is the same as before, nothing that is in a
/// [`Model`](crate::Model) has changed, save the names of roles. It is made of the row versions of everything that is not the
/// system's own, temporary, or of a TOAST table, so that it may change without a difference (TRUNCATE, VACUUM FULL and REINDEX change
/// pg_class; so does a change that is taken back), and it differs between databases that are alike. ANALYZE, VACUUM and changes of
/// rows leave it as it is.
pub const STAMP_SQL: &str = include_str!("catalog/stamp.sql");
