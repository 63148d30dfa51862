//! Prefill: many rows of activations against weights, blocked for the caches.
//!
//! Exact: all in float32. For each row and output: the inputs in runs of [`RUN`]; within a run one `fma` per input, in order,
//! from zero; the runs' sums are added in order, then the bias. A lane is a row, so bits depend neither on the other rows, nor
//! on threads, tiles or the instruction set. Weights are decoded a few rows and one run at a time, scales applied, never as a
//! whole. Fast: the same way through the data with rounded activations, see `fast`.

#[cfg(target_arch = "x86_64")]
mod fast;
mod float;
mod micro;
mod pack;
mod part;

use super::linear::{check, cut};
use super::{Encoding, Machine, Product};
use crate::Result;
use part::{Part, OUTPUTS};

/// Inputs of one run.
pub(crate) const RUN: usize = 256;

/// Elements of packed activations: 8 MiB.
const PACKED: usize = 2 << 20;

/// How exactly many rows at once are multiplied; up to [`super::MAX_ROWS`] rows never lose anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Precision {
    /// activations as they are, all in float32
    Exact,
    /// activations rounded to what weights are kept in: to bfloat16, or for weights of 8 and 4 bits to whole numbers of 8 bits
    /// in blocks of 32 with a scale; where the processor has instructions for it
    Fast,
}

/// Whether many rows at once are rounded when they are multiplied by such weights, without zero points.
pub fn rounds(machine: &Machine, encoding: Encoding, precision: Precision) -> bool {
    Arithmetic::of(machine, encoding, precision) != Arithmetic::Float
}

/// y = x w' (+ bias) for any number of rows, for every product with the same x (rows, inputs).
/// Errors: BadInput if shapes and lengths do not match.
pub fn gemm(machine: &Machine, x: &[f32], rows: usize, products: &mut [Product], precision: Precision) -> Result<()> {
    if rows == 0 {
        return Ok(());
    }
    let Some(inputs) = check(x, rows, products)? else { return Ok(()) };
    let step = (PACKED / inputs).clamp(64, 512) / 32 * 32;
    for first in (0..rows).step_by(step) {
        let count = step.min(rows - first);
        let part = Part {
            x: &x[first * inputs..][..count * inputs],
            first,
            count,
            inputs,
        };
        let cuts = cut(products, |_| OUTPUTS);
        for arithmetic in Arithmetic::ALL {
            let mine: Vec<_> = cuts
                .iter()
                .filter(|(tile, ..)| {
                    let precision = if tile.has_zero_points() { Precision::Exact } else { precision };
                    Arithmetic::of(machine, tile.encoding(), precision) == arithmetic
                })
                .collect();
            if !mine.is_empty() {
                arithmetic.run(machine, &part, &mine)?;
            }
        }
    }
    Ok(())
}

/// What a tile is multiplied in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Arithmetic {
    Float,
    /// weights and activations as bfloat16
    Bf16,
    /// weights and activations as whole numbers of 8 bits with scales
    Int8,
}

impl Arithmetic {
    const ALL: [Arithmetic; 3] = [Arithmetic::Float, Arithmetic::Bf16, Arithmetic::Int8];

    fn of(machine: &Machine, encoding: Encoding, precision: Precision) -> Arithmetic {
        let found = machine.found();
        if precision == Precision::Exact {
            return Arithmetic::Float;
        }
        match encoding {
            Encoding::Bf16 if found.has_bf16() => Arithmetic::Bf16,
            Encoding::I8 | Encoding::I4 if found.has_vnni() => Arithmetic::Int8,
            _ => Arithmetic::Float,
        }
    }

    fn run(self, machine: &Machine, part: &Part, pieces: &[&super::linear::Piece]) -> Result<()> {
        match self {
            Arithmetic::Float => float::run(machine, part, pieces),
            #[cfg(target_arch = "x86_64")]
            Arithmetic::Bf16 => fast::run::<fast::Bf16>(machine, part, pieces),
            #[cfg(target_arch = "x86_64")]
            Arithmetic::Int8 => fast::run::<fast::Int8>(machine, part, pieces),
            #[cfg(not(target_arch = "x86_64"))]
            _ => float::run(machine, part, pieces),
        }
    }
}
