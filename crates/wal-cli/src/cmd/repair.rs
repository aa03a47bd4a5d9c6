//! `wal repair`: says what opening the log in a mode would change, or does it.

use std::io::{self, Write};
use std::path::Path;

use wal_engine::{RecoveryReport, Verdict, Wal, WalOptions};

use crate::args::RepairArgs;
use crate::exit::{Failure, Outcome};
use crate::{faults, foreign, place, progress};

/// Inspects or repairs the log and prints the report.
pub(crate) fn run(args: &RepairArgs) -> Result<Outcome, Failure> {
    let dir = &args.dir;
    place::log_dir(dir)?;
    foreign::refuse_above(dir)?;
    let mode = args.mode.into();
    // Truncation refuses what has to be repaired.
    let engine = |error| Failure::engine_or_full(dir, &error, "make room on the disk");
    let report = if args.apply {
        let options = WalOptions::default().recovery_mode(mode);
        let (wal, report) =
            progress::replay(Wal::open(dir, options).map_err(engine)?, &mut ()).map_err(engine)?;
        wal.close().map_err(engine)?;
        report
    } else {
        progress::inspect(dir, mode).map_err(engine)?
    };
    place::print(|out| print(args, &report, out))?;
    if report.refused {
        return Err(refused(dir, &report));
    }
    Ok(Outcome::Done)
}

/// Prints the report and, in one sentence, what it comes to.
fn print(args: &RepairArgs, report: &RecoveryReport, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{}", report.to_string().trim_end())?;
    if report.refused {
        return Ok(());
    }
    writeln!(out)?;
    let dir = args.dir.display();
    let changes = report.cut_at.is_some()
        || !report.quarantined.is_empty()
        || !report.gaps.is_empty()
        || report.pending;
    let kept = format!("what is cut is kept in {dir}/quarantine");
    match (changes, args.apply) {
        (false, _) => writeln!(out, "nothing to repair"),
        (true, false) => writeln!(out, "nothing was changed; with --apply this is done, and {kept} first"),
        (true, true) if report.pending => {
            writeln!(out, "not all of this could be done: there is no room to keep what has to be cut")?;
            writeln!(out, "next: make room, for example with `wal truncate {dir}`, then run it again")
        }
        (true, true) => writeln!(out, "done; {kept}: see `wal quarantine {dir} list`"),
    }
}

/// The mode does not allow to open the log: says why and what would.
fn refused(dir: &Path, report: &RecoveryReport) -> Failure {
    let why =
        report.fault.as_ref().map_or_else(|| dir.display().to_string(), |fault| faults::fault(dir, fault));
    let next = match report.verdict {
        Verdict::Unsupported => "read it with the program that wrote it",
        _ => "choose a --mode that may give something up, such as point-in-time",
    };
    Failure::log_at_fault(format_args!("{why}\n  next: {next}; nothing was changed"))
}
