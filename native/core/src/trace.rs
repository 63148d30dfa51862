//! What happened when: reads, waits and computing, for people to look at. Nothing is kept unless a model asks for it.

use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// Events that are kept at most, about 10 MB of them; of what comes after, only the number is known.
pub const MOST_EVENTS: usize = 1 << 18;

/// Who was at work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// a read; `what` is the file
    Disk = 0,
    /// computing waited for a read; `what` is the node
    Wait = 1,
    /// a node, or the product with some tiles of its weight; `what` is the node
    Compute = 2,
    /// a pass over a segment; `what` is the segment
    Pass = 3,
}

/// Something that took time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// who was at work
    pub lane: Lane,
    /// on what, as the lane says
    pub what: usize,
    /// since the process first asked for the time
    pub began: Duration,
    /// how long
    pub took: Duration,
    /// bytes of it that came from the disk
    pub bytes: u64,
}

/// Keeps events until they are taken.
#[derive(Debug)]
pub struct Recorder {
    most: usize,
    kept: Mutex<Taken>,
}

/// The events since they were taken before, in the order in which they ended.
#[derive(Debug, Default)]
pub struct Taken {
    /// at most as many as the recorder keeps
    pub events: Vec<Event>,
    /// how many came after them
    pub left_out: u64,
}

impl Recorder {
    /// Keeps at most `most` events.
    pub fn new(most: usize) -> Self {
        // before any event
        origin();
        Self {
            most,
            kept: Mutex::default(),
        }
    }

    /// Keeps that something began at a time and ended now.
    pub fn record(&self, lane: Lane, what: usize, began: Instant, bytes: u64) {
        self.record_for(lane, what, began, began.elapsed(), bytes);
    }

    /// As `record`, for what ended a while ago.
    pub fn record_for(&self, lane: Lane, what: usize, began: Instant, took: Duration, bytes: u64) {
        let began = began.saturating_duration_since(origin());
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.events.len() < self.most {
            kept.events.push(Event {
                lane,
                what,
                began,
                took,
                bytes,
            });
        } else {
            kept.left_out += 1;
        }
    }

    /// Gives what was kept, and begins anew.
    pub fn take(&self) -> Taken {
        std::mem::take(&mut *self.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Now, on the clock of all events.
pub fn now() -> Duration {
    origin().elapsed()
}

fn origin() -> Instant {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    *ORIGIN.get_or_init(Instant::now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_so_many_events_and_counts_the_others() {
        let recorder = Recorder::new(3);
        let began = Instant::now();
        for what in 0..5 {
            recorder.record(Lane::Disk, what, began, 7);
        }
        let taken = recorder.take();
        assert_eq!(taken.events.iter().map(|event| event.what).collect::<Vec<_>>(), [0, 1, 2]);
        assert!(taken
            .events
            .iter()
            .all(|event| event.bytes == 7 && event.began + event.took <= now()));
        assert_eq!(taken.left_out, 2);
        recorder.record(Lane::Pass, 9, began, 0);
        let taken = recorder.take();
        assert_eq!((taken.events.len(), taken.events[0].what, taken.left_out), (1, 9, 0));
    }
}
