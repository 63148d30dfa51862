use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::mapped::Mapped;
use super::matrix::{Matrix, Placed, RowBytes};
use super::parts::Parts;
use super::spec::Rows;
use crate::{Code, Error, Result};

/// Pinned tiles begin on a cache line.
const LINE: usize = 64;

/// The pinned tiles of one matrix: in memory, where models with the same content and tiles share them and whoever first needs
/// one fills it, or in mapped files.
pub(crate) enum Pinned {
    None,
    Memory(Parts),
    Mapped(Mapped),
}

/// What makes pinned tiles the same: the content of the fragment, where the matrix lies in it, and its tiles.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub content: String,
    pub offset: u64,
    /// with the scales that are with it
    pub row_bytes: usize,
    /// content and place of the scales that are with the rows
    pub scales: Option<(String, u64)>,
    pub tiles: Vec<Rows>,
}

static SHARED: Mutex<Option<HashMap<Key, Weak<Pinned>>>> = Mutex::new(None);

impl Pinned {
    /// Those that another model holds, or new ones at `places`, which are to be filled.
    pub fn find(key: &Key, places: Vec<Range<usize>>) -> Result<Arc<Self>> {
        if let Some(found) = with_shared(|shared| shared.get(key).and_then(Weak::upgrade)) {
            if matches!(&*found, Self::Memory(parts) if !parts.is_laid_out_as(&places)) {
                return Err(Error::new(
                    Code::Engine,
                    "Cannot share what another model has pinned: it is laid out in another way",
                ));
            }
            return Ok(found);
        }
        let made = Arc::new(match places.is_empty() {
            true => Self::None,
            false => Self::Memory(Parts::new(places)?),
        });
        with_shared(|shared| {
            shared.retain(|_, held| held.strong_count() > 0);
            shared.insert(key.clone(), Arc::downgrade(&made));
        });
        Ok(made)
    }

    /// A part that is in memory.
    pub fn part(&self, part: usize) -> Result<&[u8]> {
        match self {
            Self::Memory(parts) => parts.get(part).ok_or_else(missing),
            _ => Err(missing()),
        }
    }

    /// True for a part that can be used at once.
    pub fn has(&self, part: usize) -> bool {
        match self {
            Self::None => false,
            Self::Memory(parts) => parts.get(part).is_some(),
            Self::Mapped(_) => true,
        }
    }

    /// The bytes of `rows` of a matrix, out of a tile of it that is pinned.
    pub fn rows<'a>(&'a self, matrix: &Matrix, tile: &Placed, rows: Range<usize>) -> Result<RowBytes<'a>> {
        match self {
            Self::None => Err(missing()),
            Self::Memory(parts) => {
                let bytes = tile.pinned.and_then(|part| parts.get(part)).ok_or_else(missing)?;
                let all = matrix.split(tile.rows.len(), bytes);
                let first = rows.start - tile.rows.start;
                let part = |bytes: &'a [u8], size: usize| &bytes[first * size..][..rows.len() * size];
                Ok(RowBytes {
                    weights: part(all.weights, matrix.row_bytes),
                    scales: part(all.scales, matrix.scales_beside()),
                })
            }
            Self::Mapped(mapped) => mapped.rows(matrix, rows),
        }
    }
}

fn missing() -> Error {
    Error::new(Code::Engine, "Cannot take what is pinned: it is not in memory")
}

fn with_shared<T>(f: impl FnOnce(&mut HashMap<Key, Weak<Pinned>>) -> T) -> T {
    f(SHARED
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get_or_insert_with(HashMap::new))
}

/// Where the next pinned tile of `length` bytes goes after what ends at `end`.
pub(crate) fn place(end: usize, length: usize) -> Range<usize> {
    let start = end.next_multiple_of(LINE);
    start..start + length
}
