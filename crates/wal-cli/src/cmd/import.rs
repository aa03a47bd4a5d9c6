//! `wal import`: appends NDJSON entries from standard input, one line one entry.
//!
//! Memory holds one line and its items. A line is written whole or not at all; when a line is bad, or the
//! input or the disk fails, every line before it is made durable first, if that can still be done.

use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};

use wal_engine::{ErrorKind, RecoveryMode, Wal, WalOptions};

use crate::args::ImportArgs;
use crate::exit::{self, Failure, Outcome};
use crate::json_in::{Batch, Parser};
use crate::progress::{self, Progress};
use crate::{faults, foreign, place};

/// Opens the log, appends the input, and closes the log.
pub(crate) fn run(args: &ImportArgs) -> Result<Outcome, Failure> {
    let dir = &args.dir;
    place::creatable_dir(dir)?;
    foreign::refuse(dir)?;
    let mut options = WalOptions::default()
        .recovery_mode(RecoveryMode::TolerateTornTail)
        .preallocation(args.preallocation.into());
    if let Some(bytes) = args.segment_size {
        options = options.segment_bytes_max(bytes);
    }
    let engine = |error| Failure::engine(dir, &error);
    let (wal, report) =
        progress::replay(Wal::open(dir, options).map_err(engine)?, &mut ()).map_err(engine)?;
    faults::say_trimmed(dir, &report);
    if io::stdin().is_terminal() {
        exit::say("reading entries from the terminal, one JSON object a line; Ctrl-D ends them");
    }
    let mut import = Import { args, wal, lines: 0, synced_lines: None, acks_wanted: args.ack };
    let outcome = import.all();
    let Import { wal, lines, .. } = import;
    let closed = wal.close().map_err(engine);
    outcome?;
    closed?;
    exit::say(format_args!("{lines} lines imported and durable in {}", dir.display()));
    Ok(Outcome::Done)
}

/// A run of the command.
struct Import<'a> {
    args: &'a ImportArgs,
    wal: Wal,
    /// Lines taken, blank ones included: also the number of the line last read.
    lines: u64,
    /// Lines known to be durable; none before the first sync.
    synced_lines: Option<u64>,
    /// Whether anybody listens to acknowledgements (still).
    acks_wanted: bool,
}

impl Import<'_> {
    /// Takes all lines, then syncs.
    fn all(&mut self) -> Result<(), Failure> {
        let mut input = BufReader::with_capacity(INPUT_BUFFER_BYTES, io::stdin().lock());
        let mut line = Vec::new();
        let mut parser = Parser::default();
        let mut progress = Progress::start("lines", progress::input_bytes());
        let mut bytes = 0;
        loop {
            match read_line(&mut input, &mut line) {
                Ok(()) if line.is_empty() => break,
                Ok(()) => {}
                Err(error) => {
                    let number = self.lines + 1;
                    self.sync()?;
                    let kept = self.kept();
                    return Err(Failure::io(format_args!(
                        "standard input, line {number}: {error}\n  next: {kept}: go on with this one"
                    )));
                }
            }
            self.line(&mut parser, &line)?;
            bytes += line.len() as u64;
            progress.step(bytes);
        }
        if self.synced_lines != Some(self.lines) {
            self.sync()?;
        }
        Ok(())
    }

    /// Takes one line.
    fn line(&mut self, parser: &mut Parser, line: &[u8]) -> Result<(), Failure> {
        let number = self.lines + 1;
        if line.len() as u64 > LINE_BYTES_MAX {
            return self.bad_line(number, &format!("longer than {LINE_BYTES_MAX} bytes"));
        }
        if !line.iter().all(u8::is_ascii_whitespace) {
            let logged = match parser.line(line) {
                Ok(Batch::Series([]) | Batch::Samples([]) | Batch::Deletes([])) => Ok(()),
                Ok(Batch::Series(series)) => self.wal.log_series(series).map(drop),
                Ok(Batch::Samples(samples)) => self.wal.log_samples(samples).map(drop),
                Ok(Batch::Deletes(stones)) => self.wal.log_deletes(stones).map(drop),
                Err(bad) => return self.bad_line(number, &bad.to_string()),
            };
            match logged {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::TooLarge => {
                    return self.bad_line(number, &error.to_string());
                }
                Err(error) => return Err(self.stopped(&error)),
            }
        }
        self.lines = number;
        match self.args.sync_every {
            Some(every) if number % every == 0 => self.sync(),
            _ => Ok(()),
        }
    }

    /// Makes all lines taken durable and acknowledges them.
    fn sync(&mut self) -> Result<(), Failure> {
        if let Err(error) = self.wal.sync() {
            return Err(self.not_durable(Failure::engine(&self.args.dir, &error)));
        }
        self.synced_lines = Some(self.lines);
        if self.acks_wanted {
            let mut out = io::stdout().lock();
            match writeln!(out, "acked {}", self.lines).and_then(|()| out.flush()) {
                Ok(()) => {}
                // Nobody listens any more, which is no reason to leave the input half written.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => self.acks_wanted = false,
                Err(error) => return Err(Failure::output(error)),
            }
        }
        Ok(())
    }

    /// Refuses a line after making everything before it durable.
    fn bad_line(&mut self, number: u64, reason: &str) -> Result<(), Failure> {
        if self.synced_lines != Some(self.lines) {
            self.sync()?;
        }
        let kept = self.kept();
        Err(Failure::bad_input(format_args!(
            "standard input, line {number}: {reason}\n  next: {kept}: correct this line and go on with it"
        )))
    }

    /// What became of the lines before the one that stops the import.
    fn kept(&self) -> String {
        let dir = self.args.dir.display();
        match self.lines {
            0 => "nothing came before it".to_owned(),
            1 => format!("the line before it is durable in {dir}"),
            lines => format!("the {lines} lines before it are durable in {dir}"),
        }
    }

    /// The log took no more: tries to save what it took, and says how much is durable.
    fn stopped(&mut self, error: &wal_engine::Error) -> Failure {
        let failure = Failure::engine(&self.args.dir, error);
        match self.sync() {
            Ok(()) => failure.with_note(&format!("the first {} lines are durable", self.lines)),
            Err(_) => self.not_durable(failure),
        }
    }

    /// Adds what is known to be durable to an error.
    fn not_durable(&self, failure: Failure) -> Failure {
        let lines = self.synced_lines.unwrap_or(0);
        let end = self.wal.durable_position();
        failure.with_note(&format!(
            "at least the first {lines} lines are durable; the log is durable up to {end}"
        ))
    }
}

/// Reads one line with its end; an empty one is the end of the input.
///
/// A line that cannot be an entry, or is too long for one, is left unfinished: refusing it needs no more.
fn read_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<()> {
    line.clear();
    let mut first = None;
    loop {
        // Asked for, not assumed: a line without an end must not end the process.
        line.try_reserve(LINE_STEP_BYTES)?;
        let before = line.len();
        let read = input.by_ref().take(LINE_STEP_BYTES as u64).read_until(b'\n', line)?;
        first = first.or_else(|| line.iter().skip(before).find(|byte| !byte.is_ascii_whitespace()).copied());
        let hopeless = first.is_some_and(|first| first != b'{');
        if read == 0 || line.ends_with(b"\n") || hopeless || line.len() as u64 > LINE_BYTES_MAX {
            return Ok(());
        }
    }
}

/// Ten times the largest entry that is written: no item takes more room as text than that.
const LINE_BYTES_MAX: u64 = 10 * wal_format::layout::ENTRY_BYTES_MAX_DEFAULT as u64 + 4096;
const LINE_STEP_BYTES: usize = 1024 * 1024;
const INPUT_BUFFER_BYTES: usize = 256 * 1024;
