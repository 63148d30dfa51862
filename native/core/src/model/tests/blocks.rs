//! Weights of whole numbers: their tiles and rows come with scales.

use half::f16;

use super::*;

const BLOCKS: usize = WIDTH / 32;

/// A fragment as it is written: scales (96, 2) of 16 bits, then weights (96, 64) of 8 or 4 bits; and what they stand for.
struct Fragment {
    file: tempfile::NamedTempFile,
    size: usize,
    sums: Vec<u32>,
    weights: Vec<f64>,
    dtype: &'static str,
    row_bytes: usize,
}

impl Fragment {
    fn new(dtype: &'static str) -> Self {
        let most = if dtype == "I8" { 127 } else { 7 };
        let whole: Vec<i32> = (0..ROWS * WIDTH).map(|at| (at as i32 * 37 % (2 * most + 1)) - most).collect();
        let scales: Vec<f16> = (0..ROWS * BLOCKS)
            .map(|at| f16::from_f32((at as f32 - 50.0) / 4096.0 / most as f32))
            .collect();
        let mut bytes = vec![0u8; PAGE];
        bytes.extend(scales.iter().flat_map(|x| x.to_le_bytes()));
        match dtype {
            "I8" => bytes.extend(whole.iter().map(|&q| q as i8 as u8)),
            _ => bytes.extend(whole.chunks(2).map(|pair| (pair[0] & 15 | (pair[1] & 15) << 4) as u8)),
        }
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&bytes).unwrap();
        Self {
            file,
            size: bytes.len(),
            sums: bytes.chunks(PAGE).map(crc32fast::hash).collect(),
            weights: (0..whole.len()).map(|at| f64::from(whole[at]) * scales[at / 32].to_f64()).collect(),
            dtype,
            row_bytes: if dtype == "I8" { WIDTH } else { WIDTH / 2 },
        }
    }

    fn spec(&self, tiles: &[(usize, bool)]) -> Json {
        let path = self.file.path().to_str().unwrap();
        let first = PAGE + ROWS * BLOCKS * 2;
        json!({
            "files": [{ "key": path, "path": path, "size": self.size, "firstSum": 0 }],
            "vectors": [],
            "weights": [{
                "stored": { "file": 0, "offset": first, "dtype": self.dtype, "dims": [ROWS, WIDTH] },
                "scales": { "file": 0, "offset": PAGE, "dtype": "F16", "dims": [ROWS, BLOCKS] },
                "tiles": tiles.iter().map(|&(rows, pinned)| json!({ "rows": rows, "pinned": pinned })).collect::<Vec<_>>(),
            }],
            "caches": [], "slots": 2, "kvCache": "f32", "precision": "exact",
            "segments": [{
                "values": 3, "head": null,
                "inputs": [{ "name": "ids", "value": 0, "kind": "i64" }],
                "outputs": [{ "name": "out", "value": 2, "kind": "f32" }],
                "nodes": [
                    { "run": { "op": "rows", "weight": 0 }, "inputs": [0], "outputs": [1] },
                    { "run": { "op": "linear", "weight": 0 }, "inputs": [1], "outputs": [2] },
                ],
            }],
        })
    }
}

#[test]
fn computes_the_same_with_scales_however_tiles_are_cut_and_kept() {
    for (dtype, apart) in [("I8", false), ("I8", true), ("I4", false), ("I4", true)] {
        let fragment = Fragment::new(dtype);
        let scales = (BLOCKS * 2) as u64;
        let row = fragment.row_bytes as u64 + if apart { 0 } else { scales };
        let ids = [5, 0, 95, 5];
        let mut all = Vec::new();
        for tiles in [
            vec![(96, true)],
            vec![(96, false)],
            vec![(1, true), (47, false), (16, true), (32, false)],
            vec![(1, false), (95, true)],
        ] {
            let mut plan = fragment.spec(&tiles);
            plan["weights"][0]["scalesPinned"] = json!(apart);
            let model = open(&plan, fragment.sums.clone()).unwrap();
            for _ in 0..3 {
                all.push(run(&model, &ids).unwrap());
            }
            let mut first = 0;
            let (mut pinned, mut streamed) = (if apart { ROWS as u64 * scales } else { 0 }, 0);
            for &(rows, is_pinned) in &tiles {
                let range = first..first + rows;
                first += rows;
                match is_pinned {
                    true => pinned += rows as u64 * row,
                    false => streamed += (rows + [0, 5, 95].iter().filter(|id| range.contains(id)).count()) as u64 * row,
                }
            }
            assert_eq!(model.stats().bytes_read, pinned + 3 * streamed);
        }
        for made in &all {
            assert_eq!(made, &all[0]);
        }
        for (at, id) in [5usize, 0, 95, 5].into_iter().enumerate() {
            for output in 0..ROWS {
                let pairs = fragment.weights[id * WIDTH..][..WIDTH]
                    .iter()
                    .zip(&fragment.weights[output * WIDTH..]);
                let wanted: f64 = pairs.map(|(x, w)| x * w).sum();
                assert!((f64::from(all[0][at * ROWS + output]) - wanted).abs() < 1e-6);
            }
        }
    }
}

#[test]
fn models_that_keep_scales_apart_and_those_that_do_not_share_no_pinned_tile() {
    let ids = [5, 0, 95, 5];
    for tiles in [vec![(96, true)], vec![(48, true), (48, true)], vec![(48, true), (48, false)]] {
        let fragment = Fragment::new("I8");
        for order in [[false, true], [true, false]] {
            let models = order.map(|apart| {
                let mut plan = fragment.spec(&tiles);
                plan["weights"][0]["scalesPinned"] = json!(apart);
                open(&plan, fragment.sums.clone()).unwrap()
            });
            let [first, second] = models.map(|model| run(&model, &ids).unwrap());
            assert!(first.iter().any(|&x| x != 0.0));
            assert_eq!(first, second);
        }
    }
}

#[test]
fn a_prompt_is_the_same_whatever_the_slots() {
    let fragment = Fragment::new("I8");
    let ids: Vec<i64> = (0..40).collect();
    let mut wanted = None;
    for (apart, slots) in [false, true]
        .into_iter()
        .flat_map(|apart| [1, 2, 3, 4, 8].map(|slots| (apart, slots)))
    {
        let tiles = [
            (8, false),
            (8, true),
            (8, false),
            (24, false),
            (8, true),
            (8, false),
            (8, false),
            (8, false),
            (16, false),
        ];
        let mut plan = fragment.spec(&tiles);
        plan["weights"][0]["scalesPinned"] = json!(apart);
        plan["slots"] = json!(slots);
        let model = open(&plan, fragment.sums.clone()).unwrap();
        for _ in 0..20 {
            let made = run(&model, &ids).unwrap();
            assert_eq!(wanted.get_or_insert_with(|| made.clone()), &made);
        }
    }
}

#[test]
fn a_page_of_scales_that_changed_ends_the_pass_alone() {
    let fragment = Fragment::new("I8");
    let mut sums = fragment.sums.clone();
    let model = open(&fragment.spec(&[(96, false)]), sums.clone()).unwrap();
    assert!(run(&model, &[1]).is_ok());
    // of the scales, which begin with the second page; the weights follow in the same
    sums[1] ^= 1;
    for apart in [false, true] {
        let mut plan = fragment.spec(&[(48, false), (48, false)]);
        plan["weights"][0]["scalesPinned"] = json!(apart);
        let why = open(&plan, sums.clone()).and_then(|model| run(&model, &[1])).unwrap_err();
        assert_eq!(why.code.as_str(), "CORRUPT");
    }
}

#[test]
fn refuses_scales_that_do_not_fit() {
    let fragment = Fragment::new("I8");
    let plan = fragment.spec(&[(96, false)]);
    let refused = |change: &dyn Fn(&mut Json)| {
        let mut plan = plan.clone();
        change(&mut plan["weights"][0]);
        let why = open(&plan, fragment.sums.clone()).err().unwrap();
        assert_eq!(why.code.as_str(), "BAD_INPUT");
        why.message
    };
    assert!(refused(&|weight| weight["scales"] = Json::Null).contains("its scales are missing"));
    assert!(refused(&|weight| weight["scales"]["dims"] = json!([ROWS, 3])).contains("its scales do not fit"));
    assert!(refused(&|weight| weight["scales"]["dtype"] = json!("I8")).contains("its scales do not fit"));
    assert!(refused(&|weight| weight["stored"]["dtype"] = json!("F16")).contains("floats have no scales"));
    assert!(refused(&|weight| weight["scales"]["offset"] = json!(1u64 << 40)).contains("Cannot read"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever number is wrong in a plan, there is an error or a result; never a panic.
    #[test]
    fn no_number_in_a_plan_with_scales_breaks_it(nth in 0usize..40, apart: bool, with in prop_oneof![any::<i64>().prop_map(Json::from), any::<u64>().prop_map(Json::from), (0u64..200).prop_map(Json::from)]) {
        let fragment = Fragment::new("I4");
        let mut plan = fragment.spec(&[(48, false), (32, true), (16, false)]);
        plan["weights"][0]["scalesPinned"] = json!(apart);
        mutate(&mut plan, &mut nth.clone(), &with);
        // how much memory the slots may take is the caller's choice
        prop_assume!(plan["slots"].as_u64().is_none_or(|slots| slots < 1000));
        if let Ok(model) = open(&plan, fragment.sums.clone()) {
            let _ = run(&model, &[5, 6]);
        }
    }
}
