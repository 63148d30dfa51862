#![allow(clippy::needless_range_loop)] // closures are not always inlined, and what is not inlined lacks the instruction set
use super::activations::Activations;
use super::floats::Floats;
use super::nibbles::Nibbles;
use super::product::Output;
use crate::kernels::encoding::Decode;
use crate::kernels::isa::Found;
use crate::kernels::Tile;
use std::marker::PhantomData;
use std::ops::Range;

/// Some rows of a tile against all rows of x.
pub(crate) struct Cut<'a, 'b> {
    pub(crate) found: Found,
    pub(crate) tile: &'a Tile<'b>,
    pub(crate) range: Range<usize>,
    pub(crate) x: &'a Activations<'a>,
    pub(crate) output: &'a Output<'a>,
}

/// Outputs that all groups of x rows pass over before the next outputs are read: their weights stay in the L2 cache.
const OUTPUTS: usize = 16;

impl Cut<'_, '_> {
    pub(crate) fn run<E: Decode>(self) {
        let step = if self.x.rows <= 4 { self.range.len() } else { OUTPUTS };
        for start in self.range.clone().step_by(step) {
            let outputs = start..self.range.end.min(start + step);
            let mut row = 0;
            while row < self.x.rows {
                row += match self.x.rows - row {
                    1 => self.group::<E, 1>(row, &outputs),
                    2 | 3 => self.group::<E, 2>(row, &outputs),
                    _ => self.group::<E, 4>(row, &outputs),
                };
            }
        }
    }

    fn group<E: Decode, const R: usize>(&self, row: usize, outputs: &Range<usize>) -> usize {
        let (cut, outputs, encoding) = (self, outputs.clone(), PhantomData);
        if E::NIBBLES.is_some() {
            self.found.run(Nibbles::<E, R> {
                cut,
                row,
                outputs,
                encoding,
            });
        } else {
            self.found.run(Floats::<E, R> {
                cut,
                row,
                outputs,
                encoding,
            });
        }
        R
    }

    /// Writes R rows of O results, from a row and an output of the tile on.
    #[inline(always)]
    pub(super) fn store<const R: usize, const O: usize>(&self, row: usize, first: usize, sums: &[[f32; O]; R]) {
        let output = self.output;
        for r in 0..R {
            for o in 0..O {
                let at = output.first + first + o;
                let sum = match output.bias {
                    Some(bias) => sums[r][o] + bias[at],
                    None => sums[r][o],
                };
                // SAFETY: `check` saw that y has this place; each output is in one piece of work only.
                unsafe { output.y.set((row + r) * output.stride + at, sum) };
            }
        }
    }
}
