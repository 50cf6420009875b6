//! The allocator of commands that read many chunks.

/// Keeps the memory of a chunk for the next one, instead of giving it back to the kernel and getting it again, page by page:
/// with that, counting 12 million events has four times as many page faults. It costs the memory of one chunk.
pub fn keep_memory() {
    #[cfg(target_env = "gnu")]
    {
        const TRIM_THRESHOLD: libc::c_int = 128 << 20;
        // The greatest value that glibc accepts.
        const MMAP_THRESHOLD: libc::c_int = 32 << 20;
        // SAFETY: sets parameters of malloc, which is safe at any time; it takes no pointers.
        unsafe {
            libc::mallopt(libc::M_TRIM_THRESHOLD, TRIM_THRESHOLD);
            libc::mallopt(libc::M_MMAP_THRESHOLD, MMAP_THRESHOLD);
        }
    }
}
