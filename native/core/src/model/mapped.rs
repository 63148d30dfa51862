use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use super::matrix::{Matrix, RowBytes};
use super::pinned::Pinned;
use super::spec::{Stored, Weight};
use super::weights::Weights;
use crate::reading::Map;
use crate::Result;

/// A matrix in its fragment, and its scales in theirs.
pub(crate) struct Mapped {
    pub weights: (Arc<Map>, u64),
    pub scales: Option<(Arc<Map>, u64)>,
}

impl Mapped {
    /// The bytes of some rows of the matrix, checked at their first use.
    pub fn rows<'a>(&'a self, matrix: &Matrix, rows: Range<usize>) -> Result<RowBytes<'a>> {
        let part = |(map, offset): &'a (Arc<Map>, u64), size: usize| {
            map.bytes(offset.saturating_add((rows.start * size) as u64), rows.len() * size)
        };
        Ok(RowBytes {
            weights: part(&self.weights, matrix.row_bytes)?,
            scales: self
                .scales
                .as_ref()
                .map_or(Ok(&[][..]), |scales| part(scales, matrix.scale_bytes()))?,
        })
    }
}

impl Weights {
    /// The files of a matrix and of its scales, each mapped once for all that is in it.
    pub(super) fn map(&self, weight: &Weight, maps: &mut HashMap<usize, Arc<Map>>) -> Result<Arc<Pinned>> {
        let mut place = |stored: &Stored| {
            let map = match maps.get(&stored.file) {
                Some(map) => map.clone(),
                None => Arc::new(self.reader.map(stored.file, self.first(stored.file)?)?),
            };
            maps.insert(stored.file, map.clone());
            Ok((map, stored.offset))
        };
        let weights = place(&weight.stored)?;
        let scales: Option<Result<_>> = weight.scales.as_ref().map(place);
        Ok(Arc::new(Pinned::Mapped(Mapped {
            weights,
            scales: scales.transpose()?,
        })))
    }
}
