//! Programs of several segments: one pass, one stream, whatever happens between them.

use super::*;
use crate::Result;

/// `x` times the matrix and then, in another segment, what became of it times the matrix again; both fill a cache.
fn spec(file: &tempfile::NamedTempFile, tiles: &[(usize, bool)]) -> Json {
    let mut spec = super::spec(file, tiles);
    let part = |cache: usize| {
        json!({
            "values": 4, "head": null,
            "inputs": [{ "name": "x", "value": 0, "kind": "f32" }, { "name": "kv", "value": 1, "kind": "f32" }],
            "outputs": [{ "name": "y", "value": 3, "kind": "f32" }, { "name": "seen", "value": 2, "kind": "f32" }],
            "nodes": [
                { "run": { "op": "attention", "heads": 1, "kvHeads": 1, "scale": 0.5, "cache": cache }, "inputs": [1, 1, 1], "outputs": [2] },
                { "run": { "op": "linear", "weight": 0 }, "inputs": [0], "outputs": [3] },
            ],
        })
    };
    let cache = |at: usize| json!({ "kvHeads": 1, "headDim": 4, "past": [format!("k{at}"), format!("v{at}")], "present": [format!("K{at}"), format!("V{at}")] });
    spec["vectors"] = json!([]);
    spec["caches"] = json!([cache(0), cache(1)]);
    spec["segments"] = json!([part(0), part(1)]);
    spec
}

fn tensor(dims: &[usize], value: f32) -> Value {
    Value::F32(Tensor::new(dims.to_vec(), vec![value; dims.iter().product()]).unwrap())
}

fn inputs(value: f32) -> HashMap<String, Value> {
    HashMap::from([
        ("x".into(), tensor(&[1, 1, WIDTH], value)),
        ("kv".into(), tensor(&[1, 1, 4], value)),
    ])
}

fn segment(model: &Model, at: usize, value: f32, sessions: &mut [crate::model::Session]) -> Result<Vec<(String, Value)>> {
    model.run(at, &inputs(value), sessions, Logits::All, &AtomicBool::new(false))
}

#[test]
fn a_pass_goes_through_all_segments_by_one_stream_and_each_byte_is_read_once_a_pass() {
    let (file, _, sums) = fragment();
    let mut all = Vec::new();
    for tiles in [
        vec![(96, true)],
        vec![(48, false), (48, false)],
        vec![(20, false), (56, true), (20, false)],
    ] {
        let model = open(&spec(&file, &tiles), sums.clone()).unwrap();
        let mut sessions = [model.session().unwrap()];
        let opened = model.stats().bytes_read;
        for pass in 0..3 {
            all.push((
                segment(&model, 0, 1.0, &mut sessions).unwrap(),
                segment(&model, 1, 2.0, &mut sessions).unwrap(),
            ));
            assert_eq!(sessions[0].len(), pass + 1);
        }
        let streamed: usize = tiles.iter().filter(|tile| !tile.1).map(|tile| tile.0 * WIDTH * 4).sum();
        assert_eq!(model.stats().bytes_read - opened, (3 * 2 * streamed) as u64);
    }
    for (at, made) in all.iter().enumerate() {
        assert_eq!(made, &all[at % 3]);
    }
}

#[test]
fn a_segment_out_of_order_is_refused_and_a_new_pass_begins_wherever_the_last_was_left() {
    let (file, _, sums) = fragment();
    let model = open(&spec(&file, &[(48, false), (48, false)]), sums).unwrap();
    let mut sessions = [model.session().unwrap()];
    let refused = |made: Result<Vec<_>>| {
        let error = made.unwrap_err();
        assert!(
            error.message.contains("does not follow") || error.message.contains("there are 2"),
            "{}",
            error.message
        );
    };
    refused(segment(&model, 1, 1.0, &mut sessions));
    refused(segment(&model, 2, 1.0, &mut sessions));
    let first = segment(&model, 0, 1.0, &mut sessions).unwrap();
    // left between the segments: the caller says how long the session was
    sessions[0].truncate(0);
    assert_eq!(segment(&model, 0, 1.0, &mut sessions).unwrap(), first);
    let second = segment(&model, 1, 1.0, &mut sessions).unwrap();
    refused(segment(&model, 1, 1.0, &mut sessions));
    // a segment that fails takes all caches back to where the pass began
    segment(&model, 0, 1.0, &mut sessions).unwrap();
    let mut wrong = inputs(1.0);
    wrong.insert("x".into(), tensor(&[1, 1, WIDTH + 1], 1.0));
    assert!(model.run(1, &wrong, &mut sessions, Logits::All, &AtomicBool::new(false)).is_err());
    assert_eq!(sessions[0].len(), 1);
    refused(segment(&model, 1, 1.0, &mut sessions));
    sessions[0].truncate(0);
    assert_eq!(segment(&model, 0, 1.0, &mut sessions).unwrap(), first);
    assert_eq!(segment(&model, 1, 1.0, &mut sessions).unwrap(), second);
}

#[test]
fn caches_that_the_caller_keeps_are_those_of_the_segment_alone() {
    let (file, _, sums) = fragment();
    let model = open(&spec(&file, &[(96, false)]), sums).unwrap();
    let mut sessions = [model.session().unwrap()];
    let mut given = inputs(1.0);
    for name in ["k0", "v0"] {
        given.insert(name.into(), tensor(&[1, 1, 0, 4], 0.0));
    }
    for round in 1..3 {
        let kept = segment(&model, 0, 1.0, &mut sessions).unwrap();
        let outside = model.run_whole(0, &given, Logits::All, &AtomicBool::new(false)).unwrap();
        assert_eq!(outside[..2], kept[..]);
        let names: Vec<&str> = outside.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["y", "seen", "K0", "V0"]);
        assert_eq!(outside[2].1.dims(), [1, 1, round, 4]);
        given.insert("k0".into(), outside[2].1.clone());
        given.insert("v0".into(), outside[3].1.clone());
    }
}
