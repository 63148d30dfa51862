use super::dot::{Dot, Task};
use crate::kernels::lanes::avx512::Avx512;
use crate::kernels::Tile;
use std::arch::x86_64::*;
use std::mem::transmute;

/// Weights of bfloat16, activations rounded to nearest even. A word is two inputs.
pub(crate) struct Bf16;

/// Words of 32 inputs.
const GROUPS: usize = 16;

impl Dot for Bf16 {
    const GROUPS: usize = GROUPS;
    const WORDS: usize = GROUPS;
    const SCALED: bool = false;
    type Sums = __m512;

    fn enter<T: Task>(task: T) {
        // SAFETY: the processor knows it, as the caller sees to.
        unsafe { enter(task) }
    }
    #[inline(always)]
    unsafe fn weights(tile: &Tile, row: usize, first: usize, count: usize, out: *mut u32) {
        let row = &tile.bytes()[row * tile.row_bytes()..(row + 1) * tile.row_bytes()];
        let row = &row[first * GROUPS * 4..];
        let used = row.len().min(count * GROUPS * 4);
        // SAFETY: there is room for count blocks.
        unsafe {
            std::ptr::copy_nonoverlapping(row.as_ptr(), out.cast(), used);
            std::ptr::write_bytes(out.cast::<u8>().add(used), 0, count * GROUPS * 4 - used);
        }
    }
    #[inline(always)]
    unsafe fn encode(x: &[f32; 32], out: &mut [u32; 16]) {
        // SAFETY: 32 elements are read, 16 words written.
        unsafe {
            _mm512_storeu_si512(
                out.as_mut_ptr().cast(),
                rounded(_mm512_loadu_ps(x.as_ptr()), _mm512_loadu_ps(x.as_ptr().add(16))),
            )
        }
    }
    #[inline(always)]
    unsafe fn start(total: __m512, _: *const f32, _: usize) -> __m512 {
        total
    }
    #[inline(always)]
    unsafe fn add(sums: __m512, weight: __m512i, x: __m512i) -> __m512 {
        // SAFETY: within `enter`; both are 32 bfloat16.
        unsafe { _mm512_dpbf16_ps(sums, transmute::<__m512i, __m512bh>(weight), transmute::<__m512i, __m512bh>(x)) }
    }
    #[inline(always)]
    unsafe fn end(_: __m512, sums: __m512, _: f32, _: *const f32, _: usize) -> __m512 {
        sums
    }
}

/// 32 float32 as bfloat16, to nearest even.
#[inline(always)]
unsafe fn rounded(low: __m512, high: __m512) -> __m512i {
    // SAFETY: within `enter`.
    unsafe { transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low)) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,avx512bf16")]
unsafe fn enter<T: Task>(task: T) {
    // SAFETY: the caller found the instruction set.
    task.run(unsafe { Avx512::new() })
}
