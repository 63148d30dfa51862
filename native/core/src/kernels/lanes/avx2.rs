//! Sixteen lanes in two registers of AVX2, with FMA and F16C.
use super::Lanes;
use std::arch::x86_64::*;

/// Exists only where AVX2, FMA and F16C were found.
#[derive(Clone, Copy)]
pub(crate) struct Avx2(());

impl Avx2 {
    /// # Safety
    /// The processor must know AVX2, FMA and F16C.
    #[inline(always)]
    pub(crate) unsafe fn new() -> Self {
        Avx2(())
    }
}

type F = [__m256; 2];
type I = [__m256i; 2];
type B = [__m256i; 2];

// SAFETY of every intrinsic below: the token says that the processor knows the instructions; pointers as the trait says.
impl Lanes for Avx2 {
    type F = F;
    type I = I;
    type B = B;
    const WIDE: bool = false;

    #[inline(always)]
    fn splat(self, v: f32) -> F {
        unsafe { [_mm256_set1_ps(v); 2] }
    }
    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> F {
        unsafe { [_mm256_loadu_ps(p), _mm256_loadu_ps(p.add(8))] }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: F) {
        unsafe {
            _mm256_storeu_ps(p, v[0]);
            _mm256_storeu_ps(p.add(8), v[1]);
        }
    }
    #[inline(always)]
    fn add(self, a: F, b: F) -> F {
        unsafe { [_mm256_add_ps(a[0], b[0]), _mm256_add_ps(a[1], b[1])] }
    }
    #[inline(always)]
    fn sub(self, a: F, b: F) -> F {
        unsafe { [_mm256_sub_ps(a[0], b[0]), _mm256_sub_ps(a[1], b[1])] }
    }
    #[inline(always)]
    fn mul(self, a: F, b: F) -> F {
        unsafe { [_mm256_mul_ps(a[0], b[0]), _mm256_mul_ps(a[1], b[1])] }
    }
    #[inline(always)]
    fn div(self, a: F, b: F) -> F {
        unsafe { [_mm256_div_ps(a[0], b[0]), _mm256_div_ps(a[1], b[1])] }
    }
    #[inline(always)]
    fn fma(self, a: F, b: F, c: F) -> F {
        unsafe { [_mm256_fmadd_ps(a[0], b[0], c[0]), _mm256_fmadd_ps(a[1], b[1], c[1])] }
    }
    #[inline(always)]
    fn less(self, a: F, b: F, yes: F, no: F) -> F {
        unsafe {
            let first = _mm256_blendv_ps(no[0], yes[0], _mm256_cmp_ps::<_CMP_LT_OQ>(a[0], b[0]));
            [first, _mm256_blendv_ps(no[1], yes[1], _mm256_cmp_ps::<_CMP_LT_OQ>(a[1], b[1]))]
        }
    }
    #[inline(always)]
    fn bits(self, v: F) -> I {
        unsafe { [_mm256_castps_si256(v[0]), _mm256_castps_si256(v[1])] }
    }
    #[inline(always)]
    fn float(self, v: I) -> F {
        unsafe { [_mm256_castsi256_ps(v[0]), _mm256_castsi256_ps(v[1])] }
    }
    #[inline(always)]
    fn splat_bits(self, v: u32) -> I {
        unsafe { [_mm256_set1_epi32(v as i32); 2] }
    }
    #[inline(always)]
    fn and(self, a: I, b: I) -> I {
        unsafe { [_mm256_and_si256(a[0], b[0]), _mm256_and_si256(a[1], b[1])] }
    }
    #[inline(always)]
    fn or(self, a: I, b: I) -> I {
        unsafe { [_mm256_or_si256(a[0], b[0]), _mm256_or_si256(a[1], b[1])] }
    }
    #[inline(always)]
    fn shl16(self, v: I) -> I {
        unsafe { [_mm256_slli_epi32::<16>(v[0]), _mm256_slli_epi32::<16>(v[1])] }
    }
    #[inline(always)]
    fn shl23(self, v: I) -> I {
        unsafe { [_mm256_slli_epi32::<23>(v[0]), _mm256_slli_epi32::<23>(v[1])] }
    }
    #[inline(always)]
    unsafe fn load_u16(self, p: *const u8) -> I {
        unsafe {
            let first = _mm256_cvtepu16_epi32(_mm_loadu_si128(p.cast()));
            [first, _mm256_cvtepu16_epi32(_mm_loadu_si128(p.add(16).cast()))]
        }
    }
    #[inline(always)]
    unsafe fn load_i8(self, p: *const u8) -> F {
        unsafe {
            let first = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(p.cast())));
            [first, _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(p.add(8).cast())))]
        }
    }
    #[inline(always)]
    unsafe fn load_f16(self, p: *const u8) -> F {
        unsafe {
            let first = _mm256_cvtph_ps(_mm_loadu_si128(p.cast()));
            [first, _mm256_cvtph_ps(_mm_loadu_si128(p.add(16).cast()))]
        }
    }
    #[inline(always)]
    unsafe fn store_f16(self, p: *mut u8, v: F) {
        unsafe {
            _mm_storeu_si128(p.cast(), _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(v[0]));
            _mm_storeu_si128(p.add(16).cast(), _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(v[1]));
        }
    }
    #[inline(always)]
    unsafe fn load_nibbles(self, p: *const u8, table: F) -> (F, F) {
        unsafe {
            (
                [eight(p, table), eight(p.add(4), table)],
                [eight(p.add(8), table), eight(p.add(12), table)],
            )
        }
    }
    #[inline(always)]
    unsafe fn load_bytes(self, p: *const u8) -> B {
        unsafe { [_mm256_loadu_si256(p.cast()), _mm256_loadu_si256(p.add(32).cast())] }
    }
    #[inline(always)]
    unsafe fn load_words(self, p: *const i32) -> I {
        unsafe { [_mm256_loadu_si256(p.cast()), _mm256_loadu_si256(p.add(8).cast())] }
    }
    #[inline(always)]
    unsafe fn load_each4(self, p: *const f32) -> F {
        unsafe {
            let v = _mm256_castps128_ps256(_mm_loadu_ps(p));
            let first = _mm256_permutevar8x32_ps(v, _mm256_set_epi32(1, 1, 1, 1, 0, 0, 0, 0));
            [first, _mm256_permutevar8x32_ps(v, _mm256_set_epi32(3, 3, 3, 3, 2, 2, 2, 2))]
        }
    }
    #[inline(always)]
    fn nibbles(self, v: B, flip: u8) -> (B, B) {
        unsafe {
            let (flip, low) = (_mm256_set1_epi8((flip << 4 | flip) as i8), _mm256_set1_epi8(15));
            let v = [_mm256_xor_si256(v[0], flip), _mm256_xor_si256(v[1], flip)];
            (
                [_mm256_and_si256(v[0], low), _mm256_and_si256(v[1], low)],
                [
                    _mm256_and_si256(_mm256_srli_epi16::<4>(v[0]), low),
                    _mm256_and_si256(_mm256_srli_epi16::<4>(v[1]), low),
                ],
            )
        }
    }
    #[inline(always)]
    fn dot4(self, sum: I, a: B, b: B) -> I {
        unsafe {
            // two products of less than 2^11 each fit 16 bits
            let ones = _mm256_set1_epi16(1);
            let first = _mm256_madd_epi16(_mm256_maddubs_epi16(a[0], b[0]), ones);
            let second = _mm256_madd_epi16(_mm256_maddubs_epi16(a[1], b[1]), ones);
            [_mm256_add_epi32(sum[0], first), _mm256_add_epi32(sum[1], second)]
        }
    }
    #[inline(always)]
    fn add_words(self, a: I, b: I) -> I {
        unsafe { [_mm256_add_epi32(a[0], b[0]), _mm256_add_epi32(a[1], b[1])] }
    }
    #[inline(always)]
    fn shl8(self, v: I) -> I {
        unsafe { [_mm256_slli_epi32::<8>(v[0]), _mm256_slli_epi32::<8>(v[1])] }
    }
    #[inline(always)]
    fn to_float(self, v: I) -> F {
        unsafe { [_mm256_cvtepi32_ps(v[0]), _mm256_cvtepi32_ps(v[1])] }
    }
    #[inline(always)]
    fn sum(self, v: F) -> f32 {
        unsafe {
            let v8 = _mm256_add_ps(v[0], v[1]);
            let v4 = _mm_add_ps(_mm256_castps256_ps128(v8), _mm256_extractf128_ps::<1>(v8));
            let v2 = _mm_add_ps(v4, _mm_movehl_ps(v4, v4));
            _mm_cvtss_f32(_mm_add_ss(v2, _mm_movehdup_ps(v2)))
        }
    }
    #[inline(always)]
    fn prefetch(self, p: *const u8) {
        unsafe { _mm_prefetch::<_MM_HINT_T1>(p.cast()) }
    }
    #[inline(always)]
    fn max(self, a: F, b: F) -> F {
        // the second operand where either is NaN or the two are equal: a < b ? b : a
        unsafe { [_mm256_max_ps(b[0], a[0]), _mm256_max_ps(b[1], a[1])] }
    }
}

/// Eight nibbles looked up. vpermps has 8 entries here, so it looks up twice and bit 3 chooses.
///
/// # Safety
/// AVX2, and 4 readable bytes.
#[inline(always)]
unsafe fn eight(p: *const u8, table: F) -> __m256 {
    unsafe {
        let shift = _mm256_set_epi32(28, 24, 20, 16, 12, 8, 4, 0);
        let index = _mm256_srlv_epi32(_mm256_set1_epi32(p.cast::<i32>().read_unaligned()), shift);
        let (low, high) = (_mm256_permutevar8x32_ps(table[0], index), _mm256_permutevar8x32_ps(table[1], index));
        _mm256_blendv_ps(low, high, _mm256_castsi256_ps(_mm256_slli_epi32::<28>(index)))
    }
}
