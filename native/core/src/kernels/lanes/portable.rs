//! Sixteen lanes in an array: the oracle of the other implementations, and what runs where none of them can.
use super::{tree, Lanes, LANES};
use half::f16;
use std::array::from_fn;

/// Always allowed.
#[derive(Clone, Copy)]
pub(crate) struct Portable;

impl Lanes for Portable {
    type F = [f32; LANES];
    type I = [u32; LANES];
    type B = [u8; 64];
    const WIDE: bool = false;

    #[inline(always)]
    fn splat(self, v: f32) -> Self::F {
        [v; LANES]
    }
    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> Self::F {
        // SAFETY: the caller gives 16 readable f32.
        unsafe { p.cast::<Self::F>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: Self::F) {
        // SAFETY: the caller gives 16 writable f32.
        unsafe { p.cast::<Self::F>().write_unaligned(v) }
    }
    #[inline(always)]
    fn add(self, a: Self::F, b: Self::F) -> Self::F {
        from_fn(|i| a[i] + b[i])
    }
    #[inline(always)]
    fn sub(self, a: Self::F, b: Self::F) -> Self::F {
        from_fn(|i| a[i] - b[i])
    }
    #[inline(always)]
    fn mul(self, a: Self::F, b: Self::F) -> Self::F {
        from_fn(|i| a[i] * b[i])
    }
    #[inline(always)]
    fn div(self, a: Self::F, b: Self::F) -> Self::F {
        from_fn(|i| a[i] / b[i])
    }
    #[inline(always)]
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        from_fn(|i| a[i].mul_add(b[i], c[i]))
    }
    #[inline(always)]
    fn less(self, a: Self::F, b: Self::F, yes: Self::F, no: Self::F) -> Self::F {
        from_fn(|i| if a[i] < b[i] { yes[i] } else { no[i] })
    }
    #[inline(always)]
    fn bits(self, v: Self::F) -> Self::I {
        v.map(f32::to_bits)
    }
    #[inline(always)]
    fn float(self, v: Self::I) -> Self::F {
        v.map(f32::from_bits)
    }
    #[inline(always)]
    fn splat_bits(self, v: u32) -> Self::I {
        [v; LANES]
    }
    #[inline(always)]
    fn and(self, a: Self::I, b: Self::I) -> Self::I {
        from_fn(|i| a[i] & b[i])
    }
    #[inline(always)]
    fn or(self, a: Self::I, b: Self::I) -> Self::I {
        from_fn(|i| a[i] | b[i])
    }
    #[inline(always)]
    fn shl16(self, v: Self::I) -> Self::I {
        v.map(|w| w << 16)
    }
    #[inline(always)]
    fn shl23(self, v: Self::I) -> Self::I {
        v.map(|w| w << 23)
    }
    #[inline(always)]
    unsafe fn load_u16(self, p: *const u8) -> Self::I {
        // SAFETY: the caller gives 16 readable u16.
        let v = unsafe { p.cast::<[[u8; 2]; LANES]>().read() };
        v.map(|b| u16::from_le_bytes(b) as u32)
    }
    #[inline(always)]
    unsafe fn load_i8(self, p: *const u8) -> Self::F {
        // SAFETY: the caller gives 16 readable bytes.
        unsafe { p.cast::<[i8; LANES]>().read() }.map(|v| v as f32)
    }
    #[inline(always)]
    unsafe fn load_f16(self, p: *const u8) -> Self::F {
        // SAFETY: the caller gives 16 readable f16.
        let v = unsafe { p.cast::<[[u8; 2]; LANES]>().read() };
        v.map(|b| f16::from_le_bytes(b).to_f32())
    }
    #[inline(always)]
    unsafe fn store_f16(self, p: *mut u8, v: Self::F) {
        // SAFETY: the caller gives room for 16 f16.
        unsafe { p.cast::<[[u8; 2]; LANES]>().write(v.map(|x| f16::from_f32(x).to_le_bytes())) }
    }
    #[inline(always)]
    unsafe fn load_nibbles(self, p: *const u8, table: Self::F) -> (Self::F, Self::F) {
        // SAFETY: the caller gives 16 readable bytes.
        let b = unsafe { p.cast::<[u8; 16]>().read() };
        let nibble = |i: usize| table[(b[i / 2] >> (4 * (i % 2)) & 15) as usize];
        (from_fn(nibble), from_fn(|i| nibble(i + LANES)))
    }
    #[inline(always)]
    unsafe fn load_bytes(self, p: *const u8) -> Self::B {
        // SAFETY: the caller gives 64 readable bytes.
        unsafe { p.cast::<Self::B>().read() }
    }
    #[inline(always)]
    unsafe fn load_words(self, p: *const i32) -> Self::I {
        // SAFETY: the caller gives 16 readable words.
        unsafe { p.cast::<Self::I>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn load_each4(self, p: *const f32) -> Self::F {
        // SAFETY: the caller gives 4 readable f32.
        let v = unsafe { p.cast::<[f32; 4]>().read_unaligned() };
        from_fn(|i| v[i / 4])
    }
    #[inline(always)]
    fn nibbles(self, v: Self::B, flip: u8) -> (Self::B, Self::B) {
        (v.map(|b| b & 15 ^ flip), v.map(|b| b >> 4 ^ flip))
    }
    #[inline(always)]
    fn dot4(self, sum: Self::I, a: Self::B, b: Self::B) -> Self::I {
        let product = |i: usize| (i32::from(a[i]) * i32::from(b[i] as i8)) as u32;
        from_fn(|i| (4 * i..4 * i + 4).fold(sum[i], |sum, at| sum.wrapping_add(product(at))))
    }
    #[inline(always)]
    fn add_words(self, a: Self::I, b: Self::I) -> Self::I {
        from_fn(|i| a[i].wrapping_add(b[i]))
    }
    #[inline(always)]
    fn shl8(self, v: Self::I) -> Self::I {
        v.map(|w| w << 8)
    }
    #[inline(always)]
    fn to_float(self, v: Self::I) -> Self::F {
        v.map(|w| w as i32 as f32)
    }
    #[inline(always)]
    fn sum(self, v: Self::F) -> f32 {
        tree(v)
    }
}
