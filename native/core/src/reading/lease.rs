use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use super::stream::Shared;

/// The bytes of one read, for as long as a clone of it lives; the last one gives the slot back to the stream.
/// It outlives the stream: the memory stays while a lease does.
#[derive(Clone)]
pub struct Lease(Arc<Held>);

struct Held {
    stream: Arc<Shared>,
    slot: usize,
    /// where in the slot the bytes begin: the read was widened to whole pages
    start: usize,
    length: usize,
}

impl Lease {
    /// The slot must have been given out by the stream's queue, to this lease alone.
    pub(crate) fn new(stream: Arc<Shared>, slot: usize, start: usize, length: usize) -> Self {
        Self(Arc::new(Held {
            stream,
            slot,
            start,
            length,
        }))
    }

    /// Where in its page-aligned slot the bytes begin.
    pub fn start(&self) -> usize {
        self.0.start
    }
}

impl Deref for Lease {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the queue gave out this slot and gives it to nobody else before `release`; it was filled before that,
        // under the same lock. The memory lives as long as `stream`, which is held
        let slot = unsafe { self.0.stream.region().slot(self.0.slot) };
        &slot[self.0.start..][..self.0.length]
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lease({} bytes in slot {})", self.0.length, self.0.slot)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.stream.release(self.slot);
    }
}
