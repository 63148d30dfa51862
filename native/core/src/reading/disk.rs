//! The two things that are asked of the operating system, behind a trait so that tests can put faults between.

use std::fs::File;
use std::io;
use std::path::Path;

use super::access::Access;

/// Opens and reads files.
pub(crate) trait Disk: Send + Sync {
    /// Opens for reading; refuses with `InvalidInput` or `Unsupported` where `access` cannot be had.
    fn open(&self, path: &Path, access: Access) -> io::Result<File>;

    /// One read at `offset`; may be short; 0 at the end of the file. Direct reads get whole pages at page addresses.
    fn read_at(&self, file: &File, buffer: &mut [u8], offset: u64, access: Access) -> io::Result<usize>;
}

/// The operating system.
pub(crate) struct System;

impl Disk for System {
    fn open(&self, path: &Path, access: Access) -> io::Result<File> {
        open(path, access)
    }

    #[cfg(unix)]
    fn read_at(&self, file: &File, buffer: &mut [u8], offset: u64, _: Access) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(file, buffer, offset)
    }

    #[cfg(windows)]
    fn read_at(&self, file: &File, buffer: &mut [u8], offset: u64, _: Access) -> io::Result<usize> {
        std::os::windows::fs::FileExt::seek_read(file, buffer, offset)
    }
}

#[cfg(target_os = "linux")]
fn open(path: &Path, access: Access) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    // O_NONBLOCK changes nothing for a file, but opening a pipe by mistake returns at once
    let direct = if access == Access::Direct { libc::O_DIRECT } else { 0 };
    File::options().read(true).custom_flags(direct | libc::O_NONBLOCK).open(path)
}

#[cfg(target_os = "macos")]
fn open(path: &Path, access: Access) -> io::Result<File> {
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::OpenOptionsExt;
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    // SAFETY: F_NOCACHE takes an integer and acts on a descriptor that `file` owns
    if access == Access::Direct && unsafe { libc::fcntl(file.as_raw_fd(), libc::F_NOCACHE, 1) } == -1 {
        return Err(io::ErrorKind::Unsupported.into());
    }
    Ok(file)
}

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
fn open(path: &Path, access: Access) -> io::Result<File> {
    match access {
        Access::Direct => Err(io::ErrorKind::Unsupported.into()),
        Access::Buffered => File::open(path),
    }
}
