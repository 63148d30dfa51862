//! Prefill, exact and fast: GFLOPS against a loop of fused multiply-adds of float32 in registers.
use crate::bench::bounds::{fma_time, fma_work};
use crate::{random, seconds, Options, Rates};
use masset_core::kernels::*;

pub fn bench(o: &Options) -> String {
    let mut lines = Vec::new();
    for (outputs, inputs) in [(2048, 2048), (8192, 2048), (2048, 8192)] {
        for (encoding, scale) in [
            (Encoding::Bf16, None),
            (Encoding::I8, Some(ScaleType::F16)),
            (Encoding::I4, Some(ScaleType::F16)),
        ] {
            if format!("{encoding:?}").contains(&o.only) {
                for precision in [Precision::Exact, Precision::Fast] {
                    lines.extend([20, 128, 512].map(|rows| case(o, (encoding, scale), (outputs, inputs), rows, precision)));
                }
            }
        }
    }
    format!("\"gemm\": [\n    {}\n  ]", lines.join(",\n    "))
}

fn case(
    o: &Options,
    (encoding, scale): (Encoding, Option<ScaleType>),
    (outputs, inputs): (usize, usize),
    rows: usize,
    precision: Precision,
) -> String {
    let mut bytes = vec![0u8; encoding.row_bytes(inputs).expect("a row") * outputs];
    random(&mut bytes, 3);
    let mut scales = vec![0u8; outputs * inputs / BLOCK * 2];
    random(&mut scales, 5);
    let tile = Tile::new(encoding, (outputs, inputs), &bytes, scale.map(|s| (s, &scales[..])), None).expect("a tile");
    let x: Vec<f32> = (0..rows * inputs).map(|i| (i % 37) as f32 / 37.0 - 0.5).collect();
    let mut y = vec![0f32; rows * outputs];
    let mut rates = Rates::default();
    for _ in 0..o.rounds {
        let before = fma_time(&o.machine);
        let time = seconds(|| {
            let mut product = [Product {
                tiles: &[tile],
                bias: None,
                y: &mut y,
                stride: outputs,
            }];
            gemm(&o.machine, &x, rows, &mut product, precision).expect("gemm");
        });
        let after = fma_time(&o.machine);
        rates.add(2.0 * (rows * inputs * outputs) as f64, time, fma_work(&o.machine), [before, after]);
    }
    let shape = format!("\"outputs\": {outputs}, \"inputs\": {inputs}, \"rows\": {rows}");
    format!(
        "{{\"encoding\": \"{encoding:?}\", \"precision\": \"{precision:?}\", {shape}, {}}}",
        rates.json("GFLOPS")
    )
}
