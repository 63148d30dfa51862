mod arriving;
mod blocks;
mod cached;
mod segments;
mod survival;

use std::collections::HashMap;
use std::io::Write;
use std::sync::atomic::AtomicBool;
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{json, Value as Json};

use super::{Logits, Model, Spec};
use crate::kernels::{Isa, Machine};
use crate::program::{Tensor, Value};
use crate::reading::PAGE;
use crate::trace::{Event, Lane};

const WIDTH: usize = 64;
const ROWS: usize = 96;

/// A fragment of one matrix (96, 64) of small numbers, and the checksums of its pages.
fn fragment() -> (tempfile::NamedTempFile, Vec<f32>, Vec<u32>) {
    let weights: Vec<f32> = (0..ROWS * WIDTH).map(|at| ((at * 37 % 101) as f32 - 50.0) / 64.0).collect();
    let mut bytes = vec![0u8; PAGE];
    bytes.extend(weights.iter().flat_map(|x| x.to_le_bytes()));
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&bytes).unwrap();
    let sums = bytes.chunks(PAGE).map(crc32fast::hash).collect();
    (file, weights, sums)
}

/// Rows of the matrix by ids, a product with it, and what is added to that.
fn spec(file: &tempfile::NamedTempFile, tiles: &[(usize, bool)]) -> Json {
    let size = PAGE + ROWS * WIDTH * 4;
    json!({
        "files": [{ "key": file.path().to_str().unwrap(), "path": file.path().to_str().unwrap(), "size": size, "firstSum": 0 }],
        "vectors": [{ "file": 0, "offset": PAGE, "dtype": "F32", "dims": [ROWS] }],
        "weights": [{
            "stored": { "file": 0, "offset": PAGE, "dtype": "F32", "dims": [ROWS, WIDTH] },
            "scales": null,
            "tiles": tiles.iter().map(|&(rows, pinned)| json!({ "rows": rows, "pinned": pinned })).collect::<Vec<_>>(),
        }],
        "caches": [], "slots": 2, "kvCache": "f32", "precision": "exact",
        "segments": [{
            "values": 5, "head": 2,
            "inputs": [{ "name": "ids", "value": 0, "kind": "i64" }],
            "outputs": [{ "name": "out", "value": 4, "kind": "f32" }],
            "nodes": [
                { "run": { "op": "rows", "weight": 0 }, "inputs": [0], "outputs": [1] },
                { "run": { "op": "vector", "index": 0 }, "inputs": [], "outputs": [2] },
                { "run": { "op": "linear", "weight": 0 }, "inputs": [1], "outputs": [3] },
                { "run": { "op": "binary", "f": "add" }, "inputs": [3, 2], "outputs": [4] },
            ],
        }],
    })
}

fn open(spec: &Json, sums: Vec<u32>) -> crate::Result<Model> {
    let machine = Arc::new(Machine::new(Isa::detect(), 2)?);
    Model::open(Spec::from_json(&spec.to_string())?, sums, machine, &AtomicBool::new(false))
}

fn run(model: &Model, ids: &[i64]) -> crate::Result<Vec<f32>> {
    let ids = Value::I64(Tensor::new(vec![1, ids.len()], ids.to_vec())?);
    let outputs = model.run(
        0,
        &HashMap::from([("ids".to_owned(), ids)]),
        &mut [],
        Logits::All,
        &AtomicBool::new(false),
    )?;
    Ok(outputs[0].1.f32()?.data().to_vec())
}

#[test]
fn computes_the_same_however_its_weight_is_cut_and_kept() {
    let (file, weights, sums) = fragment();
    let oracle = |row: usize, output: usize| -> f64 {
        let dot: f64 = (0..WIDTH)
            .map(|at| f64::from(weights[row * WIDTH + at]) * f64::from(weights[output * WIDTH + at]))
            .sum();
        dot + f64::from(weights[output])
    };
    let mut all = Vec::new();
    for tiles in [
        vec![(96, true)],
        vec![(96, false)],
        vec![(1, true), (47, false), (16, true), (32, false)],
        vec![(48, false), (48, false)],
    ] {
        let mut mapped = spec(&file, &tiles);
        mapped["map"] = json!(true);
        all.push(run(&open(&mapped, sums.clone()).unwrap(), &[5, 0, 95, 5]).unwrap());
        let model = open(&spec(&file, &tiles), sums.clone()).unwrap();
        for _ in 0..3 {
            all.push(run(&model, &[5, 0, 95, 5]).unwrap());
        }
        let streamed: u64 = tiles.iter().filter(|tile| !tile.1).map(|tile| (tile.0 * WIDTH * 4) as u64).sum();
        let pinned = (ROWS * WIDTH * 4) as u64 - streamed;
        let rows = |row: usize| {
            tiles
                .iter()
                .scan(0, |first, tile| {
                    Some((*first <= row && row < *first + tile.0 && !tile.1, *first += tile.0).0)
                })
                .any(|absent| absent)
        };
        let alone = [0, 5, 95].iter().filter(|&&row| rows(row)).count() as u64 * (WIDTH * 4) as u64;
        assert_eq!(model.stats().bytes_read, (ROWS * 4) as u64 + pinned + 3 * (streamed + alone));
    }
    for made in &all {
        assert_eq!(made, &all[0]);
    }
    for (at, row) in [5, 0, 95, 5].into_iter().enumerate() {
        for output in 0..ROWS {
            assert!((f64::from(all[0][at * ROWS + output]) - oracle(row, output)).abs() < 1e-3);
        }
    }
}

#[test]
fn a_pass_may_end_before_the_head_or_compute_it_for_the_last_row() {
    let (file, _, sums) = fragment();
    let pass = |model: &Model, logits| {
        let ids = Value::I64(Tensor::new(vec![1, 3], vec![5, 0, 95]).unwrap());
        let inputs = HashMap::from([("ids".to_owned(), ids)]);
        model.run(0, &inputs, &mut [], logits, &AtomicBool::new(false)).unwrap()
    };
    for tiles in [
        vec![(96, true)],
        vec![(48, true), (48, false)],
        vec![(40, false), (40, false), (16, false)],
    ] {
        let mut plan = spec(&file, &tiles);
        plan["segments"][0]["outputs"]
            .as_array_mut()
            .unwrap()
            .push(json!({ "name": "rows", "value": 1, "kind": "f32" }));
        let model = open(&plan, sums.clone()).unwrap();
        let all = pass(&model, Logits::All);
        for _ in 0..3 {
            let before = model.stats().bytes_read;
            let none = pass(&model, Logits::None);
            assert_eq!(none, [all[1].clone()]);
            // rows by their ids, where they are in no pinned tile
            assert!(model.stats().bytes_read - before <= 3 * (WIDTH * 4) as u64);
            let last = pass(&model, Logits::Last);
            let data = |value: &Value| value.f32().unwrap().data().to_vec();
            assert_eq!(data(&last[0].1), data(&all[0].1)[2 * ROWS..]);
            assert_eq!(pass(&model, Logits::All), all);
        }
        // what would be left out of the order of the stream
        plan["segments"][0]["head"] = json!(0);
        assert!(open(&plan, sums.clone()).err().unwrap().message.contains("its head is none"));
    }
}

#[test]
fn goes_on_after_a_pass_that_failed() {
    let (file, _, sums) = fragment();
    let model = open(&spec(&file, &[(48, false), (48, true)]), sums.clone()).unwrap();
    let wanted = run(&model, &[1]).unwrap();
    assert!(run(&model, &[96]).is_err());
    assert!(run(&model, &[-1]).is_err());
    assert_eq!(run(&model, &[1]).unwrap(), wanted);
    let aborted = model.run(0, &HashMap::new(), &mut [], Logits::All, &AtomicBool::new(true));
    assert!(aborted.is_err());
    assert_eq!(run(&model, &[1]).unwrap(), wanted);
    // a model that shares what stays in memory, closed while the other goes on
    let other = open(&spec(&file, &[(48, false), (48, true)]), sums).unwrap();
    assert_eq!(other.stats().bytes_read, (ROWS * 4) as u64);
    other.close();
    assert_eq!(run(&other, &[1]).unwrap_err().code.as_str(), "ABORTED");
    drop(other);
    assert_eq!(run(&model, &[1]).unwrap(), wanted);
}

#[test]
fn finds_a_page_that_changed() {
    let (mut file, _, sums) = fragment();
    use std::io::Seek;
    file.seek(std::io::SeekFrom::Start(2 * PAGE as u64 + 5)).unwrap();
    file.write_all(&[0xff]).unwrap();
    assert_eq!(
        open(&spec(&file, &[(96, true)]), sums.clone()).err().unwrap().code.as_str(),
        "CORRUPT"
    );
    let streamed = open(&spec(&file, &[(48, false), (48, false)]), sums.clone()).unwrap();
    assert_eq!(run(&streamed, &[90]).unwrap_err().code.as_str(), "CORRUPT");
    let mut plan = spec(&file, &[(48, true), (48, true)]);
    plan["map"] = json!(true);
    let mapped = open(&plan, sums).unwrap();
    for _ in 0..2 {
        assert_eq!(run(&mapped, &[90]).unwrap_err().code.as_str(), "CORRUPT");
    }
}

/// Replaces the nth number of a JSON value.
fn mutate(json: &mut Json, nth: &mut usize, with: &Json) {
    match json {
        Json::Number(_) if *nth == 0 => {
            *json = with.clone();
            *nth = usize::MAX;
        }
        Json::Number(_) => *nth = nth.wrapping_sub(1),
        Json::Array(all) => all.iter_mut().for_each(|one| mutate(one, nth, with)),
        Json::Object(all) => all.values_mut().for_each(|one| mutate(one, nth, with)),
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever number is wrong in a plan, there is an error or a result; never a panic.
    #[test]
    fn no_number_in_a_plan_breaks_it(map: bool, nth in 0usize..40, with in prop_oneof![any::<i64>().prop_map(Json::from), any::<u64>().prop_map(Json::from), (0u64..200).prop_map(Json::from), Just(json!(0.5)), Just(Json::Null)]) {
        let (file, _, sums) = fragment();
        let mut plan = spec(&file, &[(48, false), (32, true), (16, false)]);
        plan["map"] = json!(map);
        mutate(&mut plan, &mut nth.clone(), &with);
        // how much memory the slots may take is the caller's choice
        prop_assume!(plan["slots"].as_u64().is_none_or(|slots| slots < 1000));
        if let Ok(model) = open(&plan, sums) {
            let _ = run(&model, &[5, 6]);
        }
    }
}

#[test]
fn what_is_recorded_adds_up_to_what_is_counted() {
    let (file, _, sums) = fragment();
    let mut spec = spec(&file, &[(32, true), (32, false), (32, false)]);
    let silent = open(&spec, sums.clone()).unwrap();
    run(&silent, &[3]).unwrap();
    assert!(silent.take_events().events.is_empty());

    spec["trace"] = true.into();
    let model = open(&spec, sums).unwrap();
    for id in 0..3 {
        run(&model, &[id]).unwrap();
    }
    // after this nothing is read any more
    model.close();
    let (stats, taken) = (model.stats(), model.take_events());
    let of = |lane| taken.events.iter().filter(move |event| event.lane == lane);
    assert_eq!(of(Lane::Disk).map(|event| event.bytes).sum::<u64>(), stats.disk_bytes);
    assert_eq!(of(Lane::Wait).count() as u64, stats.waits);
    assert_eq!(of(Lane::Pass).count(), 3);
    // rows, a vector, tiles in runs that depend on what was there, a sum
    let mut nodes: Vec<usize> = of(Lane::Compute).map(|event| event.what).collect();
    nodes.dedup();
    assert_eq!(nodes, [0, 1, 2, 3].repeat(3));
    assert_eq!(taken.left_out, 0);
    let pass = *of(Lane::Pass).next().unwrap();
    let inside = |event: &&Event| event.began >= pass.began && event.began + event.took <= pass.began + pass.took;
    let mut nodes: Vec<usize> = of(Lane::Compute).filter(inside).map(|event| event.what).collect();
    nodes.dedup();
    assert_eq!(nodes, [0, 1, 2, 3]);
}
