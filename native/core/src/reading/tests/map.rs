//! Mapped files: the same bytes, each page checked when it is first asked for.

use super::Stored;
use crate::reading::Reader;
use crate::Code;

fn reader(stored: &Stored) -> Reader {
    Reader::new(stored.specs.clone(), Some(stored.sums.clone())).unwrap()
}

#[test]
fn gives_the_bytes_of_any_range() {
    let stored = Stored::new(&[300_001, 4096, 5]);
    let reader = reader(&stored);
    for (file, bytes) in stored.bytes.iter().enumerate() {
        let map = reader.map(file, stored.first_sums[file]).unwrap();
        for (offset, length) in [
            (0, 1),
            (bytes.len() - 1, 1),
            (0, bytes.len()),
            (bytes.len() / 3, bytes.len() / 2),
            (2, 0),
        ] {
            assert_eq!(map.bytes(offset as u64, length).unwrap(), &bytes[offset..][..length]);
        }
    }
}

#[test]
fn refuses_ranges_and_files_that_are_not_there() {
    let stored = Stored::new(&[10_000, 0]);
    let reader = reader(&stored);
    let map = reader.map(0, 0).unwrap();
    for (offset, length) in [(10_000, 1), (0, 10_001), (u64::MAX, 1), (1, usize::MAX), (u64::MAX, usize::MAX)] {
        assert_eq!(map.bytes(offset, length).unwrap_err().code, Code::BadInput);
    }
    assert_eq!(reader.map(1, 3).err().unwrap().code, Code::BadInput);
    assert_eq!(reader.map(2, 0).err().unwrap().code, Code::BadInput);
    for first_sum in [1, 3, usize::MAX] {
        assert_eq!(reader.map(0, first_sum).err().unwrap().code, Code::BadInput);
    }
    std::fs::remove_file(stored.path(0)).unwrap();
    assert_eq!(reader.map(0, 0).err().unwrap().code, Code::Io);
    std::fs::write(stored.path(0), [0; 9_999]).unwrap();
    assert_eq!(reader.map(0, 0).err().unwrap().code, Code::Corrupt);
}

#[test]
fn a_damaged_page_is_refused_each_time_and_those_around_it_are_given() {
    let stored = Stored::new(&[20_000]);
    let mut bytes = stored.bytes[0].clone();
    bytes[9_000] ^= 1;
    std::fs::write(stored.path(0), &bytes).unwrap();
    let map = reader(&stored).map(0, 0).unwrap();
    for _ in 0..2 {
        assert_eq!(map.bytes(8_192, 4_096).unwrap_err().code, Code::Corrupt);
        assert_eq!(map.bytes(0, 20_000).unwrap_err().code, Code::Corrupt);
        assert_eq!(map.bytes(0, 8_192).unwrap(), &stored.bytes[0][..8_192]);
        assert_eq!(map.bytes(12_288, 7_712).unwrap(), &stored.bytes[0][12_288..]);
    }
}

#[test]
fn many_threads_may_ask_at_once() {
    let stored = Stored::new(&[500_000]);
    let map = reader(&stored).map(0, 0).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (map, stored) = (&map, &stored);
            scope.spawn(move || {
                for at in (thread * 1000..490_000).step_by(3_001) {
                    assert_eq!(map.bytes(at as u64, 9_000).unwrap(), &stored.bytes[0][at..][..9_000]);
                }
            });
        }
    });
}
