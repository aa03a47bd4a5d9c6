//! `wal bench`: what this disk and this build can do, bounded in time and bytes.
//!
//! Every measurement works on a log of its own below the directory given, and removes it. The figures
//! are single runs for orientation; the repository's benchmarks are the ones with medians.

use std::fs;
use std::hint::black_box;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal, raise};
use serde_json::{Value, json};
use wal_engine::{Error, Position, ReplaySink, Wal, WalOptions};
use wal_types::{Sample, SeriesRef};

use crate::args::BenchArgs;
use crate::exit::{Failure, Outcome};
use crate::progress::{self, Stretch};
use crate::table::Table;
use crate::{place, text};

/// The result of one measurement.
struct Figure {
    name: String,
    kind: &'static str,
    /// How many threads commit.
    threads: Option<u64>,
    /// How long half of the commits took at most, and 99 of a hundred.
    percentiles: Option<[Duration; 2]>,
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
    let interrupted = remove_when_interrupted(place.clone());
    fs::create_dir(&place).map_err(|error| Failure::file(&place, &error))?;
    let figures = measure(args, &place, bounds);
    // Files that were removed under the log are no failure to tell: the signal ends the process.
    while interrupted.load(Ordering::Acquire) {
        thread::park();
    }
    let removed = remove(&place);
    let figures = figures?;
    removed?;
    place::print(|out| if args.json { print_json(&figures, out) } else { print_table(&figures, out) })?;
    Ok(Outcome::Done)
}

/// What the log answered, in terms of a place that is not there any more.
fn refused(args: &BenchArgs, error: &Error) -> Failure {
    let room = format!("make room on the disk, or give less than --mebibytes {}", args.mebibytes);
    Failure::engine_or_full(&args.dir, error, &room)
}

/// Removes what was written also when the user has seen enough. Ends the process by the same signal, and says
/// from then on that it does.
fn remove_when_interrupted(place: PathBuf) -> Arc<AtomicBool> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let heard = Arc::clone(&interrupted);
    let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect();
    // Threads that begin later have it from this one. Without it a signal ends the process at once, as ever.
    if signals.thread_block().is_err() {
        return interrupted;
    }
    thread::spawn(move || {
        let Ok(signal) = signals.wait() else { return };
        heard.store(true, Ordering::Release);
        // The logs are still written to, so a name may come after its folder was listed.
        for _ in 0..REMOVALS {
            if fs::remove_dir_all(&place).is_ok() {
                break;
            }
        }
        let _ = signals.thread_unblock();
        let _ = raise(signal);
    });
    interrupted
}

/// All measurements in turn.
fn measure(args: &BenchArgs, place: &Path, bounds: Bounds) -> Result<Vec<Figure>, Failure> {
    let log = place.join("append");
    let engine = |error| refused(args, &error);
    let append = append(&log, bounds).map_err(engine)?;
    // At once, so that the disk holds one log at a time.
    let replay = replay(&log).map_err(engine)?;
    remove(&log)?;
    let mut figures = vec![append];
    for threads in [1, 8, 64] {
        let log = place.join(format!("commit-{threads}"));
        figures.push(commit(&log, threads, bounds).map_err(engine)?);
        remove(&log)?;
    }
    figures.push(replay);
    Ok(figures)
}

fn remove(dir: &Path) -> Result<(), Failure> {
    fs::remove_dir_all(dir).map_err(|error| Failure::file(dir, &error))
}

/// Appends large batches without waiting for any of them, then syncs once.
fn append(dir: &Path, bounds: Bounds) -> Result<Figure, Error> {
    let (wal, _) = Wal::open(dir, WalOptions::default())?.replay(&mut ())?;
    let mut batch = samples(APPEND_SAMPLES);
    let (mut operations, mut bytes) = (0, 0);
    let name = "append, one sync at the end";
    let _drawn = Stretch::start(name, bounds.time);
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
        name: name.to_owned(),
        kind: "append",
        threads: None,
        percentiles: None,
        operations,
        samples: operations * APPEND_SAMPLES,
        bytes,
        time,
    })
}

/// Commits one small batch after the other in every thread.
fn commit(dir: &Path, threads: u64, bounds: Bounds) -> Result<Figure, Error> {
    let (wal, _) = Wal::open(dir, WalOptions::default())?.replay(&mut ())?;
    let name = format!("durable commits, {threads} thread{}", if threads == 1 { "" } else { "s" });
    let _drawn = Stretch::start(&name, bounds.time);
    let budget = (bounds.bytes / (threads * COMMIT_ENTRY_BYTES)).max(1);
    let start = Instant::now();
    let mut took = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    let mut batch = samples(COMMIT_SAMPLES);
                    let mut took = Vec::new();
                    let mut now = start.elapsed();
                    while (took.len() as u64) < budget && now < bounds.time {
                        for sample in &mut batch {
                            sample.time_ms += STEP_MS;
                        }
                        wal.commit(wal.log_samples(&batch)?)?;
                        let then = std::mem::replace(&mut now, start.elapsed());
                        took.push(now - then);
                    }
                    Ok::<_, Error>(took)
                })
            })
            .collect();
        let mut all = Vec::new();
        for thread in threads {
            match thread.join() {
                Ok(took) => all.extend(took?),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok::<_, Error>(all)
    })?;
    let time = start.elapsed();
    let bytes = wal.metrics().appended_bytes;
    wal.close()?;
    took.sort_unstable();
    let of_a_hundred = |part: usize| took.get(took.len() * part / 100).copied().unwrap_or_default();
    let operations = took.len() as u64;
    Ok(Figure {
        name,
        kind: "commit",
        threads: Some(threads),
        percentiles: Some([50, 99].map(of_a_hundred)),
        operations,
        samples: operations * COMMIT_SAMPLES,
        bytes,
        time,
    })
}

/// Reads back what [`append`] wrote.
fn replay(dir: &Path) -> Result<Figure, Error> {
    let mut sum = Sum::default();
    let start = Instant::now();
    let (wal, report) = progress::replay(Wal::open(dir, WalOptions::default())?, &mut sum)?;
    black_box(sum.values);
    let time = start.elapsed();
    let bytes = wal.metrics().disk_bytes;
    wal.close()?;
    Ok(Figure {
        name: "replay".to_owned(),
        kind: "replay",
        threads: None,
        percentiles: None,
        operations: report.stats.entries,
        samples: sum.samples,
        bytes,
        time,
    })
}

/// Looks at every sample, as whoever replays would: without that they need not even be decoded.
#[derive(Default)]
struct Sum {
    samples: u64,
    values: f64,
}

impl ReplaySink for Sum {
    fn samples(&mut self, _at: Position, batch: &[Sample]) {
        self.samples += batch.len() as u64;
        self.values += batch.iter().map(|sample| sample.value).sum::<f64>();
    }
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
            let [p50, p99] = figure.percentiles.map_or([None; 2], |both| both.map(Some));
            json!({
                "name": figure.name,
                "kind": figure.kind,
                "threads": figure.threads,
                "p50_us": p50.map(microseconds),
                "p99_us": p99.map(microseconds),
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

fn microseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// Prints a table.
fn print_table(figures: &[Figure], out: &mut impl Write) -> io::Result<()> {
    let mut table = Table::new(1, &["", "operations/s", "samples/s", "MB/s", "p50 us", "p99 us", ""]);
    for figure in figures {
        let rate = |number| text::per_second(number, figure.time);
        let note = format!("({} in {:.2} s)", text::bytes(figure.bytes), figure.time.as_secs_f64());
        let [p50, p99] = figure.percentiles.map_or([String::new(), String::new()], |both| {
            both.map(|time| format!("{:.0}", microseconds(time)))
        });
        table.row(vec![
            figure.name.clone(),
            format!("{:.0}", rate(figure.operations)),
            format!("{:.0}", rate(figure.samples)),
            format!("{:.1}", rate(figure.bytes) / 1e6),
            p50,
            p99,
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
/// How often to try to remove what is still written to.
const REMOVALS: usize = 100;
