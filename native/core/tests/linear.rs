//! Decode products: the contract's order of sums, whatever computes them.
#![allow(clippy::needless_range_loop)] // inputs are counted over several lists at once
mod support;
use masset_core::kernels::*;
use masset_core::Code;
use proptest::prelude::*;
use support::*;

/// The contract written out: 16 lanes, fma, partials of blocks, one tree.
fn oracle(w: &Weights, row: usize, x: &[f32]) -> f32 {
    let mut acc = match w.encoding {
        Encoding::I4 | Encoding::U4 => whole_numbers(w, row, x),
        _ => floats(w, row, x),
    };
    for half in [8, 4, 2, 1] {
        for lane in 0..half {
            acc[lane] += acc[lane + half];
        }
    }
    acc[0]
}

fn floats(w: &Weights, row: usize, x: &[f32]) -> [f32; 16] {
    let mut acc = [0f32; 16];
    let blocks = w.inputs.div_ceil(BLOCK);
    for block in 0..blocks {
        for (lane, acc) in acc.iter_mut().enumerate() {
            let mut partial = 0f32;
            for input in [block * BLOCK + lane, block * BLOCK + lane + 16] {
                let (q, x) = if input < w.inputs {
                    (w.raw(row, input), x[input])
                } else {
                    (0.0, 0.0)
                };
                if w.scales.is_some() {
                    partial = q.mul_add(x, partial);
                } else {
                    *acc = q.mul_add(x, *acc);
                }
            }
            if w.scales.is_some() {
                *acc = partial.mul_add(w.scale(row, block * BLOCK), *acc);
            }
        }
    }
    acc
}

/// Lane l takes 8 inputs of each 128, as whole multiples of the unit of their block.
fn whole_numbers(w: &Weights, row: usize, x: &[f32]) -> [f32; 16] {
    let mut acc = [0f32; 16];
    let inputs = w.inputs.next_multiple_of(128);
    for first in (0..inputs).step_by(8) {
        let (lane, block) = (first / 8 % 16, first / BLOCK * BLOCK);
        if block >= w.inputs {
            acc[lane] = 0f32.mul_add(0.0, acc[lane]);
            continue;
        }
        let unit = unit(&x[block..w.inputs.min(block + BLOCK).min(x.len())]);
        let (mut sum, mut less) = (0i64, 0i64);
        for input in first..w.inputs.min(first + 8) {
            let whole = (x[input] as f64 / unit as f64).round_ties_even() as i64;
            sum += w.unshifted(row, input) as i64 * whole;
            less -= whole;
        }
        let sum = (less as f32).mul_add(w.zero(row, block) as f32, sum as f32);
        acc[lane] = sum.mul_add(w.scale(row, block) * unit, acc[lane]);
    }
    acc
}

/// The least power of two of which the largest of a block is at most 8,355,711 times: what three signed digits to the base 256
/// can write; at least 2^-122, and never finer than 2^-23 of the power of two above the largest.
fn unit(x: &[f32]) -> f32 {
    if x.iter().any(|x| !x.is_finite()) {
        return f32::NAN;
    }
    let largest = x.iter().fold(0f64, |largest, x| largest.max(x.abs() as f64));
    let mut unit = 2f64.powi(-122);
    while largest / unit > 8_355_711.0 {
        unit *= 2.0;
    }
    unit as f32
}

fn exact(w: &Weights, row: usize, x: &[f32]) -> (f64, f64) {
    let terms = (0..w.inputs).map(|i| w.raw(row, i) as f64 * w.scale(row, i) as f64 * x[i] as f64);
    terms.fold((0.0, 0.0), |(sum, size), t| (sum + t, size + t.abs()))
}

#[test]
fn follows_the_contract_in_every_encoding_on_every_instruction_set() {
    let mut r = Random(1);
    for kind in kinds() {
        for (outputs, inputs) in [(1, 2), (3, 16), (9, 30), (8, 32), (21, 64), (5, 576), (13, 2050), (2, 4128)] {
            let w = Weights::random(kind, outputs, inputs, &mut r);
            for rows in [1, 2, 3, 4, 7, 16] {
                let x = r.floats(rows * inputs);
                let bias = r.floats(outputs);
                let want: Vec<f32> = (0..rows * outputs)
                    .map(|i| oracle(&w, i % outputs, &x[i / outputs * inputs..]) + bias[i % outputs])
                    .collect();
                for isa in isas() {
                    let machine = Machine::new(isa, 1).unwrap();
                    let got = multiply(&machine, &[w.tile()], &x, rows, Some(&bias), false);
                    assert_eq!(bits(&got), bits(&want), "{kind:?} {outputs} x {inputs}, {rows} rows, {isa:?}");
                }
            }
        }
    }
}

#[test]
fn is_close_to_the_exact_sum() {
    let mut r = Random(2);
    let machine = Machine::new(Isa::detect(), 2).unwrap();
    for kind in kinds() {
        let w = Weights::random(kind, 40, 2048, &mut r);
        let x = r.floats(2048);
        for (row, y) in multiply(&machine, &[w.tile()], &x, 1, None, false).iter().enumerate() {
            let (sum, size) = exact(&w, row, &x);
            assert!((*y as f64 - sum).abs() <= 1e-6 * size, "{kind:?}: {y} {sum}");
        }
    }
}

#[test]
fn activations_of_any_size_are_multiplied_as_precisely() {
    let mut r = Random(6);
    for kind in kinds() {
        let w = Weights::random(kind, 5, 192, &mut r);
        // from the smallest to the largest numbers, blocks of zeros, and one input far above the others
        for (power, outlier) in [(-149, 1.0), (-126, 1.0), (-100, 1e3), (0, 1e6), (60, 1.0), (100, 1e-6)] {
            let mut x: Vec<f32> = r.floats(192).iter().map(|x| (*x as f64 * 2f64.powi(power)) as f32).collect();
            x[..BLOCK].fill(0.0);
            x[100] *= outlier;
            let want: Vec<f32> = (0..5).map(|row| oracle(&w, row, &x)).collect();
            for isa in isas() {
                let machine = Machine::new(isa, 1).unwrap();
                let got = multiply(&machine, &[w.tile()], &x, 1, None, false);
                assert_eq!(bits(&got), bits(&want), "{kind:?} 2^{power} {isa:?}");
                for (row, y) in got.iter().enumerate() {
                    let (sum, size) = exact(&w, row, &x);
                    // of nibbles also half a unit for each input: 2^-23 of the largest of its block
                    let largest = |i: usize| x[i / BLOCK * BLOCK..][..BLOCK].iter().fold(0f32, |m, x| m.max(x.abs()));
                    let units: f64 = (0..192).map(|i| (w.raw(row, i) * w.scale(row, i) * largest(i)).abs() as f64).sum();
                    let most = 1e-6 * size + units * 2f64.powi(-23) + 1e-36;
                    assert!((*y as f64 - sum).abs() <= most, "{kind:?} 2^{power}: {y} {sum}");
                }
            }
        }
    }
}

#[test]
fn does_not_depend_on_threads_tiles_or_the_other_rows() {
    let mut r = Random(3);
    let (one, three) = (Machine::new(Isa::detect(), 1).unwrap(), Machine::new(Isa::detect(), 3).unwrap());
    for kind in kinds() {
        let w = Weights::random(kind, 700, 320, &mut r);
        let x = r.floats(16 * 320);
        let all = multiply(&one, &[w.tile()], &x, 16, None, false);
        assert_eq!(bits(&all), bits(&multiply(&three, &[w.tile()], &x, 16, None, false)));
        assert_eq!(
            bits(&all),
            bits(&multiply(
                &three,
                &[w.part(0, 4), w.part(4, 106), w.part(106, 700)],
                &x,
                16,
                None,
                false
            ))
        );
        for row in 0..16 {
            let alone = multiply(&three, &[w.tile()], &x[row * 320..][..320], 1, None, false);
            assert_eq!(bits(&alone), bits(&all[row * 700..][..700]), "{kind:?} row {row}");
        }
    }
}

#[test]
fn several_products_share_one_call_and_leave_the_rest_of_y_alone() {
    let mut r = Random(4);
    let machine = Machine::new(Isa::detect(), 2).unwrap();
    let (a, b) = (
        Weights::random(kinds()[2], 33, 96, &mut r),
        Weights::random(kinds()[9], 10, 96, &mut r),
    );
    let x = r.floats(5 * 96);
    let (mut ya, mut yb) = (vec![7f32; 5 * 40], vec![7f32; 5 * 10]);
    let (ta, tb) = ([a.tile()], [b.tile()]);
    let mut products = [
        Product {
            tiles: &ta,
            bias: None,
            y: &mut ya,
            stride: 40,
        },
        Product {
            tiles: &tb,
            bias: None,
            y: &mut yb,
            stride: 10,
        },
    ];
    linear(&machine, &x, 5, &mut products).unwrap();
    let alone = multiply(&machine, &ta, &x, 5, None, false);
    for row in 0..5 {
        assert_eq!(ya[row * 40..][..33], alone[row * 33..][..33]);
        assert!(ya[row * 40 + 33..(row + 1) * 40].iter().all(|v| *v == 7.0));
    }
    assert_eq!(yb, multiply(&machine, &tb, &x, 5, None, false));
}

#[test]
fn nan_and_infinity_reach_the_outputs_that_they_belong_to() {
    let mut r = Random(5);
    let machine = Machine::new(Isa::detect(), 1).unwrap();
    for kind in kinds().into_iter().filter(|(_, scale, _)| scale.is_some()) {
        let w = Weights::random(kind, 9, 70, &mut r);
        for bad in [f32::NAN, f32::INFINITY] {
            let mut x = r.floats(2 * 70);
            x[70 + 40] = bad;
            let y = multiply(&machine, &[w.tile()], &x, 2, None, false);
            assert!(y[..9].iter().all(|y| y.is_finite()), "{kind:?}");
            assert!(y[9..].iter().all(|y| !y.is_finite()), "{kind:?}");
        }
    }
    let mut w = Weights::random(kinds()[0], 9, 70, &mut r);
    w.bytes[70 * 4 * 3 + 69 * 4..][..4].copy_from_slice(&f32::NAN.to_le_bytes());
    w.bytes[70 * 4 * 5..][..4].copy_from_slice(&f32::INFINITY.to_le_bytes());
    let mut x = r.floats(2 * 70);
    x[0] = 1.0;
    x[70] = f32::NAN;
    let y = multiply(&machine, &[w.tile()], &x, 2, None, false);
    for o in 0..9 {
        assert_eq!((y[o].is_nan(), y[o] == f32::INFINITY), (o == 3, o == 5), "{o}");
        assert!(y[9 + o].is_nan());
    }
}

#[test]
fn refuses_shapes_that_cannot_be() {
    let machine = Machine::new(Isa::detect(), 1).unwrap();
    let bytes = [0u8; 64];
    let code = |t: masset_core::Result<Tile>| t.unwrap_err().code;
    assert_eq!(code(Tile::new(Encoding::F32, (0, 16), &[], None, None)), Code::BadInput);
    assert_eq!(code(Tile::new(Encoding::F32, (1, 17), &bytes, None, None)), Code::BadInput);
    assert_eq!(code(Tile::new(Encoding::F32, (usize::MAX, 8), &bytes, None, None)), Code::BadInput);
    assert_eq!(code(Tile::new(Encoding::I4, (1, 31), &bytes[..16], None, None)), Code::BadInput);
    assert_eq!(code(Tile::new(Encoding::I8, (2, 32), &bytes, None, None)), Code::BadInput);
    assert_eq!(
        code(Tile::new(Encoding::I8, (2, 32), &bytes, Some((ScaleType::F16, &bytes[..5])), None)),
        Code::BadInput
    );
    assert_eq!(
        code(Tile::new(
            Encoding::Bf16,
            (1, 32),
            &bytes,
            Some((ScaleType::F16, &bytes[..2])),
            None
        )),
        Code::BadInput
    );
    let tile = Tile::new(Encoding::F32, (2, 8), &bytes, None, None).unwrap();
    let mut y = [0f32; 4];
    let mut call = |x: &[f32], rows, stride, bias| {
        linear(
            &machine,
            x,
            rows,
            &mut [Product {
                tiles: &[tile],
                bias,
                y: &mut y,
                stride,
            }],
        )
    };
    let x = [0f32; 17 * 8];
    assert!(call(&x[..16], 2, 2, None).is_ok());
    assert!(call(&x[..8], 0, 2, None).is_err());
    assert!(call(&x, 17, 2, None).is_err());
    assert!(call(&x[..15], 2, 2, None).is_err());
    assert!(call(&x[..16], 2, 1, None).is_err());
    assert!(call(&x[..16], 2, usize::MAX, None).is_err());
    assert!(call(&x[..24], 3, 2, None).is_err());
    assert!(call(&x[..16], 2, 2, Some(&[0.0])).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn hostile_numbers_are_errors_never_panics(
        kind in 0..kinds().len(), rows in any::<usize>(), inputs in any::<usize>(), len in 0usize..300,
        scales in 0usize..40, zeros in proptest::option::of(0usize..20), small in any::<bool>(),
        x in 0usize..200, x_rows in any::<usize>(), stride in any::<usize>(), y in 0usize..100,
    ) {
        let (encoding, scale, _) = kinds()[kind];
        let (rows, inputs, x_rows, stride) = if small { (rows % 5, inputs % 40, x_rows % 18, stride % 20) } else { (rows, inputs, x_rows, stride) };
        // the right length half of the time, where there is one
        let need = encoding.row_bytes(inputs).and_then(|b| b.checked_mul(rows)).filter(|n| *n < 2000).unwrap_or(len);
        let (bytes, scale_bytes, zero_bytes) = (vec![0; if len % 2 == 0 { need } else { len }], vec![0; 1000], vec![0; 100]);
        let blocks = rows.saturating_mul(inputs.div_ceil(BLOCK));
        let fit = |n: usize, else_: usize| if len % 2 == 0 && n < 100 { n } else { else_ };
        let scales = scale.map(|s| (s, &scale_bytes[..fit(blocks.saturating_mul(s.bytes()), scales)]));
        let zeros = zeros.map(|z| &zero_bytes[..z]);
        if let Ok(tile) = Tile::new(encoding, (rows, inputs), &bytes, scales, zeros) {
            let machine = Machine::new(Isa::detect(), 1).unwrap();
            let x = vec![0f32; fit(x_rows.saturating_mul(inputs), x).min(1000)];
            let mut y = vec![0f32; y];
            let _ = linear(&machine, &x, x_rows, &mut [Product { tiles: &[tile], bias: None, y: &mut y, stride }]);
        }
    }
}
