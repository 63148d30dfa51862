use super::isa::Job;
use super::lanes::{Lanes, LANES};
use super::machine::SMALL;
use super::{row, Machine};
use crate::{Error, Result};

/// y = x / sqrt(mean(x^2) + epsilon) * weight, for every row of x (rows, width), width being the weight's length.
/// Errors: BadInput if lengths do not match.
pub fn rms_norm(machine: &Machine, x: &[f32], weight: &[f32], epsilon: f32, y: &mut [f32]) -> Result<()> {
    check(x, weight, None, y)?;
    let width = weight.len();
    machine.rows(y, width, SMALL, &|first, y| {
        machine.found().run(Rms {
            x: &x[first * width..][..y.len()],
            weight,
            epsilon,
            y,
        });
    })
}

/// y = (x - mean(x)) / sqrt(mean((x - mean)^2) + epsilon) * weight (+ bias), for every row of x (rows, width).
/// Errors: BadInput if lengths do not match.
pub fn layer_norm(machine: &Machine, x: &[f32], weight: &[f32], bias: Option<&[f32]>, epsilon: f32, y: &mut [f32]) -> Result<()> {
    check(x, weight, bias, y)?;
    let width = weight.len();
    machine.rows(y, width, SMALL, &|first, y| {
        machine.found().run(Layer {
            x: &x[first * width..][..y.len()],
            weight,
            bias,
            epsilon,
            y,
        });
    })
}

fn check(x: &[f32], weight: &[f32], bias: Option<&[f32]>, y: &[f32]) -> Result<()> {
    let width = weight.len();
    let fits = width > 0 && x.len().is_multiple_of(width) && x.len() == y.len();
    if !fits || bias.is_some_and(|b| b.len() != width) {
        let what = format!("x has {} elements, y {}, the weight {width}", x.len(), y.len());
        return Err(Error::bad(format!("Cannot normalise rows: {what}")));
    }
    Ok(())
}

struct Rms<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    epsilon: f32,
    y: &'a mut [f32],
}

impl Job for Rms<'_> {
    type Out = ();
    #[inline(always)]
    fn run<S: Lanes>(self, s: S) {
        let width = self.weight.len();
        let mut start = 0;
        while start < self.x.len() {
            let (x, y) = (&self.x[start..start + width], &mut self.y[start..start + width]);
            let mut acc = s.splat(0.0);
            let mut at = 0;
            while at < width {
                let v = row::load(s, x, at, 0.0);
                acc = s.fma(v, v, acc);
                at += LANES;
            }
            let scale = s.splat(1.0 / (s.sum(acc) / width as f32 + self.epsilon).sqrt());
            let mut at = 0;
            while at < width {
                let v = s.mul(row::load(s, x, at, 0.0), scale);
                row::store(s, y, at, s.mul(v, row::load(s, self.weight, at, 0.0)));
                at += LANES;
            }
            start += width;
        }
    }
}

struct Layer<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    bias: Option<&'a [f32]>,
    epsilon: f32,
    y: &'a mut [f32],
}

impl Job for Layer<'_> {
    type Out = ();
    #[inline(always)]
    fn run<S: Lanes>(self, s: S) {
        let width = self.weight.len();
        let mut start = 0;
        while start < self.x.len() {
            let (x, y) = (&self.x[start..start + width], &mut self.y[start..start + width]);
            let mut acc = s.splat(0.0);
            let mut at = 0;
            while at < width {
                acc = s.add(acc, row::load(s, x, at, 0.0));
                at += LANES;
            }
            let mean = s.sum(acc) / width as f32;
            let mut acc = s.splat(0.0);
            let mut at = 0;
            while at < width {
                // the end is filled with the mean, so that it adds nothing
                let v = s.sub(row::load(s, x, at, mean), s.splat(mean));
                acc = s.fma(v, v, acc);
                at += LANES;
            }
            let scale = s.splat(1.0 / (s.sum(acc) / width as f32 + self.epsilon).sqrt());
            let mut at = 0;
            while at < width {
                let v = s.mul(s.sub(row::load(s, x, at, 0.0), s.splat(mean)), scale);
                let v = match self.bias {
                    Some(bias) => s.fma(v, row::load(s, self.weight, at, 0.0), row::load(s, bias, at, 0.0)),
                    None => s.mul(v, row::load(s, self.weight, at, 0.0)),
                };
                row::store(s, y, at, v);
                at += LANES;
            }
            start += width;
        }
    }
}
