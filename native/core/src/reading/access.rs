use std::path::PathBuf;

/// One file to read from, as the caller knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSpec {
    /// where it is
    pub path: PathBuf,
    /// how many bytes it has; a file of another size is corrupt
    pub size: u64,
}

/// How the bytes of a file reach memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// past the system's page cache: O_DIRECT on Linux, F_NOCACHE on macOS
    Direct,
    /// through the page cache: other systems, and file systems that refuse direct reads
    Buffered,
}
