//! A process that opens and closes streams for ever does not grow. Alone in its binary: it counts what the process has.
#![cfg(target_os = "linux")]

use std::sync::Arc;

use masset_core::reading::{FileSpec, Read, Reader, Region, Stream, Wait};

fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

fn cycle(folder: &std::path::Path, turn: usize) {
    let files: Vec<FileSpec> = (0..3)
        .map(|file| FileSpec {
            path: folder.join(file.to_string()),
            size: 1 << 20,
            linked: None,
        })
        .collect();
    let reads: Vec<Read> = (0..12)
        .map(|place| Read {
            file: place % 3,
            offset: (place / 3 * 262_144) as u64,
            length: 262_144,
            first_sum: 0,
        })
        .collect();
    let reader = Arc::new(Reader::new(files, None).unwrap());
    let region = Region::new(Stream::slot_bytes(&reader, &reads).unwrap(), 4).unwrap();
    let stream = Stream::open(reader, &reads, region, 2).unwrap();
    // left in a different state each time: at once, in the middle, with a lease held
    let mut lease = None;
    for place in 0..turn % 13 {
        drop(lease.take());
        lease = Some(stream.next(place % 12, Wait::default()).unwrap());
    }
    if turn.is_multiple_of(2) {
        stream.close();
    }
}

#[test]
fn a_thousand_cycles_leave_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    for file in 0..3 {
        std::fs::write(folder.path().join(file.to_string()), vec![file as u8; 1 << 20]).unwrap();
    }
    let turns = |range: std::ops::Range<usize>| range.for_each(|turn| cycle(folder.path(), turn));
    turns(0..100);
    let before = (descriptors(), threads(), resident_bytes());
    turns(0..1000);
    assert_eq!((descriptors(), threads()), (before.0, before.1));
    let grown = resident_bytes().saturating_sub(before.2);
    assert!(grown < 1 << 20, "grew by {grown} bytes");
}
