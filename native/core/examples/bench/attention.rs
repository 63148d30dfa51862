//! Attention of one row over a long cache, all of it or the last quarter as a window or by a mask, and of a prompt.
use crate::{bench::bounds::read_time, median, seconds, Options};
use masset_core::kernels::*;

pub fn bench(o: &Options) -> String {
    let mut lines = Vec::new();
    for kind in [CacheType::F32, CacheType::F16] {
        for (kv, heads) in [(8, 32), (12, 12), (3, 9)] {
            for (rows, positions) in [(1, 256), (1, 2048), (1, 4096), (512, 512)] {
                for seen in [Seen::All, Seen::Window, Seen::Mask] {
                    if seen == Seen::All || positions == 4096 {
                        lines.push(case(o, kind, Heads { heads: kv, head_dim: 64 }, heads, rows, positions, seen));
                    }
                }
            }
        }
    }
    format!("\"attention\": [\n    {}\n  ]", lines.join(",\n    "))
}

/// What the rows look at: all positions, or the last quarter of them.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Seen {
    All,
    Window,
    Mask,
}

/// Goes through several caches, so that each comes from memory as it would in a model of many layers.
fn case(o: &Options, kind: CacheType, kv: Heads, heads: usize, rows: usize, positions: usize, seen: Seen) -> String {
    let machine = &o.machine;
    let data: Vec<f32> = (0..positions * kv.heads * kv.head_dim)
        .map(|i| (i % 101) as f32 / 50.0 - 1.0)
        .collect();
    let caches: Vec<KvCache> = (0..if rows > 1 { 1 } else { 16 })
        .map(|_| {
            let mut cache = KvCache::new(kv, kind).expect("a cache");
            cache.append(machine, &data, &data).expect("room");
            cache
        })
        .collect();
    let q: Vec<f32> = (0..rows * heads * kv.head_dim).map(|i| (i % 89) as f32 / 44.0 - 1.0).collect();
    let mut out = vec![0f32; q.len()];
    let last: Vec<bool> = (0..rows * positions)
        .map(|at| at % positions >= positions - positions / 4)
        .collect();
    let how = Attention {
        heads,
        scale: 0.125,
        first: positions - rows,
        causal: true,
        window: (seen == Seen::Window).then_some(positions / 4),
        soft_cap: None,
        mask: (seen == Seen::Mask).then_some(Mask::Allow(&last)),
    };
    let flush = vec![1u8; 128 << 20];
    let (mut times, mut processor, mut appends) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..o.rounds.max(5) {
        read_time(machine, &flush);
        let time = seconds(|| {
            for cache in &caches {
                attention(machine, cache, &how, &q, rows, &mut out).expect("attention");
            }
        });
        times.push(time.wall / caches.len() as f64 * 1e6);
        processor.push(time.cpu / caches.len() as f64 * 1e6);
        let mut cache = KvCache::new(kv, kind).expect("a cache");
        let row = kv.heads * kv.head_dim;
        cache.append(machine, &data[..row], &data[..row]).expect("room");
        appends.push(seconds(|| cache.append(machine, &data[..row], &data[..row]).expect("room")).wall * 1e6);
    }
    let best = times.iter().copied().fold(f64::MAX, f64::min);
    format!(
        "{{\"cache\": \"{kind:?}\", \"heads\": {heads}, \"kv_heads\": {}, \"head_dim\": {}, \"rows\": {rows}, \"positions\": {positions}, \"seen\": \"{seen:?}\", \"us\": {:.1}, \"best us\": {best:.1}, \"processor us\": {:.1}, \"append us\": {:.1}}}",
        kv.heads,
        kv.head_dim,
        median(times),
        median(processor),
        median(appends),
    )
}
