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
