//! What works on elements and rows, against double precision and across instruction sets and threads.
mod support;
use masset_core::kernels::*;
use proptest::prelude::*;
use support::*;

/// erf by its series, and by the continued fraction of erfc further out.
fn erf(x: f64) -> f64 {
    let t = x.abs();
    let value = if t < 3.0 {
        let (mut term, mut sum, mut n) = (t, t, 0.0);
        while term.abs() > 1e-18 * sum.abs() {
            n += 1.0;
            term *= -t * t / n;
            sum += term / (2.0 * n + 1.0);
        }
        sum * 2.0 / std::f64::consts::PI.sqrt()
    } else {
        let mut f = 0.0;
        for k in (1..=60).rev() {
            f = k as f64 / 2.0 / (t + f);
        }
        1.0 - (-t * t).exp() / std::f64::consts::PI.sqrt() / (t + f)
    };
    value.copysign(x)
}

fn exact(function: Unary, x: f64) -> f64 {
    match function {
        Unary::Exp => x.exp(),
        Unary::Erf => erf(x),
        Unary::Tanh => x.tanh(),
        Unary::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Unary::Silu => x / (1.0 + (-x).exp()),
        Unary::Gelu => 0.5 * x * (1.0 + erf(x * std::f64::consts::FRAC_1_SQRT_2)),
        Unary::GeluTanh => 0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x)).tanh()),
        Unary::Relu => x.max(0.0),
    }
}

const UNARY: [Unary; 8] = [
    Unary::Exp,
    Unary::Erf,
    Unary::Tanh,
    Unary::Sigmoid,
    Unary::Silu,
    Unary::Gelu,
    Unary::GeluTanh,
    Unary::Relu,
];

/// Distance from the truth in units of the last place of the float32 nearest to it.
fn ulps(got: f32, truth: f64) -> f64 {
    let near = truth as f32;
    if got == near || (got.is_nan() && near.is_nan()) {
        return 0.0;
    }
    let unit = (f32::from_bits(near.abs().to_bits() + 1) as f64 - near.abs() as f64).abs();
    (got as f64 - truth).abs() / unit
}

#[test]
fn functions_are_within_about_two_units_of_the_last_place() {
    let machine = Machine::new(Isa::detect(), 2).unwrap();
    // every 4001st float32
    let all: Vec<f32> = (0..u32::MAX / 4001)
        .map(|i| f32::from_bits(i * 4001))
        .filter(|x| !x.is_nan())
        .collect();
    for function in UNARY {
        let mut y = all.clone();
        apply(&machine, function, &mut y).unwrap();
        let mut worst = (0.0, 0.0);
        for (x, y) in all.iter().zip(&y) {
            let truth = exact(function, *x as f64);
            // 1 + erf and 1 + tanh cancel for negative x: the error is relative to x there
            let error = match function {
                Unary::Gelu | Unary::GeluTanh => (*y as f64 - truth).abs() / (x.abs() as f64 * f32::EPSILON as f64).max(1e-45),
                // where the sigmoid is subnormal, its few bits are all there are
                Unary::Silu if *x < -87.0 => (*y as f64 - truth).abs() / 1e-42,
                _ => ulps(*y, truth),
            };
            if x.is_finite() && error > worst.0 {
                worst = (error, *x);
            }
        }
        println!("{function:?}: {worst:?}");
        let limit = match function {
            Unary::Exp | Unary::Erf | Unary::Tanh => 1.5,
            Unary::Sigmoid => 2.1,
            _ => 3.0,
        };
        assert!(worst.0 <= limit, "{function:?}: {worst:?}");
    }
}

#[test]
fn functions_know_their_limits() {
    let machine = Machine::new(Isa::detect(), 1).unwrap();
    let x = [f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 0.0, -0.0, 1e30, -1e30];
    let of = |function| {
        let mut y = x.to_vec();
        apply(&machine, function, &mut y).unwrap();
        y
    };
    assert_eq!(
        bits(&of(Unary::Exp)),
        bits(&[f32::INFINITY, 0.0, f32::NAN, 1.0, 1.0, f32::INFINITY, 0.0])
    );
    assert_eq!(bits(&of(Unary::Erf)), bits(&[1.0, -1.0, f32::NAN, 0.0, -0.0, 1.0, -1.0]));
    assert_eq!(bits(&of(Unary::Tanh)), bits(&[1.0, -1.0, f32::NAN, 0.0, -0.0, 1.0, -1.0]));
    assert_eq!(bits(&of(Unary::Sigmoid)), bits(&[1.0, 0.0, f32::NAN, 0.5, 0.5, 1.0, 0.0]));
    assert_eq!(of(Unary::Relu)[..2], [f32::INFINITY, 0.0]);
    assert!(of(Unary::Relu)[2].is_nan() && of(Unary::Silu)[2].is_nan() && of(Unary::Gelu)[2].is_nan());
    assert_eq!(of(Unary::Silu)[5..], [1e30, 0.0]);
}

#[test]
fn every_function_has_the_same_bits_on_every_instruction_set_and_thread_count() {
    let mut r = Random(1);
    let x: Vec<f32> = (0..70_003)
        .map(|i| f32::from_bits(r.next() as u32) * if i % 2 == 0 { 1.0 } else { 0.0 } + r.unit() * 20.0)
        .collect();
    let b = r.floats(x.len());
    let machines: Vec<Machine> = isas()
        .into_iter()
        .flat_map(|isa| [1, 3].map(|n| Machine::new(isa, n).unwrap()))
        .collect();
    for function in UNARY {
        let of = |machine, x: &[f32]| {
            let mut y = x.to_vec();
            apply(machine, function, &mut y).unwrap();
            bits(&y)
        };
        let want = of(&machines[0], &x);
        assert_eq!(of(&machines[0], &x[..9]), want[..9]);
        for machine in &machines {
            assert!(of(machine, &x) == want, "{function:?} {:?}", machine.isa());
        }
    }
    for (operation, len) in [
        (Binary::Add, 70_003),
        (Binary::Mul, 70_003),
        (Binary::SiluMul, 70_003),
        (Binary::Add, 7),
        (Binary::Mul, 70),
    ] {
        let of = |machine, take: usize| {
            let mut y = x[..take].to_vec();
            combine(machine, operation, &mut y, &b[..len.min(take)]).unwrap();
            bits(&y)
        };
        let take = if len > 100 { 70_003 } else { 70_000 };
        let want = of(&machines[0], take);
        for machine in &machines {
            assert!(of(machine, take) == want, "{operation:?} {:?}", machine.isa());
        }
        for (i, y) in want.iter().enumerate().take(999) {
            let (a, b) = (x[i] as f64, b[i % len] as f64);
            let truth = match operation {
                Binary::Add => a + b,
                Binary::Mul => a * b,
                Binary::SiluMul => a / (1.0 + (-a).exp()) * b,
            };
            assert!(ulps(f32::from_bits(*y), truth) <= 4.0);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn norms_and_softmax_are_close_and_equal_everywhere(rows in 1usize..40, width in 1usize..700, seed in any::<u64>(), offset in -10f32..10.0) {
        let mut r = Random(seed);
        let x: Vec<f32> = r.floats(rows * width).iter().map(|v| v + offset).collect();
        let (weight, bias) = (r.floats(width), r.floats(width));
        let run = |machine: &Machine, x: &[f32]| {
            let (mut a, mut b, mut c) = (vec![0f32; x.len()], vec![0f32; x.len()], x.to_vec());
            rms_norm(machine, x, &weight, 1e-5, &mut a).unwrap();
            layer_norm(machine, x, &weight, Some(&bias), 1e-5, &mut b).unwrap();
            softmax(machine, &mut c, width).unwrap();
            (a, b, c)
        };
        let got = run(&Machine::new(Isa::detect(), 1).unwrap(), &x);
        for isa in isas() {
            let other = run(&Machine::new(isa, 2).unwrap(), &x);
            prop_assert!(bits(&other.0) == bits(&got.0) && bits(&other.1) == bits(&got.1) && bits(&other.2) == bits(&got.2));
        }
        let last = run(&Machine::new(Isa::detect(), 1).unwrap(), &x[(rows - 1) * width..]);
        prop_assert_eq!(&last.2, &got.2[(rows - 1) * width..]);
        prop_assert_eq!(&last.1, &got.1[(rows - 1) * width..]);
        for row in 0..rows {
            let x: Vec<f64> = x[row * width..][..width].iter().map(|v| *v as f64).collect();
            let n = width as f64;
            let mean = x.iter().sum::<f64>() / n;
            let square = x.iter().map(|v| v * v).sum::<f64>() / n;
            let variance = x.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / n;
            let most = x.iter().fold(f64::MIN, |a, b| a.max(*b));
            let total: f64 = x.iter().map(|v| (v - most).exp()).sum();
            for i in 0..width {
                let at = row * width + i;
                let (w, b) = (weight[i] as f64, bias[i] as f64);
                prop_assert!((got.0[at] as f64 - x[i] / (square + 1e-5).sqrt() * w).abs() < 1e-5);
                let spread = (mean.abs() / (variance + 1e-5).sqrt() + 3.0) * 2e-6;
                prop_assert!((got.1[at] as f64 - ((x[i] - mean) / (variance + 1e-5).sqrt() * w + b)).abs() < spread);
                let p = (x[i] - most).exp() / total;
                prop_assert!((got.2[at] as f64 - p).abs() <= 1e-6 * p + 1e-12);
            }
        }
    }

    #[test]
    fn rotary_turns_pairs(rows in 1usize..20, heads in 1usize..5, half in 1usize..70, rest in 0usize..9, seed in any::<u64>()) {
        let mut r = Random(seed);
        let head_dim = 2 * half + rest;
        let x = r.floats(rows * heads * head_dim);
        let angles = r.floats(rows * half);
        let (cos, sin): (Vec<f32>, Vec<f32>) = (angles.iter().map(|a| a.cos()).collect(), angles.iter().map(|a| a.sin()).collect());
        let run = |isa, threads| {
            let mut y = x.clone();
            rotary(&Machine::new(isa, threads).unwrap(), &mut y, Heads { heads, head_dim }, &cos, &sin).unwrap();
            y
        };
        let y = run(Isa::detect(), 2);
        for isa in isas() {
            prop_assert_eq!(bits(&run(isa, 1)), bits(&y));
        }
        for (at, y) in y.iter().enumerate() {
            let (row, d, base) = (at / head_dim / heads, at % head_dim, at / head_dim * head_dim);
            let pair = d % half;
            let (a, b) = (x[base + pair] as f64, x[base + half + pair] as f64);
            let (c, s) = (cos[row * half + pair] as f64, sin[row * half + pair] as f64);
            let want = if d < half { a * c - b * s } else if d < 2 * half { a * s + b * c } else { x[at] as f64 };
            prop_assert!((*y as f64 - want).abs() < 3e-7);
        }
    }

    #[test]
    fn gathers_rows_of_every_encoding(kind in 0..kinds().len(), rows in 1usize..9, pairs in 1usize..1200, seed in any::<u64>()) {
        let mut r = Random(seed);
        let w = Weights::random(kinds()[kind], rows, 2 * pairs, &mut r);
        let ids: Vec<usize> = (0..13).map(|_| r.next() as usize % rows).collect();
        let mut want = Vec::new();
        for id in &ids {
            want.extend((0..2 * pairs).map(|i| if w.scales.is_some() { w.raw(*id, i) * w.scale(*id, i) } else { w.raw(*id, i) }));
        }
        for isa in isas() {
            let mut out = vec![0f32; want.len()];
            gather(&Machine::new(isa, 2).unwrap(), &w.tile(), &ids, &mut out).unwrap();
            prop_assert_eq!(bits(&out), bits(&want));
        }
        let machine = Machine::new(Isa::detect(), 1).unwrap();
        prop_assert!(gather(&machine, &w.tile(), &[rows], &mut vec![0.0; 2 * pairs]).is_err());
        prop_assert!(gather(&machine, &w.tile(), &[0], &mut vec![0.0; 2 * pairs + 1]).is_err());
    }

    #[test]
    fn lengths_that_do_not_fit_are_errors(a in 0usize..40, b in 0usize..40, c in 0usize..40, d in any::<usize>(), e in any::<usize>(), small in any::<bool>()) {
        let machine = Machine::new(Isa::detect(), 1).unwrap();
        let (d, e) = if small { (d % 9, e % 9) } else { (d, e) };
        let (mut x, y, z) = (vec![1f32; a], vec![1f32; b], vec![1f32; c]);
        let _ = combine(&machine, Binary::Add, &mut x, &y);
        let _ = rms_norm(&machine, &y, &z, 1e-5, &mut x);
        let _ = layer_norm(&machine, &y, &z, Some(&y), 1e-5, &mut x);
        let _ = softmax(&machine, &mut x, d);
        let _ = rotary(&machine, &mut x, Heads { heads: d, head_dim: e }, &y, &z);
        let _ = apply(&machine, Unary::Silu, &mut x);
    }
}
