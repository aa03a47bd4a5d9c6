//! `wal salvage`: everything readable into a fresh log, and what is missing said.
//!
//! Reads without a lock, beside a running writer if need be, and changes nothing where it reads. Memory
//! grows with the series, to know which samples have lost theirs.

use std::collections::HashSet;
use std::io::{self, Write};
use std::path::Path;

use serde_json::{Value, json};
use wal_engine::{
    ErrorKind, Interval, Intervals, LogEntry, Payload, Position, ReadEvent, ReadOptions, Sample, Series,
    SeriesRef, Stone, Wal, WalOptions, WalReader, list_quarantine,
};
use wal_segment::{Folder, Modes, OsStorage, Storage};

use crate::args::SalvageArgs;
use crate::exit::{self, Failure, Outcome};
use crate::progress::{self, Progress};
use crate::{adopt, faults, foreign, place, text};

/// Copies what can be read and prints what was, and what is missing.
pub(crate) fn run(args: &SalvageArgs) -> Result<Outcome, Failure> {
    let (dir, to) = (&args.dir, &args.to);
    place::log_dir(dir)?;
    foreign::refuse_above(dir)?;
    place::fresh_dir(to)?;
    place::apart(dir, to)?;
    let adopted = adopt::series(dir, args.limit.entry_limit)?;
    let engine = |error| write_failed(to, &error);
    let (wal, _) = Wal::open(to, WalOptions::default()).map_err(engine)?.replay(&mut ()).map_err(engine)?;
    let mut salvage =
        Salvage { args, wal, taken: Taken::default(), missing: Vec::new(), refs: HashSet::new() };
    let copied = salvage.adopt(adopted).and_then(|()| salvage.segments());
    let Salvage { wal, taken, missing, .. } = salvage;
    let closed = wal.close().map_err(engine);
    copied.and(closed).map_err(|failure| {
        failure.with_note(&format!(
            "{} holds what was copied before; start again with an empty one",
            to.display()
        ))
    })?;
    let report = Report { taken, missing, quarantined: list_quarantine(dir).map_or(0, |files| files.len()) };
    place::print(|out| if args.json { report.json(out) } else { report.text(args, out) })?;
    Ok(Outcome::Done)
}

/// What the fresh log answered.
fn write_failed(to: &Path, error: &wal_engine::Error) -> Failure {
    Failure::engine_or_full(to, error, "make room on the disk, or name a directory on another one")
}

/// What was written.
#[derive(Default)]
struct Taken {
    entries: u64,
    series: u64,
    adopted: u64,
    samples: u64,
    deletes: u64,
    /// Samples and deletes of series that no entry before them names.
    nameless: u64,
}

/// A stretch of the log that was not copied.
struct Missing {
    from: Position,
    /// Behind its last byte, where that is known.
    to_offset: Option<u64>,
    reason: String,
}

/// A run of the command.
struct Salvage<'a> {
    args: &'a SalvageArgs,
    wal: Wal,
    taken: Taken,
    missing: Vec<Missing>,
    refs: HashSet<SeriesRef>,
}

impl Salvage<'_> {
    /// Writes series that a broken truncation of the reference left in its temporary: they are older than
    /// everything in the segments, and come first.
    fn adopt(&mut self, adopted: Vec<Vec<Series>>) -> Result<(), Failure> {
        for series in adopted {
            self.refs.extend(series.iter().map(|series| series.series_ref));
            self.taken.adopted += series.len() as u64;
            self.wal.log_series(&series).map_err(|error| write_failed(&self.args.to, &error))?;
        }
        Ok(())
    }

    /// Copies all segments. Where one cannot be read on, the next one is gone on with.
    fn segments(&mut self) -> Result<(), Failure> {
        let dir = self.args.dir.as_path();
        let numbers = segment_numbers(dir)?;
        for (before, after) in numbers.iter().zip(numbers.iter().skip(1)) {
            if before + 1 < *after {
                let reason = format!("no segments between {before} and {after}");
                self.miss(Position { segment: before + 1, offset: 0 }, None, reason);
            }
        }
        let mut from = None;
        let mut progress = Progress::start("entries", progress::log_bytes(dir));
        loop {
            let mut options =
                ReadOptions::default().skip_damaged(true).entry_bytes_max(self.args.limit.entry_limit);
            if let Some(number) = from {
                options = options.from(Position { segment: number, offset: FIRST_ENTRY });
            }
            // Where reading stands: the segment, and the end of its last entry.
            let mut at = Position { segment: from.or(numbers.first().copied()).unwrap_or(0), offset: 0 };
            let reason = match WalReader::open(dir, options) {
                Err(error) if error.kind() != ErrorKind::NoSuchPosition => {
                    return Err(Failure::engine(dir, &error));
                }
                Err(error) => error.to_string(),
                Ok(mut reader) => match self.read(&mut reader, &numbers, &mut at, &mut progress)? {
                    None => return Ok(()),
                    Some(reason) => reason,
                },
            };
            self.miss(at, None, reason);
            match numbers.iter().find(|number| at.segment < **number) {
                Some(next) => from = Some(*next),
                None => return Ok(()),
            }
        }
    }

    /// Copies until the end, or until the segment at `at` cannot be read on; then says why.
    fn read(
        &mut self,
        reader: &mut WalReader,
        numbers: &[u64],
        at: &mut Position,
        progress: &mut Progress,
    ) -> Result<Option<String>, Failure> {
        let mut done = 0;
        loop {
            match reader.next() {
                Err(error) => return Ok(Some(error.to_string())),
                Ok(None) => return Ok(None),
                Ok(Some(ReadEvent::Entry(entry))) => {
                    *at = entry.end;
                    progress.step(done + entry.end.offset);
                    self.entry(&entry)?;
                }
                Ok(Some(ReadEvent::Malformed { at, error })) => {
                    self.miss(at, None, format!("malformed entry: {error}"));
                }
                Ok(Some(ReadEvent::Gap(gap, _))) => {
                    self.miss(gap.from, Some(gap.to_offset), gap.reason.to_string());
                }
                // The reader ends here, which is no reason to.
                Ok(Some(ReadEvent::Fault(fault))) => {
                    *at = fault.at;
                    return Ok(Some(fault.reason.to_string()));
                }
                Ok(Some(ReadEvent::SegmentEnd(summary))) => {
                    done += summary.bytes;
                    let next = numbers.iter().find(|number| summary.segment < **number);
                    *at = Position { segment: next.copied().unwrap_or(summary.segment), offset: 0 };
                }
                Ok(Some(_)) => {}
            }
        }
    }

    /// Writes one entry.
    fn entry(&mut self, entry: &LogEntry<'_>) -> Result<(), Failure> {
        let mut nameless = 0;
        let written = match &entry.payload {
            Payload::Series(payload) => {
                let series: Vec<Series> = payload.iter().map(|series| series.to_series()).collect();
                self.refs.extend(series.iter().map(|series| series.series_ref));
                self.wal.log_series(&series).map(|_| self.taken.series += series.len() as u64)
            }
            Payload::Samples(payload) => {
                let samples: Vec<Sample> = payload.iter().collect();
                nameless = samples.iter().filter(|sample| !self.refs.contains(&sample.series_ref)).count();
                self.wal.log_samples(&samples).map(|_| self.taken.samples += samples.len() as u64)
            }
            Payload::Deletes(payload) => {
                let stones: Vec<Stone> =
                    payload.iter().map(|row| stone(row.series_ref, row.interval)).collect();
                nameless = stones.iter().filter(|stone| !self.refs.contains(&stone.series_ref)).count();
                self.wal.log_deletes(&stones).map(|_| self.taken.deletes += stones.len() as u64)
            }
        };
        self.taken.nameless += nameless as u64;
        match written {
            Ok(()) => self.taken.entries += 1,
            // One item of it is larger than any that we write.
            Err(error) if error.kind() == ErrorKind::TooLarge => {
                self.miss(entry.at, Some(entry.end.offset), error.to_string());
            }
            Err(error) => return Err(write_failed(&self.args.to, &error)),
        }
        Ok(())
    }

    /// Notes and says what is not copied.
    fn miss(&mut self, from: Position, to_offset: Option<u64>, reason: String) {
        let upto = to_offset.map_or_else(String::new, |offset| format!(", up to offset {offset}"));
        exit::warn(format_args!("missing: {}{upto}: {reason}", faults::at(&self.args.dir, from)));
        self.missing.push(Missing { from, to_offset, reason });
    }
}

/// What the command came to.
struct Report {
    taken: Taken,
    missing: Vec<Missing>,
    quarantined: usize,
}

impl Report {
    /// Prints one JSON object.
    fn json(&self, out: &mut impl Write) -> io::Result<()> {
        let taken = &self.taken;
        let missing = self.missing.iter().map(|missing| {
            json!({
                "segment": missing.from.segment, "offset": missing.from.offset,
                "to_offset": missing.to_offset, "reason": missing.reason,
            })
        });
        let object = json!({
            "entries": taken.entries, "series": taken.series, "samples": taken.samples, "deletes": taken.deletes,
            "adopted_series": taken.adopted, "nameless": taken.nameless, "quarantined_files": self.quarantined,
            "missing": missing.collect::<Vec<Value>>(),
        });
        writeln!(out, "{object}")
    }

    /// Prints a few lines.
    fn text(&self, args: &SalvageArgs, out: &mut impl Write) -> io::Result<()> {
        let taken = &self.taken;
        let [entries, series, samples, deletes] =
            [taken.entries, taken.series, taken.samples, taken.deletes].map(text::count);
        let to = args.to.display();
        writeln!(
            out,
            "{to}: {entries} entries ({series} series, {samples} samples, {deletes} deletes), durable"
        )?;
        if taken.adopted != 0 {
            let count = text::count(taken.adopted);
            writeln!(out, "of them from {}: {count} series more, put first", adopt::FILE)?;
        }
        match self.missing.len() {
            0 => writeln!(out, "nothing is missing")?,
            1 => writeln!(out, "missing: 1 place, named on standard error")?,
            places => writeln!(out, "missing: {places} places, named on standard error")?,
        }
        if taken.nameless != 0 {
            let count = text::count(taken.nameless);
            writeln!(
                out,
                "copied, but of series that no entry before them names: {count} samples and deletes"
            )?;
        }
        if self.quarantined != 0 {
            let (files, dir) = (self.quarantined, args.dir.display());
            writeln!(out, "not looked into: {files} files in quarantine; next: `wal quarantine {dir} list`")?;
        }
        Ok(())
    }
}

/// A stone of one row, kept as it is.
fn stone(series_ref: SeriesRef, interval: Interval) -> Stone {
    Stone { series_ref, intervals: Intervals::from_verbatim(vec![interval]) }
}

/// The numbers of all segments, in order.
fn segment_numbers(dir: &Path) -> Result<Vec<u64>, Failure> {
    // A name that is not read must not be one that is never missed.
    let names = OsStorage::new(dir, Modes::default()).list(Folder::Log);
    let names = names.map_err(|error| Failure::file(dir, &error))?;
    let mut numbers: Vec<u64> =
        names.iter().filter_map(|listed| wal_segment::dir::segment_number(&listed.name)).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// Where the first entry of every segment begins.
const FIRST_ENTRY: u64 = wal_format::layout::HEADER_BYTES as u64;
