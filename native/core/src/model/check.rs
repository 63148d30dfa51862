//! What a program is checked for before it runs.

use super::spec::{Node, Segment, Spec};
use crate::program::Op;
use crate::{Error, Result};

/// Checks that nodes only use what is there, each value is made once and before it is used. Gives each value's last use.
pub(super) fn check(segment: &Segment, spec: &Spec) -> Result<Vec<usize>> {
    let bad = |why: String| Error::bad(format!("Cannot use a program: {why}"));
    if segment.values > 1 << 24 {
        return Err(bad(format!("{} values are too many", segment.values)));
    }
    let mut made = vec![false; segment.values];
    let mut make = |value: usize| match made.get_mut(value) {
        Some(made) if !*made => {
            *made = true;
            Ok(())
        }
        _ => Err(bad(format!("value {value} is made twice or is none"))),
    };
    let mut last_use = vec![usize::MAX; segment.values];
    for port in &segment.inputs {
        make(port.value)?;
    }
    let mut known = vec![false; segment.values];
    for port in &segment.inputs {
        known[port.value] = true;
    }
    for (at, node) in segment.nodes.iter().enumerate() {
        let (inputs, outputs) = arity(&node.run);
        if !inputs.contains(&node.inputs.len()) || outputs != node.outputs.len() {
            return Err(bad(format!(
                "node {at} has {} inputs and {} outputs",
                node.inputs.len(),
                node.outputs.len()
            )));
        }
        check_indices(&node.run, spec).map_err(|what| bad(format!("node {at} names a {what} that is none")))?;
        for &value in &node.inputs {
            if !known.get(value).copied().unwrap_or(false) {
                return Err(bad(format!("node {at} needs value {value}, which is not made yet")));
            }
            last_use[value] = at;
        }
        for &value in &node.outputs {
            make(value)?;
            known[value] = true;
        }
    }
    match segment.outputs.iter().find(|port| !known.get(port.value).copied().unwrap_or(false)) {
        Some(port) => Err(bad(format!("the output {} is not made", port.name))),
        None if segment.head.is_some_and(|head| !is_head(&segment.nodes, head)) => Err(bad("its head is none".into())),
        None => Ok(last_use),
    }
}

/// Whether a pass can end before this node: no weight that is streamed and no cache comes after it.
fn is_head(nodes: &[Node], head: usize) -> bool {
    let end = |node: &Node| {
        !matches!(
            node.run,
            Op::Linear { .. } | Op::Conv1d { .. } | Op::Attention { cache: Some(_), .. }
        )
    };
    nodes
        .get(head)
        .is_some_and(|node| !node.inputs.is_empty() && nodes[head + 1..].iter().all(end))
}

/// How many inputs and outputs a node has.
fn arity(op: &Op) -> (std::ops::RangeInclusive<usize>, usize) {
    match op {
        Op::Vector { .. } | Op::Integers { .. } | Op::Floats { .. } => (0..=0, 1),
        Op::RmsNorm { .. } | Op::Binary { .. } | Op::Expand {} | Op::Take {} => (2..=2, 1),
        Op::LayerNorm { .. } | Op::Rotary { .. } | Op::Where {} | Op::Range {} | Op::Slice {} | Op::Spread {} | Op::AddAt {} => (3..=3, 1),
        Op::TopK { .. } => (1..=1, 2),
        Op::Attention { .. } => (3..=4, 1),
        Op::Concat { .. } => (1..=1 << 16, 1),
        Op::Split { parts } => (1..=1, *parts),
        _ => (1..=1, 1),
    }
}

fn check_indices(op: &Op, spec: &Spec) -> std::result::Result<(), &'static str> {
    match op {
        Op::Vector { index } if *index >= spec.vectors.len() => Err("vector"),
        Op::Rows { weight } | Op::Linear { weight } | Op::Conv1d { weight } if *weight >= spec.weights.len() => Err("weight"),
        Op::Attention { cache: Some(cache), .. } if *cache >= spec.caches.len() => Err("cache"),
        _ => Ok(()),
    }
}
