//! Decode: bytes of weights a second, against the read bandwidth.
use crate::{bench::bounds::read_time, random, seconds, Options, Rates};
use masset_core::kernels::*;

const CASES: [(Encoding, Option<ScaleType>); 8] = [
    (Encoding::F32, None),
    (Encoding::Bf16, None),
    (Encoding::F16, None),
    (Encoding::I8, Some(ScaleType::F16)),
    (Encoding::I8, Some(ScaleType::F32)),
    (Encoding::I4, Some(ScaleType::F16)),
    (Encoding::I4, Some(ScaleType::F32)),
    (Encoding::U4, Some(ScaleType::F16)),
];

pub fn bench(o: &Options) -> String {
    let mut data = vec![0u8; o.megabytes << 20];
    huge(&mut data);
    random(&mut data, 7);
    let mut lines = Vec::new();
    for (encoding, scale) in CASES {
        if !format!("{encoding:?}").contains(&o.only) {
            continue;
        }
        for rows in [1usize, 4, 16] {
            lines.push(case(o, &data, encoding, scale, rows));
        }
    }
    format!("\"linear\": [\n    {}\n  ]", lines.join(",\n    "))
}

fn case(o: &Options, data: &[u8], encoding: Encoding, scale: Option<ScaleType>, rows: usize) -> String {
    let row_bytes = encoding.row_bytes(o.inputs).expect("a row");
    let scale_bytes = scale.map_or(0, |s| s.bytes() * o.inputs / BLOCK);
    let outputs = data.len() / (row_bytes + scale_bytes) / 64 * 64;
    let (weights, rest) = data.split_at(outputs * row_bytes);
    let scales = scale.map(|s| (s, &rest[..outputs * scale_bytes]));
    let tile = Tile::new(encoding, (outputs, o.inputs), weights, scales, None).expect("a tile");
    let x: Vec<f32> = (0..rows * o.inputs).map(|i| (i % 37) as f32 / 37.0 - 0.5).collect();
    let mut y = vec![0f32; rows * outputs];
    let mut rates = Rates::default();
    for _ in 0..o.rounds {
        let before = read_time(&o.machine, data);
        let time = seconds(|| {
            let mut product = [Product {
                tiles: &[tile],
                bias: None,
                y: &mut y,
                stride: outputs,
            }];
            linear(&o.machine, &x, rows, &mut product).expect("linear");
        });
        let after = read_time(&o.machine, data);
        rates.add(tile.len_bytes() as f64, time, data.len() as f64, [before, after]);
    }
    let scale = scale.map_or("none".into(), |s| format!("{s:?}"));
    format!(
        "{{\"encoding\": \"{encoding:?}\", \"scale\": \"{scale}\", \"rows\": {rows}, {}}}",
        rates.json("GB/s")
    )
}

/// Asks for huge pages where the system has them, as the reader does for weights.
fn huge(data: &mut [u8]) {
    #[cfg(target_os = "linux")]
    {
        unsafe extern "C" {
            fn madvise(addr: *mut u8, len: usize, advice: i32) -> i32;
        }
        let skip = data.as_ptr().align_offset(4096);
        // SAFETY: a page-aligned part of memory that is ours; the advice changes no content.
        unsafe { madvise(data.as_mut_ptr().add(skip), (data.len() - skip) & !4095, 14) };
    }
    let _ = data;
}
