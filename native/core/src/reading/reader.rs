use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::access::{Access, FileSpec};
use super::arrivals::Arrivals;
use super::checksums::first_mismatch;
use super::clock::{Clock, Counts};
use super::disk::{Disk, System};
use super::files::Files;
use super::map::Map;
use super::region::Region;
use super::span::{Read, Span};
use super::{lock, DEFAULT_OPEN_FILES, DEFAULT_THREADS, PAGE};
use crate::trace::Recorder;
use crate::{Code, Error, Result};

/// Bytes that `read_now` reads at once; a multiple of PAGE.
const PART: usize = 1 << 20;

/// Reads ranges of files. Every page is checked against its checksum: at once, or when a stream gives it out.
pub struct Reader {
    files: Files,
    sums: Option<Vec<u32>>,
    clock: Clock,
    /// what bytes went through last: a tile that arrives is read alone, and new memory for each costs more than reading it
    spare: Mutex<Option<Region>>,
}

/// A part of a range and where its bytes go.
struct Part<'a> {
    span: Span,
    into: &'a mut [u8],
}

impl Reader {
    /// `sums` holds the CRC-32 of pages of the files; reads say where in it theirs begin. Without it nothing is checked.
    /// No file is opened yet.
    ///
    /// # Errors
    /// `BadInput` if a size is none that a file can have.
    pub fn new(files: Vec<FileSpec>, sums: Option<Vec<u32>>) -> Result<Self> {
        Self::with_most_open(files, sums, DEFAULT_OPEN_FILES)
    }

    /// As `new`; at most `most_open` files (above 0) are open at once, and one more for each read in flight beyond that.
    ///
    /// # Errors
    /// As `new`.
    pub fn with_most_open(files: Vec<FileSpec>, sums: Option<Vec<u32>>, most_open: usize) -> Result<Self> {
        Self::on(files, sums, most_open, Box::new(System))
    }

    pub(crate) fn on(files: Vec<FileSpec>, sums: Option<Vec<u32>>, most_open: usize, disk: Box<dyn Disk>) -> Result<Self> {
        Ok(Self {
            files: Files::new(files, most_open, disk)?,
            sums,
            clock: Clock::new(None),
            spare: Mutex::default(),
        })
    }

    /// Has all its reads recorded, and those of the streams that are opened on it.
    pub fn recorded(self, recorder: Option<Arc<Recorder>>) -> Self {
        let clock = Clock::new(recorder);
        Self { clock, ..self }
    }

    /// Has its reads wait for files that arrive.
    ///
    /// # Errors
    /// `BadInput` where those are of other sizes.
    pub fn arriving(mut self, arrivals: Option<Arc<Arrivals>>) -> Result<Self> {
        self.files.await_arrivals(arrivals)?;
        Ok(self)
    }

    pub(crate) fn arrivals(&self) -> Option<&Arrivals> {
        self.files.arrivals()
    }

    pub(crate) fn recorder(&self) -> Option<Arc<Recorder>> {
        self.clock.recorder()
    }

    /// How the bytes of a file reach memory; opens it if need be. A file that opens for direct reads may still refuse the
    /// first one, and is `Buffered` from then on.
    ///
    /// # Errors
    /// `BadInput` for a file that is not there, `Io` if it cannot be opened, `Corrupt` if it has another size.
    pub fn access(&self, file: usize) -> Result<Access> {
        if file >= self.files.specs().len() {
            return Err(Error::bad(format!(
                "Cannot open file {file}: there are {}",
                self.files.specs().len()
            )));
        }
        Ok(self.files.open(file)?.access)
    }

    /// Maps a file whose checksums begin at `first_sum`.
    ///
    /// # Errors
    /// `BadInput` for a file that is not there or is empty, or checksums that are not; `Io`, `Corrupt` as `access`.
    pub fn map(&self, file: usize, first_sum: usize) -> Result<Map> {
        let specs = self.files.specs();
        let spec = specs
            .get(file)
            .ok_or_else(|| Error::bad(format!("Cannot map file {file}: there are {}", specs.len())))?;
        let refuse = |why: &str| Error::bad(format!("Cannot map {}: {why}", spec.path.display()));
        if self.arrivals().is_some_and(|arrivals| arrivals.knows(file)) {
            return Err(refuse("it has not arrived"));
        }
        let map = self.files.map(file)?.ok_or_else(|| refuse("it is empty"))?;
        let pages = map.len().div_ceil(PAGE);
        let own = |sums: &Vec<u32>| sums.get(first_sum..first_sum.checked_add(pages)?).map(<[u32]>::to_vec);
        let sums = self
            .sums
            .as_ref()
            .map(|sums| own(sums).ok_or_else(|| refuse("its checksums are missing")));
        Ok(Map::new(spec.path.clone(), map, sums.transpose()?))
    }

    /// What `read_now` read so far; each stream counts its own.
    pub fn counts(&self) -> Counts {
        self.clock.counts()
    }

    /// Reads ranges at once, several in parallel: weights that stay, rows of an embedding. `into[i]` is exactly as long as
    /// `reads[i]`. Only pages that hold the bytes are read. `abort` is looked at before each MiB.
    ///
    /// # Errors
    /// `BadInput` before anything is read; why something does not arrive; `Io`, `Corrupt` or `Aborted` (the contents of `into` are then unspecified).
    pub fn read_now(&self, reads: &[Read], into: &mut [&mut [u8]], abort: Option<&AtomicBool>) -> Result<()> {
        let parts = self.parts(reads, into)?;
        if let Some(arrivals) = self.arrivals() {
            parts.iter().for_each(|part| arrivals.ask(&part.span));
        }
        let helpers = DEFAULT_THREADS.min(parts.len()).saturating_sub(1);
        let parts = Mutex::new(parts.into_iter());
        let failed = Mutex::new(None);
        let work = || {
            if let Err(why) = self.read_parts(&parts, &failed, abort) {
                lock(&failed).get_or_insert(why);
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..helpers {
                // no thread to be had: the caller's own does the work
                let _ = std::thread::Builder::new().spawn_scoped(scope, work);
            }
            work();
        });
        let failed = lock(&failed).take();
        failed.map_or(Ok(()), Err)
    }

    fn parts<'a>(&self, reads: &[Read], into: &'a mut [&mut [u8]]) -> Result<Vec<Part<'a>>> {
        if reads.len() != into.len() {
            let why = format!("there are {} places for them", into.len());
            return Err(Error::bad(format!("Cannot read {} ranges: {why}", reads.len())));
        }
        let mut parts = Vec::with_capacity(reads.len());
        for (read, into) in reads.iter().zip(into) {
            let mut rest: &mut [u8] = into;
            let span = self.span(read)?;
            if rest.len() != read.length {
                let why = format!("its place has {}", rest.len());
                return Err(Error::bad(format!("Cannot read a range of {} bytes: {why}", read.length)));
            }
            for span in span.parts(PART) {
                let (into, after) = rest.split_at_mut(span.length);
                rest = after;
                parts.push(Part { span, into });
            }
        }
        Ok(parts)
    }

    fn read_parts<'a>(
        &self,
        parts: &Mutex<impl Iterator<Item = Part<'a>>>,
        failed: &Mutex<Option<Error>>,
        abort: Option<&AtomicBool>,
    ) -> Result<()> {
        let mut buffer = lock(&self.spare).take();
        while lock(failed).is_none() {
            let Some(Part { span, into }) = lock(parts).next() else {
                break;
            };
            if abort.is_some_and(|abort| abort.load(Ordering::Relaxed)) {
                return Err(Error::new(Code::Aborted, "Cannot read on: the caller asked to stop"));
            }
            if let Some(arrivals) = self.arrivals() {
                arrivals.wait(&span, abort, false)?;
            }
            let buffer = match &mut buffer {
                Some(buffer) if buffer.slot_bytes() >= span.asked => buffer,
                other => other.insert(Region::new(span.asked, 1)?),
            };
            let bytes = &mut buffer.bytes_mut()[..span.asked];
            self.fill(&span, bytes, &self.clock)?;
            into.copy_from_slice(&bytes[span.lead..][..span.length]);
        }
        if buffer.is_some() {
            *lock(&self.spare) = buffer;
        }
        Ok(())
    }

    /// A read, checked against the files and checksums that there are.
    pub(crate) fn span(&self, read: &Read) -> Result<Span> {
        let apart = self.arrivals().is_some_and(|arrivals| arrivals.knows(read.file));
        let sums = self.sums.as_ref().filter(|_| !apart);
        Span::new(read, self.files.specs(), sums.map(Vec::len))
    }

    /// True where a read needs to wait for nothing that arrives.
    ///
    /// # Errors
    /// `BadInput` for a read that cannot be.
    pub(crate) fn is_there(&self, read: &Read) -> Result<bool> {
        let span = self.span(read)?;
        Ok(self.arrivals().is_none_or(|arrivals| arrivals.has(&span)))
    }

    /// Waits until reads need to wait for nothing that arrives.
    ///
    /// # Errors
    /// `BadInput` for a read that cannot be; why something does not arrive; `Aborted`.
    pub(crate) fn wait_for(&self, reads: &[Read], abort: &AtomicBool) -> Result<()> {
        let Some(arrivals) = self.arrivals() else { return Ok(()) };
        let spans = reads.iter().map(|read| self.span(read)).collect::<Result<Vec<_>>>()?;
        spans.iter().for_each(|span| arrivals.ask(span));
        spans.iter().try_for_each(|span| arrivals.wait(span, Some(abort), false))
    }

    /// Reads a span of this reader's into `buffer`, `span.asked` bytes at a page address, and checks it.
    fn fill(&self, span: &Span, buffer: &mut [u8], clock: &Clock) -> Result<()> {
        self.read(span, buffer, clock)?;
        self.check(span, buffer)
    }

    /// As `fill`, unchecked.
    pub(crate) fn read(&self, span: &Span, buffer: &mut [u8], clock: &Clock) -> Result<()> {
        self.files.read(span, buffer, clock)
    }

    /// Compares the pages of a span, which were read into `buffer`, with their checksums.
    pub(crate) fn check(&self, span: &Span, buffer: &[u8]) -> Result<()> {
        let bytes = &buffer[..span.stored];
        let arrived = self.arrivals().and_then(|arrivals| arrivals.sums(span));
        let mismatch = match (arrived, &self.sums) {
            (Some(sums), _) => first_mismatch(bytes, sums),
            (None, Some(sums)) => first_mismatch(bytes, sums[span.first_sum..].iter().copied()),
            (None, None) => None,
        };
        match mismatch {
            None => Ok(()),
            Some(at) => {
                let spec = &self.files.specs()[span.file];
                let what = spec.path.display();
                let why = "their checksum is not the one that was stored";
                let at = spec.place(span.start)? + at as u64;
                Err(Error::new(Code::Corrupt, format!("Cannot use the bytes at {at} of {what}: {why}")))
            }
        }
    }
}
