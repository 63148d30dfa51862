use serde::Deserialize;

/// A function of one tensor, element by element.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Unary {
    /// cosine
    Cos,
    /// sine
    Sin,
    /// 1 / (1 + exp(-x))
    Sigmoid,
    /// x * sigmoid(x)
    Silu,
    /// hyperbolic tangent
    Tanh,
    /// x * Phi(x)
    Gelu,
    /// the same by the tanh approximation
    GeluTanh,
    /// max(x, 0)
    Relu,
    /// square root
    Sqrt,
}

/// A function of two tensors, element by element, dimensions of 1 stretched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Binary {
    /// a + b
    Add,
    /// a - b
    Sub,
    /// a * b
    Mul,
    /// a / b
    Div,
    /// the larger
    Max,
    /// a < b
    Less,
    /// a <= b
    LessOrEqual,
    /// a > b
    Greater,
    /// a = b
    Equal,
    /// both
    And,
    /// either
    Or,
}

/// How elements along some axes become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Fold {
    /// their sum
    Sum,
    /// the largest
    Max,
    /// the root of the sum of their squares
    L2,
}

/// The element type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Kind {
    /// float32
    F32,
    /// 64-bit integers
    I64,
    /// booleans
    Bool,
}

/// What a node does. Negative axes count from the last. Shapes in brackets; the semantics are those of the ONNX operators.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "op", rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Op {
    /// a small weight, always in memory, as float32
    Vector {
        /// which
        index: usize,
    },
    /// integers that are part of the program
    Integers {
        /// sizes of the dimensions
        dims: Vec<usize>,
        /// all elements
        data: Vec<i64>,
    },
    /// float32 values that are part of the program
    Floats {
        /// sizes of the dimensions
        dims: Vec<usize>,
        /// all elements
        data: Vec<f32>,
    },
    /// rows of a weight by ids [..] -> [.., width], as float32
    Rows {
        /// which weight
        weight: usize,
    },
    /// x [.., inputs] times the transpose of a weight (outputs, inputs) -> [.., outputs]
    Linear {
        /// which weight
        weight: usize,
    },
    /// x [.., inputs] times a weight (inputs, outputs) -> [.., outputs]
    Conv1d {
        /// which weight
        weight: usize,
    },
    /// x [.., width], weight [width]: x / sqrt(mean(x^2) + epsilon) * weight
    RmsNorm {
        /// added to the mean
        epsilon: f32,
    },
    /// x [.., width], weight [width], bias [width]
    LayerNorm {
        /// added to the variance
        epsilon: f32,
    },
    /// x [batch, sequence, heads * head_dim], cos and sin [batch, sequence, head_dim / 2]
    Rotary {
        /// heads of x
        heads: usize,
    },
    /// q [batch, sequence, heads * head_dim], k and v [batch, sequence, kv_heads * head_dim], mask [batch or 1, 1, sequence, total]
    Attention {
        /// heads of the queries
        heads: usize,
        /// heads of keys and values
        kv_heads: usize,
        /// of the products of queries and keys
        scale: f32,
        /// scores become cap * tanh(score / cap) before the mask; none leaves them as they are
        soft_cap: Option<f32>,
        /// which cache holds what came before; none for an encoder
        cache: Option<usize>,
    },
    /// one tensor, element by element
    Unary {
        /// the function
        f: Unary,
    },
    /// two tensors, element by element
    Binary {
        /// the function
        f: Binary,
    },
    /// if, then, else
    Where {},
    /// along axes
    Reduce {
        /// the function
        f: Fold,
        /// which axes
        axes: Vec<i64>,
        /// leave them as 1
        keep: bool,
    },
    /// another element type
    Cast {
        /// which
        to: Kind,
    },
    /// sizes of the dimensions `start` to `end` as integers
    Shape {
        /// the first
        start: i64,
        /// the one after the last
        end: Option<i64>,
    },
    /// other dimensions: 0 keeps one, -1 takes what is left
    Reshape {
        /// the dimensions
        dims: Vec<i64>,
    },
    /// dimensions of 1 added at these axes of the result
    Unsqueeze {
        /// which axes
        axes: Vec<i64>,
    },
    /// dimensions of 1 taken away: these, or all
    Squeeze {
        /// which axes
        axes: Option<Vec<i64>>,
    },
    /// integers from start to limit by delta
    Range {},
    /// the elements from start to end of the first axis
    Slice {},
    /// joined along an axis
    Concat {
        /// which axis
        axis: i64,
    },
    /// stretched to a shape
    Expand {},
    /// cut into equal parts along the last axis
    Split {
        /// how many
        parts: usize,
    },
    /// exp(x) / sum, over the last axis
    Softmax {},
    /// the largest of the last axis, the largest first, and where they are
    TopK {
        /// how many
        count: usize,
    },
    /// data [.., width], places [.., count], updates [.., count]: data with the updates there, row by row
    Spread {},
    /// of a shape that is computed
    Zeros {},
    /// where x is not zero: [places, dimensions]
    Places {},
    /// data, places [count, axes] -> [count, ..]: what is at indices of its first axes
    Take {},
    /// data, places [count, axes], updates [count, ..]: data with the updates added there
    AddAt {},
    /// the slice at one index of an axis, which goes away
    Pick {
        /// which axis
        axis: i64,
        /// which slice
        index: i64,
    },
}
