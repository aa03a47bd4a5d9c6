//! Progress on standard error, drawn only where standard error is a terminal, and without colours.

use std::fs::{self, File};
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};
use wal_engine::{
    ReadProgress, Recovery, RecoveryMode, RecoveryReport, ReplaySink, TruncateReport, Wal,
    inspect_with_progress,
};
use wal_types::SeriesRef;

/// A bar with bytes, rate and time left, or a spinner where nobody knows how much is to come.
pub(crate) struct Progress {
    bar: ProgressBar,
    steps: u64,
    drawn: Instant,
    what: &'static str,
}

impl Progress {
    /// Starts to count `what` (in the plural: "entries", "lines"), out of `total_bytes` if that is known.
    pub(crate) fn start(what: &'static str, total_bytes: Option<u64>) -> Self {
        let bar = if !io::stderr().is_terminal() {
            ProgressBar::hidden()
        } else if let Some(total) = total_bytes.filter(|total| *total != 0) {
            // A template that is wrong would be a bare bar, and a test looks at what is drawn.
            let style = ProgressStyle::with_template(BAR).unwrap_or_else(|_| ProgressStyle::default_bar());
            ProgressBar::new(total).with_style(style)
        } else {
            ProgressBar::new_spinner().with_style(ProgressStyle::default_spinner())
        };
        if total_bytes.is_some_and(|total| DRAWN_AT_ONCE_BYTES <= total) {
            bar.tick();
        }
        Self { bar, steps: 0, drawn: Instant::now(), what }
    }

    /// One more step; `bytes` is the whole of the bytes done so far.
    pub(crate) fn step(&mut self, bytes: u64) {
        self.steps += 1;
        // Away from a terminal a step costs one comparison: a log holds millions of entries.
        if !self.bar.is_hidden() && self.drawn.elapsed() >= DRAWING_INTERVAL {
            self.drawn = Instant::now();
            let steps = HumanCount(self.steps);
            if self.bar.length().is_some() {
                // Steps without a name are looks at something that counts by itself.
                if !self.what.is_empty() {
                    self.bar.set_message(format!(", {steps} {}", self.what));
                }
                self.bar.set_position(bytes);
            } else {
                self.bar.set_message(format!("{steps} {}, {}", self.what, HumanBytes(bytes)));
            }
            self.bar.tick();
        }
    }

    /// Runs `say` with the bar out of the way.
    pub(crate) fn aside(&self, say: impl FnOnce()) {
        self.bar.suspend(say);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// A bar over a stretch of time, drawn by a thread of its own until it is dropped.
pub(crate) struct Stretch(Option<(Sender<()>, JoinHandle<()>)>);

impl Stretch {
    /// Begins with `what`, which takes so long at most.
    pub(crate) fn start(what: &str, most: Duration) -> Self {
        if !io::stderr().is_terminal() {
            return Self(None);
        }
        let style = ProgressStyle::with_template(STRETCH).unwrap_or_else(|_| ProgressStyle::default_bar());
        let length = u64::try_from(most.as_millis()).unwrap_or(u64::MAX);
        let bar = ProgressBar::new(length).with_style(style).with_message(what.to_owned());
        let (end, ended) = mpsc::channel();
        bar.tick();
        let drawer = thread::spawn(move || {
            while ended.recv_timeout(DRAWING_INTERVAL) == Err(RecvTimeoutError::Timeout) {
                bar.set_position(u64::try_from(bar.elapsed().as_millis()).unwrap_or(u64::MAX).min(length));
                bar.tick();
            }
            bar.finish_and_clear();
        });
        Self(Some((end, drawer)))
    }
}

impl Drop for Stretch {
    fn drop(&mut self) {
        if let Some((end, drawer)) = self.0.take() {
            drop(end);
            // Whatever is said next must not be drawn over.
            let _ = drawer.join();
        }
    }
}

/// Bytes of all segment files of a log, as a bar counts them; what cannot be looked at is not counted.
pub(crate) fn log_bytes(dir: &Path) -> Option<u64> {
    let files = fs::read_dir(dir).ok()?.flatten();
    let segments = files.filter(|file| {
        file.file_name().to_str().is_some_and(|name| wal_segment::dir::segment_number(name).is_some())
    });
    Some(segments.filter_map(|file| file.metadata().ok()).map(|metadata| metadata.len()).sum())
}

/// Bytes of standard input, where it is a file.
pub(crate) fn input_bytes() -> Option<u64> {
    let input = File::from(io::stdin().as_fd().try_clone_to_owned().ok()?);
    input.metadata().ok().filter(fs::Metadata::is_file).map(|metadata| metadata.len())
}

/// Replays a log that is opened for writing, with a bar.
pub(crate) fn replay(
    recovery: Recovery,
    sink: &mut impl ReplaySink,
) -> wal_engine::Result<(Wal, RecoveryReport)> {
    watch(&recovery.progress(), || recovery.replay(sink))
}

/// Truncates, with a bar.
pub(crate) fn truncate(
    wal: &Wal,
    mint_ms: i64,
    keep: impl FnMut(SeriesRef) -> bool,
) -> wal_engine::Result<TruncateReport> {
    let progress = ReadProgress::default();
    watch(&progress, || wal.truncate_with_progress(mint_ms, &progress, keep))
}

/// Reads a log to tell what opening it would do, with a bar.
pub(crate) fn inspect(dir: &Path, mode: RecoveryMode) -> wal_engine::Result<RecoveryReport> {
    let progress = ReadProgress::default();
    watch(&progress, || inspect_with_progress(dir, mode, &progress))
}

/// Draws a bar while `work` reads a log.
fn watch<T>(progress: &ReadProgress, work: impl FnOnce() -> T) -> T {
    if !io::stderr().is_terminal() {
        return work();
    }
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let drawer = scope.spawn(|| {
            let mut drawn = None;
            loop {
                let total = progress.total_bytes();
                if total != 0 {
                    let drawn = drawn.get_or_insert_with(|| Progress::start("", Some(total)));
                    drawn.step(progress.done_bytes());
                }
                // What fails never reaches the total. One look there is, however soon it is over.
                if ended.load(Ordering::Acquire) {
                    return;
                }
                thread::park_timeout(if total == 0 { FIRST_LOOK } else { DRAWING_INTERVAL });
            }
        });
        let done = work();
        ended.store(true, Ordering::Release);
        drawer.thread().unpark();
        done
    })
}

const BAR: &str = "{bar:24} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left{msg}";
const STRETCH: &str = "{bar:24} {msg}, {eta} left at most";
const DRAWING_INTERVAL: Duration = Duration::from_millis(100);
/// How long to wait for a total.
const FIRST_LOOK: Duration = Duration::from_millis(1);
/// A smaller log is read before anyone could read a bar.
const DRAWN_AT_ONCE_BYTES: u64 = 1 << 20;
