//! Attention of some rows to the cache of their sequence, two passes: all scores, then the weighted values.
//!
//! A score is a fused sum over head_dim in order; then scale, soft cap, mask. Its exponentials are summed in 16 lanes by
//! position modulo 16; values are added in the order of positions, and divided by that sum at the end. So bits depend on
//! neither pages nor threads nor the other rows.

mod cache;
mod kernel;
mod memory;

use super::machine::SharedMut;
use super::Machine;
use crate::{Error, Result};
pub use cache::{CacheType, KvCache, PAGE};
use kernel::Queries;
use std::ops::Range;

/// Which positions a row may look at, besides `causal` and `window`.
#[derive(Debug, Clone, Copy)]
pub enum Mask<'a> {
    /// true where it may: (rows, positions of the cache)
    Allow(&'a [bool]),
    /// added to the scores, -infinity where it may not: (rows, positions) for all heads, or (heads, rows, positions)
    Add(&'a [f32]),
}

/// How rows attend.
#[derive(Debug, Clone, Copy)]
pub struct Attention<'a> {
    /// query heads; a multiple of the cache's, consecutive ones share a key and value head
    pub heads: usize,
    /// what products of queries and keys are multiplied by
    pub scale: f32,
    /// the position of the first row in the cache; the others follow it
    pub first: usize,
    /// whether a row at position p looks only at positions up to p
    pub causal: bool,
    /// whether a row at position p looks only at positions above p - window
    pub window: Option<usize>,
    /// scores become cap * tanh(score / cap), before the mask
    pub soft_cap: Option<f32>,
    /// further limits
    pub mask: Option<Mask<'a>>,
}

impl Attention<'_> {
    /// The positions that a row looks at.
    pub(crate) fn range(&self, row: usize, len: usize) -> Range<usize> {
        let position = self.first.saturating_add(row);
        let end = if self.causal { len.min(position.saturating_add(1)) } else { len };
        let start = self.window.map_or(0, |window| position.saturating_add(1).saturating_sub(window));
        start.min(end)..end
    }
}

/// out (rows, heads, head_dim) = softmax(q k') v, for q (rows, heads, head_dim) and what `cache` holds (the rows' own keys and
/// values among it). A row that may look at nothing gives zeros. Errors: BadInput if lengths do not match.
pub fn attention(machine: &Machine, cache: &KvCache, how: &Attention, q: &[f32], rows: usize, out: &mut [f32]) -> Result<()> {
    let bad = |why: String| Err(Error::bad(format!("Cannot attend: {why}")));
    let (kv, len) = (cache.heads(), cache.len());
    if how.heads == 0 || !how.heads.is_multiple_of(kv.heads) {
        return bad(format!("{} query heads for {} of keys", how.heads, kv.heads));
    }
    let size = how.heads.checked_mul(kv.head_dim).and_then(|s| s.checked_mul(rows));
    if size != Some(q.len()) || out.len() != q.len() {
        let given = format!("{} elements of q and {} of the result", q.len(), out.len());
        return bad(format!("{given} for {rows} rows of {} heads of {}", how.heads, kv.head_dim));
    }
    let (shared, mask_step) = (rows.checked_mul(len), mask_step(how, rows, len));
    let masked = how.mask.map(|mask| match mask {
        Mask::Allow(m) => m.len(),
        Mask::Add(m) => m.len(),
    });
    if masked.is_some_and(|m| shared != Some(m) && mask_step == 0) {
        return bad(format!(
            "a mask of {} elements for {rows} rows and {len} positions",
            masked.unwrap_or(0)
        ));
    }
    if rows == 0 {
        return Ok(());
    }
    let each = rows * (how.heads / kv.heads);
    let (batch, step) = share(machine, kv.heads, each);
    let pieces = each.div_ceil(step);
    let out = SharedMut::new(out);
    machine.pool().run(kv.heads * pieces, &|index| {
        let (head, start) = (index / pieces, index % pieces * step);
        let mut scores = machine.scratch(batch * (len + 32) + batch * cache.width());
        for first in (start..each.min(start + step)).step_by(batch) {
            let count = batch.min(each - first);
            Queries {
                machine,
                cache,
                how,
                q,
                out,
                head,
                first,
                count,
                mask_step,
            }
            .run(&mut scores);
        }
    })
}

/// Elements between the masks of two heads; 0 where they have one together.
fn mask_step(how: &Attention, rows: usize, len: usize) -> usize {
    match (how.mask, rows.checked_mul(len)) {
        (Some(Mask::Add(mask)), Some(one)) if mask.len() != one && one.checked_mul(how.heads) == Some(mask.len()) => one,
        _ => 0,
    }
}

/// How many queries of a key head go together, and how many make a piece of work: keys are read once for those that go
/// together, but every thread should have something to do.
fn share(machine: &Machine, heads: usize, each: usize) -> (usize, usize) {
    let threads = machine.pool().threads();
    let mut batch = 4;
    while batch > 1 && heads * each.div_ceil(batch) < 2 * threads {
        batch /= 2;
    }
    let pieces = (8 * threads).div_ceil(heads);
    (batch, each.div_ceil(pieces).next_multiple_of(batch))
}
