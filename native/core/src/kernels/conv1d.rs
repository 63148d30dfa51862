use super::encoding::{visit, Decode, Visit};
use super::gather::{decode, decode_ragged};
use super::isa::{Found, Job};
use super::lanes::{Lanes, LANES};
use super::machine::SharedMut;
use super::{Machine, Tile, BLOCK};
use crate::{Error, Result};
use std::marker::PhantomData;
use std::ops::Range;

/// Blocks of outputs that are worked on at once: their sums stay in the nearest cache.
const CHUNK: usize = 16;

/// y (rows, outputs) += x' w for the inputs from `first` on that are the rows of a tile of (inputs, outputs), the layout of
/// GPT-2's Conv1D; x is (rows, inputs). Per output one fma an input, in order: no bit depends on tiles, threads or other rows.
/// Errors: BadInput if shapes do not match.
pub fn conv1d(machine: &Machine, tile: &Tile, first: usize, x: &[f32], rows: usize, y: &mut [f32]) -> Result<()> {
    let (count, outputs) = (tile.rows(), tile.inputs());
    let inputs = x.len() / rows.max(1);
    let fits = rows > 0 && inputs * rows == x.len() && first.checked_add(count).is_some_and(|end| end <= inputs);
    if !fits || rows.checked_mul(outputs) != Some(y.len()) {
        let given = format!("x has {} elements and y {}", x.len(), y.len());
        return Err(Error::bad(format!(
            "Cannot multiply {rows} rows by inputs {first} to {}: {given}",
            first.saturating_add(count)
        )));
    }
    let y = SharedMut::new(y);
    let blocks = outputs.div_ceil(BLOCK);
    let step = blocks.div_ceil(machine.pool().threads() * 4).next_multiple_of(CHUNK).max(CHUNK);
    machine.pool().run(blocks.div_ceil(step), &|piece| {
        let end = blocks.min((piece + 1) * step);
        for start in (piece * step..end).step_by(CHUNK) {
            let blocks = start..end.min(start + CHUNK);
            visit(
                tile,
                Sums {
                    found: machine.found(),
                    tile,
                    first,
                    x,
                    rows,
                    blocks,
                    y,
                },
            );
        }
    })
}

struct Sums<'a, 'b> {
    found: Found,
    tile: &'a Tile<'b>,
    first: usize,
    x: &'a [f32],
    rows: usize,
    blocks: Range<usize>,
    y: SharedMut<'a, f32>,
}

impl Visit for Sums<'_, '_> {
    type Out = ();
    fn visit<E: Decode>(self) {
        self.found.run(Typed::<E>(self, PhantomData));
    }
}

struct Typed<'a, 'b, E>(Sums<'a, 'b>, PhantomData<E>);

impl<E: Decode> Job for Typed<'_, '_, E> {
    type Out = ();
    #[inline(always)]
    fn run<S: Lanes>(self, s: S) {
        let Sums {
            tile,
            first,
            x,
            rows,
            blocks,
            y,
            ..
        } = self.0;
        let outputs = tile.inputs();
        let inputs = x.len() / rows;
        let (start, end) = (blocks.start * BLOCK, outputs.min(blocks.end * BLOCK));
        let whole = (end - start) / BLOCK;
        let mut w = [0f32; CHUNK * BLOCK];
        for row in 0..tile.rows() {
            // SAFETY: `w` has room for all blocks of the chunk, which the tile has.
            unsafe {
                decode::<S, E>(s, tile, row, blocks.start, whole, w.as_mut_ptr());
                if whole < blocks.len() {
                    decode_ragged::<S, E>(s, tile, row, w.as_mut_ptr().add(whole * BLOCK));
                }
            }
            for r in 0..rows {
                let factor = x[r * inputs + first + row];
                // SAFETY: chunks of different threads do not overlap.
                let sums = unsafe { y.piece(r * outputs + start, end - start) };
                add::<S>(s, factor, &w, sums);
            }
        }
    }
}

#[inline(always)]
fn add<S: Lanes>(s: S, factor: f32, w: &[f32], sums: &mut [f32]) {
    let many = s.splat(factor);
    let full = sums.len() / LANES * LANES;
    let mut at = 0;
    while at < full {
        // SAFETY: 16 elements are there in both.
        unsafe {
            let place = sums.as_mut_ptr().add(at);
            s.store(place, s.fma(many, s.load(w.as_ptr().add(at)), s.load(place)));
        }
        at += LANES;
    }
    if full < sums.len() {
        let mut last = [0f32; LANES];
        last[..sums.len() - full].copy_from_slice(&sums[full..]);
        // SAFETY: `last` has 16 elements, and `w` whole blocks.
        unsafe {
            let sum = s.fma(many, s.load(w.as_ptr().add(full)), s.load(last.as_ptr()));
            s.store(last.as_mut_ptr(), sum);
        }
        let rest = sums.len() - full;
        sums[full..].copy_from_slice(&last[..rest]);
    }
}
