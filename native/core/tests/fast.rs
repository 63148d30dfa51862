//! Prefill products with rounded activations: what is rounded how, and that nothing else decides about the bits.
mod support;
use half::bf16;
use masset_core::kernels::*;
use proptest::prelude::*;
use support::*;

const WHOLE: [(Encoding, Option<ScaleType>, bool); 6] = [
    (Encoding::I8, Some(ScaleType::F16), false),
    (Encoding::I8, Some(ScaleType::Bf16), false),
    (Encoding::I8, Some(ScaleType::F32), false),
    (Encoding::I4, Some(ScaleType::F16), false),
    (Encoding::I4, Some(ScaleType::Bf16), false),
    (Encoding::I4, Some(ScaleType::F32), false),
];

fn fast(machine: &Machine, w: &[Tile], x: &[f32], rows: usize, bias: Option<&[f32]>) -> Vec<f32> {
    product(w, rows, bias, |products| gemm(machine, x, rows, products, Precision::Fast))
}

/// The order written out: blocks of 32 inputs as whole numbers of 8 bits, their sums scaled, runs of 8 blocks added in order.
fn oracle(w: &Weights, row: usize, x: &[f32]) -> f32 {
    let mut total = 0f32;
    for run in (0..w.inputs).step_by(256) {
        let mut sum = 0f32;
        for block in (run..w.inputs.min(run + 256)).step_by(32) {
            let inputs = block..w.inputs.min(block + 32);
            let most = x[inputs.clone()].iter().fold(0f32, |most, x| most.max(x.abs()));
            let whole = |x: f32| if most == 0.0 { 0.0 } else { (x * (127.0 / most)).round_ties_even() };
            let dot: f32 = inputs.map(|i| w.raw(row, i) * whole(x[i])).sum();
            sum = dot.mul_add((most / 127.0) * w.scale(row, block), sum);
        }
        total = if run == 0 { sum } else { total + sum };
    }
    total
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn whole_numbers_follow_their_order(
        kind in 0..WHOLE.len(), outputs in 1usize..70, pairs in 1usize..400, rows in 1usize..90, seed in any::<u64>(),
    ) {
        let mut r = Random(seed);
        let inputs = 2 * pairs;
        let w = Weights::random(WHOLE[kind], outputs, inputs, &mut r);
        let (x, bias) = (r.floats(rows * inputs), r.floats(outputs));
        for threads in [1, 3] {
            let machine = Machine::new(Isa::detect(), threads).unwrap();
            let got = fast(&machine, &[w.tile()], &x, rows, Some(&bias));
            if !rounds(&machine, w.encoding, Precision::Fast) {
                prop_assert!(bits(&got) == bits(&multiply(&machine, &[w.tile()], &x, rows, Some(&bias), true)));
                continue;
            }
            let want: Vec<f32> = (0..rows * outputs).map(|i| oracle(&w, i % outputs, &x[i / outputs * inputs..]) + bias[i % outputs]).collect();
            prop_assert!(bits(&got) == bits(&want));
        }
    }

    #[test]
    fn bfloat16_is_close_to_the_exact_sum_of_rounded_inputs(
        outputs in 1usize..70, pairs in 1usize..400, rows in 1usize..90, seed in any::<u64>(),
    ) {
        let mut r = Random(seed);
        let inputs = 2 * pairs;
        let w = Weights::random((Encoding::Bf16, None, false), outputs, inputs, &mut r);
        let (x, bias) = (r.floats(rows * inputs), r.floats(outputs));
        let machine = Machine::new(Isa::detect(), 2).unwrap();
        let got = fast(&machine, &[w.tile()], &x, rows, Some(&bias));
        if !rounds(&machine, w.encoding, Precision::Fast) {
            prop_assert!(bits(&got) == bits(&multiply(&machine, &[w.tile()], &x, rows, Some(&bias), true)));
            return Ok(());
        }
        for (at, y) in got.iter().enumerate() {
            let (row, o) = (at / outputs, at % outputs);
            let terms = (0..inputs).map(|i| bf16::from_f32(x[row * inputs + i]).to_f64() * w.raw(o, i) as f64);
            let (sum, size) = terms.fold((bias[o] as f64, bias[o].abs() as f64), |(sum, size), t| (sum + t, size + t.abs()));
            prop_assert!((*y as f64 - sum).abs() <= 2e-6 * size, "{} {}", y, sum);
        }
    }
}

#[test]
fn bits_do_not_depend_on_threads_tiles_or_the_other_rows() {
    let mut r = Random(3);
    let (one, three) = (Machine::new(Isa::detect(), 1).unwrap(), Machine::new(Isa::detect(), 3).unwrap());
    for kind in [WHOLE[0], WHOLE[3], (Encoding::Bf16, None, false)] {
        let (outputs, inputs, rows) = (150, 1024, 600);
        let w = Weights::random(kind, outputs, inputs, &mut r);
        let x = r.floats(rows * inputs);
        let all = fast(&one, &[w.tile()], &x, rows, None);
        let parts = [w.part(0, 4), w.part(4, 106), w.part(106, outputs)];
        assert!(bits(&all) == bits(&fast(&three, &parts, &x, rows, None)), "{kind:?}");
        for row in [0, 17, 511, 512, 599] {
            let alone = fast(&three, &[w.tile()], &x[row * inputs..][..inputs], 1, None);
            assert!(bits(&alone) == bits(&all[row * outputs..][..outputs]), "{kind:?} row {row}");
        }
    }
}

#[test]
fn what_cannot_be_rounded_is_computed_exactly() {
    let mut r = Random(4);
    for isa in isas() {
        let machine = Machine::new(isa, 2).unwrap();
        for kind in kinds() {
            let w = Weights::random(kind, 50, 320, &mut r);
            let x = r.floats(40 * 320);
            let (got, exact) = (
                fast(&machine, &[w.tile()], &x, 40, None),
                multiply(&machine, &[w.tile()], &x, 40, None, true),
            );
            let rounded = rounds(&machine, w.encoding, Precision::Fast) && w.zeros.is_none();
            assert_eq!(bits(&got) != bits(&exact), rounded, "{kind:?} {isa:?}");
            assert!(!rounds(&machine, w.encoding, Precision::Exact));
            assert!(isa == Isa::Avx512 || !rounded);
        }
    }
}

#[test]
fn one_call_may_hold_weights_of_several_kinds() {
    let mut r = Random(6);
    let machine = Machine::new(Isa::detect(), 2).unwrap();
    let all: Vec<_> = [WHOLE[0], (Encoding::F32, None, false), (Encoding::Bf16, None, false), WHOLE[3]]
        .map(|kind| Weights::random(kind, 33, 96, &mut r))
        .into();
    let x = r.floats(20 * 96);
    let tiles: Vec<_> = all.iter().map(Weights::tile).collect();
    let together = fast(&machine, &tiles, &x, 20, None);
    for (at, w) in all.iter().enumerate() {
        let alone = fast(&machine, &[w.tile()], &x, 20, None);
        for row in 0..20 {
            assert!(together[(row * 4 + at) * 33..][..33] == alone[row * 33..][..33], "{at}");
        }
    }
}

#[test]
fn odd_numbers_stay_in_their_rows() {
    let mut r = Random(5);
    let machine = Machine::new(Isa::detect(), 1).unwrap();
    for kind in [WHOLE[0], WHOLE[3], (Encoding::Bf16, None, false)] {
        let w = Weights::random(kind, 20, 70, &mut r);
        let mut x = r.floats(20 * 70);
        x[3 * 70 + 69] = f32::NAN;
        x[5 * 70] = f32::INFINITY;
        x[7 * 70..8 * 70].fill(0.0);
        x[9 * 70..10 * 70].fill(f32::from_bits(1));
        let y = fast(&machine, &[w.tile()], &x, 20, None);
        for row in 0..20 {
            for v in &y[row * 20..(row + 1) * 20] {
                match row {
                    3 => assert!(v.is_nan()),
                    5 => assert!(!v.is_finite()),
                    7 | 9 => assert!(v.abs() < 1e-30),
                    _ => assert!(v.is_finite() && v.abs() > 1e-9),
                }
            }
        }
    }
}
