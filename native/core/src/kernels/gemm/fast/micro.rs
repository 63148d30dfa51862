#![allow(clippy::needless_range_loop)] // closures are not always inlined, and what is not inlined lacks the instruction set
use super::dot::{Dot, Task};
use super::weights::Weights;
use crate::kernels::gemm::part::panel;
use crate::kernels::lanes::avx512::Avx512;
use crate::kernels::lanes::{Lanes, LANES};
use crate::kernels::{Tile, BLOCK};
use std::arch::x86_64::{_mm512_loadu_si512, _mm512_set1_epi32};
use std::ops::Range;

/// One run of inputs: some rows of weights against all packed rows of x.
pub(super) struct Stripe<'a, 'b, D> {
    pub(super) weights: Weights<'a, D>,
    pub(super) tile: &'a Tile<'b>,
    pub(super) range: Range<usize>,
    /// panels of (blocks, words, 32 or 16)
    pub(super) x: &'a [f32],
    pub(super) blocks: usize,
    /// which blocks
    pub(super) run: Range<usize>,
    /// a multiple of 16
    pub(super) rows: usize,
    /// (outputs, rows): set by the first run, added to by the others
    pub(super) sums: &'a mut [f32],
}

impl<D: Dot> Task for Stripe<'_, '_, D> {
    #[inline(always)]
    fn run(mut self, s: Avx512) {
        assert!(self.tile.inputs().div_ceil(BLOCK) == self.blocks && self.run.end <= self.blocks);
        assert!(self.x.len() >= self.rows * self.blocks * D::WORDS && self.sums.len() >= self.range.len() * self.rows);
        if self.run.start == 0 {
            ahead(s, self.tile, &self.range, &self.run);
        }
        self.weights.fill(s, self.tile, &self.range, &self.run);
        ahead(s, self.tile, &self.range, &(self.run.end..self.run.end + self.run.len()));
        let mut row = 0;
        while row < self.rows {
            let width = panel(self.rows - row);
            match (width == 32, D::SCALED) {
                (true, false) => self.panel::<2, 12>(s, row),
                // a block's sums and those of the run are both in registers
                (true, true) => self.panel::<2, 6>(s, row),
                (false, _) => self.panel::<1, 12>(s, row),
            }
            row += width;
        }
    }
}

/// Asks for some blocks of rows of a tile: their runs are too short and too many for the processor to see them coming.
#[inline(always)]
fn ahead(s: Avx512, tile: &Tile, rows: &Range<usize>, run: &Range<usize>) {
    let (size, bytes) = (tile.encoding().bits() * BLOCK / 8, tile.bytes().as_ptr());
    for row in rows.clone() {
        let mut at = run.start * size;
        while at < (run.end * size).min(tile.row_bytes()) {
            s.prefetch(bytes.wrapping_add(row * tile.row_bytes() + at));
            at += 64;
        }
    }
}

impl<D: Dot> Stripe<'_, '_, D> {
    /// All outputs for a panel of V vectors, O outputs at a time.
    #[inline(always)]
    fn panel<const V: usize, const O: usize>(&mut self, s: Avx512, row: usize) {
        let outputs = self.range.len();
        let mut o = 0;
        // SAFETY: `run` checked the lengths; the panel of `row` is V vectors wide; the outputs are there.
        unsafe {
            while o + O <= outputs {
                self.micro::<V, O>(s, o, row);
                o += O;
            }
            while o + 4 <= outputs {
                self.micro::<V, 4>(s, o, row);
                o += 4;
            }
            while o < outputs {
                self.micro::<V, 1>(s, o, row);
                o += 1;
            }
        }
    }

    /// O outputs from `first` on, V vectors of rows from `row` on.
    ///
    /// # Safety
    /// The panel of `row` must be V vectors wide; outputs and rows must be within the stripe.
    #[inline(always)]
    unsafe fn micro<const V: usize, const O: usize>(&mut self, s: Avx512, first: usize, row: usize) {
        let width = V * LANES;
        let mut total = [[s.splat(0.0); V]; O];
        for block in 0..self.run.len() {
            // SAFETY: blocks of x and of the weights are where `pack` and `fill` put them.
            unsafe {
                let x = self
                    .x
                    .as_ptr()
                    .add((row * self.blocks + (self.run.start + block) * width) * D::WORDS);
                let w = self.weights.block(first, block);
                let mut sums = [[D::start(total[0][0], x, width); V]; O];
                for o in 0..O {
                    for v in 0..V {
                        sums[o][v] = D::start(total[o][v], x.add(v * LANES), width);
                    }
                }
                for group in 0..D::GROUPS {
                    let mut xs = [_mm512_set1_epi32(0); V];
                    for v in 0..V {
                        xs[v] = _mm512_loadu_si512(x.add(group * width + v * LANES).cast());
                    }
                    for o in 0..O {
                        let weight = _mm512_set1_epi32(w.add(o * Weights::<D>::STRIDE + group).cast::<i32>().read());
                        for v in 0..V {
                            sums[o][v] = D::add(sums[o][v], weight, xs[v]);
                        }
                    }
                }
                for o in 0..O {
                    let scale = self.weights.scale(first + o, block);
                    for v in 0..V {
                        total[o][v] = D::end(total[o][v], sums[o][v], scale, x.add(v * LANES), width);
                    }
                }
            }
        }
        for o in 0..O {
            for v in 0..V {
                // SAFETY: within the sums, as `run` checked.
                unsafe {
                    let sum = self.sums.as_mut_ptr().add((first + o) * self.rows + row + v * LANES);
                    let start = self.run.start == 0;
                    s.store(sum, if start { total[o][v] } else { s.add(s.load(sum), total[o][v]) });
                }
            }
        }
    }
}
