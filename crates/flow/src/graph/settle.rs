//! How large a source's settle window must be.
//!
//! What is in flight takes room in the settle window until it is settled. If the buffers on one path can hold more
//! than the window, a slow branch fills the window and so stops its siblings, which no policy of theirs can prevent.
//! The window must therefore hold at least what the buffers on any path can hold, in both units.

use super::paths::{downstream, reached, with_diverts};
use super::{EdgeId, Graph, StageId, StageKind};
use crate::units::{Bytes, Records, Weight};
use std::collections::BTreeMap;
use std::fmt;

/// One buffer on a path and what it can hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The name of the edge, or of the stage that has a holding.
    pub name: String,
    /// The most that it can hold.
    pub weight: Weight,
}

/// What the buffers behind one source can hold on their fullest path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettleNeed {
    /// The source.
    pub source: StageId,
    /// Its name.
    pub name: String,
    /// The least window that will do. The two units may come from different paths.
    pub need: Weight,
    /// The buffers on the path with the most records, in order.
    pub records: Vec<Holder>,
    /// The buffers on the path with the most bytes, in order.
    pub bytes: Vec<Holder>,
}

impl SettleNeed {
    /// Whether a settle window of `window` will do.
    ///
    /// # Errors
    /// Where it is too small in either unit; the text spells the sum out.
    pub fn check(&self, window: Weight) -> Result<(), SettleWindowTooSmall> {
        if self.need.fits(window) {
            return Ok(());
        }
        Err(SettleWindowTooSmall { need: self.clone(), window })
    }
}

/// A settle window that is smaller than what the buffers on a path can hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettleWindowTooSmall {
    /// What it would have to hold, and why.
    pub need: SettleNeed,
    /// What it holds.
    pub window: Weight,
}

impl std::error::Error for SettleWindowTooSmall {}

impl fmt::Display for SettleWindowTooSmall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { need, window } = self;
        let records = need.need.records > window.records;
        let bytes = need.need.bytes > window.bytes;
        // What is large enough is not worth a word.
        let short = |weight: Weight| match (records, bytes) {
            (true, false) => weight.records.to_string(),
            (false, true) => weight.bytes.to_string(),
            (true, true) | (false, false) => weight.to_string(),
        };
        write!(f, "source \"{}\": its settle window holds {}", need.name, short(*window))?;
        write!(f, ", but the buffers on one path can hold ")?;
        if records {
            write!(f, "{} ({})", need.need.records, sum(&need.records, |weight| weight.records.to_string()))?;
        }
        if records && bytes {
            write!(f, " and ")?;
        }
        if bytes {
            write!(f, "{} ({})", need.need.bytes, sum(&need.bytes, |weight| weight.bytes.to_string()))?;
        }
        write!(
            f,
            ", so a slow branch would stop its siblings; raise the settle window to at least {}, or make these buffers \
             smaller",
            short(need.need)
        )
    }
}

/// `"a" 10 B + "b" 20 B`
fn sum(holders: &[Holder], part: impl Fn(Weight) -> String) -> String {
    let parts = holders.iter().map(|holder| format!("\"{}\" {}", holder.name, part(holder.weight)));
    parts.collect::<Vec<_>>().join(" + ")
}

/// For each source, what the buffers on its fullest path can hold: the windows of the edges, where an edge diverts
/// also those of the edges it diverts to, and the holdings of the stages. A feedback edge lies on no path; what it can
/// hold is added to every path of the sources that reach it.
#[must_use]
pub fn settle_window_needs(graph: &Graph) -> Vec<SettleNeed> {
    let sources = graph.stage_ids().filter(|stage| graph.stage(*stage).kind == StageKind::Source);
    sources
        .map(|source| {
            let loops = loops(graph, source);
            let records = fullest(graph, source, |weight| weight.records.get(), &loops);
            let bytes = fullest(graph, source, |weight| weight.bytes.get(), &loops);
            let need = Weight {
                records: records.iter().map(|holder| holder.weight.records).sum::<Records>(),
                bytes: bytes.iter().map(|holder| holder.weight.bytes).sum::<Bytes>(),
            };
            SettleNeed { source, name: graph.stage_name(source).to_owned(), need, records, bytes }
        })
        .collect()
}

fn loops(graph: &Graph, source: StageId) -> Vec<Holder> {
    let ahead = reached(graph, source, |at| downstream(graph, at));
    let feedback = graph.edges().iter().filter(|edge| edge.feedback);
    let met = feedback.filter(|edge| edge.from.iter().any(|from| ahead[from.index()]));
    met.map(|edge| Holder { name: edge.name.clone(), weight: edge.window }).collect()
}

fn fullest(graph: &Graph, source: StageId, unit: impl Fn(Weight) -> u64, loops: &[Holder]) -> Vec<Holder> {
    let mut search = Search { graph, unit, best: BTreeMap::new() };
    search.from(source);
    let mut holders = Vec::new();
    let mut at = Some(source);
    while let Some(stage) = at {
        let holding = graph.stage(stage).holding;
        if !holding.is_zero() {
            holders.push(Holder { name: graph.stage_name(stage).to_owned(), weight: holding });
        }
        at = search.best.get(&stage).copied().flatten().and_then(|best| best.over).map(|(edge, next)| {
            holders.push(Holder { name: graph.edge_name(edge).to_owned(), weight: graph.edge(edge).window });
            next
        });
    }
    holders.extend(loops.iter().cloned());
    holders
}

/// The fullest way from a stage to an end.
#[derive(Copy, Clone)]
struct Best {
    total: u64,
    over: Option<(EdgeId, StageId)>,
}

struct Search<'g, U> {
    graph: &'g Graph,
    unit: U,
    best: BTreeMap<StageId, Option<Best>>,
}

impl<U: Fn(Weight) -> u64> Search<'_, U> {
    /// The most that the buffers from `stage` on can hold; `None` while that is still being searched, which happens
    /// only on an undeclared loop ([`super::check`] refuses those).
    fn from(&mut self, stage: StageId) -> Option<u64> {
        if let Some(known) = self.best.get(&stage) {
            return known.map(|best| best.total);
        }
        self.best.insert(stage, None);
        let own = (self.unit)(self.graph.stage(stage).holding);
        let mut best = Best { total: own, over: None };
        let edges: Vec<EdgeId> = self.graph.outputs(stage).flat_map(|edge| with_diverts(self.graph, edge)).collect();
        for edge in edges {
            let next = self.graph.edge(edge).to.filter(|_| !self.graph.edge(edge).feedback);
            let Some((next, behind)) = next.and_then(|next| Some((next, self.from(next)?))) else { continue };
            let total = own.saturating_add((self.unit)(self.graph.edge(edge).window)).saturating_add(behind);
            if total > best.total {
                best = Best { total, over: Some((edge, next)) };
            }
        }
        self.best.insert(stage, Some(best));
        Some(best.total)
    }
}

#[cfg(test)]
mod tests;
