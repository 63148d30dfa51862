//! Files that are a run of another's bytes.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::Stored;
use crate::reading::{Access, FileSpec, Linked, Read, Reader, PAGE};
use crate::{Code, Error};

const BEFORE: usize = 1003;
const AFTER: usize = 77;

static FOLDERS: AtomicUsize = AtomicUsize::new(0);

/// A file of `size` bytes of which all but the first page are a run of another file, and its own bytes.
fn linked(stored: &Stored, size: usize) -> (FileSpec, Vec<u8>) {
    let own = stored.bytes[0][..size].to_vec();
    let path = stored.path(100 + FOLDERS.fetch_add(1, Ordering::Relaxed));
    let other = [&[1; BEFORE][..], &own[PAGE..], &[2; AFTER]].concat();
    std::fs::write(&path, &other).unwrap();
    let linked = Linked {
        begin: PAGE as u64,
        offset: BEFORE as u64,
        size: other.len() as u64,
    };
    let spec = FileSpec {
        path,
        size: size as u64,
        linked: Some(linked),
    };
    (spec, own)
}

fn read(reader: &Reader, offset: usize, length: usize) -> Result<Vec<u8>, Error> {
    let mut bytes = vec![0; length];
    let read = Read {
        file: 0,
        offset: offset as u64,
        length,
        first_sum: offset / PAGE,
    };
    reader.read_now(&[read], &mut [&mut bytes], None)?;
    Ok(bytes)
}

fn sums(own: &[u8]) -> Vec<u32> {
    own.chunks(PAGE).map(crc32fast::hash).collect()
}

#[test]
fn gives_the_bytes_of_the_run_and_checks_them() {
    let stored = Stored::new(&[3_000_000]);
    for size in [PAGE + 1, 2 * PAGE, 2_500_000] {
        let (spec, own) = linked(&stored, size);
        let reader = Reader::new(vec![spec.clone()], Some(sums(&own))).unwrap();
        for (offset, length) in [(PAGE, size - PAGE), (size - 1, 1), (PAGE, 1)] {
            assert_eq!(read(&reader, offset, length).unwrap(), own[offset..offset + length]);
        }
        assert_eq!(reader.access(0).unwrap(), Access::Buffered);
        let mut other = std::fs::read(&spec.path).unwrap();
        other[BEFORE] ^= 1;
        std::fs::write(&spec.path, other).unwrap();
        let why = read(&reader, PAGE, 1).unwrap_err();
        let place = format!("the bytes at {BEFORE} of {}", spec.path.display());
        assert!(why.code == Code::Corrupt && why.message.contains(&place), "{why}");
    }
}

#[test]
fn refuses_what_is_not_in_the_run() {
    let stored = Stored::new(&[100_000]);
    let (spec, own) = linked(&stored, 50_000);
    let reader = Reader::new(vec![spec.clone()], Some(sums(&own))).unwrap();
    assert_eq!(read(&reader, 100, 10).unwrap_err().code, Code::BadInput);
    assert_eq!(reader.map(0, 0).err().map(|why| why.code), Some(Code::BadInput));
    let Linked { begin, offset, size } = spec.linked.unwrap();
    for wrong in [
        Linked {
            begin: 50_001,
            offset,
            size,
        },
        Linked {
            begin,
            offset: offset + AFTER as u64 + 1,
            size,
        },
        Linked {
            begin,
            offset: u64::MAX,
            size,
        },
        Linked {
            begin,
            offset,
            size: u64::MAX,
        },
    ] {
        let linked = Some(wrong);
        let refused = Reader::new(vec![FileSpec { linked, ..spec.clone() }], None);
        assert_eq!(refused.err().map(|why| why.code), Some(Code::BadInput), "{wrong:?}");
    }
}

#[test]
fn says_where_the_other_file_is_shorter_or_longer() {
    let stored = Stored::new(&[100_000]);
    let (spec, own) = linked(&stored, 50_000);
    let other = std::fs::read(&spec.path).unwrap();
    for changed in [&other[..other.len() - 1], &[other.as_slice(), &[0]].concat()] {
        std::fs::write(&spec.path, changed).unwrap();
        let reader = Reader::new(vec![spec.clone()], Some(sums(&own))).unwrap();
        let why = read(&reader, PAGE, 10).unwrap_err();
        assert!(
            why.code == Code::Corrupt && why.message.contains(&spec.path.display().to_string()),
            "{why}"
        );
    }
}
