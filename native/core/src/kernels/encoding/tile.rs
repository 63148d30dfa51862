use super::{Encoding, BLOCK};
use crate::{Error, Result};

/// How the scale of a block is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ScaleType {
    /// IEEE single
    F32,
    /// IEEE half
    F16,
    /// the upper half of an IEEE single
    Bf16,
}

impl ScaleType {
    /// Bytes of one scale.
    pub fn bytes(self) -> usize {
        match self {
            ScaleType::F32 => 4,
            ScaleType::F16 | ScaleType::Bf16 => 2,
        }
    }
}

/// Some rows of one weight of shape (outputs, inputs), borrowed from a fragment's bytes; all lengths were checked when it was made.
#[derive(Debug, Clone, Copy)]
pub struct Tile<'a> {
    encoding: Encoding,
    rows: usize,
    inputs: usize,
    row_bytes: usize,
    bytes: &'a [u8],
    scales: Option<(ScaleType, &'a [u8])>,
    zero_points: Option<&'a [u8]>,
}

impl<'a> Tile<'a> {
    /// `bytes`: (rows, inputs), contiguous, of any alignment. For an encoding in blocks, with blocks = inputs / 32 rounded up:
    /// `scales`: (rows, blocks); `zero_points`: (rows, blocks), one signed byte each for I8, packed over the whole tile as two
    /// a byte, low nibble first, for I4 and U4 (so with an odd number of blocks a tile starts at an even row of its weight);
    /// none means zero. The last block of a row may be short. Errors: BadInput if any length is not exactly that.
    pub fn new(
        encoding: Encoding,
        (rows, inputs): (usize, usize),
        bytes: &'a [u8],
        scales: Option<(ScaleType, &'a [u8])>,
        zero_points: Option<&'a [u8]>,
    ) -> Result<Tile<'a>> {
        let bad = |why: String| Error::bad(format!("Cannot use {rows} x {inputs} weights in {encoding:?}: {why}"));
        if rows == 0 || inputs == 0 {
            return Err(bad("there are none".into()));
        }
        let row_bytes = encoding
            .row_bytes(inputs)
            .ok_or_else(|| bad("a row is no whole number of bytes".into()))?;
        let want = row_bytes.checked_mul(rows).ok_or_else(|| bad("they are too large".into()))?;
        if bytes.len() != want {
            return Err(bad(format!("{} bytes given, {want} needed", bytes.len())));
        }
        let blocks = rows
            .checked_mul(inputs.div_ceil(BLOCK))
            .ok_or_else(|| bad("they are too large".into()))?;
        let want = scales.map(|(kind, _)| kind.bytes()).and_then(|size| blocks.checked_mul(size));
        match (encoding.is_scaled(), scales) {
            (false, None) if zero_points.is_none() => {}
            (false, _) => return Err(bad("this encoding has no scales".into())),
            (true, Some((_, s))) if Some(s.len()) == want => {}
            (true, Some((_, s))) => return Err(bad(format!("{} bytes of scales given for {blocks} blocks", s.len()))),
            (true, None) => return Err(bad("the scales are missing".into())),
        }
        let want = if encoding == Encoding::I8 { blocks } else { blocks.div_ceil(2) };
        if zero_points.is_some_and(|z| z.len() != want) {
            return Err(bad(format!(
                "{} bytes of zero points given, {want} needed",
                zero_points.map_or(0, <[u8]>::len)
            )));
        }
        Ok(Tile {
            encoding,
            rows,
            inputs,
            row_bytes,
            bytes,
            scales,
            zero_points,
        })
    }

    /// How its weights are stored.
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Its rows: outputs of a linear layer, or entries of an embedding.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Weights in a row.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Bytes of a row, without scales and zero points.
    pub fn row_bytes(&self) -> usize {
        self.row_bytes
    }

    /// All bytes that a pass over it reads.
    pub fn len_bytes(&self) -> usize {
        self.bytes.len() + self.scales.map_or(0, |(_, s)| s.len()) + self.zero_points.map_or(0, <[u8]>::len)
    }

    /// Whether blocks have zero points.
    pub fn has_zero_points(&self) -> bool {
        self.zero_points.is_some()
    }

    pub(crate) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    pub(crate) fn scales(&self) -> Option<(ScaleType, &'a [u8])> {
        self.scales
    }

    pub(crate) fn zero_points(&self) -> Option<&'a [u8]> {
        self.zero_points
    }
}
