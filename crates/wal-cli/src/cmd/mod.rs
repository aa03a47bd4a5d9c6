//! One file a command. A command takes its arguments, prints, and returns how it ended.

mod backup;
mod bench;
mod demo;
mod demo_writer;
mod diff;
mod dump;
mod import;
mod pages;
mod quarantine;
mod repair;
mod salvage;
mod stat;
mod truncate;
mod verify;

use crate::args::{Args, Command};
use crate::exit::{Failure, Outcome};

/// Runs the command asked for.
pub(crate) fn run(args: Args) -> Result<Outcome, Failure> {
    match args.command {
        Command::Dump(args) => dump::run(&args),
        Command::Diff(args) => diff::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Stat(args) => stat::run(&args),
        Command::Import(args) => import::run(&args),
        Command::Repair(args) => repair::run(&args),
        Command::Truncate(args) => truncate::run(&args),
        Command::Quarantine(args) => quarantine::run(&args),
        Command::Backup(args) => backup::run(&args),
        Command::Salvage(args) => salvage::run(&args),
        Command::Completions(args) => pages::completions(&args),
        Command::Man(args) => pages::man(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::DemoWriter(args) => demo_writer::run(&args),
    }
}
