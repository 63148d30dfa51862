use super::{Decode, Lanes};

/// Signed bytes, with (Z) or without zero points.
#[derive(Clone, Copy)]
pub(crate) struct I8<const Z: bool>;

impl<const Z: bool> Decode for I8<Z> {
    const BYTES: usize = 32;
    const SCALED: bool = true;
    const ZEROS: bool = Z;
    const NIBBLES: Option<u8> = None;

    #[inline(always)]
    unsafe fn pair<S: Lanes>(s: S, p: *const u8, zero: f32) -> (S::F, S::F) {
        // SAFETY: 32 bytes are readable, as the caller says.
        let (first, second) = unsafe { (s.load_i8(p), s.load_i8(p.add(16))) };
        if !Z {
            return (first, second);
        }
        // small whole numbers: exact
        let zero = s.splat(zero);
        (s.sub(first, zero), s.sub(second, zero))
    }
}
