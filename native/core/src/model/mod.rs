//! A model that runs: weights within their budget, a program over them, and the caches of its sessions.
//!
//! A program is one segment, or several that a pass runs in order while its caller computes what is between them: the
//! stream goes through all of them and reads ahead from one into the next, around the end of the pass too.

mod cache;
mod check;
mod filling;
mod held;
mod leases;
mod mapped;
mod matrix;
mod parts;
mod pinned;
mod products;
mod run;
mod seen;
mod session;
mod spec;
#[cfg(test)]
mod tests;
mod weights;
mod whole;

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::kernels::{self, Machine, Precision};
use crate::program::Value;
use crate::reading::{Arrivals, Disk, Stream, System};
use crate::trace::{Lane, Taken};
use crate::{Code, Error, Result};
use check::check;
use run::Pass;
pub use session::Session;
pub use spec::{CacheShape, Dtype, File, Node, Port, Rows, Segment, Spec, Stored, Weight};
use weights::Weights;

/// A model, ready to run; safe to share. Passes go one after the other; where there are several segments, the caller sees to that.
pub struct Model {
    spec: Spec,
    machine: Arc<Machine>,
    weights: Weights,
    /// for each value of each segment, the last node that needs it
    last_use: Vec<Vec<usize>>,
    /// held while a segment runs: the one that follows; none after one that failed
    next: Mutex<Option<usize>>,
}

/// For which positions a pass computes the output head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Logits {
    /// all
    All,
    /// the last of each sequence
    Last,
    /// none: the pass ends there, and what comes after it is not among the outputs
    None,
}

/// Counters of a model since it was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ModelStats {
    /// tensor bytes that passes took from streamed tiles, and those of single rows and of what stays in memory
    pub bytes_read: u64,
    /// bytes of the pages read for all of them, read ahead too
    pub disk_bytes: u64,
    /// streamed tiles that were there when they were needed
    pub hits: u64,
    /// streamed tiles that had to be waited for
    pub waits: u64,
    /// nanoseconds that computing waited for the disk
    pub waited: u64,
    /// nanoseconds that the stream had no read in flight
    pub disk_idle: u64,
    /// tensor bytes of cached matrices that passes used
    pub expert_bytes: u64,
    /// of those of them that were not in memory, and so were read
    pub expert_read: u64,
    /// of those in memory now
    pub cached: u64,
}

impl Model {
    /// Checks the plan, reads what stays in memory and begins to stream the rest. `sums` are the checksums of all pages.
    ///
    /// # Errors
    /// `BadInput` for a plan that cannot be; `Io`, `Corrupt`, `Aborted`.
    pub fn open(spec: Spec, sums: Vec<u32>, machine: Arc<Machine>, abort: &AtomicBool) -> Result<Self> {
        Self::open_on(spec, sums, machine, abort, None, Box::new(System))
    }

    /// As `open`, while some of its files still arrive: waits for its small tensors alone. What stays in memory is read when a
    /// pass first needs it; passes wait for what they need.
    ///
    /// # Errors
    /// As `open`, and why something does not arrive.
    pub fn open_arriving(spec: Spec, sums: Vec<u32>, machine: Arc<Machine>, abort: &AtomicBool, arrivals: Arc<Arrivals>) -> Result<Self> {
        Self::open_on(spec, sums, machine, abort, Some(arrivals), Box::new(System))
    }

    fn open_on(
        spec: Spec,
        sums: Vec<u32>,
        machine: Arc<Machine>,
        abort: &AtomicBool,
        arrivals: Option<Arc<Arrivals>>,
        disk: Box<dyn Disk>,
    ) -> Result<Self> {
        let last_use = spec.segments.iter().map(|segment| check(segment, &spec)).collect::<Result<_>>()?;
        let weights = Weights::open(&spec, sums, &machine, abort, arrivals, disk)?;
        Ok(Self {
            spec,
            machine,
            weights,
            last_use,
            next: Mutex::new(Some(0)),
        })
    }

    /// The caches of one sequence, empty.
    ///
    /// # Errors
    /// `BadInput` for a shape that no cache can have.
    pub fn session(&self) -> Result<Session> {
        Session::new(&self.spec.caches, self.spec.kv_cache, false)
    }

    /// One segment of a pass: its outputs by name. 0 begins a pass, wherever the one before was left; each other follows the
    /// one before it. `sessions` are those of the sequences of the batch, in order; none for a model without caches.
    ///
    /// # Errors
    /// `BadInput` for inputs that do not fit or a segment out of order; `Io`, `Corrupt`, `Aborted`: sessions are then as long as before the pass.
    pub fn run(
        &self,
        segment: usize,
        inputs: &HashMap<String, Value>,
        sessions: &mut [Session],
        logits: Logits,
        abort: &AtomicBool,
    ) -> Result<Vec<(String, Value)>> {
        let program = self.segment(segment)?;
        let mut follows = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        if segment > 0 && *follows != Some(segment) {
            return Err(Error::bad(format!(
                "Cannot run segment {segment} of a pass: it does not follow the one that ran last"
            )));
        }
        if let (true, Some(stream)) = (*follows != Some(segment), self.weights.stream()) {
            stream.rewind();
        }
        let before: Vec<usize> = sessions.iter().map(Session::len).collect();
        let pass = Pass {
            segment: program,
            weights: &self.weights,
            places: self.weights.places(segment),
            machine: &self.machine,
            last_use: &self.last_use[segment],
            abort,
            logits,
            taken_of: Cell::new(0),
        };
        *follows = None;
        let began = Instant::now();
        let outputs = pass.run(inputs, sessions);
        if let Some(recorder) = &self.weights.recorder {
            recorder.record(Lane::Pass, segment, began, 0);
        }
        let ended = logits == Logits::None && program.head.is_some();
        if let (true, true, Some(stream)) = (ended, outputs.is_ok(), self.weights.stream()) {
            stream.rewind();
        }
        let next = if ended { 0 } else { (segment + 1) % self.spec.segments.len() };
        *follows = outputs.is_ok().then_some(next);
        if outputs.is_err() {
            for (session, length) in sessions.iter_mut().zip(before) {
                session.truncate(length);
            }
        }
        outputs
    }

    fn segment(&self, segment: usize) -> Result<&Segment> {
        let found = self.spec.segments.get(segment);
        found.ok_or_else(|| Error::bad(format!("Cannot run segment {segment}: there are {}", self.spec.segments.len())))
    }

    /// The shapes of its caches.
    pub fn caches(&self) -> &[CacheShape] {
        &self.spec.caches
    }

    /// How prompts are computed: `Fast` only if that was asked for and rounds anything with these weights on this machine.
    pub fn precision(&self) -> Precision {
        let rounds = |weight: &Weight| kernels::rounds(&self.machine, weight.stored.dtype.encoding(), self.spec.precision);
        if self.spec.weights.iter().any(rounds) {
            Precision::Fast
        } else {
            Precision::Exact
        }
    }

    /// What was read and waited for so far.
    pub fn stats(&self) -> ModelStats {
        let (read, leases) = (self.weights.reader().counts(), self.weights.leases());
        let stream = self.weights.stream().map(Stream::stats);
        ModelStats {
            bytes_read: leases.bytes,
            disk_bytes: read.bytes + stream.map_or(0, |stats| stats.disk.bytes),
            hits: leases.hits,
            waits: leases.waits,
            waited: leases.waited,
            expert_bytes: leases.expert_bytes,
            expert_read: leases.expert_read,
            cached: self.weights.cache.bytes() as u64,
            disk_idle: stream.map_or(0, |stats| stats.disk.idle.as_nanos() as u64),
        }
    }

    /// True for a cached matrix that is in memory.
    pub fn has_cached(&self, weight: usize) -> bool {
        self.weights.cache.has(weight)
    }

    /// What was recorded since it was taken before; nothing unless the plan asked for it.
    pub fn take_events(&self) -> Taken {
        self.weights.recorder.as_ref().map(|recorder| recorder.take()).unwrap_or_default()
    }

    /// Ends reading; a pass that is under way fails.
    pub fn close(&self) {
        if let Some(arrivals) = self.weights.reader().arrivals() {
            arrivals.close();
        }
        if let Some(stream) = self.weights.stream() {
            stream.close();
        }
    }
}

impl From<serde_json::Error> for Error {
    fn from(why: serde_json::Error) -> Self {
        Error::new(Code::BadInput, format!("Cannot read a program: {why}"))
    }
}

impl Spec {
    /// Reads a plan from JSON.
    ///
    /// # Errors
    /// `BadInput` where it is none.
    pub fn from_json(text: &str) -> Result<Self> {
        Ok(serde_json::from_str(text)?)
    }
}
