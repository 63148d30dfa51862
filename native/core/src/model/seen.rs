use crate::program::Tensor;
use crate::{Error, Result};
use std::borrow::Cow;

/// What the rows of one sequence may look at.
#[derive(Debug, PartialEq)]
pub(crate) enum Seen {
    /// themselves and what came before them: so many positions with themselves, or all. What is further back is not read then.
    Last(Option<usize>),
    /// (rows, positions)
    These(Vec<bool>),
}

impl Seen {
    /// Out of a mask [batch or 1, 1, sequence, total], of which the last `positions` are this sequence's.
    pub(crate) fn new(mask: &Tensor<bool>, row: usize, sequence: usize, positions: usize) -> Result<Self> {
        let refuse = || Error::bad(format!("Cannot attend to {positions} positions by a mask of {:?}", mask.dims()));
        let (&[many, 1, rows, total] | &[many, rows, total]) = mask.dims() else {
            return Err(refuse());
        };
        if (many != 1 && many <= row) || rows != sequence || total < positions {
            return Err(refuse());
        }
        let whole = &mask.data()[if many == 1 { 0 } else { row * rows * total }..][..rows * total];
        let each = || whole.chunks_exact(total.max(1)).map(|row| &row[total - positions..]);
        let these = || Seen::These(each().flatten().copied().collect());
        // They look at another sequence, then.
        if positions < sequence {
            return Ok(these());
        }
        let ends = positions - sequence + 1..;
        // the first row that does not see all that came before it says how far all see
        let start = |row: &[bool]| row.iter().take_while(|&&seen| !seen).count();
        let window = each()
            .zip(ends.clone())
            .map(|(row, end)| (start(row), end))
            .find(|(start, _)| *start > 0);
        let window = window.map(|(start, end)| end.saturating_sub(start));
        let sees = |end: usize, position: usize| position < end && window.is_none_or(|window| end - position <= window);
        let mut pairs = each().zip(ends);
        if pairs.all(|(row, end)| row.iter().enumerate().all(|(position, &seen)| seen == sees(end, position))) {
            return Ok(Seen::Last(window));
        }
        Ok(these())
    }
}

/// What is added to the scores of one sequence, (heads or 1, rows, positions), out of a mask [batch or 1, heads or 1, sequence,
/// total], of which the last `positions` are this sequence's.
pub(crate) fn added(mask: &Tensor<f32>, row: usize, heads: usize, sequence: usize, positions: usize) -> Result<Cow<'_, [f32]>> {
    let refuse = || Error::bad(format!("Cannot add a mask of {:?} to scores of {positions} positions", mask.dims()));
    let &[many, each, rows, total] = mask.dims() else {
        return Err(refuse());
    };
    if (many != 1 && many <= row) || (each != 1 && each != heads) || rows != sequence || total < positions {
        return Err(refuse());
    }
    let size = each * rows * total;
    let whole = &mask.data()[if many == 1 { 0 } else { row * size }..][..size];
    if total == positions {
        return Ok(Cow::Borrowed(whole));
    }
    let cut = whole.chunks_exact(total.max(1)).flat_map(|row| &row[total - positions..]);
    Ok(Cow::Owned(cut.copied().collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// A mask that says what a window does is one, and with any other bit it is not, or is another.
        #[test]
        fn knows_a_window_by_all_of_its_bits(
            sequence in 1usize..20, past in 0usize..40, padding in 0usize..3, window in proptest::option::of(1usize..50),
            flip in proptest::option::of(any::<prop::sample::Index>()),
        ) {
            let (positions, total) = (past + sequence, past + sequence + padding);
            let sees = |at: usize, position: usize, window: Option<usize>| {
                position <= past + at && window.is_none_or(|window| past + at < position + window)
            };
            let mut bits: Vec<bool> = (0..sequence * total)
                .map(|at| (at % total).checked_sub(padding).is_some_and(|position| sees(at / total, position, window)))
                .collect();
            if let Some(flip) = flip {
                let at = flip.index(sequence * positions);
                let bit = &mut bits[at / positions * total + padding + at % positions];
                *bit = !*bit;
            }
            let mask = Tensor::new(vec![1, 1, sequence, total], bits.clone()).unwrap();
            let seen = Seen::new(&mask, 0, sequence, positions).unwrap();
            let cut: Vec<bool> = bits.chunks(total).flat_map(|row| &row[padding..]).copied().collect();
            let says = |window| (0..sequence * positions).map(|at| sees(at / positions, at % positions, window)).collect::<Vec<_>>();
            match &seen {
                Seen::Last(window) => prop_assert_eq!(says(*window), cut),
                Seen::These(these) => {
                    prop_assert!(flip.is_some());
                    prop_assert_eq!(these, &cut);
                }
            }
        }
    }
}
