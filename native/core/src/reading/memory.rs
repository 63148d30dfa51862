//! Page-aligned anonymous memory, zeroed, given back when dropped.

use std::ptr::NonNull;

use crate::{Code, Error, Result};

/// An allocation of its own; the owner says who may touch which part of it.
pub(crate) struct Memory {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: it is plain memory, and whoever makes a reference to it answers for exclusiveness
unsafe impl Send for Memory {}
// SAFETY: as above; `Memory` itself hands out a pointer only
unsafe impl Sync for Memory {}

impl Memory {
    /// `length` is a multiple of PAGE, above 0 and at most isize::MAX.
    pub fn new(length: usize) -> Result<Self> {
        let start = allocate(length).ok_or_else(|| {
            let why = std::io::Error::last_os_error();
            Error::new(Code::Io, format!("Cannot allocate {length} bytes for weights: {why}"))
        })?;
        Ok(Self { start, length })
    }

    pub fn start(&self) -> NonNull<u8> {
        self.start
    }

    pub fn length(&self) -> usize {
        self.length
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: `allocate` returned this start for this length, and nothing is freed twice: drop runs once
        unsafe { free(self.start, self.length) }
    }
}

#[cfg(unix)]
fn allocate(length: usize) -> Option<NonNull<u8>> {
    // room to begin at a huge page even where the kernel would not, then the two ends are given back
    const HUGE: usize = 2 << 20;
    let spare = if length >= HUGE { HUGE } else { 0 };
    let mapped = length.checked_add(spare)?;
    let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANON);
    // SAFETY: a new anonymous mapping, nothing existing is touched
    let address = unsafe { libc::mmap(std::ptr::null_mut(), mapped, protection, flags, -1, 0) };
    if address == libc::MAP_FAILED {
        return None;
    }
    let address = address.cast::<u8>();
    let before = if spare > 0 { address.align_offset(HUGE) } else { 0 };
    // SAFETY: `before` is below HUGE, so all three parts lie within the mapping, at page addresses
    unsafe {
        let start = address.add(before);
        if before > 0 {
            libc::munmap(address.cast(), before);
        }
        if spare > before {
            libc::munmap(start.add(length).cast(), spare - before);
        }
        advise(start, length);
        NonNull::new(start)
    }
}

/// Asks for huge pages, and to be left out of forks: a direct read into pages that a fork shares could land in the child's.
/// Both are wishes; where the system knows them not, nothing is lost but speed.
#[cfg(target_os = "linux")]
unsafe fn advise(start: *mut u8, length: usize) {
    // SAFETY: the caller owns this mapping
    unsafe {
        libc::madvise(start.cast(), length, libc::MADV_HUGEPAGE);
        libc::madvise(start.cast(), length, libc::MADV_DONTFORK);
    }
}

#[cfg(all(unix, not(target_os = "linux")))]
unsafe fn advise(_: *mut u8, _: usize) {}

#[cfg(unix)]
unsafe fn free(start: NonNull<u8>, length: usize) {
    // SAFETY: the caller passes what `allocate` mapped
    unsafe { libc::munmap(start.as_ptr().cast(), length) };
}

#[cfg(not(unix))]
fn allocate(length: usize) -> Option<NonNull<u8>> {
    let layout = std::alloc::Layout::from_size_align(length, super::PAGE).ok()?;
    // SAFETY: the caller passes a length above 0
    NonNull::new(unsafe { std::alloc::alloc_zeroed(layout) })
}

#[cfg(not(unix))]
unsafe fn free(start: NonNull<u8>, length: usize) {
    if let Ok(layout) = std::alloc::Layout::from_size_align(length, super::PAGE) {
        // SAFETY: the same layout as in `allocate`
        unsafe { std::alloc::dealloc(start.as_ptr(), layout) }
    }
}
