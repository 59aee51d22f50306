//! Whether PostgreSQL's grammar takes two texts for the same: the measure of what checksums may be blind to. For tests inside the server.

use std::ffi::CString;

use pgrx::{PgMemoryContexts, pg_sys};

use super::error::catch;
use super::nodes::pointers;

/// Whether two texts have equal parse trees, whatever stands where in them, or are refused both.
pub(crate) fn same_trees(one: &str, other: &str) -> bool {
    in_passing(|| match (trees(one), trees(other)) {
        (Some(one), Some(other)) => {
            one.len() == other.len()
                // SAFETY: trees fresh from the parser, in a context that still lives. equal() looks past locations (equalfuncs.c).
                && one.iter().zip(&other).all(|(one, other)| unsafe { pg_sys::equal(one.cast(), other.cast()) })
        }
        (one, other) => one.is_none() && other.is_none(),
    })
}

/// Whether the grammar takes a text.
pub(crate) fn parses(text: &str) -> bool {
    in_passing(|| trees(text).is_some())
}

/// Does something that leaves memory behind in the current context, and gives that back. What it gives must not be there.
pub(crate) fn in_passing<T>(f: impl FnOnce() -> T) -> T {
    let mut passing = PgMemoryContexts::new("same trees");
    // SAFETY: the context is its own and lives until after `f`.
    unsafe { passing.switch_to(|_| f()) }
}

fn trees(text: &str) -> Option<Vec<*const pg_sys::Node>> {
    let source = CString::new(text).ok()?;
    // SAFETY: raw_parser reads the text and allocates in the current context. Of each RawStmt what it holds is compared: it itself says where
    // the statement is.
    catch(|| unsafe {
        let list = pg_sys::raw_parser(source.as_ptr(), pg_sys::RawParseMode::RAW_PARSE_DEFAULT);
        pointers::<pg_sys::RawStmt>(list).into_iter().map(|raw| (*raw).stmt.cast_const()).collect()
    })
    .ok()
}
