//! Prefill products: one order of sums, whatever computes them.
mod support;
use masset_core::kernels::*;
use proptest::prelude::*;
use support::*;

/// The order written out: runs of 256 inputs, each from zero, added in order.
fn oracle(w: &Weights, row: usize, x: &[f32]) -> f32 {
    let mut sum = 0f32;
    for start in (0..w.inputs).step_by(256) {
        let mut run = 0f32;
        for (i, x) in x.iter().enumerate().take(w.inputs.min(start + 256)).skip(start) {
            let weight = if w.scales.is_some() {
                w.raw(row, i) * w.scale(row, i)
            } else {
                w.raw(row, i)
            };
            run = x.mul_add(weight, run);
        }
        sum = if start == 0 { run } else { sum + run };
    }
    sum
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn follows_its_order_in_every_encoding_on_every_instruction_set(
        kind in 0..kinds().len(), outputs in 1usize..70, pairs in 1usize..400, rows in 1usize..90, seed in any::<u64>(),
    ) {
        let mut r = Random(seed);
        let inputs = 2 * pairs;
        let w = Weights::random(kinds()[kind], outputs, inputs, &mut r);
        let (x, bias) = (r.floats(rows * inputs), r.floats(outputs));
        let want: Vec<f32> = (0..rows * outputs).map(|i| oracle(&w, i % outputs, &x[i / outputs * inputs..]) + bias[i % outputs]).collect();
        for isa in isas() {
            for threads in [1, 3] {
                let got = multiply(&Machine::new(isa, threads).unwrap(), &[w.tile()], &x, rows, Some(&bias), true);
                prop_assert!(bits(&got) == bits(&want), "{:?}", isa);
            }
        }
    }
}

#[test]
fn does_not_depend_on_tiles_or_the_other_rows_and_is_close_to_the_exact_sum() {
    let mut r = Random(3);
    let machine = Machine::new(Isa::detect(), 2).unwrap();
    for kind in kinds() {
        let (outputs, inputs, rows) = (150, 1024, 600);
        let w = Weights::random(kind, outputs, inputs, &mut r);
        let x = r.floats(rows * inputs);
        let all = multiply(&machine, &[w.tile()], &x, rows, None, true);
        let parts = [w.part(0, 4), w.part(4, 106), w.part(106, outputs)];
        assert!(bits(&all) == bits(&multiply(&machine, &parts, &x, rows, None, true)), "{kind:?}");
        for row in [0, 17, 511, 512, 599] {
            let x = &x[row * inputs..][..inputs];
            let alone = multiply(&machine, &[w.tile()], x, 1, None, true);
            assert!(bits(&alone) == bits(&all[row * outputs..][..outputs]), "{kind:?} row {row}");
            for (o, y) in alone.iter().enumerate() {
                let terms = (0..inputs).map(|i| w.raw(o, i) as f64 * w.scale(o, i) as f64 * x[i] as f64);
                let (sum, size) = terms.fold((0.0, 0.0), |(sum, size), t| (sum + t, size + t.abs()));
                assert!((*y as f64 - sum).abs() <= 2e-6 * size, "{kind:?}: {y} {sum}");
            }
        }
    }
}

#[test]
fn nan_and_infinity_reach_the_outputs_that_they_belong_to() {
    let mut r = Random(5);
    let machine = Machine::new(Isa::detect(), 1).unwrap();
    let mut w = Weights::random(kinds()[0], 9, 70, &mut r);
    w.bytes[70 * 4 * 3 + 69 * 4..][..4].copy_from_slice(&f32::NAN.to_le_bytes());
    let mut x = r.floats(20 * 70);
    x[70] = f32::INFINITY;
    let y = multiply(&machine, &[w.tile()], &x, 20, None, true);
    for row in 0..20 {
        for o in 0..9 {
            assert_eq!(
                (y[row * 9 + o].is_nan(), y[row * 9 + o].is_infinite()),
                (o == 3, o != 3 && row == 1)
            );
        }
    }
}

#[test]
fn rows_that_meet_one_tile_after_the_other_give_the_same_bits() {
    let mut r = Random(8);
    let machine = Machine::new(Isa::detect(), 2).unwrap();
    // one part, parts that are kept packed, and more than is kept
    for (rows, inputs) in [(40, 320), (600, 4096), (1100, 4096)] {
        for kind in [kinds()[0], kinds()[2], kinds()[3], kinds()[9]] {
            let w = Weights::random(kind, 70, inputs, &mut r);
            let x = r.floats(rows * inputs);
            for precision in [Precision::Exact, Precision::Fast] {
                let at_once = product(&[w.tile()], rows, None, |products| gemm(&machine, &x, rows, products, precision));
                let prompt = Prompt::new(&machine, &x, rows);
                let mut y = vec![f32::NAN; rows * 70];
                for (start, end) in [(0, 2), (2, 66), (66, 70)] {
                    let mut products = [Product {
                        tiles: &[w.part(start, end)],
                        bias: None,
                        y: &mut y[start..],
                        stride: 70,
                    }];
                    prompt.multiply(&mut products, precision).unwrap();
                }
                assert_eq!(bits(&y), bits(&at_once), "{kind:?} {rows} x {inputs} {precision:?}");
            }
        }
    }
}
