#![allow(clippy::needless_range_loop)] // closures are not always inlined, and what is not inlined lacks the instruction set
use super::encoding::{visit, Decode, Params, Visit, RUN};
use super::isa::{Found, Job};
use super::lanes::{Lanes, LANES};
use super::{Machine, Tile, BLOCK};
use crate::{Error, Result};
use std::marker::PhantomData;

/// out (ids, inputs): the rows of the tile that `ids` name, as float32.
/// Errors: BadInput if an id is no row of the tile, or out has another length.
pub fn gather(machine: &Machine, tile: &Tile, ids: &[usize], out: &mut [f32]) -> Result<()> {
    let inputs = tile.inputs();
    if ids.len().checked_mul(inputs) != Some(out.len()) {
        return Err(Error::bad(format!(
            "Cannot gather {} rows of {inputs}: room for {} elements",
            ids.len(),
            out.len()
        )));
    }
    if let Some(id) = ids.iter().find(|id| **id >= tile.rows()) {
        return Err(Error::bad(format!("Cannot gather row {id}: there are {}", tile.rows())));
    }
    machine.rows(out, inputs, super::machine::SMALL, &|first, out| {
        for (id, out) in ids[first..].iter().zip(out.chunks_exact_mut(inputs)) {
            visit(
                tile,
                Whole {
                    found: machine.found(),
                    tile,
                    row: *id,
                    out,
                },
            );
        }
    })
}

struct Whole<'a, 'b> {
    found: Found,
    tile: &'a Tile<'b>,
    row: usize,
    out: &'a mut [f32],
}

impl Visit for Whole<'_, '_> {
    type Out = ();
    fn visit<E: Decode>(self) {
        let Whole { found, tile, row, out } = self;
        found.run(Row::<E> {
            tile,
            row,
            out,
            encoding: PhantomData,
        });
    }
}

struct Row<'a, 'b, E> {
    tile: &'a Tile<'b>,
    row: usize,
    out: &'a mut [f32],
    encoding: PhantomData<E>,
}

impl<E: Decode> Job for Row<'_, '_, E> {
    type Out = ();
    #[inline(always)]
    fn run<S: Lanes>(self, s: S) {
        let blocks = self.tile.inputs().div_ceil(BLOCK);
        let mut done = 0;
        while done < blocks {
            let count = RUN.min(blocks - done);
            let end = self.out.len().min((done + count) * BLOCK);
            let out = &mut self.out[done * BLOCK..end];
            let full = out.len() / BLOCK;
            // SAFETY: the row was checked; `full` whole blocks fit `out`.
            unsafe { decode::<S, E>(s, self.tile, self.row, done, full, out.as_mut_ptr()) };
            if full < count {
                let mut last = [0f32; BLOCK];
                // SAFETY: the row was checked; one block fits `last`.
                unsafe { decode_ragged::<S, E>(s, self.tile, self.row, last.as_mut_ptr()) };
                let rest = &mut out[full * BLOCK..];
                rest.copy_from_slice(&last[..rest.len()]);
            }
            done += count;
        }
    }
}

/// Decodes `count` whole blocks of a row, in natural order; at most `RUN`.
///
/// # Safety
/// The tile must have them, and `out` room for count * 32 elements.
#[inline(always)]
pub(crate) unsafe fn decode<S: Lanes, E: Decode>(s: S, tile: &Tile, row: usize, first: usize, count: usize, out: *mut f32) {
    let mut params = Params::new();
    params.fill::<S, E>(s, tile, row * tile.inputs().div_ceil(BLOCK) + first, count);
    // SAFETY: as the caller says.
    unsafe {
        let w = tile.bytes().as_ptr().add(row * tile.row_bytes() + first * E::BYTES);
        for index in 0..count {
            block::<S, E>(
                s,
                w.add(index * E::BYTES),
                params.scale::<E>(index),
                params.zero::<E>(index),
                out.add(index * BLOCK),
            );
        }
    }
}

/// Decodes the last, short block of a row; what is beyond the row's end is of no meaning.
///
/// # Safety
/// The tile must have the row and a short block, and `out` room for 32 elements.
#[inline(always)]
pub(crate) unsafe fn decode_ragged<S: Lanes, E: Decode>(s: S, tile: &Tile, row: usize, out: *mut f32) {
    let whole = tile.inputs() / BLOCK;
    let mut params = Params::new();
    params.fill::<S, E>(s, tile, row * (whole + 1) + whole, 1);
    let mut last = [0u8; 128];
    let start = row * tile.row_bytes() + whole * E::BYTES;
    let used = &tile.bytes()[start..(row + 1) * tile.row_bytes()];
    last[..used.len()].copy_from_slice(used);
    // SAFETY: 128 bytes are enough for a block of any encoding; `out` as the caller says.
    unsafe { block::<S, E>(s, last.as_ptr(), params.scale::<E>(0), params.zero::<E>(0), out) }
}

#[inline(always)]
unsafe fn block<S: Lanes, E: Decode>(s: S, w: *const u8, scale: f32, zero: f32, out: *mut f32) {
    // SAFETY: as the callers say.
    unsafe {
        let (mut a, mut b) = E::pair(s, w, zero);
        if E::NIBBLES.is_some() {
            (a, b) = (s.natural(a), s.natural(b));
        }
        if E::SCALED {
            (a, b) = (s.mul(a, s.splat(scale)), s.mul(b, s.splat(scale)));
        }
        s.store(out, a);
        s.store(out.add(LANES), b);
    }
}
