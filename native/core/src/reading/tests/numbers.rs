//! Numbers from outside, hostile ones among them.

use std::sync::Arc;

use proptest::prelude::*;

use super::Stored;
use crate::reading::access::FileSpec;
use crate::reading::span::Span;
use crate::reading::{Read, Reader, Region, Stream, Wait, PAGE};

/// Any number, most often one near a border.
fn hostile() -> impl Strategy<Value = u64> {
    let borders = prop_oneof![
        Just(0u64),
        Just(PAGE as u64),
        Just(100_000),
        Just(i64::MAX as u64),
        Just(u32::MAX as u64),
        Just(u64::MAX)
    ];
    prop_oneof![
        (borders, -3i64..4).prop_map(|(border, by)| border.wrapping_add_signed(by)),
        0..200_000u64,
        any::<u64>()
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(5000) })]

    #[test]
    fn a_span_lies_within_its_file_and_table_or_is_refused(
        size in hostile(), offset in hostile(), length in hostile(), first in hostile(), sums in hostile(), file in 0..3usize,
    ) {
        let size = size.min(i64::MAX as u64);
        let files = vec![FileSpec { path: "a".into(), size, linked: None }; 2];
        let read = Read { file, offset, length: length as usize, first_sum: first as usize };
        if let Ok(span) = Span::new(&read, &files, Some(sums as usize)) {
            let page = PAGE as u64;
            prop_assert!(file < 2 && span.length > 0 && span.lead < PAGE);
            prop_assert_eq!((span.start % page, span.asked % PAGE), (0, 0));
            prop_assert_eq!(span.start + span.lead as u64, offset);
            prop_assert!(span.start + span.stored as u64 <= size);
            prop_assert!(span.lead + span.length <= span.stored && span.stored <= span.asked);
            prop_assert!(span.asked - span.stored < PAGE);
            prop_assert!(span.asked - (span.lead + span.length) < PAGE);
            prop_assert!(span.asked / PAGE <= (sums - first) as usize);
        } else {
            let fits = offset.checked_add(length).is_some_and(|end| end <= size);
            let pages = fits.then(|| (offset + length).div_ceil(page()) - offset / page());
            let summed = pages.is_some_and(|pages| first.checked_add(pages).is_some_and(|last| last <= sums));
            prop_assert!(file == 2 || length == 0 || !fits || !summed || offset + length > (isize::MAX as u64) - page());
        }
    }

    #[test]
    fn the_parts_of_a_span_are_the_span(size in 1..60_000u64, offset in 0..60_000u64, length in 1..60_000usize, pages in 1..5usize) {
        let files = [FileSpec { path: "a".into(), size, linked: None }];
        let read = Read { file: 0, offset, length, first_sum: 0 };
        let Ok(span) = Span::new(&read, &files, None) else { return Ok(()) };
        let (mut at, mut wanted) = (span.start, offset);
        for part in span.parts(pages * PAGE) {
            prop_assert_eq!(part.start, at);
            prop_assert_eq!(part.start + part.lead as u64, wanted);
            prop_assert!(part.length > 0 && part.lead + part.length <= part.stored && part.stored <= part.asked);
            prop_assert_eq!(part.first_sum, ((part.start - span.start) / page()) as usize);
            at += part.asked as u64;
            wanted += part.length as u64;
        }
        prop_assert_eq!((at, wanted), (span.start + span.asked as u64, offset + length as u64));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn a_stream_gives_the_bytes_that_were_asked_for_or_refuses(
        reads in proptest::collection::vec((0..3usize, hostile(), hostile(), hostile()), 1..6), threads in 0..4usize, slots in 1..5usize,
    ) {
        let stored = Stored::new(&[100_000, 5_000]);
        let reader = Arc::new(Reader::new(stored.specs.clone(), Some(stored.sums.clone())).unwrap());
        let reads: Vec<Read> = reads.into_iter().map(|(file, offset, length, sum)| {
            // half of the time a range that could be, else anything
            if sum % 2 == 0 && file < 2 {
                let size = stored.bytes[file].len() as u64;
                let offset = offset % size;
                stored.read(file, offset as usize, 1 + (length % (size - offset)) as usize)
            } else {
                Read { file, offset, length: length as usize, first_sum: sum as usize }
            }
        }).collect();
        let Ok(slot_bytes) = Stream::slot_bytes(&reader, &reads) else { return Ok(()) };
        let Ok(region) = Region::new(slot_bytes, slots) else { return Ok(()) };
        let Ok(stream) = Stream::open(reader, &reads, region, threads) else { return Ok(()) };
        for _ in 0..2 {
            for (place, read) in reads.iter().enumerate() {
                // wrong checksums are found; no other error may come
                match stream.next(place, Wait::default()) {
                    Ok(lease) => prop_assert_eq!(&lease[..], stored.wanted(read)),
                    Err(why) => prop_assert_eq!(why.code, crate::Code::Corrupt),
                }
            }
        }
    }
}

proptest! {
    // few, as each writes a file
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(16) })]

    #[test]
    fn read_now_gives_the_bytes_that_were_asked_for(ranges in proptest::collection::vec((0..3_000_000usize, 1..2_500_000usize), 0..6)) {
        let stored = Stored::new(&[3_000_001]);
        let reader = Reader::new(stored.specs.clone(), Some(stored.sums.clone())).unwrap();
        let reads: Vec<Read> = ranges.iter().map(|&(at, length)| stored.read(0, at, length.min(3_000_001 - at))).collect();
        let mut into: Vec<Vec<u8>> = reads.iter().map(|read| vec![0; read.length]).collect();
        let mut places: Vec<&mut [u8]> = into.iter_mut().map(Vec::as_mut_slice).collect();
        reader.read_now(&reads, &mut places, None).unwrap();
        for (read, bytes) in reads.iter().zip(&into) {
            prop_assert!(bytes == stored.wanted(read));
        }
    }
}

fn page() -> u64 {
    PAGE as u64
}
