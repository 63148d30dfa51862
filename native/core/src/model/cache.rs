//! Matrices that only some passes need, such as those of experts: whole, by their last use.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::held::Held;
use super::matrix::RowBytes;
use super::weights::Weights;
use crate::kernels::Tile;
use crate::{Error, Result};

/// Matrices in memory within so many bytes: the one whose last use is longest ago makes room.
#[derive(Default)]
pub struct Cache {
    budget: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    used: usize,
    clock: u64,
    entries: HashMap<usize, (u64, Arc<Vec<u8>>)>,
    /// matrices by their last use
    order: BTreeMap<u64, usize>,
}

impl Cache {
    pub fn new(budget: usize) -> Self {
        Self {
            budget,
            state: Mutex::default(),
        }
    }

    /// True for a matrix that is in memory.
    pub fn has(&self, weight: usize) -> bool {
        self.state().entries.contains_key(&weight)
    }

    /// Bytes in memory.
    pub fn bytes(&self) -> usize {
        self.state().used
    }

    /// A matrix of `length` bytes, which `read` reads where it is not in memory. Passes go one after the other.
    fn get(&self, weight: usize, length: usize, read: impl FnOnce(&mut [u8]) -> Result<()>) -> Result<Arc<Vec<u8>>> {
        if let Some(found) = self.state().find(weight) {
            return Ok(found);
        }
        if length > self.budget {
            let why = format!("it has {length} bytes, {} are kept for such", self.budget);
            return Err(Error::bad(format!("Cannot use weight {weight}: {why}")));
        }
        // not under the lock, which whoever asks what is in memory waits for
        let mut bytes = self.state().make_room(length, self.budget);
        read(&mut bytes)?;
        Ok(self.state().insert(weight, bytes))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// A matrix that is in memory, now the one that was used last.
    fn find(&mut self, weight: usize) -> Option<Arc<Vec<u8>>> {
        let now = self.tick();
        let (last, bytes) = self.entries.get_mut(&weight)?;
        self.order.remove(last);
        *last = now;
        self.order.insert(now, weight);
        Some(bytes.clone())
    }

    fn insert(&mut self, weight: usize, bytes: Vec<u8>) -> Arc<Vec<u8>> {
        let (now, bytes) = (self.tick(), Arc::new(bytes));
        self.used += bytes.len();
        self.order.insert(now, weight);
        self.entries.insert(weight, (now, bytes.clone()));
        bytes
    }

    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// Memory for a matrix: that of one of the same size which made room, since new memory costs nearly as much as reading.
    fn make_room(&mut self, length: usize, budget: usize) -> Vec<u8> {
        let mut spare = None;
        while self.used + length > budget {
            let Some((_, oldest)) = self.order.pop_first() else { break };
            let Some((_, bytes)) = self.entries.remove(&oldest) else { continue };
            self.used -= bytes.len();
            spare = Arc::try_unwrap(bytes).ok().filter(|bytes| bytes.len() == length).or(spare);
        }
        spare.unwrap_or_else(|| vec![0; length])
    }
}

impl Weights {
    /// Calls `each` with all tiles of a matrix that is cached.
    pub(super) fn each_cached(
        &self,
        node: usize,
        weight: usize,
        held: &Held,
        abort: &AtomicBool,
        mut each: impl FnMut(usize, &[Tile]) -> Result<()>,
    ) -> Result<()> {
        let matrix = &held.matrix;
        let length = matrix.rows * matrix.whole_row();
        let mut waited = None;
        let bytes = self.cache.get(weight, length, |into| {
            let began = Instant::now();
            let reads = self.read_rows(matrix, &(0..matrix.rows))?;
            let (mut places, mut rest) = (Vec::new(), into);
            for read in &reads {
                let (own, others) = rest.split_at_mut(read.length);
                rest = others;
                places.push(own);
            }
            self.reader.read_now(&reads, &mut places, Some(abort))?;
            waited = Some(began);
            Ok(())
        })?;
        self.count(|leases| leases.expert_bytes += length as u64);
        if let Some(began) = waited {
            self.waited(node, began, began.elapsed());
            self.count(|leases| {
                leases.bytes += length as u64;
                leases.expert_read += length as u64;
            });
        }
        let all = matrix.split(matrix.rows, &bytes);
        let tiles = matrix.tiles.iter().map(|tile| {
            let range = |size: usize| tile.rows.start * size..tile.rows.end * size;
            let rows = RowBytes {
                weights: &all.weights[range(matrix.row_bytes)],
                scales: &all.scales[range(matrix.scales_beside())],
            };
            matrix.tile(tile.rows.len(), rows)
        });
        let tiles = tiles.collect::<Result<Vec<_>>>()?;
        self.seen(node, || each(0, &tiles))
    }
}
