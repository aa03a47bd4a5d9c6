//! `wal quarantine`: what repair has set aside, listed, put back or deleted.

use std::io::{self, IsTerminal, Write};
use std::path::Path;

use serde_json::json;
use wal_engine::{Quarantined, list_quarantine, purge_quarantine, restore_quarantine};

use crate::args::{QuarantineAction, QuarantineArgs};
use crate::exit::{self, Failure, Outcome};
use crate::place::{self, Output};
use crate::table::Table;
use crate::text;

/// Does what is asked with the quarantine of a log.
pub(crate) fn run(args: &QuarantineArgs) -> Result<Outcome, Failure> {
    let dir = &args.dir;
    place::log_dir(dir)?;
    match &args.action {
        QuarantineAction::List { json } => list(dir, *json)?,
        QuarantineAction::Restore { to } => restore(dir, to)?,
        QuarantineAction::Purge { json } => purge(dir, *json)?,
    }
    Ok(Outcome::Done)
}

/// Prints what there is.
fn list(dir: &Path, json: bool) -> Result<(), Failure> {
    let files = files(dir)?;
    if files.is_empty() {
        exit::say(format_args!("{}: the quarantine is empty: no repair has cut anything", dir.display()));
    }
    print(&files, json)
}

/// Puts the files back together in a fresh directory.
fn restore(dir: &Path, to: &Path) -> Result<(), Failure> {
    place::fresh_dir(to)?;
    place::apart(dir, to)?;
    let files = restore_quarantine(dir, to).map_err(|error| Failure::engine(dir, &error))?;
    let beside = match list_quarantine(to).map_or(0, |files| files.len()) {
        0 => String::new(),
        beside => format!(", {beside} of them into its quarantine: newer entries are where they lay"),
    };
    exit::say(format_args!(
        "{files} files put into {}{beside}; {} and its quarantine are as they were\n  next: `wal verify {}`",
        to.display(),
        dir.display(),
        to.display()
    ));
    Ok(())
}

/// Deletes the files, printing what is deleted.
fn purge(dir: &Path, json: bool) -> Result<(), Failure> {
    let files = files(dir)?;
    let bytes = purge_quarantine(dir).map_err(|error| Failure::engine(dir, &error))?;
    print(&files, json)?;
    exit::say(format_args!("{} files deleted, {bytes} bytes freed", files.len()));
    Ok(())
}

fn files(dir: &Path) -> Result<Vec<Quarantined>, Failure> {
    list_quarantine(dir).map_err(|error| Failure::engine(dir, &error))
}

/// Prints the files: a table for whoever looks at a terminal, one object a file for everything else.
fn print(files: &[Quarantined], json: bool) -> Result<(), Failure> {
    place::print(
        |out| if json || !out.get_ref().is_terminal() { objects(files, out) } else { table(files, out) },
    )
}

fn objects(files: &[Quarantined], out: &mut Output) -> io::Result<()> {
    for file in files {
        let object =
            json!({ "name": file.name, "segment": file.segment, "offset": file.offset, "bytes": file.bytes });
        writeln!(out, "{object}")?;
    }
    Ok(())
}

fn table(files: &[Quarantined], out: &mut Output) -> io::Result<()> {
    let mut table = Table::new(1, &["file", "segment", "from offset", "bytes", ""]);
    for file in files {
        let numbers = [file.segment, file.offset, file.bytes].map(|number| number.to_string());
        table.row([file.name.clone()].into_iter().chain(numbers).chain([text::bytes(file.bytes)]).collect());
    }
    if table.is_empty() { Ok(()) } else { table.write(out) }
}
