use std::path::PathBuf;

use serde::Deserialize;

use crate::{Error, Result};

/// One file to read from, as the caller knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSpec {
    /// where it is
    pub path: PathBuf,
    /// how many bytes it has; a file of another size is corrupt
    pub size: u64,
    /// where it is a run of bytes of the file at `path`
    pub linked: Option<Linked>,
}

/// A file whose bytes are a run of another's, but for those before `begin`, which cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Linked {
    /// its first byte that is in the other file
    pub begin: u64,
    /// where that is there
    pub offset: u64,
    /// how many bytes the other file has
    pub size: u64,
}

impl FileSpec {
    /// Bytes of the file at `path`.
    pub(crate) fn bytes_there(&self) -> u64 {
        self.linked.map_or(self.size, |linked| linked.size)
    }

    /// Where a byte of this file is in the one at `path`.
    pub(crate) fn place(&self, at: u64) -> Result<u64> {
        let Some(Linked { begin, offset, .. }) = self.linked else {
            return Ok(at);
        };
        let place = at.checked_sub(begin).and_then(|at| at.checked_add(offset));
        place.ok_or_else(|| self.refuse(&format!("byte {at} is not in it, but before what is linked to it")))
    }

    /// A file of a size that none can have, or a run that leaves the file it is of.
    pub(crate) fn check(&self) -> Result<()> {
        if self.size > i64::MAX as u64 {
            return Err(self.refuse(&format!("no file has {} bytes", self.size)));
        }
        let Some(Linked { begin, offset, size }) = self.linked else {
            return Ok(());
        };
        let end = self.size.checked_sub(begin).and_then(|length| length.checked_add(offset));
        match end.is_some_and(|end| end <= size) && size <= i64::MAX as u64 {
            true => Ok(()),
            false => Err(self.refuse("what is linked to it ends beyond it")),
        }
    }

    fn refuse(&self, why: &str) -> Error {
        Error::bad(format!("Cannot read {}: {why}", self.path.display()))
    }
}

/// How the bytes of a file reach memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// past the system's page cache: O_DIRECT on Linux, F_NOCACHE on macOS
    Direct,
    /// through the page cache: other systems, file systems that refuse direct reads, and files that are a run of another's,
    /// which begins anywhere
    Buffered,
}
