//! Where memory comes from, and how much of it is kept: networks need by far the most.

/// Chosen by measurement: docs/performance.md.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Takes memory in pages of 4 KiB from now on. In huge ones, which the allocator asks for, a network is loaded a quarter
/// sooner, but a small server takes twice as much, and none was faster: docs/performance.md.
pub fn use_small_pages() {
    // A system that refuses has no huge pages.
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}

/// Gives what was freed back to the system at once: the file of a network that has been loaded, or all of one that is
/// gone. Left alone, the allocator does that when it is next asked for memory, which may be never.
#[expect(unsafe_code, reason = "the allocator is written in C")]
pub fn give_back() {
    // SAFETY: it may be called at any time, on any thread.
    unsafe { libmimalloc_sys::mi_collect(true) };
}
