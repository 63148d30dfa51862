use super::dot::Task;
use crate::kernels::gemm::part::Part;
use crate::kernels::lanes::avx512::Avx512;
use crate::kernels::lanes::{Lanes, LANES};
use crate::kernels::linear::Output;
use std::arch::x86_64::*;
use std::ops::Range;

/// Writes sums (outputs of `range`, padded rows) and biases to where they go, 16 outputs of 16 rows at a time.
pub(super) struct Finish<'a> {
    pub(super) part: &'a Part<'a>,
    pub(super) sums: &'a [f32],
    pub(super) range: &'a Range<usize>,
    pub(super) output: &'a Output<'a>,
}

impl Task for Finish<'_> {
    #[inline(always)]
    fn run(self, s: Avx512) {
        let Finish { part, sums, range, output } = self;
        let padded = part.padded();
        let whole = range.len() / LANES * LANES;
        assert!(sums.len() >= range.len() * padded);
        let mut o = 0;
        while o < whole {
            let at = output.first + range.start + o;
            let bias = output.bias.map(|bias| &bias[at..at + LANES]);
            let mut first = 0;
            while first < padded {
                // SAFETY: 16 sums of 16 outputs are there; `check` saw that y has the places of rows up to `count`; each
                // output is in one piece of work only.
                unsafe {
                    let mut square = [s.splat(0.0); LANES];
                    for (k, v) in square.iter_mut().enumerate() {
                        *v = s.load(sums.as_ptr().add((o + k) * padded + first));
                    }
                    let square = transposed(square);
                    for (row, v) in square.into_iter().enumerate().take(part.count - first.min(part.count)) {
                        let v = match bias {
                            Some(bias) => s.add(v, s.load(bias.as_ptr())),
                            None => v,
                        };
                        let place = (part.first + first + row) * output.stride + at;
                        s.store(output.y.piece(place, LANES).as_mut_ptr(), v);
                    }
                }
                first += LANES;
            }
            o += LANES;
        }
        part.finish(&sums[whole * padded..], &(range.start + whole..range.end), output);
    }
}

/// Rows become columns.
#[inline(always)]
unsafe fn transposed(a: [__m512; 16]) -> [__m512; 16] {
    let mut b = a;
    // SAFETY: within `enter`.
    unsafe {
        // pairs of rows, then fours, within each quarter of a vector
        for i in 0..8 {
            b[2 * i] = _mm512_unpacklo_ps(a[2 * i], a[2 * i + 1]);
            b[2 * i + 1] = _mm512_unpackhi_ps(a[2 * i], a[2 * i + 1]);
        }
        let mut c = b;
        for i in 0..4 {
            for half in 0..2 {
                let (x, y) = (_mm512_castps_pd(b[4 * i + half]), _mm512_castps_pd(b[4 * i + 2 + half]));
                c[4 * i + 2 * half] = _mm512_castpd_ps(_mm512_unpacklo_pd(x, y));
                c[4 * i + 2 * half + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(x, y));
            }
        }
        // then the quarters themselves
        let mut d = c;
        for i in 0..4 {
            d[i] = _mm512_shuffle_f32x4::<0x88>(c[i], c[4 + i]);
            d[4 + i] = _mm512_shuffle_f32x4::<0xdd>(c[i], c[4 + i]);
            d[8 + i] = _mm512_shuffle_f32x4::<0x88>(c[8 + i], c[12 + i]);
            d[12 + i] = _mm512_shuffle_f32x4::<0xdd>(c[8 + i], c[12 + i]);
        }
        let mut e = d;
        for i in 0..4 {
            e[i] = _mm512_shuffle_f32x4::<0x88>(d[i], d[8 + i]);
            e[8 + i] = _mm512_shuffle_f32x4::<0xdd>(d[i], d[8 + i]);
            e[4 + i] = _mm512_shuffle_f32x4::<0x88>(d[4 + i], d[12 + i]);
            e[12 + i] = _mm512_shuffle_f32x4::<0xdd>(d[4 + i], d[12 + i]);
        }
        e
    }
}
