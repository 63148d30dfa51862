//! How passes take weights: tile by tile.

use std::sync::atomic::AtomicBool;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::matrix::Placed;
use super::weights::{Place, Weights};
use crate::kernels::{Machine, Tile};
use crate::reading::{Lease, Wait};
use crate::trace::Lane;
use crate::{Code, Error, Result};

/// A wait below this was none: it is what asking costs.
const HIT: Duration = Duration::from_micros(50);

/// What was taken of weights, and how that went.
#[derive(Debug, Clone, Copy, Default)]
pub struct Leases {
    /// tensor bytes read for it
    pub bytes: u64,
    /// tiles that were not in memory, and were there when they were needed
    pub hits: u64,
    /// those that were waited for
    pub waits: u64,
    /// nanoseconds waited
    pub waited: u64,
    /// tensor bytes of cached matrices that were used
    pub expert_bytes: u64,
    /// those of them that were read for it
    pub expert_read: u64,
}

impl Weights {
    /// Calls `each` with runs of tiles in order, and with their first row: pinned ones and streamed ones that are there
    /// together, so that threads seldom wait for each other; from `place` of the stream on. Where reading is the slower
    /// side a slot goes back at once; where computing is (`slow`), up to half of them are kept for a run.
    pub fn each_tile(
        &self,
        machine: &Machine,
        place: Place,
        weight: usize,
        slow: bool,
        abort: &AtomicBool,
        mut each: impl FnMut(usize, &[Tile]) -> Result<()>,
    ) -> Result<()> {
        let Place { node, tile: mut next } = place;
        let held = self.matrix(weight)?;
        if held.matrix.cached {
            return self.each_cached(node, weight, held, abort, each);
        }
        self.fill_scales(held, abort)?;
        let mut compute = |run: &[(&Placed, Option<Lease>)]| -> Result<()> {
            let Some(&(first, _)) = run.first() else { return Ok(()) };
            let tiles = run.iter().map(|(tile, lease)| held.tile(tile, lease.as_ref()));
            let tiles = tiles.collect::<Result<Vec<_>>>()?;
            self.seen(node, || each(first.rows.start, &tiles))
        };
        let most = self.stream().filter(|_| slow).map_or(1, |stream| stream.slots() / 2);
        let mut run: Vec<(&Placed, Option<Lease>)> = Vec::new();
        let mut leased = 0;
        for tile in &held.matrix.tiles {
            if let Some(pin) = tile.pinned {
                self.fill_tile(held, node, pin, abort, || {
                    leased = 0;
                    compute(&std::mem::take(&mut run))
                })?;
                run.push((tile, None));
                continue;
            }
            if !self.stream().is_some_and(|stream| stream.is_ready(next)) {
                compute(&std::mem::take(&mut run))?;
                leased = 0;
            }
            run.push((tile, Some(self.lease(machine, node, next, abort)?)));
            next += 1;
            leased += 1;
            if leased >= most {
                compute(&std::mem::take(&mut run))?;
                leased = 0;
            }
        }
        compute(&run)
    }

    fn lease(&self, machine: &Machine, node: usize, place: usize, abort: &AtomicBool) -> Result<Lease> {
        let stream = self.stream().ok_or_else(|| Error::new(Code::Engine, "Cannot stream: nothing is"))?;
        let wait = Wait {
            timeout: None,
            abort: Some(abort),
        };
        let (began, mut waited) = (Instant::now(), Duration::ZERO);
        let lease = stream.next_checked_by(place, wait, |count, task| {
            waited = began.elapsed();
            self.seen(node, || machine.pool().run(count, task))
        })?;
        self.count(|leases| leases.bytes += lease.bytes() as u64);
        self.waited(node, began, waited);
        Ok(lease)
    }

    /// Counts, and records where that is wanted, how long computing waited for a tile.
    pub(super) fn waited(&self, node: usize, began: Instant, waited: Duration) {
        self.count(|leases| {
            if waited < HIT {
                leases.hits += 1;
            } else {
                leases.waits += 1;
                leases.waited += waited.as_nanos() as u64;
            }
        });
        if let (true, Some(recorder)) = (waited >= HIT, &self.recorder) {
            recorder.record_for(Lane::Wait, node, began, waited, 0);
        }
    }

    /// Computes something of a node, which is recorded where that is wanted.
    pub(super) fn seen<T>(&self, node: usize, compute: impl FnOnce() -> T) -> T {
        let Some(recorder) = &self.recorder else { return compute() };
        let began = Instant::now();
        let made = compute();
        recorder.record(Lane::Compute, node, began, 0);
        made
    }

    pub(super) fn count(&self, f: impl FnOnce(&mut Leases)) {
        f(&mut self.leases.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// What passes took so far.
    pub fn leases(&self) -> Leases {
        *self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
