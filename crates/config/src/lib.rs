//! From the text of pipeline files to a checked plan, and from the plan to a wired pipeline.

pub mod cases;
pub mod diff;
pub mod document;
pub mod explain;
pub mod files;
pub mod interpolate;
pub mod load;
pub mod nearest;
pub mod picture;
pub mod plan;
pub mod problem;
pub mod read;
pub mod schema;
pub mod tree;
pub mod wire;
pub mod words;

pub use files::{FileId, Files, Place, Position};
pub use load::{Loaded, load};
pub use plan::{Plan, PlanNode, Planned, plan};
pub use problem::{Code, Problem, Problems, Severity};
