//! Prefill: GFLOPS against a loop of fused multiply-adds in registers.
use crate::bench::bounds::fma_peak;
use crate::{median, random, seconds, Options};
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
                lines.extend([20, 128, 512].map(|rows| case(o, encoding, scale, outputs, inputs, rows)));
            }
        }
    }
    format!("\"gemm\": [\n    {}\n  ]", lines.join(",\n    "))
}

fn case(o: &Options, encoding: Encoding, scale: Option<ScaleType>, outputs: usize, inputs: usize, rows: usize) -> String {
    let mut bytes = vec![0u8; encoding.row_bytes(inputs).expect("a row") * outputs];
    random(&mut bytes, 3);
    let mut scales = vec![0u8; outputs * inputs / BLOCK * 2];
    random(&mut scales, 5);
    let tile = Tile::new(encoding, (outputs, inputs), &bytes, scale.map(|s| (s, &scales[..])), None).expect("a tile");
    let x: Vec<f32> = (0..rows * inputs).map(|i| (i % 37) as f32 / 37.0 - 0.5).collect();
    let mut y = vec![0f32; rows * outputs];
    let (mut speeds, mut ratios, mut bounds) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..o.rounds {
        let before = fma_peak(&o.machine);
        let time = seconds(|| {
            let mut product = [Product {
                tiles: &[tile],
                bias: None,
                y: &mut y,
                stride: outputs,
            }];
            gemm(&o.machine, &x, rows, &mut product).expect("gemm");
        });
        let bound = before.max(fma_peak(&o.machine));
        let speed = 2.0 * (rows * inputs * outputs) as f64 / time;
        speeds.push(speed / 1e9);
        bounds.push(bound / 1e9);
        ratios.push(speed / bound);
    }
    let best = speeds.iter().copied().fold(0.0, f64::max);
    format!(
        "{{\"encoding\": \"{encoding:?}\", \"outputs\": {outputs}, \"inputs\": {inputs}, \"rows\": {rows}, \"GFLOPS\": {:.0}, \"ratio\": {:.3}, \"best GFLOPS\": {best:.0}, \"peak\": {:.0}}}",
        median(speeds),
        median(ratios),
        median(bounds),
    )
}
