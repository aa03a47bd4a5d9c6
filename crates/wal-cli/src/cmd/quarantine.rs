//! `wal quarantine`: what repair has set aside, listed, put back or deleted.

use std::io::Write;
use std::path::Path;

use serde_json::json;
use wal_engine::{list_quarantine, purge_quarantine, restore_quarantine};

use crate::args::{QuarantineAction, QuarantineArgs};
use crate::exit::{self, Failure, Outcome};
use crate::place::{self, Output};

/// Does what is asked with the quarantine of a log.
pub(crate) fn run(args: &QuarantineArgs) -> Result<Outcome, Failure> {
    let dir = &args.dir;
    place::log_dir(dir)?;
    let mut out = place::output()?;
    match &args.action {
        QuarantineAction::List => {
            if list(dir, &mut out)? == 0 {
                exit::say(format_args!(
                    "{}: the quarantine is empty: no repair has cut anything",
                    dir.display()
                ));
            }
        }
        QuarantineAction::Restore { to } => restore(dir, to)?,
        QuarantineAction::Purge => purge(dir, &mut out)?,
    }
    out.flush().map_err(Failure::output)?;
    Ok(Outcome::Done)
}

/// Prints one object a file and returns how many there are.
fn list(dir: &Path, out: &mut Output) -> Result<usize, Failure> {
    let files = list_quarantine(dir).map_err(|error| Failure::engine(dir, &error))?;
    for file in &files {
        let object =
            json!({ "name": file.name, "segment": file.segment, "offset": file.offset, "bytes": file.bytes });
        writeln!(out, "{object}").map_err(Failure::output)?;
    }
    Ok(files.len())
}

/// Puts the files back together in a fresh directory.
fn restore(dir: &Path, to: &Path) -> Result<(), Failure> {
    place::fresh_dir(to)?;
    let files = restore_quarantine(dir, to).map_err(|error| Failure::engine(dir, &error))?;
    exit::say(format_args!(
        "{files} files put into {}; {} and its quarantine are as they were\n  next: `wal verify {}`",
        to.display(),
        dir.display(),
        to.display()
    ));
    Ok(())
}

/// Deletes the files, printing what is deleted.
fn purge(dir: &Path, out: &mut Output) -> Result<(), Failure> {
    let files = list(dir, out)?;
    let bytes = purge_quarantine(dir).map_err(|error| Failure::engine(dir, &error))?;
    exit::say(format_args!("{files} files deleted, {bytes} bytes freed"));
    Ok(())
}
