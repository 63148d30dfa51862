//! What the threads of a stream do, and whoever waits for what they read.

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use super::arrivals::Arrivals;
use super::clock::Clock;
use super::evict::{evict, Evicting};
use super::lock;
use super::prompt::wake_promptly;
use super::queue::{Next, Queue};
use super::reader::Reader;
use super::region::Region;
use super::span::Span;
use super::stream::Wait;
use crate::{Code, Error, Result};

/// How often a waiting thread looks at its abort flag.
const GLANCE: Duration = Duration::from_millis(10);

/// What the stream, its threads and its leases have in common.
pub(crate) struct Shared {
    pub(super) reader: Arc<Reader>,
    /// what each place of a pass reads into its slot, one span after the other
    pub(super) groups: Vec<Vec<Span>>,
    pub(super) region: Region,
    pub(super) state: Mutex<State>,
    /// a slot became free, or the stream closed
    pub(super) space: Condvar,
    /// a read ended, or the order changed, or the stream closed
    pub(super) ready: Condvar,
    pub(super) clock: Clock,
    pub(super) evicting: Evicting,
    pub(super) born: Instant,
    /// it closes: what arrives is not waited for any more
    pub(super) stop: AtomicBool,
}

pub(super) struct State {
    pub(super) queue: Queue,
    pub(super) closed: bool,
    pub(super) waited: Duration,
}

impl Shared {
    pub(crate) fn group(&self, place: usize) -> &[Span] {
        &self.groups[place]
    }

    pub(crate) fn region(&self) -> &Region {
        &self.region
    }

    /// Takes back a slot that was leased.
    pub(crate) fn release(&self, slot: usize) {
        lock(&self.state).queue.release(slot);
        self.space.notify_one();
    }

    /// What each reading thread does until the stream closes.
    pub(super) fn read_ahead(&self) {
        wake_promptly();
        let mut state = lock(&self.state);
        while !state.closed {
            let Some((number, place, slot)) = state.queue.start() else {
                state = self.space.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner);
                continue;
            };
            drop(state);
            let result = self.fill(place, slot);
            state = lock(&self.state);
            state.queue.finish(number, slot, result);
            self.ready.notify_all();
        }
    }

    fn fill(&self, place: usize, slot: usize) -> Result<()> {
        // SAFETY: the queue gave this slot to this thread alone, until `finish`; it is below the number of slots, which is
        // what the queue was made with
        let buffer = unsafe { self.region.slot_mut(slot) };
        if let Some(arrivals) = self.reader.arrivals() {
            let group = &self.groups[place];
            group.iter().for_each(|span| arrivals.ask(span));
            // whoever needs these bytes hears if they don't arrive, and asks for them again
            group.iter().try_for_each(|span| arrivals.wait(span, Some(&self.stop), true))?;
        }
        let evicted = self.evicting.wanted();
        let (mut rest, mut bytes) = (buffer, 0);
        let began = Instant::now();
        let mut read = || {
            self.groups[place].iter().try_for_each(|span| {
                let (own, others) = std::mem::take(&mut rest).split_at_mut(span.asked);
                rest = others;
                bytes += own.len();
                if evicted {
                    evict(own);
                }
                self.reader.read(span, own, &self.clock)
            })
        };
        // without this a fault here would leave the consumer waiting for ever
        let result = catch_unwind(AssertUnwindSafe(&mut read))
            .unwrap_or_else(|_| Err(Error::new(Code::Engine, "Cannot read on: the reading thread panicked")));
        if result.is_ok() {
            self.evicting.took(evicted, began.elapsed(), bytes);
        }
        result
    }

    /// Waits for the slot that holds `place`.
    pub(super) fn take(&self, place: usize, wait: Wait<'_>) -> Result<usize> {
        let stopped = |why: &str| Err(Error::new(Code::Aborted, format!("Cannot wait for read {place}: {why}")));
        let mut state = lock(&self.state);
        let mut since = None;
        let result = loop {
            if state.closed {
                break stopped("the stream is closed");
            }
            if wait.abort.is_some_and(|abort| abort.load(Ordering::Relaxed)) {
                break stopped("the caller asked to stop");
            }
            match state.queue.take(place) {
                Ok(Next::Ready(slot)) => break Ok(slot),
                Ok(Next::Failed(why)) | Err(why) => break Err(why),
                Ok(Next::Waiting) => {}
            }
            if let Some(why) = self.reader.arrivals().and_then(Arrivals::failure) {
                break Err(why);
            }
            let begun = *since.get_or_insert_with(Instant::now);
            let left = wait.timeout.map(|timeout| timeout.saturating_sub(begun.elapsed()));
            if left == Some(Duration::ZERO) {
                break stopped("it took too long");
            }
            let glance = (wait.abort.is_some() || self.reader.arrivals().is_some()).then_some(GLANCE);
            state = match left.into_iter().chain(glance).min() {
                None => self.ready.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner),
                Some(most) => match self.ready.wait_timeout(state, most) {
                    Ok((state, _)) => state,
                    Err(poisoned) => poisoned.into_inner().0,
                },
            };
        };
        if let Some(since) = since {
            state.waited += since.elapsed();
        }
        // a read that failed gave its slot back
        if result.is_err() {
            self.space.notify_one();
        }
        result
    }
}
