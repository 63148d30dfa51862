//! Nodes that move elements about or look at dimensions, and compute nothing.

use std::ops::Range;

use super::op::Kind;
use super::value::{elements, Tensor, Value};
use crate::{Error, Result};

/// An axis of `rank` dimensions; a negative one counts from the last.
pub fn axis_of(axis: i64, rank: usize) -> Result<usize> {
    let at = if axis < 0 { axis + rank as i64 } else { axis };
    usize::try_from(at)
        .ok()
        .filter(|&at| at < rank)
        .ok_or_else(|| Error::bad(format!("Cannot use axis {axis} of {rank} dimensions")))
}

/// Whether each of `rank` dimensions is among `axes`.
pub fn among(axes: &[i64], rank: usize) -> Result<Vec<bool>> {
    let mut found = vec![false; rank];
    for &axis in axes {
        found[axis_of(axis, rank)?] = true;
    }
    Ok(found)
}

pub fn cast(value: &Value, to: Kind) -> Value {
    fn map<A: Copy, B>(from: &Tensor<A>, to: impl Fn(A) -> B) -> Tensor<B> {
        let data = from.data().iter().map(|&x| to(x)).collect();
        Tensor::new(from.dims().to_vec(), data).expect("the number of elements is the same")
    }
    match (value, to) {
        (Value::F32(x), Kind::I64) => Value::I64(map(x, |x| x as i64)),
        (Value::F32(x), Kind::Bool) => Value::Bool(map(x, |x| x != 0.0)),
        (Value::I64(x), Kind::F32) => Value::F32(map(x, |x| x as f32)),
        (Value::I64(x), Kind::Bool) => Value::Bool(map(x, |x| x != 0)),
        (Value::Bool(x), Kind::F32) => Value::F32(map(x, |x| f32::from(u8::from(x)))),
        (Value::Bool(x), Kind::I64) => Value::I64(map(x, i64::from)),
        _ => value.clone(),
    }
}

pub fn shape(value: &Value, start: i64, end: Option<i64>) -> Result<Value> {
    let rank = value.dims().len() as i64;
    let clamp = |at: i64| (if at < 0 { at + rank } else { at }).clamp(0, rank) as usize;
    let (start, end) = (clamp(start), clamp(end.unwrap_or(rank)));
    integers(value.dims().get(start..end).unwrap_or(&[]).iter().map(|&dim| dim as i64).collect())
}

fn integers(data: Vec<i64>) -> Result<Value> {
    Ok(Value::I64(Tensor::new(vec![data.len()], data)?))
}

pub fn reshape(value: &Value, wanted: &[i64]) -> Result<Value> {
    let refuse = || Error::bad(format!("Cannot give {:?} the shape {wanted:?}", value.dims()));
    let total = elements(value.dims())?;
    let mut known = 1usize;
    let mut open = None;
    let mut dims = Vec::with_capacity(wanted.len());
    for (at, &dim) in wanted.iter().enumerate() {
        let size = match dim {
            -1 if open.is_none() => {
                open = Some(at);
                1
            }
            0 => *value.dims().get(at).ok_or_else(refuse)?,
            _ => usize::try_from(dim).map_err(|_| refuse())?,
        };
        known = known.checked_mul(size).ok_or_else(refuse)?;
        dims.push(size);
    }
    if let Some(at) = open {
        dims[at] = total.checked_div(known).ok_or_else(refuse)?;
    }
    value.with_dims(dims)
}

pub fn unsqueeze(value: &Value, axes: &[i64]) -> Result<Value> {
    let new = among(axes, value.dims().len() + axes.len())?;
    let mut rest = value.dims().iter();
    let dims = new.iter().map(|&new| if new { Some(1) } else { rest.next().copied() });
    value.with_dims(dims.collect::<Option<_>>().ok_or_else(|| Error::bad("Cannot add an axis twice"))?)
}

pub fn squeeze(value: &Value, axes: Option<&[i64]>) -> Result<Value> {
    let dims = value.dims();
    let gone = match axes {
        Some(axes) => among(axes, dims.len())?,
        None => dims.iter().map(|&dim| dim == 1).collect(),
    };
    value.with_dims(dims.iter().zip(gone).filter(|(_, gone)| !gone).map(|(&dim, _)| dim).collect())
}

/// The one integer in a value.
fn integer(value: &Value) -> Result<i64> {
    match value.i64()?.data() {
        [one] => Ok(*one),
        many => Err(Error::bad(format!(
            "Cannot run a node: one integer is needed, {} were given",
            many.len()
        ))),
    }
}

pub fn range(start: &Value, limit: &Value, delta: &Value) -> Result<Value> {
    let (start, limit, delta) = (integer(start)?, integer(limit)?, integer(delta)?);
    if delta == 0 {
        return Err(Error::bad("Cannot count by steps of 0"));
    }
    let span = i128::from(limit) - i128::from(start);
    let count = usize::try_from((span + i128::from(delta) - i128::from(delta.signum())) / i128::from(delta)).unwrap_or(0);
    elements(&[count])?;
    integers(
        (0..count)
            .map(|at| (i128::from(start) + at as i128 * i128::from(delta)) as i64)
            .collect(),
    )
}

pub fn slice(value: &Value, start: &Value, end: &Value) -> Result<Value> {
    let size = *value.dims().first().ok_or_else(|| Error::bad("Cannot cut a scalar"))? as i64;
    let clamp = |at: i64| (if at < 0 { at.saturating_add(size) } else { at }).clamp(0, size) as usize;
    let (start, end) = (clamp(integer(start)?), clamp(integer(end)?));
    along(value, 0, start..end.max(start))
}

pub fn pick(value: &Value, axis: i64, index: i64) -> Result<Value> {
    let axis = axis_of(axis, value.dims().len())?;
    let index = axis_of(index, value.dims()[axis])?;
    let mut dims = value.dims().to_vec();
    dims.remove(axis);
    along(value, axis, index..index + 1)?.with_dims(dims)
}

pub fn split(value: &Value, parts: usize) -> Result<Vec<Value>> {
    let axis = axis_of(-1, value.dims().len())?;
    let width = value.dims()[axis];
    if parts == 0 || !width.is_multiple_of(parts) {
        return Err(Error::bad(format!("Cannot cut {width} columns into {parts} equal parts")));
    }
    let part = width / parts;
    (0..parts).map(|at| along(value, axis, at * part..(at + 1) * part)).collect()
}

/// A range of one axis.
fn along(value: &Value, axis: usize, range: Range<usize>) -> Result<Value> {
    fn cut<T: Copy>(tensor: &Tensor<T>, axis: usize, range: Range<usize>) -> Result<Tensor<T>> {
        let inner: usize = tensor.dims()[axis + 1..].iter().product();
        let run = tensor.dims()[axis] * inner;
        let mut dims = tensor.dims().to_vec();
        dims[axis] = range.len();
        let mut data = Vec::with_capacity(elements(&dims)?);
        for outer in tensor.data().chunks_exact(run.max(1)) {
            data.extend_from_slice(&outer[range.start * inner..range.end * inner]);
        }
        Tensor::new(dims, data)
    }
    Ok(match value {
        Value::F32(tensor) => Value::F32(cut(tensor, axis, range)?),
        Value::I64(tensor) => Value::I64(cut(tensor, axis, range)?),
        Value::Bool(tensor) => Value::Bool(cut(tensor, axis, range)?),
    })
}

pub fn concat(values: &[&Value], axis: i64) -> Result<Value> {
    fn join<T: Copy>(all: &[&Tensor<T>], axis: usize) -> Result<Tensor<T>> {
        let mut dims = all[0].dims().to_vec();
        let outer: usize = dims[..axis].iter().product();
        dims[axis] = all.iter().map(|tensor| tensor.dims()[axis]).sum();
        let mut data = Vec::with_capacity(elements(&dims)?);
        for at in 0..outer {
            for tensor in all {
                let run = tensor.data().len() / outer;
                data.extend_from_slice(&tensor.data()[at * run..][..run]);
            }
        }
        Tensor::new(dims, data)
    }
    let first = *values.first().ok_or_else(|| Error::bad("Cannot join nothing"))?;
    let axis = axis_of(axis, first.dims().len())?;
    let others = |value: &Value| {
        value
            .dims()
            .iter()
            .enumerate()
            .filter(|(at, _)| *at != axis)
            .map(|(_, &dim)| dim)
            .collect::<Vec<_>>()
    };
    if values
        .iter()
        .any(|value| value.dims().len() != first.dims().len() || others(value) != others(first))
    {
        return Err(Error::bad(format!("Cannot join tensors of different shapes along axis {axis}")));
    }
    Ok(match first {
        Value::F32(_) => Value::F32(join(&values.iter().map(|value| value.f32()).collect::<Result<Vec<_>>>()?, axis)?),
        Value::I64(_) => Value::I64(join(&values.iter().map(|value| value.i64()).collect::<Result<Vec<_>>>()?, axis)?),
        Value::Bool(_) => Value::Bool(join(&values.iter().map(|value| value.bool()).collect::<Result<Vec<_>>>()?, axis)?),
    })
}
