use std::ops::Range;

use super::pinned::{place, Pinned};
use super::spec::{Dtype, Stored, Weight};
use crate::kernels::{self, Encoding, Machine, Tile};
use crate::{Error, Result};

/// A matrix as it is stored and cut.
pub(crate) struct Matrix {
    pub stored: Stored,
    pub rows: usize,
    pub inputs: usize,
    pub row_bytes: usize,
    pub tiles: Vec<Placed>,
}

/// A tile: its rows, and where they are in pinned memory, unless it is streamed.
pub(crate) struct Placed {
    pub rows: Range<usize>,
    pub pinned: Option<Range<usize>>,
}

impl Dtype {
    pub(crate) fn encoding(self) -> Encoding {
        match self {
            Dtype::F32 => Encoding::F32,
            Dtype::F16 => Encoding::F16,
            Dtype::BF16 => Encoding::Bf16,
        }
    }
}

impl Matrix {
    pub fn new(Weight { stored, tiles }: &Weight) -> Result<Self> {
        let refuse = |why: &str| Error::bad(format!("Cannot use a weight of {:?}: {why}", stored.dims));
        let &[rows, inputs] = stored.dims.as_slice() else {
            return Err(refuse("it is no matrix"));
        };
        let row_bytes = stored
            .dtype
            .encoding()
            .row_bytes(inputs)
            .ok_or_else(|| refuse("a row is too long"))?;
        rows.checked_mul(row_bytes)
            .filter(|&bytes| bytes > 0)
            .ok_or_else(|| refuse("it is empty or too large"))?;
        let mut placed = Vec::with_capacity(tiles.len());
        let (mut first, mut end) = (0usize, 0);
        for tile in tiles {
            let last = first
                .checked_add(tile.rows)
                .filter(|&last| last <= rows && tile.rows > 0)
                .ok_or_else(|| refuse("its tiles do not fit"))?;
            let pinned = tile.pinned.then(|| place(end, tile.rows * row_bytes));
            end = pinned.as_ref().map_or(end, |range| range.end);
            placed.push(Placed { rows: first..last, pinned });
            first = last;
        }
        if first != rows && !tiles.is_empty() {
            return Err(refuse("its tiles leave rows out"));
        }
        Ok(Self {
            stored: stored.clone(),
            rows,
            inputs,
            row_bytes,
            tiles: placed,
        })
    }

    pub fn tile<'a>(&self, placed: &Placed, bytes: &'a [u8]) -> Result<Tile<'a>> {
        Tile::new(self.stored.dtype.encoding(), (placed.rows.len(), self.inputs), bytes, None, None)
    }

    pub fn pinned_row<'a>(&self, row: usize, held: &'a Pinned) -> Option<&'a [u8]> {
        let at = self.tiles.partition_point(|tile| tile.rows.end <= row);
        let tile = self.tiles.get(at)?;
        let range = tile.pinned.clone()?;
        Some(&held.bytes(range)[(row - tile.rows.start) * self.row_bytes..][..self.row_bytes])
    }

    pub fn decode(&self, machine: &Machine, bytes: &[u8], into: &mut [f32]) -> Result<()> {
        kernels::gather(
            machine,
            &Tile::new(self.stored.dtype.encoding(), (1, self.inputs), bytes, None, None)?,
            &[0],
            into,
        )
    }
}
