//! [`Class`]: how a record is to be scheduled, and the parts that a read falls into by it.

use std::collections::VecDeque;

use tidegate_flow::queue::MAX_BUCKETS;
use tidegate_flow::{Deadlines, Lease, Meta, Payload, Records, Time};

/// What scheduling should know of one record.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Class {
    /// Priority lane, 0 (highest) to 3; a larger number stops the source with the cause. A lane that an edge does not have
    /// counts as its lowest there.
    pub lane: u8,
    /// Fairness bucket, below 64; a larger number stops the source with the cause. An edge with fewer buckets takes it
    /// modulo their number.
    pub bucket: u8,
    /// When the record expires; `Time::MAX` for never.
    pub deadline: Time,
}

impl Default for Class {
    fn default() -> Self {
        Self { lane: 0, bucket: 0, deadline: Time::MAX }
    }
}

/// Says for each row of a payload how to schedule it.
pub trait Classifier<P>: Send + 'static {
    /// Pushes one class a row, in row order.
    fn classify(&mut self, payload: &P, now: Time, classes: &mut Vec<Class>);
}

/// A part of a read that shares one class.
pub(super) struct Part<P, Pos> {
    pub(super) payload: P,
    pub(super) lease: Lease,
    pub(super) meta: Meta,
    pub(super) position: Option<Pos>,
    /// Whether the source is to hear when this part has settled.
    pub(super) watched: bool,
}

/// What is wrong with the classes of `rows` rows.
pub(super) fn fault_of(classes: &[Class], rows: Records, lanes: u8) -> Option<String> {
    if Records::from(classes.len()) != rows {
        return Some(format!("{} classes for {rows}; give one for each row", classes.len()));
    }
    let (lane, bucket) = classes.iter().fold((0, 0), |most, class| (class.lane.max(most.0), class.bucket.max(most.1)));
    if lane >= lanes {
        return Some(format!("lane {lane}; give a lane of 0 to {}", lanes - 1));
    }
    let last = MAX_BUCKETS - 1;
    (bucket > last)
        .then(|| format!("bucket {bucket}; give a bucket of 0 to {last}, such as a hash modulo {MAX_BUCKETS}"))
}

/// Splits a read into one part for each lane and bucket that occurs in it. The position travels with the last part:
/// it must not be committed before every part is settled, and parts settle in the order in which they were opened.
pub(super) fn split_by_class<P: Payload, Pos>(
    whole: Part<P, Pos>,
    classes: &[Class],
    parts: &mut VecDeque<Part<P, Pos>>,
) {
    let Part { mut payload, mut lease, meta, position, watched } = whole;
    let first = parts.len();
    let mut columns: Vec<Vec<Time>> = Vec::new();
    let mut rows = classes;
    while let Some(class) = rows.first() {
        let run = rows.iter().take_while(|next| (next.lane, next.bucket) == (class.lane, class.bucket)).count();
        let rest = payload.split_off(Records::from(run));
        let rest_lease = lease.split(rest.retained_bytes());
        let piece = std::mem::replace(&mut payload, rest);
        let piece_lease = std::mem::replace(&mut lease, rest_lease);
        let deadlines = rows[..run].iter().map(|row| row.deadline);
        let same = parts
            .iter_mut()
            .skip(first)
            .position(|part| (part.meta.lane, part.meta.bucket) == (class.lane, class.bucket));
        let leftover = match same {
            Some(index) => join(&mut parts[first + index], piece, piece_lease, &mut columns[index], deadlines),
            None => Some((piece, piece_lease, deadlines.collect())),
        };
        if let Some((payload, lease, column)) = leftover {
            let meta = Meta { lane: class.lane, bucket: class.bucket, ..meta.clone() };
            parts.push_back(Part { payload, lease, meta, position: None, watched });
            columns.push(column);
        }
        rows = &rows[run..];
    }
    for (part, column) in parts.iter_mut().skip(first).zip(columns) {
        part.meta.deadlines = Deadlines::from_column(column);
    }
    if let Some(last) = parts.back_mut() {
        last.position = position;
    }
}

/// Joins a run of rows to the part of its class, or gives it back when the payloads cannot be joined.
fn join<P: Payload, Pos>(
    part: &mut Part<P, Pos>,
    piece: P,
    lease: Lease,
    column: &mut Vec<Time>,
    deadlines: impl Iterator<Item = Time>,
) -> Option<(P, Lease, Vec<Time>)> {
    match part.lease.merge(lease) {
        Err(lease) => Some((piece, lease, deadlines.collect())),
        Ok(()) => match part.payload.append(piece) {
            Ok(()) => {
                column.extend(deadlines);
                None
            }
            Err(piece) => {
                let lease = part.lease.split(piece.retained_bytes());
                Some((piece, lease, deadlines.collect()))
            }
        },
    }
}
