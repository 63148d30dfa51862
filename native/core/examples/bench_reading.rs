//! Measures what streaming reaches of what the disk gives, and prints JSON:
//! `cargo run --release --example bench_reading [rounds] [MiB] [threads] [slots] [MiB a tile] [folder]`.
//!
//! Raw reads and streams take turns within each round, as a disk's speed drifts; every ratio is one round's. A ratio is
//! time over time: 1.05 means that the stream needs 5% longer than the best raw setting for the same bytes. Measurements
//! disturbed by other processes are repeated a few times; `foreign_cores` says how much of the processor they had.

use std::hint::black_box;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use masset_core::reading::{FileSpec, Read, Reader, Region, Stream, Wait, DEFAULT_THREADS, PAGE};

mod quiet;

use quiet::{cpu_seconds, undisturbed, Failure};

/// threads, MiB a read, buffers a thread: with several the bytes go where a stream has to put them, out of the caches
const RAW: [(usize, usize, usize); 7] = [(2, 1, 1), (4, 1, 1), (2, 2, 1), (4, 2, 1), (2, 4, 1), (2, 2, 6), TOUCHED];
/// the last one of RAW also looks at the bytes, as whoever reads them must; plain reads of a virtual disk may be faster than
/// the bytes can reach a processor
const TOUCHED: (usize, usize, usize) = (2, 2, 1);
/// name, with checksums, computing as a share of the read time of a tile, other threads that compute, bytes cut off a tile
const VARIANTS: [(&str, bool, f64, usize, usize); 7] = [
    ("plain", false, 0.0, 0, 0),
    ("checked", true, 0.0, 0, 0),
    ("checked_unaligned", true, 0.0, 0, 100),
    ("checked_compute_20", true, 0.2, 0, 0),
    ("checked_compute_80", true, 0.8, 0, 0),
    ("plain_compute_80_both_cores", false, 0.8, 1, 0),
    ("checked_compute_80_both_cores", true, 0.8, 1, 0),
];
/// tiles that a stream gives before the time is taken, so that it begins and ends equally full
const WARM: usize = 32;

struct Settings {
    rounds: usize,
    bytes: usize,
    threads: usize,
    slots: usize,
    tile: usize,
}

#[derive(Default, Clone)]
struct Series {
    speed: Vec<f64>,
    ratio: Vec<f64>,
    touched: Vec<f64>,
    idle: Vec<f64>,
    cpu: Vec<f64>,
    foreign: Vec<f64>,
}

/// What one run of a stream gave: bytes a second, share of the time without a read in flight, cores used.
struct Run {
    speed: f64,
    idle: f64,
    cpu: f64,
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |index: usize, otherwise: usize| arguments.get(index).map_or(Ok(otherwise), |text| text.parse());
    let settings = Settings {
        rounds: number(0, 5)?.max(1),
        bytes: number(1, 2048)? << 20,
        threads: number(2, DEFAULT_THREADS)?,
        slots: number(3, 12)?,
        tile: number(4, 2)? << 20,
    };
    let folder = match arguments.get(5) {
        Some(folder) => tempfile::tempdir_in(folder)?,
        None => tempfile::tempdir()?,
    };
    let path = folder.path().join("weights");
    let sums = write(&path, settings.bytes)?;
    let file = FileSpec {
        path: path.clone(),
        size: settings.bytes as u64,
        linked: None,
    };
    let plain = Arc::new(Reader::new(vec![file.clone()], None)?);
    let checked = Arc::new(Reader::new(vec![file], Some(sums))?);

    let mut raw = vec![Vec::new(); RAW.len()];
    let mut streams = vec![Series::default(); VARIANTS.len()];
    for round in 0..settings.rounds {
        for (index, (&setting, speeds)) in RAW.iter().zip(&mut raw).enumerate() {
            let touched = index == RAW.len() - 1;
            speeds.push(undisturbed(|| raw_speed(&path, settings.bytes, setting, touched))?.0);
        }
        let pace = raw.iter().map(|speeds| speeds[round]).fold(0.0, f64::max);
        for (&(_, sums, share, others, cut), series) in VARIANTS.iter().zip(&mut streams) {
            let reader = if sums { &checked } else { &plain };
            let (run, foreign) = undisturbed(|| stream_speed(&settings, reader, share / pace, others, cut))?;
            series.speed.push(run.speed);
            series.idle.push(run.idle);
            series.cpu.push(run.cpu);
            series.foreign.push(foreign);
        }
    }
    report(&settings, &checked, &raw, &mut streams)
}

fn write(path: &Path, bytes: usize) -> Result<Vec<u32>, Failure> {
    let mut file = std::fs::File::create(path)?;
    let mut state = 88172645463325252u64;
    let mut piece = vec![0u8; 1 << 20];
    let mut sums = Vec::with_capacity(bytes / PAGE);
    for _ in 0..bytes / piece.len() {
        for word in piece.chunks_exact_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_le_bytes());
        }
        sums.extend(piece.chunks(PAGE).map(crc32fast::hash));
        file.write_all(&piece)?;
    }
    file.sync_all()?;
    Ok(sums)
}

/// Bytes a second of plain reads past the page cache, `threads` in flight.
fn raw_speed(path: &Path, bytes: usize, (threads, mib, buffers): (usize, usize, usize), touched: bool) -> Result<f64, Failure> {
    let size = mib << 20;
    use std::os::unix::fs::{FileExt, OpenOptionsExt};
    let file = std::fs::File::options().read(true).custom_flags(libc::O_DIRECT).open(path)?;
    let mut region = Region::new(size * buffers, threads)?;
    region.bytes_mut().fill(1);
    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for own in region.bytes_mut().chunks_exact_mut(size * buffers) {
            scope.spawn(|| {
                for turn in 0.. {
                    let at = next.fetch_add(size, Ordering::Relaxed);
                    if at >= bytes {
                        return;
                    }
                    let buffer = &mut own[turn % buffers * size..][..size];
                    if file.read_exact_at(buffer, at as u64).is_err() {
                        return failed.store(true, Ordering::Relaxed);
                    }
                    if touched {
                        touch(buffer);
                    }
                }
            });
        }
    });
    let speed = bytes as f64 / begun.elapsed().as_secs_f64();
    if failed.into_inner() {
        return Err("a raw read failed".into());
    }
    Ok(speed)
}

/// Streams the file once; the consumer computes `busy` seconds for each byte of a tile.
fn stream_speed(settings: &Settings, reader: &Arc<Reader>, busy: f64, others: usize, cut: usize) -> Result<Run, Failure> {
    let length = settings.tile - cut;
    let reads: Vec<Read> = (0..settings.bytes / length)
        .map(|place| Read {
            file: 0,
            offset: (place * length) as u64,
            length,
            first_sum: place * length / PAGE,
        })
        .collect();
    let region = Region::new(Stream::slot_bytes(reader, &reads)?, settings.slots)?;
    let stream = Stream::open(reader.clone(), &reads, region, settings.threads)?;
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..others {
            scope.spawn(|| {
                // the other thread rests in the same proportion as the consumer does
                while !done.load(Ordering::Relaxed) {
                    compute(Duration::from_millis(2));
                    std::thread::sleep(Duration::from_micros(500));
                }
            });
        }
        let result = consume(&stream, reads.len(), length, busy);
        done.store(true, Ordering::Relaxed);
        result
    })
}

fn consume(stream: &Stream, tiles: usize, length: usize, busy: f64) -> Result<Run, Failure> {
    let mut before = (Instant::now(), stream.stats(), cpu_seconds());
    for place in 0..tiles {
        if place == WARM {
            before = (Instant::now(), stream.stats(), cpu_seconds());
        }
        let lease = stream.next(place, Wait::default())?;
        touch(&lease);
        compute(Duration::from_secs_f64(busy * length as f64));
    }
    let (begun, stats, cpu) = before;
    let seconds = begun.elapsed().as_secs_f64();
    let after = stream.stats();
    Ok(Run {
        speed: ((tiles - WARM) * length) as f64 / seconds,
        idle: (after.disk.idle - stats.disk.idle).as_secs_f64() / seconds,
        cpu: (cpu_seconds() - cpu) / seconds,
    })
}

/// Each cache line once, as any use of the bytes does.
fn touch(bytes: &[u8]) {
    black_box(bytes.iter().step_by(64).fold(0u8, |sum, byte| sum.wrapping_add(*byte)));
}

fn compute(time: Duration) {
    let begun = Instant::now();
    let mut value = 1u64;
    while begun.elapsed() < time {
        for _ in 0..1000 {
            value = black_box(value.wrapping_mul(6364136223846793005).wrapping_add(1));
        }
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

fn report(settings: &Settings, reader: &Reader, raw: &[Vec<f64>], streams: &mut [Series]) -> Result<(), Failure> {
    // the setting with the best median: the best of each round would be the luckiest, not the best
    let best = (0..raw.len())
        .max_by(|&a, &b| median(&raw[a]).total_cmp(&median(&raw[b])))
        .unwrap_or(0);
    for series in streams.iter_mut() {
        let over = |raw: &[f64]| raw.iter().zip(&series.speed).map(|(raw, speed)| raw / speed).collect();
        (series.ratio, series.touched) = (over(&raw[best]), over(&raw[raw.len() - 1]));
    }
    let Settings {
        rounds,
        bytes,
        threads,
        slots,
        tile,
    } = settings;
    println!(
        "{{\n  \"access\": \"{:?}\", \"bytes\": {bytes}, \"rounds\": {rounds},",
        reader.access(0)?
    );
    println!("  \"stream\": {{\"threads\": {threads}, \"slots\": {slots}, \"tile_bytes\": {tile}}},\n  \"raw\": [");
    for (index, ((threads, mib, buffers), speeds)) in RAW.iter().zip(raw).enumerate() {
        let comma = if index + 1 < raw.len() { "," } else { "" };
        let speed = median(speeds) / 1e9;
        let touched = index == raw.len() - 1;
        print!(
            "    {{\"threads\": {threads}, \"mib\": {mib}, \"buffers\": {}, \"touched\": {touched}, ",
            threads * buffers
        );
        println!("\"gb_s\": {speed:.3}, \"best\": {}}}{comma}", index == best);
    }
    println!("  ],\n  \"streams\": {{");
    for (index, ((name, ..), series)) in VARIANTS.iter().zip(streams.iter()).enumerate() {
        let comma = if index + 1 < VARIANTS.len() { "," } else { "" };
        let Series {
            speed,
            ratio,
            touched,
            idle,
            cpu,
            foreign,
        } = series;
        let [speed, ratio, touched, idle, cpu, foreign] = [speed, ratio, touched, idle, cpu, foreign].map(|values| median(values));
        let figures = format!("\"time_over_raw\": {ratio:.3}, \"time_over_raw_touched\": {touched:.3}, \"disk_idle_share\": {idle:.4}");
        let figures = format!("{figures}, \"cores\": {cpu:.3}, \"foreign_cores\": {foreign:.2}");
        println!("    \"{name}\": {{\"gb_s\": {:.3}, {figures}}}{comma}", speed / 1e9);
    }
    println!("  }}\n}}");
    Ok(())
}
