//! `wal dump`: every entry in order, up to the first fault; with `--follow` also those to come.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use wal_engine::{
    Fault, FollowEvent, FollowOptions, Follower, LogEntry, Position, ReadEvent, ReadOptions, Verdict,
    WalReader,
};

use crate::args::{DumpArgs, Format};
use crate::exit::{self, Failure, Outcome};
use crate::filter::Filter;
use crate::place::{self, Output};
use crate::progress::{self, Progress};
use crate::text::TextDump;
use crate::{faults, foreign, json_out};

/// Prints the log; what was read before a fault or an error is printed before that is said.
pub(crate) fn run(args: &DumpArgs) -> Result<Outcome, Failure> {
    place::log_dir(&args.dir)?;
    // Who follows may well be there before the log is.
    if !args.follow {
        foreign::note_if_empty(&args.dir);
    }
    let mut out = place::output()?;
    let outcome = if args.follow { follow(args, &mut out) } else { print(args, &mut out) };
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
    let mut printer = Printer::new(args)?;
    let mut outcome = Outcome::Done;
    // On a terminal the entries themselves are the progress.
    let total = progress::log_bytes(dir).filter(|_| !out.get_ref().is_terminal());
    let mut progress = total.map(|total| Progress::start("entries", Some(total)));
    let mut sealed_bytes = 0;
    loop {
        let event = match reader.next() {
            Ok(Some(event)) => event,
            Ok(None) => {
                out.flush().map_err(Failure::output)?;
                printer.say_nameless();
                return Ok(outcome);
            }
            Err(error) => {
                // What was printed so far stands before the message.
                out.flush().map_err(Failure::output)?;
                return Err(Failure::engine(dir, &error));
            }
        };
        match event {
            ReadEvent::Entry(entry) => {
                if let Some(progress) = &mut progress {
                    progress.step(sealed_bytes + entry.end.offset);
                }
                printer.entry(out, &entry).map_err(Failure::output)?;
            }
            ReadEvent::SegmentEnd(summary) => sealed_bytes += summary.bytes,
            ReadEvent::Malformed { at, error } => {
                out.flush().map_err(Failure::output)?;
                exit::warn(faults::malformed(dir, at, &error));
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
                say_fault(args, &fault);
                outcome = Outcome::LogAtFault;
            }
            _ => {}
        }
    }
}

/// Prints the log and what is added to it. Ends at a fault, or when nobody reads the output any more.
fn follow(args: &DumpArgs, out: &mut Output) -> Result<Outcome, Failure> {
    let dir = &args.dir;
    let mut options = FollowOptions::default().entry_bytes_max(args.limit.entry_limit);
    if let Some(position) = args.from {
        options = options.from(position);
    }
    let failed = |error| Failure::engine(dir, &error);
    let mut follower = Follower::open(dir, options).map_err(failed)?;
    let mut printer = Printer::new(args)?;
    // What there is goes out before a wait begins: entries that come together are written together.
    let mut timeout = Some(Duration::ZERO);
    loop {
        let event = match follower.next(timeout) {
            Ok(event) => event,
            Err(error) => {
                out.flush().map_err(Failure::output)?;
                return Err(failed(error));
            }
        };
        match event {
            Some(FollowEvent::Entry(entry)) => {
                printer.entry(out, &entry).map_err(Failure::output)?;
                timeout = Some(Duration::ZERO);
                continue;
            }
            None => {
                out.flush().map_err(Failure::output)?;
                timeout = Some(CLOSED_PIPE_CHECK);
                if place::is_closed(out.get_ref()) {
                    return Err(Failure::ClosedPipe);
                }
                continue;
            }
            _ => out.flush().map_err(Failure::output)?,
        }
        match event {
            Some(FollowEvent::Malformed { at, error }) => exit::warn(faults::malformed(dir, at, &error)),
            Some(FollowEvent::Fault(fault)) => {
                say_fault(args, &fault);
                if !args.skip_damaged {
                    return Ok(Outcome::LogAtFault);
                }
            }
            Some(FollowEvent::Moved { asked, now }) => say_moved(args, asked, now, "what lay here is gone"),
            Some(FollowEvent::Rewound { asked, now }) => {
                say_moved(args, asked, now, "the log ends before this, or differs");
            }
            Some(FollowEvent::Rewritten { asked, now }) => {
                say_moved(args, asked, now, "the segment was written anew");
            }
            _ => {}
        }
        timeout = Some(Duration::ZERO);
    }
}

/// Prints entries in the form asked for.
struct Printer {
    format: Format,
    text: TextDump,
    filter: Filter,
}

impl Printer {
    fn new(args: &DumpArgs) -> Result<Self, Failure> {
        Ok(Self { format: args.format, text: TextDump::default(), filter: Filter::new(&args.filter)? })
    }

    fn entry(&mut self, out: &mut Output, entry: &LogEntry<'_>) -> io::Result<()> {
        let wanted = self.filter.look_at(entry);
        match self.format {
            Format::Ndjson if wanted => json_out::entry(out, entry, &self.filter),
            Format::Ndjson => Ok(()),
            // Labels are taken note of also where nothing is printed.
            Format::Text => self.text.entry(out, entry, &self.filter),
        }
    }

    /// Says what no selector could judge.
    fn say_nameless(&self) {
        match self.filter.nameless() {
            0 => {}
            count => exit::warn(format_args!(
                "{count} samples and deletes left out: no entry read before them names their series\n  \
                 next: read from the start of the log, or ask with --ref"
            )),
        }
    }
}

fn say_fault(args: &DumpArgs, fault: &Fault) {
    let beyond = match fault.verdict {
        Verdict::Damaged if !args.skip_damaged => "; `wal dump --skip-damaged` prints what lies beyond",
        _ => "",
    };
    exit::say(faults::fault(&args.dir, fault) + &faults::next_step(&args.dir, fault) + beyond);
}

fn say_moved(args: &DumpArgs, asked: Position, now: Position, what: &str) {
    exit::warn(format_args!("{}: {what}; going on at {now}", faults::at(&args.dir, asked)));
}

/// How often to look whether anyone still reads the output, while nothing is written to it.
const CLOSED_PIPE_CHECK: Duration = Duration::from_secs(1);
