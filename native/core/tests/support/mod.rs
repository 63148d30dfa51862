//! Random weights in every encoding, and how to read them the slow way.
#![allow(dead_code)] // each test binary uses its part
use half::{bf16, f16};
use masset_core::kernels::*;

/// A small generator, so that tests need no files and repeat.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// -1 to 1
    pub fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    pub fn floats(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.unit()).collect()
    }
}

/// Every encoding that can be, with every kind of scale and zero point.
pub fn kinds() -> Vec<(Encoding, Option<ScaleType>, bool)> {
    let mut kinds = vec![
        (Encoding::F32, None, false),
        (Encoding::F16, None, false),
        (Encoding::Bf16, None, false),
    ];
    for encoding in [Encoding::I8, Encoding::I4, Encoding::U4] {
        for scale in [ScaleType::F32, ScaleType::F16, ScaleType::Bf16] {
            kinds.extend([(encoding, Some(scale), false), (encoding, Some(scale), true)]);
        }
    }
    kinds
}

/// Weights with their bytes.
pub struct Weights {
    pub encoding: Encoding,
    pub rows: usize,
    pub inputs: usize,
    pub bytes: Vec<u8>,
    pub scales: Option<(ScaleType, Vec<u8>)>,
    pub zeros: Option<Vec<u8>>,
}

impl Weights {
    pub fn random(kind: (Encoding, Option<ScaleType>, bool), rows: usize, inputs: usize, r: &mut Random) -> Weights {
        let (encoding, scale, zeros) = kind;
        let mut bytes = Vec::new();
        let count = rows * inputs;
        match encoding {
            Encoding::F32 => bytes.extend(r.floats(count).iter().flat_map(|v| v.to_le_bytes())),
            Encoding::F16 => bytes.extend(r.floats(count).iter().flat_map(|v| f16::from_f32(*v).to_le_bytes())),
            Encoding::Bf16 => bytes.extend(r.floats(count).iter().flat_map(|v| bf16::from_f32(*v).to_le_bytes())),
            _ => bytes.extend((0..encoding.row_bytes(count).unwrap()).map(|_| r.next() as u8)),
        }
        let blocks = rows * inputs.div_ceil(BLOCK);
        let scales = scale.map(|kind| {
            let values = (0..blocks).map(|_| r.unit() * 0.01);
            let bytes = values.flat_map(|v| match kind {
                ScaleType::F32 => v.to_le_bytes().to_vec(),
                ScaleType::F16 => f16::from_f32(v).to_le_bytes().to_vec(),
                ScaleType::Bf16 => bf16::from_f32(v).to_le_bytes().to_vec(),
            });
            (kind, bytes.collect())
        });
        let len = if encoding == Encoding::I8 { blocks } else { blocks.div_ceil(2) };
        let zeros = zeros.then(|| (0..len).map(|_| r.next() as u8).collect());
        Weights {
            encoding,
            rows,
            inputs,
            bytes,
            scales,
            zeros,
        }
    }

    pub fn tile(&self) -> Tile<'_> {
        let scales = self.scales.as_ref().map(|(kind, bytes)| (*kind, &bytes[..]));
        Tile::new(self.encoding, (self.rows, self.inputs), &self.bytes, scales, self.zeros.as_deref()).unwrap()
    }

    /// Some of the rows as a tile of their own; of 4-bit zero points only from an even place on.
    pub fn part(&self, start: usize, end: usize) -> Tile<'_> {
        let (row, blocks) = (self.encoding.row_bytes(self.inputs).unwrap(), self.inputs.div_ceil(BLOCK));
        let scales = self
            .scales
            .as_ref()
            .map(|(kind, b)| (*kind, &b[start * blocks * kind.bytes()..end * blocks * kind.bytes()]));
        let zeros = self.zeros.as_ref().map(|z| match self.encoding {
            Encoding::I8 => &z[start * blocks..end * blocks],
            _ => &z[start * blocks / 2..(end * blocks).div_ceil(2)],
        });
        Tile::new(
            self.encoding,
            (end - start, self.inputs),
            &self.bytes[start * row..end * row],
            scales,
            zeros,
        )
        .unwrap()
    }

    /// q - zero point, or the weight itself
    pub fn raw(&self, row: usize, input: usize) -> f32 {
        let at = row * self.inputs + input;
        match self.encoding {
            Encoding::F32 => f32::from_le_bytes(self.bytes[at * 4..][..4].try_into().unwrap()),
            Encoding::F16 => f16::from_le_bytes(self.bytes[at * 2..][..2].try_into().unwrap()).to_f32(),
            Encoding::Bf16 => bf16::from_le_bytes(self.bytes[at * 2..][..2].try_into().unwrap()).to_f32(),
            _ => (self.unshifted(row, input) - self.zero(row, input)) as f32,
        }
    }

    /// q
    pub fn unshifted(&self, row: usize, input: usize) -> i32 {
        self.whole(&self.bytes, row * self.inputs + input)
    }

    /// the zero point of an input's block
    pub fn zero(&self, row: usize, input: usize) -> i32 {
        self.zeros.as_ref().map_or(0, |z| self.whole(z, self.block(row, input)))
    }

    fn whole(&self, bytes: &[u8], at: usize) -> i32 {
        let nibble = |at: usize| (bytes[at / 2] >> (4 * (at % 2)) & 15) as i32;
        match self.encoding {
            Encoding::I8 => bytes[at] as i8 as i32,
            Encoding::I4 => (nibble(at) ^ 8) - 8,
            _ => nibble(at),
        }
    }

    pub fn scale(&self, row: usize, input: usize) -> f32 {
        let at = self.block(row, input);
        self.scales.as_ref().map_or(1.0, |(kind, b)| match kind {
            ScaleType::F32 => f32::from_le_bytes(b[at * 4..][..4].try_into().unwrap()),
            ScaleType::F16 => f16::from_le_bytes(b[at * 2..][..2].try_into().unwrap()).to_f32(),
            ScaleType::Bf16 => bf16::from_le_bytes(b[at * 2..][..2].try_into().unwrap()).to_f32(),
        })
    }

    fn block(&self, row: usize, input: usize) -> usize {
        row * self.inputs.div_ceil(BLOCK) + input / BLOCK
    }
}

/// Every instruction set of this machine.
pub fn isas() -> Vec<Isa> {
    Isa::ALL.into_iter().filter(|isa| isa.is_supported()).collect()
}

/// Bits, all NaN taken as one.
pub fn bits(values: &[f32]) -> Vec<u32> {
    values
        .iter()
        .map(|v| if v.is_nan() { f32::NAN.to_bits() } else { v.to_bits() })
        .collect()
}

/// y of one product that holds all of w, as `compute` fills it.
pub fn product(w: &[Tile], rows: usize, bias: Option<&[f32]>, compute: impl FnOnce(&mut [Product]) -> masset_core::Result<()>) -> Vec<f32> {
    let outputs: usize = w.iter().map(Tile::rows).sum();
    let mut y = vec![f32::NAN; rows * outputs];
    let mut products = [Product {
        tiles: w,
        bias,
        y: &mut y,
        stride: outputs,
    }];
    compute(&mut products).unwrap();
    y
}

/// x w' + bias for one product that holds all of w.
pub fn multiply(machine: &Machine, w: &[Tile], x: &[f32], rows: usize, bias: Option<&[f32]>, prefill: bool) -> Vec<f32> {
    product(w, rows, bias, |products| match prefill {
        true => gemm(machine, x, rows, products, Precision::Exact),
        false => linear(machine, x, rows, products),
    })
}
