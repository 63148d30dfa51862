use super::dot::{Dot, Task};
use crate::kernels::gemm::part::{panel, Part};
use crate::kernels::lanes::avx512::Avx512;
use crate::kernels::machine::SharedMut;
use crate::kernels::{Machine, BLOCK};
use crate::Result;
use std::marker::PhantomData;

/// x as panels of (blocks, words, 32) or, at the end, (blocks, words, 16), rows filled up with zeros: a panel's rows are lanes.
/// The panel that starts with row r starts at element r * blocks * words. Words are kept as the bits of float32.
pub(super) fn pack<D: Dot>(machine: &Machine, part: &Part, out: &mut [f32]) -> Result<()> {
    let each = part.inputs.div_ceil(BLOCK) * D::WORDS;
    let out = SharedMut::new(out);
    machine.pool().run(part.count.div_ceil(32), &|index| {
        let first = index * 32;
        let width = panel(part.count - first);
        D::enter(Panel::<D> {
            x: &part.x[first * part.inputs..(first + 32).min(part.count) * part.inputs],
            inputs: part.inputs,
            width,
            // SAFETY: panels do not overlap.
            out: unsafe { out.piece(first * each, width * each) },
            dot: PhantomData,
        });
    })
}

struct Panel<'a, D> {
    /// (rows, inputs), rows at most `width`
    x: &'a [f32],
    inputs: usize,
    width: usize,
    out: &'a mut [f32],
    dot: PhantomData<D>,
}

impl<D: Dot> Task for Panel<'_, D> {
    #[inline(always)]
    fn run(self, _: Avx512) {
        let rows = self.x.len() / self.inputs;
        if rows < self.width {
            self.out.fill(0.0);
        }
        let size = D::WORDS * self.width;
        let mut block = 0;
        while block * BLOCK < self.inputs {
            let out = &mut self.out[block * size..(block + 1) * size];
            let count = BLOCK.min(self.inputs - block * BLOCK);
            let mut row = 0;
            while row < rows {
                let mut x = [0f32; BLOCK];
                x[..count].copy_from_slice(&self.x[row * self.inputs + block * BLOCK..][..count]);
                let mut words = [0u32; 16];
                // SAFETY: within `enter`.
                unsafe { D::encode(&x, &mut words) };
                let mut word = 0;
                while word < D::WORDS {
                    out[word * self.width + row] = f32::from_bits(words[word]);
                    word += 1;
                }
                row += 1;
            }
            block += 1;
        }
    }
}
