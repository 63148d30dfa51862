use super::{Decode, Lanes};

/// Signed nibbles, with (Z) or without zero points: a table of 16 float32, shifted by the zero point once a block.
#[derive(Clone, Copy)]
pub(crate) struct I4<const Z: bool>;

static VALUES: [f32; 16] = [
    0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, -8.0, -7.0, -6.0, -5.0, -4.0, -3.0, -2.0, -1.0,
];

impl<const Z: bool> Decode for I4<Z> {
    const BYTES: usize = 16;
    const SCALED: bool = true;
    const ZEROS: bool = Z;
    const NIBBLES: Option<u8> = Some(8);

    #[inline(always)]
    unsafe fn pair<S: Lanes>(s: S, p: *const u8, zero: f32) -> (S::F, S::F) {
        // SAFETY: the table has 16 entries, and 16 bytes are readable, as the caller says.
        unsafe {
            let table = s.load(VALUES.as_ptr());
            s.load_nibbles(p, if Z { s.sub(table, s.splat(zero)) } else { table })
        }
    }
}
