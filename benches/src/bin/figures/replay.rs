//! Rows F and G: what a log gives back, hot from the page cache.

use std::path::Path;

use wal_benches::{Sum, Workload, cluster_series, open};
use wal_engine::{Position, ReplaySink, Series, SeriesPayload, Wal, WalOptions};

use crate::floor::ChecksumScan;
use crate::run::{Answer, BATCH, Run, Size, timed};
use crate::table::{Goal, Line, Unit};

/// Samples a second that the reference replays.
const REFERENCE_SAMPLES: f64 = 31e6;
/// Series a second that the reference replays.
const REFERENCE_SERIES: f64 = 0.7e6;
/// Decoding threads; two are the default on two cores.
pub(crate) const THREADS: [usize; 2] = [1, 2];

/// Row F: samples into a sink that sums, beside reading and checking the same bytes.
pub(crate) fn samples(run: &Run) -> Answer<Vec<Line>> {
    let dir = run.fresh_dir()?;
    let written = write_samples(dir.path(), run.size, 0)?;
    let mut lines = Vec::new();
    let mut rounds = THREADS.map(|_| (Vec::new(), Vec::new()));
    let scans = [ChecksumScan::new(dir.path(), 1)?, ChecksumScan::new(dir.path(), 2)?];
    for _ in 0..run.rounds {
        for ((threads, scan), (scanned, replayed)) in THREADS.into_iter().zip(&scans).zip(&mut rounds) {
            let (seconds, ()) = timed(|| scan.run())?;
            scanned.push(written as f64 / seconds);
            let mut sum = Sum::default();
            let seconds = replay(dir.path(), threads, &mut sum)?;
            if sum.items.1 != written || !sum.values.is_finite() {
                return Err(format!("{} samples came back of {written}", sum.items.1).into());
            }
            replayed.push(written as f64 / seconds);
        }
    }
    for ((threads, times), (scanned, replayed)) in THREADS.into_iter().zip([8.0, 12.0]).zip(rounds) {
        let threads = threads_text(threads);
        let replay = format!("replay samples, {threads}, all values summed");
        lines.push(Line::new(format!("read and check the same log, {threads}"), Unit::Rate, scanned.clone()));
        let reference = Goal::Reference { rate: REFERENCE_SAMPLES, times };
        lines.push(Line::new(replay.clone(), Unit::Rate, replayed.clone()).goal(reference));
        let floor = Goal::AtLeast { part: 0.5, of: "read and check", rounds: scanned };
        lines.push(Line::new("the same, beside the floor", Unit::Rate, replayed).goal(floor));
    }
    Ok(lines)
}

/// Row G: series whose labels are looked at where they lie, and series that are kept.
pub(crate) fn series(run: &Run) -> Answer<Vec<Line>> {
    let dir = run.fresh_dir()?;
    let series = cluster_series(0..run.size.series);
    let wal = open(dir.path(), WalOptions::default())?;
    for batch in series.chunks(BATCH) {
        wal.log_series(batch)?;
    }
    wal.close()?;
    let count = series.len();
    let mut rounds = THREADS.map(|_| (Vec::new(), Vec::new()));
    for _ in 0..run.rounds {
        for (threads, (borrowed, owned)) in THREADS.into_iter().zip(&mut rounds) {
            let mut sink = Borrowed::default();
            borrowed.push(count as f64 / replay(dir.path(), threads, &mut sink)?);
            let mut kept = Owned(Vec::with_capacity(count));
            owned.push(count as f64 / replay(dir.path(), threads, &mut kept)?);
            if sink.series != count || kept.0 != series {
                return Err("not the series that were written came back".into());
            }
        }
    }
    let mut lines = Vec::new();
    for (threads, (borrowed, owned)) in THREADS.into_iter().zip(rounds) {
        let threads = threads_text(threads);
        for (what, rounds, times) in
            [("every label read in place", borrowed, 10.0), ("owned and kept", owned, 5.0)]
        {
            let goal = Goal::Reference { rate: REFERENCE_SERIES, times };
            lines.push(Line::new(format!("replay series, {threads}, {what}"), Unit::Rate, rounds).goal(goal));
        }
    }
    Ok(lines)
}

pub(crate) fn threads_text(threads: usize) -> String {
    format!("{threads} thread{}", if threads == 1 { "" } else { "s" })
}

/// Seconds until the log is open for appending, everything delivered.
pub(crate) fn replay(dir: &Path, threads: usize, sink: &mut impl ReplaySink) -> Answer<f64> {
    let options = WalOptions::default().replay_threads(threads);
    let (seconds, wal) = timed(|| Ok(Wal::open(dir, options)?.replay(sink)?.0))?;
    wal.close()?;
    Ok(seconds)
}

/// Writes a log of samples, durable and in the page cache, with so many series before them. Returns the samples.
pub(crate) fn write_samples(dir: &Path, size: &Size, series: u64) -> Answer<u64> {
    let wal = open(dir, WalOptions::default())?;
    let mut workload = Workload::new(size.replay_series);
    if series != 0 {
        for batch in workload.series().chunks(BATCH) {
            wal.log_series(batch)?;
        }
    }
    for _ in 0..size.replay_batches {
        wal.log_samples(workload.next_batch(BATCH))?;
    }
    wal.close()?;
    Ok((size.replay_batches * BATCH) as u64)
}

/// Reads every label and keeps none.
#[derive(Default)]
struct Borrowed {
    series: usize,
    label_bytes: usize,
}

impl ReplaySink for Borrowed {
    fn series(&mut self, _at: Position, batch: &SeriesPayload<'_>) {
        for view in batch.iter() {
            self.series += 1;
            for label in view.labels.iter() {
                self.label_bytes += label.name.len() + label.value.len();
            }
        }
    }
}

/// Keeps every series.
struct Owned(Vec<Series>);

impl ReplaySink for Owned {
    fn series(&mut self, _at: Position, batch: &SeriesPayload<'_>) {
        self.0.extend(batch.iter().map(|view| view.to_series()));
    }
}
