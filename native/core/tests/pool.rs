//! The thread pool: every part once, whatever goes wrong.
use masset_core::kernels::{Isa, Machine, Pool};
use masset_core::Code;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

fn counts(pool: &Pool, count: usize) -> Vec<usize> {
    let seen: Vec<AtomicUsize> = (0..count).map(|_| AtomicUsize::new(0)).collect();
    pool.run(count, &|index| {
        seen[index].fetch_add(1, Relaxed);
    })
    .unwrap();
    seen.into_iter().map(AtomicUsize::into_inner).collect()
}

#[test]
fn calls_every_index_once() {
    for threads in [1, 2, 5] {
        let pool = Pool::new(threads).unwrap();
        assert_eq!(pool.threads(), threads);
        for count in (0..40).chain([1000, 20_000]) {
            assert!(counts(&pool, count).iter().all(|n| *n == 1));
        }
    }
}

#[test]
fn wakes_after_a_rest() {
    let pool = Pool::new(3).unwrap();
    for _ in 0..30 {
        std::thread::sleep(Duration::from_millis(1));
        assert!(counts(&pool, 64).iter().all(|n| *n == 1));
    }
}

#[test]
fn all_threads_take_part() {
    let pool = Pool::new(3).unwrap();
    let inside = AtomicUsize::new(0);
    // each waits until all three are inside, so one thread alone could not finish
    pool.run(3, &|_| {
        inside.fetch_add(1, Relaxed);
        while inside.load(Relaxed) < 3 {
            std::thread::yield_now();
        }
    })
    .unwrap();
}

#[test]
fn a_panic_becomes_an_error_and_the_pool_stays_usable() {
    for threads in [1, 3] {
        let pool = Pool::new(threads).unwrap();
        let done = AtomicUsize::new(0);
        let error = pool
            .run(100, &|index| {
                done.fetch_add(1, Relaxed);
                assert!(index % 7 != 3, "on purpose");
            })
            .unwrap_err();
        assert_eq!((error.code, done.into_inner()), (Code::Engine, 100));
        assert!(counts(&pool, 100).iter().all(|n| *n == 1));
    }
}

#[test]
fn calls_from_within_and_from_several_threads_do_not_hang() {
    let pool = Pool::new(2).unwrap();
    let total = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..200 {
                    pool.run(5, &|_| {
                        pool.run(3, &|_| {
                            total.fetch_add(1, Relaxed);
                        })
                        .unwrap();
                    })
                    .unwrap();
                }
            });
        }
    });
    assert_eq!(total.into_inner(), 4 * 200 * 15);
}

#[test]
fn refuses_absurd_numbers_and_missing_instruction_sets() {
    assert_eq!(Pool::new(0).err().unwrap().code, Code::BadInput);
    assert_eq!(Pool::new(usize::MAX).err().unwrap().code, Code::BadInput);
    for isa in Isa::ALL {
        assert_eq!(Machine::new(isa, 1).is_ok(), isa.is_supported());
    }
    assert!(Isa::detect().is_supported());
}

#[test]
fn scratch_memory_stays_bounded() {
    use masset_core::kernels::{gemm, Encoding, Precision, Product, Tile};
    let machine = Machine::new(Isa::detect(), 2).unwrap();
    let bytes = vec![0u8; 64 * 8192 * 4];
    let tile = Tile::new(Encoding::F32, (64, 8192), &bytes, None, None).unwrap();
    for rows in [20, 500, 33] {
        let (x, mut y) = (vec![0f32; rows * 8192], vec![0f32; rows * 64]);
        gemm(
            &machine,
            &x,
            rows,
            &mut [Product {
                tiles: &[tile],
                bias: None,
                y: &mut y,
                stride: 64,
            }],
            Precision::Exact,
        )
        .unwrap();
        assert!(machine.scratch_bytes() <= 8 << 20);
    }
}
