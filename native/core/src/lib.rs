//! Reading, kernels and programs of the native engine; knows nothing of Node.
#![deny(missing_docs)]

mod error;
pub mod kernels;
pub mod model;
pub mod program;
pub mod reading;
pub mod trace;

pub use error::{Code, Error, Result};
