//! Which folder of an archive is the bundle's root, what kind a file is, and what is ignored.
//!
//! The root is `postgresql/`, `postgresql/` one folder down, or the archive's top. Where a member belongs is decided by its own
//! path alone, so that one pass over the archive is enough: every file of a known kind has exactly one root it can belong to, and
//! two roots in one archive are an error of the caller of this module.

use std::collections::BTreeSet;

use crate::path::shown;
use crate::{Kind, Manifest};

/// The folder that holds the kinds' folders, unless these are at the archive's top.
const ROOT: &str = "postgresql";

/// What a file is to a bundle.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Place<'p> {
    /// A file of a known kind: its root (empty for the archive's top) and its path below that.
    Source { root: &'p str, kind: Kind, below: &'p str },
    /// A manifest, if its folder turns out to be the root or one above it.
    Manifest { folder: &'p str },
    /// Nothing.
    Other,
}

/// What the file at this (normalised) path is.
pub(crate) fn place(path: &str) -> Place<'_> {
    for root in roots(path) {
        let below = below(root, path).unwrap_or_default();
        if let Some(kind) = kind_of(below) {
            return Place::Source { root, kind, below };
        }
    }
    match path.rsplit_once('/') {
        None if path == Manifest::FILE_NAME => Place::Manifest { folder: "" },
        Some((folder, Manifest::FILE_NAME)) => Place::Manifest { folder },
        _ => Place::Other,
    }
}

/// Whether a manifest in `folder` is that of the bundle with this root: in it or, as the archive's own, above it.
pub(crate) fn manifest_applies(folder: &str, root: &str) -> bool {
    folder == root || below(folder, root).is_some()
}

/// A tail of the path that would be a file of a bundle if it were in the right place.
pub(crate) fn is_misplaced(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    let mut tails = std::iter::successors(Some(lower.as_str()), |tail| tail.split_once('/').map(|(_, rest)| rest));
    tails.any(|tail| kind_of(tail).is_some())
}

/// One warning for each file that is ignored, or for the outermost ignored folder that it is in. `members` are the paths of all
/// folders and of the files that are not used, each with whether it is a folder.
pub(crate) fn ignored<'p>(root: &str, members: impl Iterator<Item = (&'p str, bool)>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    for (path, is_folder) in members {
        if let Some(ignored) = outermost_ignored(root, path, is_folder) {
            seen.insert(ignored);
        }
    }
    seen.into_iter().map(|(path, reason)| format!("{:?} is ignored: {reason}", shown(path.as_bytes()))).collect()
}

/// The roots that a path can lie in, the longest first. `tables/postgresql/functions/f.sql` is thus a function of the project
/// `tables` rather than a table file in an odd sub-folder; if other files say otherwise, that makes two roots and is refused.
fn roots(path: &str) -> impl Iterator<Item = &str> {
    let one_down = path.split_once('/').and_then(|(outer, rest)| {
        let end = outer.len() + 1 + ROOT.len();
        let found = !outer.starts_with('.') && below(ROOT, rest).is_some();
        path.get(..end).filter(|_| found)
    });
    let top = below(ROOT, path).map(|_| ROOT);
    [one_down, top, Some("")].into_iter().flatten()
}

/// The kind of a file at this path below a root, if it has one.
fn kind_of(below_root: &str) -> Option<Kind> {
    let (folder, rest) = below_root.split_once('/')?;
    let kind = Kind::of_folder(folder)?;
    let (_, extension) = rest.rsplit_once('.')?;
    let is_hidden = || rest.split('/').any(|part| part.starts_with('.'));
    (kind.extensions().contains(&extension) && !is_hidden()).then_some(kind)
}

/// The part of `path` below `folder`, if it is in there. Everything is below the top, which is the empty folder.
fn below<'p>(folder: &str, path: &'p str) -> Option<&'p str> {
    if folder.is_empty() { Some(path) } else { path.strip_prefix(folder)?.strip_prefix('/') }
}

/// The outermost part of a path that a bundle has no use for, and why; none for a folder that has its place.
fn outermost_ignored(root: &str, path: &str, is_folder: bool) -> Option<(String, String)> {
    // Behind each component of the path: how far it reaches, and whether a folder ends there.
    let ends = path.match_indices('/').map(|(at, _)| (at, true)).chain([(path.len(), is_folder)]);
    for (end, folder) in ends {
        let part = path.get(..end)?;
        if let Some(reason) = reason_to_ignore(root, part, folder) {
            return Some((if folder { format!("{part}/") } else { part.to_owned() }, reason));
        }
    }
    None
}

fn reason_to_ignore(root: &str, part: &str, folder: bool) -> Option<String> {
    let last = part.rsplit('/').next().unwrap_or_default();
    if part == root || below(part, root).is_some() {
        return (!folder).then(|| "a bundle has a folder of this name".to_owned());
    }
    if last.starts_with('.') {
        return Some("hidden files and folders are not read".to_owned());
    }
    let Some(inner) = below(root, part) else {
        return Some("it is outside of the bundle's folder".to_owned());
    };
    let kind = Kind::of_folder(inner.split('/').next().unwrap_or_default());
    match (kind, folder) {
        (Some(_), true) => None,
        (Some(kind), false) if inner.contains('/') => {
            Some(format!("files in {kind} end in .{}", kind.extensions().join(", .")))
        }
        (_, true) => Some("a bundle has no folder of this name".to_owned()),
        (_, false) => Some("only files in a bundle's folders are read".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        let source = |root, kind, below| Place::Source { root, kind, below };
        let cases = [
            ("tables/a.sql", source("", Kind::Table, "tables/a.sql")),
            ("postgresql/tables/a.pssql", source("postgresql", Kind::Table, "tables/a.pssql")),
            ("app/postgresql/views/x/y/a.pgsql", source("app/postgresql", Kind::View, "views/x/y/a.pgsql")),
            ("postgresql/postgresql/types/a.sql", source("postgresql/postgresql", Kind::Type, "types/a.sql")),
            ("tables/postgresql/types/a.sql", source("tables/postgresql", Kind::Type, "types/a.sql")),
            ("tables/postgresql/a.sql", source("", Kind::Table, "tables/postgresql/a.sql")),
            ("extensions/citext.txt", source("", Kind::Extension, "extensions/citext.txt")),
            ("tables/a.b.sql", source("", Kind::Table, "tables/a.b.sql")),
            ("tables/a.txt", Place::Other),
            ("extensions/citext.pssql", Place::Other),
            ("app/tables/a.sql", Place::Other),
            ("a/b/postgresql/tables/a.sql", Place::Other),
            (".git/postgresql/tables/a.sql", Place::Other),
            ("Tables/a.sql", Place::Other),
            ("tables/a.SQL", Place::Other),
            ("tables/._a.sql", Place::Other),
            ("tables/.sql", Place::Other),
            ("tables/.git/a.sql", Place::Other),
            ("tables/sql", Place::Other),
            ("tables/a", Place::Other),
            ("a.sql", Place::Other),
            ("postgresql/a.sql", Place::Other),
            ("postgresqltables/a.sql", Place::Other),
            ("stonescript.json", Place::Manifest { folder: "" }),
            ("postgresql/stonescript.json", Place::Manifest { folder: "postgresql" }),
            ("postgresql/mystonescript.json", Place::Other),
        ];
        for (path, expected) in cases {
            assert_eq!(place(path), expected, "{path}");
        }
    }

    #[test]
    fn where_a_manifest_applies() {
        for (folder, root) in
            [("", ""), ("", "postgresql"), ("postgresql", "postgresql"), ("", "a/postgresql"), ("a", "a/postgresql")]
        {
            assert!(manifest_applies(folder, root), "{folder} {root}");
        }
        for (folder, root) in [("postgresql", ""), ("b", "a/postgresql"), ("a/post", "a/postgresql"), ("tables", "")] {
            assert!(!manifest_applies(folder, root), "{folder} {root}");
        }
    }

    #[test]
    fn misplaced() {
        for path in ["app/tables/a.sql", "a/b/c/functions/f.pssql", "Tables/A.SQL"] {
            assert!(is_misplaced(path), "{path}");
        }
        for path in ["app/a.sql", "tables/readme.md", "sql"] {
            assert!(!is_misplaced(path), "{path}");
        }
    }
}
