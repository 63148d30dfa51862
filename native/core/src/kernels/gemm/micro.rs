#![allow(clippy::needless_range_loop)] // closures are not always inlined, and what is not inlined lacks the instruction set
use super::pack::STRIDE;
use super::part::panel;
use crate::kernels::isa::Job;
use crate::kernels::lanes::{Lanes, LANES};
use std::ops::Range;

/// One run of inputs: some decoded rows of weights against all packed rows of x.
pub(crate) struct Stripe<'a> {
    /// (outputs, STRIDE)
    pub(crate) weights: &'a [f32],
    /// panels of (inputs, 32 or 16)
    pub(crate) x: &'a [f32],
    pub(crate) inputs: usize,
    pub(crate) run: Range<usize>,
    pub(crate) outputs: usize,
    /// a multiple of 16
    pub(crate) rows: usize,
    /// (outputs, rows): set by the first run, added to by the others
    pub(crate) sums: &'a mut [f32],
}

impl Job for Stripe<'_> {
    type Out = ();
    #[inline(always)]
    fn run<S: Lanes>(mut self, s: S) {
        assert!(self.weights.len() >= self.outputs * STRIDE && self.sums.len() >= self.outputs * self.rows);
        assert!(self.x.len() >= self.rows * self.inputs && self.run.end <= self.inputs && self.run.len() <= STRIDE);
        let mut row = 0;
        while row < self.rows {
            let width = panel(self.rows - row);
            if S::WIDE && width == 32 {
                self.panel::<S, 2, 2, 12>(s, row, 0);
            } else if S::WIDE {
                self.panel::<S, 1, 1, 12>(s, row, 0);
            } else if width == 32 {
                self.panel::<S, 2, 1, 6>(s, row, 0);
                self.panel::<S, 2, 1, 6>(s, row, 1);
            } else {
                self.panel::<S, 1, 1, 6>(s, row, 0);
            }
            row += width;
        }
    }
}

impl Stripe<'_> {
    /// All outputs for V vectors of the rows of a panel of W vectors, from vector `part` on, O outputs at a time.
    #[inline(always)]
    fn panel<S: Lanes, const W: usize, const V: usize, const O: usize>(&mut self, s: S, row: usize, part: usize) {
        // SAFETY: `run` checked the lengths; the panel of `row` starts at row * inputs and is W vectors wide.
        unsafe {
            let x = self.x.as_ptr().add(row * self.inputs + self.run.start * W * LANES + part * LANES);
            let mut o = 0;
            while o + O <= self.outputs {
                self.micro::<S, W, V, O>(s, x, o, row + part * LANES);
                o += O;
            }
            while o + 4 <= self.outputs {
                self.micro::<S, W, V, 4>(s, x, o, row + part * LANES);
                o += 4;
            }
            while o < self.outputs {
                self.micro::<S, W, V, 1>(s, x, o, row + part * LANES);
                o += 1;
            }
        }
    }

    /// O outputs from `first` on, V vectors of rows from `row` on.
    ///
    /// # Safety
    /// x must point to the run's inputs in a panel W vectors wide; outputs and rows must be within the stripe.
    #[inline(always)]
    unsafe fn micro<S: Lanes, const W: usize, const V: usize, const O: usize>(&mut self, s: S, x: *const f32, first: usize, row: usize) {
        // SAFETY: as the caller says.
        unsafe {
            let w = self.weights.as_ptr().add(first * STRIDE);
            let mut acc = [[s.splat(0.0); V]; O];
            for k in 0..self.run.len() {
                let mut xs = [s.splat(0.0); V];
                for v in 0..V {
                    xs[v] = s.load(x.add((k * W + v) * LANES));
                }
                for o in 0..O {
                    let weight = s.splat(*w.add(o * STRIDE + k));
                    for v in 0..V {
                        acc[o][v] = s.fma(xs[v], weight, acc[o][v]);
                    }
                }
            }
            for o in 0..O {
                for v in 0..V {
                    let sum = self.sums.as_mut_ptr().add((first + o) * self.rows + row + v * LANES);
                    let start = self.run.start == 0;
                    s.store(sum, if start { acc[o][v] } else { s.add(s.load(sum), acc[o][v]) });
                }
            }
        }
    }
}
