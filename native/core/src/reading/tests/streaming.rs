//! The stream: order, leases, errors, closing.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::faulty::{Faults, FaultyDisk};
use super::Stored;
use crate::reading::{Lease, Read, Reader, Region, Stream, Wait};
use crate::Code;

/// Of sizes that are no multiples of anything.
const SIZES: [usize; 3] = [300_001, 70_000, 5];

fn open(stored: &Stored, reads: &[Read], slots: usize, threads: usize) -> (Stream, Arc<Faults>) {
    let faults = Arc::new(Faults::default());
    let disk = Box::new(FaultyDisk(faults.clone()));
    let reader = Arc::new(Reader::on(stored.specs.clone(), Some(stored.sums.clone()), 2, disk).unwrap());
    let region = Region::new(Stream::slot_bytes(&reader, reads).unwrap(), slots).unwrap();
    (Stream::open(reader, reads, region, threads).unwrap(), faults)
}

fn next(stream: &Stream, place: usize) -> crate::Result<Lease> {
    let most = Some(Duration::from_secs(30));
    stream.next(
        place,
        Wait {
            timeout: most,
            abort: None,
        },
    )
}

/// Waits for something that another thread does; a test that fails says so instead of hanging.
fn until(what: impl Fn() -> bool) {
    let begun = Instant::now();
    while !what() {
        assert!(begun.elapsed() < Duration::from_secs(30), "it never happened");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn gives_every_pass_in_order_whatever_the_slots_and_threads() {
    let stored = Stored::new(&SIZES);
    let reads = stored.pass(10_007);
    for (slots, threads) in [(1, 1), (1, 3), (2, 2), (5, 3), (100, 4)] {
        let (stream, _) = open(&stored, &reads, slots, threads);
        for _ in 0..3 {
            for (place, read) in reads.iter().enumerate() {
                let lease = next(&stream, place).unwrap();
                assert!(lease[..] == *stored.wanted(read));
                assert_eq!(lease.start(), read.offset as usize % 4096);
            }
        }
        let stats = stream.stats();
        assert!(stats.disk.reads >= 3 * reads.len() as u64 && stats.disk.idle <= stats.age);
    }
}

#[test]
fn reads_ahead_as_far_as_slots_allow_and_around_the_end() {
    let stored = Stored::new(&[100_000]);
    let reads = stored.pass(25_000);
    let (stream, faults) = open(&stored, &reads, 6, 2);
    until(|| stream.stats().disk.reads == 6);
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(faults.reads.load(Ordering::Relaxed), 6);
    let held: Vec<Lease> = (0..3).map(|place| next(&stream, place).unwrap()).collect();
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(faults.reads.load(Ordering::Relaxed), 6);
    drop(held);
    until(|| stream.stats().disk.reads == 9);
}

#[test]
fn a_slot_is_recycled_when_the_last_clone_of_its_lease_is_gone() {
    let stored = Stored::new(&[100_000]);
    let reads = stored.pass(50_000);
    let (stream, faults) = open(&stored, &reads, 1, 1);
    let lease = next(&stream, 0).unwrap();
    let workers: Vec<_> = (0..4)
        .map(|_| {
            let lease = lease.clone();
            std::thread::spawn(move || lease.iter().map(|&byte| byte as u64).sum::<u64>())
        })
        .collect();
    let sums: Vec<u64> = workers.into_iter().map(|worker| worker.join().unwrap()).collect();
    assert!(sums.iter().all(|&sum| sum == sums[0]));
    assert_eq!(faults.reads.load(Ordering::Relaxed), 1);
    let short = Wait {
        timeout: Some(Duration::from_millis(5)),
        abort: None,
    };
    assert_eq!(stream.next(1, short).unwrap_err().code, Code::Aborted);
    drop(lease);
    assert!(next(&stream, 1).unwrap()[..] == *stored.wanted(&reads[1]));
}

#[test]
fn an_error_reaches_the_consumer_of_that_read_and_a_later_pass_succeeds() {
    let stored = Stored::new(&[100_000]);
    let reads = stored.pass(10_000);
    let (stream, faults) = open(&stored, &reads, 1, 1);
    // with one slot nothing is read ahead beyond the lease, so read 4 is the fifth
    faults.fail_at.store(5, Ordering::Relaxed);
    for pass in 0..2 {
        for (place, read) in reads.iter().enumerate() {
            match next(&stream, place) {
                Ok(lease) => assert!((pass, place) != (0, 4) && lease[..] == *stored.wanted(read)),
                Err(why) => assert!((pass, place, why.code) == (0, 4, Code::Io), "{why}"),
            }
        }
    }
}

#[test]
fn a_disk_that_always_fails_is_asked_no_more_often_than_there_are_slots() {
    let stored = Stored::new(&[100_000]);
    let reads = stored.pass(10_000);
    let (stream, faults) = open(&stored, &reads, 4, 2);
    until(|| faults.reads.load(Ordering::Relaxed) == 4);
    faults.fail_all.store(true, Ordering::Relaxed);
    for place in 0..10 {
        let result = next(&stream, place);
        assert_eq!(result.is_err(), place >= 4, "{place}");
    }
    until(|| stream.stats().disk.reads == 14);
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(faults.reads.load(Ordering::Relaxed), 14);
    faults.fail_all.store(false, Ordering::Relaxed);
    for place in 0..4 {
        assert!(next(&stream, place).is_err());
    }
    for (place, read) in reads.iter().enumerate().skip(4) {
        assert!(next(&stream, place).unwrap()[..] == *stored.wanted(read));
    }
}

#[test]
fn a_file_truncated_or_changed_under_the_stream_is_corrupt() {
    let stored = Stored::new(&[400_000]);
    let reads = stored.pass(10_000);
    let (stream, _) = open(&stored, &reads, 2, 1);
    next(&stream, 0).unwrap();
    std::fs::File::options()
        .write(true)
        .open(stored.path(0))
        .unwrap()
        .set_len(49 * 4096)
        .unwrap();
    let failed = (1..40)
        .filter(|&place| next(&stream, place).is_err_and(|why| why.code == Code::Corrupt))
        .count();
    assert_eq!(failed, 20);
}

#[test]
fn rewinds_from_anywhere_with_reads_in_flight() {
    let stored = Stored::new(&SIZES);
    let reads = stored.pass(9_000);
    for slots in [1, 3, 60] {
        let (stream, faults) = open(&stored, &reads, slots, 3);
        faults.slow.store(200, Ordering::Relaxed);
        for stop in [0, 1, 7, reads.len() - 1, reads.len(), 3] {
            for (place, read) in reads.iter().enumerate().take(stop) {
                assert!(next(&stream, place).unwrap()[..] == *stored.wanted(read));
            }
            stream.rewind();
        }
        let why = next(&stream, 5).unwrap_err();
        assert_eq!(why.message, "Cannot give out read 5: the next of this pass is 0");
        assert_eq!(next(&stream, usize::MAX).unwrap_err().code, Code::BadInput);
        next(&stream, 0).unwrap();
    }
}

#[test]
fn waiting_ends_by_timeout_abort_or_close_and_may_be_taken_up_again() {
    let stored = Stored::new(&[100_000]);
    let reads = stored.pass(10_000);
    let (stream, faults) = open(&stored, &reads, 1, 1);
    let held = next(&stream, 0).unwrap();
    let abort = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            stream.next(
                1,
                Wait {
                    timeout: None,
                    abort: Some(&abort),
                },
            )
        });
        std::thread::sleep(Duration::from_millis(20));
        abort.store(true, Ordering::Relaxed);
        assert_eq!(
            waiting.join().unwrap().unwrap_err().message,
            "Cannot wait for read 1: the caller asked to stop"
        );
    });
    faults.slow.store(30_000, Ordering::Relaxed);
    drop(held);
    let short = Wait {
        timeout: Some(Duration::from_millis(1)),
        abort: None,
    };
    assert_eq!(
        stream.next(1, short).unwrap_err().message,
        "Cannot wait for read 1: it took too long"
    );
    let held = next(&stream, 1).unwrap();
    assert!(stream.stats().waited >= Duration::from_millis(20));
    std::thread::scope(|scope| {
        let waiting: Vec<_> = (0..3).map(|_| scope.spawn(|| stream.next(2, Wait::default()))).collect();
        std::thread::sleep(Duration::from_millis(20));
        stream.close();
        for thread in waiting {
            assert_eq!(
                thread.join().unwrap().unwrap_err().message,
                "Cannot wait for read 2: the stream is closed"
            );
        }
    });
    stream.close();
    assert_eq!(next(&stream, 2).unwrap_err().code, Code::Aborted);
    // the bytes stay as long as the lease, even without the stream
    drop(stream);
    assert!(held[..] == *stored.wanted(&reads[1]));
}

#[test]
fn a_panic_of_a_reading_thread_is_an_error_of_that_read() {
    let stored = Stored::new(&[100_000]);
    let reads = stored.pass(10_000);
    let (stream, faults) = open(&stored, &reads, 1, 1);
    faults.panic_at.store(3, Ordering::Relaxed);
    for place in 0..10 {
        assert_eq!(next(&stream, place).err().map(|why| why.code), (place == 2).then_some(Code::Engine));
    }
}

#[test]
fn refuses_reads_slots_and_threads_that_cannot_be() {
    let stored = Stored::new(&[100_000]);
    let reads = stored.pass(10_000);
    let reader = Arc::new(Reader::new(stored.specs.clone(), None).unwrap());
    let open = |reads: &[Read], slot: usize, threads| Stream::open(reader.clone(), reads, Region::new(slot, 2).unwrap(), threads);
    for (reads, slot, threads) in [
        (&reads[..0], 20_000, 1),
        (&reads, 4_096, 1),
        (&reads, 20_000, 0),
        (&reads, 20_000, 65),
    ] {
        assert_eq!(open(reads, slot, threads).err().unwrap().code, Code::BadInput);
    }
    let beyond = Read { file: 1, ..reads[0] };
    assert_eq!(open(&[beyond], 20_000, 1).err().unwrap().message, "Cannot read file 1: there are 1");
}

#[test]
fn survives_consumers_rewinds_faults_and_closing_all_at_once() {
    let stored = Stored::new(&SIZES);
    let reads = stored.pass(7_001);
    for round in 0..30 {
        let (stream, faults) = open(&stored, &reads, 1 + round % 5, 1 + round % 4);
        faults.slow.store(round * 10, Ordering::Relaxed);
        faults.fail_at.store(20 + round, Ordering::Relaxed);
        let place = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| loop {
                    let at = place.load(Ordering::Relaxed);
                    match stream.next(at % reads.len(), Wait::default()) {
                        Ok(lease) => assert!(lease[..] == *stored.wanted(&reads[at % reads.len()])),
                        Err(why) if why.message.ends_with("the stream is closed") => return,
                        Err(why) => assert!(matches!(why.code, Code::BadInput | Code::Io), "{why}"),
                    }
                    let _ = place.compare_exchange(at, at + 1, Ordering::Relaxed, Ordering::Relaxed);
                });
            }
            scope.spawn(|| {
                for _ in 0..20 {
                    std::thread::sleep(Duration::from_micros(300));
                    stream.rewind();
                    place.store(0, Ordering::Relaxed);
                }
                stream.close();
            });
        });
    }
}

#[test]
fn reads_that_are_needed_together_share_a_slot_and_a_lease() {
    let stored = Stored::new(&SIZES);
    let groups: Vec<Vec<Read>> = (0..20)
        .map(|at| vec![stored.read(0, at * 14_001, 9_001 + at), stored.read(1, at * 3_000, 700)])
        .collect();
    let reader = Arc::new(Reader::new(stored.specs.clone(), Some(stored.sums.clone())).unwrap());
    let region = Region::new(Stream::group_bytes(&reader, &groups).unwrap(), 3).unwrap();
    let stream = Stream::open_groups(reader.clone(), &groups, region, 2).unwrap();
    for _ in 0..2 {
        for (place, group) in groups.iter().enumerate() {
            let lease = next(&stream, place).unwrap();
            assert!(lease[..] == *stored.wanted(&group[0]) && *lease.part(1) == *stored.wanted(&group[1]));
            assert_eq!((lease.bytes(), lease.part(2).len()), (9_701 + place, 0));
        }
    }
    let region = Region::new(1 << 20, 3).unwrap();
    assert!(Stream::open_groups(reader, &[vec![]], region, 2).is_err());
}

#[test]
fn whoever_checks_for_others_has_to_check_everything() {
    let stored = Stored::new(&[300_001]);
    let reads = [stored.read(0, 10, 299_990)];
    let (stream, _) = open(&stored, &reads, 2, 1);
    let wait = Wait {
        timeout: Some(Duration::from_secs(30)),
        abort: None,
    };
    let left_out = |count: usize, task: &(dyn Fn(usize) + Sync)| {
        (1..count).for_each(task);
        Ok(())
    };
    assert_eq!(stream.next_checked_by(0, wait, left_out).unwrap_err().code, Code::Engine);
    let failing = |_: usize, _: &(dyn Fn(usize) + Sync)| Err(crate::Error::bad("no threads"));
    assert_eq!(stream.next_checked_by(0, wait, failing).unwrap_err().code, Code::BadInput);
    let order = |count: usize, task: &(dyn Fn(usize) + Sync)| {
        assert!(count > 3);
        (0..count).rev().for_each(task);
        Ok(())
    };
    assert!(stream.next_checked_by(0, wait, order).unwrap()[..] == *stored.wanted(&reads[0]));
    // a page in the middle, beyond the first piece
    let mut sums = stored.sums.clone();
    sums[40] ^= 1;
    let reader = Arc::new(Reader::new(stored.specs.clone(), Some(sums)).unwrap());
    let region = Region::new(Stream::slot_bytes(&reader, &reads).unwrap(), 1).unwrap();
    let stream = Stream::open(reader, &reads, region, 1).unwrap();
    let why = next(&stream, 0).unwrap_err();
    assert!(why.code == Code::Corrupt && why.message.contains(&(40 * 4096).to_string()), "{why}");
    assert_eq!(next(&stream, 0).unwrap_err().code, Code::Corrupt);
}
