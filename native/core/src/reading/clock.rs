use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::access::Access;
use super::lock;

/// What was read so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// reads that ended, well or not
    pub reads: u64,
    /// bytes that came from the disk, whole pages
    pub bytes: u64,
    /// of the reads, those that went through the page cache
    pub buffered: u64,
    /// time without any read in flight, since the beginning
    pub idle: Duration,
}

/// Counts reads, and the time in which none was in flight.
pub(crate) struct Clock(Mutex<Ticking>);

struct Ticking {
    counts: Counts,
    in_flight: usize,
    idle_since: Instant,
}

/// One read in flight; ends when dropped, so that it ends whatever happens.
pub(crate) struct InFlight<'a> {
    clock: &'a Clock,
    access: Access,
    bytes: usize,
}

impl Clock {
    pub fn new() -> Self {
        Self(Mutex::new(Ticking {
            counts: Counts::default(),
            in_flight: 0,
            idle_since: Instant::now(),
        }))
    }

    pub fn start(&self, access: Access) -> InFlight<'_> {
        let mut ticking = lock(&self.0);
        if ticking.in_flight == 0 {
            let idle = ticking.idle_since.elapsed();
            ticking.counts.idle += idle;
        }
        ticking.in_flight += 1;
        InFlight {
            clock: self,
            access,
            bytes: 0,
        }
    }

    pub fn counts(&self) -> Counts {
        let ticking = lock(&self.0);
        let mut counts = ticking.counts;
        if ticking.in_flight == 0 {
            counts.idle += ticking.idle_since.elapsed();
        }
        counts
    }
}

impl InFlight<'_> {
    pub fn end(mut self, bytes: usize) {
        self.bytes = bytes;
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        let mut ticking = lock(&self.clock.0);
        ticking.counts.reads += 1;
        ticking.counts.bytes += self.bytes as u64;
        ticking.counts.buffered += u64::from(self.access == Access::Buffered);
        ticking.in_flight -= 1;
        if ticking.in_flight == 0 {
            ticking.idle_since = Instant::now();
        }
    }
}
