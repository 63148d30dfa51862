//! Nodes that compute element by element, or fold elements along axes.

use super::op::{Binary, Fold};
use super::shapes::among;
use super::value::{elements, Tensor, Value};
use crate::{Error, Result};

/// The dimensions that both stretch to: equal ones stay, ones of 1 follow the other.
fn stretched(a: &[usize], b: &[usize]) -> Result<Vec<usize>> {
    let rank = a.len().max(b.len());
    let size = |dims: &[usize], at: usize| (at + dims.len()).checked_sub(rank).map_or(1, |at| dims[at]);
    let dims = (0..rank).map(|at| match (size(a, at), size(b, at)) {
        (x, y) if x == y || y == 1 => Some(x),
        (1, y) => Some(y),
        _ => None,
    });
    dims.collect::<Option<_>>()
        .ok_or_else(|| Error::bad(format!("Cannot stretch {a:?} and {b:?} to one shape")))
}

/// For each element of a tensor of `dims`, where it is in one of `from` that was stretched to them.
struct Walk {
    dims: Vec<usize>,
    strides: Vec<usize>,
    at: Vec<usize>,
    place: usize,
}

impl Walk {
    fn new(from: &[usize], dims: &[usize]) -> Self {
        let mut strides = vec![0; dims.len()];
        let mut stride = 1;
        for (back, &dim) in from.iter().rev().enumerate() {
            if dim != 1 {
                strides[dims.len() - 1 - back] = stride;
            }
            stride *= dim;
        }
        Self {
            dims: dims.to_vec(),
            strides,
            at: vec![0; dims.len()],
            place: 0,
        }
    }

    /// The place of the current element; then goes to the next.
    fn step(&mut self) -> usize {
        let place = self.place;
        for axis in (0..self.dims.len()).rev() {
            self.at[axis] += 1;
            self.place += self.strides[axis];
            if self.at[axis] < self.dims[axis] {
                break;
            }
            self.place -= self.strides[axis] * self.dims[axis];
            self.at[axis] = 0;
        }
        place
    }
}

fn zip<A: Copy, B: Copy, C>(a: &Tensor<A>, b: &Tensor<B>, f: impl Fn(A, B) -> C) -> Result<Tensor<C>> {
    if a.dims() == b.dims() {
        return Tensor::new(a.dims().to_vec(), a.data().iter().zip(b.data()).map(|(&x, &y)| f(x, y)).collect());
    }
    let dims = stretched(a.dims(), b.dims())?;
    let count = elements(&dims)?;
    // a vector for every row, the most frequent case, in one run
    if dims == a.dims() && a.dims().ends_with(b.dims()) && !b.data().is_empty() {
        let rows = a.data().chunks_exact(b.data().len());
        return Tensor::new(
            dims,
            rows.flat_map(|row| row.iter().zip(b.data()).map(|(&x, &y)| f(x, y))).collect(),
        );
    }
    let (mut left, mut right) = (Walk::new(a.dims(), &dims), Walk::new(b.dims(), &dims));
    Tensor::new(dims, (0..count).map(|_| f(a.data()[left.step()], b.data()[right.step()])).collect())
}

/// The same where the result is of the type of `a`, whose elements it takes over if they are as many.
fn merge<T: Copy>(mut a: Tensor<T>, b: &Tensor<T>, f: impl Fn(T, T) -> T) -> Result<Tensor<T>> {
    if a.dims() != b.dims() {
        return zip(&a, b, f);
    }
    for (x, &y) in a.data_mut().iter_mut().zip(b.data()) {
        *x = f(*x, y);
    }
    Ok(a)
}

pub fn binary(f: Binary, a: Value, b: &Value) -> Result<Value> {
    let refuse = || Err(Error::bad(format!("Cannot take {f:?} of values of these types")));
    Ok(match (a, b) {
        (Value::F32(a), Value::F32(b)) => match f {
            Binary::Add => Value::F32(merge(a, b, |x, y| x + y)?),
            Binary::Sub => Value::F32(merge(a, b, |x, y| x - y)?),
            Binary::Mul => Value::F32(merge(a, b, |x, y| x * y)?),
            Binary::Div => Value::F32(merge(a, b, |x, y| x / y)?),
            Binary::Max => Value::F32(merge(a, b, f32::max)?),
            Binary::Less => Value::Bool(zip(&a, b, |x, y| x < y)?),
            Binary::LessOrEqual => Value::Bool(zip(&a, b, |x, y| x <= y)?),
            Binary::Greater => Value::Bool(zip(&a, b, |x, y| x > y)?),
            Binary::Equal => Value::Bool(zip(&a, b, |x, y| x == y)?),
            Binary::And | Binary::Or => return refuse(),
        },
        (Value::I64(a), Value::I64(b)) => match f {
            Binary::Add => Value::I64(merge(a, b, i64::wrapping_add)?),
            Binary::Sub => Value::I64(merge(a, b, i64::wrapping_sub)?),
            Binary::Mul => Value::I64(merge(a, b, i64::wrapping_mul)?),
            Binary::Max => Value::I64(merge(a, b, i64::max)?),
            Binary::Less => Value::Bool(zip(&a, b, |x, y| x < y)?),
            Binary::LessOrEqual => Value::Bool(zip(&a, b, |x, y| x <= y)?),
            Binary::Greater => Value::Bool(zip(&a, b, |x, y| x > y)?),
            Binary::Equal => Value::Bool(zip(&a, b, |x, y| x == y)?),
            Binary::Div | Binary::And | Binary::Or => return refuse(),
        },
        (Value::Bool(a), Value::Bool(b)) => match f {
            Binary::And => Value::Bool(merge(a, b, |x, y| x && y)?),
            Binary::Or => Value::Bool(merge(a, b, |x, y| x || y)?),
            Binary::Equal => Value::Bool(zip(&a, b, |x, y| x == y)?),
            _ => return refuse(),
        },
        _ => return refuse(),
    })
}

pub fn choose(condition: &Value, yes: &Value, no: &Value) -> Result<Value> {
    let dims = stretched(&stretched(condition.dims(), yes.dims())?, no.dims())?;
    let condition = expand(condition, &dims)?;
    let (yes, no) = (expand(yes, &dims)?, expand(no, &dims)?);
    fn pick<T: Copy>(condition: &Tensor<bool>, yes: &Tensor<T>, no: &Tensor<T>) -> Result<Tensor<T>> {
        let all = condition.data().iter().zip(yes.data().iter().zip(no.data()));
        Tensor::new(
            condition.dims().to_vec(),
            all.map(|(&is, (&yes, &no))| if is { yes } else { no }).collect(),
        )
    }
    Ok(match &yes {
        Value::F32(yes) => Value::F32(pick(condition.bool()?, yes, no.f32()?)?),
        Value::I64(yes) => Value::I64(pick(condition.bool()?, yes, no.i64()?)?),
        Value::Bool(yes) => Value::Bool(pick(condition.bool()?, yes, no.bool()?)?),
    })
}

/// Stretches a value to `dims`, or to what both stretch to.
pub fn expand(value: &Value, dims: &[usize]) -> Result<Value> {
    fn stretch<T: Copy>(tensor: &Tensor<T>, dims: Vec<usize>) -> Result<Tensor<T>> {
        let count = elements(&dims)?;
        let mut walk = Walk::new(tensor.dims(), &dims);
        Tensor::new(dims, (0..count).map(|_| tensor.data()[walk.step()]).collect())
    }
    let dims = stretched(value.dims(), dims)?;
    if dims == value.dims() {
        return Ok(value.clone());
    }
    Ok(match value {
        Value::F32(tensor) => Value::F32(stretch(tensor, dims)?),
        Value::I64(tensor) => Value::I64(stretch(tensor, dims)?),
        Value::Bool(tensor) => Value::Bool(stretch(tensor, dims)?),
    })
}

/// Folds along axes; sums go in the order of the elements.
pub fn reduce(f: Fold, value: &Value, axes: &[i64], keep: bool) -> Result<Value> {
    let tensor = value.f32()?;
    let gone = among(axes, tensor.dims().len())?;
    let kept: Vec<usize> = tensor
        .dims()
        .iter()
        .zip(&gone)
        .map(|(&dim, &gone)| if gone { 1 } else { dim })
        .collect();
    let start = if f == Fold::Max { f32::NEG_INFINITY } else { 0.0 };
    let mut data = vec![start; elements(&kept)?];
    let mut walk = Walk::new(&kept, tensor.dims());
    for &x in tensor.data() {
        let into = &mut data[walk.step()];
        *into = match f {
            Fold::Sum => *into + x,
            Fold::Max => into.max(x),
            Fold::L2 => x.mul_add(x, *into),
        };
    }
    if f == Fold::L2 {
        data.iter_mut().for_each(|x| *x = x.sqrt());
    }
    let left = kept
        .iter()
        .zip(&gone)
        .filter(|(_, &gone)| keep || !gone)
        .map(|(&dim, _)| dim)
        .collect();
    Tensor::new(kept, data)?.with_dims(left).map(Value::F32)
}
