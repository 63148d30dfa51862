use std::collections::VecDeque;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use super::span::Span;
use super::{lock, PAGE};
use crate::{Code, Error, Result};

/// Bytes that arrive together, verified: a leaf of the file's DAG.
pub const LEAF: usize = 1 << 20;

/// How often a waiting thread looks whether it is to stop.
const GLANCE: Duration = Duration::from_millis(10);

/// Files that are not all there yet: which of their leaves are, and the checksums that came with them. Reads wait for what they
/// need, and whoever fetches hears what is waited for.
pub struct Arrivals {
    /// of each file that was not there when this was made
    coming: Vec<Option<Coming>>,
    state: Mutex<State>,
    /// a leaf arrived, or something failed
    changed: Condvar,
}

struct Coming {
    size: u64,
    /// of each page; those of leaves that are there count
    sums: Vec<AtomicU32>,
    /// all of it is there, in its final place
    finished: AtomicBool,
}

#[derive(Default)]
struct State {
    files: Vec<Places>,
    /// file and leaf, in the order in which somebody began to wait
    wanted: VecDeque<(usize, usize)>,
    failed: Option<Error>,
    closed: bool,
}

#[derive(Default)]
struct Places {
    /// where its bytes lie while it arrives
    path: Option<PathBuf>,
    there: Vec<bool>,
    asked: Vec<bool>,
}

impl Arrivals {
    /// `sizes` has one entry for each file of a model: its bytes where it arrives, `None` where it is there.
    ///
    /// # Errors
    /// `BadInput` for a size that no file has.
    pub fn new(sizes: &[Option<u64>]) -> Result<Self> {
        let mut coming = Vec::with_capacity(sizes.len());
        let mut files = Vec::with_capacity(sizes.len());
        for size in sizes {
            let length = size.map(usize::try_from).transpose();
            let length = length
                .ok()
                .filter(|length| length.is_none_or(|length| length <= isize::MAX as usize));
            let length = length.ok_or_else(|| Error::bad(format!("Cannot wait for a file of {size:?} bytes")))?;
            let leaves = length.map_or(0, |length| length.div_ceil(LEAF));
            files.push(Places {
                path: None,
                there: vec![false; leaves],
                asked: vec![false; leaves],
            });
            coming.push(length.map(|length| Coming {
                size: length as u64,
                sums: (0..length.div_ceil(PAGE)).map(|_| AtomicU32::new(0)).collect(),
                finished: AtomicBool::new(false),
            }));
        }
        Ok(Self {
            coming,
            state: Mutex::new(State { files, ..State::default() }),
            changed: Condvar::new(),
        })
    }

    fn coming(&self, file: usize) -> Option<&Coming> {
        self.coming.get(file)?.as_ref()
    }

    fn expected(&self, file: usize) -> Result<&Coming> {
        let found = self.coming(file);
        found.ok_or_else(|| Error::bad(format!("Cannot take in file {file}: it is not one that arrives")))
    }

    /// A file has a place: a file of its full size, with anything where leaves are missing.
    ///
    /// # Errors
    /// `BadInput` for a file that does not arrive.
    pub fn begin(&self, file: usize, path: &Path) -> Result<()> {
        self.expected(file)?;
        lock(&self.state).files[file].path = Some(path.to_owned());
        Ok(())
    }

    /// A leaf is there, verified; `sums` are the CRC-32 of its pages.
    ///
    /// # Errors
    /// `BadInput` for one that is none, or as many sums as it does not have.
    pub fn arrive(&self, file: usize, leaf: usize, sums: &[u32]) -> Result<()> {
        let own = &self.expected(file)?.sums;
        let first = leaf.checked_mul(LEAF / PAGE).filter(|&first| first < own.len());
        let pages = first.map(|first| &own[first..own.len().min(first + LEAF / PAGE)]);
        let pages = pages.filter(|pages| pages.len() == sums.len());
        let pages = pages.ok_or_else(|| {
            Error::bad(format!(
                "Cannot take in leaf {leaf} of file {file}: it has not {} pages",
                sums.len()
            ))
        })?;
        for (page, &sum) in pages.iter().zip(sums) {
            page.store(sum, Ordering::Relaxed);
        }
        // whoever sees this under the lock sees the sums as well
        lock(&self.state).files[file].there[leaf] = true;
        self.changed.notify_all();
        Ok(())
    }

    /// All of a file is there, and it has its final place.
    ///
    /// # Errors
    /// `BadInput` where a leaf is missing.
    pub fn finish(&self, file: usize) -> Result<()> {
        let coming = self.expected(file)?;
        let mut state = lock(&self.state);
        let places = &mut state.files[file];
        if places.there.contains(&false) {
            return Err(Error::bad(format!("Cannot finish file {file}: not all of it has arrived")));
        }
        places.path = None;
        coming.finished.store(true, Ordering::Release);
        Ok(())
    }

    /// What is waited for, file and leaf, each once: what should be fetched next.
    pub fn take_wanted(&self) -> Vec<(usize, usize)> {
        let mut state = lock(&self.state);
        let State { files, wanted, .. } = &mut *state;
        wanted.drain(..).filter(|&(file, leaf)| !files[file].there[leaf]).collect()
    }

    /// Nothing more arrives: whoever waits for a read hears why. Streams wait on, since they are asked by those who do.
    pub fn fail(&self, why: Error) {
        lock(&self.state).failed = Some(why);
        self.changed.notify_all();
    }

    /// Fetching goes on after it failed.
    pub fn resume(&self) {
        let mut state = lock(&self.state);
        state.failed = None;
        state.files.iter_mut().for_each(|places| places.asked.fill(false));
        self.changed.notify_all();
    }

    /// Ends all waiting for good.
    pub fn close(&self) {
        lock(&self.state).closed = true;
        self.changed.notify_all();
    }

    /// Why whoever waits would wait in vain, if so.
    pub(crate) fn failure(&self) -> Option<Error> {
        lock(&self.state).failure()
    }

    /// True where this says something of the file.
    pub(crate) fn knows(&self, file: usize) -> bool {
        self.coming(file).is_some()
    }

    /// The size of each file that arrives.
    pub(crate) fn sizes(&self) -> impl Iterator<Item = Option<u64>> + '_ {
        self.coming.iter().map(|coming| coming.as_ref().map(|coming| coming.size))
    }

    /// Where a file lies that is not finished, if it has begun.
    pub(crate) fn place(&self, file: usize) -> Option<PathBuf> {
        let unfinished = self.coming(file).is_some_and(|coming| !coming.finished.load(Ordering::Acquire));
        unfinished.then(|| lock(&self.state).files[file].path.clone())?
    }

    /// The checksums of the pages of a span that is there; `None` for a file that this says nothing of.
    pub(crate) fn sums(&self, span: &Span) -> Option<impl Iterator<Item = u32> + '_> {
        let sums = &self.coming(span.file)?.sums;
        let first = usize::try_from(span.start / PAGE as u64).unwrap_or(usize::MAX);
        Some(sums.iter().skip(first).map(|sum| sum.load(Ordering::Relaxed)))
    }

    /// True where all bytes of a span are there.
    pub(crate) fn has(&self, span: &Span) -> bool {
        self.is_finished(span) || lock(&self.state).has(span)
    }

    /// Says that a span will be waited for.
    pub(crate) fn ask(&self, span: &Span) {
        if !self.is_finished(span) {
            lock(&self.state).ask(span);
        }
    }

    /// Waits for a span. `stop` is looked at every 10 ms; `patient` ones wait on where fetching failed.
    ///
    /// # Errors
    /// Why fetching failed; `Aborted`.
    pub(crate) fn wait(&self, span: &Span, stop: Option<&AtomicBool>, patient: bool) -> Result<()> {
        if self.is_finished(span) {
            return Ok(());
        }
        let mut state = lock(&self.state);
        while !state.has(span) {
            if stop.is_some_and(|stop| stop.load(Ordering::Relaxed)) {
                return Err(Error::new(Code::Aborted, "Cannot wait for what arrives: the caller asked to stop"));
            }
            if let (Some(why), true) = (state.failure(), state.closed || !patient) {
                return Err(why);
            }
            state.ask(span);
            state = match self.changed.wait_timeout(state, GLANCE) {
                Ok((state, _)) => state,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
        Ok(())
    }

    fn is_finished(&self, span: &Span) -> bool {
        self.coming(span.file).is_none_or(|coming| coming.finished.load(Ordering::Acquire))
    }
}

impl State {
    fn failure(&self) -> Option<Error> {
        let closed = || Error::new(Code::Aborted, "Cannot wait for what arrives: the model was closed");
        if self.closed {
            Some(closed())
        } else {
            self.failed.clone()
        }
    }

    fn has(&self, span: &Span) -> bool {
        self.files[span.file].there[leaves(span)].iter().all(|&there| there)
    }

    fn ask(&mut self, span: &Span) {
        let places = &mut self.files[span.file];
        for leaf in leaves(span) {
            if !places.there[leaf] && !places.asked[leaf] {
                places.asked[leaf] = true;
                self.wanted.push_back((span.file, leaf));
            }
        }
    }
}

/// The leaves that hold a span, which lies within its file.
fn leaves(span: &Span) -> Range<usize> {
    let start = usize::try_from(span.start).unwrap_or(usize::MAX);
    start / LEAF..(start + span.stored).div_ceil(LEAF)
}
