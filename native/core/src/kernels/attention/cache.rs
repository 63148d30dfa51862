use super::memory::Memory;
use crate::kernels::isa::Job;
use crate::kernels::lanes::{Lanes, LANES};
use crate::kernels::{row, Heads, Machine};
use crate::{Error, Result};

/// Positions of a page.
pub const PAGE: usize = 256;

/// How keys and values are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CacheType {
    /// IEEE single
    F32,
    /// IEEE half, rounded to nearest even when appended
    F16,
}

impl CacheType {
    pub(crate) fn bytes(self) -> usize {
        match self {
            CacheType::F32 => 4,
            CacheType::F16 => 2,
        }
    }
}

/// The keys and values of one layer of one sequence: appended in place, grown by pages of 256 positions, freed when dropped.
pub struct KvCache {
    heads: Heads,
    kind: CacheType,
    len: usize,
    pages: Vec<Page>,
}

/// Keys: (head, position / 16, head_dim, position % 16), so that lanes are positions and a score needs no sum over lanes.
/// Values: (head, position, head_dim filled up to lanes), so that lanes are the elements of the result.
struct Page {
    keys: Memory,
    values: Memory,
}

impl KvCache {
    /// An empty cache for `heads` (those of keys and values). Errors: BadInput if the shape is empty or absurd.
    pub fn new(heads: Heads, kind: CacheType) -> Result<KvCache> {
        let size = heads.heads.checked_mul(heads.head_dim).unwrap_or(0);
        if size == 0 || size > 1 << 24 {
            return Err(Error::bad(format!(
                "Cannot make a cache of {} heads of {}: out of range",
                heads.heads, heads.head_dim
            )));
        }
        Ok(KvCache {
            heads,
            kind,
            len: 0,
            pages: Vec::new(),
        })
    }

    /// Heads of keys and values.
    pub fn heads(&self) -> Heads {
        self.heads
    }

    /// Positions held.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes allocated.
    pub fn bytes(&self) -> usize {
        self.pages.iter().map(|page| page.keys.len() + page.values.len()).sum()
    }

    /// Bytes of one page.
    pub fn page_bytes(&self) -> usize {
        PAGE * self.heads.heads * (self.heads.head_dim + self.width()) * self.kind.bytes()
    }

    /// Appends rows of keys and values, each (rows, heads, head_dim). Errors: BadInput if lengths do not match, Engine if memory
    /// is out; then nothing was appended.
    pub fn append(&mut self, machine: &Machine, keys: &[f32], values: &[f32]) -> Result<()> {
        let size = self.heads.heads * self.heads.head_dim;
        if keys.len() != values.len() || !keys.len().is_multiple_of(size) {
            let given = format!("{} keys and {} values given", keys.len(), values.len());
            return Err(Error::bad(format!("Cannot append to a cache of {size} a position: {given}")));
        }
        let rows = keys.len() / size;
        let pages = (self.len + rows).div_ceil(PAGE);
        while self.pages.len() < pages {
            let each = PAGE * self.heads.heads * self.kind.bytes();
            let (keys, values) = (Memory::zeroed(each * self.heads.head_dim)?, Memory::zeroed(each * self.width())?);
            self.pages.push(Page { keys, values });
        }
        for row in 0..rows {
            let (at, position) = (row * size..(row + 1) * size, self.len + row);
            machine.found().run(Put {
                cache: self,
                position,
                keys: &keys[at.clone()],
                values: &values[at],
            });
        }
        self.len += rows;
        Ok(())
    }

    /// Forgets the positions from `len` on, and frees the pages that only they used.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
        self.pages.truncate(self.len.div_ceil(PAGE));
    }

    pub(crate) fn kind(&self) -> CacheType {
        self.kind
    }

    /// From one position's values to the next, in elements.
    pub(crate) fn width(&self) -> usize {
        self.heads.head_dim.next_multiple_of(LANES)
    }

    /// Keys of 16 positions: (head_dim, 16). `position` is a multiple of 16 below the next page's start.
    #[inline(always)]
    pub(crate) fn keys(&self, head: usize, position: usize) -> &[u8] {
        let each = self.heads.head_dim * LANES * self.kind.bytes();
        let index = head * (PAGE / LANES) + position % PAGE / LANES;
        &self.pages[position / PAGE].keys.bytes()[index * each..(index + 1) * each]
    }

    /// Values of all positions of a page: (256, width).
    #[inline(always)]
    pub(crate) fn values(&self, head: usize, page: usize) -> &[u8] {
        let each = PAGE * self.width() * self.kind.bytes();
        &self.pages[page].values.bytes()[head * each..(head + 1) * each]
    }
}

struct Put<'a> {
    cache: &'a mut KvCache,
    position: usize,
    keys: &'a [f32],
    values: &'a [f32],
}

impl Job for Put<'_> {
    type Out = ();
    #[inline(always)]
    fn run<S: Lanes>(self, s: S) {
        let Put {
            cache,
            position,
            keys,
            values,
        } = self;
        let (head_dim, width, size) = (cache.heads.head_dim, cache.width(), cache.kind.bytes());
        let (page, place) = (&mut cache.pages[position / PAGE], position % PAGE);
        let mut encoded = [0u8; LANES * 4];
        for head in 0..cache.heads.heads {
            let block = (head * (PAGE / LANES) + place / LANES) * head_dim;
            let line = (head * PAGE + place) * width;
            let (keys, values) = (&keys[head * head_dim..][..head_dim], &values[head * head_dim..][..head_dim]);
            let mut at = 0;
            while at < head_dim {
                encode(s, cache.kind, row::load(s, keys, at, 0.0), &mut encoded);
                let mut lane = 0;
                while lane < LANES && at + lane < head_dim {
                    let to = ((block + at + lane) * LANES + place % LANES) * size;
                    page.keys.bytes_mut()[to..to + size].copy_from_slice(&encoded[lane * size..][..size]);
                    lane += 1;
                }
                encode(s, cache.kind, row::load(s, values, at, 0.0), &mut encoded);
                page.values.bytes_mut()[(line + at) * size..][..LANES * size].copy_from_slice(&encoded[..LANES * size]);
                at += LANES;
            }
        }
    }
}

#[inline(always)]
fn encode<S: Lanes>(s: S, kind: CacheType, v: S::F, out: &mut [u8; LANES * 4]) {
    // SAFETY: 64 bytes hold 16 elements of either kind.
    unsafe {
        match kind {
            CacheType::F32 => s.store(out.as_mut_ptr().cast(), v),
            CacheType::F16 => s.store_f16(out.as_mut_ptr(), v),
        }
    }
}
