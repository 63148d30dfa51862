use std::sync::Arc;

use crate::{Error, Result};

/// The most elements of a value that a program makes beside the outputs of weights, so that no shape from outside fills the memory.
const MOST: usize = 1 << 31;

/// A dense tensor, row-major; cloning it shares the elements.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor<T> {
    dims: Vec<usize>,
    data: Arc<Vec<T>>,
}

impl<T> Tensor<T> {
    /// A tensor of these dimensions.
    ///
    /// # Errors
    /// `BadInput` where `data` has another number of elements.
    pub fn new(dims: Vec<usize>, data: Vec<T>) -> Result<Self> {
        if elements(&dims)? != data.len() {
            return Err(Error::bad(format!("Cannot make a tensor of {dims:?} of {} elements", data.len())));
        }
        Ok(Self {
            dims,
            data: Arc::new(data),
        })
    }

    /// Sizes of the dimensions, outermost first.
    pub fn dims(&self) -> &[usize] {
        &self.dims
    }

    /// All elements.
    pub fn data(&self) -> &[T] {
        &self.data
    }

    /// The size of the last dimension, and how many rows of it there are.
    pub fn rows(&self) -> (usize, usize) {
        let width = self.dims.last().copied().unwrap_or(1);
        (self.data.len().checked_div(width).unwrap_or(0), width)
    }

    /// The same elements in other dimensions.
    ///
    /// # Errors
    /// `BadInput` where those have another number of elements.
    pub fn with_dims(&self, dims: Vec<usize>) -> Result<Self> {
        if elements(&dims)? != self.data.len() {
            return Err(Error::bad(format!("Cannot give {:?} the shape {dims:?}", self.dims)));
        }
        Ok(Self {
            dims,
            data: self.data.clone(),
        })
    }
}

impl<T: Clone> Tensor<T> {
    /// All elements, to change in place; a copy of them where somebody else has them too.
    pub fn data_mut(&mut self) -> &mut [T] {
        let data: &mut Vec<T> = Arc::make_mut(&mut self.data);
        data
    }

    /// The elements, without a copy where nobody else has them.
    pub fn into_data(self) -> Vec<T> {
        Arc::try_unwrap(self.data).unwrap_or_else(|shared| shared.to_vec())
    }
}

/// How many elements a tensor of these dimensions has.
///
/// # Errors
/// `BadInput` where that is more than any tensor may have.
pub fn elements(dims: &[usize]) -> Result<usize> {
    let count = dims.iter().try_fold(1usize, |count, &dim| count.checked_mul(dim));
    count
        .filter(|&count| count <= MOST)
        .ok_or_else(|| Error::bad(format!("Cannot make a tensor of {dims:?}: it is too large")))
}

/// What flows between the nodes of a program.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// float32
    F32(Tensor<f32>),
    /// 64-bit integers: ids, positions, shapes
    I64(Tensor<i64>),
    /// masks
    Bool(Tensor<bool>),
}

impl Value {
    /// Sizes of the dimensions, outermost first.
    pub fn dims(&self) -> &[usize] {
        match self {
            Value::F32(tensor) => tensor.dims(),
            Value::I64(tensor) => tensor.dims(),
            Value::Bool(tensor) => tensor.dims(),
        }
    }

    /// The same elements in other dimensions.
    ///
    /// # Errors
    /// `BadInput` where those have another number of elements.
    pub fn with_dims(&self, dims: Vec<usize>) -> Result<Self> {
        Ok(match self {
            Value::F32(tensor) => Value::F32(tensor.with_dims(dims)?),
            Value::I64(tensor) => Value::I64(tensor.with_dims(dims)?),
            Value::Bool(tensor) => Value::Bool(tensor.with_dims(dims)?),
        })
    }

    /// # Errors
    /// `BadInput` where it is of another type.
    pub fn f32(&self) -> Result<&Tensor<f32>> {
        match self {
            Value::F32(tensor) => Ok(tensor),
            _ => Err(Error::bad("Cannot run a node: an input of it is not of float32")),
        }
    }

    /// # Errors
    /// `BadInput` where it is of another type.
    pub fn into_f32(self) -> Result<Tensor<f32>> {
        match self {
            Value::F32(tensor) => Ok(tensor),
            other => other.f32().cloned(),
        }
    }

    /// # Errors
    /// `BadInput` where it is of another type.
    pub fn i64(&self) -> Result<&Tensor<i64>> {
        match self {
            Value::I64(tensor) => Ok(tensor),
            _ => Err(Error::bad("Cannot run a node: an input of it is not of 64-bit integers")),
        }
    }

    /// # Errors
    /// `BadInput` where it is of another type.
    pub fn bool(&self) -> Result<&Tensor<bool>> {
        match self {
            Value::Bool(tensor) => Ok(tensor),
            _ => Err(Error::bad("Cannot run a node: an input of it is not of booleans")),
        }
    }
}
