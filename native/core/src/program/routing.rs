//! Nodes that send rows to experts and add up what these make of them.

use super::value::{elements, Tensor, Value};
use crate::{Error, Result};

/// exp(x) / sum over the last axis.
pub fn softmax(mut x: Tensor<f32>) -> Result<Value> {
    let (_, width) = x.rows();
    for row in x.data_mut().chunks_exact_mut(width.max(1)) {
        let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let mut sum = 0.0;
        for x in &mut *row {
            *x = libm::expf(*x - most);
            sum += *x;
        }
        row.iter_mut().for_each(|x| *x /= sum);
    }
    Ok(Value::F32(x))
}

/// The `count` largest of the last axis, the largest first, and where they are; of equal ones the first.
pub fn top_k(x: &Tensor<f32>, count: usize) -> Result<Vec<Value>> {
    let (rows, width) = x.rows();
    if count > width || x.dims().is_empty() {
        return Err(Error::bad(format!("Cannot take the {count} largest of {:?}", x.dims())));
    }
    let mut dims = x.dims().to_vec();
    if let Some(last) = dims.last_mut() {
        *last = count;
    }
    let (mut best, mut places) = (Vec::with_capacity(rows * count), Vec::with_capacity(rows * count));
    let mut order: Vec<usize> = Vec::with_capacity(width);
    for row in x.data().chunks_exact(width.max(1)) {
        order.clear();
        order.extend(0..width);
        order.sort_unstable_by(|&a, &b| row[b].total_cmp(&row[a]).then(a.cmp(&b)));
        best.extend(order[..count].iter().map(|&at| row[at]));
        places.extend(order[..count].iter().map(|&at| at as i64));
    }
    Ok(vec![
        Value::F32(Tensor::new(dims.clone(), best)?),
        Value::I64(Tensor::new(dims, places)?),
    ])
}

/// data [.., width] with updates [.., count] in the places [.., count] of each row.
pub fn spread(mut data: Tensor<f32>, places: &Tensor<i64>, updates: &Tensor<f32>) -> Result<Value> {
    let ((rows, width), (given, count)) = (data.rows(), places.rows());
    let leading = |dims: &[usize]| dims.len().checked_sub(1).map(|last| dims[..last].to_vec());
    if rows != given || places.dims() != updates.dims() || leading(data.dims()) != leading(places.dims()) {
        let shapes = format!("{:?}, {:?} and {:?}", data.dims(), places.dims(), updates.dims());
        return Err(Error::bad(format!("Cannot spread updates over rows: the shapes are {shapes}")));
    }
    if count == 0 || width == 0 {
        return Ok(Value::F32(data));
    }
    let each = data.data_mut().chunks_exact_mut(width).zip(places.data().chunks_exact(count));
    for ((row, places), updates) in each.zip(updates.data().chunks_exact(count)) {
        for (&place, &update) in places.iter().zip(updates) {
            row[within(place, width)?] = update;
        }
    }
    Ok(Value::F32(data))
}

/// Zeros of a shape that is computed.
pub fn zeros(shape: &Tensor<i64>) -> Result<Value> {
    let dims = shape
        .data()
        .iter()
        .map(|&size| usize::try_from(size))
        .collect::<std::result::Result<Vec<_>, _>>();
    let dims = dims.map_err(|_| Error::bad(format!("Cannot make zeros of the shape {:?}", shape.data())))?;
    let count = elements(&dims)?;
    Ok(Value::F32(Tensor::new(dims, vec![0.0; count])?))
}

/// Where x is not zero, in order: [places, dimensions].
pub fn places(x: &Tensor<f32>) -> Result<Value> {
    let dims = x.dims();
    let mut found = Vec::new();
    for (at, _) in x.data().iter().enumerate().filter(|(_, x)| **x != 0.0) {
        let mut rest = at;
        let start = found.len();
        found.resize(start + dims.len(), 0);
        for (axis, &dim) in dims.iter().enumerate().rev() {
            found[start + axis] = (rest % dim) as i64;
            rest /= dim;
        }
    }
    let count = found.len().checked_div(dims.len()).unwrap_or(0);
    Ok(Value::I64(Tensor::new(vec![count, dims.len()], found)?))
}

/// What is at places [count, axes] of the first axes of data: [count, ..].
pub fn take(data: &Tensor<f32>, places: &Tensor<i64>) -> Result<Value> {
    let parts = Parts::new(data.dims(), places)?;
    let mut taken = Vec::with_capacity(elements(&[parts.count, parts.length])?);
    for part in 0..parts.count {
        let start = parts.start(part)?;
        taken.extend_from_slice(&data.data()[start..start + parts.length]);
    }
    Ok(Value::F32(Tensor::new([&[parts.count], parts.rest].concat(), taken)?))
}

/// data with updates [count, ..] added at places [count, axes] of its first axes, in order.
pub fn add_at(mut data: Tensor<f32>, places: &Tensor<i64>, updates: &Tensor<f32>) -> Result<Value> {
    let dims = data.dims().to_vec();
    let parts = Parts::new(&dims, places)?;
    if updates.dims() != [&[parts.count], parts.rest].concat() {
        return Err(Error::bad(format!(
            "Cannot add {:?} to {} parts of {dims:?}",
            updates.dims(),
            parts.count
        )));
    }
    if parts.count == 0 || parts.length == 0 {
        return Ok(Value::F32(data));
    }
    let own = data.data_mut();
    for (part, update) in updates.data().chunks_exact(parts.length).enumerate() {
        let start = parts.start(part)?;
        own[start..start + parts.length].iter_mut().zip(update).for_each(|(x, y)| *x += y);
    }
    Ok(Value::F32(data))
}

/// Parts of a tensor by the indices of its first axes.
struct Parts<'a> {
    places: &'a [i64],
    first: &'a [usize],
    rest: &'a [usize],
    count: usize,
    length: usize,
}

impl<'a> Parts<'a> {
    fn new(dims: &'a [usize], places: &'a Tensor<i64>) -> Result<Self> {
        let refuse = || Error::bad(format!("Cannot find places {:?} in {dims:?}", places.dims()));
        let &[count, axes] = places.dims() else { return Err(refuse()) };
        if axes == 0 || axes > dims.len() {
            return Err(refuse());
        }
        let (first, rest) = dims.split_at(axes);
        Ok(Self {
            places: places.data(),
            first,
            rest,
            count,
            length: elements(rest)?,
        })
    }

    /// The first element of a part.
    fn start(&self, part: usize) -> Result<usize> {
        let axes = self.first.len();
        let indices = self.places[part * axes..][..axes].iter().zip(self.first);
        let row = indices.map(|(&index, &dim)| Ok((within(index, dim)?, dim)));
        let row = row
            .collect::<Result<Vec<_>>>()?
            .into_iter()
            .fold(0, |at, (index, dim)| at * dim + index);
        Ok(row * self.length)
    }
}

/// An index of an axis; negative ones count from its end.
fn within(index: i64, size: usize) -> Result<usize> {
    let found = if index < 0 { index.checked_add(size as i64) } else { Some(index) };
    let found = found.and_then(|index| usize::try_from(index).ok()).filter(|&index| index < size);
    found.ok_or_else(|| Error::bad(format!("Cannot use the index {index} of {size}")))
}
