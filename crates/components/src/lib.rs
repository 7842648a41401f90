//! The built-in components of the program, one file each: sources, transforms and sinks, the contract that they fulfil,
//! and how a plan of them is wired.
//!
//! * [`contract`]: what a component is: its kind, its configuration, how it checks itself and starts.
//! * [`wiring`]: how nodes with inputs become stages and edges.
//! * [`buffers`], [`letters`]: buffers and dead letters on disk, looked at while nobody or somebody uses them; and replayed.
//! * [`checkpoints`]: where the state of transforms is saved.
//! * [`columns`]: what scheduling should know of records.
//! * [`options`], [`value`]: options that several components share, and values with units.
//! * [`rehearsal`]: what a rehearsal asks of the process: a testing aid.
//! * [`folder_lock`]: folders of data that one process works with, and no other.
//! * [`sources`], [`transforms`], [`sinks`]: the components; [`SOURCES`], [`TRANSFORMS`] and [`SINKS`] list them.

pub mod contract;
pub mod wiring;

pub mod buffers;
pub mod checkpoints;
pub mod columns;
pub mod letters;
pub mod options;
pub mod value;

mod clock;
pub mod folder_lock;
mod ids;
pub mod rehearsal;
pub mod template;
#[cfg(test)]
mod testkit;

pub mod sinks;
pub mod sources;
pub mod transforms;

pub use self::clock::wall_time;
use self::contract::{SinkKind, SourceKind, TransformKind};
pub use tidegate_record::Rows;

/// Every source, by name.
#[rustfmt::skip]
pub static SOURCES: &[SourceKind] = &[
    sources::demo_logs::KIND,
    sources::file::KIND,
    sources::http_server::KIND,
    sources::internal_metrics::KIND,
    sources::socket::KIND,
    sources::stdin::KIND,
];

/// Every transform, by name.
#[rustfmt::skip]
pub static TRANSFORMS: &[TransformKind] = &[
    transforms::dedupe::KIND,
    transforms::filter::KIND,
    transforms::reduce::KIND,
    transforms::remap::KIND,
    transforms::route::KIND,
    transforms::sample::KIND,
    transforms::throttle::KIND,
];

/// Every sink, by name.
#[rustfmt::skip]
pub static SINKS: &[SinkKind] = &[
    sinks::blackhole::KIND,
    sinks::console::KIND,
    sinks::dead_letter_queue::KIND,
    sinks::dead_letters::KIND,
    sinks::file::KIND,
    sinks::http::KIND,
    sinks::socket::KIND,
];
