//! Prefill with rounded activations, on processors with instructions for sums of small products (AVX-512 BF16 and VNNI).
//!
//! Everything is kept as words of 4 bytes: two bfloat16 or four whole numbers of consecutive inputs. A lane is a row of x, so
//! a weight's word is broadcast and multiplied with the words of 16 rows at once. For each row and output the words of a block
//! of 32 inputs are added in order, blocks in order, and runs of [`RUN`] inputs in order, so bits depend neither on the other
//! rows, nor on threads or tiles; they do depend on how the processor rounds within such an instruction.

mod bf16;
mod dot;
mod finish;
mod int8;
mod micro;
mod pack;
mod weights;

use super::part::Part;
use super::RUN;
use crate::kernels::linear::Piece;
use crate::kernels::machine::Scratch;
use crate::kernels::{Machine, BLOCK};
use crate::Result;
pub(super) use bf16::Bf16;
pub(super) use dot::Dot;
use finish::Finish;
pub(super) use int8::Int8;
use micro::Stripe;
use pack::pack;
use weights::Weights;

/// Some rows in panels of words. The processor must know what D needs.
pub(super) fn packed<'a, D: Dot>(machine: &'a Machine, part: &Part) -> Result<Scratch<'a>> {
    let mut packed = machine.scratch(part.padded() * part.inputs.div_ceil(BLOCK) * D::WORDS);
    pack::<D>(machine, part, &mut packed)?;
    Ok(packed)
}

/// Multiplies some rows, packed, by pieces of weights. The processor must know what D needs.
pub(super) fn run<D: Dot>(machine: &Machine, part: &Part, packed: &[f32], pieces: &[&Piece]) -> Result<()> {
    let blocks = part.inputs.div_ceil(BLOCK);
    machine.pool().run(pieces.len(), &|index| {
        let (tile, range, output) = pieces[index];
        let outputs = range.len();
        let mut room = machine.scratch(Weights::<D>::room(outputs));
        let mut sums = machine.scratch(outputs * part.padded());
        for first in (0..blocks).step_by(RUN / BLOCK) {
            let count = blocks.min(first + RUN / BLOCK) - first;
            D::enter(Stripe::<D> {
                weights: Weights::new(&mut room, outputs),
                tile,
                range: range.clone(),
                x: packed,
                blocks,
                run: first..first + count,
                rows: part.padded(),
                sums: &mut sums,
            });
        }
        D::enter(Finish {
            part,
            sums: &sums,
            range,
            output,
        });
    })
}
