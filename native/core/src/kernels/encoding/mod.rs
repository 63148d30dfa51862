//! How the bytes of a weight row become float32. A new encoding is one file beside these (a [`Decode`]), a line in
//! [`Encoding`] and one in `visit`.

mod bf16;
mod f16;
mod f32;
mod i4;
mod i8;
mod params;
mod tile;
mod u4;

use super::lanes::Lanes;
#[cfg(target_arch = "x86_64")]
pub(crate) use i8::I8;
pub(crate) use params::{Params, RUN};
pub use tile::{ScaleType, Tile};

/// Inputs that are decoded at once, and that share a scale where an encoding has scales.
pub const BLOCK: usize = 32;

/// How one weight is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// IEEE single
    F32,
    /// IEEE half
    F16,
    /// the upper half of an IEEE single
    Bf16,
    /// signed byte, (q - zero point) * scale of its block
    I8,
    /// signed nibble, two a byte, low one first, (q - zero point) * scale of its block
    I4,
    /// unsigned nibble, otherwise as I4
    U4,
}

impl Encoding {
    /// Bits of one weight.
    pub fn bits(self) -> usize {
        match self {
            Encoding::F32 => 32,
            Encoding::F16 | Encoding::Bf16 => 16,
            Encoding::I8 => 8,
            Encoding::I4 | Encoding::U4 => 4,
        }
    }

    /// Whether blocks of 32 inputs have a scale (and may have a zero point).
    pub fn is_scaled(self) -> bool {
        matches!(self, Encoding::I8 | Encoding::I4 | Encoding::U4)
    }

    /// Bytes of a row of `inputs` weights; none if that is no whole number or does not fit a usize.
    pub fn row_bytes(self, inputs: usize) -> Option<usize> {
        let bits = inputs.checked_mul(self.bits())?;
        (bits % 8 == 0).then_some(bits / 8)
    }
}

/// An encoding at compile time.
pub(crate) trait Decode: Copy + Send + Sync + 'static {
    /// bytes of 32 inputs
    const BYTES: usize;
    /// How far ahead of their use weights are asked for, in bytes. They go to the L2 cache: asked for the L1 cache, as many as
    /// memory can deliver at once would not leave room in the queue of that cache for what is needed now (measured: half the speed).
    const AHEAD: usize = 8192;
    /// whether a scale per block is applied to what `pair` returns
    const SCALED: bool;
    /// whether `zero` is looked at
    const ZEROS: bool;
    /// of nibbles, what exclusive-or makes them whole numbers from 0 on, which is also what it adds to them; `pair` gives their
    /// lanes in the order of `Lanes::load_nibbles`
    const NIBBLES: Option<u8>;

    /// Inputs 0 to 15 and 16 to 31 of a block, before the scale.
    ///
    /// # Safety
    /// `BYTES` bytes at p must be readable.
    unsafe fn pair<S: Lanes>(s: S, p: *const u8, zero: f32) -> (S::F, S::F);
}

/// What is to be done with an encoding once it is known at compile time.
pub(crate) trait Visit {
    type Out;
    fn visit<E: Decode>(self) -> Self::Out;
}

/// From the encoding of a tile to the type that decodes it.
pub(crate) fn visit<V: Visit>(tile: &Tile, v: V) -> V::Out {
    match (tile.encoding(), tile.has_zero_points()) {
        (Encoding::F32, _) => v.visit::<f32::F32>(),
        (Encoding::F16, _) => v.visit::<f16::F16>(),
        (Encoding::Bf16, _) => v.visit::<bf16::Bf16>(),
        (Encoding::I8, false) => v.visit::<i8::I8<false>>(),
        (Encoding::I8, true) => v.visit::<i8::I8<true>>(),
        (Encoding::I4, false) => v.visit::<i4::I4<false>>(),
        (Encoding::I4, true) => v.visit::<i4::I4<true>>(),
        (Encoding::U4, false) => v.visit::<u4::U4<false>>(),
        (Encoding::U4, true) => v.visit::<u4::U4<true>>(),
    }
}
