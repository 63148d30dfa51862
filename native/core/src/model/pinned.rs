use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::spec::Rows;
use crate::reading::Region;
use crate::Result;

/// Pinned tiles begin on a cache line.
const LINE: usize = 64;

/// The pinned tiles of one matrix in memory; models with the same content and tiles share them.
pub(crate) struct Pinned {
    region: Option<Region>,
}

/// What makes pinned tiles the same: the content of the fragment, where the matrix lies in it, and its tiles.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub content: String,
    pub offset: u64,
    pub row_bytes: usize,
    /// content and place of the scales
    pub scales: Option<(String, u64)>,
    pub tiles: Vec<Rows>,
}

static SHARED: Mutex<Option<HashMap<Key, Weak<Pinned>>>> = Mutex::new(None);

impl Pinned {
    /// Those that another model holds, or new ones that `fill` reads into memory of `length` bytes.
    pub fn find(key: &Key, length: usize, fill: impl FnOnce(&mut [u8]) -> Result<()>) -> Result<Arc<Self>> {
        if let Some(found) = with_shared(|shared| shared.get(key).and_then(Weak::upgrade)) {
            return Ok(found);
        }
        let mut region = if length == 0 { None } else { Some(Region::new(length, 1)?) };
        if let Some(region) = &mut region {
            fill(&mut region.bytes_mut()[..length])?;
        }
        let made = Arc::new(Self { region });
        with_shared(|shared| {
            shared.retain(|_, held| held.strong_count() > 0);
            shared.insert(key.clone(), Arc::downgrade(&made));
        });
        Ok(made)
    }

    pub fn bytes(&self, range: Range<usize>) -> &[u8] {
        self.region.as_ref().map_or(&[], |region| &region.bytes()[range])
    }
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
