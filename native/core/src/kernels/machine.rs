use super::isa::Found;
use super::{Isa, Pool};
use crate::Result;
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, PoisonError};

/// Scratch memory above this is freed after use instead of kept for the next call, in bytes.
const KEPT: usize = 8 << 20;

/// Elements of float32 that are too few to be worth a second thread.
pub(crate) const SMALL: usize = 16 << 10;

/// What kernels run on: an instruction set, threads and a little scratch memory. Results depend on none of them.
pub struct Machine {
    found: Found,
    pool: Pool,
    spare: Mutex<Vec<Vec<Line>>>,
}

/// One cache line.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub(crate) struct Line(#[allow(dead_code)] [f32; 16]); // seen only through slices of f32

impl Machine {
    /// `threads` threads (the caller's included) that use `isa`. Errors: BadInput if this processor lacks it.
    pub fn new(isa: Isa, threads: usize) -> Result<Machine> {
        Ok(Machine {
            found: Found::check(isa)?,
            pool: Pool::new(threads)?,
            spare: Mutex::new(Vec::new()),
        })
    }

    /// The instruction set in use.
    pub fn isa(&self) -> Isa {
        self.found.isa()
    }

    /// The threads.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Bytes of scratch memory kept between calls; at most 8 MiB.
    pub fn scratch_bytes(&self) -> usize {
        self.lock().iter().map(|lines| lines.capacity() * 64).sum()
    }

    pub(crate) fn found(&self) -> Found {
        self.found
    }

    /// `len` float32 on a cache line's boundary, of any content.
    pub(crate) fn scratch(&self, len: usize) -> Scratch<'_> {
        let count = len.div_ceil(16);
        let mut lines = {
            let mut spare = self.lock();
            let best = (0..spare.len())
                .filter(|&i| spare[i].len() >= count)
                .min_by_key(|&i| spare[i].len());
            best.map(|i| spare.swap_remove(i)).unwrap_or_default()
        };
        if lines.len() < count {
            lines = vec![Line([0.0; 16]); count];
        }
        Scratch { machine: self, lines, len }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Vec<Line>>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives pieces of `data`, whole rows of `width` but for a ragged end, to the threads: `task(first row, piece)`. Pieces have
    /// about `least` elements or more.
    pub(crate) fn rows(&self, data: &mut [f32], width: usize, least: usize, task: &(dyn Fn(usize, &mut [f32]) + Sync)) -> Result<()> {
        let (len, rows) = (data.len(), data.len().div_ceil(width));
        let even = rows.div_ceil(4 * self.pool.threads());
        let step = even.max(least.div_ceil(width)).max(1);
        let shared = SharedMut::new(data);
        self.pool.run(rows.div_ceil(step), &|index| {
            let (start, end) = (index * step * width, len.min((index + 1) * step * width));
            // SAFETY: pieces of different calls do not overlap.
            task(index * step, unsafe { shared.piece(start, end - start) });
        })
    }
}

/// Scratch memory of one call; goes back to the machine when dropped.
pub(crate) struct Scratch<'a> {
    machine: &'a Machine,
    lines: Vec<Line>,
    len: usize,
}

impl Deref for Scratch<'_> {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        // SAFETY: a line is 16 f32 without padding, and `lines` holds at least `len` of them.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }
}

impl DerefMut for Scratch<'_> {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as above, and borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}

impl Drop for Scratch<'_> {
    fn drop(&mut self) {
        let lines = std::mem::take(&mut self.lines);
        let mut spare = self.machine.lock();
        spare.push(lines);
        spare.sort_unstable_by_key(|lines| lines.len());
        // the smallest go first; one that is too large by itself goes too
        while spare.iter().map(|lines| lines.len() * 64).sum::<usize>() > KEPT {
            let last = spare.len() - 1;
            let out = if spare[last].len() * 64 > KEPT { last } else { 0 };
            spare.remove(out);
        }
    }
}

/// A slice of which several threads write different parts.
#[derive(Clone, Copy)]
pub(crate) struct SharedMut<'a, T>(*mut T, usize, std::marker::PhantomData<&'a mut [T]>);

// SAFETY: what it gives out is as unsafe as it says: parts that do not overlap, of data that may be sent.
unsafe impl<T: Send> Send for SharedMut<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for SharedMut<'_, T> {}

impl<'a, T> SharedMut<'a, T> {
    pub(crate) fn new(data: &'a mut [T]) -> Self {
        SharedMut(data.as_mut_ptr(), data.len(), std::marker::PhantomData)
    }

    /// # Safety
    /// No two pieces in use at once may overlap.
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn piece(&self, start: usize, len: usize) -> &'a mut [T] {
        assert!(start <= self.1 && len <= self.1 - start);
        // SAFETY: within the slice, as just checked; the caller sees to overlaps.
        unsafe { std::slice::from_raw_parts_mut(self.0.add(start), len) }
    }

    /// # Safety
    /// `index` must be within the slice, and no other thread may touch it.
    #[inline(always)]
    pub(crate) unsafe fn set(&self, index: usize, value: T) {
        debug_assert!(index < self.1);
        // SAFETY: as the caller says.
        unsafe { self.0.add(index).write(value) }
    }
}
