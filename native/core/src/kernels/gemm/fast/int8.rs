use super::dot::{Dot, Task};
use crate::kernels::lanes::avx512::Avx512;
use crate::kernels::{Encoding, Tile};
use std::arch::x86_64::*;

/// Weights of whole numbers of 8 or 4 bits, activations rounded to whole numbers of 8 bits in blocks of 32 with a scale. A word
/// is four inputs. The instruction wants one side without a sign: that of the weights is shifted up, and what this adds is
/// where the sums start.
pub(crate) struct Int8;

/// Words of 32 inputs.
const GROUPS: usize = 8;

/// Below this the largest of a block makes no scale: its inverse would be no float32.
const LEAST: f32 = 1e-35;

impl Dot for Int8 {
    const GROUPS: usize = GROUPS;
    const WORDS: usize = GROUPS + 2;
    const SCALED: bool = true;
    type Sums = __m512i;

    fn enter<T: Task>(task: T) {
        // SAFETY: the processor knows it, as the caller sees to.
        unsafe { enter(task) }
    }
    #[inline(always)]
    unsafe fn weights(tile: &Tile, row: usize, first: usize, count: usize, out: *mut u32) {
        for block in 0..count {
            // SAFETY: the tile has the block, and there is room for it.
            unsafe {
                let q = signed(tile, row, first + block);
                _mm256_storeu_si256(out.add(block * GROUPS).cast(), _mm256_xor_si256(q, _mm256_set1_epi8(-128)));
            }
        }
    }
    #[inline(always)]
    unsafe fn encode(x: &[f32; 32], out: &mut [u32; 16]) {
        // SAFETY: within `enter`; 32 elements are read, 8 words written.
        unsafe {
            let (low, high) = (_mm512_loadu_ps(x.as_ptr()), _mm512_loadu_ps(x.as_ptr().add(16)));
            // as whole numbers: NaN is then the largest
            let (a, b) = (_mm512_castps_si512(_mm512_abs_ps(low)), _mm512_castps_si512(_mm512_abs_ps(high)));
            let most = f32::from_bits(_mm512_reduce_max_epu32(_mm512_max_epu32(a, b)));
            if !most.is_finite() {
                out[GROUPS] = f32::NAN.to_bits();
                return;
            }
            if most < LEAST {
                return;
            }
            let inverse = _mm512_set1_ps(127.0 / most);
            let low = _mm512_cvtps_epi32(_mm512_mul_ps(low, inverse));
            let high = _mm512_cvtps_epi32(_mm512_mul_ps(high, inverse));
            _mm_storeu_si128(out.as_mut_ptr().cast(), _mm512_cvtepi32_epi8(low));
            _mm_storeu_si128(out.as_mut_ptr().add(4).cast(), _mm512_cvtepi32_epi8(high));
            out[GROUPS] = (most / 127.0).to_bits();
            out[GROUPS + 1] = (-128 * _mm512_reduce_add_epi32(_mm512_add_epi32(low, high))) as u32;
        }
    }
    #[inline(always)]
    unsafe fn start(_: __m512, x: *const f32, stride: usize) -> __m512i {
        // SAFETY: the block is there, as the caller says.
        unsafe { _mm512_loadu_si512(x.add((GROUPS + 1) * stride).cast()) }
    }
    #[inline(always)]
    unsafe fn add(sums: __m512i, weight: __m512i, x: __m512i) -> __m512i {
        // SAFETY: within `enter`.
        unsafe { _mm512_dpbusd_epi32(sums, weight, x) }
    }
    #[inline(always)]
    unsafe fn end(total: __m512, sums: __m512i, scale: f32, x: *const f32, stride: usize) -> __m512 {
        // SAFETY: within `enter`; the block is there, as the caller says.
        unsafe {
            let scale = _mm512_mul_ps(_mm512_loadu_ps(x.add(GROUPS * stride)), _mm512_set1_ps(scale));
            _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums), scale, total)
        }
    }
}

/// A block of a row of whole numbers as signed bytes in their order; beyond the row's end zeros, or in a last byte of nibbles
/// what is there.
///
/// # Safety
/// Within `enter`; the tile must be of I8 or I4 and have the block.
#[inline(always)]
unsafe fn signed(tile: &Tile, row: usize, block: usize) -> __m256i {
    let four = tile.encoding() == Encoding::I4;
    let size = if four { 16 } else { 32 };
    let bytes = &tile.bytes()[row * tile.row_bytes()..(row + 1) * tile.row_bytes()];
    let bytes = &bytes[block * size..];
    let mut padded = [0u8; 32];
    let mut from = bytes.as_ptr();
    if bytes.len() < size {
        padded[..bytes.len()].copy_from_slice(bytes);
        from = padded.as_ptr();
    }
    // SAFETY: `size` bytes are readable.
    unsafe {
        if !four {
            return _mm256_loadu_si256(from.cast());
        }
        let pairs = _mm256_cvtepu8_epi16(_mm_loadu_si128(from.cast()));
        let nibbles = _mm256_and_si256(_mm256_or_si256(pairs, _mm256_slli_epi16::<4>(pairs)), _mm256_set1_epi8(15));
        // 0 to 15, of which 8 and above are 16 too large
        let eight = _mm256_set1_epi8(8);
        _mm256_sub_epi8(_mm256_xor_si256(nibbles, eight), eight)
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,avx512vnni")]
unsafe fn enter<T: Task>(task: T) {
    // SAFETY: the caller found the instruction set.
    task.run(unsafe { Avx512::new() })
}
