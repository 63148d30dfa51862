use super::part::Part;
use super::Arithmetic;
use crate::kernels::machine::Scratch;
use crate::kernels::Machine;
use crate::Result;
use std::cell::OnceCell;

/// Elements of activations that are packed at a time: 8 MiB.
const PACKED: usize = 2 << 20;

/// Elements that are kept packed from one call to the next: 16 MiB.
const KEPT: usize = 2 * PACKED;

/// Many rows of activations, for products with weights that come tile by tile: what is made of them to multiply is made once.
pub struct Prompt<'a> {
    pub(super) machine: &'a Machine,
    pub(super) x: &'a [f32],
    pub(super) rows: usize,
    inputs: usize,
    /// rows of a part
    step: usize,
    /// for each part, packed for each arithmetic
    kept: Vec<[OnceCell<Scratch<'a>>; Arithmetic::ALL.len()]>,
}

impl<'a> Prompt<'a> {
    /// x: (rows, inputs).
    pub fn new(machine: &'a Machine, x: &'a [f32], rows: usize) -> Self {
        let inputs = x.len().checked_div(rows).unwrap_or(0);
        let step = (PACKED / inputs.max(1)).clamp(64, 512) / 32 * 32;
        let parts = if x.len() <= KEPT { rows.div_ceil(step) } else { 0 };
        Prompt {
            machine,
            x,
            rows,
            inputs,
            step,
            kept: (0..parts).map(|_| Default::default()).collect(),
        }
    }

    /// Calls `each` with the parts of the rows.
    pub(super) fn parts(&self, mut each: impl FnMut(usize, &Part) -> Result<()>) -> Result<()> {
        for (index, first) in (0..self.rows).step_by(self.step).enumerate() {
            let count = self.step.min(self.rows - first);
            let part = Part {
                x: &self.x[first * self.inputs..][..count * self.inputs],
                first,
                count,
                inputs: self.inputs,
            };
            each(index, &part)?;
        }
        Ok(())
    }

    /// Calls `use_it` with a part packed for an arithmetic.
    pub(super) fn packed<T>(
        &self,
        index: usize,
        part: &Part,
        arithmetic: Arithmetic,
        use_it: impl FnOnce(&[f32]) -> Result<T>,
    ) -> Result<T> {
        let Some(kept) = self.kept.get(index).map(|kept| &kept[arithmetic as usize]) else {
            return use_it(&arithmetic.pack(self.machine, part)?);
        };
        if kept.get().is_none() {
            let _ = kept.set(arithmetic.pack(self.machine, part)?);
        }
        use_it(kept.get().map_or(&[], |packed| packed))
    }
}
