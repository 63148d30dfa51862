use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::access::Access;
use super::lock;
use crate::trace::{Lane, Recorder};

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

/// Counts reads, and the time in which none was in flight; records each of them where somebody wants to see them.
pub(crate) struct Clock {
    ticking: Mutex<Ticking>,
    recorder: Option<Arc<Recorder>>,
}

struct Ticking {
    counts: Counts,
    in_flight: usize,
    idle_since: Instant,
}

/// One read in flight; ends when dropped, so that it ends whatever happens.
pub(crate) struct InFlight<'a> {
    clock: &'a Clock,
    access: Access,
    file: usize,
    bytes: usize,
    /// where it is to be recorded
    began: Option<Instant>,
}

impl Clock {
    pub fn new(recorder: Option<Arc<Recorder>>) -> Self {
        let ticking = Mutex::new(Ticking {
            counts: Counts::default(),
            in_flight: 0,
            idle_since: Instant::now(),
        });
        Self { ticking, recorder }
    }

    pub fn recorder(&self) -> Option<Arc<Recorder>> {
        self.recorder.clone()
    }

    pub fn start(&self, access: Access, file: usize) -> InFlight<'_> {
        let mut ticking = lock(&self.ticking);
        if ticking.in_flight == 0 {
            let idle = ticking.idle_since.elapsed();
            ticking.counts.idle += idle;
        }
        ticking.in_flight += 1;
        InFlight {
            clock: self,
            access,
            file,
            bytes: 0,
            began: self.recorder.as_ref().map(|_| Instant::now()),
        }
    }

    pub fn counts(&self) -> Counts {
        let ticking = lock(&self.ticking);
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
        if let (Some(recorder), Some(began)) = (&self.clock.recorder, self.began) {
            recorder.record(Lane::Disk, self.file, began, self.bytes as u64);
        }
        let mut ticking = lock(&self.clock.ticking);
        ticking.counts.reads += 1;
        ticking.counts.bytes += self.bytes as u64;
        ticking.counts.buffered += u64::from(self.access == Access::Buffered);
        ticking.in_flight -= 1;
        if ticking.in_flight == 0 {
            ticking.idle_since = Instant::now();
        }
    }
}
