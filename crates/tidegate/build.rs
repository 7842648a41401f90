//! Links the program with packed relative relocations where the C library can read them.
//!
//! The tables of the program hold some 85,000 addresses that the loader fixes at its start. Listed one by one they are
//! 2 MiB, all of which the loader reads and an idle program then has resident; packed (`DT_RELR`) they are a few KiB. glibc
//! reads that from 2.36 on, so a binary that is linked so asks for that: one for older systems is built on an older system,
//! where this does nothing.

use std::process::Command;

/// The first glibc, as minor version of 2, that reads packed relocations.
const GLIBC_MINOR: u32 = 36;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let is_native = variable("HOST") == variable("TARGET");
    let is_glibc = variable("CARGO_CFG_TARGET_OS") == "linux" && variable("CARGO_CFG_TARGET_ENV") == "gnu";
    if is_native && is_glibc && glibc_minor().is_some_and(|minor| minor >= GLIBC_MINOR) {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// The 36 of "glibc 2.36", of this machine.
fn glibc_minor() -> Option<u32> {
    let said = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?;
    String::from_utf8(said.stdout).ok()?.trim().strip_prefix("glibc 2.")?.parse().ok()
}
