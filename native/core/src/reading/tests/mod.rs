//! What the parts of reading promise, with a disk that can fail, be slow, and come short.

pub(crate) mod faulty;
mod files;
mod linked;
mod map;
mod numbers;
mod order;
mod region;
mod streaming;

use std::path::PathBuf;

use super::{FileSpec, Read, PAGE};

/// A folder with files of known bytes, and what a reader needs for them.
pub(super) struct Stored {
    folder: tempfile::TempDir,
    pub specs: Vec<FileSpec>,
    pub sums: Vec<u32>,
    /// of each file, where its checksums begin
    pub first_sums: Vec<usize>,
    pub bytes: Vec<Vec<u8>>,
}

impl Stored {
    pub fn new(sizes: &[usize]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut stored = Stored {
            folder,
            specs: Vec::new(),
            sums: Vec::new(),
            first_sums: Vec::new(),
            bytes: Vec::new(),
        };
        for (index, &size) in sizes.iter().enumerate() {
            let bytes: Vec<u8> = (0..size).map(|at| (at.wrapping_mul(2654435761) >> 7) as u8 ^ index as u8).collect();
            let path = stored.path(index);
            std::fs::write(&path, &bytes).unwrap();
            stored.specs.push(FileSpec {
                path,
                size: size as u64,
                linked: None,
            });
            stored.first_sums.push(stored.sums.len());
            stored.sums.extend(bytes.chunks(PAGE).map(crc32fast::hash));
            stored.bytes.push(bytes);
        }
        stored
    }

    pub fn path(&self, index: usize) -> PathBuf {
        self.folder.path().join(format!("{index}.safetensors"))
    }

    pub fn read(&self, file: usize, offset: usize, length: usize) -> Read {
        Read {
            file,
            offset: offset as u64,
            length,
            first_sum: self.first_sums[file] + offset / PAGE,
        }
    }

    pub fn wanted(&self, read: &Read) -> &[u8] {
        &self.bytes[read.file][read.offset as usize..][..read.length]
    }

    /// Every file in ranges of `length` bytes, in order.
    pub fn pass(&self, length: usize) -> Vec<Read> {
        let mut reads = Vec::new();
        for (file, bytes) in self.bytes.iter().enumerate() {
            for offset in (0..bytes.len()).step_by(length) {
                reads.push(self.read(file, offset, length.min(bytes.len() - offset)));
            }
        }
        reads
    }
}
