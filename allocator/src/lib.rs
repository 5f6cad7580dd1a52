//! The allocator of the service, and the one call of it for which Rust has no safe name.
//!
//! It is a package of its own because the service's own package forbids `unsafe`.

#![warn(missing_docs)]

/// Packs many small objects well.
pub use mimalloc::MiMalloc as Allocator;

/// Gives back to the system what the calling thread allocated and does not use any more.
///
/// What a thread allocated and another one freed stays taken until the first allocates something of that size again. A thread
/// that does something else from now on, or nothing, keeps it for good unless it asks for this. It takes about as long as it takes
/// to look at each 64 KiB that the thread has.
pub fn give_back() {
    // SAFETY: it takes no pointer, any thread may call it at any time, and what is in use it leaves where it is.
    unsafe { libmimalloc_sys::mi_collect(true) }
}
