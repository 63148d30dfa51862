use super::access::FileSpec;
use super::PAGE;
use crate::{Error, Result};

/// One read: a range of a file, and where the checksums of its pages are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Read {
    /// index of the file
    pub file: usize,
    /// first byte wanted
    pub offset: u64,
    /// bytes wanted, at least one
    pub length: usize,
    /// index in the table of checksums of the page that holds `offset`; unused where there is no table
    pub first_sum: usize,
}

/// A read that was checked against its file and the table, widened to whole pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub file: usize,
    /// a multiple of PAGE
    pub start: u64,
    /// bytes to ask for, a multiple of PAGE
    pub asked: usize,
    /// bytes that the file has of them: fewer than `asked` only at its end
    pub stored: usize,
    /// bytes before the first one wanted, below PAGE
    pub lead: usize,
    pub length: usize,
    pub first_sum: usize,
}

impl Span {
    /// `sums` is the length of the table of checksums, if there is one.
    pub fn new(read: &Read, files: &[FileSpec], sums: Option<usize>) -> Result<Self> {
        let file = files
            .get(read.file)
            .ok_or_else(|| Error::bad(format!("Cannot read file {}: there are {}", read.file, files.len())))?;
        let refuse = |why: &str| {
            let Read { offset, length, .. } = read;
            Error::bad(format!("Cannot read {length} bytes at {offset} of {}: {why}", file.path.display()))
        };
        if read.length == 0 {
            return Err(refuse("there is nothing to read"));
        }
        let end = read.offset.checked_add(read.length as u64).filter(|&end| end <= file.size);
        let end = end.ok_or_else(|| refuse(&format!("it has {}", file.size)))?;
        let page = PAGE as u64;
        let start = read.offset / page * page;
        let pages = end.div_ceil(page) - start / page;
        let asked = usize::try_from(pages * page).ok().filter(|&asked| asked <= isize::MAX as usize);
        let asked = asked.ok_or_else(|| refuse("that is more than memory can hold"))?;
        if let Some(sums) = sums {
            let last = read.first_sum.checked_add(asked / PAGE);
            if last.is_none_or(|last| last > sums) {
                return Err(refuse(&format!("its checksums begin at {} of {sums}", read.first_sum)));
            }
        }
        Ok(Self {
            file: read.file,
            start,
            asked,
            stored: asked.min(usize::try_from(file.size - start).unwrap_or(usize::MAX)),
            lead: (read.offset - start) as usize,
            length: read.length,
            first_sum: read.first_sum,
        })
    }

    /// The span in parts of at most `most` bytes, a multiple of PAGE, each with its own lead and length.
    pub fn parts(self, most: usize) -> impl Iterator<Item = Span> {
        (0..self.asked).step_by(most).map(move |at| {
            let asked = most.min(self.asked - at);
            let first = self.lead.max(at);
            let last = (self.lead + self.length).min(at + asked);
            Span {
                start: self.start + at as u64,
                asked,
                stored: asked.min(self.stored - at),
                lead: first - at,
                length: last - first,
                first_sum: self.first_sum.wrapping_add(at / PAGE),
                ..self
            }
        })
    }
}
