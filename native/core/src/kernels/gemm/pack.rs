use super::part::panel;
use super::RUN;
use crate::kernels::encoding::Decode;
use crate::kernels::gather::{decode, decode_ragged};
use crate::kernels::isa::Job;
use crate::kernels::lanes::Lanes;
use crate::kernels::machine::SharedMut;
use crate::kernels::{Machine, Tile, BLOCK};
use crate::Result;
use std::marker::PhantomData;
use std::ops::Range;

/// From one decoded row of weights to the next: a run, and what keeps rows out of each other's cache sets.
pub(crate) const STRIDE: usize = RUN + 16;

/// x (rows, inputs) as panels of (inputs, 32) or, at the end, (inputs, 16), rows filled up with zeros: a panel's rows are lanes.
/// The panel that starts with row r starts at element r * inputs.
pub(crate) fn pack(machine: &Machine, x: &[f32], inputs: usize, out: &mut [f32]) -> Result<()> {
    let rows = x.len() / inputs;
    let out = SharedMut::new(out);
    machine.pool().run(rows.div_ceil(32), &|index| {
        let first = index * 32;
        let (width, count) = (panel(rows - first), (rows - first).min(32));
        // SAFETY: panels do not overlap.
        let out = unsafe { out.piece(first * inputs, width * inputs) };
        if count < width {
            out.fill(0.0);
        }
        // a few inputs of all rows at a time: both sides stay in the L1 cache
        for at in (0..inputs).step_by(16) {
            let some = 16.min(inputs - at);
            for row in 0..count {
                let x = &x[(first + row) * inputs + at..][..some];
                for (k, v) in x.iter().enumerate() {
                    out[(at + k) * width + row] = *v;
                }
            }
        }
    })
}

/// Decodes one run of some rows of a tile to float32: (rows, STRIDE).
pub(crate) struct Decoded<'a, 'b, E> {
    tile: &'a Tile<'b>,
    rows: Range<usize>,
    run: Range<usize>,
    out: &'a mut [f32],
    encoding: PhantomData<E>,
}

impl<'a, 'b, E> Decoded<'a, 'b, E> {
    /// `run` starts at a multiple of 32 and ends at one or at the row's end.
    pub(crate) fn new(tile: &'a Tile<'b>, rows: Range<usize>, run: Range<usize>, out: &'a mut [f32]) -> Self {
        assert!(rows.end <= tile.rows() && run.end <= tile.inputs() && run.len() <= RUN && out.len() >= rows.len() * STRIDE);
        Decoded {
            tile,
            rows,
            run,
            out,
            encoding: PhantomData,
        }
    }
}

impl<E: Decode> Job for Decoded<'_, '_, E> {
    type Out = ();
    #[inline(always)]
    fn run<S: Lanes>(self, s: S) {
        let (first, full) = (self.run.start / BLOCK, self.run.len() / BLOCK);
        let mut index = 0;
        while index < self.rows.len() {
            let row = self.rows.start + index;
            let out = &mut self.out[index * STRIDE..(index + 1) * STRIDE];
            // SAFETY: the tile has the row and the run; STRIDE is more than a run.
            unsafe {
                decode::<S, E>(s, self.tile, row, first, full, out.as_mut_ptr());
                if full * BLOCK < self.run.len() {
                    decode_ragged::<S, E>(s, self.tile, row, out[full * BLOCK..].as_mut_ptr());
                }
            }
            index += 1;
        }
    }
}
