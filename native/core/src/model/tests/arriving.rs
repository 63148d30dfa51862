//! Models whose files arrive while they run.

use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use super::*;
use crate::reading::{Arrivals, LEAF};
use crate::{Code, Error};

const WIDE: usize = 64;
const LONG: usize = 12 * 1024;
/// a page, then the matrix: leaves 0 to 3, of which the last is a page
const SIZE: usize = PAGE + LONG * WIDE * 4;

/// A fragment that is there, and a place where it arrives.
struct Fragment {
    folder: tempfile::TempDir,
    bytes: Vec<u8>,
    sums: Vec<u32>,
}

impl Fragment {
    fn new() -> Self {
        let mut bytes = vec![0u8; PAGE];
        let weights = (0..LONG * WIDE).map(|at| ((at * 37 % 101) as f32 - 50.0) / 64.0);
        bytes.extend(weights.flat_map(f32::to_le_bytes));
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("there"), &bytes).unwrap();
        let sums = bytes.chunks(PAGE).map(crc32fast::hash).collect();
        Self { folder, bytes, sums }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Rows of the matrix by ids, and a product with it where it has tiles.
    fn spec(&self, name: &str, tiles: &[(usize, bool)]) -> Json {
        let path = self.path(name);
        let mut nodes = vec![json!({ "run": { "op": "rows", "weight": 0 }, "inputs": [0], "outputs": [1] })];
        if !tiles.is_empty() {
            nodes.push(json!({ "run": { "op": "linear", "weight": 0 }, "inputs": [1], "outputs": [2] }));
        }
        json!({
            "files": [{ "key": path.to_str().unwrap(), "path": path.to_str().unwrap(), "size": SIZE, "firstSum": 0 }],
            "vectors": [],
            "weights": [{
                "stored": { "file": 0, "offset": PAGE, "dtype": "F32", "dims": [LONG, WIDE] }, "scales": null,
                "tiles": tiles.iter().map(|&(rows, pinned)| json!({ "rows": rows, "pinned": pinned })).collect::<Vec<_>>(),
            }],
            "caches": [], "slots": 2, "kvCache": "f32", "precision": "exact",
            "segments": [{
                "values": 3, "head": null, "nodes": nodes,
                "inputs": [{ "name": "ids", "value": 0, "kind": "i64" }],
                "outputs": [{ "name": "out", "value": if tiles.is_empty() { 1 } else { 2 }, "kind": "f32" }],
            }],
        })
    }

    /// A model that waits for the fragment, which has begun to arrive at `name`.tmp.
    fn arriving(&self, name: &str, tiles: &[(usize, bool)]) -> (Model, Arc<Arrivals>) {
        let arrivals = Arc::new(Arrivals::new(&[Some(SIZE as u64)]).unwrap());
        let partial = self.path(&format!("{name}.tmp"));
        std::fs::File::create(&partial).unwrap().set_len(SIZE as u64).unwrap();
        arrivals.begin(0, &partial).unwrap();
        let machine = Arc::new(Machine::new(Isa::detect(), 2).unwrap());
        let spec = Spec::from_json(&self.spec(name, tiles).to_string()).unwrap();
        let opened = Model::open_arriving(spec, Vec::new(), machine, &AtomicBool::new(false), arrivals.clone());
        (opened.unwrap(), arrivals)
    }

    /// Has a leaf arrive.
    fn put(&self, name: &str, arrivals: &Arrivals, leaf: usize) {
        let range = leaf * LEAF..SIZE.min((leaf + 1) * LEAF);
        let file = std::fs::File::options()
            .write(true)
            .open(self.path(&format!("{name}.tmp")))
            .unwrap();
        file.write_all_at(&self.bytes[range.clone()], range.start as u64).unwrap();
        let sums = &self.sums[range.start / PAGE..range.end.div_ceil(PAGE)];
        arrivals.arrive(0, leaf, sums).unwrap();
    }

    /// Fetches what is waited for until `done`; gives the leaves in the order in which they were.
    fn serve(&self, name: &str, arrivals: &Arrivals, done: &AtomicBool) -> Vec<usize> {
        let mut served = Vec::new();
        while !done.load(Ordering::Relaxed) {
            for (_, leaf) in arrivals.take_wanted() {
                self.put(name, arrivals, leaf);
                served.push(leaf);
            }
            thread::sleep(Duration::from_millis(1));
        }
        served
    }

    /// Runs while what is waited for arrives.
    fn run_served(&self, name: &str, model: &Model, arrivals: &Arrivals, ids: &[i64]) -> (crate::Result<Vec<f32>>, Vec<usize>) {
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let served = scope.spawn(|| self.serve(name, arrivals, &done));
            let result = run(model, ids);
            done.store(true, Ordering::Relaxed);
            (result, served.join().unwrap())
        })
    }
}

fn cuts() -> [Vec<(usize, bool)>; 3] {
    let cut = |pinned: fn(usize) -> bool| (0..12).map(|at| (1024, pinned(at))).collect();
    [cut(|_| true), cut(|_| false), cut(|at| at % 3 == 0)]
}

#[test]
fn gives_the_same_bits_as_one_that_is_there_and_goes_on_when_its_file_has_its_place() {
    let fragment = Fragment::new();
    for (number, tiles) in cuts().into_iter().enumerate() {
        let name = format!("late-{number}");
        let wanted = run(&open(&fragment.spec("there", &tiles), fragment.sums.clone()).unwrap(), &[5, 12287]).unwrap();
        let (model, arrivals) = fragment.arriving(&name, &tiles);
        let (first, served) = fragment.run_served(&name, &model, &arrivals, &[5, 12287]);
        assert_eq!(first.unwrap(), wanted);
        let mut each = served.clone();
        each.sort_unstable();
        assert_eq!(each, [0, 1, 2, 3]);
        assert_eq!(run(&model, &[5, 12287]).unwrap(), wanted);
        std::fs::rename(fragment.path(&format!("{name}.tmp")), fragment.path(&name)).unwrap();
        assert_eq!(run(&model, &[5, 12287]).unwrap(), wanted);
        arrivals.finish(0).unwrap();
        assert_eq!(run(&model, &[5, 12287]).unwrap(), wanted);
    }
}

#[test]
fn asks_only_for_the_leaves_that_hold_the_rows_of_a_table() {
    let fragment = Fragment::new();
    let (model, arrivals) = fragment.arriving("table", &[]);
    let wanted = run(&open(&fragment.spec("there", &[]), fragment.sums.clone()).unwrap(), &[4200, 4201]).unwrap();
    let (rows, served) = fragment.run_served("table", &model, &arrivals, &[4200, 4201]);
    assert_eq!((rows.unwrap(), served), (wanted, vec![1]));
    // a page before the matrix: the last 16 rows are the last leaf
    let (rows, served) = fragment.run_served("table", &model, &arrivals, &[12287, 4200]);
    assert_eq!((rows.is_ok(), served), (true, vec![3]));
    assert!(arrivals.finish(0).is_err());
}

#[test]
fn a_pass_ends_when_fetching_fails_and_the_next_one_asks_again() {
    let fragment = Fragment::new();
    for (number, tiles) in cuts().into_iter().enumerate() {
        let name = format!("cut-{number}");
        let (model, arrivals) = fragment.arriving(&name, &tiles);
        fragment.put(&name, &arrivals, 0);
        for _ in 0..2 {
            let error = thread::scope(|scope| {
                let pass = scope.spawn(|| run(&model, &[5]));
                while arrivals.take_wanted().is_empty() {
                    thread::sleep(Duration::from_millis(1));
                }
                arrivals.fail(Error::new(Code::Io, "Cannot get it: the cable is cut"));
                pass.join().unwrap().unwrap_err()
            });
            assert_eq!((error.code, error.message.as_str()), (Code::Io, "Cannot get it: the cable is cut"));
            arrivals.resume();
        }
        let (made, served) = fragment.run_served(&name, &model, &arrivals, &[5]);
        let wanted = run(&open(&fragment.spec("there", &tiles), fragment.sums.clone()).unwrap(), &[5]).unwrap();
        assert_eq!(made.unwrap(), wanted);
        assert!(!served.contains(&0));
    }
}

#[test]
fn whoever_waits_is_let_go_by_an_abort_or_by_closing() {
    let fragment = Fragment::new();
    for (number, tiles) in cuts().into_iter().enumerate() {
        for closes in [false, true] {
            let name = format!("gone-{number}-{closes}");
            let (model, arrivals) = fragment.arriving(&name, &tiles);
            fragment.put(&name, &arrivals, 0);
            let abort = AtomicBool::new(false);
            let ids = HashMap::from([("ids".to_owned(), Value::I64(Tensor::new(vec![1, 1], vec![5]).unwrap()))]);
            let error = thread::scope(|scope| {
                let pass = scope.spawn(|| model.run(0, &ids, &mut [], Logits::All, &abort));
                while arrivals.take_wanted().is_empty() {
                    thread::sleep(Duration::from_millis(1));
                }
                if closes {
                    model.close();
                } else {
                    abort.store(true, Ordering::Relaxed);
                }
                pass.join().unwrap().unwrap_err()
            });
            assert_eq!(error.code, Code::Aborted);
            // and without closing: its threads end
            drop(model);
        }
    }
}

#[test]
fn bytes_that_are_not_those_that_arrived_are_found() {
    let fragment = Fragment::new();
    for (number, tiles) in cuts().into_iter().enumerate() {
        let name = format!("rot-{number}");
        let (model, arrivals) = fragment.arriving(&name, &tiles);
        for leaf in 0..4 {
            fragment.put(&name, &arrivals, leaf);
        }
        let file = std::fs::File::options()
            .write(true)
            .open(fragment.path(&format!("{name}.tmp")))
            .unwrap();
        file.write_all_at(&[0xff], 2 * LEAF as u64 + 77).unwrap();
        assert_eq!(run(&model, &[5]).unwrap_err().code, Code::Corrupt);
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let arrivals = Arrivals::new(&[None, Some(LEAF as u64 + 1)]).unwrap();
    assert!(arrivals.begin(0, &PathBuf::from("x")).is_err());
    assert!(arrivals.arrive(0, 0, &[]).is_err());
    assert!(arrivals.arrive(1, 0, &[1]).is_err());
    assert!(arrivals.arrive(1, 2, &[1]).is_err());
    assert!(arrivals.arrive(1, usize::MAX, &[1]).is_err());
    assert!(arrivals.arrive(1, 1, &[1]).is_ok());
    assert!(arrivals.finish(1).is_err());
    assert!(arrivals.finish(7).is_err());
    assert!(Arrivals::new(&[Some(u64::MAX)]).is_err());
    let fragment = Fragment::new();
    let machine = Arc::new(Machine::new(Isa::detect(), 1).unwrap());
    for sizes in [vec![Some(SIZE as u64 - 1)], vec![], vec![None, None]] {
        let spec = Spec::from_json(&fragment.spec("there", &[]).to_string()).unwrap();
        let arrivals = Arc::new(Arrivals::new(&sizes).unwrap());
        let opened = Model::open_arriving(spec, fragment.sums.clone(), machine.clone(), &AtomicBool::new(false), arrivals);
        assert_eq!(opened.err().unwrap().code, Code::BadInput);
    }
}
