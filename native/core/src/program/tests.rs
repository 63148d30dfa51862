use proptest::prelude::*;

use super::value::elements;
use super::*;

fn tensor(dims: &[usize]) -> Value {
    let count = elements(dims).unwrap();
    Value::F32(Tensor::new(dims.to_vec(), (0..count).map(|x| x as f32 - 3.0).collect()).unwrap())
}

fn ints(data: &[i64]) -> Value {
    Value::I64(Tensor::new(vec![data.len()], data.to_vec()).unwrap())
}

fn integer(value: i64) -> Value {
    Value::I64(Tensor::new(vec![], vec![value]).unwrap())
}

/// The element at `at` of a tensor that was stretched to more dimensions, by plain arithmetic.
fn stretched(value: &Tensor<f32>, at: &[usize]) -> f32 {
    let skip = at.len() - value.dims().len();
    let place = value
        .dims()
        .iter()
        .zip(&at[skip..])
        .fold(0, |place, (&dim, &at)| place * dim + if dim == 1 { 0 } else { at });
    value.data()[place]
}

/// All index tuples of a shape, in order.
fn places(dims: &[usize]) -> Vec<Vec<usize>> {
    dims.iter().fold(vec![vec![]], |all, &dim| {
        all.iter()
            .flat_map(|place| (0..dim).map(move |at| [place.as_slice(), &[at]].concat()))
            .collect()
    })
}

/// Two shapes that stretch to one another, and what they stretch to.
fn pairs() -> impl Strategy<Value = (Vec<usize>, Vec<usize>, Vec<usize>)> {
    prop::collection::vec((1usize..4, 0..3u8), 0..4).prop_flat_map(|dims| {
        let rank = dims.len();
        (Just(dims), 0..=rank, 0..=rank).prop_map(|(dims, cut_a, cut_b)| {
            let whole: Vec<usize> = dims.iter().map(|&(dim, _)| dim).collect();
            let side = |which: u8| {
                dims.iter()
                    .map(|&(dim, ones)| if ones == which { 1 } else { dim })
                    .collect::<Vec<_>>()
            };
            let (a, b) = if cut_a < cut_b {
                (side(1), side(2)[cut_a..].to_vec())
            } else {
                (side(1)[cut_b..].to_vec(), side(2))
            };
            // where both sides are 1, or one is cut off, the result is smaller than the whole
            let size = |dims: &[usize], at: usize| (at + dims.len()).checked_sub(whole.len()).map_or(1, |at| dims[at]);
            let rank = a.len().max(b.len());
            let out = (whole.len() - rank..whole.len()).map(|at| size(&a, at).max(size(&b, at))).collect();
            (a, b, out)
        })
    })
}

proptest! {
    #[test]
    fn two_tensors_stretch_as_plain_arithmetic_says((a, b, dims) in pairs()) {
        let (left, right) = (tensor(&a), tensor(&b));
        let made = binary(Binary::Sub, left.clone(), &right).unwrap();
        prop_assert_eq!(made.dims(), dims.as_slice());
        let less = binary(Binary::Less, left.clone(), &right).unwrap();
        let both = choose(&less, &left, &right).unwrap();
        for (at, place) in places(&dims).iter().enumerate() {
            let (x, y) = (stretched(left.f32().unwrap(), place), stretched(right.f32().unwrap(), place));
            prop_assert_eq!(made.f32().unwrap().data()[at], x - y);
            prop_assert_eq!(less.bool().unwrap().data()[at], x < y);
            prop_assert_eq!(both.f32().unwrap().data()[at], if x < y { x } else { y });
        }
    }

    #[test]
    fn folds_are_those_of_plain_arithmetic(dims in prop::collection::vec(1usize..4, 1..4), which in 0usize..8, keep: bool) {
        let x = tensor(&dims);
        let axes: Vec<i64> = (0..dims.len()).filter(|at| which >> at & 1 == 1).map(|at| at as i64 - dims.len() as i64).collect();
        let gone = |at: usize| which >> at & 1 == 1;
        for f in [Fold::Sum, Fold::Max, Fold::L2] {
            let made = reduce(f, &x, &axes, keep).unwrap();
            let kept: Vec<usize> = dims.iter().enumerate().map(|(at, &dim)| if gone(at) { 1 } else { dim }).collect();
            for (at, place) in places(&kept).iter().enumerate() {
                let inside = places(&dims).into_iter().filter(|other| (0..dims.len()).all(|axis| gone(axis) || other[axis] == place[axis]));
                let all = inside.map(|place| f64::from(stretched(x.f32().unwrap(), &place)));
                let wanted = match f {
                    Fold::Sum => all.sum::<f64>(),
                    Fold::Max => all.fold(f64::NEG_INFINITY, f64::max),
                    Fold::L2 => all.map(|x| x * x).sum::<f64>().sqrt(),
                };
                prop_assert!((f64::from(made.f32().unwrap().data()[at]) - wanted).abs() < 1e-4);
            }
            prop_assert_eq!(made.dims().len(), if keep { dims.len() } else { dims.len() - axes.len() });
        }
    }

    #[test]
    fn what_is_split_can_be_joined(dims in prop::collection::vec(1usize..4, 0..3), parts in 1usize..4, part in 1usize..4) {
        let x = tensor(&[dims.as_slice(), &[parts * part]].concat());
        let cut = split(&x, parts).unwrap();
        prop_assert_eq!(&concat(&cut.iter().collect::<Vec<_>>(), -1).unwrap(), &x);
        let first: Vec<Value> = (0..parts * part).map(|at| pick(&x, -1, at as i64).unwrap()).collect();
        let apart: Vec<Value> = first.iter().map(|one| unsqueeze(one, &[-1]).unwrap()).collect();
        prop_assert_eq!(&concat(&apart.iter().collect::<Vec<_>>(), -1).unwrap(), &x);
    }

    /// Whatever the numbers, there is a result or an error; never a panic, never much memory.
    #[test]
    fn no_numbers_break_it(numbers in prop::collection::vec(prop_oneof![any::<i64>(), -3i64..4], 3), axis in prop_oneof![any::<i64>(), -3i64..4]) {
        let (x, none) = (tensor(&[2, 3]), Value::Bool(Tensor::new(vec![0, 3], vec![]).unwrap()));
        let [a, b, c] = [integer(numbers[0]), integer(numbers[1]), integer(numbers[2])];
        if numbers.iter().all(|x| x.abs() < 1 << 20) || numbers[2] > 1 << 40 {
            let _ = range(&a, &b, &c);
        }
        for value in [&x, &none, &a] {
            let _ = slice(value, &a, &b);
            let _ = reshape(value, &numbers);
            let _ = unsqueeze(value, &[axis, numbers[0]]);
            let _ = squeeze(value, Some(&[axis]));
            let _ = pick(value, axis, numbers[0]);
            let _ = concat(&[value, &x], axis);
            let _ = reduce(Fold::Sum, value, &[axis], true);
            let _ = shape(value, numbers[0], Some(numbers[1]));
            let _ = split(value, numbers[0].unsigned_abs() as usize);
            let _ = expand(value, &[numbers[0].unsigned_abs() as usize, 3]);
            let _ = binary(Binary::Mul, value.clone(), &x);
        }
    }
}

#[test]
fn shapes_follow_the_onnx_rules() {
    let x = tensor(&[2, 3, 4]);
    assert_eq!(shape(&x, 1, Some(2)).unwrap(), ints(&[3]));
    assert_eq!(shape(&x, 0, None).unwrap(), ints(&[2, 3, 4]));
    assert_eq!(reshape(&x, &[0, -1]).unwrap().dims(), [2, 12]);
    assert_eq!(squeeze(&tensor(&[1, 2, 1]), None).unwrap().dims(), [2]);
    assert_eq!(range(&integer(1), &integer(8), &integer(3)).unwrap(), ints(&[1, 4, 7]));
    assert_eq!(range(&integer(3), &integer(0), &integer(-2)).unwrap(), ints(&[3, 1]));
    assert_eq!(slice(&ints(&[5, 6, 7]), &integer(-2), &integer(9)).unwrap(), ints(&[6, 7]));
    assert_eq!(
        cast(&ints(&[0, 2]), Kind::Bool),
        Value::Bool(Tensor::new(vec![2], vec![false, true]).unwrap())
    );
}

#[test]
fn what_does_not_fit_is_refused() {
    assert!(range(&integer(0), &integer(i64::MAX), &integer(1)).is_err());
    assert!(range(&integer(0), &integer(1), &integer(0)).is_err());
    assert!(expand(&tensor(&[1]), &[1 << 20, 1 << 20]).is_err());
    assert!(binary(Binary::Add, tensor(&[2]), &ints(&[1, 2])).is_err());
    assert!(binary(Binary::And, tensor(&[2]), &tensor(&[2])).is_err());
    assert!(binary(Binary::Add, tensor(&[2]), &tensor(&[3])).is_err());
    assert!(concat(&[&tensor(&[2, 3]), &tensor(&[3, 3])], 1).is_err());
    assert!(reshape(&tensor(&[4]), &[3]).is_err());
}

fn floats(dims: &[usize], data: &[f32]) -> Tensor<f32> {
    Tensor::new(dims.to_vec(), data.to_vec()).unwrap()
}

fn indices(dims: &[usize], data: &[i64]) -> Tensor<i64> {
    Tensor::new(dims.to_vec(), data.to_vec()).unwrap()
}

proptest! {
    /// Each row of places leads back to an element that is not zero, all of them in order; adding what was taken there doubles them.
    #[test]
    fn what_is_found_can_be_taken_and_added(dims in proptest::collection::vec(0usize..5, 1..4), width in 1usize..4, seed in any::<u64>()) {
        let count = elements(&dims).unwrap();
        let share = floats(&dims, &(0..count).map(|at| if (seed >> (at % 61)) & 1 == 1 { at as f32 + 1.0 } else { 0.0 }).collect::<Vec<_>>());
        let wide = [dims.as_slice(), &[width]].concat();
        let data = floats(&wide, &(0..count * width).map(|at| at as f32 + 0.5).collect::<Vec<_>>());
        let Value::I64(found) = routing::places(&share).unwrap() else { unreachable!() };
        let wanted: Vec<i64> = places(&dims).iter().zip(share.data()).filter(|(_, x)| **x != 0.0).flat_map(|(place, _)| place.iter().map(|&at| at as i64)).collect();
        prop_assert_eq!(found.data(), wanted.as_slice());
        let Value::F32(taken) = routing::take(&data, &found).unwrap() else { unreachable!() };
        let Value::F32(sum) = routing::add_at(data.clone(), &found, &taken).unwrap() else { unreachable!() };
        for (at, x) in share.data().iter().enumerate() {
            for one in 0..width {
                let before = data.data()[at * width + one];
                prop_assert_eq!(sum.data()[at * width + one], if *x == 0.0 { before } else { 2.0 * before });
            }
        }
    }

    /// The largest come first, of equal ones the first; spread over zeros, the best are where they were.
    #[test]
    fn the_best_are_the_largest(row in proptest::collection::vec(0u8..6, 1..9), count in 1usize..9) {
        let x = floats(&[1, row.len()], &row.iter().map(|&x| f32::from(x)).collect::<Vec<_>>());
        let found = routing::top_k(&x, count);
        if count > row.len() {
            prop_assert!(found.is_err());
            return Ok(());
        }
        let found = found.unwrap();
        let (best, at) = (found[0].f32().unwrap(), found[1].i64().unwrap());
        let mut order: Vec<usize> = (0..row.len()).collect();
        order.sort_by_key(|&at| std::cmp::Reverse(row[at]));
        let expected: Vec<i64> = order[..count].iter().map(|&at| at as i64).collect();
        prop_assert_eq!(at.data(), expected.as_slice());
        let spread = routing::spread(floats(&[1, row.len()], &vec![0.0; row.len()]), at, best).unwrap();
        for (at, &y) in spread.f32().unwrap().data().iter().enumerate() {
            prop_assert_eq!(y, if order[..count].contains(&at) { f32::from(row[at]) } else { 0.0 });
        }
    }
}

#[test]
fn shares_sum_to_one() {
    let Value::F32(shares) = routing::softmax(floats(&[2, 3], &[1.0, 2.0, 3.0, -1000.0, 0.0, 1000.0])).unwrap() else {
        unreachable!()
    };
    let wanted = [0.090_030_57, 0.244_728_48, 0.665_240_94, 0.0, 0.0, 1.0];
    assert!(shares.data().iter().zip(wanted).all(|(x, y)| (x - y).abs() < 1e-6));
}

#[test]
fn places_and_shapes_that_do_not_fit_are_errors() {
    let data = floats(&[2, 3], &[0.0; 6]);
    assert!(routing::take(&data, &indices(&[1, 1], &[2])).is_err());
    assert!(routing::take(&data, &indices(&[1, 1], &[-3])).is_err());
    assert!(routing::take(&data, &indices(&[1, 1], &[i64::MIN])).is_err());
    assert!(routing::take(&data, &indices(&[1, 3], &[0, 0, 0])).is_err());
    assert!(routing::take(&data, &indices(&[1], &[0])).is_err());
    assert!(routing::add_at(data.clone(), &indices(&[1, 1], &[0]), &floats(&[1, 2], &[0.0; 2])).is_err());
    assert!(routing::spread(data.clone(), &indices(&[2, 1], &[0, 3]), &floats(&[2, 1], &[0.0; 2])).is_err());
    assert!(routing::spread(data, &indices(&[1, 1], &[0]), &floats(&[1, 1], &[0.0])).is_err());
    for shape in [vec![-1], vec![1 << 31, 2], vec![i64::MAX]] {
        assert!(routing::zeros(&indices(&[shape.len()], &shape)).is_err());
    }
}
