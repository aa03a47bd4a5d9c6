//! `wal bench`: what this disk and this build can do, bounded in time and bytes.
//!
//! Every measurement works on a log of its own below the directory given, and removes it. The figures
//! are single runs for orientation; the repository's benchmarks are the ones with medians.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wal_engine::{Error, Wal, WalOptions};
use wal_types::{Sample, SeriesRef};

use crate::args::BenchArgs;
use crate::exit::{Failure, Outcome};
use crate::table::Table;
use crate::{place, text};

/// The result of one measurement.
struct Figure {
    name: String,
    /// Appends, commits, or entries replayed.
    operations: u64,
    samples: u64,
    bytes: u64,
    time: Duration,
}

/// The bounds of one measurement.
#[derive(Clone, Copy)]
struct Bounds {
    time: Duration,
    bytes: u64,
}

/// Measures in a directory that is removed afterwards, and prints the figures.
pub(crate) fn run(args: &BenchArgs) -> Result<Outcome, Failure> {
    place::existing_dir(&args.dir)?;
    let bounds = Bounds { time: Duration::from_secs(args.seconds), bytes: args.mebibytes << 20 };
    let place = args.dir.join(format!("wal-bench-{}", process::id()));
    fs::create_dir(&place).map_err(|error| Failure::file(&place, &error))?;
    let figures = measure(&place, bounds);
    let removed = fs::remove_dir_all(&place).map_err(|error| Failure::file(&place, &error));
    let figures = figures?;
    removed?;
    place::print(|out| if args.json { print_json(&figures, out) } else { print_table(&figures, out) })?;
    Ok(Outcome::Done)
}

/// All measurements in turn.
fn measure(place: &Path, bounds: Bounds) -> Result<Vec<Figure>, Failure> {
    let log = place.join("append");
    let mut figures = vec![
        append(&log, bounds).map_err(|error| Failure::engine(&log, &error))?,
        replay(&log).map_err(|error| Failure::engine(&log, &error))?,
    ];
    for threads in [1, 8, 64] {
        let log = place.join(format!("commit-{threads}"));
        figures.push(commit(&log, threads, bounds).map_err(|error| Failure::engine(&log, &error))?);
    }
    // Replay was measured on what append left behind, but is the last step of a log's life.
    if figures.len() > 1 {
        let replayed = figures.remove(1);
        figures.push(replayed);
    }
    Ok(figures)
}

/// Appends large batches without waiting for any of them, then syncs once.
fn append(dir: &Path, bounds: Bounds) -> Result<Figure, Error> {
    let (wal, _) = Wal::open(dir, WalOptions::default())?.replay(&mut ())?;
    let mut batch = samples(APPEND_SAMPLES);
    let (mut operations, mut bytes) = (0, 0);
    let start = Instant::now();
    while start.elapsed() < bounds.time && bytes < bounds.bytes {
        for sample in &mut batch {
            sample.time_ms += STEP_MS;
        }
        wal.log_samples(&batch)?;
        operations += 1;
        // Counted low on purpose: an entry of this kind is never smaller.
        bytes += APPEND_SAMPLES * wal_format::layout::SAMPLE_BYTES_MIN as u64;
    }
    wal.sync()?;
    let time = start.elapsed();
    let bytes = wal.metrics().appended_bytes;
    wal.close()?;
    Ok(Figure {
        name: "append, one sync at the end".to_owned(),
        operations,
        samples: operations * APPEND_SAMPLES,
        bytes,
        time,
    })
}

/// Commits one small batch after the other in every thread.
fn commit(dir: &Path, threads: u64, bounds: Bounds) -> Result<Figure, Error> {
    let (wal, _) = Wal::open(dir, WalOptions::default())?.replay(&mut ())?;
    let start = Instant::now();
    let budget = bounds.bytes / (threads * COMMIT_ENTRY_BYTES);
    let operations = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    let mut batch = samples(COMMIT_SAMPLES);
                    let mut commits = 0;
                    while commits < budget && start.elapsed() < bounds.time {
                        for sample in &mut batch {
                            sample.time_ms += STEP_MS;
                        }
                        wal.commit(wal.log_samples(&batch)?)?;
                        commits += 1;
                    }
                    Ok::<_, Error>(commits)
                })
            })
            .collect();
        let mut operations = 0;
        for thread in threads {
            match thread.join() {
                Ok(commits) => operations += commits?,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok::<u64, Error>(operations)
    })?;
    let time = start.elapsed();
    let bytes = wal.metrics().appended_bytes;
    wal.close()?;
    let name = format!("durable commits, {threads} thread{}", if threads == 1 { "" } else { "s" });
    Ok(Figure { name, operations, samples: operations * COMMIT_SAMPLES, bytes, time })
}

/// Reads back what [`append`] wrote.
fn replay(dir: &Path) -> Result<Figure, Error> {
    let start = Instant::now();
    let (wal, report) = Wal::open(dir, WalOptions::default())?.replay(&mut ())?;
    let time = start.elapsed();
    let bytes = wal.metrics().disk_bytes;
    wal.close()?;
    Ok(Figure {
        name: "replay".to_owned(),
        operations: report.stats.entries,
        samples: report.stats.samples,
        bytes,
        time,
    })
}

/// A scrape of that many series.
fn samples(count: u64) -> Vec<Sample> {
    let sample = |index| Sample { series_ref: SeriesRef(index), time_ms: 1_700_000_000_000, value: 1.5 };
    (1..=count).map(sample).collect()
}

/// Prints one JSON object.
fn print_json(figures: &[Figure], out: &mut impl Write) -> io::Result<()> {
    let figures: Vec<Value> = figures
        .iter()
        .map(|figure| {
            json!({
                "name": figure.name,
                "operations": figure.operations,
                "samples": figure.samples,
                "bytes": figure.bytes,
                "seconds": figure.time.as_secs_f64(),
                "operations_per_second": text::per_second(figure.operations, figure.time),
                "samples_per_second": text::per_second(figure.samples, figure.time),
                "bytes_per_second": text::per_second(figure.bytes, figure.time),
            })
        })
        .collect();
    writeln!(out, "{}", json!({ "version": env!("CARGO_PKG_VERSION"), "figures": figures }))
}

/// Prints a table.
fn print_table(figures: &[Figure], out: &mut impl Write) -> io::Result<()> {
    let mut table = Table::new(1, &["", "operations/s", "samples/s", "MB/s", ""]);
    for figure in figures {
        let rate = |number| text::per_second(number, figure.time);
        let note = format!("({} in {:.2} s)", text::bytes(figure.bytes), figure.time.as_secs_f64());
        table.row(vec![
            figure.name.clone(),
            format!("{:.0}", rate(figure.operations)),
            format!("{:.0}", rate(figure.samples)),
            format!("{:.1}", rate(figure.bytes) / 1e6),
            note,
        ]);
    }
    table.write(out)
}

/// Samples in a batch that is appended: about 11 KiB.
const APPEND_SAMPLES: u64 = 1000;
/// Samples in a batch that is committed: about 128 bytes.
const COMMIT_SAMPLES: u64 = 10;
const COMMIT_ENTRY_BYTES: u64 = 136;
const STEP_MS: i64 = 15_000;
