#![allow(clippy::needless_range_loop)] // closures are not always inlined, and what is not inlined lacks the instruction set
use super::cut::Cut;
use crate::kernels::encoding::{Decode, Params, RUN};
use crate::kernels::isa::Job;
use crate::kernels::lanes::Lanes;
use crate::kernels::{Tile, BLOCK};
use std::marker::PhantomData;
use std::ops::Range;

/// R rows of x against some outputs, a few outputs at a time.
pub(super) struct Floats<'a, E, const R: usize> {
    pub(super) cut: &'a Cut<'a, 'a>,
    pub(super) row: usize,
    pub(super) outputs: Range<usize>,
    pub(super) encoding: PhantomData<E>,
}

impl<E: Decode, const R: usize> Job for Floats<'_, E, R> {
    type Out = ();
    #[inline(always)]
    fn run<S: Lanes>(self, s: S) {
        let mut next = self.outputs.start;
        // memory likes one stream of bytes best; a second keeps the units busy where there is more to do for each byte
        if E::SCALED || R > 1 && (S::WIDE || R == 2) {
            self.outputs::<S, 2>(s, &mut next);
        }
        self.outputs::<S, 1>(s, &mut next);
    }
}

impl<E: Decode, const R: usize> Floats<'_, E, R> {
    /// As many outputs as there are whole groups of O left.
    #[inline(always)]
    fn outputs<S: Lanes, const O: usize>(&self, s: S, next: &mut usize) {
        let Cut { tile, x, .. } = self.cut;
        let x = &x.floats()[self.row * x.width..];
        while *next + O <= self.outputs.end {
            // SAFETY: the tile has the outputs, x has R rows from `row` on, filled up to whole blocks.
            let sums = unsafe { dots::<S, E, R, O>(s, tile, *next, x.as_ptr(), self.cut.x.width) };
            self.cut.store(self.row, *next, &sums);
            *next += O;
        }
    }
}

/// R rows of x, `width` apart, times O rows of the tile from `first` on.
///
/// # Safety
/// The tile must have those rows; R rows of whole blocks must be readable at x.
#[inline(always)]
unsafe fn dots<S: Lanes, E: Decode, const R: usize, const O: usize>(
    s: S,
    tile: &Tile,
    first: usize,
    x: *const f32,
    width: usize,
) -> [[f32; O]; R] {
    let (whole, ragged) = (tile.inputs() / BLOCK, tile.inputs() % BLOCK);
    let blocks = tile.inputs().div_ceil(BLOCK);
    let mut acc = [[s.splat(0.0); O]; R];
    let mut params = [Params::new(); O];
    let mut done = 0;
    while done < blocks {
        let count = RUN.min(blocks - done);
        if E::SCALED {
            for o in 0..O {
                params[o].fill::<S, E>(s, tile, (first + o) * blocks + done, count);
            }
        }
        // SAFETY: blocks done..done + count of O rows from `first` are in the tile, but for a ragged last one.
        unsafe {
            let w = tile.bytes().as_ptr().add(first * tile.row_bytes() + done * E::BYTES);
            let full = count.min(whole - done);
            run::<S, E, R, O>(s, w, tile.row_bytes(), x.add(done * BLOCK), width, full, &params, &mut acc);
            if full < count {
                let used = tile.row_bytes() - whole * E::BYTES;
                debug_assert!(ragged > 0 && used <= E::BYTES);
                let mut last = [[0u8; 128]; O];
                for o in 0..O {
                    std::ptr::copy_nonoverlapping(w.add(o * tile.row_bytes() + full * E::BYTES), last[o].as_mut_ptr(), used);
                }
                block::<S, E, R, O>(s, last.as_ptr().cast(), 128, x.add(whole * BLOCK), width, full, &params, &mut acc);
            }
        }
        done += count;
    }
    let mut sums = [[0.0; O]; R];
    for r in 0..R {
        for o in 0..O {
            sums[r][o] = s.sum(acc[r][o]);
        }
    }
    sums
}

/// `count` whole blocks of O rows, with one prefetch per cache line.
///
/// # Safety
/// As `dots` says.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
unsafe fn run<S: Lanes, E: Decode, const R: usize, const O: usize>(
    s: S,
    w: *const u8,
    row_bytes: usize,
    x: *const f32,
    width: usize,
    count: usize,
    params: &[Params; O],
    acc: &mut [[S::F; O]; R],
) {
    let unroll = (64 / E::BYTES).max(1);
    let mut index = 0;
    // SAFETY: as the caller says; prefetching beyond the tile does nothing.
    unsafe {
        while index + unroll <= count {
            for o in 0..O {
                for line in 0..(E::BYTES / 64).max(1) {
                    s.prefetch(w.wrapping_add(o * row_bytes + index * E::BYTES + E::AHEAD + line * 64));
                }
            }
            for _ in 0..unroll {
                block::<S, E, R, O>(
                    s,
                    w.add(index * E::BYTES),
                    row_bytes,
                    x.add(index * BLOCK),
                    width,
                    index,
                    params,
                    acc,
                );
                index += 1;
            }
        }
        while index < count {
            block::<S, E, R, O>(
                s,
                w.add(index * E::BYTES),
                row_bytes,
                x.add(index * BLOCK),
                width,
                index,
                params,
                acc,
            );
            index += 1;
        }
    }
}

/// One block of 32 inputs of O rows of weights and R rows of x.
///
/// # Safety
/// `E::BYTES` bytes must be readable at w and O - 1 times `row_bytes` further, 32 f32 at x and R - 1 times `width` further.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
unsafe fn block<S: Lanes, E: Decode, const R: usize, const O: usize>(
    s: S,
    w: *const u8,
    row_bytes: usize,
    x: *const f32,
    width: usize,
    index: usize,
    params: &[Params; O],
    acc: &mut [[S::F; O]; R],
) {
    // SAFETY: as the caller says; index < RUN.
    unsafe {
        for o in 0..O {
            let (w0, w1) = E::pair(s, w.add(o * row_bytes), params[o].zero::<E>(index));
            let scale = s.splat(params[o].scale::<E>(index));
            for r in 0..R {
                let (x0, x1) = (s.load(x.add(r * width)), s.load(x.add(r * width + BLOCK / 2)));
                acc[r][o] = if E::SCALED {
                    let partial = s.fma(w1, x1, s.fma(w0, x0, s.splat(0.0)));
                    s.fma(partial, scale, acc[r][o])
                } else {
                    s.fma(w1, x1, s.fma(w0, x0, acc[r][o]))
                };
            }
        }
    }
}
