use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::ahead::{Shared, State};
use super::clock::{Clock, Counts};
use super::evict::Evicting;
use super::lease::Lease;
use super::lock;
use super::queue::Queue;
use super::reader::Reader;
use super::region::Region;
use super::span::{Read, Span};
use crate::{Code, Error, Result};

const MOST_THREADS: usize = 64;

/// Reads the same list of ranges in the same order, pass after pass, ahead of whoever computes with them, on threads of its
/// own, as far as free slots allow and around the end of the pass. Safe to share between threads.
pub struct Stream {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// When to stop waiting; by default never.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wait<'a> {
    /// at most this long
    pub timeout: Option<Duration>,
    /// as soon as this is true, give or take 10 ms
    pub abort: Option<&'a AtomicBool>,
}

/// What a stream did so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// its reads, and how long the disk had none of them in flight
    pub disk: Counts,
    /// how long `next` waited, summed over threads that waited at the same time
    pub waited: Duration,
    /// how long there has been this stream
    pub age: Duration,
}

impl Stream {
    /// Bytes that a slot needs so that each of `reads` fits in.
    ///
    /// # Errors
    /// `BadInput` if a read is none that `reader` can do.
    pub fn slot_bytes(reader: &Reader, reads: &[Read]) -> Result<usize> {
        Self::group_bytes(reader, &alone(reads))
    }

    /// Bytes that a slot needs so that each group of reads fits in.
    ///
    /// # Errors
    /// As `slot_bytes`.
    pub fn group_bytes(reader: &Reader, groups: &[Vec<Read>]) -> Result<usize> {
        let most = spans(reader, groups)?.iter().map(|group| bytes_of(group)).max();
        Ok(most.unwrap_or(0))
    }

    /// Begins to read `reads`, the ranges of one pass in order, into the slots of `region`, `threads` at a time (1 to 64).
    /// One slot would do; the disk rests only if there are fewer than the leases held at once, the reads in flight and one.
    ///
    /// # Errors
    /// `BadInput` if there are no reads, if one of them cannot be or fits in no slot, `Io` if no thread can be had.
    pub fn open(reader: Arc<Reader>, reads: &[Read], region: Region, threads: usize) -> Result<Self> {
        Self::open_groups(reader, &alone(reads), region, threads)
    }

    /// As `open`, for reads that are needed together: those of a group share a slot and are leased as one.
    ///
    /// # Errors
    /// As `open`, or if a group has no reads.
    pub fn open_groups(reader: Arc<Reader>, groups: &[Vec<Read>], region: Region, threads: usize) -> Result<Self> {
        let groups = spans(&reader, groups)?;
        let slot_bytes = groups.iter().map(|group| bytes_of(group)).max().unwrap_or(0);
        let bad = groups.iter().any(Vec::is_empty);
        if bad || slot_bytes == 0 || slot_bytes > region.slot_bytes() {
            let why = format!("a slot of {} must hold {slot_bytes} bytes, above 0", region.slot_bytes());
            return Err(Error::bad(format!("Cannot stream {} reads: {why}", groups.len())));
        }
        if !(1..=MOST_THREADS).contains(&threads) {
            return Err(Error::bad(format!(
                "Cannot stream with {threads} threads: 1 to {MOST_THREADS} work"
            )));
        }
        let clock = Clock::new(reader.recorder());
        let shared = Arc::new(Shared {
            reader,
            state: Mutex::new(State {
                queue: Queue::new(groups.len(), region.slots()),
                closed: false,
                waited: Duration::ZERO,
            }),
            groups,
            region,
            space: Condvar::new(),
            ready: Condvar::new(),
            clock,
            evicting: Evicting::default(),
            born: Instant::now(),
            stop: AtomicBool::new(false),
        });
        // made first: if a thread cannot be had, dropping it ends the others
        let stream = Self {
            shared,
            threads: Mutex::new(Vec::with_capacity(threads)),
        };
        for index in 0..threads {
            let shared = stream.shared.clone();
            let thread = std::thread::Builder::new().name(format!("masset-read-{index}"));
            let thread = thread.spawn(move || shared.read_ahead());
            let thread = thread.map_err(|why| Error::new(Code::Io, format!("Cannot start a reading thread: {why}")))?;
            lock(&stream.threads).push(thread);
        }
        Ok(stream)
    }

    /// Waits for read `place` of the pass, which must follow the one given out before; 0 follows the last.
    /// Whoever holds leases on all slots waits until one is dropped.
    ///
    /// # Errors
    /// `BadInput` for a place out of order; `Aborted` after `close`, a timeout or an abort (the same place can be asked for
    /// again after the last two, and where something does not arrive); `Io` or `Corrupt` if this read failed: the following place is then next, and a later pass
    /// reads this one anew.
    pub fn next(&self, place: usize, wait: Wait<'_>) -> Result<Lease> {
        self.next_checked_by(place, wait, |count, task| {
            (0..count).for_each(task);
            Ok(())
        })
    }

    /// As `next`; `share(count, task)` calls `task(0)` … `task(count - 1)` on as many threads as it likes: those that go on to
    /// compute with the bytes check them, since they need them in their caches anyway, and a reading thread that computed
    /// would take the processor from one of them while the others wait for it.
    ///
    /// # Errors
    /// As `next`, and those of `share`; `Engine` where it left a task out. The place is used up then.
    pub fn next_checked_by(
        &self,
        place: usize,
        wait: Wait<'_>,
        share: impl FnOnce(usize, &(dyn Fn(usize) + Sync)) -> Result<()>,
    ) -> Result<Lease> {
        let slot = self.shared.take(place, wait)?;
        let lease = Lease::new(self.shared.clone(), slot, place);
        let pieces = lease.pieces();
        let (failed, unchecked) = (Mutex::new(None), AtomicUsize::new(pieces.len()));
        let shared = share(pieces.len(), &|at| {
            let (span, bytes) = &pieces[at];
            match self.shared.reader.check(span, bytes) {
                Ok(()) => drop(unchecked.fetch_sub(1, Ordering::Relaxed)),
                Err(why) => drop(lock(&failed).get_or_insert(why)),
            }
        });
        let failed = lock(&failed).take();
        drop(pieces);
        match failed {
            Some(why) => Err(why),
            None => {
                shared?;
                if unchecked.into_inner() > 0 {
                    return Err(Error::new(
                        Code::Engine,
                        format!("Cannot use read {place}: not all of it was checked"),
                    ));
                }
                Ok(lease)
            }
        }
    }

    /// Whether `next` would give out this place at once.
    pub fn is_ready(&self, place: usize) -> bool {
        lock(&self.shared.state).queue.is_ready(place)
    }

    /// How many leases there can be at once.
    pub fn slots(&self) -> usize {
        self.shared.region.slots()
    }

    /// Makes place 0 the next one, wherever the pass was left. What was read ahead beyond its end is kept.
    pub fn rewind(&self) {
        lock(&self.shared.state).queue.rewind();
        self.shared.space.notify_all();
        self.shared.ready.notify_all();
    }

    /// What happened so far.
    pub fn stats(&self) -> Stats {
        Stats {
            disk: self.shared.clock.counts(),
            waited: lock(&self.shared.state).waited,
            age: self.shared.born.elapsed(),
        }
    }

    /// Ends reading, wakes whoever waits, and returns when the reads in flight have ended. Leases stay valid, and with the
    /// last of them the memory is freed. Can be called at any time, from any thread, and again.
    pub fn close(&self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        lock(&self.shared.state).closed = true;
        self.shared.space.notify_all();
        self.shared.ready.notify_all();
        // held while joining, so that a second caller too returns only when all is quiet
        for thread in lock(&self.threads).drain(..) {
            // a panic of the thread was given to a consumer already
            let _ = thread.join();
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.close();
    }
}

/// Each read as a group of its own.
fn alone(reads: &[Read]) -> Vec<Vec<Read>> {
    reads.iter().map(|&read| vec![read]).collect()
}

fn spans(reader: &Reader, groups: &[Vec<Read>]) -> Result<Vec<Vec<Span>>> {
    let group = |reads: &Vec<Read>| reads.iter().map(|read| reader.span(read)).collect();
    groups.iter().map(group).collect()
}

/// Bytes of whole pages that a group asks for.
fn bytes_of(group: &[Span]) -> usize {
    group.iter().fold(0, |sum: usize, span| sum.saturating_add(span.asked))
}
