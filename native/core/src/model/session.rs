use super::seen::Seen;
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

/// q [batch, sequence, heads * head_dim], k, v [batch, sequence, kv_heads * head_dim], mask [batch or 1, 1, sequence, total]
/// -> [batch, sequence, heads * head_dim]. Where sequences of a batch differ in length, the shorter ones count as padded
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
    let (&[batch, sequence, wide], &[_, _, narrow]) = (q.dims(), k.dims()) else {
        return Err(refuse("three dimensions are needed"));
    };
    let heads = Heads {
        heads: how.kv_heads,
        head_dim: narrow.checked_div(how.kv_heads).unwrap_or(0),
    };
    if k.dims() != [batch, sequence, narrow] || v.dims() != k.dims() || Some(wide) != how.heads.checked_mul(heads.head_dim) {
        return Err(refuse("their shapes do not fit"));
    }
    if how.cache.is_some() && sessions.len() != batch {
        return Err(refuse(&format!("{} sessions were given", sessions.len())));
    }
    let mask = given.get(3).map(Value::bool).transpose()?;
    let mut out = vec![0.0; q.data().len()];
    let mut sessions = sessions.iter_mut();
    for row in 0..batch {
        let new = row * sequence * narrow..(row + 1) * sequence * narrow;
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
        let seen = mask.map(|mask| Seen::new(mask, row, sequence, cache.len())).transpose()?;
        let attention = Attention {
            heads: how.heads,
            scale: how.scale,
            first: cache.len() - sequence,
            causal: matches!(seen, Some(Seen::Last(_))),
            window: match seen {
                Some(Seen::Last(window)) => window,
                _ => None,
            },
            soft_cap: how.soft_cap,
            mask: match &seen {
                Some(Seen::These(these)) => Some(Mask::Allow(these)),
                _ => None,
            },
        };
        let part = row * sequence * wide..(row + 1) * sequence * wide;
        kernels::attention(machine, cache, &attention, &q.data()[part.clone()], sequence, &mut out[part])?;
    }
    Tensor::new(q.dims().to_vec(), out)
}
