//! Exit codes, and the one way in which a command fails.
//!
//! A command returns an [`Outcome`] or a [`Failure`]; nothing else in this crate ends the process.
//! Every message says what, where and what to do next, and goes to standard error. Writing to a
//! closed standard error is not worth a panic, so failures of that write are ignored.

use std::fmt::Display;
use std::io::{self, ErrorKind as IoKind, Write};
use std::path::Path;
use std::process::ExitCode;

use wal_engine::{Error, ErrorKind};

use crate::colour::{Colour, Tone};

/// Everything asked for was done.
const DONE: u8 = 0;
/// The log is torn, damaged or unsupported, or two logs differ.
const LOG_AT_FAULT: u8 = 1;
/// The arguments or the input are wrong.
const BAD_INPUT: u8 = 2;
/// Reading, writing or locking failed.
const IO_ERROR: u8 = 3;

/// How a command ended that could do its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Exit code 0.
    Done,
    /// Exit code 1: the command has said on the way what is wrong with the log.
    LogAtFault,
    /// Exit code 1: two logs differ, and how has been printed.
    Differ,
}

/// Why a command ended early.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Whoever read our standard output has seen enough: no error, exit code 0, no message.
    ClosedPipe,
    /// A message for standard error and an exit code.
    Said {
        /// The exit code.
        code: u8,
        /// The message without the `wal:` in front.
        message: String,
    },
}

impl Failure {
    /// The log is torn, damaged or unsupported, so the command refuses: exit code 1.
    pub(crate) fn log_at_fault(message: impl Display) -> Self {
        Self::Said { code: LOG_AT_FAULT, message: message.to_string() }
    }

    /// Wrong usage or bad input: exit code 2.
    pub(crate) fn bad_input(message: impl Display) -> Self {
        Self::Said { code: BAD_INPUT, message: message.to_string() }
    }

    /// An I/O or lock error: exit code 3.
    pub(crate) fn io(message: impl Display) -> Self {
        Self::Said { code: IO_ERROR, message: message.to_string() }
    }

    /// A failed write to standard output; a closed pipe is no error.
    pub(crate) fn output(error: io::Error) -> Self {
        if error.kind() == IoKind::BrokenPipe {
            return Self::ClosedPipe;
        }
        Self::io(format_args!(
            "standard output: {error}\n  next: look at where the output goes, then run it again"
        ))
    }

    /// Adds a line that says something further.
    pub(crate) fn with_note(self, note: &str) -> Self {
        match self {
            Self::ClosedPipe => Self::ClosedPipe,
            Self::Said { code, message } => Self::Said { code, message: format!("{message}\n  {note}") },
        }
    }

    /// A failed operation on a file of the user's choosing: a path that is not there is bad input, the
    /// rest is an I/O error.
    pub(crate) fn file(path: &Path, error: &io::Error) -> Self {
        let next = match error.kind() {
            IoKind::PermissionDenied => "run it as a user who may, or give this one the right to it",
            IoKind::NotFound => "check the path",
            IoKind::StorageFull | IoKind::QuotaExceeded => "make room on the disk, then run it again",
            _ => "check the path and its permissions",
        };
        let message = format!("{}: {error}\n  next: {next}", path.display());
        match error.kind() {
            IoKind::NotFound | IoKind::NotADirectory | IoKind::IsADirectory => Self::bad_input(message),
            _ => Self::io(message),
        }
    }

    /// What the engine answered about the log in `dir`, with the next step in this tool's words where it
    /// has a command for it.
    pub(crate) fn engine(dir: &Path, error: &Error) -> Self {
        let room = format!("make room on the disk, for example with `wal truncate {}`", dir.display());
        Self::engine_or_full(dir, error, &room)
    }

    /// The same, where truncating that log is no way to make the room that is missing.
    pub(crate) fn engine_or_full(dir: &Path, error: &Error, room: &str) -> Self {
        let text = error.to_string();
        let advice = error.advice();
        let what = text.strip_suffix(&format!("; next: {advice}")).unwrap_or(&text);
        let dir = dir.display();
        let place = if what.contains(&dir.to_string()) { String::new() } else { format!("{dir}: ") };
        let next = match error.kind() {
            ErrorKind::Locked => {
                "stop that writer, or wait for it; `dump`, `verify` and `stat` work beside it".to_owned()
            }
            ErrorKind::Torn | ErrorKind::Damaged => format!(
                "run `wal repair {dir}` to see what a repair would do, `wal repair {dir} --apply` to do it"
            ),
            ErrorKind::TooLarge => {
                "allow larger entries with `--entry-limit` of dump, verify, stat, diff or salvage".to_owned()
            }
            ErrorKind::DiskFull => format!("{room}, then run it again"),
            ErrorKind::Poisoned => format!("run `wal verify {dir}`, mend the cause, then run it again"),
            _ => advice.to_owned(),
        };
        Self::Said { code: code_of(error.kind()), message: format!("{place}{what}\n  next: {next}") }
    }
}

/// The exit code that an engine error means to the caller of a command.
fn code_of(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::Torn | ErrorKind::Damaged | ErrorKind::Unsupported | ErrorKind::Malformed => LOG_AT_FAULT,
        ErrorKind::NotADirectory
        | ErrorKind::InvalidOptions
        | ErrorKind::NoSuchPosition
        | ErrorKind::BeyondEnd => BAD_INPUT,
        _ => IO_ERROR,
    }
}

/// Says a message on standard error.
pub(crate) fn say(message: impl Display) {
    // Without a standard error nobody can be told, and the exit code still speaks.
    let _ = writeln!(io::stderr().lock(), "wal: {message}");
}

/// Says what may be wrong, or is not as it was asked for, and ends nothing.
pub(crate) fn warn(message: impl Display) {
    say_as(Tone::Warning, message);
}

/// On a terminal the name in front of the message has the colour of its tone.
fn say_as(tone: Tone, message: impl Display) {
    let name = Colour::stderr().paint(tone, "wal:");
    let _ = writeln!(io::stderr().lock(), "{name} {message}");
}

/// Ends a command: prints what is left to say and gives the exit code.
pub(crate) fn finish(result: Result<Outcome, Failure>) -> ExitCode {
    match result {
        Ok(Outcome::Done) | Err(Failure::ClosedPipe) => ExitCode::from(DONE),
        Ok(Outcome::LogAtFault | Outcome::Differ) => ExitCode::from(LOG_AT_FAULT),
        Err(Failure::Said { code, message }) => {
            say_as(Tone::Bad, message);
            ExitCode::from(code)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_failed_is_answered_with_what_helps() {
        for (kind, code, next) in [
            (IoKind::NotFound, BAD_INPUT, "check the path"),
            (IoKind::PermissionDenied, IO_ERROR, "as a user who may"),
            (IoKind::StorageFull, IO_ERROR, "make room"),
            (IoKind::QuotaExceeded, IO_ERROR, "make room"),
            (IoKind::TimedOut, IO_ERROR, "permissions"),
        ] {
            let failure = Failure::file(Path::new("some/path"), &io::Error::from(kind));
            let Failure::Said { code: said_code, message } = failure else {
                panic!("{kind}: nothing is said")
            };
            assert_eq!(said_code, code, "{kind}");
            assert!(message.starts_with("some/path: ") && message.contains(next), "{kind}: {message}");
        }
    }
}
