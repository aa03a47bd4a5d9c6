//! Writes what truncation keeps of a run of segments into temporaries beside them.

use std::io;

use wal_format::{DeletesPayload, Entry, EntryKind, SegmentHeader, SeriesBuffer, frame_payload, layout};
use wal_segment::dir::segment_name;
use wal_segment::storage::{piece_buffer, read_up_to, write_all_at};
use wal_segment::{
    Access, Advance, Fault, Position, ReadMethod, Reason, SegmentReader, SegmentStats, Storage, StorageFile,
    Tail, Verdict, header,
};
use wal_types::{SeriesRef, varint};

use crate::error::{Error, Result};
use crate::intent::rewrite_name;
use crate::plan::Kept;
use crate::progress::Meter;
use crate::repair::remove_if_there;
use crate::wal::is_kept_kind;

/// Bytes collected before one write.
const BUFFER_BYTES: usize = 256 << 10;

/// Temporaries that are rubbish until an intent names them: removed when dropped, also when a panic
/// of `keep` unwinds.
#[derive(Debug)]
pub(crate) struct Temporaries<'a> {
    storage: &'a dyn Storage,
    names: Vec<String>,
}

impl<'a> Temporaries<'a> {
    pub(crate) fn new(storage: &'a dyn Storage) -> Self {
        Self { storage, names: Vec::new() }
    }

    /// They are named by a durable intent now, and stay.
    pub(crate) fn keep(mut self) {
        self.names.clear();
    }

    pub(crate) fn absorb(&mut self, mut other: Self) {
        self.names.append(&mut other.names);
    }
}

impl Drop for Temporaries<'_> {
    fn drop(&mut self) {
        for name in &self.names {
            if let Err(error) = remove_if_there(self.storage, name) {
                tracing::warn!(%error, "cannot remove a temporary; the next open does");
            }
        }
    }
}

/// A rewritten segment.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) number: u64,
    pub(crate) stats: SegmentStats,
    file: Box<dyn StorageFile>,
    written: u64,
    buffer: Vec<u8>,
}

impl Output {
    pub(crate) fn bytes(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    fn flush(&mut self) -> io::Result<()> {
        write_all_at(&*self.file, &self.buffer, self.written).map_err(|(_, error)| error)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Everything in the file and durable.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        self.flush()?;
        self.file.sync()
    }

    fn cut_back(&mut self, bytes: u64, stats: SegmentStats) -> io::Result<()> {
        self.stats = stats;
        match bytes.checked_sub(self.written).and_then(|kept| usize::try_from(kept).ok()) {
            Some(kept) => self.buffer.truncate(kept),
            None => {
                self.buffer.clear();
                self.file.set_len(bytes)?;
                self.written = bytes;
            }
        }
        Ok(())
    }
}

/// How much of a run was kept and dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) series_kept: u64,
    pub(crate) series_dropped: u64,
    pub(crate) deletes_kept: u64,
    pub(crate) deletes_dropped: u64,
    /// Entries left out as a whole.
    pub(crate) entries_dropped: u64,
}

/// A run of adjacent old segments, and what is kept of them.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    pub(crate) segments: Vec<Kept>,
    pub(crate) outputs: Vec<Output>,
    pub(crate) tally: Tally,
    pub(crate) temporaries: Temporaries<'a>,
    segment_bytes_max: u64,
    numbers: Vec<u64>,
    /// Its only segment is one of which everything is kept.
    whole: bool,
    /// Room for what is kept of an entry, used again.
    payload: Vec<u8>,
    /// Room for where the series of an entry are, used again.
    series: SeriesBuffer,
}

/// What is kept of one entry.
enum Sifted {
    Nothing,
    /// The entry as it is.
    Whole(SegmentStats),
    /// Some of its items: the payload that was put together of them.
    Part(SegmentStats),
}

/// What became of one segment of a run.
pub(crate) enum SegmentOutcome {
    /// What is kept of it is in the outputs.
    Done,
    /// Everything of it is kept, and it is full enough to stay as it is: it is a run for itself.
    Whole,
    /// It cannot be read to its end: nothing of it is in the outputs, and it is left alone.
    LeftAlone(Fault),
}

impl<'a> Run<'a> {
    /// `numbers` are those of the segments that may become part of the run, rising.
    pub(crate) fn new(storage: &'a dyn Storage, numbers: Vec<u64>, segment_bytes_max: u64) -> Self {
        Self {
            segments: Vec::new(),
            outputs: Vec::new(),
            tally: Tally::default(),
            temporaries: Temporaries::new(storage),
            segment_bytes_max,
            numbers,
            whole: false,
            payload: Vec::new(),
            series: SeriesBuffer::default(),
        }
    }

    /// Whether the outputs would be what is there already.
    pub(crate) fn changes_nothing(&self) -> bool {
        let before: u64 = self.segments.iter().map(|segment| segment.bytes).sum();
        let after: u64 = self.outputs.iter().map(Output::bytes).sum();
        self.whole
            || self.segments.is_empty()
            || (self.segments.len() <= self.outputs.len() && before <= after)
    }

    /// Reads a segment and keeps of it what is wanted.
    pub(crate) fn take_in(
        &mut self,
        segment: &Kept,
        entry_bytes_max: u64,
        mint_ms: i64,
        meter: &mut Meter<'_>,
        keep: &mut impl FnMut(SeriesRef) -> bool,
    ) -> Result<SegmentOutcome> {
        let storage = self.temporaries.storage;
        let failed = |error| Error::file("read", storage.path(&segment.name), error);
        let file = storage.open(&segment.name, Access::Read).map_err(failed)?;
        let len = file.len().map_err(failed)?;
        let before = (self.outputs.len(), self.outputs.last().map(|o| (o.bytes(), o.stats)), self.tally);
        let mut fault = header::check(&*file, len).map_err(failed)?.map(|reason| (0, reason));
        let mut reader = SegmentReader::new(file, len, entry_bytes_max, ReadMethod::Positioned);
        // Nothing is written before something is dropped, where the segment could stay as it is. Two that
        // are half full would not become one.
        let mut whole = (self.segments.is_empty() && self.segment_bytes_max / 2 <= segment.bytes)
            .then(SegmentStats::default);
        while fault.is_none() {
            match reader.advance().map_err(failed)? {
                Advance::Entry => {
                    // Never missing; taken for the end it would drop the rest of the segment.
                    let (offset, entry) =
                        reader.entry().ok_or_else(|| failed(io::ErrorKind::UnexpectedEof.into()))?;
                    meter.read_to(offset);
                    let sifted = self.sift(&entry, mint_ms, keep);
                    match (&mut whole, &sifted) {
                        (Some(stats), Sifted::Whole(counted)) => stats.merge(counted),
                        (None, _) => self.put_sifted(&entry, &sifted)?,
                        (Some(stats), _) => {
                            let stats = *stats;
                            whole = None;
                            self.put_front(segment, offset, &stats)?;
                            self.put_sifted(&entry, &sifted)?;
                        }
                    }
                }
                Advance::TooLarge { kind, offset, .. } if !is_kept_kind(kind) => {
                    self.tally.entries_dropped += 1;
                    if let Some(stats) = whole.take() {
                        self.put_front(segment, offset, &stats)?;
                    }
                }
                Advance::TooLarge { offset, bytes, .. } => {
                    let have = entry_bytes_max;
                    let reason = Reason::Entry(wal_format::EntryFault::PastEnd { frame_bytes: bytes, have });
                    fault = Some((offset, reason));
                }
                Advance::End(Tail::Fault(reason)) => fault = Some((reader.offset(), reason)),
                Advance::End(_) => break,
            }
        }
        meter.end_segment(segment.bytes);
        let Some((offset, reason)) = fault else {
            self.segments.push(segment.clone());
            self.whole = whole.is_some();
            return Ok(if self.whole { SegmentOutcome::Whole } else { SegmentOutcome::Done });
        };
        let (outputs, last, tally) = before;
        self.outputs.truncate(outputs);
        if let (Some(output), Some((bytes, stats))) = (self.outputs.last_mut(), last) {
            output.cut_back(bytes, stats).map_err(failed)?;
        }
        self.tally = tally;
        let at = Position { segment: segment.number, offset };
        let fault = Fault { at, reason, verdict: Verdict::Damaged, entry_behind: None };
        Ok(SegmentOutcome::LeftAlone(fault))
    }

    fn sift(&mut self, entry: &Entry<'_>, mint_ms: i64, keep: &mut impl FnMut(SeriesRef) -> bool) -> Sifted {
        match entry.kind {
            EntryKind::Samples => {
                self.tally.entries_dropped += 1;
                Sifted::Nothing
            }
            EntryKind::Series => self.sift_series(entry, keep),
            EntryKind::Deletes => self.sift_deletes(entry, mint_ms, keep),
        }
    }

    fn sift_series(&mut self, entry: &Entry<'_>, keep: &mut impl FnMut(SeriesRef) -> bool) -> Sifted {
        // What does not decode may still be a series to someone: it is kept as it is.
        self.series.clear();
        let Ok(checked) = self.series.check(entry.payload) else { return malformed() };
        let batch = self.series.payload(&checked, entry.payload);
        self.payload.clear();
        let (mut kept, mut dropped, mut lowest) = (0, 0, None);
        let mut iter = batch.iter();
        // Series kept one after the other are copied in one go, and not at all while none was dropped.
        let (mut run, mut at) = (0, 0);
        while let Some(series) = iter.next() {
            if keep(series.series_ref) {
                kept += 1;
                lowest = lowest.map_or(Some(series.series_ref), |before| Some(series.series_ref.min(before)));
            } else {
                dropped += 1;
                self.payload.extend_from_slice(entry.payload.get(run..at).unwrap_or_default());
                run = iter.offset();
            }
            at = iter.offset();
        }
        if dropped != 0 {
            self.payload.extend_from_slice(entry.payload.get(run..at).unwrap_or_default());
        }
        let stats =
            SegmentStats { entries: 1, series: kept, min_series_ref: lowest, ..SegmentStats::default() };
        self.tally.series_kept += kept;
        self.tally.series_dropped += dropped;
        self.sifted(kept, dropped, stats)
    }

    fn sift_deletes(
        &mut self,
        entry: &Entry<'_>,
        mint_ms: i64,
        keep: &mut impl FnMut(SeriesRef) -> bool,
    ) -> Sifted {
        let Ok(batch) = DeletesPayload::check(entry.payload) else { return malformed() };
        let payload = &mut self.payload;
        payload.clear();
        let mut rows = Vec::new();
        let mut dropped = 0;
        for row in batch.iter() {
            if row.interval.maxt_ms < mint_ms || !keep(row.series_ref) {
                dropped += 1;
                continue;
            }
            payload.extend_from_slice(&row.series_ref.0.to_be_bytes());
            varint::put_uvarint(payload, varint::zigzag(row.interval.mint_ms));
            varint::put_uvarint(payload, varint::zigzag(row.interval.maxt_ms));
            rows.push(row);
        }
        let mut stats = SegmentStats::default();
        let kept = rows.len() as u64;
        stats.add_deletes(rows.into_iter());
        self.tally.deletes_kept += kept;
        self.tally.deletes_dropped += dropped;
        self.sifted(kept, dropped, stats)
    }

    /// The entry as it is when all of its items are kept, nothing when none is.
    fn sifted(&mut self, kept: u64, dropped: u64, stats: SegmentStats) -> Sifted {
        match (kept, dropped) {
            (_, 0) => Sifted::Whole(stats),
            (0, _) => {
                self.tally.entries_dropped += 1;
                Sifted::Nothing
            }
            _ => Sifted::Part(stats),
        }
    }

    fn put_sifted(&mut self, entry: &Entry<'_>, sifted: &Sifted) -> Result<()> {
        match sifted {
            Sifted::Nothing => Ok(()),
            Sifted::Whole(stats) => self.put_entry(entry, stats),
            Sifted::Part(stats) => self.put_part(entry, stats),
        }
    }

    /// Copies all entries of a segment before an offset: nothing was dropped up to there, and nothing written.
    fn put_front(&mut self, segment: &Kept, to: u64, stats: &SegmentStats) -> Result<()> {
        if stats.entries == 0 {
            return Ok(());
        }
        self.begin_output(segment.number)?;
        let storage = self.temporaries.storage;
        let failed = |error| Error::file("read", storage.path(&segment.name), error);
        let not_written = |error| Error::file("write to", storage.path(&rewrite_name(segment.number)), error);
        let file = storage.open(&segment.name, Access::Read).map_err(failed)?;
        let Some(output) = self.outputs.last_mut() else { return Ok(()) };
        output.stats.merge(stats);
        let mut at = layout::HEADER_BYTES as u64;
        let mut piece = piece_buffer(at, to, BUFFER_BYTES);
        while at < to {
            let have = read_up_to(&*file, &mut piece, at, to).map_err(failed)?;
            let read = piece.get(..have).filter(|read| !read.is_empty());
            let read = read.ok_or_else(|| failed(io::ErrorKind::UnexpectedEof.into()))?;
            output.buffer.extend_from_slice(read);
            output.flush().map_err(not_written)?;
            at += read.len() as u64;
        }
        Ok(())
    }

    /// Copies an entry as it is, checksum included.
    fn put_entry(&mut self, entry: &Entry<'_>, stats: &SegmentStats) -> Result<()> {
        let length = u32::try_from(entry.payload.len()).unwrap_or(u32::MAX).to_be_bytes();
        self.put(entry.frame_bytes(), stats, |buffer| {
            buffer.push(entry.kind.code());
            buffer.push(entry.flag);
            buffer.extend_from_slice(&length);
            buffer.extend_from_slice(entry.payload);
            buffer.extend_from_slice(&entry.checksum.to_be_bytes());
        })
    }

    /// Puts the payload that was made of an entry's items. A part of an entry that was within the limits is
    /// within them.
    fn put_part(&mut self, entry: &Entry<'_>, stats: &SegmentStats) -> Result<()> {
        let payload = std::mem::take(&mut self.payload);
        let put = self.put(payload.len() + layout::ENTRY_OVERHEAD_BYTES, stats, |buffer| {
            let framed = frame_payload(entry.kind, entry.flag, &payload, buffer);
            debug_assert!(framed.is_ok(), "a part is larger than the whole");
        });
        self.payload = payload;
        put
    }

    fn put(&mut self, bytes: usize, stats: &SegmentStats, add: impl FnOnce(&mut Vec<u8>)) -> Result<()> {
        let frame = bytes as u64;
        let full = self
            .outputs
            .last()
            .is_none_or(|output| crate::decide::rotates(output.bytes(), frame, self.segment_bytes_max));
        // When the run's numbers are used up, its last file takes the rest: only a log written with
        // larger segments than now gets there.
        let next = self.numbers.get(self.outputs.len()).copied().filter(|_| full);
        if let Some(number) = next {
            self.begin_output(number)?;
        }
        let storage = self.temporaries.storage;
        let Some(output) = self.outputs.last_mut() else { return Ok(()) };
        add(&mut output.buffer);
        output.stats.merge(stats);
        if BUFFER_BYTES <= output.buffer.len() {
            let path = storage.path(&rewrite_name(output.number));
            output.flush().map_err(|error| Error::file("write to", path, error))?;
        }
        Ok(())
    }

    fn begin_output(&mut self, number: u64) -> Result<()> {
        let storage = self.temporaries.storage;
        let name = rewrite_name(number);
        let failed = |error| Error::file("create", storage.path(&name), error);
        if let Some(last) = self.outputs.last_mut() {
            last.finish().map_err(failed)?;
        }
        remove_if_there(storage, &name)?;
        let file = storage.create_new(&name).map_err(failed)?;
        self.temporaries.names.push(name);
        let buffer = SegmentHeader::CURRENT.to_bytes().to_vec();
        self.outputs.push(Output { number, stats: SegmentStats::default(), file, written: 0, buffer });
        Ok(())
    }
}

/// An entry that does not decode, kept as it is.
fn malformed() -> Sifted {
    let mut stats = SegmentStats::default();
    stats.add_malformed();
    Sifted::Whole(stats)
}

/// What a rewritten segment is called: the name that its number bears, or the one we would give it.
pub(crate) fn name_of(number: u64, segments: &[Kept]) -> String {
    match segments.iter().find(|segment| segment.number == number) {
        Some(segment) => segment.name.clone(),
        None => segment_name(number),
    }
}
