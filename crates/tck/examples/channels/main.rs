//! The checks of edges on our edge and on the channels that people use.
//!
//! `cargo run -p tidegate-tck --example channels`
#![allow(missing_docs, clippy::print_stdout, reason = "an example")]

mod adapters;
mod table;

fn main() {
    // A check that fails by a panic is reported in the table; the panic itself need not be printed as well.
    std::panic::set_hook(Box::new(|_| {}));
    println!("{}", table::table());
}
