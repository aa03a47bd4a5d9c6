//! `wal stat`: what people open a log to find out.
//!
//! Memory grows with the number of series and of distinct label values, not with the samples.

use std::io::{self, Write};
use std::path::Path;

use serde_json::{Value, json};
use wal_engine::{
    Fault, LogEntry, MarkStatus, Position, ReadEvent, ReadOptions, SegmentSummary, Verdict, WalReader,
    list_quarantine,
};
use wal_format::Payload;

use crate::args::ReadArgs;
use crate::cardinality::Cardinality;
use crate::colour::Colour;
use crate::exit::{self, Failure, Outcome};
use crate::progress::{self, Progress};
use crate::table::Table;
use crate::timeline::{Chart, Timeline};
use crate::{faults, foreign, place, text};

/// Entries, items and bytes of one kind.
#[derive(Default)]
struct Kind {
    entries: u64,
    items: u64,
    bytes: u64,
}

/// All figures.
struct Figures {
    verdict: Verdict,
    live: bool,
    segments: u64,
    disk_bytes: u64,
    /// The number of the segment read last, how far it holds entries, and how it ends.
    end: Option<(Position, String)>,
    /// Neighbours in the directory whose numbers are not neighbours.
    number_gaps: Vec<(u64, u64)>,
    malformed: u64,
    kinds: [Kind; 3],
    times_ms: Option<(i64, i64)>,
    cardinality: Cardinality,
    /// Samples and deletes of series that no entry names.
    nameless: u64,
    chart: Option<Chart>,
    mark: MarkStatus,
    quarantine: (u64, u64),
    leftovers: Vec<String>,
}

/// Reads the log and prints the figures.
pub(crate) fn run(args: &ReadArgs) -> Result<Outcome, Failure> {
    place::log_dir(&args.dir)?;
    foreign::note_if_empty(&args.dir);
    let figures = read(args)?;
    place::print(
        |out| if args.json { figures.json(out) } else { figures.table(Colour::of(out.get_ref()), out) },
    )?;
    Ok(Outcome::Done)
}

/// Counts everything that can be read; faults are said and change no exit code here.
fn read(args: &ReadArgs) -> Result<Figures, Failure> {
    let dir = args.dir.as_path();
    let engine = |error| Failure::engine(dir, &error);
    let options = ReadOptions::default().skip_damaged(true).entry_bytes_max(args.limit.entry_limit);
    let mut reader = WalReader::open(dir, options).map_err(engine)?;
    let kept = list_quarantine(dir).map_err(engine)?;
    let mut figures = Figures {
        verdict: Verdict::Clean,
        live: reader.live(),
        segments: 0,
        disk_bytes: 0,
        end: None,
        number_gaps: Vec::new(),
        malformed: 0,
        kinds: Default::default(),
        times_ms: None,
        cardinality: Cardinality::default(),
        nameless: 0,
        chart: None,
        mark: MarkStatus::Absent,
        quarantine: (kept.len() as u64, kept.iter().map(|file| file.bytes).sum()),
        leftovers: reader.leftovers().to_vec(),
    };
    let mut timeline = Timeline::new();
    let mut progress = Progress::start("entries", progress::log_bytes(dir));
    while let Some(event) = reader.next().map_err(engine)? {
        match event {
            ReadEvent::Entry(entry) => {
                progress.step(figures.disk_bytes + entry.end.offset);
                figures.entry(&entry, &mut timeline);
            }
            ReadEvent::Malformed { at, error } => {
                progress.aside(|| exit::warn(faults::malformed(dir, at, &error)));
                figures.malformed += 1;
            }
            ReadEvent::Gap(gap, fault) => {
                let next = figures.note(dir, &fault);
                progress.aside(|| exit::say(faults::gap(dir, &gap, &fault) + &next));
            }
            ReadEvent::Fault(fault) => {
                let next = figures.note(dir, &fault);
                progress.aside(|| exit::say(faults::fault(dir, &fault) + &next));
            }
            ReadEvent::SegmentEnd(summary) => figures.segment(&summary),
            _ => {}
        }
    }
    // Whether the mark fits is known only now that its segment was read.
    figures.mark = reader.mark();
    figures.chart = timeline.chart();
    Ok(figures)
}

impl Figures {
    /// The first fault gives the verdict, and the next step to be said with it.
    fn note(&mut self, dir: &Path, fault: &Fault) -> String {
        if self.verdict != Verdict::Clean {
            return String::new();
        }
        self.verdict = fault.verdict;
        faults::next_step(dir, fault)
    }

    /// Counts one segment that was read to its end.
    fn segment(&mut self, summary: &SegmentSummary) {
        if let Some((end, _)) = self.end.as_ref().filter(|(end, _)| end.segment + 1 < summary.segment) {
            self.number_gaps.push((end.segment, summary.segment));
        }
        self.segments += 1;
        self.disk_bytes += summary.bytes;
        let end = Position { segment: summary.segment, offset: summary.valid_bytes };
        self.end = Some((end, summary.ends.to_string()));
    }

    /// Counts one entry.
    fn entry(&mut self, entry: &LogEntry<'_>, timeline: &mut Timeline) {
        let (index, items) = match &entry.payload {
            Payload::Series(payload) => {
                payload.iter().for_each(|series| self.cardinality.add(&series));
                (0, payload.len())
            }
            Payload::Samples(payload) => {
                if let Some(times) = payload.times_ms() {
                    let (min, max) = self.times_ms.unwrap_or((times.mint_ms, times.maxt_ms));
                    self.times_ms = Some((min.min(times.mint_ms), max.max(times.maxt_ms)));
                }
                payload.for_each(|sample| {
                    timeline.add(sample.time_ms);
                    self.nameless += u64::from(!self.cardinality.knows(sample.series_ref));
                });
                (1, payload.len())
            }
            Payload::Deletes(payload) => {
                self.nameless +=
                    payload.iter().filter(|row| !self.cardinality.knows(row.series_ref)).count() as u64;
                (2, payload.len())
            }
        };
        if let Some(kind) = self.kinds.get_mut(index) {
            kind.entries += 1;
            kind.items += items as u64;
            kind.bytes += entry.end.offset.saturating_sub(entry.at.offset);
        }
    }

    /// Bytes a sample: of its entries, and of the whole log.
    fn bytes_per_sample(&self) -> (Option<f64>, Option<f64>) {
        let [_, samples, _] = &self.kinds;
        (text::ratio(samples.bytes, samples.items), text::ratio(self.disk_bytes, samples.items))
    }

    /// Bytes that are no entry: headers, prepared space, and what could not be read.
    fn other_bytes(&self) -> u64 {
        self.disk_bytes.saturating_sub(self.kinds.iter().map(|kind| kind.bytes).sum())
    }

    /// Bytes of the last segment behind the mark: what no sync has answered for, as far as the mark tells.
    fn bytes_behind_mark(&self) -> Option<u64> {
        let MarkStatus::Fits(mark) = self.mark else { return None };
        let (end, _) = self.end.as_ref().filter(|(end, _)| end.segment == mark.segment)?;
        Some(end.offset.saturating_sub(mark.offset))
    }

    /// Prints one JSON object.
    fn json(&self, out: &mut impl Write) -> io::Result<()> {
        let [series, samples, deletes] = &self.kinds;
        let kind = |kind: &Kind| json!({ "entries": kind.entries, "items": kind.items, "bytes": kind.bytes });
        let (entry_bytes, log_bytes) = self.bytes_per_sample();
        let place = |at: Position| json!({ "segment": at.segment, "offset": at.offset });
        let end = self
            .end
            .as_ref()
            .map(|(at, how)| json!({ "segment": at.segment, "offset": at.offset, "how": how }));
        let marked = match self.mark {
            MarkStatus::Fits(at) => place(at),
            _ => Value::Null,
        };
        let chart = self.chart.as_ref().map(|chart| {
            let row = |(start_ms, samples): &(i64, u64)| json!({ "from": start_ms, "samples": samples });
            json!({
                "step_ms": chart.step_ms, "before": chart.before, "after": chart.after,
                "rows": chart.rows.iter().map(row).collect::<Vec<_>>(),
            })
        });
        let gaps = self.number_gaps.iter().map(|(after, before)| json!({ "after": after, "before": before }));
        let mut object = json!({
            "verdict": self.verdict.to_string(),
            "live": self.live,
            "segments": self.segments,
            "bytes": self.disk_bytes,
            "malformed": self.malformed,
            "entries": { "series": kind(series), "samples": kind(samples), "deletes": kind(deletes) },
            "other_bytes": self.other_bytes(),
            "series": self.cardinality.series(),
            "samples": samples.items,
            "deletes": deletes.items,
            "nameless": self.nameless,
            "bytes_per_sample": entry_bytes,
            "log_bytes_per_sample": log_bytes,
            "min_time": self.times_ms.map(|(min, _)| min),
            "max_time": self.times_ms.map(|(_, max)| max),
            "samples_over_time": chart,
            "number_gaps": gaps.collect::<Vec<_>>(),
            "end": end,
            "mark": self.mark.to_string(),
            "durable": marked,
            "behind_mark_bytes": self.bytes_behind_mark(),
            "quarantine": { "files": self.quarantine.0, "bytes": self.quarantine.1 },
            "leftovers": self.leftovers,
        });
        if let Some(members) = object.as_object_mut() {
            members.extend(self.cardinality.json().map(|(name, list)| (name.to_owned(), list)));
        }
        writeln!(out, "{object}")
    }

    /// Prints tables.
    fn table(&self, colour: Colour, out: &mut impl Write) -> io::Result<()> {
        let mut table = Table::new(1, &["", "entries", "items", "bytes", ""]);
        for (name, kind) in ["series", "samples", "deletes"].iter().zip(&self.kinds) {
            let counts = [kind.entries, kind.items, kind.bytes].map(text::count);
            let size = text::bytes(kind.bytes);
            table.row([(*name).to_owned()].into_iter().chain(counts).chain([size]).collect());
        }
        let other = self.other_bytes();
        let size = text::bytes(other);
        table.row(["other", "", "", &text::count(other), &size].map(str::to_owned).to_vec());
        table.write(out)?;
        writeln!(out)?;
        self.facts(colour, out)?;
        if let Some(chart) = &self.chart {
            writeln!(out)?;
            chart.write(out)?;
        }
        for table in self.cardinality.tables() {
            writeln!(out)?;
            table.write(out)?;
        }
        Ok(())
    }

    /// Prints one line for each of the facts that are no list.
    fn facts(&self, colour: Colour, out: &mut impl Write) -> io::Result<()> {
        let live = if self.live { ", live" } else { "" };
        writeln!(out, "log         {}{live}", colour.verdict(self.verdict))?;
        writeln!(
            out,
            "segments    {} of {} in all",
            text::count(self.segments),
            text::bytes(self.disk_bytes)
        )?;
        for (after, before) in &self.number_gaps {
            writeln!(out, "            none between {after} and {before}")?;
        }
        if let Some((end, how)) = &self.end {
            writeln!(out, "ends        at {end}, {how}")?;
        }
        match self.bytes_behind_mark() {
            Some(bytes) => writeln!(out, "mark        {}, {} before the end", self.mark, text::bytes(bytes))?,
            None => writeln!(out, "mark        {}", self.mark)?,
        }
        match self.quarantine {
            (0, _) => writeln!(out, "quarantine  empty")?,
            (files, bytes) => {
                writeln!(out, "quarantine  {} files, {}", text::count(files), text::bytes(bytes))?
            }
        }
        writeln!(out, "series      {}", text::count(self.cardinality.series()))?;
        if let (Some(entry_bytes), Some(log_bytes)) = self.bytes_per_sample() {
            writeln!(out, "a sample    {entry_bytes:.2} bytes; {log_bytes:.2} with all else in the log")?;
        }
        if let Some((min, max)) = self.times_ms {
            writeln!(out, "from        {} ({min})", text::utc(min))?;
            writeln!(out, "to          {} ({max})", text::utc(max))?;
        }
        if self.nameless != 0 {
            let count = text::count(self.nameless);
            writeln!(
                out,
                "nameless    {count} samples and deletes of series that no entry before them names"
            )?;
        }
        if self.malformed != 0 {
            writeln!(out, "malformed   {} entries, not counted above", text::count(self.malformed))?;
        }
        if !self.leftovers.is_empty() {
            writeln!(out, "not touched {}", self.leftovers.join(", "))?;
        }
        Ok(())
    }
}
