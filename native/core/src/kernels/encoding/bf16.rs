use super::{Decode, Lanes};

/// bfloat16: the upper 16 bits of a float32, so decoding is a shift.
#[derive(Clone, Copy)]
pub(crate) struct Bf16;

impl Decode for Bf16 {
    const BYTES: usize = 64;
    const SCALED: bool = false;
    const ZEROS: bool = false;
    const NIBBLES: Option<u8> = None;

    #[inline(always)]
    unsafe fn pair<S: Lanes>(s: S, p: *const u8, _zero: f32) -> (S::F, S::F) {
        // SAFETY: 64 bytes are readable, as the caller says.
        let (first, second) = unsafe { (s.load_u16(p), s.load_u16(p.add(32))) };
        (s.float(s.shl16(first)), s.float(s.shl16(second)))
    }
}
