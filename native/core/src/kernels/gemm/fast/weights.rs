use super::dot::Dot;
use crate::kernels::encoding::{Params, I8};
use crate::kernels::gemm::RUN;
use crate::kernels::lanes::avx512::Avx512;
use crate::kernels::{Tile, BLOCK};
use std::marker::PhantomData;
use std::ops::Range;

/// Blocks of a run.
const BLOCKS: usize = RUN / BLOCK;

/// One run of some rows of a tile as words, and the scales of their blocks: copied, so that the words of consecutive outputs
/// do not share the few cache lines that a stride of a power of two leaves.
pub(super) struct Weights<'a, D> {
    /// (outputs, stride)
    words: &'a mut [f32],
    /// (outputs, blocks of a run)
    scales: &'a mut [f32],
    dot: PhantomData<D>,
}

impl<'a, D: Dot> Weights<'a, D> {
    /// Words from one output to the next: a run, and a cache line that keeps outputs out of each other's sets.
    pub(super) const STRIDE: usize = BLOCKS * D::GROUPS + 16;

    /// Elements for some outputs.
    pub(super) fn room(outputs: usize) -> usize {
        outputs * (Self::STRIDE + BLOCKS)
    }

    pub(super) fn new(room: &'a mut [f32], outputs: usize) -> Self {
        let (words, scales) = room.split_at_mut(outputs * Self::STRIDE);
        Weights {
            words,
            scales,
            dot: PhantomData,
        }
    }

    /// Takes blocks `run` of rows `range` of a tile.
    #[inline(always)]
    pub(super) fn fill(&mut self, s: Avx512, tile: &Tile, range: &Range<usize>, run: &Range<usize>) {
        let blocks = tile.inputs().div_ceil(BLOCK);
        assert!(range.end <= tile.rows() && run.end <= blocks && run.len() <= BLOCKS);
        assert!(self.words.len() >= range.len() * Self::STRIDE && self.scales.len() >= range.len() * BLOCKS);
        let mut at = 0;
        while at < range.len() {
            let row = range.start + at;
            // SAFETY: the tile has the row and the run, which STRIDE has room for; this is called within `enter`.
            unsafe {
                D::weights(
                    tile,
                    row,
                    run.start,
                    run.len(),
                    self.words.as_mut_ptr().add(at * Self::STRIDE).cast(),
                )
            };
            if D::SCALED {
                let mut params = Params::new();
                params.fill::<Avx512, I8<false>>(s, tile, row * blocks + run.start, run.len());
                let mut block = 0;
                while block < run.len() {
                    // SAFETY: just filled.
                    self.scales[at * BLOCKS + block] = unsafe { params.scale::<I8<false>>(block) };
                    block += 1;
                }
            }
            at += 1;
        }
    }

    /// The words of a block.
    pub(super) fn block(&self, output: usize, block: usize) -> *const f32 {
        self.words[output * Self::STRIDE + block * D::GROUPS..].as_ptr()
    }

    /// The scale of a block; 1 in encodings without.
    #[inline(always)]
    pub(super) fn scale(&self, output: usize, block: usize) -> f32 {
        if D::SCALED {
            self.scales[output * BLOCKS + block]
        } else {
            1.0
        }
    }
}
