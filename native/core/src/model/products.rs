//! What nodes compute with weights.

use std::sync::atomic::AtomicBool;

use super::weights::{Place, Weights};
use crate::kernels::{self, Machine, Product};
use crate::program::elements;
use crate::{Code, Error, Result};

impl Weights {
    /// Rows of a weight by their ids as float32 (ids, width); each row is read once, all in parallel.
    pub fn rows(&self, machine: &Machine, weight: usize, ids: &[i64], abort: &AtomicBool) -> Result<Vec<f32>> {
        let held = self.matrix(weight)?;
        self.fill_scales(held, abort)?;
        let matrix = &held.matrix;
        let row_of = |&id: &i64| {
            let row = usize::try_from(id).ok().filter(|&row| row < matrix.rows);
            row.ok_or_else(|| Error::bad(format!("Cannot take row {id} of a table of {}", matrix.rows)))
        };
        let rows = ids.iter().map(row_of).collect::<Result<Vec<_>>>()?;
        let mut absent: Vec<usize> = rows.iter().copied().filter(|&row| held.pinned_tile(row).is_none()).collect();
        absent.sort_unstable();
        absent.dedup();
        let mut bytes = vec![0; elements(&[absent.len(), matrix.whole_row()])?];
        let (mut reads, mut places) = (Vec::new(), Vec::new());
        for (&row, mut place) in absent.iter().zip(bytes.chunks_exact_mut(matrix.whole_row())) {
            for read in self.read_rows(matrix, &(row..row + 1))? {
                let (own, others) = place.split_at_mut(read.length);
                place = others;
                places.push(own);
                reads.push(read);
            }
        }
        self.reader.read_now(&reads, &mut places, Some(abort))?;
        let mut out = vec![0.0; elements(&[rows.len(), matrix.inputs])?];
        for (&row, into) in rows.iter().zip(out.chunks_exact_mut(matrix.inputs)) {
            let found = absent
                .binary_search(&row)
                .map(|at| matrix.split(1, &bytes[at * matrix.whole_row()..][..matrix.whole_row()]));
            let stored = match (found, held.pinned_tile(row)) {
                (Ok(read), _) => held.with_scales(row..row + 1, read)?,
                (_, Some(tile)) => held.pinned_rows(tile, row..row + 1)?,
                _ => return Err(Error::new(Code::Engine, "Cannot take a row: it was not read")),
            };
            matrix.decode(machine, stored, into)?;
        }
        self.count(|leases| leases.bytes += bytes.len() as u64);
        Ok(out)
    }

    /// x (rows, inputs) times the transpose of a weight (outputs, inputs) -> (rows, outputs), summed as prompts are if it is `slow`.
    pub fn linear(
        &self,
        machine: &Machine,
        place: Place,
        weight: usize,
        (x, rows): (&[f32], usize),
        slow: bool,
        abort: &AtomicBool,
    ) -> Result<Vec<f32>> {
        let (outputs, _) = self.shape(weight)?;
        let mut y = vec![0.0; elements(&[rows, outputs])?];
        if rows == 0 {
            return Ok(y);
        }
        let prompt = kernels::Prompt::new(machine, x, rows);
        self.each_tile(machine, place, weight, slow, abort, |first, tiles| {
            let product = Product {
                tiles,
                bias: None,
                y: &mut y[first..],
                stride: outputs,
            };
            if slow {
                prompt.multiply(&mut [product], self.precision)
            } else {
                kernels::linear(machine, x, rows, &mut [product])
            }
        })?;
        Ok(y)
    }

    /// x (rows, inputs) times a weight (inputs, outputs) -> (rows, outputs).
    pub fn conv1d(&self, machine: &Machine, place: Place, weight: usize, x: &[f32], rows: usize, abort: &AtomicBool) -> Result<Vec<f32>> {
        let (_, outputs) = self.shape(weight)?;
        let mut y = vec![0.0; elements(&[rows, outputs])?];
        if rows == 0 {
            return Ok(y);
        }
        self.each_tile(machine, place, weight, rows > kernels::MAX_ROWS, abort, |first, tiles| {
            let mut first = first;
            for tile in tiles {
                kernels::conv1d(machine, tile, first, x, rows, &mut y)?;
                first += tile.rows();
            }
            Ok(())
        })?;
        Ok(y)
    }
}
