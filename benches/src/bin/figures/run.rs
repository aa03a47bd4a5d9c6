//! How much of everything is measured, and where.

use std::error::Error;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use wal_segment::{Listing, Modes, OsStorage};

use crate::table::Line;

/// What a measurement answers.
pub(crate) type Answer<T> = Result<T, Box<dyn Error>>;

/// One row of the table: a group of lines that are measured in turn, round by round.
pub(crate) struct Row {
    pub(crate) letter: char,
    pub(crate) measure: fn(&Run) -> Answer<Vec<Line>>,
}

/// What was asked for.
pub(crate) struct Run {
    pub(crate) size: &'static Size,
    /// Where logs are written.
    pub(crate) dir: PathBuf,
    /// A directory on a file system with a journal.
    pub(crate) journal: Option<PathBuf>,
    pub(crate) rounds: usize,
}

impl Run {
    /// A directory that is removed when it is dropped.
    pub(crate) fn fresh_dir(&self) -> Answer<tempfile::TempDir> {
        fresh_dir_in(&self.dir)
    }
}

/// A directory below another that is removed when it is dropped.
pub(crate) fn fresh_dir_in(dir: &Path) -> Answer<tempfile::TempDir> {
    tempfile::Builder::new()
        .prefix("wal-figures-")
        .tempdir_in(dir)
        .map_err(|error| format!("{}: {error}", dir.display()).into())
}

/// The names and sizes of a log's segments, in order.
pub(crate) fn segments(dir: &Path) -> Answer<Vec<(String, u64)>> {
    let listing = Listing::read(&OsStorage::new(dir, Modes::default()), &[])?;
    let sized = |name: String| Ok((name.clone(), std::fs::metadata(dir.join(name))?.len()));
    listing.segments.into_iter().map(|segment| sized(segment.name)).collect()
}

/// Makes a log of the segments of another, or of the first ones that come to so many bytes (one at least). They are
/// linked, and the last one, which is appended to, is copied: the other log stays as it is.
pub(crate) fn link_log(from: &Path, to: &Path, bytes_max: Option<u64>) -> Answer<()> {
    let mut bytes = 0;
    let mut names = Vec::new();
    for (name, len) in segments(from)? {
        bytes += len;
        if names.is_empty() || bytes <= bytes_max.unwrap_or(u64::MAX) {
            names.push(name);
        }
    }
    let last = names.pop().ok_or("a log without segments")?;
    for name in names {
        std::fs::hard_link(from.join(&name), to.join(&name))?;
    }
    std::fs::copy(from.join(&last), to.join(&last))?;
    // Not to be waited for by what is measured next.
    File::open(to.join(&last))?.sync_all()?;
    Ok(())
}

/// How much of everything.
pub(crate) struct Size {
    /// Whether what comes out is held against the goals.
    pub(crate) judged: bool,
    pub(crate) rounds: usize,
    /// Series of ten labels, for the rows of series.
    pub(crate) series: u64,
    /// Batches of [`BATCH`] samples that are appended by one or more threads.
    pub(crate) append_batches: usize,
    /// How often, at most, and how long appends are paced.
    pub(crate) latency_rounds: usize,
    pub(crate) latency_time: Duration,
    /// How often, at most, commits go through rotations, and through how many.
    pub(crate) rotation_rounds: usize,
    pub(crate) rotations: usize,
    /// Bytes of a segment there.
    pub(crate) segment_bytes: u64,
    pub(crate) bare_syncs: usize,
    /// Batches of [`BATCH`] samples in the log that is replayed.
    pub(crate) replay_batches: usize,
    /// Series before them.
    pub(crate) replay_series: u64,
    /// Bytes of each segment that is truncated.
    pub(crate) truncate_segment_bytes: u64,
    /// Bytes of the log whose replay is looked at for memory; it is also written and replayed to a quarter.
    pub(crate) memory_bytes: u64,
    pub(crate) memory_rounds: usize,
    /// Commits of each of many threads.
    pub(crate) memory_commits: u64,
    /// Small segments: how often, at most, how large, and how many of them are truncated.
    pub(crate) small_rounds: usize,
    pub(crate) small_segment_bytes: u64,
    pub(crate) small_segments: [u64; 2],
}

/// What the published table is made with.
pub(crate) const FULL: Size = Size {
    judged: true,
    rounds: 7,
    series: 200_000,
    append_batches: 10_000,
    latency_rounds: 5,
    latency_time: Duration::from_secs(1),
    rotation_rounds: 3,
    rotations: 20,
    segment_bytes: 16 << 20,
    bare_syncs: 3_000,
    replay_batches: 20_000,
    replay_series: 100_000,
    truncate_segment_bytes: 32 << 20,
    memory_bytes: 4 << 30,
    memory_rounds: 3,
    memory_commits: 200,
    small_rounds: 3,
    small_segment_bytes: 64 << 10,
    small_segments: [10, 1000],
};

/// Whether everything works, in seconds.
pub(crate) const SMOKE: Size = Size {
    judged: false,
    rounds: 1,
    series: 2_000,
    append_batches: 80,
    latency_rounds: 1,
    latency_time: Duration::from_millis(10),
    rotation_rounds: 1,
    rotations: 2,
    segment_bytes: 1 << 18,
    bare_syncs: 20,
    replay_batches: 200,
    replay_series: 1_000,
    truncate_segment_bytes: 1 << 18,
    memory_bytes: 8 << 20,
    memory_rounds: 1,
    memory_commits: 2,
    small_rounds: 1,
    small_segment_bytes: 16 << 10,
    small_segments: [2, 6],
};

/// A number of bytes that is a power of two, as a person says it.
pub(crate) fn bytes_text(bytes: u64) -> String {
    if bytes < 1 << 20 { format!("{} KiB", bytes >> 10) } else { format!("{} MiB", bytes >> 20) }
}

/// Items in a batch, where nothing else is said.
pub(crate) const BATCH: usize = 1000;

/// How many seconds it takes, and what it gives.
pub(crate) fn timed<T>(work: impl FnOnce() -> Answer<T>) -> Answer<(f64, T)> {
    let start = Instant::now();
    let done = work()?;
    Ok((start.elapsed().as_secs_f64(), done))
}
