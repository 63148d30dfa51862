//! Decode: a few rows of activations against weights that are read once, in one fixed order of sums.
//!
//! For each row and output: 16 lanes, lane l takes inputs l, l + 16, …: `acc[l] = fma(w, x, acc[l])`. Bytes: two `fma` per
//! lane over (q - zero point) go into a zeroed partial, then `acc = fma(partial, scale, acc)`. Nibbles: x as whole multiples of
//! one unit a block (see [`digits`]), of which lane l takes 8 in a row of each 128 inputs: their products with q are added as
//! whole numbers, exactly, whatever the order; the sum to float, less zero point times the sum of x (one `fma`), and
//! `acc = fma(sum, scale * unit, acc)`. What lacks to whole blocks is zeros. One tree adds the lanes (8+8, 4+4, 2+2, 1+1); the
//! bias comes last. There is never a second accumulator along the inputs: speed comes from several outputs and rows at once, so
//! bits depend on neither.

mod activations;
mod cut;
mod digits;
mod floats;
mod nibbles;
mod product;

use super::encoding::{visit, Visit};
use super::{Machine, Tile};
use crate::{Error, Result};
use activations::Activations;
use cut::Cut;
pub use product::Product;
pub(crate) use product::{check, cut, Output, Piece};
use std::ops::Range;

/// The most rows of activations that decode takes.
pub const MAX_ROWS: usize = 16;

/// Bytes of weights that a thread takes at a time: small enough to share evenly, large enough to stream (64 KiB lose a tenth).
const PIECE: Range<usize> = 64 << 10..512 << 10;

/// y = x w' (+ bias) for 1 to 16 rows, for every product with the same x (rows, inputs).
/// Errors: BadInput if shapes and lengths do not match.
pub fn linear(machine: &Machine, x: &[f32], rows: usize, products: &mut [Product]) -> Result<()> {
    if rows == 0 || rows > MAX_ROWS {
        return Err(Error::bad(format!(
            "Cannot multiply {rows} rows in decode mode: it takes 1 to {MAX_ROWS}"
        )));
    }
    let Some(inputs) = check(x, rows, products)? else { return Ok(()) };
    let x = Activations::new(machine, x, rows, inputs, products)?;
    let total: usize = products.iter().flat_map(|p| p.tiles).map(Tile::len_bytes).sum();
    let piece = (total / (machine.pool().threads() * 4)).clamp(PIECE.start, PIECE.end);
    let cuts = cut(products, |tile| piece / (tile.len_bytes() / tile.rows()).max(1));
    machine.pool().run(cuts.len(), &|index| {
        let (tile, range, output) = &cuts[index];
        visit(
            tile,
            Cut {
                found: machine.found(),
                tile,
                range: range.clone(),
                x: &x,
                output,
            },
        );
    })
}

impl Visit for Cut<'_, '_> {
    type Out = ();
    fn visit<E: super::encoding::Decode>(self) {
        self.run::<E>()
    }
}
