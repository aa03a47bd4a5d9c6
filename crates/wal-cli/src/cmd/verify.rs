//! `wal verify`: reads everything, gives a verdict.

use std::io::{self, Write};
use std::path::Path;

use serde_json::{Value, json};
use wal_engine::{
    Error, ErrorKind, Fault, Position, ReadEvent, ReadOptions, SegmentSummary, Verdict, WalReader,
};

use crate::args::ReadArgs;
use crate::colour::Colour;
use crate::exit::{self, Failure, Outcome};
use crate::progress::{self, Progress};
use crate::table::Table;
use crate::{faults, foreign, place};

/// What reading the whole log has shown.
struct Findings {
    verdict: Verdict,
    fault: Option<Place>,
    malformed: Vec<Position>,
    live: bool,
    segments: Vec<SegmentSummary>,
    mark: String,
    leftovers: Vec<String>,
}

/// Where the first fault is and why.
struct Place {
    at: Position,
    reason: String,
}

/// Reads the log and prints the findings.
pub(crate) fn run(args: &ReadArgs) -> Result<Outcome, Failure> {
    place::existing_dir(&args.dir)?;
    foreign::note_if_empty(&args.dir);
    let findings = match foreign::modern(&args.dir) {
        None => read(args)?,
        Some(segment) => Findings::of_other_log(&args.dir, &segment),
    };
    place::print(|out| {
        if args.json { findings.json(out) } else { findings.table(&args.dir, Colour::of(out.get_ref()), out) }
    })?;
    Ok(if findings.verdict == Verdict::Clean { Outcome::Done } else { Outcome::LogAtFault })
}

/// Reads everything; faults and malformed entries are said as they come.
fn read(args: &ReadArgs) -> Result<Findings, Failure> {
    let dir = args.dir.as_path();
    let mut findings = Findings::new();
    let options = ReadOptions::default().skip_damaged(true).entry_bytes_max(args.limit.entry_limit);
    let mut reader = match WalReader::open(dir, options) {
        Ok(reader) => reader,
        Err(error) => return findings.refused(dir, &error),
    };
    findings.live = reader.live();
    findings.leftovers = reader.leftovers().to_vec();
    let mut progress = Progress::start("entries", progress::log_bytes(dir));
    let mut sealed_bytes = 0;
    loop {
        let event = match reader.next() {
            Ok(Some(event)) => event,
            Ok(None) => break,
            Err(error) => return findings.refused(dir, &error),
        };
        match event {
            ReadEvent::Entry(entry) => progress.step(sealed_bytes + entry.end.offset),
            ReadEvent::Malformed { at, error } => {
                progress.aside(|| exit::warn(faults::malformed(dir, at, &error)));
                findings.malformed.push(at);
            }
            ReadEvent::Gap(gap, fault) => {
                let next = findings.note(dir, &fault);
                progress.aside(|| exit::say(faults::gap(dir, &gap, &fault) + &next));
            }
            ReadEvent::Fault(fault) => {
                let next = findings.note(dir, &fault);
                progress.aside(|| exit::say(faults::fault(dir, &fault) + &next));
            }
            ReadEvent::SegmentEnd(summary) => {
                sealed_bytes += summary.bytes;
                findings.segments.push(summary);
            }
            _ => {}
        }
    }
    // Whether the mark fits is known only now that its segment was read.
    findings.mark = reader.mark().to_string();
    Ok(findings)
}

impl Findings {
    /// Another program's log is a verdict, as a newer version is; it is not read.
    fn of_other_log(dir: &Path, segment: &Path) -> Self {
        exit::say(format_args!(
            "{}: {}, which this tool does not read\n  next: {}",
            segment.display(),
            foreign::MODERN,
            foreign::modern_advice(dir)
        ));
        let number = segment.file_name().and_then(|name| name.to_str()?.parse().ok()).unwrap_or(0);
        let fault = Place { at: Position { segment: number, offset: 0 }, reason: foreign::MODERN.to_owned() };
        Self { verdict: Verdict::Unsupported, fault: Some(fault), ..Self::new() }
    }

    /// Nothing found yet.
    fn new() -> Self {
        Self {
            verdict: Verdict::Clean,
            fault: None,
            malformed: Vec::new(),
            live: false,
            segments: Vec::new(),
            mark: String::new(),
            leftovers: Vec::new(),
        }
    }

    /// Takes note of a fault; the first one gives the verdict, and the next step to be said with it.
    fn note(&mut self, dir: &Path, fault: &Fault) -> String {
        if self.fault.is_some() {
            return String::new();
        }
        self.verdict = fault.verdict;
        self.fault = Some(Place { at: fault.at, reason: fault.reason.to_string() });
        faults::next_step(dir, fault)
    }

    /// Takes an error of the reader: a segment of another version is a verdict, everything else an error.
    fn refused(mut self, dir: &Path, error: &Error) -> Result<Self, Failure> {
        let (ErrorKind::Unsupported, Some(at)) = (error.kind(), error.position()) else {
            return Err(Failure::engine(dir, error));
        };
        exit::say(error);
        if self.fault.is_none() {
            self.verdict = Verdict::Unsupported;
            self.fault = Some(Place { at, reason: error.to_string() });
        }
        Ok(self)
    }

    /// Prints one JSON object.
    fn json(&self, out: &mut impl Write) -> io::Result<()> {
        let place = |at: Position| json!({ "segment": at.segment, "offset": at.offset });
        let fault = self.fault.as_ref().map(
            |fault| json!({ "segment": fault.at.segment, "offset": fault.at.offset, "reason": fault.reason }),
        );
        let object = json!({
            "verdict": self.verdict.to_string(),
            "fault": fault,
            "malformed": self.malformed.iter().map(|&at| place(at)).collect::<Vec<_>>(),
            "live": self.live,
            "segments": self.segments.iter().map(segment_json).collect::<Vec<_>>(),
            "mark": self.mark,
            "leftovers": self.leftovers,
        });
        writeln!(out, "{object}")
    }

    /// Prints a table and the verdict below it.
    fn table(&self, dir: &Path, colour: Colour, out: &mut impl Write) -> io::Result<()> {
        let mut table = Table::new(
            1,
            &[
                "file", "bytes", "valid", "entries", "series", "samples", "deletes", "min time", "max time",
                "ends",
            ],
        );
        let time =
            |time_ms: Option<i64>| time_ms.map_or_else(|| "-".to_owned(), |time_ms| time_ms.to_string());
        for segment in &self.segments {
            let stats = &segment.stats;
            let counts = [
                segment.bytes,
                segment.valid_bytes,
                stats.entries,
                stats.series,
                stats.samples,
                stats.deletes,
            ];
            let mut cells = vec![segment.file.clone()];
            cells.extend(counts.map(|count| count.to_string()));
            cells.extend([time(stats.min_time_ms), time(stats.max_time_ms), segment.ends.to_string()]);
            table.row(cells);
        }
        table.write(out)?;
        writeln!(out)?;
        let verdict = colour.verdict(self.verdict);
        match &self.fault {
            None => writeln!(out, "{}: {verdict}", dir.display())?,
            Some(fault) => {
                let file = place::segment_file(dir, fault.at.segment);
                let (file, offset) = (file.display(), fault.at.offset);
                writeln!(out, "{}: {verdict}: {file}: offset {offset}: {}", dir.display(), fault.reason)?;
            }
        }
        if self.live {
            writeln!(out, "live: a writer holds the lock; an entry in flight at the tail is no fault")?;
        }
        if !self.malformed.is_empty() {
            writeln!(out, "malformed entries (skipped by every reader): {}", self.malformed.len())?;
            for at in self.malformed.iter().take(MALFORMED_SHOWN) {
                writeln!(out, "  {at}")?;
            }
        }
        if !self.mark.is_empty() {
            writeln!(out, "durable mark: {}", self.mark)?;
        }
        if !self.leftovers.is_empty() {
            writeln!(out, "other files, not touched: {}", self.leftovers.join(", "))?;
        }
        Ok(())
    }
}

/// One segment as JSON.
fn segment_json(segment: &SegmentSummary) -> Value {
    let stats = &segment.stats;
    json!({
        "file": segment.file,
        "segment": segment.segment,
        "bytes": segment.bytes,
        "valid_bytes": segment.valid_bytes,
        "entries": stats.entries,
        "series": stats.series,
        "samples": stats.samples,
        "deletes": stats.deletes,
        "min_time": stats.min_time_ms,
        "max_time": stats.max_time_ms,
        "ends": segment.ends.to_string(),
    })
}

/// A log with more malformed entries than this is better looked at with `--json`.
const MALFORMED_SHOWN: usize = 10;
