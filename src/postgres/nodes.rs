//! Small helpers for PostgreSQL's node trees and lists.

use pgrx::pg_sys;

/// `makeNode`: a zeroed node with its tag, palloc'd.
///
/// # Safety
/// `T` must be the struct of `tag`.
pub(super) unsafe fn make<T>(tag: pg_sys::NodeTag) -> *mut T {
    // SAFETY: palloc0 gives room for T; every node starts with its tag.
    unsafe {
        let node = pg_sys::palloc0(std::mem::size_of::<T>()).cast::<pg_sys::Node>();
        (*node).type_ = tag;
        node.cast()
    }
}

/// The pointers in a list, which may be null.
///
/// # Safety
/// `list` must be null or a valid list of pointers.
pub(super) unsafe fn pointers<T>(list: *const pg_sys::List) -> Vec<*mut T> {
    if list.is_null() {
        return Vec::new();
    }
    // SAFETY: a list has `length` cells from `elements` on.
    unsafe { (0..(*list).length as usize).map(|i| (*(*list).elements.add(i)).ptr_value.cast::<T>()).collect() }
}

/// The strings of a list of String nodes: the parts of a qualified name.
///
/// # Safety
/// `list` must be null or a valid list of String nodes.
pub(super) unsafe fn names(list: *const pg_sys::List) -> Vec<String> {
    // SAFETY: the elements are String nodes, whose text ends in a zero.
    unsafe {
        pointers::<pg_sys::Node>(list)
            .into_iter()
            .filter(|node| (**node).type_ == pg_sys::NodeTag::T_String)
            .filter_map(|node| super::error::text((*node.cast::<pg_sys::String>()).sval))
            .collect()
    }
}

/// A node's tag, `None` for a null pointer.
///
/// # Safety
/// `node` must be null or a valid node.
pub(super) unsafe fn tag(node: *const pg_sys::Node) -> Option<pg_sys::NodeTag> {
    // SAFETY: every node starts with its tag.
    if node.is_null() { None } else { Some(unsafe { (*node).type_ }) }
}
