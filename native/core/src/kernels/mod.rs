//! The arithmetic of the native engine, over slices. Every function has one order of operations, written in sixteen virtual
//! lanes, so that its results have the same bits on every instruction set and for every number of threads. Only what is asked
//! for as [`Precision::Fast`] depends on what the processor knows.

mod attention;
mod binary;
mod conv1d;
mod encoding;
mod gather;
mod gemm;
mod isa;
mod lanes;
mod linear;
mod machine;
mod math;
mod norm;
mod pool;
mod rotary;
mod row;
mod softmax;
mod unary;

pub use attention::{attention, Attention, CacheType, KvCache, Mask, PAGE};
pub use binary::{combine, Binary};
pub use conv1d::conv1d;
pub use encoding::{Encoding, ScaleType, Tile, BLOCK};
pub use gather::gather;
pub use gemm::{gemm, rounds, Precision, Prompt};
pub use isa::Isa;
pub use linear::{linear, Product, MAX_ROWS};
pub use machine::Machine;
pub use norm::{layer_norm, rms_norm};
pub use pool::Pool;
pub use rotary::{rotary, Heads};
pub use softmax::softmax;
pub use unary::{apply, Unary};
