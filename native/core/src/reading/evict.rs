//! Whether memory is taken out of the processor's caches before a disk writes to it.
//!
//! A virtual disk is a thread of the host that copies into this memory. If it runs on another part of the chip, each line
//! that is still in a cache of ours has to be fetched from there, and reads take 1.6 times as long as into lines that are
//! in none (1.45 and 2.3 GB/s). If it runs on the same part, such lines save it a way to memory (2.9 and 2.4 GB/s). The host
//! moves it every few seconds and says nothing of it, so both are tried now and then.

use std::sync::Mutex;
use std::time::Duration;

use super::lock;

/// Reads of one trial, and how many before it are not looked at: their neighbours were read the other way.
const READS: u32 = 16;
const SETTLING: u32 = 4;
/// The other way is tried once in so many trials.
const TRIALS: u32 = 24;
/// It must save this share of the time, since such figures are noisy.
const GAIN: f64 = 0.05;

/// Chooses, by how long reads take.
#[derive(Default)]
pub(crate) struct Evicting(Mutex<Trials>);

#[derive(Default)]
struct Trials {
    evict: bool,
    best: bool,
    /// trials that ended
    ended: u32,
    /// reads of this one
    reads: u32,
    seconds: f64,
    bytes: usize,
    /// seconds for a byte when last tried: without, with
    cost: [f64; 2],
}

impl Evicting {
    /// Whether to evict what the next read writes to.
    pub fn wanted(&self) -> bool {
        cfg!(target_arch = "x86_64") && lock(&self.0).evict
    }

    /// A read that was begun with or without took so long.
    pub fn took(&self, evicted: bool, time: Duration, bytes: usize) {
        let mut trials = lock(&self.0);
        if evicted == trials.evict {
            trials.took(time.as_secs_f64(), bytes);
        }
    }
}

impl Trials {
    fn took(&mut self, seconds: f64, bytes: usize) {
        self.reads += 1;
        if self.reads > SETTLING {
            self.seconds += seconds;
            self.bytes += bytes;
        }
        if self.reads < SETTLING + READS {
            return;
        }
        self.cost[usize::from(self.evict)] = self.seconds / self.bytes.max(1) as f64;
        let [now, other] = [self.cost[usize::from(self.best)], self.cost[usize::from(!self.best)]];
        // nothing is known of the other before the second trial
        if self.ended > 0 && other < now * (1.0 - GAIN) {
            self.best = !self.best;
        }
        self.evict = self.best ^ self.ended.is_multiple_of(TRIALS);
        *self = Self {
            evict: self.evict,
            best: self.best,
            cost: self.cost,
            ended: self.ended.wrapping_add(1),
            ..Self::default()
        };
    }
}

/// Evicts all lines of a buffer from all caches. No byte of it changes.
#[cfg(target_arch = "x86_64")]
pub(crate) fn evict(buffer: &mut [u8]) {
    const LINE: usize = 64;
    for line in buffer.chunks(LINE) {
        // SAFETY: every x86-64 processor has this instruction, and the line is ours
        unsafe { std::arch::x86_64::_mm_clflush(line.as_ptr()) };
    }
}

#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn evict(_: &mut [u8]) {}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    /// Reads `count` times; gives how many of them were evicted before.
    fn run(evicting: &Evicting, count: usize, cost: impl Fn(bool) -> u64) -> usize {
        let once = |_: &usize| {
            let evicted = evicting.wanted();
            evicting.took(evicted, Duration::from_micros(cost(evicted)), 1 << 20);
            evicted
        };
        (0..count).filter(once).count()
    }

    #[test]
    fn takes_the_faster_way_and_notices_when_it_changes() {
        let evicting = Evicting::default();
        assert!(run(&evicting, 5000, |evicted| if evicted { 400 } else { 350 }) < 500);
        run(&evicting, 1000, |evicted| if evicted { 400 } else { 700 });
        assert!(run(&evicting, 5000, |evicted| if evicted { 400 } else { 700 }) > 4500);
        run(&evicting, 1000, |evicted| if evicted { 400 } else { 350 });
        assert!(run(&evicting, 5000, |evicted| if evicted { 400 } else { 350 }) < 500);
    }

    #[test]
    fn leaves_it_where_it_makes_no_difference() {
        let evicting = Evicting::default();
        assert!(run(&evicting, 5000, |evicted| if evicted { 340 } else { 350 }) < 500);
    }

    #[test]
    fn evicting_changes_no_byte() {
        let mut bytes: Vec<u8> = (0..100_003usize).map(|at| at as u8).collect();
        evict(&mut bytes[5..]);
        assert!(bytes.iter().enumerate().all(|(at, &byte)| byte == at as u8));
    }
}
