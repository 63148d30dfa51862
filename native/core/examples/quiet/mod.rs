//! Measuring on a machine that others use too.

use std::time::{Duration, Instant};

/// Whatever ends a bench.
pub type Failure = Box<dyn std::error::Error>;

/// Measures when the machine is quiet; again, up to three times, if it did not stay so. With it, the cores others used.
pub fn undisturbed<T>(mut measure: impl FnMut() -> Result<T, Failure>) -> Result<(T, f64), Failure> {
    const QUIET: f64 = 0.2;
    let mut best: Option<(T, f64)> = None;
    for _ in 0..3 {
        for _ in 0..10 {
            if foreign_cores(|| std::thread::sleep(Duration::from_millis(100))).1 < QUIET {
                break;
            }
        }
        let (result, foreign) = foreign_cores(&mut measure);
        if best.as_ref().is_none_or(|(_, least)| foreign < *least) {
            best = Some((result?, foreign));
        }
        if foreign < QUIET {
            break;
        }
    }
    best.ok_or_else(|| "nothing was measured".into())
}

fn foreign_cores<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let (all, own, begun) = (busy_seconds(), cpu_seconds(), Instant::now());
    let result = work();
    let foreign = (busy_seconds() - all) - (cpu_seconds() - own);
    (result, foreign / begun.elapsed().as_secs_f64())
}

/// Seconds that all processors were busy since the start of the machine: user, nice, system, interrupts, stolen.
fn busy_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let ticks = stat.lines().next().unwrap_or_default().split_whitespace().skip(1);
    let ticks: Vec<f64> = ticks.filter_map(|number| number.parse().ok()).collect();
    [0, 1, 2, 5, 6, 7].iter().filter_map(|&index| ticks.get(index)).sum::<f64>() / 100.0
}

/// Processor time of this process.
pub fn cpu_seconds() -> f64 {
    // SAFETY: getrusage fills the struct that it is given, which is plain numbers
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 * 1e-6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}
