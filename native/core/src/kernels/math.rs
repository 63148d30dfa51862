//! exp, tanh, erf and their kin on sixteen lanes: one order of operations for all instruction sets, exp, tanh and erf
//! within 1.3 units in the last place, sigmoid within 2.1. Coefficients: minimax fits of these forms (Lawson's iteration, in double precision).
use super::lanes::Lanes;

/// Adding it rounds a number below 2^22 to a whole one, to nearest even.
const ROUND: f32 = 12_582_912.0;

#[inline(always)]
pub(crate) fn abs<S: Lanes>(s: S, x: S::F) -> S::F {
    s.float(s.and(s.bits(x), s.splat_bits(0x7fff_ffff)))
}

/// |x| with the sign of y, for x >= 0
#[inline(always)]
fn signed<S: Lanes>(s: S, x: S::F, y: S::F) -> S::F {
    s.float(s.or(s.bits(x), s.and(s.bits(y), s.splat_bits(0x8000_0000))))
}

/// Horner, highest coefficient first.
#[inline(always)]
fn polynomial<S: Lanes, const N: usize>(s: S, x: S::F, coefficients: [f32; N]) -> S::F {
    let mut p = s.splat(coefficients[0]);
    let mut i = 1;
    while i < N {
        p = s.fma(p, x, s.splat(coefficients[i]));
        i += 1;
    }
    p
}

/// 2^n for whole n from -126 to 127
#[inline(always)]
fn power_of_two<S: Lanes>(s: S, n: S::F) -> S::F {
    // 2^23 + 127 + n holds the exponent field in its low bits
    s.float(s.shl23(s.bits(s.add(n, s.splat(8_388_608.0 + 127.0)))))
}

#[inline(always)]
pub(crate) fn exp<S: Lanes>(s: S, x: S::F) -> S::F {
    let (low, high, round) = (s.splat(-105.0), s.splat(89.0), s.splat(ROUND));
    // beyond these it is 0 or infinity; a NaN passes both
    let x = s.less(x, low, low, x);
    let x = s.less(high, x, high, x);
    let n = s.sub(s.fma(x, s.splat(std::f32::consts::LOG2_E), round), round);
    // ln 2 in two parts: its float32, and what that is too large
    let r = s.fma(n, s.splat(-std::f32::consts::LN_2), x);
    let r = s.fma(n, s.splat(1.904_654_2e-9), r);
    let q = polynomial(s, r, [0.001_395_063_1, 0.008_368_97, 0.041_666_2, 0.166_665_18, 0.5]);
    let p = s.add(s.fma(q, s.mul(r, r), r), s.splat(1.0));
    // in two steps, so that neither power overflows and a subnormal result is rounded once
    let half = s.sub(s.fma(n, s.splat(0.5), round), round);
    s.mul(s.mul(p, power_of_two(s, half)), power_of_two(s, s.sub(n, half)))
}

#[inline(always)]
pub(crate) fn tanh<S: Lanes>(s: S, x: S::F) -> S::F {
    let (t, z, one) = (abs(s, x), s.mul(x, x), s.splat(1.0));
    let p = polynomial(s, z, [-0.005_529_074_5, 0.020_483_8, -0.053_693_153, 0.133_309_02, -0.333_332_63]);
    let small = s.fma(s.mul(p, z), t, t);
    let large = s.sub(one, s.div(s.splat(2.0), s.add(exp(s, s.add(t, t)), one)));
    signed(s, s.less(t, s.splat(0.625), small, large), x)
}

#[inline(always)]
pub(crate) fn erf<S: Lanes>(s: S, x: S::F) -> S::F {
    let (t, z) = (abs(s, x), s.mul(x, x));
    let p = [
        8.345_246e-5,
        -0.000_813_744_4,
        0.005_200_635,
        -0.026_859_27,
        0.112_836_94,
        -0.376_126_35,
        0.128_379_17,
    ];
    let small = s.fma(polynomial(s, z, p), t, t);
    // -ln(1 - erf t) = t + t P(t); from 4.1 on erf is 1
    let top = s.splat(4.1);
    let u = s.less(top, t, top, t);
    let p = [
        1.077_707_6e-5,
        -0.000_318_184_73,
        0.003_623_376_4,
        -0.023_721_058,
        0.106_188_53,
        0.635_181,
        0.128_641_07,
    ];
    let y = s.fma(polynomial(s, u, p), u, u);
    let large = s.sub(s.splat(1.0), exp(s, s.sub(s.splat(0.0), y)));
    signed(s, s.less(t, s.splat(0.92), small, large), x)
}

/// 1 / (1 + e^-x)
#[inline(always)]
pub(crate) fn sigmoid<S: Lanes>(s: S, x: S::F) -> S::F {
    let (zero, one) = (s.splat(0.0), s.splat(1.0));
    let e = exp(s, s.sub(zero, abs(s, x)));
    s.div(s.less(x, zero, e, one), s.add(one, e))
}
