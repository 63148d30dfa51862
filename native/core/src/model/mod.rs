//! A model that runs: weights within their budget, a program over them, and the caches of its sessions.
//!
//! A program is one segment, or several that a pass runs in order while its caller computes what is between them: the
//! stream goes through all of them and reads ahead from one into the next, around the end of the pass too.

mod leases;
mod mapped;
mod matrix;
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

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::kernels::{self, Machine, Precision};
use crate::program::{Op, Value};
use crate::reading::{Disk, Stream, System};
use crate::trace::{Lane, Taken};
use crate::{Code, Error, Result};
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
    running: Mutex<Running>,
}

struct Running {
    /// the segment that follows; none after one that failed
    next: Option<usize>,
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
}

impl Model {
    /// Checks the plan, reads what stays in memory and begins to stream the rest. `sums` are the checksums of all pages.
    ///
    /// # Errors
    /// `BadInput` for a plan that cannot be; `Io`, `Corrupt`, `Aborted`.
    pub fn open(spec: Spec, sums: Vec<u32>, machine: Arc<Machine>, abort: &AtomicBool) -> Result<Self> {
        Self::open_on(spec, sums, machine, abort, Box::new(System))
    }

    fn open_on(spec: Spec, sums: Vec<u32>, machine: Arc<Machine>, abort: &AtomicBool, disk: Box<dyn Disk>) -> Result<Self> {
        let last_use = spec.segments.iter().map(|segment| check(segment, &spec)).collect::<Result<_>>()?;
        let weights = Weights::open(&spec, sums, &machine, abort, disk)?;
        Ok(Self {
            spec,
            machine,
            weights,
            last_use,
            running: Mutex::new(Running { next: Some(0) }),
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
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if segment > 0 && running.next != Some(segment) {
            return Err(Error::bad(format!(
                "Cannot run segment {segment} of a pass: it does not follow the one that ran last"
            )));
        }
        if let (true, Some(stream)) = (running.next != Some(segment), self.weights.stream()) {
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
        };
        running.next = None;
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
        running.next = outputs.is_ok().then_some(next);
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
            disk_idle: stream.map_or(0, |stats| stats.disk.idle.as_nanos() as u64),
        }
    }

    /// What was recorded since it was taken before; nothing unless the plan asked for it.
    pub fn take_events(&self) -> Taken {
        self.weights.recorder.as_ref().map(|recorder| recorder.take()).unwrap_or_default()
    }

    /// Ends reading; a pass that is under way fails.
    pub fn close(&self) {
        if let Some(stream) = self.weights.stream() {
            stream.close();
        }
    }
}

/// Checks that nodes only use what is there, each value is made once and before it is used. Gives each value's last use.
fn check(segment: &Segment, spec: &Spec) -> Result<Vec<usize>> {
    let bad = |why: String| Error::bad(format!("Cannot use a program: {why}"));
    if segment.values > 1 << 24 {
        return Err(bad(format!("{} values are too many", segment.values)));
    }
    let mut made = vec![false; segment.values];
    let mut make = |value: usize| match made.get_mut(value) {
        Some(made) if !*made => {
            *made = true;
            Ok(())
        }
        _ => Err(bad(format!("value {value} is made twice or is none"))),
    };
    let mut last_use = vec![usize::MAX; segment.values];
    for port in &segment.inputs {
        make(port.value)?;
    }
    let mut known = vec![false; segment.values];
    for port in &segment.inputs {
        known[port.value] = true;
    }
    for (at, node) in segment.nodes.iter().enumerate() {
        let (inputs, outputs) = arity(&node.run);
        if !inputs.contains(&node.inputs.len()) || outputs != node.outputs.len() {
            return Err(bad(format!(
                "node {at} has {} inputs and {} outputs",
                node.inputs.len(),
                node.outputs.len()
            )));
        }
        check_indices(&node.run, spec).map_err(|what| bad(format!("node {at} names a {what} that is none")))?;
        for &value in &node.inputs {
            if !known.get(value).copied().unwrap_or(false) {
                return Err(bad(format!("node {at} needs value {value}, which is not made yet")));
            }
            last_use[value] = at;
        }
        for &value in &node.outputs {
            make(value)?;
            known[value] = true;
        }
    }
    match segment.outputs.iter().find(|port| !known.get(port.value).copied().unwrap_or(false)) {
        Some(port) => Err(bad(format!("the output {} is not made", port.name))),
        None if segment.head.is_some_and(|head| !is_head(&segment.nodes, head)) => Err(bad("its head is none".into())),
        None => Ok(last_use),
    }
}

/// Whether a pass can end before this node: no weight that is streamed and no cache comes after it.
fn is_head(nodes: &[Node], head: usize) -> bool {
    let end = |node: &Node| {
        !matches!(
            node.run,
            Op::Linear { .. } | Op::Conv1d { .. } | Op::Attention { cache: Some(_), .. }
        )
    };
    nodes
        .get(head)
        .is_some_and(|node| !node.inputs.is_empty() && nodes[head + 1..].iter().all(end))
}

/// How many inputs and outputs a node has.
fn arity(op: &Op) -> (std::ops::RangeInclusive<usize>, usize) {
    match op {
        Op::Vector { .. } | Op::Integers { .. } | Op::Floats { .. } => (0..=0, 1),
        Op::RmsNorm { .. } | Op::Binary { .. } | Op::Expand {} => (2..=2, 1),
        Op::LayerNorm { .. } | Op::Rotary { .. } | Op::Where {} | Op::Range {} | Op::Slice {} => (3..=3, 1),
        Op::Attention { .. } => (3..=4, 1),
        Op::Concat { .. } => (1..=1 << 16, 1),
        Op::Split { parts } => (1..=1, *parts),
        _ => (1..=1, 1),
    }
}

fn check_indices(op: &Op, spec: &Spec) -> std::result::Result<(), &'static str> {
    match op {
        Op::Vector { index } if *index >= spec.vectors.len() => Err("vector"),
        Op::Rows { weight } | Op::Linear { weight } | Op::Conv1d { weight } if *weight >= spec.weights.len() => Err("weight"),
        Op::Attention { cache: Some(cache), .. } if *cache >= spec.caches.len() => Err("cache"),
        _ => Ok(()),
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
