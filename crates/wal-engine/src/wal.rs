//! The log: one handle, shared by all threads that append, commit and truncate.

use std::io as stdio;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use wal_format::{EntryKind, ItemTooLarge};
use wal_segment::{LockGuard, OsStorage, Position, SegmentStats, Storage};
use wal_types::{Sample, Series, SeriesRef, Stone};

use crate::append::{Appender, Condition, Content, Framed, Placed, with_frame_buffer};
use crate::backup::{self, BackupReport};
use crate::commit::{Commits, own_slot};
use crate::commit_future::CommitFuture;
use crate::error::{Error, ErrorKind, Result};
use crate::io::{Io, IoStart};
use crate::mark::{MarkFile, Trail};
use crate::metrics::{Counters, WalMetrics, millis_since};
use crate::options::WalOptions;
use crate::plan::{AppendAt, Kept};
use crate::progress::ReadProgress;
use crate::recovery::Recovery;
use crate::repair::RepairPlan;
use crate::shared::{self, Gate, Shared, Signal};
use crate::sync::{self, JoinHandle, Mutex};
use crate::truncate::{self, TruncateReport};

/// A write-ahead log that is open for appending.
///
/// Shared by reference between threads; all methods may run beside each other. Appending touches no
/// file: [`commit`](Self::commit) or [`sync`](Self::sync) make entries durable, or the flush interval
/// does. Dropping the log writes what is in memory, syncs nothing, and logs a failure;
/// [`close`](Self::close) is the way that reports.
#[derive(Debug)]
pub struct Wal {
    pub(crate) shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    dir: PathBuf,
    closed: bool,
    _lock: LockGuard,
}

/// Encodes leading items of a batch as one framed entry.
type Frame<T> = fn(&[T], u32, &mut Vec<u8>) -> std::result::Result<wal_format::Framed, ItemTooLarge>;

/// What recovery hands over.
pub(crate) struct Start {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) lock: LockGuard,
    pub(crate) options: WalOptions,
    pub(crate) kept: Vec<Kept>,
    pub(crate) append_at: AppendAt,
    /// Everything before it is durable: the end, but where something is left to be repaired.
    pub(crate) durable: Position,
    pub(crate) mark: Option<MarkFile>,
    pub(crate) trail: Trail,
    pub(crate) repair: Option<RepairPlan>,
    /// Faults that recovery found.
    pub(crate) corruptions: u64,
}

impl Wal {
    /// Takes the writer's lock on the log in `dir`, which is created if it is missing, and looks at
    /// what is there. Entries can be appended after [`Recovery::replay`]. Blocks on file I/O.
    ///
    /// # Errors
    /// When another writer holds the log, `dir` is no directory, a segment has an unknown version, or
    /// a file cannot be read. Nothing is changed then.
    pub fn open(dir: impl AsRef<Path>, options: WalOptions) -> Result<Recovery> {
        let storage = OsStorage::new(dir.as_ref(), options.modes);
        Recovery::open(Arc::new(storage), options)
    }

    /// Like [`open`](Self::open), on any storage: a simulated disk, one that fails, one that records.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub fn open_storage(storage: Arc<dyn Storage>, options: WalOptions) -> Result<Recovery> {
        Recovery::open(storage, options)
    }

    pub(crate) fn start(start: Start) -> Result<Self> {
        let Start { storage, lock, options, kept, append_at, durable, mark, trail, repair, corruptions } =
            start;
        let end = append_at.position();
        let mut appender = Appender::new(end, options.buffer_bytes, options.segment_bytes_max);
        if repair.is_some() {
            appender.condition = Condition::Stalled;
        }
        let dir = storage.path("");
        let io = Io::start(IoStart {
            storage: Arc::clone(&storage),
            options: options.clone(),
            kept,
            append_at,
            mark,
            trail,
            repair,
        })?;
        let wants_thread = options.background_thread;
        let shared = Arc::new(Shared {
            storage,
            options,
            appender: Mutex::new(appender),
            io: Mutex::new(io),
            commits: Commits::new(durable),
            counters: Counters { corruptions: corruptions.into(), ..Counters::default() },
            prepared: Mutex::new(None),
            signal: Signal::default(),
            gate: Gate::default(),
        });
        shared.io.lock().count_disk(&shared);
        shared.count_quarantine();
        let mut wal = Self { shared, thread: None, dir, closed: false, _lock: lock };
        if wants_thread {
            let shared = Arc::clone(&wal.shared);
            match sync::spawn("wal", move || shared::run(&shared)) {
                Ok(thread) => wal.thread = Some(thread),
                Err(error) => return Err(Error::file("start the thread of", wal.dir.clone(), error)),
            }
        }
        Ok(wal)
    }

    /// Logs series. Returns the position behind the last entry, to be committed; an empty batch
    /// returns the current end and writes nothing. Does not wait for the disk, unless both buffers are
    /// full: then it writes one.
    ///
    /// A batch above the entry limit is split, and then survives entry by entry.
    ///
    /// # Errors
    /// An item above the entry limit, a full disk (nothing of this batch is in then, or a first part of
    /// a split one), or a poisoned log.
    pub fn log_series(&self, batch: &[Series]) -> Result<Position> {
        self.log(batch, wal_format::frame_series, |part| {
            let mut stats = SegmentStats::default();
            stats.add_series(part.iter().map(|series| series.series_ref));
            Content::Series(stats)
        })
    }

    /// Logs samples; like [`log_series`](Self::log_series).
    ///
    /// # Errors
    /// As for [`log_series`](Self::log_series).
    pub fn log_samples(&self, batch: &[Sample]) -> Result<Position> {
        self.log(batch, wal_format::frame_samples, Content::of_samples)
    }

    /// Logs deletes, a row for each interval; like [`log_series`](Self::log_series). A stone without
    /// intervals writes nothing.
    ///
    /// # Errors
    /// As for [`log_series`](Self::log_series).
    pub fn log_deletes(&self, batch: &[Stone]) -> Result<Position> {
        self.log(batch, wal_format::frame_deletes, |part| {
            let mut stats = SegmentStats::default();
            stats.add_deletes(part.iter().flat_map(Stone::rows));
            Content::Deletes(stats)
        })
    }

    /// Makes everything before `position` durable, in whatever segment it lies, and returns when it
    /// is. Blocks on a sync, shared with everyone who waits at the moment.
    ///
    /// A position at or below the durable one answers yes at once, also when the log is poisoned.
    ///
    /// # Errors
    /// A position behind the end; a full disk (the entries stay in memory, in order, and the next call
    /// tries again); a failed sync, which poisons the log. A commit refused may still become durable.
    pub fn commit(&self, position: Position) -> Result<()> {
        let shared = &*self.shared;
        if !shared.is_pending(position)? {
            return Ok(());
        }
        // Nobody else at it: the shortest way is our own. Otherwise wait for the thread, which syncs
        // once for all who wait.
        if self.thread.is_some() {
            let free = if shared.commits.is_quiet() { shared.io.try_lock() } else { None };
            let Some(mut io) = free else {
                let slot = own_slot();
                if shared.commits.enqueue(position, Arc::clone(&slot))? {
                    shared.signal.work();
                    return slot.wait();
                }
                return Ok(());
            };
            return shared.sync_up_to(&mut io, position);
        }
        shared.sync_up_to(&mut shared.io.lock(), position)
    }

    /// Like [`commit`](Self::commit) for a task: a future that the log's thread completes. It needs no
    /// particular runtime, holds no reference to the log, and may be dropped at any time.
    ///
    /// Never blocks, unless the log has no background thread: then the first poll syncs.
    pub fn commit_async(&self, position: Position) -> CommitFuture {
        CommitFuture::new(Arc::clone(&self.shared), position, self.thread.is_some())
    }

    /// Makes everything logged so far durable. Blocks on a sync.
    ///
    /// # Errors
    /// As for [`commit`](Self::commit).
    pub fn sync(&self) -> Result<()> {
        let end = self.end();
        // Asked even when everything is durable already, so that a poisoned or stalled log says so.
        self.shared.sync()?;
        self.commit(end)
    }

    /// The position behind the last entry logged.
    #[must_use]
    pub fn end(&self) -> Position {
        self.shared.appender.lock().end()
    }

    /// Everything before this position is durable.
    #[must_use]
    pub fn durable_position(&self) -> Position {
        self.shared.commits.durable()
    }

    /// Drops what is older than `mint_ms` (milliseconds): sealed segments without a sample at or after
    /// it are rewritten to the series for which `keep` says yes and the deletes of those that still
    /// reach to `mint_ms`, or removed where nothing of them is kept. The segment being appended to is
    /// never touched. Blocks on file I/O; appends, commits and readers go on meanwhile, and `keep` runs
    /// with no lock of theirs held, so it may append and commit. Durable when it returns.
    ///
    /// A segment that is damaged is left as it is, and reported. On a full disk, prepared space and the
    /// reserve are given back first, and what finds no room is tried again in smaller runs; runs that
    /// keep nothing need none.
    ///
    /// # Errors
    /// An I/O error: then nothing was changed, or the log is poisoned and the next open finishes the
    /// truncation. [`ErrorKind::Nested`] from within `keep`.
    pub fn truncate(&self, mint_ms: i64, keep: impl FnMut(SeriesRef) -> bool) -> Result<TruncateReport> {
        self.truncate_with_progress(mint_ms, &ReadProgress::default(), keep)
    }

    /// Truncates as [`truncate`](Self::truncate) does, and tells `progress`, which others may look at, how much of
    /// the segments that are old enough is read.
    ///
    /// # Errors
    /// As for [`truncate`](Self::truncate).
    pub fn truncate_with_progress(
        &self,
        mint_ms: i64,
        progress: &ReadProgress,
        keep: impl FnMut(SeriesRef) -> bool,
    ) -> Result<TruncateReport> {
        let _inside = self.shared.gate.enter()?;
        let began = Instant::now();
        let done = truncate::run(&self.shared, mint_ms, progress, keep);
        let took_ms = millis_since(began);
        let counters = &self.shared.counters;
        match &done {
            Ok(report) => {
                Counters::add(&counters.truncations, 1);
                Counters::add(&counters.corruptions, report.damaged.len() as u64);
                tracing::info!(
                    mint_ms,
                    segments_removed = report.segments_removed,
                    segments_rewritten = report.segments_rewritten,
                    series_kept = report.series_kept,
                    bytes = report.bytes_freed,
                    took_ms,
                    "log truncated"
                );
            }
            Err(error) => {
                Counters::add(&counters.truncations_failed, 1);
                tracing::error!(%error, mint_ms, took_ms, "truncation failed");
            }
        }
        done
    }

    /// Copies the log, as it is at this moment, into a directory that is absent or empty, while it is
    /// being appended to. Sealed segments are hard-linked where the file system can, else copied. The
    /// copy is durable when this returns; it opens like any log. Blocks on file I/O; truncations wait.
    ///
    /// # Errors
    /// When the directory is not empty, a file cannot be copied, or the log cannot write.
    pub fn backup(&self, to: impl AsRef<Path>) -> Result<BackupReport> {
        let _inside = self.shared.gate.enter()?;
        backup::run(&self.shared, to.as_ref())
    }

    /// A snapshot of the counters. Waits for no file.
    #[must_use]
    pub fn metrics(&self) -> WalMetrics {
        let shared = &self.shared;
        let (condition, end, accepted) = {
            let appender = shared.appender.lock();
            (appender.condition.clone(), appender.end(), appender.accepted())
        };
        WalMetrics {
            segment: end.segment,
            poisoned: u64::from(matches!(condition, Condition::Poisoned(_))),
            stalled: u64::from(matches!(condition, Condition::Stalled)),
            ..shared.counters.snapshot(accepted)
        }
    }

    /// The log's directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Ends the log: everything logged is durable, files are trimmed to their last entry, the thread
    /// has ended, and the lock is free. A closed log cannot be used by mistake:
    ///
    /// ```compile_fail
    /// # fn main() -> Result<(), wal_engine::Error> {
    /// # let (wal, _) = wal_engine::Wal::open("wal", Default::default())?.replay(&mut ())?;
    /// wal.close()?;
    /// wal.log_samples(&[])?; // the log is gone
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// What failed, if anything: entries not yet durable may be lost then. The lock is free all the
    /// same.
    pub fn close(mut self) -> Result<()> {
        self.stop_thread();
        self.closed = true;
        let began = Instant::now();
        let closed = {
            let mut io = self.shared.io.lock();
            let closed = io.close(&self.shared);
            self.shared.end();
            closed
        };
        self.shared.discard_prepared();
        if closed.is_ok() {
            let end = self.end();
            tracing::info!(
                segment = end.segment,
                offset = end.offset,
                took_ms = millis_since(began),
                "log closed"
            );
        }
        closed
    }

    fn stop_thread(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.shared.signal.stop();
            if thread.join().is_err() {
                tracing::error!("the log's thread panicked");
            }
        }
    }

    /// Encodes and places a batch, split where it passes the entry limit.
    fn log<T>(&self, batch: &[T], frame: Frame<T>, content: fn(&[T]) -> Content) -> Result<Position> {
        let mut rest = batch;
        let mut end = None;
        while !rest.is_empty() {
            end = with_frame_buffer(|buffer| {
                let limit = self.shared.options.entry_bytes_max;
                let framed = frame(rest, limit, buffer).map_err(too_large)?;
                let (part, behind) = rest.split_at(framed.items.min(rest.len()));
                rest = behind;
                if framed.bytes == 0 {
                    return Ok(end);
                }
                let entry = Framed { bytes: buffer, checksum: framed.checksum, content: content(part) };
                self.append(&entry).map(Some)
            })?;
        }
        match end {
            Some(end) => Ok(end),
            None => self.usable_end(),
        }
    }

    /// The end, if the log takes entries.
    fn usable_end(&self) -> Result<Position> {
        let appender = self.shared.appender.lock();
        match &appender.condition {
            Condition::Poisoned(cause) => Err(Error::poisoned(cause)),
            _ => Ok(appender.end()),
        }
    }

    fn append(&self, entry: &Framed<'_>) -> Result<Position> {
        let shared = &*self.shared;
        loop {
            let placed = shared.appender.lock().place(entry)?;
            match placed {
                Placed::At { end, wake } => {
                    if wake && self.thread.is_some() {
                        shared.signal.work();
                    }
                    return Ok(end);
                }
                Placed::Full => shared.io.lock().flush(shared, false)?,
                // Every call tries again: the disk may have room by now.
                Placed::Refused(Condition::Stalled) => shared.io.lock().flush(shared, true)?,
                Placed::Refused(Condition::Poisoned(cause)) => return Err(Error::poisoned(&cause)),
                Placed::Refused(Condition::Open) => {}
            }
        }
    }
}

impl Drop for Wal {
    fn drop(&mut self) {
        self.stop_thread();
        if self.closed {
            return;
        }
        let mut io = self.shared.io.lock();
        if let Err(error) = io.flush(&self.shared, true) {
            tracing::error!(%error, "dropping the log lost entries that were not written");
        }
        self.shared.end();
        drop(io);
        self.shared.discard_prepared();
        let unsynced = self.shared.counters.written_bytes.load(Ordering::Relaxed)
            - self.shared.counters.synced_bytes.load(Ordering::Relaxed);
        tracing::debug!(bytes = unsynced, "log dropped without close");
    }
}

/// The directory of a log must be there for those who only look.
pub(crate) fn require_directory(dir: &Path) -> Result<()> {
    match std::fs::metadata(dir) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(not_a_directory(dir, "is not a directory")),
        Err(error) if error.kind() == stdio::ErrorKind::NotFound => {
            Err(not_a_directory(dir, "does not exist"))
        }
        Err(error) => Err(Error::file("read", dir.to_path_buf(), error)),
    }
}

fn not_a_directory(dir: &Path, what: &str) -> Error {
    Error::new(
        ErrorKind::NotADirectory,
        format!("{} {what}", dir.display()),
        "give the directory that holds the segments (000001 and so on)",
    )
    .with_path(dir.to_path_buf())
}

pub(crate) fn locked(dir: &Path, who: &str) -> Error {
    Error::new(
        ErrorKind::Locked,
        format!("the log in {} is in use by {who}", dir.display()),
        "stop that process first; reading commands work beside it",
    )
    .with_path(dir.to_path_buf())
}

fn too_large(error: ItemTooLarge) -> Error {
    let next = "split the item, or raise entry_bytes_max";
    Error::new(ErrorKind::TooLarge, "an item is above the entry limit", next).with_cause(&error)
}

/// Whether truncation looks into entries of this kind.
pub(crate) fn is_kept_kind(kind: EntryKind) -> bool {
    kind != EntryKind::Samples
}
