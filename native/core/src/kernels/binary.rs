use super::isa::Job;
use super::lanes::{Lanes, LANES};
use super::machine::SMALL;
use super::{math, Machine};
use crate::{Error, Result};

/// What [`combine`] makes of two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Binary {
    /// a + b
    Add,
    /// a * b
    Mul,
    /// a * sigmoid(a) * b, the gate of a SwiGLU
    SiluMul,
}

/// Replaces every a by what it makes with b: of the same length, or a vector that every row of `a` meets again.
/// Errors: BadInput if the length of a is no multiple of that of b.
pub fn combine(machine: &Machine, operation: Binary, a: &mut [f32], b: &[f32]) -> Result<()> {
    if b.is_empty() && a.is_empty() {
        return Ok(());
    }
    if b.is_empty() || !a.len().is_multiple_of(b.len()) {
        return Err(Error::bad(format!(
            "Cannot combine {} elements with {}: not a multiple",
            a.len(),
            b.len()
        )));
    }
    let found = machine.found();
    let run = |a: &mut [f32], b: &[f32]| match operation {
        Binary::Add => found.run(Both::<0>(a, b)),
        Binary::Mul => found.run(Both::<1>(a, b)),
        Binary::SiluMul => found.run(Both::<2>(a, b)),
    };
    if a.len() == b.len() {
        return machine.rows(a, LANES, SMALL, &|first, a| run(a, &b[first * LANES..][..a.len()]));
    }
    machine.rows(a, b.len(), SMALL, &|_, a| a.chunks_exact_mut(b.len()).for_each(|a| run(a, b)))
}

struct Both<'a, const OP: u8>(&'a mut [f32], &'a [f32]);

impl<const OP: u8> Both<'_, OP> {
    #[inline(always)]
    fn one<S: Lanes>(s: S, a: S::F, b: S::F) -> S::F {
        match OP {
            0 => s.add(a, b),
            1 => s.mul(a, b),
            _ => s.mul(s.mul(a, math::sigmoid(s, a)), b),
        }
    }
}

impl<const OP: u8> Job for Both<'_, OP> {
    type Out = ();
    #[inline(always)]
    fn run<S: Lanes>(self, s: S) {
        let Both(a, b) = self;
        let len = a.len().min(b.len());
        let mut at = 0;
        while at < len {
            let (x, y) = (&mut a[at..len], &b[at..len]);
            // SAFETY: 16 elements are there to read and to write, in the slices or in the padded copies of their ends.
            unsafe {
                if x.len() >= LANES {
                    s.store(x.as_mut_ptr(), Self::one(s, s.load(x.as_ptr()), s.load(y.as_ptr())));
                } else {
                    let (mut xs, mut ys) = ([0f32; LANES], [0f32; LANES]);
                    xs[..x.len()].copy_from_slice(x);
                    ys[..y.len()].copy_from_slice(y);
                    s.store(xs.as_mut_ptr(), Self::one(s, s.load(xs.as_ptr()), s.load(ys.as_ptr())));
                    x.copy_from_slice(&xs[..x.len()]);
                }
            }
            at += LANES;
        }
    }
}
