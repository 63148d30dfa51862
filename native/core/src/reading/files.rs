use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use memmap2::Mmap;

use super::access::{Access, FileSpec};
use super::arrivals::Arrivals;
use super::clock::Clock;
use super::disk::Disk;
use super::span::Span;
use super::{lock, PAGE};
use crate::{Code, Error, Result};

/// The files of a model; few of them are open at a time, and the one used longest ago is closed first.
pub(crate) struct Files {
    specs: Vec<FileSpec>,
    /// of each file: direct reads were refused
    refused: Vec<AtomicBool>,
    most: usize,
    open: Mutex<OpenFiles>,
    disk: Box<dyn Disk>,
    arrivals: Option<Arc<Arrivals>>,
}

#[derive(Default)]
struct OpenFiles {
    by_index: HashMap<usize, (Arc<OpenFile>, u64)>,
    uses: u64,
}

pub(crate) struct OpenFile {
    file: File,
    pub access: Access,
    /// opened before all of it was there
    early: bool,
}

impl Files {
    /// At most `most` files are open at once, and one more for each read in flight beyond that.
    pub fn new(specs: Vec<FileSpec>, most: usize, disk: Box<dyn Disk>) -> Result<Self> {
        if most == 0 {
            return Err(Error::bad("Cannot open files: at most 0 may be open"));
        }
        specs.iter().try_for_each(FileSpec::check)?;
        Ok(Self {
            refused: specs.iter().map(|_| AtomicBool::new(false)).collect(),
            specs,
            most,
            open: Mutex::default(),
            disk,
            arrivals: None,
        })
    }

    /// Opens files that arrive where they lie meanwhile.
    pub fn await_arrivals(&mut self, arrivals: Option<Arc<Arrivals>>) -> Result<()> {
        if let Some(arrivals) = &arrivals {
            let mut sizes = arrivals.sizes();
            let fits = |spec: &FileSpec| sizes.next().is_some_and(|size| size.is_none_or(|size| size == spec.size));
            if !self.specs.iter().all(fits) || sizes.next().is_some() {
                return Err(Error::bad("Cannot wait for files: they are not those that arrive"));
            }
        }
        self.arrivals = arrivals;
        Ok(())
    }

    pub fn arrivals(&self) -> Option<&Arrivals> {
        self.arrivals.as_deref()
    }

    pub fn specs(&self) -> &[FileSpec] {
        &self.specs
    }

    /// Maps a whole file; `None` for one without bytes.
    pub fn map(&self, index: usize) -> Result<Option<Mmap>> {
        let spec = &self.specs[index];
        let fails = |why: io::Error| Error::new(Code::Io, format!("Cannot map {}: {why}", spec.path.display()));
        if spec.linked.is_some() {
            let why = "only a part of it is needed, which need not begin at a page";
            return Err(Error::bad(format!("Cannot map {}: {why}", spec.path.display())));
        }
        let file = self.disk.open(&spec.path, Access::Buffered).map_err(fails)?;
        self.check(index, &file)?;
        if spec.size == 0 {
            return Ok(None);
        }
        // SAFETY: nobody in this process writes to files of weights. Others can: bytes that change under the map are wrong
        // numbers and nothing worse, and a file cut short ends the process, which is documented where a map is asked for
        unsafe { Mmap::map(&file) }.map(Some).map_err(fails)
    }

    /// The open file of an index that exists.
    pub fn open(&self, index: usize) -> Result<Arc<OpenFile>> {
        let place = self.arrivals().and_then(|arrivals| arrivals.place(index));
        let usable = |file: &Arc<OpenFile>| !file.early || place.is_some();
        if let Some(file) = lock(&self.open).get(index).filter(usable) {
            return Ok(file);
        }
        // outside the lock: other threads can read meanwhile. Two may open the same file; the second is closed again
        let early = place.as_ref().map_or(Ok(None), |path| self.open_early(index, path))?;
        let opened = Arc::new(early.map_or_else(|| self.open_anew(index), Ok)?);
        let mut open = lock(&self.open);
        if let Some(file) = open.get(index).filter(usable) {
            return Ok(file);
        }
        open.make_room(self.most);
        open.uses += 1;
        let uses = open.uses;
        open.by_index.insert(index, (opened.clone(), uses));
        Ok(opened)
    }

    /// Opens a file where it lies while it arrives; `None` where it has its place by now.
    fn open_early(&self, index: usize, path: &Path) -> Result<Option<OpenFile>> {
        let (file, access) = match self.open_at(index, path) {
            Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(|why| {
                let what = self.specs[index].path.display();
                Error::new(Code::Io, format!("Cannot open {what} while it arrives: {why}"))
            })?,
        };
        self.check(index, &file)?;
        Ok(Some(OpenFile { file, access, early: true }))
    }

    fn open_anew(&self, index: usize) -> Result<OpenFile> {
        let spec = &self.specs[index];
        let (file, access) = self
            .open_at(index, &spec.path)
            .map_err(|why| Error::new(Code::Io, format!("Cannot open {}: {why}", spec.path.display())))?;
        self.check(index, &file)?;
        Ok(OpenFile {
            file,
            access,
            early: false,
        })
    }

    /// Opens for direct reads, unless they are refused, or it is a run of another file.
    fn open_at(&self, index: usize, path: &Path) -> io::Result<(File, Access)> {
        if self.specs[index].linked.is_none() && !self.refused[index].load(Ordering::Relaxed) {
            match self.disk.open(path, Access::Direct) {
                Err(why) if is_refusal(&why) => {}
                other => return other.map(|file| (file, Access::Direct)),
            }
        }
        Ok((self.disk.open(path, Access::Buffered)?, Access::Buffered))
    }

    /// What was opened is a file, of the size that is known.
    fn check(&self, index: usize, file: &File) -> Result<()> {
        let spec = &self.specs[index];
        let fails = |why: io::Error| Error::new(Code::Io, format!("Cannot open {}: {why}", spec.path.display()));
        let facts = file.metadata().map_err(fails)?;
        if !facts.is_file() {
            return Err(Error::bad(format!("Cannot open {}: it is not a file", spec.path.display())));
        }
        if facts.len() != spec.bytes_there() {
            let why = format!("it has {} bytes instead of {}", facts.len(), spec.bytes_there());
            return Err(Error::new(Code::Corrupt, format!("Cannot use {}: {why}", spec.path.display())));
        }
        Ok(())
    }

    /// Fills `buffer`, `span.asked` bytes long and page-aligned, with the `span.stored` bytes that there are.
    pub fn read(&self, span: &Span, buffer: &mut [u8], clock: &Clock) -> Result<()> {
        let spec = &self.specs[span.file];
        let place = spec.place(span.start)?;
        // what comes after a run is not its own
        let most = if spec.linked.is_some() { span.stored } else { span.asked };
        loop {
            let open = self.open(span.file)?;
            let flight = clock.start(open.access, span.file);
            match self.read_all(&open, place, span.stored, &mut buffer[..most]) {
                Ok(got) => {
                    flight.end(got);
                    if got == span.stored {
                        return Ok(());
                    }
                    let why = format!("it ends at byte {} or does not end at {}", place + got as u64, spec.bytes_there());
                    return Err(Error::new(Code::Corrupt, format!("Cannot use {}: {why}", spec.path.display())));
                }
                Err(why) if open.access == Access::Direct && is_refusal(&why) => {
                    self.refused[span.file].store(true, Ordering::Relaxed);
                    lock(&self.open).by_index.remove(&span.file);
                }
                Err(why) => {
                    let what = format!("{} at byte {place}", spec.path.display());
                    return Err(Error::new(Code::Io, format!("Cannot read {what}: {why}")));
                }
            }
        }
    }

    /// Reads from `place` on until there are `stored` bytes or the file ends; says how many there are.
    fn read_all(&self, open: &OpenFile, place: u64, stored: usize, buffer: &mut [u8]) -> io::Result<usize> {
        // a direct read must begin at a page, so one that came short goes on at the last whole one
        let step = if open.access == Access::Direct { PAGE } else { 1 };
        let mut done = 0;
        loop {
            let at = place + done as u64;
            let got = match self.disk.read_at(&open.file, &mut buffer[done..], at, open.access) {
                Err(why) if why.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            };
            let now = done + got;
            let whole = now / step * step;
            if now >= stored || whole == done {
                return Ok(now);
            }
            done = whole;
        }
    }
}

impl OpenFiles {
    fn get(&mut self, index: usize) -> Option<Arc<OpenFile>> {
        self.uses += 1;
        let (file, used) = self.by_index.get_mut(&index)?;
        *used = self.uses;
        Some(file.clone())
    }

    /// Closes until fewer than `most` are open; those that are being read stay.
    fn make_room(&mut self, most: usize) {
        while self.by_index.len() >= most {
            let idle = self.by_index.iter().filter(|(_, (file, _))| Arc::strong_count(file) == 1);
            let Some(oldest) = idle.min_by_key(|(_, (_, used))| *used).map(|(&index, _)| index) else {
                return;
            };
            self.by_index.remove(&oldest);
        }
    }
}

/// How systems say that they cannot read past the page cache.
fn is_refusal(why: &io::Error) -> bool {
    matches!(why.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported)
}
