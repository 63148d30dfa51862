//! Sixteen lanes in four registers of NEON.
use super::{portable::Portable, tree, Lanes, LANES};
use std::arch::aarch64::*;
use std::array::from_fn;

/// Exists only where NEON was found.
#[derive(Clone, Copy)]
pub(crate) struct Neon(());

impl Neon {
    /// # Safety
    /// The processor must know NEON.
    #[inline(always)]
    pub(crate) unsafe fn new() -> Self {
        Neon(())
    }
}

type F = [float32x4_t; 4];
type I = [uint32x4_t; 4];
type B = [uint8x16_t; 4];

// SAFETY of every intrinsic below: the token says that the processor knows the instructions; pointers as the trait says.
impl Lanes for Neon {
    type F = F;
    type I = I;
    type B = B;
    const WIDE: bool = false;

    #[inline(always)]
    fn splat(self, v: f32) -> F {
        unsafe { [vdupq_n_f32(v); 4] }
    }
    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> F {
        from_fn(|i| unsafe { vld1q_f32(p.add(4 * i)) })
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: F) {
        for (i, part) in v.into_iter().enumerate() {
            unsafe { vst1q_f32(p.add(4 * i), part) }
        }
    }
    #[inline(always)]
    fn add(self, a: F, b: F) -> F {
        from_fn(|i| unsafe { vaddq_f32(a[i], b[i]) })
    }
    #[inline(always)]
    fn sub(self, a: F, b: F) -> F {
        from_fn(|i| unsafe { vsubq_f32(a[i], b[i]) })
    }
    #[inline(always)]
    fn mul(self, a: F, b: F) -> F {
        from_fn(|i| unsafe { vmulq_f32(a[i], b[i]) })
    }
    #[inline(always)]
    fn div(self, a: F, b: F) -> F {
        from_fn(|i| unsafe { vdivq_f32(a[i], b[i]) })
    }
    #[inline(always)]
    fn fma(self, a: F, b: F, c: F) -> F {
        from_fn(|i| unsafe { vfmaq_f32(c[i], a[i], b[i]) })
    }
    #[inline(always)]
    fn less(self, a: F, b: F, yes: F, no: F) -> F {
        from_fn(|i| unsafe { vbslq_f32(vcltq_f32(a[i], b[i]), yes[i], no[i]) })
    }
    #[inline(always)]
    fn bits(self, v: F) -> I {
        from_fn(|i| unsafe { vreinterpretq_u32_f32(v[i]) })
    }
    #[inline(always)]
    fn float(self, v: I) -> F {
        from_fn(|i| unsafe { vreinterpretq_f32_u32(v[i]) })
    }
    #[inline(always)]
    fn splat_bits(self, v: u32) -> I {
        unsafe { [vdupq_n_u32(v); 4] }
    }
    #[inline(always)]
    fn and(self, a: I, b: I) -> I {
        from_fn(|i| unsafe { vandq_u32(a[i], b[i]) })
    }
    #[inline(always)]
    fn or(self, a: I, b: I) -> I {
        from_fn(|i| unsafe { vorrq_u32(a[i], b[i]) })
    }
    #[inline(always)]
    fn shl16(self, v: I) -> I {
        from_fn(|i| unsafe { vshlq_n_u32::<16>(v[i]) })
    }
    #[inline(always)]
    fn shl23(self, v: I) -> I {
        from_fn(|i| unsafe { vshlq_n_u32::<23>(v[i]) })
    }
    #[inline(always)]
    unsafe fn load_u16(self, p: *const u8) -> I {
        from_fn(|i| unsafe { vmovl_u16(vreinterpret_u16_u8(vld1_u8(p.add(8 * i)))) })
    }
    #[inline(always)]
    unsafe fn load_i8(self, p: *const u8) -> F {
        unsafe {
            let v = vld1q_s8(p.cast());
            let (low, high) = (vmovl_s8(vget_low_s8(v)), vmovl_s8(vget_high_s8(v)));
            [vget_low_s16(low), vget_high_s16(low), vget_low_s16(high), vget_high_s16(high)].map(|h| vcvtq_f32_s32(vmovl_s16(h)))
        }
    }
    #[inline(always)]
    unsafe fn load_f16(self, p: *const u8) -> F {
        unsafe { self.load(Portable.load_f16(p).as_ptr()) }
    }
    #[inline(always)]
    unsafe fn store_f16(self, p: *mut u8, v: F) {
        let mut lanes = [0f32; LANES];
        unsafe {
            self.store(lanes.as_mut_ptr(), v);
            Portable.store_f16(p, lanes);
        }
    }
    #[inline(always)]
    unsafe fn load_nibbles(self, p: *const u8, table: F) -> (F, F) {
        let mut entries = [0f32; LANES];
        unsafe {
            self.store(entries.as_mut_ptr(), table);
            let (first, second) = Portable.load_nibbles(p, entries);
            (self.load(first.as_ptr()), self.load(second.as_ptr()))
        }
    }
    #[inline(always)]
    unsafe fn load_bytes(self, p: *const u8) -> B {
        from_fn(|i| unsafe { vld1q_u8(p.add(16 * i)) })
    }
    #[inline(always)]
    unsafe fn load_words(self, p: *const i32) -> I {
        from_fn(|i| unsafe { vld1q_u32(p.cast::<u32>().add(4 * i)) })
    }
    #[inline(always)]
    unsafe fn load_each4(self, p: *const f32) -> F {
        from_fn(|i| unsafe { vdupq_n_f32(p.add(i).read()) })
    }
    #[inline(always)]
    fn nibbles(self, v: B, flip: u8) -> (B, B) {
        unsafe {
            let (flip, low) = (vdupq_n_u8(flip), vdupq_n_u8(15));
            (
                from_fn(|i| veorq_u8(vandq_u8(v[i], low), flip)),
                from_fn(|i| veorq_u8(vshrq_n_u8::<4>(v[i]), flip)),
            )
        }
    }
    #[inline(always)]
    fn dot4(self, sum: I, a: B, b: B) -> I {
        from_fn(|i| unsafe {
            // two products of less than 2^11 each fit 16 bits
            let (a, b) = (vreinterpretq_s8_u8(a[i]), vreinterpretq_s8_u8(b[i]));
            let (first, second) = (vmull_s8(vget_low_s8(a), vget_low_s8(b)), vmull_s8(vget_high_s8(a), vget_high_s8(b)));
            vreinterpretq_u32_s32(vpadalq_s16(vreinterpretq_s32_u32(sum[i]), vpaddq_s16(first, second)))
        })
    }
    #[inline(always)]
    fn add_words(self, a: I, b: I) -> I {
        from_fn(|i| unsafe { vaddq_u32(a[i], b[i]) })
    }
    #[inline(always)]
    fn shl8(self, v: I) -> I {
        from_fn(|i| unsafe { vshlq_n_u32::<8>(v[i]) })
    }
    #[inline(always)]
    fn to_float(self, v: I) -> F {
        from_fn(|i| unsafe { vcvtq_f32_s32(vreinterpretq_s32_u32(v[i])) })
    }
    #[inline(always)]
    fn sum(self, v: F) -> f32 {
        let mut lanes = [0f32; LANES];
        unsafe { self.store(lanes.as_mut_ptr(), v) };
        tree(lanes)
    }
}
