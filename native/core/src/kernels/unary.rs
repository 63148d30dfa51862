use super::isa::Job;
use super::lanes::{Lanes, LANES};
use super::machine::SMALL;
use super::{math, Machine};
use crate::Result;

/// A function of one number, for [`apply`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unary {
    /// e^x
    Exp,
    /// the error function
    Erf,
    /// hyperbolic tangent
    Tanh,
    /// 1 / (1 + e^-x)
    Sigmoid,
    /// x * sigmoid(x)
    Silu,
    /// x / 2 * (1 + erf(x / sqrt 2))
    Gelu,
    /// x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))
    GeluTanh,
    /// max(x, 0); a NaN stays one
    Relu,
}

/// Replaces every x by the function of it. Each element's bits depend on that element alone.
pub fn apply(machine: &Machine, function: Unary, x: &mut [f32]) -> Result<()> {
    machine.rows(x, LANES, SMALL / 4, &|_, x| match function {
        Unary::Exp => machine.found().run(Each::<Exp>(x, Exp)),
        Unary::Erf => machine.found().run(Each::<Erf>(x, Erf)),
        Unary::Tanh => machine.found().run(Each::<Tanh>(x, Tanh)),
        Unary::Sigmoid => machine.found().run(Each::<Sigmoid>(x, Sigmoid)),
        Unary::Silu => machine.found().run(Each::<Silu>(x, Silu)),
        Unary::Gelu => machine.found().run(Each::<Gelu>(x, Gelu)),
        Unary::GeluTanh => machine.found().run(Each::<GeluTanh>(x, GeluTanh)),
        Unary::Relu => machine.found().run(Each::<Relu>(x, Relu)),
    })
}

trait Map {
    fn map<S: Lanes>(s: S, x: S::F) -> S::F;
}

macro_rules! map {
    ($($name:ident: |$s:ident, $x:ident| $body:expr;)*) => {$(
        struct $name;
        impl Map for $name {
            #[inline(always)]
            fn map<S: Lanes>($s: S, $x: S::F) -> S::F {
                $body
            }
        }
    )*};
}

map! {
    Exp: |s, x| math::exp(s, x);
    Erf: |s, x| math::erf(s, x);
    Tanh: |s, x| math::tanh(s, x);
    Sigmoid: |s, x| math::sigmoid(s, x);
    Silu: |s, x| s.mul(x, math::sigmoid(s, x));
    Gelu: |s, x| {
        let e = math::erf(s, s.mul(x, s.splat(std::f32::consts::FRAC_1_SQRT_2)));
        s.mul(s.mul(x, s.splat(0.5)), s.add(s.splat(1.0), e))
    };
    GeluTanh: |s, x| {
        let cube = s.mul(s.mul(x, x), x);
        let inner = s.mul(s.splat(0.797_884_6), s.fma(s.splat(0.044_715), cube, x));
        s.mul(s.mul(x, s.splat(0.5)), s.add(s.splat(1.0), math::tanh(s, inner)))
    };
    Relu: |s, x| s.less(x, s.splat(0.0), s.splat(0.0), x);
}

struct Each<'a, M>(&'a mut [f32], M);

impl<M: Map> Job for Each<'_, M> {
    type Out = ();
    #[inline(always)]
    fn run<S: Lanes>(self, s: S) {
        let Each(x, _) = self;
        let mut at = 0;
        while at < x.len() {
            let part = &mut x[at..];
            // SAFETY: 16 elements are there to read and to write, in the slice or in the padded copy of its end.
            unsafe {
                if part.len() >= LANES {
                    s.store(part.as_mut_ptr(), M::map(s, s.load(part.as_ptr())));
                } else {
                    let mut padded = [0f32; LANES];
                    padded[..part.len()].copy_from_slice(part);
                    s.store(padded.as_mut_ptr(), M::map(s, s.load(padded.as_ptr())));
                    part.copy_from_slice(&padded[..part.len()]);
                }
            }
            at += LANES;
        }
    }
}
