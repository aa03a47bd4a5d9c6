//! `wal`: looks into, verifies, repairs, fills, truncates and measures a write-ahead log.
//!
//! The contract of every command (what goes to which stream, which exit code means what) is in the
//! help texts of [`args`]; the shapes of the machine-readable output are in [`json_out`]. It is a library
//! so that the fuzzer reaches the parser of `import`; the program calls [`main`] and nothing else.

mod adopt;
mod args;
mod cardinality;
mod clock;
mod cmd;
mod colour;
mod diff;
mod exit;
mod faults;
mod filter;
mod foreign;
pub mod fuzzing;
mod item;
mod json_in;
mod json_lex;
mod json_out;
mod place;
mod progress;
mod selector;
mod table;
mod text;
mod timeline;

use std::process::ExitCode;

use clap::Parser;

/// Parses the arguments of the process, runs the command, and turns its result into an exit code. Blocks as
/// long as the command does.
#[must_use]
pub fn main() -> ExitCode {
    exit::finish(cmd::run(args::Args::parse()))
}
