use super::{Decode, Lanes};

/// IEEE single: taken as it is.
#[derive(Clone, Copy)]
pub(crate) struct F32;

impl Decode for F32 {
    const BYTES: usize = 128;
    const SCALED: bool = false;
    const ZEROS: bool = false;
    const NIBBLES: Option<u8> = None;

    #[inline(always)]
    unsafe fn pair<S: Lanes>(s: S, p: *const u8, _zero: f32) -> (S::F, S::F) {
        // SAFETY: 128 bytes are readable, as the caller says.
        unsafe { (s.load(p.cast()), s.load(p.add(64).cast())) }
    }
}
