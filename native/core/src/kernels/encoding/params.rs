//! Scales and zero points as float32, a run of blocks at a time, so that the inner loops see neither their types nor their packing.
use super::{Decode, Encoding, ScaleType, Tile};
use crate::kernels::lanes::{Lanes, LANES};
use std::mem::MaybeUninit;

/// Blocks whose parameters are decoded at once.
pub(crate) const RUN: usize = 64;

/// Scales and zero points of up to `RUN` blocks of one row; what was not filled is never read, and not written either: making
/// zeros of it would show in the time of a short row.
#[derive(Clone, Copy)]
pub(crate) struct Params {
    scale: [MaybeUninit<f32>; RUN],
    zero: [MaybeUninit<f32>; RUN],
}

impl Params {
    #[inline(always)]
    pub(crate) fn new() -> Params {
        Params {
            scale: [const { MaybeUninit::uninit() }; RUN],
            zero: [const { MaybeUninit::uninit() }; RUN],
        }
    }

    /// The scale of a block; 1 in encodings without.
    ///
    /// # Safety
    /// `fill` must have filled the block for the same encoding.
    #[inline(always)]
    pub(crate) unsafe fn scale<E: Decode>(&self, index: usize) -> f32 {
        debug_assert!(index < RUN);
        // SAFETY: filled, as the caller says.
        if E::SCALED {
            unsafe { self.scale.get_unchecked(index).assume_init() }
        } else {
            1.0
        }
    }

    /// The zero point of a block; 0 in encodings without.
    ///
    /// # Safety
    /// As for `scale`.
    #[inline(always)]
    pub(crate) unsafe fn zero<E: Decode>(&self, index: usize) -> f32 {
        debug_assert!(index < RUN);
        // SAFETY: filled, as the caller says.
        if E::ZEROS {
            unsafe { self.zero.get_unchecked(index).assume_init() }
        } else {
            0.0
        }
    }

    /// The scales from a block on; after the last that `fill` was asked for they are filled up to a multiple of four.
    #[inline(always)]
    pub(crate) fn scales(&self, index: usize) -> *const f32 {
        debug_assert!(index < RUN);
        self.scale.as_ptr().wrapping_add(index).cast()
    }

    /// The zero points from a block on, in the same way.
    #[inline(always)]
    pub(crate) fn zeros(&self, index: usize) -> *const f32 {
        debug_assert!(index < RUN);
        self.zero.as_ptr().wrapping_add(index).cast()
    }

    /// Blocks `first..first + count` of the tile, counted over all its rows; count is at most `RUN`.
    #[inline(always)]
    pub(crate) fn fill<S: Lanes, E: Decode>(&mut self, s: S, tile: &Tile, first: usize, count: usize) {
        if let Some((kind, bytes)) = tile.scales() {
            let size = kind.bytes();
            let ahead = E::AHEAD * size / E::BYTES;
            let bytes = &bytes[first * size..(first + count) * size];
            let mut at = 0;
            while at < count {
                let mut padded = [0u8; LANES * 4];
                let mut from = bytes[at * size..].as_ptr();
                s.prefetch(from.wrapping_add(ahead));
                if count - at < LANES {
                    let rest = &bytes[at * size..];
                    padded[..rest.len()].copy_from_slice(rest);
                    from = padded.as_ptr();
                }
                // SAFETY: 16 scales are readable at `from`; count <= RUN, a multiple of 16, so there are 16 places.
                unsafe {
                    let v = match kind {
                        ScaleType::F32 => s.load(from.cast()),
                        ScaleType::F16 => s.load_f16(from),
                        ScaleType::Bf16 => s.float(s.shl16(s.load_u16(from))),
                    };
                    s.store(self.scale.as_mut_ptr().cast::<f32>().add(at), v);
                }
                at += LANES;
            }
        }
        if E::ZEROS {
            self.fill_zeros(tile, first, count);
        }
    }

    #[inline(always)]
    fn fill_zeros(&mut self, tile: &Tile, first: usize, count: usize) {
        let Some(bytes) = tile.zero_points() else { return };
        let padding = count.next_multiple_of(4) - count;
        for zero in &mut self.zero[count..count + padding] {
            zero.write(0.0);
        }
        for (index, zero) in (first..first + count).zip(&mut self.zero) {
            let nibble = || bytes[index / 2] >> (4 * (index % 2)) & 15;
            let value = match tile.encoding() {
                Encoding::I4 => ((nibble() << 4) as i8 >> 4) as f32,
                Encoding::U4 => nibble() as f32,
                _ => bytes[index] as i8 as f32,
            };
            zero.write(value);
        }
    }
}
