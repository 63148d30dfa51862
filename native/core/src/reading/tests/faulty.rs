//! A disk between the tests and the system.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Duration;

use crate::reading::access::Access;
use crate::reading::disk::{Disk, System};

/// What goes wrong, and what happened; shared with the test.
#[derive(Default)]
pub struct Faults {
    /// reads that were asked for
    pub reads: AtomicUsize,
    /// bytes that were asked for
    pub asked: AtomicUsize,
    pub opens: AtomicUsize,
    /// the read with this number fails with EIO (the first is 1)
    pub fail_at: AtomicUsize,
    /// every read fails with EIO
    pub fail_all: AtomicBool,
    /// a read gives at most this many bytes, if not 0
    pub short: AtomicUsize,
    /// a read takes this many microseconds more
    pub slow: AtomicUsize,
    /// direct files open, but reads of them are refused
    pub refuse_reads: AtomicBool,
    /// direct files do not open
    pub refuse_opens: AtomicBool,
    /// the read with this number panics
    pub panic_at: AtomicUsize,
}

pub struct FaultyDisk(pub Arc<Faults>);

impl Disk for FaultyDisk {
    fn open(&self, path: &Path, access: Access) -> io::Result<File> {
        if access == Access::Direct && self.0.refuse_opens.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.0.opens.fetch_add(1, Ordering::Relaxed);
        System.open(path, access)
    }

    fn read_at(&self, file: &File, buffer: &mut [u8], offset: u64, access: Access) -> io::Result<usize> {
        let faults = &self.0;
        let number = faults.reads.fetch_add(1, Ordering::Relaxed) + 1;
        faults.asked.fetch_add(buffer.len(), Ordering::Relaxed);
        if access == Access::Direct && faults.refuse_reads.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let slow = faults.slow.load(Ordering::Relaxed);
        if slow > 0 {
            std::thread::sleep(Duration::from_micros(slow as u64));
        }
        assert_ne!(number, faults.panic_at.load(Ordering::Relaxed), "a fault made by the test");
        if number == faults.fail_at.load(Ordering::Relaxed) || faults.fail_all.load(Ordering::Relaxed) {
            return Err(io::Error::other("Input/output error"));
        }
        let got = System.read_at(file, buffer, offset, access)?;
        match faults.short.load(Ordering::Relaxed) {
            0 => Ok(got),
            most => Ok(got.min(most)),
        }
    }
}
