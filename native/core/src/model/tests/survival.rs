//! A model on a disk that fails: typed errors, and a model that goes on when the disk does.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use super::{fragment, run, spec, Model, Spec};
use crate::kernels::{Isa, Machine};
use crate::reading::tests::faulty::{Faults, FaultyDisk};
use crate::Code;

const TILES: [(usize, bool); 4] = [(24, false), (24, true), (24, false), (24, false)];

fn open(faults: &Arc<Faults>) -> (crate::Result<Model>, tempfile::NamedTempFile) {
    let (file, _, sums) = fragment();
    let spec = Spec::from_json(&spec(&file, &TILES).to_string()).unwrap();
    let machine = Arc::new(Machine::new(Isa::detect(), 2).unwrap());
    let disk = Box::new(FaultyDisk(faults.clone()));
    (Model::open_on(spec, sums, machine, &AtomicBool::new(false), None, disk), file)
}

#[test]
fn a_read_error_while_it_is_opened_is_told_and_another_try_succeeds() {
    let faults = Arc::new(Faults::default());
    for read in [1, 2] {
        faults.fail_at.store(faults.reads.load(Ordering::Relaxed) + read, Ordering::Relaxed);
        let (model, _file) = open(&faults);
        assert_eq!(model.err().unwrap().code, Code::Io);
    }
    let (model, _file) = open(&faults);
    run(&model.unwrap(), &[1]).unwrap();
}

#[test]
fn a_read_error_in_a_pass_ends_that_pass_alone() {
    let faults = Arc::new(Faults::default());
    let (model, _file) = open(&faults);
    let model = model.unwrap();
    let wanted = run(&model, &[1, 30]).unwrap();
    for ahead in 1..12 {
        faults
            .fail_at
            .store(faults.reads.load(Ordering::Relaxed) + ahead, Ordering::Relaxed);
        let mut failed = 0;
        // the read may be one that was made ahead for a later pass
        for _ in 0..6 {
            match run(&model, &[1, 30]) {
                Ok(found) => assert_eq!(found, wanted),
                Err(why) => {
                    assert_eq!(why.code, Code::Io, "{why}");
                    failed += 1;
                }
            }
        }
        assert!(failed <= 1, "{failed} passes failed for one read");
    }
    assert_eq!(run(&model, &[1, 30]).unwrap(), wanted);
}

#[test]
fn a_disk_that_is_gone_fails_every_pass_until_it_is_back() {
    let faults = Arc::new(Faults::default());
    let (model, _file) = open(&faults);
    let model = model.unwrap();
    let wanted = run(&model, &[1]).unwrap();
    faults.fail_all.store(true, Ordering::Relaxed);
    // what was read ahead before serves one pass at most
    let _ = run(&model, &[1]);
    for _ in 0..3 {
        assert_eq!(run(&model, &[1]).unwrap_err().code, Code::Io);
    }
    faults.fail_all.store(false, Ordering::Relaxed);
    assert!((0..3).any(|_| run(&model, &[1]).is_ok_and(|found| found == wanted)));
    assert_eq!(run(&model, &[1]).unwrap(), wanted);
}

#[test]
fn short_and_slow_reads_change_nothing() {
    let faults = Arc::new(Faults::default());
    let (model, _file) = open(&faults);
    let wanted = run(&model.unwrap(), &[1, 30]).unwrap();
    faults.short.store(4096, Ordering::Relaxed);
    faults.slow.store(500, Ordering::Relaxed);
    let (model, _file) = open(&faults);
    let model = model.unwrap();
    for _ in 0..2 {
        assert_eq!(run(&model, &[1, 30]).unwrap(), wanted);
    }
}

#[test]
fn closed_while_it_waits_for_a_slow_disk_it_ends() {
    let faults = Arc::new(Faults::default());
    let (model, _file) = open(&faults);
    let model = Arc::new(model.unwrap());
    faults.slow.store(20_000, Ordering::Relaxed);
    let running = {
        let model = model.clone();
        std::thread::spawn(move || loop {
            if let Err(why) = run(&model, &[1]) {
                return why.code;
            }
        })
    };
    std::thread::sleep(std::time::Duration::from_millis(5));
    model.close();
    assert_eq!(running.join().unwrap(), Code::Aborted);
}
