//! Matrices that only some passes need.

use super::*;

const BYTES: usize = ROWS * WIDTH * 4;

/// Two experts that are one matrix: the rows that `a` or `b` have something for are multiplied by it, and what comes out is added to `sum`.
fn spec(file: &tempfile::NamedTempFile, cache: usize) -> Json {
    let mut spec = super::spec(file, &[(40, false), (56, false)]);
    let mut again = spec["weights"][0].clone();
    again["cached"] = json!(true);
    spec["weights"] = json!([again, again]);
    spec["vectors"] = json!([]);
    spec["cache"] = json!(cache);
    let expert = |weight: usize, share: usize, sum: usize, first: usize| {
        vec![
            json!({ "run": { "op": "places" }, "inputs": [share], "outputs": [first] }),
            json!({ "run": { "op": "take" }, "inputs": [0, first], "outputs": [first + 1] }),
            json!({ "run": { "op": "linear", "weight": weight }, "inputs": [first + 1], "outputs": [first + 2] }),
            json!({ "run": { "op": "addAt" }, "inputs": [sum, first, first + 2], "outputs": [first + 3] }),
        ]
    };
    let nodes = [expert(0, 1, 3, 4), expert(1, 2, 7, 8)].concat();
    let input = |at: usize, name: &str| json!({ "name": name, "value": at, "kind": "f32" });
    spec["segments"] = json!([{
        "values": 12, "head": null,
        "inputs": [input(0, "x"), input(1, "a"), input(2, "b"), input(3, "sum")],
        "outputs": [input(11, "y")],
        "nodes": nodes,
    }]);
    spec
}

fn tensor(dims: &[usize], value: impl Fn(usize) -> f32) -> Value {
    Value::F32(Tensor::new(dims.to_vec(), (0..dims.iter().product()).map(value).collect()).unwrap())
}

/// Rows of numbers, each of which is sent to the experts that say so.
fn pass(model: &Model, a: &[f32], b: &[f32]) -> crate::Result<Vec<f32>> {
    let rows = a.len();
    let inputs = HashMap::from([
        ("x".to_owned(), tensor(&[rows, WIDTH], |at| (at % 13) as f32 - 6.0)),
        ("a".to_owned(), tensor(&[rows], |at| a[at])),
        ("b".to_owned(), tensor(&[rows], |at| b[at])),
        ("sum".to_owned(), tensor(&[rows, ROWS], |_| 1.0)),
    ]);
    let outputs = model.run(0, &inputs, &mut [], Logits::All, &AtomicBool::new(false))?;
    Ok(outputs[0].1.f32()?.data().to_vec())
}

#[test]
fn are_read_only_when_rows_are_sent_to_them_and_stay_by_their_last_use() {
    let (file, weights, sums) = fragment();
    let model = open(&spec(&file, BYTES), sums.clone()).unwrap();
    let counts = |model: &Model| {
        let stats = model.stats();
        (
            stats.bytes_read as usize / BYTES,
            stats.expert_read as usize / BYTES,
            stats.expert_bytes as usize / BYTES,
            stats.cached as usize,
        )
    };
    assert_eq!(pass(&model, &[0.0, 0.0], &[0.0, 0.0]).unwrap(), vec![1.0; 2 * ROWS]);
    assert_eq!((counts(&model), model.stats().disk_bytes), ((0, 0, 0, 0), 0));
    let sent = pass(&model, &[0.0, 1.0], &[0.0, 0.0]).unwrap();
    assert_eq!(
        (counts(&model), model.has_cached(0), model.has_cached(1)),
        ((1, 1, 1, BYTES), true, false)
    );
    assert!(sent[..ROWS].iter().all(|&y| y == 1.0));
    for output in 0..ROWS {
        let dot: f32 = (0..WIDTH)
            .map(|at| ((WIDTH + at) % 13) as f32 * weights[output * WIDTH + at] - 6.0 * weights[output * WIDTH + at])
            .sum();
        assert!((sent[ROWS + output] - 1.0 - dot).abs() < 1e-3);
    }
    assert_eq!(pass(&model, &[0.0, 1.0], &[0.0, 0.0]).unwrap(), sent);
    assert_eq!(counts(&model), (1, 1, 2, BYTES));
    // there is room for one of them
    let both = pass(&model, &[1.0, 1.0], &[1.0, 0.0]).unwrap();
    assert_eq!(
        (counts(&model), model.has_cached(0), model.has_cached(1)),
        ((2, 2, 4, BYTES), false, true)
    );
    assert_eq!(both[ROWS..], sent[ROWS..]);
    let roomy = open(&spec(&file, 2 * BYTES), sums).unwrap();
    for _ in 0..3 {
        assert_eq!(pass(&roomy, &[1.0, 1.0], &[1.0, 0.0]).unwrap(), both);
    }
    assert_eq!(counts(&roomy), (2, 2, 6, 2 * BYTES));
}

#[test]
fn sum_a_row_alike_however_many_others_are_sent_there() {
    let (file, _, sums) = fragment();
    let model = open(&spec(&file, BYTES), sums).unwrap();
    for rows in [16, 17, 40] {
        let alone: Vec<f32> = (0..rows).map(|row| f32::from(row == 3)).collect();
        let one = pass(&model, &alone, &vec![0.0; rows]).unwrap();
        let all = pass(&model, &vec![1.0; rows], &vec![0.0; rows]).unwrap();
        assert_eq!(one[3 * ROWS..4 * ROWS], all[3 * ROWS..4 * ROWS]);
    }
}

#[test]
fn that_are_damaged_or_too_large_are_errors_and_nothing_stays() {
    let (file, _, mut sums) = fragment();
    let small = open(&spec(&file, BYTES - 1), sums.clone()).unwrap();
    assert_eq!(pass(&small, &[1.0], &[0.0]).unwrap_err().code, crate::Code::BadInput);
    sums[3] ^= 1;
    let model = open(&spec(&file, BYTES), sums).unwrap();
    for _ in 0..2 {
        assert_eq!(pass(&model, &[1.0], &[0.0]).unwrap_err().code, crate::Code::Corrupt);
        assert_eq!((model.stats().cached, model.has_cached(0)), (0, false));
    }
    assert_eq!(pass(&model, &[0.0], &[0.0]).unwrap(), vec![1.0; ROWS]);
}

#[test]
fn that_are_pinned_or_not_cut_are_refused() {
    let (file, _, sums) = fragment();
    for tiles in [json!([]), json!([{ "rows": 96, "pinned": true }])] {
        let mut spec = spec(&file, BYTES);
        spec["weights"][0]["tiles"] = tiles;
        assert_eq!(open(&spec, sums.clone()).err().unwrap().code, crate::Code::BadInput);
    }
}
