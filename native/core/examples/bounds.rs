//! What the machine can do at best, asked line by line, so that a bench can ask between its own rounds:
//! `memory` -> GB/s that two threads read, `fma` -> GFLOP/s, `disk PATH` -> GB/s of direct reads of that file.
use std::io::{BufRead, Write};

use masset_core::kernels::{Isa, Machine};

// shared with bench_kernels, which uses all of it
#[allow(dead_code)]
#[path = "bench/bounds.rs"]
mod bounds;

/// Seconds of one measurement.
pub struct Seconds {
    /// by the clock
    pub wall: f64,
}

/// How long a call takes.
pub fn seconds(call: impl FnOnce()) -> Seconds {
    let began = std::time::Instant::now();
    call();
    Seconds {
        wall: began.elapsed().as_secs_f64(),
    }
}

fn main() {
    let threads = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(2);
    let machine = Machine::new(Isa::detect(), threads).expect("a machine");
    let data = vec![1u8; 1 << 30];
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("a line");
        let value = match line.split_once(' ') {
            None if line == "memory" => data.len() as f64 / 1e9 / bounds::read_time(&machine, &data).wall,
            None => bounds::fma_work(&machine) / 1e9 / bounds::fma_time(&machine).wall,
            Some((_, path)) => disk(path),
        };
        println!("{value}");
        std::io::stdout().flush().expect("a reader");
    }
}

/// GB/s of direct reads of a file: the best of a few settings, each over at most 1.5 GB.
fn disk(path: &str) -> f64 {
    [(2, 4 << 20), (4, 1 << 20), (4, 2 << 20)]
        .into_iter()
        .map(|(threads, size)| reads(path, threads, size))
        .fold(0.0, f64::max)
}

#[cfg(target_os = "linux")]
fn reads(path: &str, threads: usize, size: usize) -> f64 {
    use std::os::unix::fs::{FileExt, OpenOptionsExt};
    use std::sync::atomic::{AtomicUsize, Ordering};
    let file = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(0o40000)
        .open(path)
        .expect("a file");
    let total = (file.metadata().expect("its size").len() as usize).min(3 << 29) / size * size;
    let next = AtomicUsize::new(0);
    let took = seconds(|| {
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    let mut buffer = vec![0u8; size + 4096];
                    let skip = buffer.as_ptr().align_offset(4096);
                    loop {
                        let at = next.fetch_add(size, Ordering::Relaxed);
                        if at >= total {
                            return;
                        }
                        file.read_exact_at(&mut buffer[skip..skip + size], at as u64).expect("bytes");
                    }
                });
            }
        });
    });
    total as f64 / 1e9 / took.wall
}

#[cfg(not(target_os = "linux"))]
fn reads(_path: &str, _threads: usize, _size: usize) -> f64 {
    f64::NAN
}
