//! The seven kinds of file that a bundle holds.

use std::fmt;

/// The kind of a file, which is that of the folder it is in. The order is that of [`Bundle::files`](crate::Bundle::files).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kind {
    /// A PostgreSQL extension the platform needs: the file's stem is its name, see [`ExtensionRequest`](crate::ExtensionRequest).
    Extension,
    /// A type or domain.
    Type,
    /// A table as it shall be, with what belongs to it.
    Table,
    /// A step that runs once; recorded by its file name.
    Migration,
    /// Functions and procedures.
    Function,
    /// A view.
    View,
    /// Rows that a new table starts with.
    Seeder,
}

impl Kind {
    /// All kinds, in order.
    pub const ALL: [Kind; 7] =
        [Kind::Extension, Kind::Type, Kind::Table, Kind::Migration, Kind::Function, Kind::View, Kind::Seeder];

    /// The folder below the bundle's root that holds this kind, such as `tables`.
    pub const fn folder(self) -> &'static str {
        match self {
            Kind::Extension => "extensions",
            Kind::Type => "types",
            Kind::Table => "tables",
            Kind::Migration => "migrations",
            Kind::Function => "functions",
            Kind::View => "views",
            Kind::Seeder => "seeders",
        }
    }

    /// The kind whose folder this is. Exact: `Tables` is none.
    pub fn of_folder(folder: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.folder() == folder)
    }

    /// The file name extensions of this kind, without the dot. Exact as well: a file `A.SQL` is of no kind.
    pub const fn extensions(self) -> &'static [&'static str] {
        match self {
            Kind::Extension => &["sql", "txt"],
            _ => &["pssql", "pgsql", "sql"],
        }
    }
}

impl fmt::Display for Kind {
    /// The folder's name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.folder())
    }
}
