use std::ops::Range;

use super::memory::Memory;
use super::PAGE;
use crate::{Error, Result};

/// Memory for a budget, allocated once and cut into equal page-aligned slots. It never grows; it is freed when dropped.
pub struct Region {
    memory: Memory,
    slot_bytes: usize,
}

impl Region {
    /// `slots` slots of at least `slot_bytes` each (rounded up to whole pages), zeroed.
    ///
    /// # Errors
    /// `BadInput` if either is 0 or the product is too much, `Io` if the system refuses.
    pub fn new(slot_bytes: usize, slots: usize) -> Result<Self> {
        let rounded = slot_bytes.checked_next_multiple_of(PAGE);
        let total = rounded.and_then(|bytes| bytes.checked_mul(slots));
        let total = total.filter(|&total| total > 0 && total <= isize::MAX as usize);
        let (Some(slot_bytes), Some(total)) = (rounded, total) else {
            let why = "it must be above 0 and below what memory can hold";
            return Err(Error::bad(format!("Cannot allocate {slots} slots of {slot_bytes} bytes: {why}")));
        };
        Ok(Self {
            memory: Memory::new(total)?,
            slot_bytes,
        })
    }

    /// Bytes of one slot, a multiple of [`PAGE`].
    pub fn slot_bytes(&self) -> usize {
        self.slot_bytes
    }

    /// How many slots there are.
    pub fn slots(&self) -> usize {
        self.memory.length() / self.slot_bytes
    }

    /// All of it, for an owner who needs it for himself: weights that stay, or a buffer.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the memory is initialised (zeroed) and lives as long as self; `slot` and `slot_mut` bind their callers
        // not to write while a borrow like this one is alive
        unsafe { std::slice::from_raw_parts(self.memory.start().as_ptr(), self.memory.length()) }
    }

    /// All of it, to be written.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: initialised, and borrowed by nobody else, as self is borrowed exclusively
        unsafe { std::slice::from_raw_parts_mut(self.memory.start().as_ptr(), self.memory.length()) }
    }

    /// Some of the bytes.
    ///
    /// # Safety
    /// Nothing writes to them while the result lives.
    pub(crate) unsafe fn range(&self, range: Range<usize>) -> &[u8] {
        assert!(range.start <= range.end && range.end <= self.memory.length());
        // SAFETY: in bounds, as was just seen, and unwritten, as the caller promises; initialised, as mapped memory is zeroed
        unsafe { std::slice::from_raw_parts(self.memory.start().as_ptr().add(range.start), range.len()) }
    }

    /// Some of the bytes, to be filled.
    ///
    /// # Safety
    /// Nothing else reads or writes them while the result lives.
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn range_mut(&self, range: Range<usize>) -> &mut [u8] {
        assert!(range.start <= range.end && range.end <= self.memory.length());
        // SAFETY: in bounds, as was just seen, and exclusive, as the caller promises
        unsafe { std::slice::from_raw_parts_mut(self.memory.start().as_ptr().add(range.start), range.len()) }
    }

    /// The bytes of a slot.
    ///
    /// # Safety
    /// `slot` is below `slots()`, and nothing writes to it while the result lives.
    pub(crate) unsafe fn slot(&self, slot: usize) -> &[u8] {
        // SAFETY: in bounds and unwritten, as the caller promises; initialised, as mapped memory is zeroed
        unsafe { std::slice::from_raw_parts(self.memory.start().as_ptr().add(slot * self.slot_bytes), self.slot_bytes) }
    }

    /// The bytes of a slot, to be filled.
    ///
    /// # Safety
    /// `slot` is below `slots()`, and nothing else reads or writes it while the result lives.
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn slot_mut(&self, slot: usize) -> &mut [u8] {
        // SAFETY: in bounds and exclusive, as the caller promises
        unsafe { std::slice::from_raw_parts_mut(self.memory.start().as_ptr().add(slot * self.slot_bytes), self.slot_bytes) }
    }
}
