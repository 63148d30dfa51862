//! Small tensors and the nodes that work on them; what touches weights or caches is in `model`.

mod elements;
mod op;
mod routing;
mod shapes;
#[cfg(test)]
mod tests;
mod value;

pub(crate) use elements::{binary, choose, expand, reduce};
pub use op::{Binary, Fold, Kind, Op, Unary};
pub(crate) use routing::{add_at, places, softmax, spread, take, top_k, zeros};
pub(crate) use shapes::{cast, concat, pick, range, reshape, shape, slice, split, squeeze, unsqueeze};
pub(crate) use value::elements;
pub use value::{Tensor, Value};
