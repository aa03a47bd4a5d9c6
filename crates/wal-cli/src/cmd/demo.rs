//! `wal demo`: what the log is for, shown in a few seconds.
//!
//! A second process of this program logs from several threads and reports every sample whose commit said
//! yes. In the middle it is killed without warning. Then the log is opened again, and everything that was
//! reported must be there, in order, once.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, Stdio};
use std::time::{Duration, Instant};

use wal_engine::{DecodeError, Position, ReplaySink, Wal};
use wal_format::SeriesPayload;
use wal_types::{Sample, StoneRow};

use super::demo_writer::{BASE_TIME_MS, SERIES_A_THREAD, STEP_MS, THREADS, options, series_ref};
use crate::args::DemoArgs;
use crate::exit::{Failure, Outcome};
use crate::place::{self, Output};
use crate::text::{self, bytes, count};

/// Runs the demonstration in the directory given, or in one that is removed afterwards.
pub(crate) fn run(args: &DemoArgs) -> Result<Outcome, Failure> {
    if let Some(dir) = &args.dir {
        place::fresh_dir(dir)?;
        return show(dir);
    }
    let dir = std::env::temp_dir().join(format!("wal-demo-{}", process::id()));
    fs::create_dir(&dir).map_err(|error| Failure::file(&dir, &error))?;
    let outcome = show(&dir);
    match &outcome {
        // Evidence is kept: a sample that is missing wants to be looked for.
        Err(Failure::Said { .. }) => {
            return outcome
                .map_err(|failure| failure.with_note(&format!("the log was left in {}", dir.display())));
        }
        _ => fs::remove_dir_all(&dir).map_err(|error| Failure::file(&dir, &error))?,
    }
    outcome
}

/// Prints as it goes: this is to be watched.
struct Stage(Output);

impl Stage {
    /// Prints one line at once.
    fn line(&mut self, line: &str) -> Result<(), Failure> {
        writeln!(self.0, "{line}").and_then(|()| self.0.flush()).map_err(Failure::output)
    }
}

/// The demonstration itself.
fn show(dir: &Path) -> Result<Outcome, Failure> {
    let mut stage = Stage(place::output()?);
    let engine = |error| Failure::engine(dir, &error);
    stage.line(&format!("a log in {}", dir.display()))?;
    stage.line(&format!(
        "1. {THREADS} threads log {} series; every batch of {SERIES_A_THREAD} samples is committed: durable before it is reported",
        THREADS * SERIES_A_THREAD
    ))?;
    let run = write_and_kill(dir)?;
    stage.line(&format!(
        "   {} commits said yes in {:.2} s: {} durable commits/s, {} samples/s",
        count(run.commits),
        run.time.as_secs_f64(),
        rate(run.commits, run.time),
        rate(run.samples(), run.time)
    ))?;
    stage.line("2. the writer was killed without warning (SIGKILL), in the middle of its work")?;
    let size = log_bytes(dir);

    let start = Instant::now();
    let mut checker = Checker::new();
    let (wal, report) = Wal::open(dir, options()).map_err(engine)?.replay(&mut checker).map_err(engine)?;
    let time = start.elapsed();
    stage.line(&format!(
        "3. opened again: {} samples of {} series in {} read back in {:.0} ms: {} samples/s",
        count(report.stats.samples),
        count(report.stats.series),
        bytes(size),
        time.as_secs_f64() * 1e3,
        rate(report.stats.samples, time)
    ))?;
    stage.line(&format!(
        "   the log was found {}{}",
        report.verdict,
        if report.cut_at.is_some() { "; what the crash left half written was set aside" } else { "" }
    ))?;
    checker.check(&run.acknowledged)?;
    stage.line(&format!(
        "4. checked: all {} acknowledged samples are there, in order, each once (and {} more that were on their way)",
        count(run.samples()),
        count(checker.samples.saturating_sub(run.samples()))
    ))?;

    // The first half is old news, and the last thread's series are gone for good.
    let steps = run.acknowledged.iter().copied().max().unwrap_or(0);
    let mint = BASE_TIME_MS + i64::try_from(steps / 2).unwrap_or(0) * STEP_MS;
    let start = Instant::now();
    let keep = |kept: wal_engine::SeriesRef| kept < series_ref(THREADS - 1, 0);
    let truncated = wal.truncate(mint, keep).map_err(engine)?;
    let time = start.elapsed();
    stage.line(&format!(
        "5. truncated before {} in {:.0} ms: {} segments removed, {} rewritten, {} series kept, {} dropped",
        text::utc(mint),
        time.as_secs_f64() * 1e3,
        count(truncated.segments_removed),
        count(truncated.segments_rewritten),
        count(truncated.series_kept),
        count(truncated.series_dropped)
    ))?;
    wal.close().map_err(engine)?;
    stage.line(&format!("   the log takes {} now, down from {}", bytes(log_bytes(dir)), bytes(size)))?;
    stage.line("nothing that was acknowledged was lost")?;
    Ok(Outcome::Done)
}

/// What the writer had reported when it was killed.
struct Run {
    /// For every thread the number of batches acknowledged.
    acknowledged: Vec<u64>,
    commits: u64,
    time: Duration,
}

impl Run {
    fn samples(&self) -> u64 {
        self.commits * SERIES_A_THREAD
    }
}

/// Starts the writer, listens to it for a while, and kills it.
fn write_and_kill(dir: &Path) -> Result<Run, Failure> {
    let this: PathBuf = std::env::current_exe().map_err(|error| {
        Failure::io(format_args!("the path of this program: {error}\n  next: run it by its full path"))
    })?;
    let mut child = Command::new(&this)
        .arg("demo-writer")
        .arg(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| Failure::file(&this, &error))?;
    let listened = listen(&mut child);
    // However listening went, no writer is left behind. A second kill does nothing.
    let killed = child.kill().and_then(|()| child.wait());
    let run = listened.map_err(|error| Failure::io(format_args!("the writer's reports: {error}")))?;
    let status = killed.map_err(|error| Failure::io(format_args!("the writer: {error}")))?;
    if status.signal() == Some(SIGKILL) && run.commits > 0 {
        return Ok(run);
    }
    Err(Failure::io(format_args!(
        "the writer ended by itself ({status}) after {} commits\n  next: look at its message above",
        run.commits
    )))
}

/// Reads reports, `THREAD BATCHES` a line, kills the writer when there are enough, and reads the rest:
/// what it had reported by then counts.
fn listen(child: &mut Child) -> io::Result<Run> {
    let mut run = Run {
        acknowledged: vec![0; usize::try_from(THREADS).unwrap_or(0)],
        commits: 0,
        time: Duration::ZERO,
    };
    let mut input = BufReader::new(child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?);
    let mut line = String::new();
    let start = Instant::now();
    loop {
        line.clear();
        if input.read_line(&mut line)? == 0 {
            return Ok(run);
        }
        // The last line may be cut off by the kill; then it was not reported.
        let Some((thread, batches)) = line.strip_suffix('\n').and_then(|line| line.split_once(' ')) else {
            continue;
        };
        let (Ok(thread), Ok(batches)) = (thread.parse::<usize>(), batches.parse()) else { continue };
        let Some(acknowledged) = run.acknowledged.get_mut(thread) else { continue };
        *acknowledged = batches;
        run.commits = run.acknowledged.iter().sum();
        if run.time.is_zero() && (start.elapsed() > LISTEN_TIME || run.commits >= LISTEN_COMMITS) {
            run.time = start.elapsed();
            child.kill()?;
        }
    }
}

/// Checks on replay that the samples of every series count up from one without a gap or a repetition.
struct Checker {
    /// For every thread and series the number of the last sample.
    last: Vec<u64>,
    samples: u64,
    wrong: Option<String>,
}

impl Checker {
    fn new() -> Self {
        Self {
            last: vec![0; usize::try_from(THREADS * SERIES_A_THREAD).unwrap_or(0)],
            samples: 0,
            wrong: None,
        }
    }

    /// Takes one sample; its value is its number.
    #[expect(clippy::cast_precision_loss, reason = "numbers of samples stay far below 2^53")]
    fn sample(&mut self, at: Position, sample: &Sample) {
        self.samples += 1;
        let index =
            sample.series_ref.0.checked_sub(series_ref(0, 0).0).and_then(|index| usize::try_from(index).ok());
        match index.and_then(|index| self.last.get_mut(index)) {
            Some(last) if sample.value == (*last + 1) as f64 => *last += 1,
            _ => {
                self.wrong.get_or_insert_with(|| {
                    format!("{at}: sample {} of series {} is out of order", sample.value, sample.series_ref)
                });
            }
        }
    }

    /// Every batch acknowledged to a thread must have been seen in all its series.
    fn check(&self, acknowledged: &[u64]) -> Result<(), Failure> {
        if let Some(wrong) = &self.wrong {
            return Err(Failure::log_at_fault(format_args!("{wrong}\n  next: report this as a bug")));
        }
        let series_a_thread = usize::try_from(SERIES_A_THREAD).unwrap_or(usize::MAX);
        for (thread, (&batches, last)) in
            acknowledged.iter().zip(self.last.chunks(series_a_thread)).enumerate()
        {
            if let Some(found) = last.iter().copied().find(|&found| found < batches) {
                return Err(Failure::log_at_fault(format_args!(
                    "thread {thread}: {batches} batches were acknowledged, only {found} are in the log\n  \
                     next: report this as a bug"
                )));
            }
        }
        Ok(())
    }
}

impl ReplaySink for Checker {
    fn series(&mut self, _at: Position, _batch: &SeriesPayload<'_>) {}

    fn samples(&mut self, at: Position, batch: &[Sample]) {
        for sample in batch {
            self.sample(at, sample);
        }
    }

    fn deletes(&mut self, at: Position, _batch: &[StoneRow]) {
        self.wrong.get_or_insert_with(|| format!("{at}: a delete that nobody logged"));
    }

    fn malformed(&mut self, at: Position, error: &DecodeError) {
        self.wrong.get_or_insert_with(|| format!("{at}: {error}"));
    }
}

/// How many a second, with its thousands set apart.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate fits 64 bits")]
fn rate(number: u64, time: Duration) -> String {
    count(text::per_second(number, time) as u64)
}

/// The bytes of all files in the log's directory itself.
fn log_bytes(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).filter(|of| of.is_file()).map(|of| of.len()).sum()
}

const SIGKILL: i32 = 9;
const LISTEN_TIME: Duration = Duration::from_millis(1500);
const LISTEN_COMMITS: u64 = 40_000;
