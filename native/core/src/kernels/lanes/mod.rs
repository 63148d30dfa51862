//! Sixteen virtual lanes of float32: what every kernel is written in, so that each gives the same bits on every
//! instruction set. An implementation is a token; whoever holds one has checked that the processor knows it.

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;
#[cfg(target_arch = "aarch64")]
pub(crate) mod neon;
pub(crate) mod portable;

/// Lanes of one vector.
pub(crate) const LANES: usize = 16;

/// The operations; each rounds once, as IEEE 754 says, and `fma` fuses.
///
/// # Safety of the pointers
/// `load*` reads 16 elements of the named type, `load_nibbles` 16 bytes, `load_bytes` 64, `load_each4` 4 float32; `store*` writes 16
/// elements; no alignment is asked.
pub(crate) trait Lanes: Copy + Send + Sync + 'static {
    /// 16 float32
    type F: Copy;
    /// 16 words of 32 bits
    type I: Copy;
    /// 64 bytes
    type B: Copy;
    /// Whether about 30 vectors fit the registers (else about 7).
    const WIDE: bool;

    fn splat(self, v: f32) -> Self::F;
    unsafe fn load(self, p: *const f32) -> Self::F;
    unsafe fn store(self, p: *mut f32, v: Self::F);
    fn add(self, a: Self::F, b: Self::F) -> Self::F;
    fn sub(self, a: Self::F, b: Self::F) -> Self::F;
    fn mul(self, a: Self::F, b: Self::F) -> Self::F;
    fn div(self, a: Self::F, b: Self::F) -> Self::F;
    /// a * b + c
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// a < b ? yes : no, so a NaN says no
    fn less(self, a: Self::F, b: Self::F, yes: Self::F, no: Self::F) -> Self::F;
    fn bits(self, v: Self::F) -> Self::I;
    fn float(self, v: Self::I) -> Self::F;
    fn splat_bits(self, v: u32) -> Self::I;
    fn and(self, a: Self::I, b: Self::I) -> Self::I;
    fn or(self, a: Self::I, b: Self::I) -> Self::I;
    fn shl16(self, v: Self::I) -> Self::I;
    fn shl23(self, v: Self::I) -> Self::I;
    /// u16, zero-extended
    unsafe fn load_u16(self, p: *const u8) -> Self::I;
    /// i8 as float
    unsafe fn load_i8(self, p: *const u8) -> Self::F;
    /// f16 as float
    unsafe fn load_f16(self, p: *const u8) -> Self::F;
    /// float as f16, to nearest even
    unsafe fn store_f16(self, p: *mut u8, v: Self::F);
    /// 32 nibbles, low one of a byte first, each looked up in the table: elements 0 to 15 and 16 to 31, in an order of their own
    unsafe fn load_nibbles(self, p: *const u8, table: Self::F) -> (Self::F, Self::F);
    unsafe fn load_bytes(self, p: *const u8) -> Self::B;
    unsafe fn load_words(self, p: *const i32) -> Self::I;
    /// lanes 4 k to 4 k + 3 hold p[k]
    unsafe fn load_each4(self, p: *const f32) -> Self::F;
    /// the low and the high nibble of each byte, exclusive-ored with the nibble `flip`
    fn nibbles(self, v: Self::B, flip: u8) -> (Self::B, Self::B);
    /// to each word of `sum` four products of bytes: those of `a` are below 16, those of `b` signed
    fn dot4(self, sum: Self::I, a: Self::B, b: Self::B) -> Self::I;
    /// of signed words, as all of these: wraps around
    fn add_words(self, a: Self::I, b: Self::I) -> Self::I;
    fn shl8(self, v: Self::I) -> Self::I;
    /// signed words as float, to nearest even
    fn to_float(self, v: Self::I) -> Self::F;
    /// from the order of `load_nibbles` to the natural one
    fn natural(self, v: Self::F) -> Self::F {
        v
    }
    /// the sum of the lanes, by the one tree: 8+8, 4+4, 2+2, 1+1
    fn sum(self, v: Self::F) -> f32;
    /// Asks for the cache line at p to come into the L2 cache; any address may be given.
    fn prefetch(self, _p: *const u8) {}

    fn max(self, a: Self::F, b: Self::F) -> Self::F {
        self.less(a, b, b, a)
    }
}

/// The one tree of additions over 16 lanes, for implementations that hold them in an array.
#[inline(always)]
pub(crate) fn tree(mut v: [f32; LANES]) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            v[lane] += v[lane + half];
        }
        half /= 2;
    }
    v[0]
}
