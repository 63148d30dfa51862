use super::micro::Stripe;
use super::pack::{pack, Decoded, STRIDE};
use super::part::Part;
use super::RUN;
use crate::kernels::encoding::{visit, Decode, Visit};
use crate::kernels::linear::{Output, Piece};
use crate::kernels::machine::Scratch;
use crate::kernels::{Machine, Tile};
use crate::Result;
use std::ops::Range;

/// Some rows in panels.
pub(crate) fn packed<'a>(machine: &'a Machine, part: &Part) -> Result<Scratch<'a>> {
    let mut packed = machine.scratch(part.padded() * part.inputs);
    pack(machine, part.x, part.inputs, &mut packed)?;
    Ok(packed)
}

/// Multiplies some rows, packed, by pieces of weights in float32.
pub(crate) fn run(machine: &Machine, part: &Part, packed: &[f32], pieces: &[&Piece]) -> Result<()> {
    machine.pool().run(pieces.len(), &|index| {
        let (tile, range, output) = pieces[index];
        visit(
            tile,
            Multiply {
                machine,
                part,
                packed,
                tile,
                range: range.clone(),
                output,
            },
        );
    })
}

/// Some rows of a tile against all packed rows of x.
struct Multiply<'a, 'b> {
    machine: &'a Machine,
    part: &'a Part<'a>,
    packed: &'a [f32],
    tile: &'a Tile<'b>,
    range: Range<usize>,
    output: &'a Output<'a>,
}

impl Visit for Multiply<'_, '_> {
    type Out = ();
    fn visit<E: Decode>(self) {
        let Multiply {
            machine,
            part,
            packed,
            tile,
            range,
            output,
        } = self;
        let (outputs, found) = (range.len(), machine.found());
        let mut weights = machine.scratch(outputs * STRIDE);
        let mut sums = machine.scratch(outputs * part.padded());
        for start in (0..part.inputs).step_by(RUN) {
            let run = start..part.inputs.min(start + RUN);
            found.run(Decoded::<E>::new(tile, range.clone(), run.clone(), &mut weights));
            found.run(Stripe {
                weights: &weights,
                x: packed,
                inputs: part.inputs,
                run,
                outputs,
                rows: part.padded(),
                sums: &mut sums,
            });
        }
        part.finish(&sums, &range, output);
    }
}
