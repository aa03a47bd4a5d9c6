//! Reads a log's segments in order and judges where that cannot go on.
//!
//! The one authority on faults: recovery, the read-only reader and the inspection all read through
//! it. It yields raw entries; who wants items decodes them.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use wal_format::{Entry, EntryFault, EntryKind, layout};
use wal_segment::header;
use wal_segment::{
    Access, Advance, Fault, Position, ReadMethod, Reason, SegmentFile, SegmentReader, Storage, StorageFile,
    Tail, Verdict,
};

use crate::decide::{self, Against, Behind, Place};
use crate::error::{Error, ErrorKind, Result};
use crate::mark::{Mark, MarkStatus};
use crate::report::Gap;
use crate::skip;
use crate::view::View;

/// How many files a reader opens at once when it starts, so that a truncation beside it cannot take
/// them away.
const OPEN_AT_ONCE: usize = 256;

/// How to scan.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ScanOptions {
    /// Go on behind damage.
    pub(crate) skip_damaged: bool,
    /// The reading limit for one entry, in bytes.
    pub(crate) entry_bytes_max: u64,
    pub(crate) method: ReadMethod,
    /// A writer is at work: what is unfinished at the very end is no fault.
    pub(crate) live: bool,
    /// Start here, at an entry of this segment, instead of at the beginning.
    pub(crate) from: Option<Position>,
}

/// What comes next in the log.
#[derive(Debug)]
pub(crate) enum Event {
    /// An entry with a valid checksum: [`Scan::entry`] has it. Handed over that way it is not copied from one enum
    /// to the next, which short entries notice.
    Entry,
    /// The log cannot be read on. Nothing comes after it.
    Fault(Fault),
    /// Damage was stepped over.
    Gap(Gap, Fault),
    /// A segment is finished.
    SegmentEnd(Finished),
}

/// A segment that was read to where it ends.
#[derive(Clone, Debug)]
pub(crate) struct Finished {
    pub(crate) file: SegmentFile,
    /// Bytes in the file.
    pub(crate) len: u64,
    /// Where entries end, before any tail.
    pub(crate) end: u64,
    pub(crate) ends: SegmentEnd,
}

/// How a segment ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SegmentEnd {
    /// Exactly behind its last entry.
    Exact,
    /// In zeros: space prepared and not used.
    Zeros {
        /// How many bytes.
        bytes: u64,
    },
    /// A writer is adding to it at this moment.
    Live,
    /// At a fault.
    Fault(Reason),
}

impl std::fmt::Display for SegmentEnd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exact => f.write_str("exact"),
            Self::Zeros { bytes } => write!(f, "{bytes} zero bytes"),
            Self::Live => f.write_str("live"),
            Self::Fault(reason) => write!(f, "{reason}"),
        }
    }
}

/// A pass over the segments of a view.
pub(crate) struct Scan {
    storage: Arc<dyn Storage>,
    options: ScanOptions,
    segments: Vec<SegmentFile>,
    opened: VecDeque<Opened>,
    next: usize,
    current: Option<Current>,
    mark: Option<Mark>,
    pub(crate) mark_status: MarkStatus,
    ended: bool,
    /// The segment finished last ends exactly at a mark that fits.
    ended_at_mark: bool,
}

struct Opened {
    file: Box<dyn StorageFile>,
    len: u64,
}

struct Current {
    file: SegmentFile,
    reader: SegmentReader,
    place: Place,
    mark_fits: bool,
    /// Something was stepped over, so that not all bytes before the offset are entries.
    has_gap: bool,
    /// What was stepped over reaches to the end of the file: nothing is left to judge.
    gap_to_end: bool,
}

impl Scan {
    pub(crate) fn new(view: &View, options: ScanOptions) -> Result<Self> {
        let mut scan = Self {
            storage: Arc::clone(&view.storage),
            options,
            segments: view.segments.clone(),
            opened: VecDeque::new(),
            next: 0,
            current: None,
            mark: view.mark.clone(),
            mark_status: view.mark_status,
            ended: false,
            ended_at_mark: false,
        };
        if let Some(from) = options.from {
            scan.next = scan.segments.partition_point(|segment| segment.number < from.segment);
        }
        for index in scan.next..scan.segments.len().min(scan.next + OPEN_AT_ONCE) {
            let Some(opened) = scan.open(index)? else { break };
            scan.opened.push_back(opened);
        }
        Ok(scan)
    }

    /// The segment and offset reached: everything before was yielded.
    pub(crate) fn position(&self) -> Option<Position> {
        let current = self.current.as_ref()?;
        Some(Position { segment: current.file.number, offset: current.reader.offset() })
    }

    /// A second handle on the current segment's file, its length and name, for reading elsewhere.
    pub(crate) fn current_file(&self) -> Option<(&SegmentFile, &dyn StorageFile, u64)> {
        let current = self.current.as_ref()?;
        Some((&current.file, current.reader.file(), current.reader.len_bytes()))
    }

    /// Goes on behind entries that were read by other means.
    pub(crate) fn skip_to(&mut self, offset: u64) {
        if let Some(current) = &mut self.current {
            current.reader.seek(offset);
        }
    }

    /// Whether there are segments behind the ones finished.
    pub(crate) fn has_more(&self) -> bool {
        self.next < self.segments.len()
    }

    /// Gives up the current segment at a fault, and says how far it was read.
    pub(crate) fn abandon(&mut self, reason: Reason) -> Option<Finished> {
        let current = self.current.take()?;
        Some(Finished {
            len: current.reader.len_bytes(),
            end: current.reader.offset(),
            file: current.file,
            ends: SegmentEnd::Fault(reason),
        })
    }

    /// Opens the next segment, if none is open, without reading entries. An event when its header is at fault;
    /// `None` also at the end.
    pub(crate) fn enter(&mut self) -> Result<Option<Event>> {
        while self.current.is_none() && !self.ended {
            if let Some(event) = self.enter_next()? {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    /// The next event; `None` at the end.
    pub(crate) fn advance(&mut self) -> Result<Option<Event>> {
        if let Some(event) = self.enter()? {
            return Ok(Some(event));
        }
        let Some(current) = &mut self.current else { return Ok(None) };
        match current.reader.advance() {
            Err(error) => Err(read_error(&*self.storage, &current.file, error)),
            Ok(Advance::Entry) => Ok(Some(Event::Entry)),
            Ok(Advance::TooLarge { offset, bytes, .. }) => {
                Err(too_large(&*self.storage, &current.file, offset, bytes))
            }
            Ok(Advance::End(tail)) => self.tail(tail).map(Some),
        }
    }

    /// The entry that `advance` moved to.
    ///
    /// # Errors
    /// When it has not moved to one. No caller asks then; if one did, an end here would cut the log in silence.
    #[inline]
    pub(crate) fn entry(&self) -> Result<(Position, Entry<'_>)> {
        let current = self.current.as_ref();
        match current.and_then(|current| Some((current.file.number, current.reader.entry()?))) {
            Some((segment, (offset, entry))) => Ok((Position { segment, offset }, entry)),
            None => Err(self.no_entry()),
        }
    }

    #[cold]
    fn no_entry(&self) -> Error {
        let name = self.current.as_ref().map_or("", |current| &current.file.name);
        Error::file("read", self.storage.path(name), io::ErrorKind::UnexpectedEof.into())
    }

    /// What the end of the current segment means.
    fn tail(&mut self, tail: Tail) -> Result<Event> {
        let Some(current) = &mut self.current else { return Ok(self.stop()) };
        if current.gap_to_end {
            return Ok(self.finish(SegmentEnd::Exact));
        }
        let end = current.reader.offset();
        if self.mark_is_refuted(tail)? {
            self.refute_mark();
        }
        let below_mark = match (&self.mark, &self.current) {
            (Some(mark), Some(current)) if current.mark_fits && end < mark.position.offset => {
                Some(mark.position.offset)
            }
            _ => None,
        };
        let reason = match (tail, below_mark) {
            (Tail::Fault(reason), _) => reason,
            (_, Some(mark)) => Reason::EndsBelowMark { mark },
            (Tail::Exact, None) => return Ok(self.finish(SegmentEnd::Exact)),
            (Tail::Zeros { bytes }, None) => return Ok(self.finish(SegmentEnd::Zeros { bytes })),
        };
        let against = if below_mark.is_some() || self.is_witness(&reason) || self.is_finished() {
            Against::BelowMark
        } else if self.is_above_mark() {
            Against::AboveMark
        } else {
            Against::Unmarked
        };
        self.judge(end, reason, against)
    }

    /// Whether what was read of the current segment shows that a mark is not of it, though a witness
    /// stands where it should.
    fn mark_is_refuted(&mut self, tail: Tail) -> Result<bool> {
        let (Some(current), Some(mark)) = (&mut self.current, &self.mark) else { return Ok(false) };
        if !current.mark_fits || current.has_gap {
            return Ok(false);
        }
        let failed = |error| read_error(&*self.storage, &current.file, error);
        let (end, len) = (current.reader.offset(), current.reader.len_bytes());
        if mark.is_contradicted(current.reader.file(), end, len).map_err(failed)? {
            return Ok(true);
        }
        // A truncation keeps the first entry of a segment as it is if it keeps all its series, and never
        // a sample. A mark of the time before it would call what is left damaged.
        let is_clean = !matches!(tail, Tail::Fault(_));
        if is_clean && current.place == Place::Earlier && end < mark.position.offset {
            return Ok(!holds_samples(&mut current.reader, end).map_err(failed)?);
        }
        Ok(false)
    }

    /// The mark turned out to be of another log, or of another time of this one.
    fn refute_mark(&mut self) {
        if let Some(current) = &mut self.current {
            current.mark_fits = false;
        }
        if let Some(mark) = &self.mark {
            self.mark_status = MarkStatus::DoesNotFit(mark.position);
        }
    }

    /// Whether a repair has done with the current segment: the mark that it wrote names the segment, and a
    /// later one to append to. No torn write explains a fault in it, but damage whose repair was cut short.
    fn is_finished(&self) -> bool {
        let (Some(current), Some(mark)) = (&self.current, &self.mark) else { return false };
        let number = current.file.number;
        let names_it = mark.position.segment == number && number < mark.floor;
        names_it && (current.mark_fits || mark.witnesses.is_empty())
    }

    /// Whether a mark that fits lies in the current segment, before what is read now, or at the very end
    /// of the one before. The mark is synced at rotation and written without a sync at the first commit
    /// behind it, so power loss within that commit leaves the one at the end.
    fn is_above_mark(&self) -> bool {
        self.current
            .as_ref()
            .is_some_and(|current| current.mark_fits || (current.place == Place::Last && self.ended_at_mark))
    }

    /// Whether a checksum fault is in the stored checksum of an entry that the mark names.
    fn is_witness(&self, reason: &Reason) -> bool {
        let Some(current) = &self.current else { return false };
        match (reason, &self.mark) {
            (Reason::Entry(EntryFault::Checksum { computed, .. }), Some(mark)) => {
                mark.position.segment == current.file.number && mark.has_checksum(*computed)
            }
            _ => false,
        }
    }

    fn judge(&mut self, offset: u64, reason: Reason, against: Against) -> Result<Event> {
        let is_finished = self.is_finished();
        let Some(current) = &mut self.current else { return Ok(self.stop()) };
        if self.options.live && current.place == Place::Last && against != Against::BelowMark {
            return Ok(self.finish(SegmentEnd::Live));
        }
        let place = current.place;
        let skip = self.options.skip_damaged;
        // Asked for again where a repair was cut short, so that it is reported as it was then.
        let wanted =
            skip || is_finished || decide::needs_search(place, against, &reason) || tells_of_entries(&reason);
        let failed = |error| read_error(&*self.storage, &current.file, error);
        let (behind, entry_behind) = if wanted {
            let search = skip::search(&mut current.reader, offset + 1).map_err(failed)?;
            match (search.found, search.exhausted) {
                (Some(found), _) => (Behind::Entry, Some(found)),
                (None, true) => (Behind::Unknown, None),
                (None, false) => (Behind::Nothing, None),
            }
        } else {
            (Behind::Unknown, None)
        };
        let verdict = decide::verdict(place, against, &reason, behind);
        let at = Position { segment: current.file.number, offset };
        let fault = Fault { at, reason, verdict, entry_behind };
        if !skip || verdict != Verdict::Damaged {
            self.ended = true;
            return Ok(Event::Fault(fault));
        }
        let resume = skip::resume_behind(&mut current.reader, offset, entry_behind)
            .map_err(|error| read_error(&*self.storage, &current.file, error))?;
        current.reader.seek(resume);
        current.has_gap = true;
        current.gap_to_end = resume == current.reader.len_bytes();
        Ok(Event::Gap(Gap { from: at, to_offset: resume, reason }, fault))
    }

    fn finish(&mut self, ends: SegmentEnd) -> Event {
        match self.current.take() {
            None => self.stop(),
            Some(current) => {
                let (len, end) = (current.reader.len_bytes(), current.reader.offset());
                let at_end = |mark: &Mark| mark.position.offset == end;
                self.ended_at_mark = current.mark_fits && self.mark.as_ref().is_some_and(at_end);
                Event::SegmentEnd(Finished { len, end, file: current.file, ends })
            }
        }
    }

    /// Not reached: every caller has a current segment. Ends the pass rather than panic.
    fn stop(&mut self) -> Event {
        self.ended = true;
        Event::SegmentEnd(Finished {
            file: SegmentFile { number: 0, name: String::new(), bytes: 0, regular: true },
            len: 0,
            end: 0,
            ends: SegmentEnd::Exact,
        })
    }

    fn open(&self, index: usize) -> Result<Option<Opened>> {
        let Some(file) = self.segments.get(index) else { return Ok(None) };
        if !file.regular {
            let error = io::Error::new(io::ErrorKind::InvalidInput, "not a regular file");
            return Err(read_error(&*self.storage, file, error));
        }
        let opened = self
            .storage
            .open(&file.name, Access::Read)
            .and_then(|opened| opened.len().map(|len| Opened { file: opened, len }));
        match opened {
            Ok(opened) => Ok(Some(opened)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Error::new(
                ErrorKind::NoSuchPosition,
                format!("segment {} was truncated away while the log was being read", file.number),
                "read the log again",
            )
            .with_path(self.storage.path(&file.name))),
            // Not now; it is opened when its turn comes and others are closed.
            Err(error) if index != self.next && error.raw_os_error().is_some() => Ok(None),
            Err(error) => Err(read_error(&*self.storage, file, error)),
        }
    }

    /// Takes up the next segment and looks at its header.
    fn enter_next(&mut self) -> Result<Option<Event>> {
        let index = self.next;
        // Those that were opened at the start are the next ones, without a hole among them.
        let opened = match self.opened.pop_front() {
            Some(opened) => Some(opened),
            None => self.open(index)?,
        };
        let (Some(opened), Some(file)) = (opened, self.segments.get(index).cloned()) else {
            self.ended = true;
            return Ok(None);
        };
        self.next += 1;
        let failed = |error| read_error(&*self.storage, &file, error);
        let header = header::check(&*opened.file, opened.len).map_err(failed)?;
        let mut mark_fits = false;
        let mark = self.mark.as_ref().filter(|mark| mark.position.segment == file.number);
        if let (Some(mark), MarkStatus::NotReached(at)) = (mark, self.mark_status) {
            mark_fits = header.is_none() && mark.fits(&*opened.file, opened.len).map_err(failed)?;
            self.mark_status = if mark_fits { MarkStatus::Fits(at) } else { MarkStatus::DoesNotFit(at) };
        }
        let place = if self.next == self.segments.len() { Place::Last } else { Place::Earlier };
        let Opened { file: handle, len, .. } = opened;
        let (limit, method) = (self.options.entry_bytes_max, self.options.method);
        let reader = SegmentReader::new(handle, len, limit, method);
        let number = file.number;
        self.current = Some(Current { file, reader, place, mark_fits, has_gap: false, gap_to_end: false });
        match header {
            None => {
                if let Some(from) = self.options.from.take_if(|from| from.segment == number) {
                    self.skip_to(from.offset);
                }
                Ok(None)
            }
            Some(reason) => self.header_fault(reason, place).map(Some),
        }
    }

    fn header_fault(&mut self, reason: Reason, place: Place) -> Result<Event> {
        if let Reason::UnsupportedVersion(_) = reason {
            let Some(current) = &self.current else { return Ok(self.stop()) };
            self.ended = true;
            let at = Position { segment: current.file.number, offset: 4 };
            return Ok(Event::Fault(Fault { at, reason, verdict: Verdict::Unsupported, entry_behind: None }));
        }
        if reason == Reason::Empty && place == Place::Last {
            self.skip_to(0);
            return Ok(self.finish(SegmentEnd::Exact));
        }
        // Only the header may be at fault: then entries begin where they should. The reader stands
        // there already; it is looked at by searching from the byte behind offset 0.
        let against = if self.is_finished() { Against::BelowMark } else { Against::Unmarked };
        let event = self.judge(0, reason, against)?;
        if let Event::Gap(gap, fault) = event {
            let first = layout::HEADER_BYTES as u64;
            let Some(current) = &mut self.current else { return Ok(self.stop()) };
            let failed = |error| read_error(&*self.storage, &current.file, error);
            let to_offset = match current.reader.is_boundary(first).map_err(failed)? {
                true if first < current.reader.len_bytes() => first,
                _ => gap.to_offset,
            };
            current.reader.seek(to_offset);
            // No mark fits a segment without its header, so its end is judged like any other.
            current.gap_to_end = false;
            return Ok(Event::Gap(Gap { to_offset, ..gap }, fault));
        }
        Ok(event)
    }
}

/// Whether any entry between the header and `end`, where entries end, holds samples. The reader stands at `end`
/// afterwards.
fn holds_samples(reader: &mut SegmentReader, end: u64) -> io::Result<bool> {
    reader.seek(layout::HEADER_BYTES as u64);
    let mut found = false;
    while !found {
        found = match reader.advance()? {
            Advance::Entry => reader.entry().is_some_and(|(_, entry)| entry.kind == EntryKind::Samples),
            Advance::TooLarge { kind, .. } => kind == EntryKind::Samples,
            Advance::End(_) => break,
        };
    }
    reader.seek(end);
    Ok(found)
}

/// Reasons where the report says whether entries lie behind, though the verdict does not need it.
fn tells_of_entries(reason: &Reason) -> bool {
    matches!(reason, Reason::AfterEndMark { .. })
}

pub(crate) fn too_large(storage: &dyn Storage, file: &SegmentFile, offset: u64, bytes: u64) -> Error {
    Error::new(
        ErrorKind::TooLarge,
        format!("a valid entry of {bytes} bytes is above the reading limit"),
        "raise read_entry_bytes_max; nothing is wrong with the log",
    )
    .with_path(storage.path(&file.name))
    .with_position(Position { segment: file.number, offset })
}

pub(crate) fn read_error(storage: &dyn Storage, file: &SegmentFile, error: io::Error) -> Error {
    Error::file("read", storage.path(&file.name), error)
}
