//! Reads a log without touching it: entries with their positions, faults, and how segments end.

use std::path::Path;
use std::sync::Arc;

use wal_format::{DecodeError, Payload};
use wal_segment::{Fault, Modes, OsStorage, Position, ReadMethod, SegmentStats, Storage};

use crate::error::{Error, ErrorKind, Result};
use crate::mark::MarkStatus;
use crate::report::Gap;
use crate::scan::{Event, Finished, Scan, ScanOptions, SegmentEnd};
use crate::view::View;
use crate::wal::require_directory;

/// How a [`WalReader`] reads.
#[derive(Clone, Copy, Debug)]
pub struct ReadOptions {
    from: Option<Position>,
    skip_damaged: bool,
    entry_bytes_max: u64,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self { from: None, skip_damaged: false, entry_bytes_max: 128 << 20 }
    }
}

impl ReadOptions {
    /// Start at the entry at this position, instead of at the first one.
    #[must_use]
    pub fn from(mut self, from: Position) -> Self {
        self.from = Some(from);
        self
    }

    /// Go on behind damage, at the next valid entry.
    #[must_use]
    pub fn skip_damaged(mut self, skip: bool) -> Self {
        self.skip_damaged = skip;
        self
    }

    /// The largest entry that is read, in bytes. Default 128 MiB; a valid one above it is the error
    /// [`ErrorKind::TooLarge`].
    #[must_use]
    pub fn entry_bytes_max(mut self, bytes: u64) -> Self {
        self.entry_bytes_max = bytes;
        self
    }
}

/// An entry that was read.
#[derive(Debug)]
pub struct LogEntry<'a> {
    /// Where it begins.
    pub at: Position,
    /// Where it ends: the position that logging it returned.
    pub end: Position,
    /// Its checksum. Kept with a saved position, it tells whether the log is still the same there.
    pub checksum: u32,
    /// What it holds, borrowed.
    pub payload: Payload<'a>,
}

/// A segment that was read.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SegmentSummary {
    /// Its number.
    pub segment: u64,
    /// Its file's name in the log directory.
    pub file: String,
    /// Size of the file in bytes.
    pub bytes: u64,
    /// Bytes from its start to the end of the last entry before its first fault.
    pub valid_bytes: u64,
    /// What it holds.
    pub stats: SegmentStats,
    /// How it ends.
    pub ends: SegmentEnd,
}

/// What comes next in a log.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReadEvent<'a> {
    /// An entry.
    Entry(LogEntry<'a>),
    /// An entry with a valid checksum that does not decode; it is skipped.
    Malformed {
        /// Where it begins.
        at: Position,
        /// What is wrong with it.
        error: DecodeError,
    },
    /// Damage was stepped over; only when asked to.
    Gap(Gap, Fault),
    /// The log cannot be read on. Only the summary of its segment comes after it.
    Fault(Fault),
    /// A segment is finished.
    SegmentEnd(SegmentSummary),
}

/// Reads a log from its directory: no lock, no write, on a read-only file system and beside a running
/// writer. It sees the log as it was when it was opened.
///
/// ```no_run
/// use wal_engine::{ReadEvent, ReadOptions, WalReader};
///
/// let mut reader = WalReader::open("data/wal", ReadOptions::default())?;
/// while let Some(event) = reader.next()? {
///     if let ReadEvent::Entry(entry) = event {
///         println!("{} holds {} items", entry.at, entry.payload.items());
///     }
/// }
/// # Ok::<(), wal_engine::Error>(())
/// ```
pub struct WalReader {
    scan: Scan,
    live: bool,
    leftovers: Vec<String>,
    stats: SegmentStats,
    /// The end of entries before the first gap of the current segment.
    valid: Option<u64>,
    abandoned: Option<Finished>,
}

impl std::fmt::Debug for WalReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WalReader").field("at", &self.scan.position()).finish_non_exhaustive()
    }
}

impl WalReader {
    /// Opens the log in `dir` for reading. An empty directory is an empty log.
    ///
    /// # Errors
    /// When `dir` is no directory or cannot be read, a segment is no regular file, or no entry begins at
    /// the position to start from.
    pub fn open(dir: impl AsRef<Path>, options: ReadOptions) -> Result<Self> {
        require_directory(dir.as_ref())?;
        Self::open_storage(Arc::new(OsStorage::new(dir.as_ref(), Modes::default())), options)
    }

    /// Like [`open`](Self::open), on any storage.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub fn open_storage(storage: Arc<dyn Storage>, options: ReadOptions) -> Result<Self> {
        let live = storage
            .is_locked()
            .map_err(|error| Error::file("ask for the lock of", storage.path(""), error))?;
        let view = View::read(storage)?;
        let is_there = |at: &Position| view.segments.iter().any(|segment| segment.number == at.segment);
        if let Some(from) = options.from.filter(|from| !is_there(from)) {
            return Err(no_such(from, "there is no such segment"));
        }
        let scan_options = ScanOptions {
            skip_damaged: options.skip_damaged,
            entry_bytes_max: options.entry_bytes_max,
            method: ReadMethod::Positioned,
            live,
            from: options.from,
        };
        let scan = Scan::new(&view, scan_options)?;
        if let Some(from) = options.from {
            check_boundary(&view, from)?;
        }
        Ok(Self {
            scan,
            live,
            leftovers: view.others,
            stats: SegmentStats::default(),
            valid: None,
            abandoned: None,
        })
    }

    /// What comes next; `None` at the end. Blocks on file I/O.
    ///
    /// # Errors
    /// When a file cannot be read, which is no statement about its bytes; a valid entry above the
    /// reading limit; a segment that a truncation took away meanwhile.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<ReadEvent<'_>>> {
        if let Some(finished) = self.abandoned.take() {
            return Ok(Some(ReadEvent::SegmentEnd(summary(finished, &mut self.stats, &mut self.valid))));
        }
        let Some(event) = self.scan.advance()? else { return Ok(None) };
        match event {
            Event::Entry => {
                let (at, entry) = self.scan.entry()?;
                let bytes = entry.payload.len() as u64 + wal_format::layout::ENTRY_OVERHEAD_BYTES as u64;
                let end = Position { segment: at.segment, offset: at.offset + bytes };
                Ok(Some(match entry.decode() {
                    Ok(payload) => {
                        count(&payload, &mut self.stats);
                        ReadEvent::Entry(LogEntry { at, end, checksum: entry.checksum, payload })
                    }
                    Err(error) => {
                        self.stats.add_malformed();
                        ReadEvent::Malformed { at, error }
                    }
                }))
            }
            Event::Gap(gap, fault) => {
                self.valid.get_or_insert(gap.from.offset);
                Ok(Some(ReadEvent::Gap(gap, fault)))
            }
            Event::Fault(fault) => {
                self.abandoned = self.scan.abandon(fault.reason).map(|finished| {
                    // At a header's fault nothing of the file is valid.
                    if fault.reason.is_header_fault() { Finished { end: 0, ..finished } } else { finished }
                });
                Ok(Some(ReadEvent::Fault(fault)))
            }
            Event::SegmentEnd(finished) => {
                Ok(Some(ReadEvent::SegmentEnd(summary(finished, &mut self.stats, &mut self.valid))))
            }
        }
    }

    /// Whether a writer held the log when it was opened for reading; asked without taking the lock.
    #[must_use]
    pub fn live(&self) -> bool {
        self.live
    }

    /// Names in the directory that are none of the log's.
    #[must_use]
    pub fn leftovers(&self) -> &[String] {
        &self.leftovers
    }

    /// What the durable mark says, as far as the log was read.
    #[must_use]
    pub fn mark(&self) -> MarkStatus {
        self.scan.mark_status
    }
}

fn count(payload: &Payload<'_>, stats: &mut SegmentStats) {
    match payload {
        Payload::Series(batch) => stats.add_series_entry(batch.len(), batch.min_series_ref()),
        Payload::Samples(batch) => stats.add_sample_entry(batch.len(), batch.times_ms()),
        Payload::Deletes(batch) => stats.add_deletes(batch.iter()),
    }
}

fn summary(finished: Finished, stats: &mut SegmentStats, valid: &mut Option<u64>) -> SegmentSummary {
    let Finished { file, len, end, ends } = finished;
    SegmentSummary {
        segment: file.number,
        file: file.name,
        bytes: len,
        valid_bytes: valid.take().unwrap_or(end),
        stats: std::mem::take(stats),
        ends,
    }
}

/// A start in the middle of an entry would read rubbish and call it damage: so the segment is walked
/// from its first entry, which costs no decoding.
fn check_boundary(view: &View, from: Position) -> Result<()> {
    let options = ScanOptions {
        skip_damaged: true,
        entry_bytes_max: u64::MAX,
        method: ReadMethod::Positioned,
        live: true,
        from: Some(Position { segment: from.segment, offset: wal_format::layout::HEADER_BYTES as u64 }),
    };
    let mut scan = Scan::new(view, options)?;
    loop {
        match scan.advance()? {
            Some(Event::Entry) => match scan.entry()?.0 {
                at if at == from => return Ok(()),
                at if at < from => {}
                _ => return Err(no_such(from, "no entry begins there")),
            },
            Some(Event::Gap(gap, _)) if gap.from < from => {}
            Some(Event::SegmentEnd(end)) if end.file.number == from.segment && end.end == from.offset => {
                return Ok(());
            }
            _ => return Err(no_such(from, "no entry begins there")),
        }
    }
}

fn no_such(from: Position, what: &str) -> Error {
    let next = "start at the `segment` and `offset` of an entry that `wal dump` printed";
    Error::new(ErrorKind::NoSuchPosition, format!("cannot start at {from}: {what}"), next).with_position(from)
}
