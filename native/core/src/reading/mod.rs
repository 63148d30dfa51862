//! Streaming the weights of a model larger than memory: bytes move from disk into memory here while other threads compute.
//!
//! ```text
//! Files ──► Reader ────────────► Stream ──────────────► Lease
//! handles   one read,            reads ahead in the     the bytes of one read,
//! by LRU    aligned to pages     order of the pass      checked, in a slot of a Region
//! ```
//!
//! Files may still arrive (`Arrivals`): reads wait for what of them is missing, through the page cache that was just written.
//!
//! On request a file is mapped instead (`Map`), outside of all this: the system reads, and decides what stays.
//!
//! Reads are blocking and run on a few threads. io_uring was measured against them (2 GiB, 1 to 4 MiB a read, 2 to 4 in
//! flight, medians of 11 paired rounds on a machine that others used too): 0.98 to 1.04 of their speed, and 0.92 to 1.01
//! with two threads computing beside. So it was left out.
//!
//! Slots are reused last in, first out: while the disk is the slower side few of them are in use. Reads spread over 24 MiB
//! instead of 4 took 1.2 times as long on a virtual disk. What is in a slot is checked by the threads that take it.

mod access;
mod ahead;
mod arrivals;
mod checksums;
mod clock;
mod disk;
mod evict;
mod files;
mod lease;
mod map;
mod memory;
mod prompt;
mod queue;
mod reader;
mod region;
mod span;
mod stream;

#[cfg(test)]
pub(crate) mod tests;

pub use access::{Access, FileSpec, Linked};
pub use arrivals::{Arrivals, LEAF};
pub use clock::Counts;
pub(crate) use disk::{Disk, System};
pub use lease::Lease;
pub use map::Map;
pub use reader::Reader;
pub use region::Region;
pub use span::Read;
pub use stream::{Stats, Stream, Wait};

/// Bytes of a page: what reads are aligned to, and what one checksum covers.
pub const PAGE: usize = 4096;

/// Reads in flight unless the caller says otherwise. Two may be a little faster on a virtual disk and idle processors; the
/// third keeps the disk busy when a reading thread has to wait for one of them, and a disk with a deep queue may like more (not measured).
pub const DEFAULT_THREADS: usize = 3;

/// Files open at once unless the caller says otherwise.
pub const DEFAULT_OPEN_FILES: usize = 128;

/// A lock that a panic elsewhere cannot poison: every critical section here leaves its data whole.
fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
