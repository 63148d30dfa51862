//! Prefill: many rows of activations against weights, blocked for the caches, all in float32.
//!
//! For each row and output: the inputs in runs of [`RUN`]; within a run one `fma` per input, in order, from zero; the runs'
//! sums are added in order, then the bias. A lane is a row, so bits depend neither on the other rows, nor on threads, tiles
//! or the instruction set. Weights are decoded a few rows and one run at a time, scales applied, never as a whole.

mod micro;
mod pack;

use super::encoding::{visit, Decode, Visit};
use super::linear::{check, cut, Output};
use super::{Machine, Product, Tile};
use crate::Result;
use micro::{Stripe, OUTPUTS};
use pack::{pack, Decoded};
use std::ops::Range;

/// Inputs of one run.
pub(crate) const RUN: usize = 256;

/// Elements of packed activations: 8 MiB.
const PACKED: usize = 2 << 20;

/// y = x w' (+ bias) for any number of rows, for every product with the same x (rows, inputs).
/// Errors: BadInput if shapes and lengths do not match.
pub fn gemm(machine: &Machine, x: &[f32], rows: usize, products: &mut [Product]) -> Result<()> {
    if rows == 0 {
        return Ok(());
    }
    let Some(inputs) = check(x, rows, products)? else { return Ok(()) };
    let step = (PACKED / inputs).clamp(64, 512) / 32 * 32;
    for first in (0..rows).step_by(step) {
        let count = step.min(rows - first);
        let padded = count.next_multiple_of(16);
        let mut packed = machine.scratch(padded * inputs);
        pack(machine, &x[first * inputs..][..count * inputs], inputs, &mut packed)?;
        let x = Packed {
            x: &packed,
            first,
            count,
            padded,
            inputs,
        };
        let cuts = cut(products, |_| OUTPUTS);
        machine.pool().run(cuts.len(), &|index| {
            let (tile, range, output) = &cuts[index];
            visit(
                tile,
                Piece {
                    machine,
                    x: &x,
                    tile,
                    range: range.clone(),
                    output,
                },
            );
        })?;
    }
    Ok(())
}

/// Rows `first..first + count` of x, packed.
struct Packed<'a> {
    x: &'a [f32],
    first: usize,
    count: usize,
    padded: usize,
    inputs: usize,
}

/// Some rows of a tile against all packed rows of x.
struct Piece<'a, 'b> {
    machine: &'a Machine,
    x: &'a Packed<'a>,
    tile: &'a Tile<'b>,
    range: Range<usize>,
    output: &'a Output<'a>,
}

impl Visit for Piece<'_, '_> {
    type Out = ();
    fn visit<E: Decode>(self) {
        let Piece {
            machine,
            x,
            tile,
            range,
            output,
        } = self;
        let (outputs, found) = (range.len(), machine.found());
        let mut weights = machine.scratch(outputs * pack::STRIDE);
        let mut sums = machine.scratch(outputs * x.padded);
        for start in (0..x.inputs).step_by(RUN) {
            let run = start..x.inputs.min(start + RUN);
            found.run(Decoded::<E>::new(tile, range.clone(), run.clone(), &mut weights));
            found.run(Stripe {
                weights: &weights,
                x: x.x,
                inputs: x.inputs,
                run,
                outputs,
                rows: x.padded,
                sums: &mut sums,
            });
        }
        for row in 0..x.count {
            for o in 0..outputs {
                let at = output.first + range.start + o;
                let bias = output.bias.map_or(0.0, |b| b[at]);
                let sum = sums[o * x.padded + row];
                // SAFETY: `check` saw that y has this place; each output is in one piece of work only.
                unsafe {
                    output.y.set(
                        (x.first + row) * output.stride + at,
                        if output.bias.is_some() { sum + bias } else { sum },
                    )
                };
            }
        }
    }
}
