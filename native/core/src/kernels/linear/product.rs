use crate::kernels::machine::SharedMut;
use crate::kernels::Tile;
use crate::{Error, Result};
use std::ops::Range;

/// One linear layer, or consecutive tiles of it: `y[r * stride + o]` = sum over i of `x[r][i] * w[o][i]` (+ `bias[o]`).
pub struct Product<'a> {
    /// the weight's rows, tile after tile; the first row of the first tile makes output 0
    pub tiles: &'a [Tile<'a>],
    /// one value per output
    pub bias: Option<&'a [f32]>,
    /// (rows, stride), of which the first outputs of each row are written
    pub y: &'a mut [f32],
    /// from one row of y to the next
    pub stride: usize,
}

/// Where a product's results go, for all threads.
pub(crate) struct Output<'a> {
    pub(crate) y: SharedMut<'a, f32>,
    pub(crate) stride: usize,
    pub(crate) bias: Option<&'a [f32]>,
    /// the output that the tile's first row makes
    pub(crate) first: usize,
}

/// Checks all shapes; returns the number of inputs, if there is anything to do.
pub(crate) fn check(x: &[f32], rows: usize, products: &[Product]) -> Result<Option<usize>> {
    let bad = |why: String| Err(Error::bad(format!("Cannot multiply by weights: {why}")));
    let Some(inputs) = products.iter().flat_map(|p| p.tiles).map(Tile::inputs).next() else {
        return Ok(None);
    };
    if rows.checked_mul(inputs) != Some(x.len()) {
        return bad(format!("x has {} elements, not {rows} x {inputs}", x.len()));
    }
    for p in products {
        if let Some(tile) = p.tiles.iter().find(|t| t.inputs() != inputs) {
            return bad(format!("tiles with {inputs} and {} inputs in one call", tile.inputs()));
        }
        let outputs: usize = p.tiles.iter().map(Tile::rows).sum();
        let need = (rows - 1).checked_mul(p.stride).and_then(|v| v.checked_add(outputs));
        if p.stride < outputs || need.is_none_or(|need| need > p.y.len()) {
            return bad(format!(
                "y has {} elements for {rows} rows of {outputs}, {} apart",
                p.y.len(),
                p.stride
            ));
        }
        if p.bias.is_some_and(|b| b.len() != outputs) {
            return bad(format!("{} biases for {outputs} outputs", p.bias.map_or(0, <[f32]>::len)));
        }
    }
    Ok(Some(inputs))
}

/// A piece of work: some rows of a tile, and where their results go.
pub(crate) type Piece<'a> = (&'a Tile<'a>, Range<usize>, Output<'a>);

/// Cuts all tiles into pieces of `size(tile)` rows, rounded to a multiple of 8.
pub(crate) fn cut<'a>(products: &'a mut [Product], size: impl Fn(&Tile) -> usize) -> Vec<Piece<'a>> {
    let mut pieces = Vec::new();
    for p in products {
        let (y, stride, bias) = (SharedMut::new(&mut *p.y), p.stride, p.bias);
        let mut first = 0;
        for tile in p.tiles {
            let step = (size(tile) & !7).max(8);
            for start in (0..tile.rows()).step_by(step) {
                let output = Output { y, stride, bias, first };
                pieces.push((tile, start..tile.rows().min(start + step), output));
            }
            first += tile.rows();
        }
    }
    pieces
}
