use std::path::Path;
use std::sync::Arc;

use masset_core::{reading, Code, Error};
use napi::bindgen_prelude::Uint32Array;
use napi_derive::napi;

use crate::convert::guarded;

/// The files of a model that still arrive; files are counted as in its plan.
#[napi]
pub struct Arrivals(pub(crate) Arc<reading::Arrivals>);

#[napi]
impl Arrivals {
    /// Of each file of the plan its bytes where it arrives, and -1 where it is there.
    #[napi(constructor)]
    pub fn new(sizes: Vec<f64>) -> napi::Result<Self> {
        let sizes: Vec<Option<u64>> = sizes.iter().map(|&size| (size >= 0.0).then_some(size as u64)).collect();
        guarded(|| Ok(Self(Arc::new(reading::Arrivals::new(&sizes)?))))
    }

    /// A file has a place, of its full size, where its leaves will be.
    #[napi]
    pub fn begin(&self, file: u32, path: String) -> napi::Result<()> {
        guarded(|| self.0.begin(file as usize, Path::new(&path)))
    }

    /// A leaf is there, verified; `sums` are the CRC-32 of its pages.
    #[napi]
    pub fn arrive(&self, file: u32, leaf: u32, sums: Uint32Array) -> napi::Result<()> {
        guarded(|| self.0.arrive(file as usize, leaf as usize, &sums))
    }

    /// All of a file is there, and where the plan says.
    #[napi]
    pub fn finish(&self, file: u32) -> napi::Result<()> {
        guarded(|| self.0.finish(file as usize))
    }

    /// What somebody began to wait for since this was asked: file, leaf, file, leaf.
    #[napi]
    pub fn take_wanted(&self) -> Vec<u32> {
        let wanted = self.0.take_wanted();
        wanted.into_iter().flat_map(|(file, leaf)| [file as u32, leaf as u32]).collect()
    }

    /// Nothing more arrives: whoever waits fails with this.
    #[napi]
    pub fn fail(&self, why: String) {
        self.0.fail(Error::new(Code::Io, why));
    }

    /// Fetching goes on after it failed.
    #[napi]
    pub fn resume(&self) {
        self.0.resume();
    }
}
