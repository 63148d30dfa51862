use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use memmap2::Mmap;

use super::checksums::first_mismatch;
use super::PAGE;
use crate::{Code, Error, Result};

/// A file mapped into memory: the system reads its pages when they are touched and drops them when it needs the memory.
/// Each page is checked once, when it is first asked for; what the file becomes after that goes unnoticed, and a process that
/// touches a page beyond the end of a file that was cut short is killed by the system.
pub struct Map {
    path: PathBuf,
    map: Mmap,
    /// of each page; none where nothing is checked
    sums: Option<Vec<u32>>,
    /// a bit for each page that was checked
    checked: Vec<AtomicU64>,
}

impl Map {
    /// `map` is not empty; `sums` has one checksum for each of its pages.
    pub(crate) fn new(path: PathBuf, map: Mmap, sums: Option<Vec<u32>>) -> Self {
        let pages = map.len().div_ceil(PAGE);
        let checked = (0..pages.div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        Self { path, map, sums, checked }
    }

    /// A range of the file, every page of which was checked now or before.
    ///
    /// # Errors
    /// `BadInput` for a range outside of the file, `Corrupt` for a page that is not as it was stored.
    pub fn bytes(&self, offset: u64, length: usize) -> Result<&[u8]> {
        let start = usize::try_from(offset).ok();
        let range = start.and_then(|start| Some(start..start.checked_add(length)?));
        let found = range.and_then(|range| Some((self.map.get(range.clone())?, range)));
        let Some((bytes, range)) = found else {
            let why = format!("it has {}", self.map.len());
            let what = format!("{length} bytes at {offset} of {}", self.path.display());
            return Err(Error::bad(format!("Cannot read {what}: {why}")));
        };
        for page in range.start / PAGE..range.end.div_ceil(PAGE) {
            self.check(page)?;
        }
        Ok(bytes)
    }

    /// Two threads may both check a page: that costs time and nothing else.
    fn check(&self, page: usize) -> Result<()> {
        let (word, bit) = (&self.checked[page / 64], 1 << (page % 64));
        let Some(sums) = &self.sums else { return Ok(()) };
        if word.load(Ordering::Relaxed) & bit != 0 {
            return Ok(());
        }
        let at = page * PAGE;
        let end = self.map.len().min(at + PAGE);
        if first_mismatch(&self.map[at..end], sums[page..].iter().copied()).is_some() {
            let why = "their checksum is not the one that was stored";
            let what = self.path.display();
            return Err(Error::new(Code::Corrupt, format!("Cannot use the bytes at {at} of {what}: {why}")));
        }
        word.fetch_or(bit, Ordering::Relaxed);
        Ok(())
    }
}
