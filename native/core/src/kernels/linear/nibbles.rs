#![allow(clippy::needless_range_loop)] // closures are not always inlined, and what is not inlined lacks the instruction set
use super::cut::Cut;
use super::digits::{Digits, SPAN};
use crate::kernels::encoding::{Decode, Params, RUN};
use crate::kernels::isa::Job;
use crate::kernels::lanes::Lanes;
use crate::kernels::{Tile, BLOCK};
use std::marker::PhantomData;
use std::ops::Range;

/// Bytes of the nibbles of a span.
const BYTES: usize = SPAN / 2;

/// R rows of x against some outputs of nibbles, a few outputs at a time.
pub(super) struct Nibbles<'a, E, const R: usize> {
    pub(super) cut: &'a Cut<'a, 'a>,
    pub(super) row: usize,
    pub(super) outputs: Range<usize>,
    pub(super) encoding: PhantomData<E>,
}

impl<E: Decode, const R: usize> Job for Nibbles<'_, E, R> {
    type Out = ();
    #[inline(always)]
    fn run<S: Lanes>(self, s: S) {
        let mut next = self.outputs.start;
        if S::WIDE && R == 1 {
            self.outputs::<S, 4>(s, &mut next);
        }
        self.outputs::<S, 2>(s, &mut next);
        self.outputs::<S, 1>(s, &mut next);
    }
}

impl<E: Decode, const R: usize> Nibbles<'_, E, R> {
    /// As many outputs as there are whole groups of O left.
    #[inline(always)]
    fn outputs<S: Lanes, const O: usize>(&self, s: S, next: &mut usize) {
        let Cut { tile, x, .. } = self.cut;
        let spans = tile.inputs().div_ceil(SPAN);
        let x = &x.digits()[self.row * spans..(self.row + R) * spans];
        while *next + O <= self.outputs.end {
            // SAFETY: the tile has the outputs, and x R rows of its spans.
            let sums = unsafe { dots::<S, E, R, O>(s, tile, *next, x.as_ptr()) };
            self.cut.store(self.row, *next, &sums);
            *next += O;
        }
    }
}

/// R rows of x times O rows of the tile from `first` on.
///
/// # Safety
/// The tile must have those rows, x R rows of its spans.
#[inline(always)]
unsafe fn dots<S: Lanes, E: Decode, const R: usize, const O: usize>(s: S, tile: &Tile, first: usize, x: *const Digits) -> [[f32; O]; R] {
    let (spans, blocks) = (tile.inputs().div_ceil(SPAN), tile.inputs().div_ceil(BLOCK));
    let mut acc = [[s.splat(0.0); O]; R];
    let mut params = [Params::new(); O];
    let mut span = 0;
    while span < spans {
        let count = (RUN * BLOCK / SPAN).min(spans - span);
        let done = span * (SPAN / BLOCK);
        for o in 0..O {
            params[o].fill::<S, E>(s, tile, (first + o) * blocks + done, RUN.min(blocks - done));
        }
        // SAFETY: the spans are in the tile, but for a short last one.
        unsafe {
            let w = tile.bytes().as_ptr().add(first * tile.row_bytes() + span * BYTES);
            let whole = count.min(tile.row_bytes() / BYTES - span);
            for index in 0..whole {
                for o in 0..O {
                    s.prefetch(w.wrapping_add(o * tile.row_bytes() + index * BYTES + E::AHEAD));
                }
                let at = w.add(index * BYTES);
                one::<S, E, R, O>(s, at, tile.row_bytes(), x.add(span + index), spans, index, &params, &mut acc);
            }
            if whole < count {
                let used = tile.row_bytes() % BYTES;
                let mut last = [[0u8; BYTES]; O];
                for o in 0..O {
                    std::ptr::copy_nonoverlapping(w.add(o * tile.row_bytes() + whole * BYTES), last[o].as_mut_ptr(), used);
                }
                let at = last.as_ptr().cast();
                one::<S, E, R, O>(s, at, BYTES, x.add(span + whole), spans, whole, &params, &mut acc);
            }
        }
        span += count;
    }
    let mut sums = [[0.0; O]; R];
    for r in 0..R {
        for o in 0..O {
            sums[r][o] = s.sum(acc[r][o]);
        }
    }
    sums
}

/// One span of O rows of weights and R rows of x. The whole numbers are multiplied and added without any rounding.
///
/// # Safety
/// `BYTES` bytes must be readable at w and O - 1 times `row_bytes` further, a span at x and R - 1 times `spans` further; the
/// blocks of span `index` must be in `params`.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
unsafe fn one<S: Lanes, E: Decode, const R: usize, const O: usize>(
    s: S,
    w: *const u8,
    row_bytes: usize,
    x: *const Digits,
    spans: usize,
    index: usize,
    params: &[Params; O],
    acc: &mut [[S::F; O]; R],
) {
    // SAFETY: as the caller says.
    unsafe {
        let added = E::NIBBLES.unwrap_or(0);
        for o in 0..O {
            let (even, odd) = s.nibbles(s.load_bytes(w.add(o * row_bytes)), added);
            let scale = s.load_each4(params[o].scales(index * (SPAN / BLOCK)));
            for r in 0..R {
                let x = &*x.add(r * spans);
                let digit = |at: usize| s.load_bytes(x.digits[at].as_ptr().cast());
                let high = s.dot4(s.dot4(s.splat_bits(0), even, digit(0)), odd, digit(1));
                let middle = s.dot4(s.dot4(s.shl8(high), even, digit(2)), odd, digit(3));
                let less = if added == 8 {
                    s.load_words(x.less_eight.as_ptr())
                } else {
                    s.splat_bits(0)
                };
                // beside the others, so that the chain of sums is short
                let low = s.dot4(s.dot4(less, even, digit(4)), odd, digit(5));
                let mut sum = s.to_float(s.add_words(s.shl8(middle), low));
                if E::ZEROS {
                    let zero = s.load_each4(params[o].zeros(index * (SPAN / BLOCK)));
                    sum = s.fma(s.load(x.less_one.as_ptr()), zero, sum);
                }
                acc[r][o] = s.fma(sum, s.mul(scale, s.load(x.unit.as_ptr())), acc[r][o]);
            }
        }
    }
}
