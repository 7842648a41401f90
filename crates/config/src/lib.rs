//! From the text of pipeline files to a checked plan, and from the plan to a wired pipeline.

pub mod files;
pub mod interpolate;
pub mod load;
pub mod nearest;
pub mod problem;
pub mod read;
pub mod tree;

pub use files::{FileId, Files, Place, Position};
pub use load::{Loaded, load};
pub use problem::{Code, Problem, Problems, Severity};
