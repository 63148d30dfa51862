use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use super::ahead::Shared;
use super::span::Span;

/// Bytes that one thread checks at once, a multiple of PAGE.
const PIECE: usize = 64 << 10;

/// The bytes of one read, or of several given together, for as long as a clone of it lives; the last one gives the slot back to the stream.
/// It outlives the stream: the memory stays while a lease does.
#[derive(Clone)]
pub struct Lease(Arc<Held>);

struct Held {
    stream: Arc<Shared>,
    slot: usize,
    /// the place in the pass, which says what is in the slot
    place: usize,
}

impl Lease {
    /// The slot must have been given out by the stream's queue, to this lease alone.
    pub(crate) fn new(stream: Arc<Shared>, slot: usize, place: usize) -> Self {
        Self(Arc::new(Held { stream, slot, place }))
    }

    /// Where in its page-aligned slot the bytes begin.
    pub fn start(&self) -> usize {
        self.0.stream.group(self.0.place)[0].lead
    }

    /// The bytes of one of the reads that were given together; none where there is no such read.
    pub fn part(&self, part: usize) -> &[u8] {
        let Held { stream, slot, place } = &*self.0;
        let spans = stream.group(*place);
        let Some(span) = spans.get(part) else { return &[] };
        // each was widened to whole pages, one after the other
        let start: usize = spans[..part].iter().map(|span| span.asked).sum();
        // SAFETY: the queue gave out this slot and gives it to nobody else before `release`; it was filled before that,
        // under the same lock. The memory lives as long as `stream`, which is held
        let slot = unsafe { stream.region().slot(*slot) };
        &slot[start + span.lead..][..span.length]
    }

    /// All that was read for it, in pieces that can be checked at the same time.
    pub(crate) fn pieces(&self) -> Vec<(Span, &[u8])> {
        let Held { stream, slot, place } = &*self.0;
        // SAFETY: as in `part`
        let mut rest = unsafe { stream.region().slot(*slot) };
        let mut pieces = Vec::new();
        for span in stream.group(*place) {
            for piece in span.parts(PIECE) {
                let (bytes, after) = rest.split_at(piece.asked);
                rest = after;
                pieces.push((piece, bytes));
            }
        }
        pieces
    }

    /// Bytes of all its reads.
    pub fn bytes(&self) -> usize {
        self.0.stream.group(self.0.place).iter().map(|span| span.length).sum()
    }
}

impl Deref for Lease {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.part(0)
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lease({} bytes in slot {})", self.bytes(), self.0.slot)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.stream.release(self.slot);
    }
}
