//! The built-in components of the program.

pub mod value;
