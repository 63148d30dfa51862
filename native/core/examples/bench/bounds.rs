//! What the machine can do at best, measured without any of the kernels.
use crate::{seconds, Seconds};
use masset_core::kernels::Machine;
use std::hint::black_box;

/// How long the threads take to read `data`: the best of three ways of going through it.
pub fn read_time(machine: &Machine, data: &[u8]) -> Seconds {
    let times = [1, 2, 4].map(|streams| seconds(|| read(machine, data, streams)));
    times.into_iter().min_by(|a, b| a.wall.total_cmp(&b.wall)).expect("three")
}

fn read(machine: &Machine, data: &[u8], streams: usize) {
    let piece = 256 << 10;
    machine
        .pool()
        .run(data.len() / piece, &|index| {
            black_box(touch(&data[index * piece..(index + 1) * piece], streams));
        })
        .expect("reading");
}

#[cfg(target_arch = "x86_64")]
fn touch(piece: &[u8], streams: usize) -> i64 {
    #[target_feature(enable = "avx512f")]
    unsafe fn wide(piece: &[u8], streams: usize) -> i64 {
        use std::arch::x86_64::*;
        let each = piece.len() / streams;
        let mut sums = [_mm512_setzero_si512(); 4];
        for at in (0..each).step_by(256) {
            for stream in 0..streams {
                // SAFETY: within the piece, whose length is a multiple of 256 times the streams.
                unsafe {
                    let p = piece.as_ptr().add(stream * each + at);
                    _mm_prefetch::<_MM_HINT_T0>(p.wrapping_add(2048).cast());
                    _mm_prefetch::<_MM_HINT_T0>(p.wrapping_add(2112).cast());
                    _mm_prefetch::<_MM_HINT_T0>(p.wrapping_add(2176).cast());
                    _mm_prefetch::<_MM_HINT_T0>(p.wrapping_add(2240).cast());
                    for (k, sum) in sums.iter_mut().enumerate() {
                        *sum = _mm512_xor_si512(*sum, _mm512_loadu_si512(p.add(64 * k).cast()));
                    }
                }
            }
        }
        let all = _mm512_xor_si512(_mm512_xor_si512(sums[0], sums[1]), _mm512_xor_si512(sums[2], sums[3]));
        _mm512_reduce_add_epi64(all)
    }
    if is_x86_feature_detected!("avx512f") {
        // SAFETY: just detected.
        return unsafe { wide(piece, streams) };
    }
    plain(piece)
}

#[cfg(not(target_arch = "x86_64"))]
fn touch(piece: &[u8], _streams: usize) -> i64 {
    plain(piece)
}

fn plain(piece: &[u8]) -> i64 {
    piece
        .chunks_exact(8)
        .fold(0, |sum, c| sum ^ i64::from_le_bytes(c.try_into().expect("8 bytes")))
}

/// How long the threads take for `fma_work` operations in fused multiply-adds that never leave the registers.
pub fn fma_time(machine: &Machine) -> Seconds {
    let pieces = machine.pool().threads() * 8;
    seconds(|| machine.pool().run(pieces, &|_| spin(LOOPS)).expect("spinning"))
}

/// Floating-point operations of `fma_time`.
pub fn fma_work(machine: &Machine) -> f64 {
    (machine.pool().threads() * 8 * LOOPS * 24 * 16 * 2) as f64
}

const LOOPS: usize = 20_000;

/// 24 independent fused multiply-adds of 16 lanes a loop.
fn spin(loops: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::*;
        #[target_feature(enable = "avx512f")]
        unsafe fn wide(loops: usize) {
            let mut acc = [_mm512_set1_ps(black_box(0.5)); 24];
            let x = _mm512_set1_ps(black_box(0.999));
            for _ in 0..loops {
                for a in acc.iter_mut() {
                    *a = _mm512_fmadd_ps(*a, x, x);
                }
            }
            black_box(acc);
        }
        #[target_feature(enable = "avx2,fma")]
        unsafe fn half(loops: usize) {
            let mut acc = [_mm256_set1_ps(black_box(0.5)); 12];
            let x = _mm256_set1_ps(black_box(0.999));
            for _ in 0..4 * loops {
                for a in acc.iter_mut() {
                    *a = _mm256_fmadd_ps(*a, x, x);
                }
            }
            black_box(acc);
        }
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: just detected.
            return unsafe { wide(loops) };
        }
        if is_x86_feature_detected!("fma") {
            // SAFETY: just detected.
            return unsafe { half(loops) };
        }
    }
    let mut acc = [black_box(0.5f32); 384];
    for _ in 0..loops {
        for a in acc.iter_mut() {
            *a = *a * 0.999 + 0.999;
        }
    }
    black_box(acc);
}
