//! Attention over a paged cache, against a plain one in double precision.
mod support;
use half::f16;
use masset_core::kernels::*;
use proptest::prelude::*;
use support::*;

struct Case {
    kv: Heads,
    heads: usize,
    len: usize,
    rows: usize,
    kind: CacheType,
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
}

impl Case {
    fn new(kv: Heads, group: usize, len: usize, rows: usize, kind: CacheType, r: &mut Random) -> Case {
        let size = kv.heads * kv.head_dim;
        let q = r.floats(rows * size * group);
        Case {
            kv,
            heads: kv.heads * group,
            len,
            rows,
            kind,
            q,
            k: r.floats(len * size),
            v: r.floats(len * size),
        }
    }

    fn cache(&self, machine: &Machine, step: usize) -> KvCache {
        let mut cache = KvCache::new(self.kv, self.kind).unwrap();
        let size = self.kv.heads * self.kv.head_dim * step;
        for (k, v) in self.k.chunks(size).zip(self.v.chunks(size)) {
            cache.append(machine, k, v).unwrap();
        }
        assert_eq!(cache.len(), self.len);
        cache
    }

    fn run(&self, machine: &Machine, how: &Attention) -> Vec<f32> {
        let mut out = vec![f32::NAN; self.q.len()];
        attention(machine, &self.cache(machine, 7), how, &self.q, self.rows, &mut out).unwrap();
        out
    }

    fn oracle(&self, how: &Attention) -> Vec<f64> {
        let (d, group) = (self.kv.head_dim, self.heads / self.kv.heads);
        let kept = |x: f32| {
            if self.kind == CacheType::F16 {
                f16::from_f32(x).to_f64()
            } else {
                x as f64
            }
        };
        let mut out = vec![0f64; self.q.len()];
        for row in 0..self.rows {
            for head in 0..self.heads {
                let q = &self.q[(row * self.heads + head) * d..][..d];
                let at = |p: usize| (p * self.kv.heads + head / group) * d;
                let position = how.first + row;
                let score = |p: usize| {
                    let mut x: f64 = (0..d).map(|i| q[i] as f64 * kept(self.k[at(p) + i])).sum::<f64>() * how.scale as f64;
                    if let Some(cap) = how.soft_cap {
                        x = cap as f64 * (x / cap as f64).tanh();
                    }
                    let mut open = (!how.causal || p <= position) && how.window.is_none_or(|w| p + w > position);
                    match how.mask {
                        Some(Mask::Allow(m)) => open &= m[row * self.len + p],
                        Some(Mask::Add(m)) => {
                            let own = if m.len() == self.rows * self.len { 0 } else { head };
                            x += m[(own * self.rows + row) * self.len + p] as f64;
                        }
                        None => {}
                    }
                    if open {
                        x
                    } else {
                        f64::NEG_INFINITY
                    }
                };
                let scores: Vec<f64> = (0..self.len).map(score).collect();
                let most = scores.iter().fold(f64::NEG_INFINITY, |a, b| a.max(*b));
                if most == f64::NEG_INFINITY {
                    continue;
                }
                let total: f64 = scores.iter().map(|x| (x - most).exp()).sum();
                for i in 0..d {
                    let sum: f64 = (0..self.len).map(|p| (scores[p] - most).exp() * kept(self.v[at(p) + i])).sum();
                    out[(row * self.heads + head) * d + i] = sum / total;
                }
            }
        }
        out
    }
}

fn plain(heads: usize, first: usize) -> Attention<'static> {
    Attention {
        heads,
        scale: 0.3,
        first,
        causal: true,
        window: None,
        soft_cap: None,
        mask: None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]
    #[test]
    fn is_close_to_the_plain_form_and_equal_everywhere(
        kv_heads in 1usize..4, group in 1usize..6, head_dim in prop_oneof![1usize..40, Just(64), Just(80), Just(128)],
        len in 1usize..600, rows in 1usize..8, first in 0usize..600, half in any::<bool>(), causal in any::<bool>(),
        window in proptest::option::of(1usize..300), cap in proptest::option::of(0.5f32..20.0), mask in 0usize..4, seed in any::<u64>(),
    ) {
        let mut r = Random(seed);
        let kind = if half { CacheType::F16 } else { CacheType::F32 };
        let case = Case::new(Heads { heads: kv_heads, head_dim }, group, len, rows, kind, &mut r);
        let allow: Vec<bool> = (0..rows * len).map(|_| !r.next().is_multiple_of(3)).collect();
        let masks = if mask == 3 { case.heads } else { 1 };
        let add: Vec<f32> = (0..masks * rows * len).map(|_| if !r.next().is_multiple_of(3) { r.unit() } else { f32::NEG_INFINITY }).collect();
        let mask = [None, Some(Mask::Allow(&allow)), Some(Mask::Add(&add)), Some(Mask::Add(&add))][mask];
        let how = Attention { causal, window, soft_cap: cap, mask, ..plain(case.heads, first % len) };
        let got = case.run(&Machine::new(Isa::detect(), 1).unwrap(), &how);
        for (got, want) in got.iter().zip(case.oracle(&how)) {
            prop_assert!((*got as f64 - want).abs() < 1e-5, "{} {}", got, want);
        }
        for isa in isas() {
            for threads in [1, 3] {
                prop_assert_eq!(bits(&case.run(&Machine::new(isa, threads).unwrap(), &how)), bits(&got));
            }
        }
        // a row alone, with the cache as it was then
        let machine = Machine::new(Isa::detect(), 2).unwrap();
        let row = rows - 1;
        let size = case.q.len() / rows;
        let mut out = vec![0f32; size];
        let last: Vec<f32> = add.chunks(rows * len).flat_map(|mask| &mask[row * len..]).copied().collect();
        let alone = mask.map(|m| match m {
            Mask::Allow(m) => Mask::Allow(&m[row * len..]),
            Mask::Add(_) => Mask::Add(&last),
        });
        let how = Attention { first: how.first + row, mask: alone, ..how };
        let mut cache = case.cache(&machine, 300);
        attention(&machine, &cache, &how, &case.q[row * size..], 1, &mut out).unwrap();
        prop_assert_eq!(bits(&out), bits(&got[row * size..]));
        if causal && mask.is_none() {
            cache.truncate(how.first + 1);
            attention(&machine, &cache, &how, &case.q[row * size..], 1, &mut out).unwrap();
            prop_assert_eq!(bits(&out), bits(&got[row * size..]));
        }
    }

    #[test]
    fn halves_are_rounded_to_nearest_even_whatever_the_number(values in proptest::collection::vec(any::<u32>(), 40), near in -20i32..20) {
        // any bits, and what lies about the largest half and the smallest
        let mut v: Vec<f32> = values.into_iter().map(f32::from_bits).filter(|v| !v.is_nan()).collect();
        for edge in [65504f32, 65520.0, 6.0e-8, 2.98e-8, 6.1e-5] {
            v.push(f32::from_bits(edge.to_bits().wrapping_add_signed(near)));
        }
        let heads = Heads { heads: 1, head_dim: v.len() };
        for isa in isas() {
            let machine = Machine::new(isa, 1).unwrap();
            let mut cache = KvCache::new(heads, CacheType::F16).unwrap();
            let zeros = vec![0f32; v.len()];
            cache.append(&machine, &zeros, &v).unwrap();
            // one position has all the weight
            let mut out = zeros.clone();
            attention(&machine, &cache, &plain(1, 0), &zeros, 1, &mut out).unwrap();
            for (out, v) in out.iter().zip(&v) {
                prop_assert!(*out == f16::from_f32(*v).to_f32(), "{:?}: {} of {}", isa, out, v);
            }
        }
    }

    #[test]
    fn hostile_numbers_are_errors_never_panics(
        heads in any::<usize>(), head_dim in any::<usize>(), small in any::<bool>(), k in 0usize..60, rows in any::<usize>(),
        first in any::<usize>(), window in proptest::option::of(any::<usize>()), q in 0usize..60, mask in 0usize..60,
    ) {
        let machine = Machine::new(Isa::detect(), 1).unwrap();
        let (heads, head_dim, rows) = if small { (heads % 4, head_dim % 5, rows % 5) } else { (heads, head_dim, rows) };
        if let Ok(mut cache) = KvCache::new(Heads { heads, head_dim }, CacheType::F16) {
            if heads * head_dim < 1000 {
                let _ = cache.append(&machine, &vec![0.5; k], &vec![0.5; k]);
                let mask = vec![true; mask];
                for mask in [None, Some(Mask::Allow(&mask[..]))] {
                    let how = Attention { window, mask, ..plain(heads, first) };
                    let _ = attention(&machine, &cache, &how, &vec![0.1; q], rows, &mut vec![0.0; q]);
                }
            }
        }
    }
}

#[test]
fn the_future_and_what_was_forgotten_cannot_be_seen() {
    let machine = Machine::new(Isa::detect(), 1).unwrap();
    let mut r = Random(9);
    let mut case = Case::new(Heads { heads: 2, head_dim: 32 }, 3, 40, 2, CacheType::F32, &mut r);
    let want = case.run(&machine, &plain(6, 20));
    for row in 22..40 {
        case.k[row * 64..][..64].fill(f32::NAN);
        case.v[row * 64..][..64].fill(f32::INFINITY);
    }
    assert_eq!(case.run(&machine, &plain(6, 20)), want);
    let mut cache = case.cache(&machine, 40);
    cache.truncate(22);
    let mut out = vec![0f32; want.len()];
    attention(
        &machine,
        &cache,
        &Attention {
            causal: false,
            ..plain(6, 20)
        },
        &case.q,
        2,
        &mut out,
    )
    .unwrap();
    assert!(out.iter().all(|v| v.is_finite()));
}

#[test]
fn what_is_before_the_window_is_not_looked_at() {
    let machine = Machine::new(Isa::detect(), 2).unwrap();
    let mut r = Random(10);
    let mut case = Case::new(Heads { heads: 2, head_dim: 32 }, 3, 900, 5, CacheType::F32, &mut r);
    let how = Attention {
        window: Some(70),
        ..plain(6, 890)
    };
    let want = case.run(&machine, &how);
    // positions up to 820 are before the window of the row at 890
    for row in 0..821 {
        case.k[row * 64..][..64].fill(f32::NAN);
        case.v[row * 64..][..64].fill(f32::INFINITY);
    }
    assert_eq!(bits(&case.run(&machine, &how)), bits(&want));
    assert!(want.iter().all(|v| v.is_finite()));
    let far = Attention { window: Some(71), ..how };
    assert!(case.run(&machine, &far).iter().any(|v| v.is_nan()));
}

#[test]
fn pages_are_counted_and_freed() {
    let machine = Machine::new(Isa::detect(), 1).unwrap();
    let mut cache = KvCache::new(Heads { heads: 2, head_dim: 16 }, CacheType::F16).unwrap();
    assert_eq!((cache.bytes(), cache.page_bytes()), (0, 256 * 2 * 16 * 2 * 2));
    let row = vec![1f32; 32 * 257];
    cache.append(&machine, &row, &row).unwrap();
    assert_eq!((cache.len(), cache.bytes()), (257, 2 * cache.page_bytes()));
    cache.truncate(256);
    assert_eq!(cache.bytes(), cache.page_bytes());
    assert!(cache.append(&machine, &row[..31], &row[..31]).is_err());
    assert!(KvCache::new(
        Heads {
            heads: usize::MAX,
            head_dim: 2
        },
        CacheType::F32
    )
    .is_err());
}
