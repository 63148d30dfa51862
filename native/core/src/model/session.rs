use super::seen::{added, Seen};
use super::spec::CacheShape;
use crate::kernels::{self, Attention, CacheType, Heads, KvCache, Machine, Mask};
use crate::program::{Tensor, Value};
use crate::{Error, Result};

/// The keys and values of one sequence, for each attention of the model.
pub struct Session {
    caches: Vec<KvCache>,
    /// what went into each cache, where the caller wants it back
    record: Option<Vec<Record>>,
}

/// Keys and values as they were appended: (positions, kv_heads, head_dim) each.
#[derive(Default)]
struct Record {
    keys: Vec<f32>,
    values: Vec<f32>,
}

impl Session {
    /// `recorded`: what goes in can be exported again.
    pub(crate) fn new(shapes: &[CacheShape], kind: CacheType, recorded: bool) -> Result<Self> {
        let heads = |shape: &CacheShape| Heads {
            heads: shape.kv_heads,
            head_dim: shape.head_dim,
        };
        let caches = shapes.iter().map(|shape| KvCache::new(heads(shape), kind)).collect::<Result<_>>()?;
        let record = recorded.then(|| shapes.iter().map(|_| Record::default()).collect());
        Ok(Self { caches, record })
    }

    /// Positions that all of its caches hold: between the segments of a pass some hold more.
    pub fn len(&self) -> usize {
        self.caches.iter().map(KvCache::len).min().unwrap_or(0)
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that its caches take.
    pub fn bytes(&self) -> usize {
        self.caches.iter().map(KvCache::bytes).sum()
    }

    /// Forgets what came after the first `length` positions.
    pub fn truncate(&mut self, length: usize) {
        for cache in &mut self.caches {
            cache.truncate(length);
        }
    }

    fn append(&mut self, machine: &Machine, cache: usize, keys: &[f32], values: &[f32]) -> Result<&KvCache> {
        let held = self
            .caches
            .get_mut(cache)
            .ok_or_else(|| Error::bad(format!("Cannot use cache {cache} of a session: there is none")))?;
        held.append(machine, keys, values)?;
        if let Some(record) = &mut self.record {
            record[cache].keys.extend_from_slice(keys);
            record[cache].values.extend_from_slice(values);
        }
        Ok(held)
    }

    /// Takes in keys and values of one sequence as the graph has them: (kv_heads, positions, head_dim).
    pub(crate) fn load(&mut self, machine: &Machine, cache: usize, shape: &CacheShape, keys: &[f32], values: &[f32]) -> Result<()> {
        let rows = |data: &[f32]| turned(data, shape.kv_heads, shape.head_dim);
        self.append(machine, cache, &rows(keys), &rows(values)).map(|_| ())
    }

    /// Keys and values as the graph has them, (kv_heads, positions, head_dim), and how many positions. Empty unless they were recorded.
    pub(crate) fn export(&self, cache: usize, shape: &CacheShape) -> (Vec<f32>, Vec<f32>, usize) {
        let Some(record) = &self.record else {
            return (Vec::new(), Vec::new(), 0);
        };
        let Record { keys, values } = &record[cache];
        let positions = keys.len() / (shape.kv_heads * shape.head_dim).max(1);
        let back = |data: &[f32]| turned(data, positions, shape.head_dim);
        (back(keys), back(values), positions)
    }
}

/// (a, b, width) -> (b, a, width)
fn turned(data: &[f32], a: usize, width: usize) -> Vec<f32> {
    let b = data.len() / (a * width).max(1);
    let mut out = Vec::with_capacity(data.len());
    for j in 0..b {
        for i in 0..a {
            out.extend_from_slice(&data[(i * b + j) * width..][..width]);
        }
    }
    out
}

/// How a graph's attention is to be computed.
pub(crate) struct How {
    pub heads: usize,
    pub kv_heads: usize,
    pub scale: f32,
    /// scores become cap * tanh(score / cap) before the mask
    pub soft_cap: Option<f32>,
    /// which cache of the sessions holds what came before
    pub cache: Option<usize>,
}

/// q [batch, sequence, heads * head_dim], k, v [batch, keys, kv_heads * head_dim], mask [batch or 1, 1, sequence, total] of
/// booleans, or [batch or 1, heads or 1, sequence, total] of what is added to the scores -> [batch, sequence, heads * head_dim].
/// With a cache there are as many keys as queries; without one they may be of another sequence. Where sequences of a batch differ in length, the shorter ones count as padded
/// on the left: their positions are the last ones of `total`.
pub(crate) fn attend(machine: &Machine, how: &How, given: &[Value], sessions: &mut [Session]) -> Result<Tensor<f32>> {
    let (q, k, v) = (given[0].f32()?, given[1].f32()?, given[2].f32()?);
    let refuse = |why: &str| {
        Error::bad(format!(
            "Cannot attend with q {:?}, k {:?}, v {:?}: {why}",
            q.dims(),
            k.dims(),
            v.dims()
        ))
    };
    let (&[batch, sequence, wide], &[_, keys, narrow]) = (q.dims(), k.dims()) else {
        return Err(refuse("three dimensions are needed"));
    };
    let heads = Heads {
        heads: how.kv_heads,
        head_dim: narrow.checked_div(how.kv_heads).unwrap_or(0),
    };
    let fits = how.cache.is_none() || keys == sequence;
    if !fits || k.dims() != [batch, keys, narrow] || v.dims() != k.dims() || Some(wide) != how.heads.checked_mul(heads.head_dim) {
        return Err(refuse("their shapes do not fit"));
    }
    if how.cache.is_some() && sessions.len() != batch {
        return Err(refuse(&format!("{} sessions were given", sessions.len())));
    }
    let mut out = vec![0.0; q.data().len()];
    let mut sessions = sessions.iter_mut();
    for row in 0..batch {
        let new = row * keys * narrow..(row + 1) * keys * narrow;
        let mut alone;
        let cache = match how.cache {
            Some(cache) => {
                let session = sessions.next().ok_or_else(|| refuse("a session is missing"))?;
                session.append(machine, cache, &k.data()[new.clone()], &v.data()[new])?
            }
            None => {
                alone = KvCache::new(heads, CacheType::F32)?;
                alone.append(machine, &k.data()[new.clone()], &v.data()[new])?;
                &alone
            }
        };
        let (mut seen, mut plus) = (None, None);
        match given.get(3) {
            Some(Value::F32(mask)) => plus = Some(added(mask, row, how.heads, sequence, cache.len())?),
            Some(mask) => seen = Some(Seen::new(mask.bool()?, row, sequence, cache.len())?),
            None => {}
        }
        let attention = Attention {
            heads: how.heads,
            scale: how.scale,
            first: cache.len().saturating_sub(sequence),
            causal: matches!(seen, Some(Seen::Last(_))),
            window: match seen {
                Some(Seen::Last(window)) => window,
                _ => None,
            },
            soft_cap: how.soft_cap,
            mask: match (&seen, &plus) {
                (Some(Seen::These(these)), _) => Some(Mask::Allow(these)),
                (_, Some(plus)) => Some(Mask::Add(plus)),
                _ => None,
            },
        };
        let part = row * sequence * wide..(row + 1) * sequence * wide;
        kernels::attention(machine, cache, &attention, &q.data()[part.clone()], sequence, &mut out[part])?;
    }
    Tensor::new(q.dims().to_vec(), out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::Isa;
    use proptest::prelude::*;

    /// What attention to another sequence gives: heads of one element, scores with what is added to them.
    fn plain(q: &Tensor<f32>, k: &Tensor<f32>, v: &Tensor<f32>, added: impl Fn(usize, usize, usize, usize) -> f32) -> Vec<f32> {
        let (&[batch, sequence, heads], &[_, keys, _]) = (q.dims(), k.dims()) else {
            panic!("three dimensions");
        };
        let mut out = Vec::new();
        for row in 0..batch * sequence * heads {
            let (b, s, h) = (row / heads / sequence, row / heads % sequence, row % heads);
            let at = |key: usize| (b * keys + key) * heads + h;
            let scores: Vec<f64> = (0..keys)
                .map(|key| (q.data()[row] * k.data()[at(key)] + added(b, h, s, key)) as f64)
                .collect();
            let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let total: f64 = scores.iter().map(|x| (x - most).exp()).sum();
            let sum: f64 = (0..keys).map(|key| (scores[key] - most).exp() * v.data()[at(key)] as f64).sum();
            out.push((sum / total) as f32);
        }
        out
    }

    proptest! {
        #[test]
        fn looks_at_another_sequence_with_masks_of_each_head(
            batch in 1usize..3, sequence in 1usize..5, keys in 1usize..20, heads in 1usize..4, ours in any::<bool>(), each in any::<bool>(),
            booleans in any::<bool>(),
        ) {
            let machine = Machine::new(Isa::detect(), 1).unwrap();
            let tensor = |dims: &[usize], step: usize| {
                let count = dims.iter().product();
                Tensor::new(dims.to_vec(), (0..count).map(|at| (at * step % 17) as f32 / 8.0 - 1.0).collect::<Vec<f32>>()).unwrap()
            };
            let (q, k, v) = (tensor(&[batch, sequence, heads], 5), tensor(&[batch, keys, heads], 7), tensor(&[batch, keys, heads], 11));
            let (many, masks) = (if ours { batch } else { 1 }, if each { heads } else { 1 });
            let how = How { heads, kv_heads: heads, scale: 1.0, soft_cap: None, cache: None };
            let given = |mask: Value| [Value::F32(q.clone()), Value::F32(k.clone()), Value::F32(v.clone()), mask];
            let (got, want) = if booleans {
                // at least the first key is seen
                let seen = |at: usize| at.is_multiple_of(keys) || !at.is_multiple_of(3);
                let bits = (0..many * sequence * keys).map(seen).collect();
                let mask = Tensor::new(vec![many, 1, sequence, keys], bits).unwrap();
                let own = |b: usize| if ours { b } else { 0 };
                let added = |b: usize, _, s: usize, key: usize| if seen((own(b) * sequence + s) * keys + key) { 0.0 } else { f32::NEG_INFINITY };
                (attend(&machine, &how, &given(Value::Bool(mask)), &mut []).unwrap(), plain(&q, &k, &v, added))
            } else {
                let mask = tensor(&[many, masks, sequence, keys], 3);
                let data = mask.data().to_vec();
                let added = |b: usize, h: usize, s: usize, key: usize| {
                    let (b, h) = (if ours { b } else { 0 }, if each { h } else { 0 });
                    data[((b * masks + h) * sequence + s) * keys + key]
                };
                (attend(&machine, &how, &given(Value::F32(mask)), &mut []).unwrap(), plain(&q, &k, &v, added))
            };
            for (got, want) in got.data().iter().zip(want) {
                prop_assert!((got - want).abs() < 1e-5, "{} {}", got, want);
            }
        }

        #[test]
        fn masks_and_keys_that_do_not_fit_are_errors(
            dims in proptest::collection::vec(0usize..4, 0..6), keys in 0usize..4, cached in any::<bool>(), floats in any::<bool>(),
        ) {
            let machine = Machine::new(Isa::detect(), 1).unwrap();
            let zeros = |dims: Vec<usize>| Tensor::new(dims.clone(), vec![0f32; dims.iter().product()]).unwrap();
            let names = || [String::new(), String::new()];
            let shape = CacheShape { kv_heads: 2, head_dim: 1, past: names(), present: names() };
            let mut sessions = [Session::new(&[shape], CacheType::F32, false).unwrap()];
            let count = dims.iter().product();
            let mask = if floats {
                Value::F32(zeros(dims.clone()))
            } else {
                Value::Bool(Tensor::new(dims.clone(), vec![true; count]).unwrap())
            };
            let how = How { heads: 2, kv_heads: 2, scale: 1.0, soft_cap: None, cache: cached.then_some(0) };
            let given = [Value::F32(zeros(vec![1, 2, 2])), Value::F32(zeros(vec![1, keys, 2])), Value::F32(zeros(vec![1, keys, 2])), mask];
            let ours = if cached { &mut sessions[..] } else { &mut [] };
            let fits = dims.ends_with(&[2, keys]) && dims.len() == 4 && dims[0] > 0 && (dims[1] == 1 || floats && dims[1] == 2);
            let got = attend(&machine, &how, &given, ours);
            prop_assert!(!(got.is_err() && fits && (!cached || keys == 2)), "{:?}", got.err());
            prop_assert!(got.is_err() || !cached || keys == 2);
        }
    }
}
