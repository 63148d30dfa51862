use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::reading::Region;
use crate::{Code, Error, Result};

/// Memory in parts, each of which is filled once and never changes after that.
pub(crate) struct Parts {
    region: Region,
    places: Vec<Range<usize>>,
    filled: Vec<AtomicBool>,
    /// held by whoever fills
    filling: Mutex<()>,
}

impl Parts {
    /// Parts at `places`, one after the other; there is at least one byte in them.
    ///
    /// # Errors
    /// `BadInput` where there is none, `Io` where the system refuses the memory.
    pub fn new(places: Vec<Range<usize>>) -> Result<Self> {
        let mut end = 0;
        for place in &places {
            if place.start < end || place.end < place.start {
                return Err(Error::new(Code::Engine, "Cannot keep weights: their places overlap"));
            }
            end = place.end;
        }
        Ok(Self {
            region: Region::new(end, 1)?,
            filled: places.iter().map(|_| AtomicBool::new(false)).collect(),
            places,
            filling: Mutex::new(()),
        })
    }

    /// True where its parts are at these places.
    pub fn is_laid_out_as(&self, places: &[Range<usize>]) -> bool {
        self.places == places
    }

    /// A part, once it is filled.
    pub fn get(&self, part: usize) -> Option<&[u8]> {
        let filled = self.filled.get(part)?.load(Ordering::Acquire);
        // SAFETY: within the region, which reaches to the end of the last place; a filled part is never written again, and
        // what was written is seen, since the flag was set after it
        filled.then(|| unsafe { self.region.range(self.places[part].clone()) })
    }

    /// Fills those of `parts` that are not: `fill` gets each of them with its place. Where it fails none of them is filled.
    /// Another thread that fills is waited for.
    ///
    /// # Errors
    /// Those of `fill`.
    pub fn fill<'a>(&'a self, mut parts: Vec<usize>, fill: impl FnOnce(Vec<(usize, &'a mut [u8])>) -> Result<()>) -> Result<()> {
        let _alone = self.filling.lock().unwrap_or_else(PoisonError::into_inner);
        parts.retain(|&part| self.filled.get(part).is_some_and(|filled| !filled.load(Ordering::Relaxed)));
        parts.sort_unstable();
        parts.dedup();
        if parts.is_empty() {
            return Ok(());
        }
        // SAFETY: each part once, and places don't overlap; nobody reads a part before it is filled, nobody else fills
        // while the lock is held, and `fill` has given the places back when it returns
        let place = |&part: &usize| (part, unsafe { self.region.range_mut(self.places[part].clone()) });
        fill(parts.iter().map(place).collect())?;
        for part in parts {
            self.filled[part].store(true, Ordering::Release);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_each_part_once_and_gives_out_none_before() {
        let parts = Parts::new(vec![0..5, 64..64, 64..70]).unwrap();
        assert_eq!(parts.get(0), None);
        let failed = parts.fill(vec![0, 2], |places| {
            places.into_iter().for_each(|(_, place)| place.fill(9));
            Err(Error::bad("no"))
        });
        assert!(failed.is_err());
        assert_eq!(parts.get(0), None);
        let mut seen = Vec::new();
        for _ in 0..2 {
            let fill = |places: Vec<(usize, &mut [u8])>| {
                for (part, place) in places {
                    seen.push((part, place.len()));
                    place.fill(part as u8 + 1);
                }
                Ok(())
            };
            parts.fill(vec![2, 0, 2, 7], fill).unwrap();
        }
        assert_eq!(seen, [(0, 5), (2, 6)]);
        assert_eq!(parts.get(0), Some(&[1; 5][..]));
        assert_eq!((parts.get(1), parts.get(2)), (None, Some(&[3; 6][..])));
        assert_eq!(parts.get(3), None);
        assert!(Parts::new(vec![0..5, 4..9]).is_err());
    }
}
