use std::ops::Range;
use std::sync::Arc;

use super::matrix::{Matrix, Placed, RowBytes};
use super::pinned::Pinned;
use crate::Result;

/// A matrix, and what of it is in memory.
pub(crate) struct Held {
    pub matrix: Matrix,
    pub tiles: Arc<Pinned>,
    /// all its scales, where they are apart from the tiles
    pub scales: Option<Arc<Pinned>>,
}

impl Held {
    /// Rows of a pinned tile, with their scales.
    pub fn pinned_rows(&self, tile: &Placed, rows: Range<usize>) -> Result<RowBytes<'_>> {
        self.with_scales(rows.clone(), self.tiles.rows(&self.matrix, tile, rows)?)
    }

    /// The bytes of rows as they are in a tile or were read, with their scales where these are apart.
    pub fn with_scales<'a>(&'a self, rows: Range<usize>, bytes: RowBytes<'a>) -> Result<RowBytes<'a>> {
        let Some(scales) = &self.scales else { return Ok(bytes) };
        let size = self.matrix.scale_bytes();
        let scales = scales.bytes(rows.start * size..rows.end * size)?;
        Ok(RowBytes { scales, ..bytes })
    }
}
