//! `wal dump`: every entry in order, up to the first fault.

use std::io::Write;

use wal_engine::{ReadEvent, ReadOptions, Verdict, WalReader};

use crate::args::{DumpArgs, Format};
use crate::exit::{self, Failure, Outcome};
use crate::place::{self, Output};
use crate::text::TextDump;
use crate::{faults, json_out};

/// Prints the log; what was read before a fault or an error is printed before that is said.
pub(crate) fn run(args: &DumpArgs) -> Result<Outcome, Failure> {
    place::existing_dir(&args.dir)?;
    let mut out = place::output()?;
    let outcome = print(args, &mut out);
    match out.flush() {
        // An error of the log weighs more than one of a pipe that it was being printed to.
        Err(error) if outcome.is_ok() => Err(Failure::output(error)),
        _ => outcome,
    }
}

/// Reads the log and prints it entry by entry.
fn print(args: &DumpArgs, out: &mut Output) -> Result<Outcome, Failure> {
    let dir = &args.dir;
    let mut options =
        ReadOptions::default().skip_damaged(args.skip_damaged).entry_bytes_max(args.limit.entry_limit);
    if let Some(position) = args.from {
        options = options.from(position);
    }
    let mut reader = WalReader::open(dir, options).map_err(|error| Failure::engine(dir, &error))?;
    let mut text = TextDump::default();
    let mut outcome = Outcome::Done;
    loop {
        let event = match reader.next() {
            Ok(Some(event)) => event,
            Ok(None) => return Ok(outcome),
            Err(error) => {
                // What was printed so far stands before the message.
                out.flush().map_err(Failure::output)?;
                return Err(Failure::engine(dir, &error));
            }
        };
        match event {
            ReadEvent::Entry(entry) => match args.format {
                Format::Ndjson => json_out::entry(out, &entry),
                Format::Text => text.entry(out, &entry),
            }
            .map_err(Failure::output)?,
            ReadEvent::Malformed { at, error } => {
                out.flush().map_err(Failure::output)?;
                exit::say(faults::malformed(dir, at, &error));
            }
            ReadEvent::Gap(gap, fault) => {
                out.flush().map_err(Failure::output)?;
                let next =
                    if outcome == Outcome::Done { faults::next_step(dir, &fault) } else { String::new() };
                exit::say(faults::gap(dir, &gap, &fault) + &next);
                outcome = Outcome::LogAtFault;
            }
            ReadEvent::Fault(fault) => {
                out.flush().map_err(Failure::output)?;
                let beyond = match fault.verdict {
                    Verdict::Damaged => "; `wal dump --skip-damaged` prints what lies beyond",
                    _ => "",
                };
                exit::say(faults::fault(dir, &fault) + &faults::next_step(dir, &fault) + beyond);
                outcome = Outcome::LogAtFault;
            }
            _ => {}
        }
    }
}
