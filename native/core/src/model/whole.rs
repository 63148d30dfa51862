use std::collections::HashMap;
use std::sync::atomic::AtomicBool;

use super::{Logits, Model, Session};
use crate::program::{Tensor, Value};
use crate::{Error, Result};

impl Model {
    /// As `run`, for caches that are inputs and outputs, as the graph has them: [batch, kv_heads, positions, head_dim].
    ///
    /// # Errors
    /// As `run`.
    pub fn run_whole(
        &self,
        segment: usize,
        inputs: &HashMap<String, Value>,
        logits: Logits,
        abort: &AtomicBool,
    ) -> Result<Vec<(String, Value)>> {
        let caches: Vec<_> = self
            .segment(segment)?
            .caches()
            .map(|cache| (cache, &self.caches()[cache]))
            .collect();
        let Some((_, first)) = caches.first() else {
            return self.run(segment, inputs, &mut [], logits, abort);
        };
        let batch = given(inputs, &first.past[0])?.dims().first().copied().unwrap_or(0);
        let session = |_| Session::new(self.caches(), self.spec.kv_cache, true);
        let mut sessions = (0..batch).map(session).collect::<Result<Vec<_>>>()?;
        for &(cache, shape) in &caches {
            let (keys, values) = (given(inputs, &shape.past[0])?, given(inputs, &shape.past[1])?);
            let [_, _, positions, _] = *keys.dims() else {
                return Err(Error::bad("Cannot use a cache: it has not four dimensions"));
            };
            if keys.dims() != [batch, shape.kv_heads, positions, shape.head_dim] || values.dims() != keys.dims() {
                return Err(Error::bad(format!(
                    "Cannot use the cache {}: its shape is {:?}",
                    shape.past[0],
                    keys.dims()
                )));
            }
            let run = shape.kv_heads * positions * shape.head_dim;
            for (row, session) in sessions.iter_mut().enumerate() {
                session.load(
                    &self.machine,
                    cache,
                    shape,
                    &keys.data()[row * run..][..run],
                    &values.data()[row * run..][..run],
                )?;
            }
        }
        let mut outputs = self.run(segment, inputs, &mut sessions, logits, abort)?;
        for &(cache, shape) in &caches {
            let all: Vec<_> = sessions.iter().map(|session| session.export(cache, shape)).collect();
            let positions = all.first().map_or(0, |&(_, _, positions)| positions);
            let dims = vec![batch, shape.kv_heads, positions, shape.head_dim];
            let keys = all.iter().flat_map(|(keys, _, _)| keys).copied().collect();
            let values = all.iter().flat_map(|(_, values, _)| values).copied().collect();
            outputs.push((shape.present[0].clone(), Value::F32(Tensor::new(dims.clone(), keys)?)));
            outputs.push((shape.present[1].clone(), Value::F32(Tensor::new(dims, values)?)));
        }
        Ok(outputs)
    }
}

fn given<'a>(inputs: &'a HashMap<String, Value>, name: &str) -> Result<&'a Tensor<f32>> {
    inputs
        .get(name)
        .ok_or_else(|| Error::bad(format!("Cannot run the model: the input {name} is missing")))?
        .f32()
}
