//! What the machine can do at best, asked line by line, so that a bench can ask between its own rounds:
//! `memory` -> GB/s that two threads read, `fma` -> GFLOP/s, `disk PATH<tab>PATH...` -> GB/s of direct reads of those files.
use std::io::{BufRead, Write};

use masset_core::kernels::{Isa, Machine};
use masset_core::reading::Region;

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
    let mut part = 0;
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("a line");
        let value = match line.split_once(' ') {
            None if line == "memory" => data.len() as f64 / 1e9 / bounds::read_time(&machine, &data).wall,
            None => bounds::fma_work(&machine) / 1e9 / bounds::fma_time(&machine).wall,
            Some((_, paths)) => disk(paths, &mut part),
        };
        println!("{value}");
        std::io::stdout().flush().expect("a reader");
    }
}

/// GB/s of direct reads of files, given with tabs between them: the best of a few settings, each over the part that follows the
/// one before, so that caches below the operating system see what a pass over all of them shows them.
fn disk(paths: &str, part: &mut usize) -> f64 {
    [(2, 4 << 20), (3, 1 << 20), (4, 2 << 20)]
        .into_iter()
        .map(|(threads, size)| {
            *part += 1;
            reads(paths, *part, threads, size)
        })
        .fold(0.0, f64::max)
}

#[cfg(target_os = "linux")]
fn reads(paths: &str, part: usize, threads: usize, size: usize) -> f64 {
    use std::fs::File;
    use std::os::unix::fs::{FileExt, OpenOptionsExt};
    use std::sync::atomic::{AtomicUsize, Ordering};
    const PART: usize = 3 << 28;
    let open = |path| File::options().read(true).custom_flags(0o40000).open(path).expect("a file");
    let files: Vec<File> = paths.split('\t').map(open).collect();
    let blocks = |file| (0..File::metadata(file).expect("its size").len() as usize / size).map(move |at| (file, at * size));
    let all: Vec<(&File, usize)> = files.iter().flat_map(blocks).collect();
    let count = (PART / size).min(all.len());
    let next = AtomicUsize::new(0);
    let took = seconds(|| {
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    // as large pages as there are: a disk fills them faster than many small ones
                    let mut buffer = Region::new(size, 1).expect("memory");
                    loop {
                        let at = next.fetch_add(1, Ordering::Relaxed);
                        if at >= count {
                            return;
                        }
                        let (file, offset) = all[(part * count + at) % all.len()];
                        file.read_exact_at(&mut buffer.bytes_mut()[..size], offset as u64).expect("bytes");
                    }
                });
            }
        });
    });
    (count * size) as f64 / 1e9 / took.wall
}

#[cfg(not(target_os = "linux"))]
fn reads(_paths: &str, _part: usize, _threads: usize, _size: usize) -> f64 {
    f64::NAN
}
