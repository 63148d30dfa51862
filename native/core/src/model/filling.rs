//! How what stays in memory gets there.

use std::ops::Range;
use std::sync::atomic::AtomicBool;
use std::sync::Arc;
use std::time::Instant;

use super::held::Held;
use super::matrix::Matrix;
use super::pinned::{Key, Pinned};
use super::spec::{Rows, Spec, Stored, Weight};
use super::weights::Weights;
use crate::Result;

/// Room for the pinned tiles of a matrix, or those that another model holds.
pub(super) fn pins(matrix: &Matrix, weight: &Weight, spec: &Spec) -> Result<Arc<Pinned>> {
    let place = |stored: &Stored| Ok((spec.content(stored)?, stored.offset));
    let beside = weight.scales.as_ref().filter(|_| matrix.scales_beside() > 0);
    let scales: Option<Result<_>> = beside.map(place);
    let key = Key {
        content: spec.content(&weight.stored)?,
        offset: weight.stored.offset,
        row_bytes: matrix.whole_row(),
        scales: scales.transpose()?,
        tiles: weight.tiles.clone(),
    };
    Pinned::find(&key, matrix.pins.iter().map(|(_, range)| range.clone()).collect())
}

/// Room for all scales of a matrix whose tiles are without them.
pub(super) fn scales_apart(matrix: &Matrix, spec: &Spec) -> Result<Option<Arc<Pinned>>> {
    let Some(scales) = matrix.scales.as_ref().filter(|scales| scales.apart) else {
        return Ok(None);
    };
    let key = Key {
        content: spec.content(&scales.stored)?,
        offset: scales.stored.offset,
        row_bytes: scales.row_bytes,
        scales: None,
        tiles: vec![Rows {
            rows: matrix.rows,
            pinned: true,
        }],
    };
    #[allow(clippy::single_range_in_vec_init)]
    let whole = vec![0..matrix.rows * scales.row_bytes];
    Pinned::find(&key, whole).map(Some)
}

impl Weights {
    /// Reads those of some pinned tiles of a matrix that nobody has read yet, all in parallel. `pins` counts pinned tiles alone.
    pub(super) fn fill_tiles(&self, held: &Held, pins: Range<usize>, abort: &AtomicBool) -> Result<()> {
        let Pinned::Memory(parts) = &*held.tiles else { return Ok(()) };
        parts.fill(pins.collect(), |parts| {
            let (mut reads, mut places) = (Vec::new(), Vec::new());
            for (part, mut place) in parts {
                let tile = &held.matrix.tiles[held.matrix.pins[part].0];
                for read in self.read_rows(&held.matrix, &tile.rows)? {
                    let (own, others) = place.split_at_mut(read.length);
                    place = others;
                    places.push(own);
                    reads.push(read);
                }
            }
            self.reader.read_now(&reads, &mut places, Some(abort))?;
            self.count(|leases| leases.bytes += reads.iter().map(|read| read.length as u64).sum::<u64>());
            Ok(())
        })
    }

    /// Reads a pinned tile that nobody has read yet, when all of it has arrived; calls `waits` before it waits for that.
    pub(super) fn fill_tile(
        &self,
        held: &Held,
        node: usize,
        pin: usize,
        abort: &AtomicBool,
        waits: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        if held.tiles.has(pin) {
            return Ok(());
        }
        let reads = self.read_rows(&held.matrix, &held.matrix.tiles[held.matrix.pins[pin].0].rows)?;
        let mut missing = false;
        for read in &reads {
            missing |= !self.reader.is_there(read)?;
        }
        if missing {
            waits()?;
            let began = Instant::now();
            self.reader.wait_for(&reads, abort)?;
            self.waited(node, began, began.elapsed());
        }
        self.fill_tiles(held, pin..pin + 1, abort)
    }

    /// Reads all scales of a matrix, where they are apart from its tiles and nobody has read them yet.
    pub(super) fn fill_scales(&self, held: &Held, abort: &AtomicBool) -> Result<()> {
        let (Some(pinned), Some(scales)) = (&held.scales, &held.matrix.scales) else {
            return Ok(());
        };
        let Pinned::Memory(parts) = &**pinned else { return Ok(()) };
        if pinned.has(0) {
            return Ok(());
        }
        // before the lock, which others may want for what is there
        let read = self.read(&scales.stored, 0, held.matrix.rows * scales.row_bytes)?;
        self.reader.wait_for(&[read], abort)?;
        parts.fill(vec![0], |mut parts| {
            let Some((_, place)) = parts.pop() else { return Ok(()) };
            self.count(|leases| leases.bytes += place.len() as u64);
            self.reader.read_now(&[read], &mut [place], Some(abort))
        })
    }
}
