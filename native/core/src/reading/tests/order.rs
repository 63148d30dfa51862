//! The order of reads, against a plain model of it.

use std::collections::BTreeSet;

use proptest::prelude::*;

use crate::reading::queue::{Next, Queue};
use crate::{Code, Error};

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn every_slot_has_one_owner_and_reads_come_in_order(
        reads in 1..7usize, slots in 1..6usize, steps in proptest::collection::vec((0..10u8, any::<usize>()), 0..200),
    ) {
        let mut queue = Queue::new(reads, slots);
        let mut flying: Vec<(u64, usize, usize)> = Vec::new();
        let mut leased: Vec<usize> = Vec::new();
        let mut content = vec![usize::MAX; slots];
        let mut place = 0;
        for (step, pick) in steps {
            match step {
                0..=3 => if let Some((number, place, slot)) = queue.start() {
                    prop_assert_eq!(number as usize % reads, place);
                    flying.push((number, place, slot));
                },
                4..=5 => if !flying.is_empty() {
                    // in any order
                    let (number, place, slot) = flying.swap_remove(pick % flying.len());
                    content[slot] = place;
                    let result = if pick % 7 == 0 { Err(Error::new(Code::Io, format!("{place}"))) } else { Ok(()) };
                    queue.finish(number, slot, result);
                },
                6..=7 => match queue.take(place).unwrap() {
                    Next::Waiting => {}
                    Next::Ready(slot) => {
                        prop_assert_eq!(content[slot], place);
                        leased.push(slot);
                        place = (place + 1) % reads;
                    }
                    Next::Failed(why) => {
                        prop_assert_eq!(why.message, place.to_string());
                        place = (place + 1) % reads;
                    }
                },
                8 => if !leased.is_empty() {
                    queue.release(leased.swap_remove(pick % leased.len()));
                },
                _ => if pick % 3 == 0 {
                    queue.rewind();
                    place = 0;
                },
            }
            let owned: Vec<usize> = flying.iter().map(|&(_, _, slot)| slot).chain(leased.iter().copied()).collect();
            let distinct: BTreeSet<usize> = owned.iter().copied().collect();
            prop_assert_eq!(distinct.len(), owned.len());
            prop_assert!(owned.iter().all(|&slot| slot < slots));
            if reads > 1 {
                prop_assert!(queue.take((place + 1) % reads).is_err());
            }
        }
        // nothing is lost: when all has landed and every lease is back, every slot can be given out again
        for (number, place, slot) in flying.drain(..) {
            content[slot] = place;
            queue.finish(number, slot, Ok(()));
        }
        leased.drain(..).for_each(|slot| queue.release(slot));
        let mut given = BTreeSet::new();
        for _ in 0..4 * slots {
            while let Some((number, place, slot)) = queue.start() {
                content[slot] = place;
                queue.finish(number, slot, Ok(()));
            }
            if let Next::Ready(slot) = queue.take(place).unwrap() {
                prop_assert_eq!(content[slot], place);
                given.insert(slot);
            }
            place = (place + 1) % reads;
            if given.len() == slots { break }
        }
        prop_assert_eq!(given.len(), slots);
    }
}

#[test]
fn keeps_what_was_read_ahead_beyond_the_end_of_a_broken_pass() {
    let mut queue = Queue::new(3, 6);
    for _ in 0..6 {
        let (number, _, slot) = queue.start().unwrap();
        queue.finish(number, slot, Ok(()));
    }
    let Next::Ready(first) = queue.take(0).unwrap() else { panic!() };
    queue.release(first);
    queue.rewind();
    // 1 and 2 were dropped, the 0, 1, 2 after them were not: no read is needed to go on
    for place in 0..3 {
        assert!(matches!(queue.take(place).unwrap(), Next::Ready(_)));
    }
    queue.rewind();
    assert!(matches!(queue.take(0).unwrap(), Next::Waiting));
}
