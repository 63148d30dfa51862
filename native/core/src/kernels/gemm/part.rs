use crate::kernels::linear::Output;
use std::ops::Range;

/// Outputs of a piece of work: a multiple of what a microkernel takes, and few enough for the L2 cache.
const OUTPUTS: usize = 48;

/// Outputs of a piece where there are `outputs` for `threads` threads: a tile may have too few for pieces of the best size to be
/// shared evenly. Whoever makes pieces cuts at multiples of 8.
pub(super) fn piece(outputs: usize, threads: usize) -> usize {
    let rounds = outputs.div_ceil(OUTPUTS * threads).max(1);
    outputs.div_ceil(rounds * threads).next_multiple_of(8).min(OUTPUTS)
}

/// Rows of x that are packed at a time: `count` from `first` on.
pub(crate) struct Part<'a> {
    /// (count, inputs)
    pub(crate) x: &'a [f32],
    pub(crate) first: usize,
    pub(crate) count: usize,
    pub(crate) inputs: usize,
}

/// Rows of x in a panel: 32 while there are that many, then 16s.
pub(crate) fn panel(rows_left: usize) -> usize {
    if rows_left > 16 {
        32
    } else {
        16
    }
}

impl Part<'_> {
    /// Rows filled up to whole panels.
    pub(crate) fn padded(&self) -> usize {
        self.count.next_multiple_of(16)
    }

    /// Writes sums (outputs of `range`, padded) and biases to where they go.
    pub(crate) fn finish(&self, sums: &[f32], range: &Range<usize>, output: &Output) {
        let padded = self.padded();
        for row in 0..self.count {
            for o in 0..range.len() {
                let at = output.first + range.start + o;
                let sum = sums[o * padded + row];
                let value = output.bias.map_or(sum, |bias| sum + bias[at]);
                // SAFETY: `check` saw that y has this place; each output is in one piece of work only.
                unsafe { output.y.set((self.first + row) * output.stride + at, value) };
            }
        }
    }
}
