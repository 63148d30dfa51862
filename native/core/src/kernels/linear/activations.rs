use super::digits::{DigitRows, Digits};
use super::Product;
use crate::kernels::isa::Job;
use crate::kernels::lanes::{Lanes, LANES};
use crate::kernels::machine::Scratch;
use crate::kernels::{Encoding, Machine, BLOCK};
use crate::Result;

/// The rows of x as kernels like them: filled up with zeros to whole blocks, and, for nibbles, as digits. Made once a call, so
/// that no row of weights pays for it.
pub(crate) struct Activations<'a> {
    floats: Rows<'a>,
    digits: Option<DigitRows<'a>>,
    pub(crate) rows: usize,
    /// from one row of floats to the next: whole blocks
    pub(crate) width: usize,
}

enum Rows<'a> {
    Given(&'a [f32]),
    Padded(Scratch<'a>),
}

impl<'a> Activations<'a> {
    pub(crate) fn new(machine: &'a Machine, x: &'a [f32], rows: usize, inputs: usize, products: &[Product]) -> Result<Self> {
        let width = inputs.next_multiple_of(BLOCK);
        let nibble = |e: Encoding| e.bits() == 4;
        let all = || products.iter().flat_map(|p| p.tiles).map(|t| nibble(t.encoding()));
        // vectors that straddle cache lines cost more than this copy
        let in_place = width == inputs && (x.as_ptr() as usize).is_multiple_of(64);
        let floats = if in_place || all().all(|nibble| nibble) {
            Rows::Given(x)
        } else {
            let mut scratch = machine.scratch(rows * width);
            machine.found().run(Fill {
                x,
                inputs,
                width,
                out: &mut scratch,
            });
            Rows::Padded(scratch)
        };
        let nibbles = all().any(|nibble| nibble);
        Ok(Activations {
            floats,
            digits: nibbles.then(|| DigitRows::new(machine, x, inputs)).transpose()?,
            rows,
            width,
        })
    }

    /// (rows, width)
    pub(crate) fn floats(&self) -> &[f32] {
        match &self.floats {
            Rows::Given(x) => x,
            Rows::Padded(scratch) => scratch,
        }
    }

    /// (rows, spans)
    pub(crate) fn digits(&self) -> &[Digits] {
        self.digits.as_ref().map_or(&[], DigitRows::get)
    }
}

struct Fill<'a> {
    x: &'a [f32],
    inputs: usize,
    width: usize,
    out: &'a mut [f32],
}

impl Job for Fill<'_> {
    type Out = ();
    #[inline(always)]
    fn run<S: Lanes>(self, s: S) {
        for row in 0..self.x.len() / self.inputs {
            let x = &self.x[row * self.inputs..][..self.inputs];
            let out = &mut self.out[row * self.width..][..self.width];
            let mut at = 0;
            while at < self.width {
                let part = &x[at.min(x.len())..];
                let mut padded = [0f32; LANES];
                let mut from = part.as_ptr();
                if part.len() < LANES {
                    padded[..part.len()].copy_from_slice(part);
                    from = padded.as_ptr();
                }
                // SAFETY: 16 elements are readable at `from`; the width is a multiple of 32.
                unsafe { s.store(out.as_mut_ptr().add(at), s.load(from)) };
                at += LANES;
            }
        }
    }
}
