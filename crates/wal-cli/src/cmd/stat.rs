//! `wal stat`: what people open a log to find out.
//!
//! Memory grows with the number of series and of distinct label values, not with the samples.

use std::collections::{HashMap, HashSet};
use std::io::{self, Write};
use std::path::Path;

use serde_json::json;
use wal_engine::{Fault, LogEntry, ReadEvent, ReadOptions, Verdict, WalReader};
use wal_format::Payload;
use wal_types::SeriesRef;

use crate::args::ReadArgs;
use crate::exit::{self, Failure, Outcome};
use crate::progress::Progress;
use crate::table::Table;
use crate::{faults, foreign, place, text};

/// Entries, items and bytes of one kind.
#[derive(Default)]
struct Kind {
    entries: u64,
    items: u64,
    bytes: u64,
}

/// What is known about one label name.
#[derive(Default)]
struct LabelUse {
    series: u64,
    values: HashSet<Box<[u8]>>,
    value_bytes_max: usize,
}

/// All figures.
struct Figures {
    verdict: Verdict,
    live: bool,
    segments: u64,
    disk_bytes: u64,
    malformed: u64,
    kinds: [Kind; 3],
    times_ms: Option<(i64, i64)>,
    refs: HashSet<SeriesRef>,
    labels: HashMap<Box<[u8]>, LabelUse>,
    metrics: HashMap<Box<[u8]>, u64>,
}

/// Reads the log and prints the figures.
pub(crate) fn run(args: &ReadArgs) -> Result<Outcome, Failure> {
    place::log_dir(&args.dir)?;
    foreign::note_if_empty(&args.dir);
    let figures = read(args)?;
    place::print(|out| if args.json { figures.json(out) } else { figures.table(out) })?;
    Ok(Outcome::Done)
}

/// Counts everything that can be read; faults are said and change no exit code here.
fn read(args: &ReadArgs) -> Result<Figures, Failure> {
    let dir = args.dir.as_path();
    let engine = |error| Failure::engine(dir, &error);
    let options = ReadOptions::default().skip_damaged(true).entry_bytes_max(args.limit.entry_limit);
    let mut reader = WalReader::open(dir, options).map_err(engine)?;
    let mut figures = Figures {
        verdict: Verdict::Clean,
        live: reader.live(),
        segments: 0,
        disk_bytes: 0,
        malformed: 0,
        kinds: Default::default(),
        times_ms: None,
        refs: HashSet::new(),
        labels: HashMap::new(),
        metrics: HashMap::new(),
    };
    let mut progress = Progress::start("entries");
    while let Some(event) = reader.next().map_err(engine)? {
        match event {
            ReadEvent::Entry(entry) => {
                progress.step(figures.disk_bytes + entry.end.offset);
                figures.entry(&entry);
            }
            ReadEvent::Malformed { at, error } => {
                progress.aside(|| exit::say(faults::malformed(dir, at, &error)));
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
            ReadEvent::SegmentEnd(summary) => {
                figures.segments += 1;
                figures.disk_bytes += summary.bytes;
            }
            _ => {}
        }
    }
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

    /// Counts one entry.
    fn entry(&mut self, entry: &LogEntry<'_>) {
        let (index, items) = match &entry.payload {
            Payload::Series(payload) => {
                for series in payload.iter().filter(|series| self.refs.insert(series.series_ref)) {
                    for label in series.labels.iter() {
                        count_label(&mut self.labels, label.name, label.value);
                        if label.name == METRIC_NAME {
                            *self.metrics.entry(label.value.into()).or_default() += 1;
                        }
                    }
                }
                (0, payload.len())
            }
            Payload::Samples(payload) => {
                for sample in payload.iter() {
                    let (min, max) = self.times_ms.unwrap_or((sample.time_ms, sample.time_ms));
                    self.times_ms = Some((min.min(sample.time_ms), max.max(sample.time_ms)));
                }
                (1, payload.len())
            }
            Payload::Deletes(payload) => (2, payload.len()),
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

    /// Label names, those with the most values first.
    fn widest(&self) -> Vec<(&[u8], &LabelUse)> {
        let mut names: Vec<_> = self.labels.iter().map(|(name, of)| (&**name, of)).collect();
        names
            .sort_by(|(a_name, a), (b_name, b)| b.values.len().cmp(&a.values.len()).then(a_name.cmp(b_name)));
        names.truncate(TOP);
        names
    }

    /// Metric names, those with the most series first.
    fn largest(&self) -> Vec<(&[u8], u64)> {
        let mut names: Vec<_> = self.metrics.iter().map(|(name, &series)| (&**name, series)).collect();
        names.sort_by(|(a_name, a), (b_name, b)| b.cmp(a).then(a_name.cmp(b_name)));
        names.truncate(TOP);
        names
    }

    /// Prints one JSON object.
    fn json(&self, out: &mut impl Write) -> io::Result<()> {
        let [series, samples, deletes] = &self.kinds;
        let kind = |kind: &Kind| json!({ "entries": kind.entries, "items": kind.items, "bytes": kind.bytes });
        let labels = self.widest().into_iter().map(|(name, of)| {
            json!({
                "name": String::from_utf8_lossy(name), "values": of.values.len(), "series": of.series,
                "longest_value_bytes": of.value_bytes_max,
            })
        });
        let metrics = self
            .largest()
            .into_iter()
            .map(|(name, series)| json!({ "name": String::from_utf8_lossy(name), "series": series }));
        let (entry_bytes, log_bytes) = self.bytes_per_sample();
        let object = json!({
            "verdict": self.verdict.to_string(),
            "live": self.live,
            "segments": self.segments,
            "bytes": self.disk_bytes,
            "malformed": self.malformed,
            "entries": { "series": kind(series), "samples": kind(samples), "deletes": kind(deletes) },
            "series": self.refs.len(),
            "samples": samples.items,
            "deletes": deletes.items,
            "bytes_per_sample": entry_bytes,
            "log_bytes_per_sample": log_bytes,
            "min_time": self.times_ms.map(|(min, _)| min),
            "max_time": self.times_ms.map(|(_, max)| max),
            "widest_labels": labels.collect::<Vec<_>>(),
            "largest_metrics": metrics.collect::<Vec<_>>(),
        });
        writeln!(out, "{object}")
    }

    /// Prints tables.
    fn table(&self, out: &mut impl Write) -> io::Result<()> {
        let mut table = Table::new(1, &["", "entries", "items", "bytes", ""]);
        for (name, kind) in ["series", "samples", "deletes"].iter().zip(&self.kinds) {
            let counts = [kind.entries, kind.items, kind.bytes].map(text::count);
            let size = text::bytes(kind.bytes);
            table.row([(*name).to_owned()].into_iter().chain(counts).chain([size]).collect());
        }
        table.write(out)?;
        let live = if self.live { ", live" } else { "" };
        writeln!(out)?;
        writeln!(out, "log       {}{live}", self.verdict)?;
        writeln!(out, "segments  {} of {} in all", text::count(self.segments), text::bytes(self.disk_bytes))?;
        writeln!(out, "series    {}", text::count(self.refs.len() as u64))?;
        if let (Some(entry_bytes), Some(log_bytes)) = self.bytes_per_sample() {
            writeln!(out, "a sample  {entry_bytes:.2} bytes; {log_bytes:.2} with all else in the log")?;
        }
        if let Some((min, max)) = self.times_ms {
            writeln!(out, "from      {} ({min})", text::utc(min))?;
            writeln!(out, "to        {} ({max})", text::utc(max))?;
        }
        if self.malformed != 0 {
            writeln!(out, "malformed {} entries, not counted above", text::count(self.malformed))?;
        }
        if !self.labels.is_empty() {
            writeln!(out)?;
            let mut table = Table::new(1, &["widest labels", "values", "series", "longest value", ""]);
            for (name, of) in self.widest() {
                let counts = [of.values.len() as u64, of.series, of.value_bytes_max as u64].map(text::count);
                table.row([shown(name)].into_iter().chain(counts).chain([String::new()]).collect());
            }
            table.write(out)?;
        }
        if !self.metrics.is_empty() {
            writeln!(out)?;
            let mut table = Table::new(1, &["metrics with most series", "series", ""]);
            for (name, series) in self.largest() {
                table.row(vec![shown(name), text::count(series), String::new()]);
            }
            table.write(out)?;
        }
        Ok(())
    }
}

/// Counts one label of a series seen for the first time.
fn count_label(labels: &mut HashMap<Box<[u8]>, LabelUse>, name: &[u8], value: &[u8]) {
    if !labels.contains_key(name) {
        labels.insert(name.into(), LabelUse::default());
    }
    let Some(of) = labels.get_mut(name) else { return };
    of.series += 1;
    of.value_bytes_max = of.value_bytes_max.max(value.len());
    if !of.values.contains(value) {
        of.values.insert(value.into());
    }
}

/// A name on one line of a table, whatever its bytes are.
fn shown(name: &[u8]) -> String {
    let name = name.escape_ascii().to_string();
    match name.char_indices().nth(NAME_CHARS_MAX) {
        Some((end, _)) => format!("{}...", name.get(..end).unwrap_or_default()),
        None => name,
    }
}

const METRIC_NAME: &[u8] = b"__name__";
/// How many names are shown.
const TOP: usize = 10;
/// A label's name may be megabytes; a table's cell may not.
const NAME_CHARS_MAX: usize = 60;
