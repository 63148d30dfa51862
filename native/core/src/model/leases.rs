//! How passes take weights: tile by tile.

use std::sync::atomic::AtomicBool;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::matrix::RowBytes;
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
    /// streamed tiles that were there
    pub hits: u64,
    /// streamed tiles that were waited for
    pub waits: u64,
    /// nanoseconds waited
    pub waited: u64,
}

impl Weights {
    /// Calls `each` with runs of tiles in order: pinned ones together, streamed ones as they arrive, from `place` of the
    /// stream on; and with their first row.
    pub fn each_tile(
        &self,
        machine: &Machine,
        place: Place,
        weight: usize,
        abort: &AtomicBool,
        mut each: impl FnMut(usize, &[Tile]) -> Result<()>,
    ) -> Result<()> {
        let Place { node, tile: mut next } = place;
        let mut each = |first, tiles: &[Tile]| self.seen(node, || each(first, tiles));
        let held = self.matrix(weight)?;
        let matrix = &held.matrix;
        let mut run: Vec<Tile> = Vec::new();
        let mut first = 0;
        for tile in &matrix.tiles {
            if tile.pinned.is_some() {
                run.push(matrix.tile(tile.rows.len(), held.pinned_rows(tile, tile.rows.clone())?)?);
                continue;
            }
            if !run.is_empty() {
                each(first, &run)?;
                run.clear();
            }
            let lease = self.lease(machine, node, next, abort)?;
            let bytes = RowBytes {
                weights: &lease,
                scales: lease.part(1),
            };
            let bytes = held.with_scales(tile.rows.clone(), bytes)?;
            each(tile.rows.start, &[matrix.tile(tile.rows.len(), bytes)?])?;
            next += 1;
            first = tile.rows.end;
        }
        if run.is_empty() {
            return Ok(());
        }
        each(first, &run)
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
            machine.pool().run(count, task)
        })?;
        self.count(|leases| {
            leases.bytes += lease.bytes() as u64;
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
        Ok(lease)
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
