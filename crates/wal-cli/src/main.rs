//! `wal`: looks into, verifies, repairs, fills, truncates and measures a write-ahead log.
//!
//! The contract of every command (what goes to which stream, which exit code means what) is in the
//! help texts of [`args`]; the shapes of the machine-readable output are in [`json_out`].

mod args;
mod cmd;
mod exit;
mod faults;
mod json_in;
mod json_lex;
mod json_out;
mod place;
mod progress;
mod table;
mod text;

use std::process::ExitCode;

use clap::Parser;

/// Parses the arguments, runs the command, and turns its result into an exit code.
fn main() -> ExitCode {
    exit::finish(cmd::run(args::Args::parse()))
}
