use std::cell::Cell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use super::session::{attend, How, Session};
use super::spec::{Node, Port, Segment};
use super::weights::{Place, Weights};
use super::Logits;
use crate::kernels::{self, Heads, Machine};
use crate::program::{self, Op, Tensor, Unary, Value};
use crate::{Code, Error, Result};

/// One run over the nodes of a segment.
pub struct Pass<'a> {
    pub segment: &'a Segment,
    pub weights: &'a Weights,
    /// where its nodes are
    pub places: &'a [Place],
    pub machine: &'a Machine,
    pub last_use: &'a [usize],
    pub abort: &'a AtomicBool,
    pub logits: Logits,
    /// how many rows there are of what rows were taken of last
    pub taken_of: Cell<usize>,
}

impl Pass<'_> {
    /// Runs all nodes; `sessions` are the caches, one for each sequence of the batch.
    pub fn run(&self, inputs: &HashMap<String, Value>, sessions: &mut [Session]) -> Result<Vec<(String, Value)>> {
        let mut values: Vec<Option<Value>> = vec![None; self.segment.values];
        for port in &self.segment.inputs {
            let value = inputs
                .get(&port.name)
                .ok_or_else(|| Error::bad(format!("Cannot run the model: the input {} is missing", port.name)))?;
            values[port.value] = Some(value.clone());
        }
        let kept: Vec<usize> = self.segment.outputs.iter().map(|port| port.value).collect();
        let end = match (self.logits, self.segment.head) {
            (Logits::None, Some(head)) => head,
            _ => self.segment.nodes.len(),
        };
        for (at, node) in self.segment.nodes[..end].iter().enumerate() {
            if self.abort.load(Ordering::Relaxed) {
                return Err(Error::new(Code::Aborted, "Cannot finish to run the model: it was cancelled"));
            }
            let mut given = node.inputs.iter().map(|&value| taken(&values, value)).collect::<Result<Vec<_>>>()?;
            for &value in &node.inputs {
                if self.last_use[value] == at && !kept.contains(&value) {
                    values[value] = None;
                }
            }
            if self.logits == Logits::Last && self.segment.head == Some(at) {
                given[0] = last_rows(&given[0])?;
            }
            let mut compute = || self.node(at, node, std::mem::take(&mut given), sessions);
            // products with weights are seen tile by tile
            let made = match node.run {
                Op::Linear { .. } | Op::Conv1d { .. } => compute(),
                _ => self.weights.seen(self.places[at].node, compute),
            }?;
            for (&value, made) in node.outputs.iter().zip(made) {
                values[value] = Some(made);
            }
        }
        let made = |port: &&Port| end == self.segment.nodes.len() || values[port.value].is_some();
        let outputs = self.segment.outputs.iter().filter(made);
        outputs.map(|port| Ok((port.name.clone(), taken(&values, port.value)?))).collect()
    }

    fn node(&self, at: usize, node: &Node, mut given: Vec<Value>, sessions: &mut [Session]) -> Result<Vec<Value>> {
        let one = match &node.run {
            Op::Vector { index } => Value::F32(self.weights.vectors[*index].clone()),
            Op::Integers { dims, data } => Value::I64(Tensor::new(dims.clone(), data.clone())?),
            Op::Floats { dims, data } => Value::F32(Tensor::new(dims.clone(), data.clone())?),
            Op::Rows { weight } => self.rows(*weight, given[0].i64()?)?,
            Op::Linear { weight } => self.linear(at, *weight, given[0].f32()?)?,
            Op::Conv1d { weight } => self.conv1d(at, *weight, given[0].f32()?)?,
            Op::RmsNorm { epsilon } => self.by_rows(&given, |x, y| {
                kernels::rms_norm(self.machine, x, given[1].f32()?.data(), *epsilon, y)
            })?,
            Op::LayerNorm { epsilon } => {
                let (weight, bias) = (given[1].f32()?.data(), given[2].f32()?.data());
                self.by_rows(&given, |x, y| kernels::layer_norm(self.machine, x, weight, Some(bias), *epsilon, y))?
            }
            Op::Rotary { heads } => self.rotary(*heads, given)?,
            Op::Attention {
                heads,
                kv_heads,
                scale,
                soft_cap,
                cache,
            } => {
                let how = How {
                    heads: *heads,
                    kv_heads: *kv_heads,
                    scale: *scale,
                    soft_cap: *soft_cap,
                    cache: *cache,
                };
                Value::F32(attend(self.machine, &how, &given, sessions)?)
            }
            Op::Unary { f } => self.unary(*f, given.swap_remove(0).into_f32()?)?,
            Op::Binary { f } => {
                let a = given.swap_remove(0);
                program::binary(*f, a, &given[0])?
            }
            Op::Where {} => program::choose(&given[0], &given[1], &given[2])?,
            Op::Reduce { f, axes, keep } => program::reduce(*f, &given[0], axes, *keep)?,
            Op::Cast { to } => program::cast(&given[0], *to),
            Op::Shape { start, end } => program::shape(&given[0], *start, *end)?,
            Op::Reshape { dims } => program::reshape(&given[0], dims)?,
            Op::Unsqueeze { axes } => program::unsqueeze(&given[0], axes)?,
            Op::Squeeze { axes } => program::squeeze(&given[0], axes.as_deref())?,
            Op::Range {} => program::range(&given[0], &given[1], &given[2])?,
            Op::Slice {} => program::slice(&given[0], &given[1], &given[2])?,
            Op::Concat { axis } => program::concat(&given.iter().collect::<Vec<_>>(), *axis)?,
            Op::Expand {} => program::expand(&given[0], &sizes(given[1].i64()?.data())?)?,
            Op::Softmax {} => program::softmax(given.swap_remove(0).into_f32()?)?,
            Op::TopK { count } => return program::top_k(given[0].f32()?, *count),
            Op::Spread {} => {
                let data = given.remove(0).into_f32()?;
                program::spread(data, given[0].i64()?, given[1].f32()?)?
            }
            Op::Zeros {} => program::zeros(given[0].i64()?)?,
            Op::Places {} => program::places(given[0].f32()?)?,
            Op::Take {} => {
                let (data, places) = (given[0].f32()?, given[1].i64()?);
                let axes = places.dims().last().copied().unwrap_or(0);
                self.taken_of.set(data.dims().iter().take(axes).product());
                program::take(data, places)?
            }
            Op::AddAt {} => {
                let data = given.remove(0).into_f32()?;
                program::add_at(data, given[0].i64()?, given[1].f32()?)?
            }
            Op::Split { parts } => return program::split(&given[0], *parts),
            Op::Pick { axis, index } => program::pick(&given[0], *axis, *index)?,
        };
        Ok(vec![one])
    }

    /// ids [..] -> [.., width]
    fn rows(&self, weight: usize, ids: &Tensor<i64>) -> Result<Value> {
        let data = self.weights.rows(self.machine, weight, ids.data(), self.abort)?;
        let dims = [ids.dims(), &[self.weights.shape(weight)?.1]].concat();
        Ok(Value::F32(Tensor::new(dims, data)?))
    }

    /// x [.., inputs] -> [.., outputs]
    fn linear(&self, at: usize, weight: usize, x: &Tensor<f32>) -> Result<Value> {
        let (outputs, inputs) = self.weights.shape(weight)?;
        let rows = rows_of(x, inputs)?;
        // Rows sent to an expert are summed as those of the whole pass are, so that it doesn't matter how many others are sent there.
        let all = match self.weights.is_cached(weight)? {
            true => rows.max(self.taken_of.get()),
            false => rows,
        };
        let slow = all > kernels::MAX_ROWS;
        let place = self.places[at];
        let data = self
            .weights
            .linear(self.machine, place, weight, (x.data(), rows), slow, self.abort)?;
        wide(x, outputs, data)
    }

    fn conv1d(&self, at: usize, weight: usize, x: &Tensor<f32>) -> Result<Value> {
        let (inputs, outputs) = self.weights.shape(weight)?;
        let data = self
            .weights
            .conv1d(self.machine, self.places[at], weight, x.data(), rows_of(x, inputs)?, self.abort)?;
        wide(x, outputs, data)
    }

    fn by_rows(&self, given: &[Value], f: impl FnOnce(&[f32], &mut [f32]) -> Result<()>) -> Result<Value> {
        let (x, weight) = (given[0].f32()?, given[1].f32()?);
        if weight.data().len() != x.rows().1 {
            let (wide, long) = (x.rows().1, weight.data().len());
            return Err(Error::bad(format!("Cannot scale rows of {wide} by a weight of {long}")));
        }
        let mut y = vec![0.0; x.data().len()];
        if !y.is_empty() {
            f(x.data(), &mut y)?;
        }
        Ok(Value::F32(Tensor::new(x.dims().to_vec(), y)?))
    }

    fn rotary(&self, heads: usize, mut given: Vec<Value>) -> Result<Value> {
        let (sin, cos) = (given.swap_remove(2), given.swap_remove(1));
        let mut x = given.swap_remove(0).into_f32()?;
        let head_dim = x.rows().1.checked_div(heads).unwrap_or(0);
        kernels::rotary(
            self.machine,
            x.data_mut(),
            Heads { heads, head_dim },
            cos.f32()?.data(),
            sin.f32()?.data(),
        )?;
        Ok(Value::F32(x))
    }

    fn unary(&self, f: Unary, mut x: Tensor<f32>) -> Result<Value> {
        let y = x.data_mut();
        match f {
            Unary::Cos => y.iter_mut().for_each(|x| *x = libm::cosf(*x)),
            Unary::Sin => y.iter_mut().for_each(|x| *x = libm::sinf(*x)),
            Unary::Sqrt => y.iter_mut().for_each(|x| *x = x.sqrt()),
            Unary::Sigmoid => kernels::apply(self.machine, kernels::Unary::Sigmoid, y)?,
            Unary::Silu => kernels::apply(self.machine, kernels::Unary::Silu, y)?,
            Unary::Tanh => kernels::apply(self.machine, kernels::Unary::Tanh, y)?,
            Unary::Gelu => kernels::apply(self.machine, kernels::Unary::Gelu, y)?,
            Unary::GeluTanh => kernels::apply(self.machine, kernels::Unary::GeluTanh, y)?,
            Unary::Relu => kernels::apply(self.machine, kernels::Unary::Relu, y)?,
        }
        Ok(Value::F32(x))
    }
}

fn taken(values: &[Option<Value>], at: usize) -> Result<Value> {
    let value = values.get(at).and_then(Option::as_ref);
    value
        .cloned()
        .ok_or_else(|| Error::new(Code::Engine, format!("Cannot run a node: value {at} was not made")))
}

fn rows_of(x: &Tensor<f32>, inputs: usize) -> Result<usize> {
    match x.rows() {
        (rows, width) if width == inputs => Ok(rows),
        (_, width) => Err(Error::bad(format!("Cannot multiply rows of {width} by a weight for {inputs}"))),
    }
}

/// x's dimensions but for the last.
fn wide(x: &Tensor<f32>, outputs: usize, data: Vec<f32>) -> Result<Value> {
    let mut dims = x.dims().to_vec();
    if let Some(last) = dims.last_mut() {
        *last = outputs;
    }
    Ok(Value::F32(Tensor::new(dims, data)?))
}

/// [batch, sequence, width] -> [batch, 1, width]
fn last_rows(value: &Value) -> Result<Value> {
    let x = value.f32()?;
    let &[batch, sequence, width] = x.dims() else {
        return Err(Error::bad("Cannot take the last rows: the shape is not [batch, sequence, width]"));
    };
    let rows = x
        .data()
        .chunks_exact((sequence * width).max(1))
        .flat_map(|all| &all[all.len() - width..])
        .copied();
    Ok(Value::F32(Tensor::new(vec![batch, 1, width], rows.collect())?))
}

fn sizes(data: &[i64]) -> Result<Vec<usize>> {
    data.iter()
        .map(|&size| usize::try_from(size).map_err(|_| Error::bad(format!("Cannot make a tensor of {data:?}"))))
        .collect()
}
