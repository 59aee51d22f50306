//! Where the supported major versions of PostgreSQL differ, and nothing else.

use std::ffi::c_void;

use pgrx::pg_sys;

/// The major version of the server: a library is loaded by no other than that which it was built for.
pub(crate) const MAJOR: i32 = (pg_sys::PG_VERSION_NUM / 10_000) as i32;

unsafe extern "C-unwind" {
    // nodes/nodeFuncs.h. pgrx does not bind it; from 16 on the name is a macro over the `_impl`.
    #[cfg_attr(not(feature = "pg15"), link_name = "raw_expression_tree_walker_impl")]
    pub(super) fn raw_expression_tree_walker(
        node: *mut pg_sys::Node,
        walker: unsafe extern "C-unwind" fn(*mut pg_sys::Node, *mut c_void) -> bool,
        context: *mut c_void,
    ) -> bool;
}

/// `CreateWaitEventSet` took a memory context before 17 and takes a resource owner since.
pub(super) unsafe fn create_wait_event_set(events: i32) -> *mut pg_sys::WaitEventSet {
    #[cfg(any(feature = "pg15", feature = "pg16"))]
    // SAFETY: TopMemoryContext lives as long as the process.
    unsafe {
        pg_sys::CreateWaitEventSet(pg_sys::TopMemoryContext, events)
    }
    #[cfg(any(feature = "pg17", feature = "pg18"))]
    // SAFETY: without an owner the set is its creator's to free.
    unsafe {
        pg_sys::CreateWaitEventSet(std::ptr::null_mut(), events)
    }
}

/// `ExecutorRun` lost its last parameter in 18.
pub(super) unsafe fn executor_run(query: *mut pg_sys::QueryDesc) {
    #[cfg(not(feature = "pg18"))]
    // SAFETY: the caller has started the query.
    unsafe {
        pg_sys::ExecutorRun(query, pg_sys::ScanDirection::ForwardScanDirection, 0, true)
    }
    #[cfg(feature = "pg18")]
    // SAFETY: the caller has started the query.
    unsafe {
        pg_sys::ExecutorRun(query, pg_sys::ScanDirection::ForwardScanDirection, 0)
    }
}

/// `PortalRun` to the end, as a client's own statement; it lost a parameter in 18.
///
/// # Safety
/// The portal must be started, the receiver live.
pub(super) unsafe fn portal_run(portal: pg_sys::Portal, receiver: *mut pg_sys::DestReceiver) {
    let mut completion = pg_sys::QueryCompletion::default();
    let all = std::ffi::c_long::MAX;
    #[cfg(not(feature = "pg18"))]
    // SAFETY: the caller's promise.
    unsafe {
        pg_sys::PortalRun(portal, all, true, true, receiver, receiver, &mut completion);
    }
    #[cfg(feature = "pg18")]
    // SAFETY: the caller's promise.
    unsafe {
        pg_sys::PortalRun(portal, all, true, receiver, receiver, &mut completion);
    }
}

/// `pqsignal` of a backend has another name in 18.
pub(super) unsafe fn handle_signal(number: i32, handler: unsafe extern "C-unwind" fn(i32)) {
    #[cfg(not(feature = "pg18"))]
    // SAFETY: the handler is one of PostgreSQL's own.
    unsafe {
        pg_sys::pqsignal(number, Some(handler));
    }
    #[cfg(feature = "pg18")]
    // SAFETY: the handler is one of PostgreSQL's own.
    unsafe {
        pg_sys::pqsignal_be(number, Some(handler));
    }
}

/// From 17 on a worker may connect as a role that has no LOGIN.
#[cfg(any(feature = "pg17", feature = "pg18"))]
pub(super) const CONNECT_FLAGS: u32 = pg_sys::BGWORKER_BYPASS_ROLELOGINCHECK;
#[cfg(any(feature = "pg15", feature = "pg16"))]
pub(super) const CONNECT_FLAGS: u32 = 0;

/// `TupleDescAttr`: the attributes moved behind the compact ones in 18.
///
/// # Safety
/// The descriptor must be live and have an attribute of this index (from 0).
pub(super) unsafe fn attribute<'a>(descriptor: pg_sys::TupleDesc, index: usize) -> &'a pg_sys::FormData_pg_attribute {
    #[cfg(not(feature = "pg18"))]
    // SAFETY: the caller's promise.
    unsafe {
        &*(*descriptor).attrs.as_ptr().add(index)
    }
    #[cfg(feature = "pg18")]
    // SAFETY: the caller's promise; tupdesc.h computes it in the same way.
    unsafe {
        let behind = (*descriptor).compact_attrs.as_ptr().add((*descriptor).natts as usize);
        &*behind.cast::<pg_sys::FormData_pg_attribute>().add(index)
    }
}

/// `stringToQualifiedNameList` takes an error context from 16 on; without one it raises.
///
/// # Safety
/// `name` must end in a zero.
pub(super) unsafe fn qualified_name_list(name: *const std::ffi::c_char) -> *mut pg_sys::List {
    #[cfg(feature = "pg15")]
    // SAFETY: the caller's promise.
    unsafe {
        pg_sys::stringToQualifiedNameList(name)
    }
    #[cfg(not(feature = "pg15"))]
    // SAFETY: the caller's promise.
    unsafe {
        pg_sys::stringToQualifiedNameList(name, std::ptr::null_mut())
    }
}

/// Memory that guc.c frees: malloc's before 16, of a memory context of its own since. Null if there is none.
pub(super) fn guc_allocate(size: usize) -> *mut c_void {
    #[cfg(feature = "pg15")]
    // SAFETY: plain malloc.
    unsafe {
        libc::malloc(size)
    }
    #[cfg(not(feature = "pg15"))]
    // SAFETY: below ERROR it gives null instead of raising.
    unsafe {
        pg_sys::guc_malloc(pg_sys::LOG as i32, size)
    }
}

/// Puts another text in the place of one that a check hook was given; `false` if there is no memory.
///
/// # Safety
/// `value` must be what guc.c passed to a check hook.
pub(super) unsafe fn guc_replace(value: *mut *mut std::ffi::c_char, by: &std::ffi::CStr) -> bool {
    let bytes = by.to_bytes_with_nul();
    let copy = guc_allocate(bytes.len()).cast::<std::ffi::c_char>();
    if copy.is_null() {
        return false;
    }
    // SAFETY: room was made for all of it; the old text, which may be null, is of the same allocator.
    unsafe {
        copy.copy_from_nonoverlapping(by.as_ptr(), bytes.len());
        #[cfg(feature = "pg15")]
        libc::free((*value).cast());
        #[cfg(not(feature = "pg15"))]
        if !(*value).is_null() {
            pg_sys::guc_free((*value).cast());
        }
        *value = copy;
    }
    true
}

/// What ENFORCED and NOT ENFORCED, from 18 on, behind a column's constraint make of it; `false` if the attribute is another one.
///
/// # Safety
/// The constraint must be a live raw node.
pub(super) unsafe fn enforce(constraint: *mut pg_sys::Constraint, attribute: pg_sys::ConstrType::Type) -> bool {
    #[cfg(not(feature = "pg18"))]
    {
        let _ = (constraint, attribute);
        false
    }
    #[cfg(feature = "pg18")]
    // SAFETY: the caller's promise; parse_utilcmd.c, transformConstraintAttrs, does the same.
    unsafe {
        match attribute {
            pg_sys::ConstrType::CONSTR_ATTR_ENFORCED => (*constraint).is_enforced = true,
            pg_sys::ConstrType::CONSTR_ATTR_NOT_ENFORCED => {
                (*constraint).is_enforced = false;
                (*constraint).skip_validation = true;
                (*constraint).initially_valid = false;
            }
            _ => return false,
        }
        true
    }
}

/// Ends the process, with PostgreSQL's exit callbacks. The headers of 18 say in a way that bindgen does not read that it does not return.
///
/// # Safety
/// On the main thread, outside of any transaction.
pub(super) unsafe fn proc_exit(code: i32) -> ! {
    #[cfg(not(feature = "pg18"))]
    // SAFETY: the caller's promise.
    unsafe {
        pg_sys::proc_exit(code)
    }
    #[cfg(feature = "pg18")]
    {
        // SAFETY: the caller's promise.
        unsafe { pg_sys::proc_exit(code) };
        std::process::abort()
    }
}
