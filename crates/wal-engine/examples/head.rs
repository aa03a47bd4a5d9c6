//! The newest part of a time-series database, kept in memory and made safe by a log.
//!
//! `cargo run -p wal-engine --example head -- data/wal`. Takes an hour of samples of twenty series, dies without closing
//! the log, replays it, finds everything that was acknowledged, drops the first half hour as if it had been
//! written out in blocks, and opens the log once more to show what is left.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::io::{self, Write};

use wal_engine::{
    Labels, Position, ReplaySink, Sample, Series, SeriesPayload, SeriesRef, StoneRow, Wal, WalOptions,
};

/// A series in memory.
#[derive(Debug)]
struct Known {
    labels: Labels,
    samples: BTreeMap<i64, f64>,
}

/// All series, by reference and by labels.
#[derive(Debug, Default)]
struct Head {
    series: HashMap<SeriesRef, Known>,
    refs: HashMap<Labels, SeriesRef>,
}

impl Head {
    /// The reference of these labels, and whether they are new.
    fn reference(&mut self, labels: &Labels) -> (SeriesRef, bool) {
        if let Some(known) = self.refs.get(labels) {
            return (*known, false);
        }
        // Above all others, so that a reference in an old entry never means another series.
        let fresh = SeriesRef(self.series.keys().map(|known| known.0).max().unwrap_or(0) + 1);
        self.learn(fresh, labels.clone());
        (fresh, true)
    }

    fn learn(&mut self, series_ref: SeriesRef, labels: Labels) {
        self.refs.insert(labels.clone(), series_ref);
        self.series.entry(series_ref).or_insert(Known { labels, samples: BTreeMap::new() });
    }

    fn take(&mut self, batch: &[Sample]) {
        for sample in batch {
            // A sample whose series is unknown was logged before its series was truncated away.
            if let Some(known) = self.series.get_mut(&sample.series_ref) {
                known.samples.insert(sample.time_ms, sample.value);
            }
        }
    }

    /// Forgets what lies in blocks now, and series without a sample left.
    fn drop_before(&mut self, mint_ms: i64) {
        for known in self.series.values_mut() {
            known.samples = known.samples.split_off(&mint_ms);
        }
        self.series.retain(|_, known| !known.samples.is_empty());
        self.refs.retain(|_, series_ref| self.series.contains_key(series_ref));
    }

    fn samples(&self) -> usize {
        self.series.values().map(|known| known.samples.len()).sum()
    }
}

impl ReplaySink for Head {
    fn series(&mut self, _: Position, batch: &SeriesPayload<'_>) {
        for series in batch.iter() {
            self.learn(series.series_ref, series.labels.to_labels());
        }
    }

    fn samples(&mut self, _: Position, batch: &[Sample]) {
        self.take(batch);
    }

    fn deletes(&mut self, _: Position, batch: &[StoneRow]) {
        for row in batch {
            if let Some(known) = self.series.get_mut(&row.series_ref) {
                known.samples.retain(|time_ms, _| !row.interval.contains(*time_ms));
            }
        }
    }
}

const MINUTE_MS: i64 = 60_000;

fn main() -> Result<(), Box<dyn Error>> {
    let dir = std::env::args().nth(1).ok_or("usage: head LOG-DIRECTORY (a fresh one)")?;
    // Small segments, so that an hour fills several: only whole ones are truncated.
    let options = WalOptions::default().segment_bytes_max(2 << 10);
    let mut out = io::stdout().lock();

    let mut head = Head::default();
    let (wal, _) = Wal::open(&dir, options.clone())?.replay(&mut head)?;
    for minute in 0..60 {
        let mut batch = Vec::new();
        for host in 0..20 {
            let labels = Labels::from_pairs([("__name__", "load"), ("host", &format!("h{host}"))]);
            let (series_ref, is_new) = head.reference(&labels);
            if is_new {
                wal.log_series(&[Series { series_ref, labels }])?;
            }
            batch.push(Sample::new(series_ref.0, minute * MINUTE_MS, host as f64));
        }
        wal.commit(wal.log_samples(&batch)?)?;
        head.take(&batch);
    }
    let (series, samples) = (head.series.len(), head.samples());
    writeln!(
        out,
        "acknowledged: {series} series, {samples} samples in segments up to {}",
        wal.end().segment
    )?;
    drop((wal, head)); // The crash: nobody closed the log.

    let mut head = Head::default();
    let (wal, report) = Wal::open(&dir, options.clone())?.replay(&mut head)?;
    writeln!(
        out,
        "replayed {} entries: {} series, {} samples",
        report.stats.entries,
        head.series.len(),
        head.samples()
    )?;
    if (head.series.len(), head.samples()) != (series, samples) {
        return Err("the replay differs from what was acknowledged".into());
    }

    let mint_ms = 30 * MINUTE_MS;
    head.drop_before(mint_ms);
    let report = wal.truncate(mint_ms, |series_ref| head.series.contains_key(&series_ref))?;
    write!(out, "truncated\n{report}")?;
    wal.close()?;

    let mut left = Head::default();
    let (wal, _) = Wal::open(&dir, options)?.replay(&mut left)?;
    wal.close()?;
    left.drop_before(mint_ms); // A segment with newer samples stays whole.
    let example = left.series.values().next().ok_or("no series is left")?;
    writeln!(
        out,
        "left: {} series, {} samples, among them {}",
        left.series.len(),
        left.samples(),
        example.labels
    )?;
    if left.samples() != head.samples() { Err("truncation lost a sample".into()) } else { Ok(()) }
}
