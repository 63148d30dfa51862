use crate::kernels::lanes::avx512::Avx512;
use crate::kernels::Tile;
use std::arch::x86_64::{__m512, __m512i};

/// A way of multiplying 32 inputs of 16 rows by a weight's. Methods may be called only within `enter`.
pub(crate) trait Dot: Sized + Send + Sync {
    /// words of 32 inputs
    const GROUPS: usize;
    /// words of 32 inputs of one row of x, with what `encode` adds to them
    const WORDS: usize;
    /// whether each block of a weight has a scale
    const SCALED: bool;
    /// sums of 16 rows within a block
    type Sums: Copy;

    /// Runs a task where the compiler may use the processor's instructions for it; the processor must know them.
    fn enter<T: Task>(task: T);

    /// `count` blocks of a row of weights from `first` on, as words; the last one may be short. Those beyond the row are such
    /// that zeros of x make nothing of them.
    ///
    /// # Safety
    /// The tile must have the row and blocks, and `out` room for count * GROUPS words.
    unsafe fn weights(tile: &Tile, row: usize, first: usize, count: usize, out: *mut u32);

    /// 32 inputs of one row of x as words.
    unsafe fn encode(x: &[f32; 32], out: &mut [u32; 16]);

    /// Where sums of a block start: 16 rows, whose words are `stride` apart, and whose runs so far are `total`.
    ///
    /// # Safety
    /// A block of packed x must be there.
    unsafe fn start(total: __m512, x: *const f32, stride: usize) -> Self::Sums;

    /// Adds the products of a weight's word and those of 16 rows.
    unsafe fn add(sums: Self::Sums, weight: __m512i, x: __m512i) -> Self::Sums;

    /// `total` with the sums of a block, of which the weight has this scale.
    ///
    /// # Safety
    /// As `start`.
    unsafe fn end(total: __m512, sums: Self::Sums, scale: f32, x: *const f32, stride: usize) -> __m512;
}

/// Something to do with a processor's instructions; `run` must be `#[inline(always)]`.
pub(crate) trait Task {
    fn run(self, s: Avx512);
}
