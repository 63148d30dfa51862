//! Files: how they are opened, how many stay open, and what is found in them.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use super::faulty::{Faults, FaultyDisk};
use super::Stored;
use crate::reading::{Access, FileSpec, Read, Reader, PAGE};
use crate::{Code, Error};

fn reader(stored: &Stored, most_open: usize) -> (Reader, Arc<Faults>) {
    let faults = Arc::new(Faults::default());
    let disk = Box::new(FaultyDisk(faults.clone()));
    let reader = Reader::on(stored.specs.clone(), Some(stored.sums.clone()), most_open, disk).unwrap();
    (reader, faults)
}

fn read_one(reader: &Reader, read: &Read) -> Result<Vec<u8>, Error> {
    let mut bytes = vec![0; read.length];
    reader.read_now(&[*read], &mut [&mut bytes], None)?;
    Ok(bytes)
}

#[test]
fn reads_only_the_pages_that_hold_the_bytes() {
    let stored = Stored::new(&[1_000_000]);
    let (reader, faults) = reader(&stored, 8);
    let read = stored.read(0, 3 * PAGE - 1, 2);
    assert_eq!(read_one(&reader, &read).unwrap(), stored.wanted(&read));
    assert_eq!(faults.asked.load(Ordering::Relaxed), 2 * PAGE);
    assert_eq!(reader.counts().bytes, 2 * PAGE as u64);
    assert_eq!(reader.counts().reads, 1);
}

#[test]
fn falls_back_to_the_page_cache_where_direct_reads_are_refused() {
    let stored = Stored::new(&[10_000, 10_000]);
    for at_open in [true, false] {
        let (reader, faults) = reader(&stored, 8);
        faults.refuse_opens.store(at_open, Ordering::Relaxed);
        faults.refuse_reads.store(!at_open, Ordering::Relaxed);
        let read = stored.read(1, 9_000, 1_000);
        assert_eq!(read_one(&reader, &read).unwrap(), stored.wanted(&read));
        assert_eq!(reader.access(1).unwrap(), Access::Buffered);
        assert_eq!(reader.counts().buffered, 1);
        assert_eq!(faults.opens.load(Ordering::Relaxed), if at_open { 1 } else { 2 });
    }
}

#[test]
fn goes_on_after_a_short_read() {
    let stored = Stored::new(&[100_001]);
    for refuse in [false, true] {
        for short in [PAGE, PAGE + 1, 5 * PAGE - 1] {
            let (reader, faults) = reader(&stored, 8);
            faults.refuse_opens.store(refuse, Ordering::Relaxed);
            faults.short.store(short, Ordering::Relaxed);
            let read = stored.read(0, 5_000, 95_001);
            assert_eq!(read_one(&reader, &read).unwrap(), stored.wanted(&read));
        }
    }
}

#[test]
fn closes_the_file_used_longest_ago() {
    let stored = Stored::new(&[5_000; 40]);
    let (reader, faults) = reader(&stored, 4);
    let first = stored.read(0, 0, 5_000);
    for file in 0..40 {
        read_one(&reader, &first).unwrap();
        let read = stored.read(file, 0, 5_000);
        assert_eq!(read_one(&reader, &read).unwrap(), stored.wanted(&read));
    }
    // the first stays open as it is used all the time, each of the others was opened once
    assert_eq!(faults.opens.load(Ordering::Relaxed), 40);
    read_one(&reader, &stored.read(39, 0, 1)).unwrap();
    assert_eq!(faults.opens.load(Ordering::Relaxed), 40);
    read_one(&reader, &stored.read(30, 0, 1)).unwrap();
    assert_eq!(faults.opens.load(Ordering::Relaxed), 41);
}

#[test]
fn a_flipped_bit_anywhere_is_found_and_named() {
    let stored = Stored::new(&[10_000]);
    for at in [0, 4_095, 4_096, 8_191, 9_999] {
        let mut bytes = stored.bytes[0].clone();
        bytes[at] ^= 4;
        std::fs::write(stored.path(0), bytes).unwrap();
        let (reader, _) = reader(&stored, 8);
        let why = read_one(&reader, &stored.read(0, 0, 10_000)).unwrap_err();
        assert_eq!(why.code, Code::Corrupt);
        let wanted = format!(
            "Cannot use the bytes at {} of {}: their checksum is not the one that was stored",
            at / PAGE * PAGE,
            stored.path(0).display()
        );
        assert_eq!(why.message, wanted);
    }
}

#[test]
fn a_file_of_another_size_is_corrupt() {
    let stored = Stored::new(&[10_000]);
    for size in [0, 9_999, 10_001, 20_000] {
        let (late, _) = reader(&stored, 8);
        std::fs::write(stored.path(0), &stored.bytes[0]).unwrap();
        late.access(0).unwrap();
        let file = std::fs::File::options().write(true).open(stored.path(0)).unwrap();
        file.set_len(size).unwrap();
        let (early, _) = reader(&stored, 8);
        for (when, reader) in [("before it was opened", early), ("after", late)] {
            let why = read_one(&reader, &stored.read(0, 5_000, 5_000)).unwrap_err();
            assert_eq!(why.code, Code::Corrupt, "{size} {when}: {why}");
            assert!(why.message.contains("10000"), "{why}");
        }
    }
}

#[test]
fn says_what_cannot_be_opened() {
    let stored = Stored::new(&[10]);
    let folder = stored.path(0).parent().unwrap().to_path_buf();
    let missing = FileSpec {
        path: folder.join("missing"),
        size: 10,
        linked: None,
    };
    let not_a_file = FileSpec {
        path: folder,
        size: 10,
        linked: None,
    };
    let reader = Reader::new(vec![missing, not_a_file], None).unwrap();
    let why = reader.access(0).unwrap_err();
    assert!(why.code == Code::Io && why.message.contains("missing: No such file"), "{why}");
    assert_eq!(reader.access(1).unwrap_err().code, Code::BadInput);
    assert_eq!(reader.access(2).unwrap_err().message, "Cannot open file 2: there are 2");
}

#[test]
fn refuses_ranges_and_places_that_do_not_match() {
    let stored = Stored::new(&[10_000]);
    let (reader, faults) = reader(&stored, 8);
    let read = stored.read(0, 0, 10);
    let (mut short, mut right) = (vec![0; 9], vec![0; 10]);
    assert_eq!(reader.read_now(&[read], &mut [], None).unwrap_err().code, Code::BadInput);
    assert_eq!(
        reader
            .read_now(&[read, read], &mut [&mut right, &mut short], None)
            .unwrap_err()
            .code,
        Code::BadInput
    );
    let beyond = Read { offset: 9_991, ..read };
    let why = reader.read_now(&[beyond], &mut [&mut right], None).unwrap_err();
    assert_eq!(
        why.message,
        format!("Cannot read 10 bytes at 9991 of {}: it has 10000", stored.path(0).display())
    );
    assert_eq!(faults.reads.load(Ordering::Relaxed), 0);
    reader.read_now(&[], &mut [], None).unwrap();
}

#[test]
fn stops_reading_at_the_first_error_and_when_asked() {
    let stored = Stored::new(&[20 << 20]);
    let (reader, faults) = reader(&stored, 8);
    let read = stored.read(0, 0, 20 << 20);
    let mut bytes = vec![0; 20 << 20];
    faults.fail_all.store(true, Ordering::Relaxed);
    let why = reader.read_now(&[read], &mut [&mut bytes], None).unwrap_err();
    assert!(why.code == Code::Io && why.message.ends_with("Input/output error"), "{why}");
    assert!(faults.reads.load(Ordering::Relaxed) <= 4);
    faults.fail_all.store(false, Ordering::Relaxed);
    let abort = AtomicBool::new(true);
    let why = reader.read_now(&[read], &mut [&mut bytes], Some(&abort)).unwrap_err();
    assert_eq!(why.code, Code::Aborted);
    abort.store(false, Ordering::Relaxed);
    reader.read_now(&[read], &mut [&mut bytes], Some(&abort)).unwrap();
    assert!(bytes == stored.bytes[0]);
}

#[test]
fn a_file_that_grows_while_open_is_corrupt_where_its_end_is_read() {
    let stored = Stored::new(&[10_000]);
    let (reader, _) = reader(&stored, 8);
    reader.access(0).unwrap();
    std::fs::File::options()
        .append(true)
        .open(stored.path(0))
        .unwrap()
        .write_all(b"more")
        .unwrap();
    assert_eq!(read_one(&reader, &stored.read(0, 9_000, 1_000)).unwrap_err().code, Code::Corrupt);
}
