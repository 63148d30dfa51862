//! Bindings of the native engine: values, errors and threads are translated here, nothing is computed.

mod arrivals;
mod convert;
mod model;
mod session;

use masset_core::kernels::Isa;
use napi_derive::napi;

/// The instruction sets that kernels can use on this processor, best first.
#[napi]
pub fn instruction_sets() -> Vec<String> {
    Isa::ALL
        .into_iter()
        .filter(|isa| isa.is_supported())
        .map(|isa| isa.as_str().to_owned())
        .collect()
}

/// The time on the clock of all events that models record, in milliseconds.
#[napi]
pub fn clock_ms() -> f64 {
    model::milliseconds(masset_core::trace::now())
}
