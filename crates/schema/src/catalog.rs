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

/// The settings that the texts of definitions depend on, with the values that [`catalog_queries`] must run under (`SET LOCAL`). A constant
/// in a default or in the bounds of a partition is written by its type's output function: a time in the session's time zone, say.
/// What is made of a model (a plan's statements) is to be run under the same.
pub const CATALOG_SETTINGS: &[(&str, &str)] = &[
    ("search_path", ""),
    ("quote_all_identifiers", "off"),
    ("datestyle", "ISO, MDY"),
    ("intervalstyle", "postgres"),
    ("timezone", "UTC"),
    ("extra_float_digits", "1"),
    ("bytea_output", "hex"),
];

/// The queries that [`Model::from_catalog`](crate::Model::from_catalog) wants the answers of, in its order. Each gives one row with one
/// text. They must see one state of the database: run them in one transaction, REPEATABLE READ unless nothing else can change
/// the schema meanwhile, under [`CATALOG_SETTINGS`].
///
/// Every role may run them. Definitions are made by functions of the server that lock the object for a moment, so a query waits while
/// another transaction holds ACCESS EXCLUSIVE on a table. Those functions also see the newest state of the catalog, whatever the
/// snapshot: of an object that is dropped meanwhile they give null, which is no answer to `from_catalog`, or an error
/// (XX000, `cache lookup failed`). Then the reading is to be tried again.
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
/// system's own, temporary, or of a TOAST table. So a change that is taken back leaves another stamp, and so do databases that are
/// alike. Changes of rows, ANALYZE, VACUUM (FULL too), TRUNCATE, REINDEX and REFRESH leave it as it is. Prepare it where it is asked
/// often: more than half of its time is planning.
///
/// A line for each part: its name, how many rows it has, and the sum of their hashes. Of routines (`pg_proc`) the hash of a row is
/// `hash_record_extended(ROW(oid, xmin), 0)`.
pub const STAMP_SQL: &str = include_str!("catalog/stamp.sql");
