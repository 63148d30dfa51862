use super::{Decode, Lanes};

/// IEEE half: every value is a float32 too.
#[derive(Clone, Copy)]
pub(crate) struct F16;

impl Decode for F16 {
    const BYTES: usize = 64;
    const SCALED: bool = false;
    const ZEROS: bool = false;
    const NIBBLES: Option<u8> = None;

    #[inline(always)]
    unsafe fn pair<S: Lanes>(s: S, p: *const u8, _zero: f32) -> (S::F, S::F) {
        // SAFETY: 64 bytes are readable, as the caller says.
        unsafe { (s.load_f16(p), s.load_f16(p.add(32))) }
    }
}
