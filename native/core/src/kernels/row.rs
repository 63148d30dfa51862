//! One row of float32 as lanes: its end filled up, its sum and its maximum.
use super::lanes::{Lanes, LANES};

/// Lanes from `at` on; places beyond the end hold `fill`.
#[inline(always)]
pub(crate) fn load<S: Lanes>(s: S, row: &[f32], at: usize, fill: f32) -> S::F {
    let part = &row[at..];
    let mut padded = [fill; LANES];
    // SAFETY: 16 elements are readable, in the slice or in the padded copy of its end.
    unsafe {
        if part.len() >= LANES {
            return s.load(part.as_ptr());
        }
        padded[..part.len()].copy_from_slice(part);
        s.load(padded.as_ptr())
    }
}

/// Lanes to `at` on; what is beyond the end is dropped.
#[inline(always)]
pub(crate) fn store<S: Lanes>(s: S, row: &mut [f32], at: usize, v: S::F) {
    let part = &mut row[at..];
    // SAFETY: 16 places are writable, in the slice or in the padded copy of its end.
    unsafe {
        if part.len() >= LANES {
            return s.store(part.as_mut_ptr(), v);
        }
        let mut padded = [0f32; LANES];
        s.store(padded.as_mut_ptr(), v);
        part.copy_from_slice(&padded[..part.len()]);
    }
}

/// The largest value; a NaN may be passed over.
#[inline(always)]
pub(crate) fn max<S: Lanes>(s: S, row: &[f32]) -> f32 {
    let mut most = s.splat(f32::NEG_INFINITY);
    let mut at = 0;
    while at < row.len() {
        most = s.max(most, load(s, row, at, f32::NEG_INFINITY));
        at += LANES;
    }
    let mut lanes = [0f32; LANES];
    // SAFETY: 16 places.
    unsafe { s.store(lanes.as_mut_ptr(), most) };
    let mut most = lanes[0];
    let mut lane = 1;
    while lane < LANES {
        if most < lanes[lane] {
            most = lanes[lane];
        }
        lane += 1;
    }
    most
}
