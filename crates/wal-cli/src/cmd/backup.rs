//! `wal backup`: a consistent copy of a log that nobody writes to at the moment.

use std::io::Write;

use wal_engine::{RecoveryMode, Wal, WalOptions};

use crate::args::BackupArgs;
use crate::exit::{Failure, Outcome};
use crate::{faults, foreign, place, progress};

/// Opens the log as its writer, copies it, and prints the report.
pub(crate) fn run(args: &BackupArgs) -> Result<Outcome, Failure> {
    let (dir, to) = (&args.dir, &args.to);
    place::log_dir(dir)?;
    foreign::refuse_above(dir)?;
    place::fresh_dir(to)?;
    place::apart(dir, to)?;
    let options = WalOptions::default().recovery_mode(RecoveryMode::TolerateTornTail);
    let engine = |error: wal_engine::Error| {
        let room = format!("make room on the disk of {}", to.display());
        let failure = Failure::engine_or_full(dir, &error, &room);
        match error.kind() {
            wal_engine::ErrorKind::Locked => failure.with_note(&format!(
                "or let that writer make the copy (`Wal::backup`); `wal salvage {} {}` copies beside it",
                dir.display(),
                to.display()
            )),
            _ => failure,
        }
    };
    let (wal, recovery) =
        progress::replay(Wal::open(dir, options).map_err(engine)?, &mut ()).map_err(engine)?;
    faults::say_trimmed(dir, &recovery);
    let copied = wal.backup(to);
    let closed = wal.close();
    let report = copied.map_err(engine)?;
    closed.map_err(engine)?;
    place::print(|out| writeln!(out, "{}: {report}", to.display()))?;
    Ok(Outcome::Done)
}
