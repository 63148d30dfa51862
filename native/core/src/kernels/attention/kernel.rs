#![allow(clippy::needless_range_loop)] // closures are not always inlined, and what is not inlined lacks the instruction set
use super::cache::{CacheType, KvCache, PAGE};
use super::{Attention, Mask};
use crate::kernels::isa::Job;
use crate::kernels::lanes::{Lanes, LANES};
use crate::kernels::machine::SharedMut;
use crate::kernels::softmax::exponentials;
use crate::kernels::{math, row, Machine};
use std::ops::Range;

/// Up to four queries of one key head that go over the cache together: query n is row n / group, head n % group of the group.
pub(crate) struct Queries<'a> {
    pub(crate) machine: &'a Machine,
    pub(crate) cache: &'a KvCache,
    pub(crate) how: &'a Attention<'a>,
    pub(crate) q: &'a [f32],
    pub(crate) out: SharedMut<'a, f32>,
    pub(crate) head: usize,
    pub(crate) first: usize,
    pub(crate) count: usize,
    /// elements between the masks of two heads
    pub(crate) mask_step: usize,
}

impl Queries<'_> {
    /// `scratch`: count * (positions + 32 + width) elements.
    pub(crate) fn run(&self, scratch: &mut [f32]) {
        let half = self.cache.kind() == CacheType::F16;
        let found = self.machine.found();
        match (self.count, half) {
            (1, false) => found.run(Go::<1, false>(self, scratch)),
            (1, true) => found.run(Go::<1, true>(self, scratch)),
            (2, false) => found.run(Go::<2, false>(self, scratch)),
            (2, true) => found.run(Go::<2, true>(self, scratch)),
            (3, false) => found.run(Go::<3, false>(self, scratch)),
            (3, true) => found.run(Go::<3, true>(self, scratch)),
            (_, false) => found.run(Go::<4, false>(self, scratch)),
            (_, true) => found.run(Go::<4, true>(self, scratch)),
        }
    }

    fn group(&self) -> usize {
        self.how.heads / self.cache.heads().heads
    }

    fn row(&self, n: usize) -> usize {
        (self.first + n) / self.group()
    }

    /// The head of a query, of those of all queries.
    fn query_head(&self, n: usize) -> usize {
        self.head * self.group() + (self.first + n) % self.group()
    }

    /// Where a query starts in q, and its result in out.
    fn place(&self, n: usize) -> usize {
        (self.row(n) * self.how.heads + self.query_head(n)) * self.cache.heads().head_dim
    }
}

struct Go<'a, const Q: usize, const HALF: bool>(&'a Queries<'a>, &'a mut [f32]);

impl<const Q: usize, const HALF: bool> Job for Go<'_, Q, HALF> {
    type Out = ();
    #[inline(always)]
    fn run<S: Lanes>(self, s: S) {
        let Go(queries, scratch) = self;
        let cache = queries.cache;
        let (head_dim, width) = (cache.heads().head_dim, cache.width());
        let mut ranges = [(0usize, 0usize); Q];
        let (mut start, mut end) = (usize::MAX, 0);
        for n in 0..Q {
            let range = queries.how.range(queries.row(n), cache.len());
            ranges[n] = (range.start, range.end);
            start = start.min(range.start);
            end = end.max(range.end);
        }
        let base = start / LANES * LANES;
        let room = end.next_multiple_of(LANES).saturating_sub(base);
        let (scores, rest) = scratch.split_at_mut(Q * room);
        let sums = &mut rest[..Q * width];
        sums.fill(0.0);
        let all = Scores::<Q> { ranges, base, room };
        all.fill::<S, HALF>(s, queries, scores);
        let mut totals = [0f32; Q];
        for n in 0..Q {
            let (from, to) = (ranges[n].0 / LANES * LANES, ranges[n].1.next_multiple_of(LANES));
            if ranges[n].0 < ranges[n].1 {
                totals[n] = exponentials(s, &mut scores[n * room + from - base..n * room + to - base]);
            }
        }
        all.weigh::<S, HALF>(s, queries, scores, sums);
        for n in 0..Q {
            // SAFETY: each query has its own part of the result.
            let out = unsafe { queries.out.piece(queries.place(n), head_dim) };
            let mut at = 0;
            while at < head_dim {
                let sum = row::load(s, &sums[n * width..(n + 1) * width], at, 0.0);
                let none = totals[n] == 0.0;
                row::store(s, out, at, if none { s.splat(0.0) } else { s.div(sum, s.splat(totals[n])) });
                at += LANES;
            }
        }
    }
}

/// The scores of Q queries, `room` each, from position `base` on (a multiple of 16).
struct Scores<const Q: usize> {
    ranges: [(usize, usize); Q],
    base: usize,
    room: usize,
}

impl<const Q: usize> Scores<Q> {
    #[inline(always)]
    fn fill<S: Lanes, const HALF: bool>(&self, s: S, queries: &Queries, scores: &mut [f32]) {
        let head_dim = queries.cache.heads().head_dim;
        let mut q = [&[][..]; Q];
        for n in 0..Q {
            q[n] = &queries.q[queries.place(n)..][..head_dim];
        }
        let mut at = 0;
        while at < self.room {
            let keys = queries.cache.keys(queries.head, self.base + at).as_ptr();
            let mut acc = [s.splat(0.0); Q];
            for d in 0..head_dim {
                // SAFETY: keys are (head_dim, 16), each q has head_dim elements.
                unsafe {
                    let k = load::<S, HALF>(s, keys, d * LANES);
                    for n in 0..Q {
                        acc[n] = s.fma(s.splat(*q[n].get_unchecked(d)), k, acc[n]);
                    }
                }
            }
            for n in 0..Q {
                let x = self.limit(s, queries, n, self.base + at, s.mul(acc[n], s.splat(queries.how.scale)));
                // SAFETY: scores has room for Q times `room`, a multiple of 16.
                unsafe { s.store(scores[n * self.room + at..][..LANES].as_mut_ptr(), x) };
            }
            at += LANES;
        }
    }

    /// Soft cap and masks for the scores of 16 positions of one query.
    #[inline(always)]
    fn limit<S: Lanes>(&self, s: S, queries: &Queries, n: usize, position: usize, x: S::F) -> S::F {
        let (len, row) = (queries.cache.len(), queries.row(n));
        let mut x = x;
        if let Some(cap) = queries.how.soft_cap {
            x = s.mul(s.splat(cap), math::tanh(s, s.div(x, s.splat(cap))));
        }
        if let Some(Mask::Add(mask)) = queries.how.mask {
            let mask = &mask[queries.query_head(n) * queries.mask_step..];
            x = s.add(x, row::load(s, &mask[row * len..(row + 1) * len], position, 0.0));
        }
        let (start, end) = self.ranges[n];
        let allow = match queries.how.mask {
            Some(Mask::Allow(mask)) => Some(&mask[row * len..(row + 1) * len]),
            _ => None,
        };
        if allow.is_none() && start <= position && position + LANES <= end {
            return x;
        }
        let mut open = [0f32; LANES];
        for lane in 0..LANES {
            let p = position + lane;
            if start <= p && p < end && (allow.is_none() || allow.is_some_and(|a| a[p])) {
                open[lane] = 1.0;
            }
        }
        // chosen, not added: what is closed may be NaN
        // SAFETY: 16 elements.
        s.less(unsafe { s.load(open.as_ptr()) }, s.splat(0.5), s.splat(f32::NEG_INFINITY), x)
    }

    /// sums (Q, width) = the values weighted by `scores`: what all queries look at in one go, the rest query by query; always
    /// in the order of positions.
    #[inline(always)]
    fn weigh<S: Lanes, const HALF: bool>(&self, s: S, queries: &Queries, scores: &[f32], sums: &mut [f32]) {
        let (mut start, mut end) = self.ranges[0];
        for n in 1..Q {
            start = start.max(self.ranges[n].0);
            end = end.min(self.ranges[n].1);
        }
        end = end.max(start);
        let width = queries.cache.width();
        for n in 0..Q {
            let (from, to) = self.ranges[n];
            self.some::<S, HALF, 1>(s, queries, n, from..to.min(start), scores, &mut sums[n * width..]);
        }
        self.some::<S, HALF, Q>(s, queries, 0, start..end, scores, sums);
        for n in 0..Q {
            let (from, to) = self.ranges[n];
            self.some::<S, HALF, 1>(s, queries, n, from.max(end)..to, scores, &mut sums[n * width..]);
        }
    }

    /// N queries from `n` on, over positions that all of them look at.
    #[inline(always)]
    #[allow(clippy::too_many_arguments)]
    fn some<S: Lanes, const HALF: bool, const N: usize>(
        &self,
        s: S,
        queries: &Queries,
        n: usize,
        range: Range<usize>,
        scores: &[f32],
        sums: &mut [f32],
    ) {
        let width = queries.cache.width();
        let mut next = range.start;
        while next < range.end {
            let end = range.end.min((next / PAGE + 1) * PAGE);
            let values = queries.cache.values(queries.head, next / PAGE);
            let size = if HALF { 2 } else { 4 };
            let values = &values[next % PAGE * width * size..][..(end - next) * width * size];
            let part = Part {
                values: values.as_ptr(),
                count: end - next,
                width,
                room: self.room,
            };
            let mut at = 0;
            while at < width {
                let (w, sums) = (&scores[n * self.room + next - self.base..], &mut sums[at..(N - 1) * width + width]);
                assert!(w.len() >= (N - 1) * self.room + part.count);
                // SAFETY: values are (count, width), weights N times `room` apart, sums N times `width` apart; all were cut
                // or checked just now.
                unsafe {
                    at += match (S::WIDE, (width - at) / LANES) {
                        (true, 4..) => part.add::<S, HALF, N, 4>(s, at, w.as_ptr(), sums.as_mut_ptr()),
                        (true, 2..) => part.add::<S, HALF, N, 2>(s, at, w.as_ptr(), sums.as_mut_ptr()),
                        _ => part.add::<S, HALF, N, 1>(s, at, w.as_ptr(), sums.as_mut_ptr()),
                    };
                }
            }
            next = end;
        }
    }
}

/// Values of consecutive positions of one page.
struct Part {
    values: *const u8,
    count: usize,
    width: usize,
    room: usize,
}

impl Part {
    /// Adds V vectors of the values from element `at` on, weighted, to the sums of N queries; returns the elements done.
    ///
    /// # Safety
    /// Values (count, width), weights N of `count` elements `room` apart, sums N of V vectors `width` apart must be there.
    #[inline(always)]
    unsafe fn add<S: Lanes, const HALF: bool, const N: usize, const V: usize>(
        &self,
        s: S,
        at: usize,
        weights: *const f32,
        sums: *mut f32,
    ) -> usize {
        let mut acc = [[s.splat(0.0); V]; N];
        // SAFETY: as the caller says.
        unsafe {
            for n in 0..N {
                for v in 0..V {
                    acc[n][v] = s.load(sums.add(n * self.width + v * LANES));
                }
            }
            for p in 0..self.count {
                let mut values = [s.splat(0.0); V];
                for v in 0..V {
                    values[v] = load::<S, HALF>(s, self.values, p * self.width + at + v * LANES);
                }
                for n in 0..N {
                    let weight = s.splat(*weights.add(n * self.room + p));
                    for v in 0..V {
                        acc[n][v] = s.fma(weight, values[v], acc[n][v]);
                    }
                }
            }
            for n in 0..N {
                for v in 0..V {
                    s.store(sums.add(n * self.width + v * LANES), acc[n][v]);
                }
            }
        }
        V * LANES
    }
}

/// 16 elements of the cache from `index` on.
#[inline(always)]
unsafe fn load<S: Lanes, const HALF: bool>(s: S, p: *const u8, index: usize) -> S::F {
    // SAFETY: the caller sees that they are there.
    unsafe {
        if HALF {
            s.load_f16(p.add(index * 2))
        } else {
            s.load(p.add(index * 4).cast())
        }
    }
}
