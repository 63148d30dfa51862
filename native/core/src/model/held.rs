use std::ops::Range;
use std::sync::Arc;

use super::matrix::{Matrix, Placed, RowBytes};
use super::pinned::Pinned;
use crate::kernels::Tile;
use crate::reading::Lease;
use crate::Result;

/// A matrix, and what of it is in memory.
pub(crate) struct Held {
    pub matrix: Matrix,
    pub tiles: Arc<Pinned>,
    /// all its scales, where they are apart from the tiles
    pub scales: Option<Arc<Pinned>>,
}

impl Held {
    /// A tile out of its lease, or out of what is pinned.
    pub fn tile<'a>(&'a self, tile: &Placed, lease: Option<&'a Lease>) -> Result<Tile<'a>> {
        let rows = tile.rows.clone();
        let bytes = match lease {
            None => self.pinned_rows(tile, rows.clone())?,
            Some(lease) => {
                let (weights, scales) = (lease.part(0), lease.part(1));
                self.with_scales(rows.clone(), RowBytes { weights, scales })?
            }
        };
        self.matrix.tile(rows.len(), bytes)
    }

    /// The pinned tile that a row is in, if it is in one that can be used at once.
    pub fn pinned_tile(&self, row: usize) -> Option<&Placed> {
        let tile = self.matrix.pinned_tile(row)?;
        tile.pinned.is_some_and(|part| self.tiles.has(part)).then_some(tile)
    }

    /// Rows of a pinned tile, with their scales.
    pub fn pinned_rows(&self, tile: &Placed, rows: Range<usize>) -> Result<RowBytes<'_>> {
        self.with_scales(rows.clone(), self.tiles.rows(&self.matrix, tile, rows)?)
    }

    /// The bytes of rows as they are in a tile or were read, with their scales where these are apart.
    pub fn with_scales<'a>(&'a self, rows: Range<usize>, bytes: RowBytes<'a>) -> Result<RowBytes<'a>> {
        let Some(scales) = &self.scales else { return Ok(bytes) };
        let size = self.matrix.scale_bytes();
        let scales = &scales.part(0)?[rows.start * size..rows.end * size];
        Ok(RowBytes { scales, ..bytes })
    }
}
