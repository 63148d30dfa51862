use std::ops::Range;

use super::pinned::place;
use super::spec::{Dtype, Stored, Weight};
use crate::kernels::{self, Encoding, Machine, ScaleType, Tile, BLOCK};
use crate::{Error, Result};

/// A matrix as it is stored and cut.
pub(crate) struct Matrix {
    pub stored: Stored,
    pub rows: usize,
    pub inputs: usize,
    pub row_bytes: usize,
    pub scales: Option<Scales>,
    pub tiles: Vec<Placed>,
    /// it is read as a whole when it is needed, and kept by its last use
    pub cached: bool,
    /// of each pinned tile, its number and where it is in pinned memory
    pub pins: Vec<(usize, Range<usize>)>,
}

/// The scales of a matrix of whole numbers, a row of them for each of its rows.
pub(crate) struct Scales {
    pub stored: Stored,
    pub kind: ScaleType,
    pub row_bytes: usize,
    /// they are all in memory, apart from the tiles
    pub apart: bool,
}

/// The bytes of some rows of a matrix: its weights, and their scales where it has them.
#[derive(Clone, Copy)]
pub(crate) struct RowBytes<'a> {
    pub weights: &'a [u8],
    pub scales: &'a [u8],
}

/// A tile: its rows, and which part of pinned memory they are, unless it is streamed.
pub(crate) struct Placed {
    pub rows: Range<usize>,
    pub pinned: Option<usize>,
}

impl Dtype {
    pub(crate) fn encoding(self) -> Encoding {
        match self {
            Dtype::F32 => Encoding::F32,
            Dtype::F16 => Encoding::F16,
            Dtype::BF16 => Encoding::Bf16,
            Dtype::I8 => Encoding::I8,
            Dtype::I4 => Encoding::I4,
        }
    }

    fn scale_type(self) -> Option<ScaleType> {
        match self {
            Dtype::F32 => Some(ScaleType::F32),
            Dtype::F16 => Some(ScaleType::F16),
            Dtype::BF16 => Some(ScaleType::Bf16),
            Dtype::I8 | Dtype::I4 => None,
        }
    }
}

impl Scales {
    fn new(stored: &Stored, rows: usize, inputs: usize, apart: bool) -> Option<Self> {
        let blocks = inputs.div_ceil(BLOCK);
        let kind = stored.dtype.scale_type()?;
        let row_bytes = blocks.checked_mul(kind.bytes())?;
        rows.checked_mul(row_bytes)?;
        (stored.dims == [rows, blocks]).then(|| Self {
            stored: stored.clone(),
            kind,
            row_bytes,
            apart,
        })
    }

    /// Bytes of the scales of one row that are with its weights.
    fn beside(&self) -> usize {
        if self.apart {
            0
        } else {
            self.row_bytes
        }
    }
}

impl Matrix {
    pub fn new(weight: &Weight) -> Result<Self> {
        let Weight {
            stored,
            scales,
            scales_pinned,
            cached,
            tiles,
        } = weight;
        let refuse = |why: &str| Error::bad(format!("Cannot use a weight of {:?}: {why}", stored.dims));
        let &[rows, inputs] = stored.dims.as_slice() else {
            return Err(refuse("it is no matrix"));
        };
        let row_bytes = stored
            .dtype
            .encoding()
            .row_bytes(inputs)
            .ok_or_else(|| refuse("a row is too long"))?;
        let scales = match (stored.dtype.encoding().is_scaled(), scales) {
            (false, None) => None,
            (true, Some(scales)) => Some(Scales::new(scales, rows, inputs, *scales_pinned).ok_or_else(|| refuse("its scales do not fit"))?),
            (true, None) => return Err(refuse("its scales are missing")),
            (false, Some(_)) => return Err(refuse("floats have no scales")),
        };
        let all_bytes = row_bytes.checked_add(scales.as_ref().map_or(0, Scales::beside));
        let all_bytes = all_bytes.filter(|&bytes| bytes > 0 && rows > 0 && rows.checked_mul(bytes).is_some());
        let all_bytes = all_bytes.ok_or_else(|| refuse("it is empty or too large"))?;
        let mut placed = Vec::with_capacity(tiles.len());
        let mut pins: Vec<(usize, Range<usize>)> = Vec::new();
        let mut first = 0usize;
        for (number, tile) in tiles.iter().enumerate() {
            let last = first
                .checked_add(tile.rows)
                .filter(|&last| last <= rows && tile.rows > 0)
                .ok_or_else(|| refuse("its tiles do not fit"))?;
            let pinned = tile.pinned.then_some(pins.len());
            if tile.pinned {
                let end = pins.last().map_or(0, |(_, range)| range.end);
                pins.push((number, place(end, tile.rows * all_bytes)));
            }
            placed.push(Placed { rows: first..last, pinned });
            first = last;
        }
        if *cached && (tiles.is_empty() || !pins.is_empty() || *scales_pinned) {
            return Err(refuse("it is cached, and pinned or not cut"));
        }
        if first != rows && !tiles.is_empty() {
            return Err(refuse("its tiles leave rows out"));
        }
        Ok(Self {
            stored: stored.clone(),
            rows,
            inputs,
            row_bytes,
            scales,
            tiles: placed,
            pins,
            cached: *cached,
        })
    }

    /// Bytes of the scales of one row.
    pub fn scale_bytes(&self) -> usize {
        self.scales.as_ref().map_or(0, |scales| scales.row_bytes)
    }

    /// Bytes of the scales of one row that are with its weights in a tile; 0 where all scales are apart.
    pub fn scales_beside(&self) -> usize {
        self.scales.as_ref().map_or(0, Scales::beside)
    }

    /// Bytes of one row with the scales that are with it.
    pub fn whole_row(&self) -> usize {
        self.row_bytes + self.scales_beside()
    }

    /// What `rows` rows are whose weights come first, then their scales.
    pub fn split<'a>(&self, rows: usize, bytes: &'a [u8]) -> RowBytes<'a> {
        let (weights, scales) = bytes.split_at(rows * self.row_bytes);
        RowBytes { weights, scales }
    }

    pub fn tile<'a>(&self, rows: usize, RowBytes { weights, scales }: RowBytes<'a>) -> Result<Tile<'a>> {
        let scales = self.scales.as_ref().map(|known| (known.kind, scales));
        Tile::new(self.stored.dtype.encoding(), (rows, self.inputs), weights, scales, None)
    }

    /// The pinned tile that a row is in, if it is in one.
    pub fn pinned_tile(&self, row: usize) -> Option<&Placed> {
        let at = self.tiles.partition_point(|tile| tile.rows.end <= row);
        self.tiles.get(at).filter(|tile| tile.pinned.is_some())
    }

    pub fn decode(&self, machine: &Machine, row: RowBytes, into: &mut [f32]) -> Result<()> {
        kernels::gather(machine, &self.tile(1, row)?, &[0], into)
    }
}
