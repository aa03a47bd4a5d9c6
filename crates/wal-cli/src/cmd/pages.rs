//! `wal completions` and `wal man`: written by the program itself, from the definitions that it parses with.
//!
//! Not by a build script: whoever installs with cargo never sees where a build script writes, and a
//! program that has its own pages cannot have those of another version.

use std::fs;
use std::io;

use clap::CommandFactory;

use crate::args::{Args, CompletionsArgs, ManArgs};
use crate::exit::{Failure, Outcome};
use crate::place;

/// Prints the completions of a shell.
pub(crate) fn completions(args: &CompletionsArgs) -> Result<Outcome, Failure> {
    // The generator takes no errors of writing, so it writes to memory.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), NAME, &mut script);
    place::print(|out| io::Write::write_all(out, &script))?;
    Ok(Outcome::Done)
}

/// Writes a manual page for the program and one for every command.
pub(crate) fn man(args: &ManArgs) -> Result<Outcome, Failure> {
    let dir = &args.dir;
    let failed = |error| Failure::file(dir, &error);
    fs::create_dir_all(dir).map_err(failed)?;
    clap_mangen::generate_to(Args::command(), dir).map_err(failed)?;
    Ok(Outcome::Done)
}

const NAME: &str = "wal";
