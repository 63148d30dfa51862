use std::panic::{catch_unwind, AssertUnwindSafe};

use masset_core::program::{Tensor, Value};
use masset_core::{Code, Error, Result};
use napi::bindgen_prelude::{BigInt64Array, Float32Array, Uint8Array};
use napi_derive::napi;

/// A tensor by its name: exactly one of the three lists is there.
#[napi(object)]
pub struct NamedTensor {
    pub name: String,
    pub dims: Vec<u32>,
    pub f32: Option<Float32Array>,
    pub i64: Option<BigInt64Array>,
    pub bool: Option<Uint8Array>,
}

/// The one way by which errors reach JavaScript: the code in brackets, then the message.
pub fn thrown(error: Error) -> napi::Error {
    napi::Error::from_reason(format!("[{}] {}", error.code.as_str(), error.message))
}

/// Runs a call of the core; a panic becomes an error.
pub fn guarded<T>(call: impl FnOnce() -> Result<T>) -> napi::Result<T> {
    let outcome = catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied());
        Err(Error::new(
            Code::Engine,
            format!("Cannot go on: the native engine failed: {}", text.unwrap_or("it panicked")),
        ))
    });
    outcome.map_err(thrown)
}

pub fn value_of(tensor: &NamedTensor) -> Result<Value> {
    let dims = tensor.dims.iter().map(|&dim| dim as usize).collect();
    match (&tensor.f32, &tensor.i64, &tensor.bool) {
        (Some(data), None, None) => Ok(Value::F32(Tensor::new(dims, data.to_vec())?)),
        (None, Some(data), None) => Ok(Value::I64(Tensor::new(dims, data.to_vec())?)),
        (None, None, Some(data)) => Ok(Value::Bool(Tensor::new(dims, data.iter().map(|&byte| byte != 0).collect())?)),
        _ => Err(Error::bad(format!(
            "Cannot use the input {}: it has no data, or more than one kind of it",
            tensor.name
        ))),
    }
}

/// A value as JavaScript gets it: floats in `into` where that is there and as long as they, else in memory of their own.
pub fn named(name: String, value: Value, into: &mut Option<Float32Array>) -> napi::Result<NamedTensor> {
    let dims = value
        .dims()
        .iter()
        .map(|&dim| u32::try_from(dim))
        .collect::<std::result::Result<_, _>>();
    let dims = dims.map_err(|_| thrown(Error::bad(format!("Cannot give out {name}: it is too large"))))?;
    let mut tensor = NamedTensor {
        name,
        dims,
        f32: None,
        i64: None,
        bool: None,
    };
    match value {
        Value::F32(data) => {
            tensor.f32 = match into.take_if(|into| into.len() == data.data().len()) {
                Some(mut into) => {
                    // SAFETY: this runs on the thread of JavaScript, which alone uses the list, and nothing else runs meanwhile
                    unsafe { into.as_mut() }.copy_from_slice(data.data());
                    Some(into)
                }
                None => Some(data.into_data().into()),
            }
        }
        Value::I64(data) => tensor.i64 = Some(data.into_data().into()),
        Value::Bool(data) => tensor.bool = Some(data.into_data().into_iter().map(u8::from).collect::<Vec<_>>().into()),
    }
    Ok(tensor)
}
