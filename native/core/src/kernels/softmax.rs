use super::isa::Job;
use super::lanes::{Lanes, LANES};
use super::machine::SMALL;
use super::{math, row, Machine};
use crate::{Error, Result};

/// Replaces every row of x (rows, width) by e^(x - max) / sum. A row of nothing but -infinity becomes zeros.
/// Errors: BadInput if the length of x is no multiple of the width.
pub fn softmax(machine: &Machine, x: &mut [f32], width: usize) -> Result<()> {
    if width == 0 || !x.len().is_multiple_of(width) {
        return Err(Error::bad(format!(
            "Cannot take the softmax of {} elements: rows of {width} asked",
            x.len()
        )));
    }
    machine.rows(x, width, SMALL / 4, &|_, x| machine.found().run(Rows(x, width)))
}

struct Rows<'a>(&'a mut [f32], usize);

impl Job for Rows<'_> {
    type Out = ();
    #[inline(always)]
    fn run<S: Lanes>(self, s: S) {
        let Rows(x, width) = self;
        let mut start = 0;
        while start < x.len() {
            let x = &mut x[start..start + width];
            let sum = exponentials(s, x);
            let mut at = 0;
            while at < width {
                let v = row::load(s, x, at, 0.0);
                row::store(s, x, at, if sum == 0.0 { s.splat(0.0) } else { s.div(v, s.splat(sum)) });
                at += LANES;
            }
            start += width;
        }
    }
}

/// Replaces x by e^(x - max) and returns their sum, in 16 lanes; 0 if all are -infinity.
#[inline(always)]
pub(crate) fn exponentials<S: Lanes>(s: S, x: &mut [f32]) -> f32 {
    let most = row::max(s, x);
    // where all are -infinity, x - 0 keeps e^x at 0
    let shift = s.splat(if most == f32::NEG_INFINITY { 0.0 } else { most });
    let mut acc = s.splat(0.0);
    let mut at = 0;
    while at < x.len() {
        let e = math::exp(s, s.sub(row::load(s, x, at, f32::NEG_INFINITY), shift));
        acc = s.add(acc, e);
        row::store(s, x, at, e);
        at += LANES;
    }
    s.sum(acc)
}
