use super::isa::Job;
use super::lanes::{Lanes, LANES};
use super::machine::SMALL;
use super::{row, Machine};
use crate::{Error, Result};

/// Shape of what [`rotary`] turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heads {
    /// heads in a row
    pub heads: usize,
    /// elements of a head
    pub head_dim: usize,
}

/// Rotates the halves of each head against each other: x (rows, heads, head_dim), cos and sin (rows, half), where half is at
/// most head_dim / 2; elements from 2 * half on stay as they are. Errors: BadInput if lengths do not match.
pub fn rotary(machine: &Machine, x: &mut [f32], shape: Heads, cos: &[f32], sin: &[f32]) -> Result<()> {
    let Heads { heads, head_dim } = shape;
    let bad = || {
        Error::bad(format!(
            "Cannot rotate {} elements as {heads} heads of {head_dim} by {} angles",
            x.len(),
            cos.len()
        ))
    };
    let width = heads
        .checked_mul(head_dim)
        .filter(|w| *w > 0 && x.len().is_multiple_of(*w))
        .ok_or_else(bad)?;
    let rows = x.len() / width;
    if cos.len() != sin.len() || !cos.len().is_multiple_of(rows.max(1)) {
        return Err(bad());
    }
    let half = cos.len() / rows.max(1);
    if half > head_dim / 2 {
        return Err(bad());
    }
    machine.rows(x, width, SMALL, &|first, x| {
        for (index, x) in x.chunks_exact_mut(width).enumerate() {
            let at = (first + index) * half;
            machine.found().run(Turn {
                x,
                head_dim,
                cos: &cos[at..at + half],
                sin: &sin[at..at + half],
            });
        }
    })
}

struct Turn<'a> {
    x: &'a mut [f32],
    head_dim: usize,
    cos: &'a [f32],
    sin: &'a [f32],
}

impl Job for Turn<'_> {
    type Out = ();
    #[inline(always)]
    fn run<S: Lanes>(self, s: S) {
        let half = self.cos.len();
        let mut start = 0;
        while start < self.x.len() {
            let (a, b) = self.x[start..start + 2 * half].split_at_mut(half);
            let mut at = 0;
            while at < half {
                let (c, n) = (row::load(s, self.cos, at, 0.0), row::load(s, self.sin, at, 0.0));
                let (u, v) = (row::load(s, a, at, 0.0), row::load(s, b, at, 0.0));
                let minus = s.sub(s.splat(0.0), s.mul(v, n));
                row::store(s, a, at, s.fma(u, c, minus));
                row::store(s, b, at, s.fma(u, n, s.mul(v, c)));
                at += LANES;
            }
            start += self.head_dim;
        }
    }
}
