//! In which order reads are started, kept and given out: bookkeeping only, no memory and no disk.

use std::collections::VecDeque;

use crate::{Error, Result};

/// The reads of a pass, over and over. Each has a number that never comes again; its place in the pass is `number % reads`.
/// Every slot is free, in an entry, dropped while it is being filled, or leased; nothing else owns it.
pub(crate) struct Queue {
    reads: usize,
    /// the number of the read that is given out next, and of the first entry
    next: u64,
    /// reads that were started, one after the other
    entries: VecDeque<Entry>,
    free: Vec<usize>,
}

enum Entry {
    Reading,
    Ready(usize),
    /// keeps its slot, so that a disk that fails at once does not make the entries many
    Failed(usize, Error),
}

/// What the next read is.
pub(crate) enum Next {
    Waiting,
    Ready(usize),
    Failed(Error),
}

impl Queue {
    /// `reads` is above 0.
    pub fn new(reads: usize, slots: usize) -> Self {
        Self {
            reads,
            next: 0,
            entries: VecDeque::with_capacity(slots),
            free: (0..slots).rev().collect(),
        }
    }

    /// The number, place in the pass and slot of the read to start now, if a slot is free for it.
    pub fn start(&mut self) -> Option<(u64, usize, usize)> {
        let slot = self.free.pop()?;
        let number = self.next + self.entries.len() as u64;
        self.entries.push_back(Entry::Reading);
        Some((number, self.place(number), slot))
    }

    /// A started read ended. What nobody waits for any more frees its slot.
    pub fn finish(&mut self, number: u64, slot: usize, result: Result<()>) {
        let entry = number.checked_sub(self.next).and_then(|at| self.entries.get_mut(at as usize));
        match (entry, result) {
            (Some(entry), Ok(())) => *entry = Entry::Ready(slot),
            (Some(entry), Err(why)) => *entry = Entry::Failed(slot, why),
            (None, _) => self.free.push(slot),
        }
    }

    /// Gives out read `place` of the pass, which must be the next one. Its slot, if it is ready, is the caller's until
    /// `release`; if it failed, the one after it is next.
    pub fn take(&mut self, place: usize) -> Result<Next> {
        let expected = self.place(self.next);
        if place != expected {
            let why = format!("the next of this pass is {expected}");
            return Err(Error::bad(format!("Cannot give out read {place}: {why}")));
        }
        let next = match self.entries.front() {
            None | Some(Entry::Reading) => return Ok(Next::Waiting),
            Some(_) => self.entries.pop_front(),
        };
        self.next += 1;
        Ok(match next {
            Some(Entry::Ready(slot)) => Next::Ready(slot),
            Some(Entry::Failed(slot, why)) => {
                self.free.push(slot);
                Next::Failed(why)
            }
            None | Some(Entry::Reading) => Next::Waiting,
        })
    }

    /// Whether `take` would give out this place.
    pub fn is_ready(&self, place: usize) -> bool {
        self.place(self.next) == place && matches!(self.entries.front(), Some(Entry::Ready(_)))
    }

    /// A slot that was given out is free again.
    pub fn release(&mut self, slot: usize) {
        self.free.push(slot);
    }

    /// Makes read 0 the next one: drops what is left of a pass that was begun, and keeps what was read ahead of it.
    pub fn rewind(&mut self) {
        let used = self.place(self.next);
        if used == 0 {
            return;
        }
        let left = self.reads - used;
        for entry in self.entries.drain(..left.min(self.entries.len())) {
            // one that is still being filled frees its slot in `finish`
            if let Entry::Ready(slot) | Entry::Failed(slot, _) = entry {
                self.free.push(slot);
            }
        }
        self.next += left as u64;
    }

    fn place(&self, number: u64) -> usize {
        (number % self.reads as u64) as usize
    }
}
