//! What the machine can do at best, asked line by line, so that a bench can ask between its own rounds:
//! `memory` -> GB/s that two threads read, `fma` -> GFLOP/s, `disk PATH<tab>PATH...` -> GB/s of direct reads of those files
//! whose bytes are looked at, `memory-disk PATH<tab>PATH...` -> of those that go to memory since caches are too small for them,
//! `transfer PATH<tab>PATH...` -> of those whose bytes nobody looks at.
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
            Some(("memory-disk", paths)) => disk(paths, &MEMORY, &mut part, true),
            Some((what, paths)) => disk(paths, &ANY, &mut part, what == "disk"),
        };
        println!("{value}");
        std::io::stdout().flush().expect("a reader");
    }
}

/// How direct reads are made.
#[derive(Clone, Copy)]
struct Setting {
    threads: usize,
    /// bytes a read
    size: usize,
    /// buffers of each thread, used in turn: few stay in caches, which some disks like; many do not, which others like
    buffers: usize,
}

const fn setting(threads: usize, mebibytes: usize, buffers: usize) -> Setting {
    Setting {
        threads,
        size: mebibytes << 20,
        buffers,
    }
}

/// 48 and 64 MiB, more than the last cache of a machine of this size holds.
const MEMORY: [Setting; 2] = [setting(3, 1, 16), setting(4, 2, 8)];
const ANY: [Setting; 4] = [setting(2, 4, 1), setting(3, 1, 1), MEMORY[0], MEMORY[1]];

/// GB/s of direct reads of files, given with tabs between them: the best of some settings, each over the part that follows the
/// one before, so that caches below the operating system see what a pass over all of them shows them. Who reads to compute
/// with the bytes looks at each of them (`seen`), and has to have them moved to his processor: a virtual disk that copies
/// into the same few buffers is faster as long as nobody else wants to see them.
fn disk(paths: &str, settings: &[Setting], part: &mut usize, seen: bool) -> f64 {
    let speed = |&setting| {
        *part += 1;
        reads(paths, *part, setting, seen)
    };
    settings.iter().map(speed).fold(0.0, f64::max)
}

#[cfg(target_os = "linux")]
fn reads(paths: &str, part: usize, Setting { threads, size, buffers }: Setting, seen: bool) -> f64 {
    use std::fs::File;
    use std::hint::black_box;
    use std::os::unix::fs::{FileExt, OpenOptionsExt};
    use std::sync::atomic::{AtomicUsize, Ordering};
    const PART: usize = 3 << 28;
    let open = |path| File::options().read(true).custom_flags(0o40000).open(path).expect("a file");
    let files: Vec<File> = paths.split('\t').map(open).collect();
    let blocks = |file| (0..File::metadata(file).expect("its size").len() as usize / size).map(move |at| (file, at * size));
    let all: Vec<(&File, usize)> = files.iter().flat_map(blocks).collect();
    let count = (PART / size).min(all.len());
    let next = AtomicUsize::new(0);
    // as large pages as there are: a disk fills them faster than many small ones
    let mut memory: Vec<Region> = (0..threads).map(|_| Region::new(size, buffers).expect("memory")).collect();
    memory.iter_mut().for_each(|region| region.bytes_mut().fill(1));
    let took = seconds(|| {
        std::thread::scope(|scope| {
            let (all, next) = (&all, &next);
            for region in &mut memory {
                scope.spawn(move || {
                    for turn in 0.. {
                        let at = next.fetch_add(1, Ordering::Relaxed);
                        if at >= count {
                            return;
                        }
                        let (file, offset) = all[(part * count + at) % all.len()];
                        let bytes = &mut region.bytes_mut()[turn % buffers * size..][..size];
                        file.read_exact_at(bytes, offset as u64).expect("bytes");
                        if seen {
                            black_box(bytes.iter().step_by(64).fold(0u8, |sum, byte| sum.wrapping_add(*byte)));
                        }
                    }
                });
            }
        });
    });
    (count * size) as f64 / 1e9 / took.wall
}

#[cfg(not(target_os = "linux"))]
fn reads(_paths: &str, _part: usize, _: Setting, _seen: bool) -> f64 {
    f64::NAN
}
