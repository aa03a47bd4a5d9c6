//! Row I: truncation, keeping half of the series and keeping all.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use wal_benches::{cluster_series, open};
use wal_engine::{Sample, SeriesRef, TruncateReport, WalOptions};

use crate::run::{Answer, BATCH, Run, bytes_text, link_log, segments, timed};
use crate::table::{Goal, Line, Unit};

/// Series a second that the reference goes through while it truncates.
const REFERENCE_SERIES: f64 = 0.4e6;
/// Full segments that are truncated.
const SEGMENTS: u64 = 8;
/// All samples in these logs are of this time or before it.
const PAST_MS: i64 = 1_000_000;

/// Row I: eight segments of series, beside copying their bytes.
pub(crate) fn series(run: &Run) -> Answer<Vec<Line>> {
    let segment_bytes = run.size.truncate_segment_bytes;
    let master = run.fresh_dir()?;
    let series = write_segments(master.path(), segment_bytes, SEGMENTS)?;
    let (mut half, mut half_seconds, mut all, mut copied) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..run.rounds {
        let (seconds, report) = truncate(run, master.path(), segment_bytes, |series| series.0 % 2 == 0)?;
        if report.series_kept.abs_diff(series / 2) > 1 || report.series_kept + report.series_dropped != series
        {
            return Err(format!("not half of {series} series was kept: {report}").into());
        }
        half.push(series as f64 / seconds);
        half_seconds.push(seconds);
        let (seconds, report) = truncate(run, master.path(), segment_bytes, |_| true)?;
        if report.series_kept != series {
            return Err(format!("not all {series} series were kept: {report}").into());
        }
        all.push(seconds);
        copied.push(copy(run, master.path())?);
    }
    let what = format!("truncate {SEGMENTS} segments of {} of series", bytes_text(segment_bytes));
    let reference = Goal::Reference { rate: REFERENCE_SERIES, times: 10.0 };
    let floor = Goal::AtMost { times: 1.5, of: "copying", rounds: copied.clone() };
    Ok(vec![
        Line::new(format!("{what}, half kept"), Unit::Rate, half).goal(reference),
        Line::new("the same, in time", Unit::Millis, half_seconds),
        Line::new("read the same bytes, write them again and sync", Unit::Millis, copied),
        Line::new(format!("{what}, all kept"), Unit::Millis, all).goal(floor),
    ])
}

/// Writes full segments of series, each with one entry of old samples, so that keeping all series is not keeping all
/// bytes; and one more segment, which is appended to. Returns the series in the full ones.
pub(crate) fn write_segments(dir: &Path, segment_bytes: u64, segments: u64) -> Answer<u64> {
    let wal = open(dir, WalOptions::default().segment_bytes_max(segment_bytes))?;
    // Batches small enough that a segment of any size is filled well.
    let batch = BATCH.min(usize::try_from(segment_bytes / 4096)?).max(1);
    let first = wal.end().segment;
    let mut sampled = first;
    let (mut logged, mut next) = (0, 0);
    loop {
        let series: Vec<_> = cluster_series(next..next + batch as u64);
        next += batch as u64;
        let at = wal.log_series(&series)?;
        if first + segments <= at.segment {
            break;
        }
        logged += batch as u64;
        if sampled <= at.segment {
            sampled = at.segment + 1;
            wal.log_samples(&[Sample { series_ref: SeriesRef(next), time_ms: PAST_MS, value: 1.0 }])?;
        }
    }
    wal.close()?;
    Ok(logged)
}

/// Seconds and report of a truncation of a copy of the log, which stays as it is.
pub(crate) fn truncate(
    run: &Run,
    master: &Path,
    segment_bytes: u64,
    keep: impl FnMut(SeriesRef) -> bool,
) -> Answer<(f64, TruncateReport)> {
    let dir = run.fresh_dir()?;
    link_log(master, dir.path(), None)?;
    let wal = open(dir.path(), WalOptions::default().segment_bytes_max(segment_bytes))?;
    let done = timed(|| Ok(wal.truncate(PAST_MS + 1, keep)?))?;
    wal.close()?;
    Ok(done)
}

/// Seconds that it takes to copy the segments, each durable as those of a truncation are.
fn copy(run: &Run, master: &Path) -> Answer<f64> {
    let dir = run.fresh_dir()?;
    let mut buffer = vec![0; 256 << 10];
    let (seconds, ()) = timed(|| {
        for (name, _) in segments(master)? {
            let mut from = File::open(master.join(&name))?;
            let mut to = File::create(dir.path().join(&name))?;
            loop {
                let read = from.read(&mut buffer)?;
                if read == 0 {
                    break;
                }
                to.write_all(buffer.get(..read).unwrap_or_default())?;
            }
            to.sync_data()?;
        }
        Ok(())
    })?;
    Ok(seconds)
}
