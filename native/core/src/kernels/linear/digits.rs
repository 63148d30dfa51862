//! Activations as whole numbers: what weights of nibbles are multiplied with.
use crate::kernels::isa::Job;
use crate::kernels::lanes::Lanes;
use crate::kernels::machine::{Machine, Scratch, SMALL};
use crate::kernels::BLOCK;
use crate::Result;

/// Inputs of a [`Digits`]: the nibbles of 64 bytes.
pub(crate) const SPAN: usize = 4 * BLOCK;

/// The largest whole number of three signed digits to the base 256.
const LARGEST: f32 = 8_355_711.0;

/// The exponent that float32 stores for the least power of two that a block's unit is made from: below it, units would be lost.
const LEAST: u32 = 27;

/// 128 inputs of a row of x. Each block of 32 has a unit, a power of two, of which its inputs are whole multiples (rounded to
/// nearest even) of at most three signed digits to the base 256: as fine as float32 can write the largest of them, or half that.
/// Lane l of what has 16 lanes is about the inputs 8 l to 8 l + 7.
#[repr(C, align(64))]
pub(crate) struct Digits {
    /// the highest digits of the inputs with even numbers, then those with odd ones; the middle digits; the lowest
    pub(crate) digits: [[i8; 64]; 6],
    /// -8 times the sum of a lane's whole numbers
    pub(crate) less_eight: [i32; 16],
    /// minus that sum
    pub(crate) less_one: [f32; 16],
    /// the unit, or NaN where an input of the block is not finite
    pub(crate) unit: [f32; 16],
}

/// Elements of float32 that take as much memory.
const SIZE: usize = size_of::<Digits>() / size_of::<f32>();

/// All rows of x as digits.
pub(crate) struct DigitRows<'a>(Scratch<'a>);

impl<'a> DigitRows<'a> {
    /// x: (rows, inputs); a row is filled up with zeros to whole spans.
    pub(crate) fn new(machine: &'a Machine, x: &[f32], inputs: usize) -> Result<Self> {
        let spans = inputs.div_ceil(SPAN);
        let mut scratch = machine.scratch(x.len() / inputs * spans * SIZE);
        machine.rows(&mut scratch, SIZE, SMALL, &|first, piece| {
            machine.found().run(Fill {
                x,
                inputs,
                first,
                out: piece,
            });
        })?;
        Ok(DigitRows(scratch))
    }

    /// (rows, spans)
    pub(crate) fn get(&self) -> &[Digits] {
        let len = self.0.len() / SIZE;
        // SAFETY: scratch memory starts on a cache line, holds that many, and any bits make a `Digits`.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast(), len) }
    }
}

struct Fill<'a> {
    x: &'a [f32],
    inputs: usize,
    /// the first span to fill, counted over all rows
    first: usize,
    out: &'a mut [f32],
}

impl Job for Fill<'_> {
    type Out = ();
    #[inline(always)]
    fn run<S: Lanes>(self, _s: S) {
        let spans = self.inputs.div_ceil(SPAN);
        for (index, out) in self.out.chunks_exact_mut(SIZE).enumerate() {
            let (row, span) = ((self.first + index) / spans, (self.first + index) % spans);
            let x = &self.x[row * self.inputs..][..self.inputs];
            // SAFETY: as in `get`; scratch memory is cut at multiples of SIZE.
            let out = unsafe { &mut *out.as_mut_ptr().cast::<Digits>() };
            for block in 0..SPAN / BLOCK {
                let part = &x[x.len().min(span * SPAN + block * BLOCK)..];
                if let Some(whole) = part.first_chunk() {
                    fill(whole, block, out);
                } else {
                    let mut padded = [0.0; BLOCK];
                    padded[..part.len()].copy_from_slice(part);
                    fill(&padded, block, out);
                }
            }
        }
    }
}

/// One block.
#[inline(always)]
fn fill(x: &[f32; BLOCK], block: usize, out: &mut Digits) {
    // of floats without their sign, the bits are in the same order
    let mut largest = 0u32;
    for v in x {
        largest = largest.max(v.to_bits() & 0x7fff_ffff);
    }
    let (mut times, mut unit) = (0.0, f32::NAN);
    if largest < f32::INFINITY.to_bits() {
        // 2^exponent is just above the largest, so that its multiple has 23 bits
        let exponent = (largest >> 23).max(LEAST);
        times = f32::from_bits((276 - exponent) << 23);
        unit = f32::from_bits((exponent - 22) << 23);
        if f32::from_bits(largest) * times > LARGEST {
            (times, unit) = (times * 0.5, unit * 2.0);
        }
    }
    let mut wholes = [0i32; BLOCK];
    if unit.is_finite() {
        for (whole, v) in wholes.iter_mut().zip(x) {
            // SAFETY: finite, and at most 2^23
            *whole = unsafe { (v * times).round_ties_even().to_int_unchecked() };
        }
    }
    for lane in 0..4 {
        let mut sum = 0i32;
        for whole in &wholes[8 * lane..8 * lane + 8] {
            sum += whole;
        }
        out.less_eight[4 * block + lane] = -8 * sum;
        out.less_one[4 * block + lane] = -sum as f32;
        out.unit[4 * block + lane] = unit;
    }
    for odd in 0..2 {
        for at in 0..16 {
            let whole = wholes[2 * at + odd];
            let low = whole as i8;
            let rest = (whole - i32::from(low)) >> 8;
            let middle = rest as i8;
            let high = (rest - i32::from(middle)) >> 8;
            out.digits[odd][16 * block + at] = high as i8;
            out.digits[2 + odd][16 * block + at] = middle;
            out.digits[4 + odd][16 * block + at] = low;
        }
    }
}
