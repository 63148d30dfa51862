use serde::Deserialize;

use crate::kernels::{CacheType, Precision};
use crate::program::{Kind, Op};
use crate::reading::Linked;
use crate::{Error, Result};

/// All that a model is made of, as the caller planned it; every number in it is checked again here.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Spec {
    /// the fragments
    pub files: Vec<File>,
    /// small weights, always in memory as float32
    pub vectors: Vec<Stored>,
    /// large weights
    pub weights: Vec<Weight>,
    /// caches of keys and values
    pub caches: Vec<CacheShape>,
    /// what a pass runs, one after the other; what is between them is the caller's business
    pub segments: Vec<Segment>,
    /// memory for streamed tiles, each slot large enough for any of them
    pub slots: usize,
    /// memory for cached matrices
    #[serde(default)]
    pub cache: usize,
    /// pinned tiles lie in mapped files, which the system reads and drops as it likes, rather than in memory of their own
    #[serde(default)]
    pub map: bool,
    /// whether reads, waits and computing are recorded
    #[serde(default)]
    pub trace: bool,
    /// how the caches of sessions keep keys and values
    pub kv_cache: CacheType,
    /// how exactly many rows at once are multiplied
    pub precision: Precision,
}

impl Spec {
    /// The content of the fragment that something lies in.
    pub(super) fn content(&self, stored: &Stored) -> Result<String> {
        let file = self.files.get(stored.file).map(|file| file.key.clone());
        file.ok_or_else(|| Error::bad(format!("Cannot read file {}: there is none", stored.file)))
    }
}

/// Nodes that run in one call. A wholly native model is one of them.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Segment {
    /// values between nodes; each has a number below this
    pub values: usize,
    /// what the caller gives
    pub inputs: Vec<Port>,
    /// what the caller gets
    pub outputs: Vec<Port>,
    /// in forward order
    pub nodes: Vec<Node>,
    /// the node from which on only the last row of each sequence is needed when text is generated
    pub head: Option<usize>,
}

impl Segment {
    /// The caches that its nodes fill, in order.
    pub fn caches(&self) -> impl Iterator<Item = usize> + '_ {
        self.nodes.iter().filter_map(|node| match node.run {
            Op::Attention { cache, .. } => cache,
            _ => None,
        })
    }
}

/// One fragment.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct File {
    /// its content: models whose files have the same key share what stays in memory
    pub key: String,
    /// where it is
    pub path: String,
    /// bytes
    pub size: u64,
    /// where it is a run of bytes of the file at `path`
    #[serde(default)]
    pub linked: Option<Linked>,
    /// where the checksums of its pages begin in the table of all
    pub first_sum: usize,
}

/// How the elements of a weight are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Dtype {
    /// IEEE single
    F32,
    /// IEEE half
    F16,
    /// the upper half of a single
    BF16,
    /// signed bytes, blocks of 32 of which have a scale
    I8,
    /// signed nibbles, two a byte, low one first, blocks of 32 of which have a scale
    I4,
}

/// Where a weight lies.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Stored {
    /// index of the fragment
    pub file: usize,
    /// first byte in it
    pub offset: u64,
    /// element type
    pub dtype: Dtype,
    /// sizes of the dimensions
    pub dims: Vec<usize>,
}

/// A matrix and how it is cut into tiles of whole rows.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Weight {
    /// where it lies
    pub stored: Stored,
    /// where the scales (rows, inputs / 32) of whole numbers lie
    pub scales: Option<Stored>,
    /// all scales are kept in memory, whatever becomes of the tiles; else each tile has its own with it
    #[serde(default)]
    pub scales_pinned: bool,
    /// no tile of it is pinned or streamed: it is read as a whole when rows are multiplied by it, and stays by its last use
    #[serde(default)]
    pub cached: bool,
    /// none where only single rows of it are read
    pub tiles: Vec<Rows>,
}

/// Rows of a matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rows {
    /// how many, after those of the tile before
    pub rows: usize,
    /// kept in memory, or read anew in each pass
    pub pinned: bool,
}

/// The keys and values of one attention, and the graph values that they are when a caller keeps them himself.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CacheShape {
    /// heads of keys and values
    pub kv_heads: usize,
    /// width of a head
    pub head_dim: usize,
    /// names of the inputs: key, value
    pub past: [String; 2],
    /// names of the outputs: key, value
    pub present: [String; 2],
}

/// An input or output of a segment.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Port {
    /// its name in the graph
    pub name: String,
    /// the number of the value
    pub value: usize,
    /// its element type
    pub kind: Kind,
}

/// One node: what it does, with what, and what comes out.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Node {
    /// what it does
    pub run: Op,
    /// numbers of values
    pub inputs: Vec<usize>,
    /// numbers of values, each made once
    pub outputs: Vec<usize>,
}
