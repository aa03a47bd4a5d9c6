//! How much of everything is measured, and where.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;

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

/// How much of everything.
pub(crate) struct Size {
    pub(crate) rounds: usize,
    /// Series of ten labels, for the rows of series.
    pub(crate) series: u64,
    /// Batches of [`BATCH`] samples in the log that is replayed.
    pub(crate) replay_batches: usize,
    /// Series before them.
    pub(crate) replay_series: u64,
}

/// What the published table is made with.
pub(crate) const FULL: Size =
    Size { rounds: 7, series: 200_000, replay_batches: 20_000, replay_series: 100_000 };

/// Whether everything works, in seconds.
pub(crate) const SMOKE: Size = Size { rounds: 1, series: 2_000, replay_batches: 200, replay_series: 1_000 };

/// Items in a batch, where nothing else is said.
pub(crate) const BATCH: usize = 1000;

/// How many seconds it takes, and what it gives.
pub(crate) fn timed<T>(work: impl FnOnce() -> Answer<T>) -> Answer<(f64, T)> {
    let start = Instant::now();
    let done = work()?;
    Ok((start.elapsed().as_secs_f64(), done))
}
