use crate::{Code, Error, Result};
use std::alloc::{alloc_zeroed, dealloc, Layout};

/// Zeroed bytes that start on a cache line; the system gives them page by page as they are touched.
pub(crate) struct Memory {
    block: *mut u8,
    layout: Layout,
    start: usize,
    len: usize,
}

// SAFETY: it owns its bytes and shares them only by borrowing.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    /// `len` zero bytes; an error if there is no room for them.
    pub(crate) fn zeroed(len: usize) -> Result<Memory> {
        let none = || Error::new(Code::Engine, format!("Cannot grow a cache by {len} bytes: out of memory"));
        // asking for the alignment itself would make the allocator write the zeros
        let layout = len
            .checked_add(64)
            .and_then(|size| Layout::from_size_align(size, 16).ok())
            .ok_or_else(none)?;
        // SAFETY: the size is not zero.
        let block = unsafe { alloc_zeroed(layout) };
        if block.is_null() {
            return Err(none());
        }
        Ok(Memory {
            block,
            layout,
            start: (64 - block as usize % 64) % 64,
            len,
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: start < 64, and the block has len + 64 bytes.
        unsafe { std::slice::from_raw_parts(self.block.add(self.start), self.len) }
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.block.add(self.start), self.len) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout.
        unsafe { dealloc(self.block, self.layout) }
    }
}
