//! Memory that outlives transactions, and memory that is given back.

use pgrx::pg_sys;

/// Gives the pages of freed memory back to the kernel: by itself malloc returns only what is free at the end of a heap.
pub(crate) fn give_back_freed() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes malloc's own locks, and touches nothing that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Buffers of this size and more are mappings of their own, and go back to the kernel at once.
const LARGE: i32 = 256 * 1024;

/// Keeps large buffers out of the heaps, and threads in as few heaps as there are threads for HTTP: `io_threads`. Call before a thread is started.
///
/// By itself malloc raises the limit of what is large to the largest buffer that it was ever given back, 32 MB at most, so that after the
/// first archive all others, and lists of all tenants, come to lie in a heap, between what stays. And it gives each thread a heap of its own,
/// at whose end it keeps freed memory that [`give_back_freed`] does not reach (`mtrim` in glibc's malloc.c trims the end of the main heap
/// only). The main thread mostly waits, so that sharing its heap costs the thread for HTTP nothing.
pub(crate) fn limit_heaps(io_threads: usize) {
    #[cfg(target_env = "gnu")]
    // SAFETY: sets limits of malloc's own.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
        libc::mallopt(libc::M_ARENA_MAX, libc::c_int::try_from(io_threads.max(1)).unwrap_or(libc::c_int::MAX));
    }
}

/// A memory context below TopMemoryContext, deleted with this value: for parse trees that several transactions use,
/// and for what is remembered of a call's parameters.
pub(crate) struct LastingMemory(pg_sys::MemoryContext);

impl LastingMemory {
    pub(crate) fn new() -> LastingMemory {
        LastingMemory::of_size(pg_sys::ALLOCSET_DEFAULT_INITSIZE, pg_sys::ALLOCSET_DEFAULT_MAXSIZE)
    }

    /// For what is some hundred bytes.
    pub(super) fn small() -> LastingMemory {
        LastingMemory::of_size(pg_sys::ALLOCSET_SMALL_INITSIZE, pg_sys::ALLOCSET_SMALL_MAXSIZE)
    }

    fn of_size(first_block: u32, greatest_block: u32) -> LastingMemory {
        // SAFETY: TopMemoryContext lives as long as the process.
        LastingMemory(unsafe {
            pg_sys::AllocSetContextCreateInternal(
                pg_sys::TopMemoryContext,
                c"stonescriptdb lasting".as_ptr(),
                0,
                first_block as usize,
                greatest_block as usize,
            )
        })
    }

    /// Runs `f` with this as the current memory context.
    pub(crate) fn enter<T>(&self, f: impl FnOnce() -> T) -> T {
        // SAFETY: both contexts are live; the one before is put back.
        unsafe {
            let before = pg_sys::MemoryContextSwitchTo(self.0);
            let value = f();
            pg_sys::MemoryContextSwitchTo(before);
            value
        }
    }

    pub(super) fn context(&self) -> pg_sys::MemoryContext {
        self.0
    }
}

impl Drop for LastingMemory {
    fn drop(&mut self) {
        // SAFETY: nothing else deletes it; it is not current outside of `enter`.
        unsafe { pg_sys::MemoryContextDelete(self.0) }
    }
}
