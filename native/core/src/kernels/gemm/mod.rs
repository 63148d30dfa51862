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
mod prompt;

use super::linear::{check, cut};
use super::{Encoding, Machine, Product, Tile};
use crate::kernels::machine::Scratch;
use crate::Result;
use part::{piece, Part};
pub use prompt::Prompt;

/// Inputs of one run.
pub(crate) const RUN: usize = 256;

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
    Prompt::new(machine, x, rows).multiply(products, precision)
}

impl Prompt<'_> {
    /// y = x w' (+ bias) for every product.
    /// Errors: BadInput if shapes and lengths do not match.
    pub fn multiply(&self, products: &mut [Product], precision: Precision) -> Result<()> {
        if self.rows == 0 || check(self.x, self.rows, products)?.is_none() {
            return Ok(());
        }
        let outputs = products.iter().flat_map(|p| p.tiles).map(Tile::rows).sum();
        let size = piece(outputs, self.machine.pool().threads());
        self.parts(|index, part| {
            let cuts = cut(products, |_| size);
            for arithmetic in Arithmetic::ALL {
                let of = |tile: &Tile| {
                    let precision = if tile.has_zero_points() { Precision::Exact } else { precision };
                    Arithmetic::of(self.machine, tile.encoding(), precision)
                };
                let mine: Vec<_> = cuts.iter().filter(|(tile, ..)| of(tile) == arithmetic).collect();
                if !mine.is_empty() {
                    self.packed(index, part, arithmetic, |x| arithmetic.run(self.machine, part, x, &mine))?;
                }
            }
            Ok(())
        })
    }
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

    /// The rows of a part as `run` wants them.
    fn pack<'a>(self, machine: &'a Machine, part: &Part) -> Result<Scratch<'a>> {
        match self {
            Arithmetic::Float => float::packed(machine, part),
            #[cfg(target_arch = "x86_64")]
            Arithmetic::Bf16 => fast::packed::<fast::Bf16>(machine, part),
            #[cfg(target_arch = "x86_64")]
            Arithmetic::Int8 => fast::packed::<fast::Int8>(machine, part),
            #[cfg(not(target_arch = "x86_64"))]
            _ => float::packed(machine, part),
        }
    }

    fn run(self, machine: &Machine, part: &Part, x: &[f32], pieces: &[&super::linear::Piece]) -> Result<()> {
        match self {
            Arithmetic::Float => float::run(machine, part, x, pieces),
            #[cfg(target_arch = "x86_64")]
            Arithmetic::Bf16 => fast::run::<fast::Bf16>(machine, part, x, pieces),
            #[cfg(target_arch = "x86_64")]
            Arithmetic::Int8 => fast::run::<fast::Int8>(machine, part, x, pieces),
            #[cfg(not(target_arch = "x86_64"))]
            _ => float::run(machine, part, x, pieces),
        }
    }
}
