//! A piece of a segment: whole entries, read in one go, checked and decoded.

use std::ops::Range;

use wal_format::{
    CheckedSeries, DecodeError, EntryKind, SampleBuffer, SamplesPayload, SeriesBuffer, Step, decode_deletes,
    frame_bytes, layout, next_entry,
};
use wal_segment::storage::read_up_to;
use wal_segment::{SegmentStats, StorageFile};
use wal_types::StoneRow;

use crate::mark::Trail;

/// Bytes that are read in one go. Larger entries make a larger piece.
pub(crate) const PIECE_BYTES: u64 = 512 << 10;

/// A piece of a segment, checked and decoded.
#[derive(Default)]
pub(crate) struct Piece {
    pub(crate) bytes: Vec<u8>,
    pub(crate) events: Vec<Decoded>,
    pub(crate) series: SeriesBuffer,
    pub(crate) samples: SampleBuffer,
    pub(crate) rows: Vec<StoneRow>,
    pub(crate) stats: SegmentStats,
    pub(crate) trail: Trail,
    /// The segment was read up to here.
    pub(crate) end: u64,
    /// Something here is for the scan to judge.
    pub(crate) stop: bool,
}

pub(crate) struct Decoded {
    pub(crate) offset: u64,
    pub(crate) what: What,
}

pub(crate) enum What {
    /// Where the payload lies in the piece.
    Series(Range<usize>, CheckedSeries),
    Samples(Range<usize>),
    /// Counted, and not wanted.
    NoSamples,
    Rows(Range<usize>),
    Malformed(DecodeError),
}

impl Piece {
    pub(crate) fn clear(&mut self) {
        self.events.clear();
        self.series.clear();
        self.samples.clear();
        self.rows.clear();
        self.stats = SegmentStats::default();
        self.trail.clear();
        self.end = 0;
        self.stop = false;
    }

    /// Fills the piece with whole entries, as their headers claim. Returns whether there is more behind
    /// them for this way of reading.
    pub(crate) fn read(&mut self, file: &dyn StorageFile, base: u64, len: u64, limit: u64) -> bool {
        let left = len.saturating_sub(base);
        let mut wanted = PIECE_BYTES.min(left);
        let mut have = 0;
        while let Ok(size) = usize::try_from(wanted) {
            if self.bytes.len() < size {
                self.bytes.resize(size, 0);
            }
            let room = self.bytes.get_mut(have..size).unwrap_or_default();
            // An error is for the scan to report: it comes to the same place.
            let Ok(read) = read_up_to(file, room, base + have as u64, len) else { break };
            have += read;
            let whole = whole_entries(self.bytes.get(..have).unwrap_or_default());
            match whole {
                Whole::Upto(0, Some(frame))
                    if frame <= limit && frame <= left && wanted < frame && have == size =>
                {
                    wanted = frame;
                }
                Whole::Upto(end, more) => {
                    self.bytes.truncate(end);
                    return end != 0 && more.is_some_and(|frame| end as u64 + frame <= left);
                }
            }
        }
        self.bytes.clear();
        false
    }

    /// Checks and decodes what was read from `base` on, up to the first thing that is no whole, valid entry.
    pub(crate) fn decode(&mut self, base: u64, wants_samples: bool) {
        let mut at = 0;
        let bytes = std::mem::take(&mut self.bytes);
        loop {
            let rest = bytes.get(at..).unwrap_or_default();
            let Step::Entry(entry) = next_entry(rest, 0) else { break };
            let frame = entry.frame_bytes();
            let payload_at = at + layout::FRAME_HEADER_BYTES;
            let what = match entry.kind {
                EntryKind::Series => self.series.check(entry.payload).map(|checked| {
                    self.stats.add_series_entry(checked.items, checked.min_series_ref);
                    What::Series(payload_at..payload_at + entry.payload.len(), checked)
                }),
                EntryKind::Samples if !wants_samples => SamplesPayload::check(entry.payload).map(|checked| {
                    self.stats.add_sample_entry(checked.len(), checked.times_ms());
                    What::NoSamples
                }),
                EntryKind::Samples => self.samples.decode(entry.payload).map(|decoded| {
                    self.stats.add_sample_entry(decoded.range.len(), decoded.times_ms);
                    What::Samples(decoded.range)
                }),
                EntryKind::Deletes => {
                    let from = self.rows.len();
                    decode_deletes(entry.payload, &mut self.rows).map(|()| {
                        self.stats.add_deletes(self.rows.get(from..).unwrap_or_default().iter().copied());
                        What::Rows(from..self.rows.len())
                    })
                }
            };
            let what = what.unwrap_or_else(|error| {
                self.stats.add_malformed();
                What::Malformed(error)
            });
            self.events.push(Decoded { offset: base + at as u64, what });
            at += frame;
            self.trail.push(base + at as u64, entry.checksum);
        }
        self.stop = at < bytes.len();
        self.end = base + at as u64;
        self.bytes = bytes;
    }
}

enum Whole {
    /// Whole entries end here; and how large the next one claims to be, if that can be known or is
    /// simply cut off.
    Upto(usize, Option<u64>),
}

fn whole_entries(bytes: &[u8]) -> Whole {
    let mut end = 0;
    loop {
        let rest = bytes.get(end..).unwrap_or_default();
        match frame_bytes(rest) {
            Some((_, frame)) if frame <= rest.len() as u64 => {
                end += usize::try_from(frame).unwrap_or(rest.len());
            }
            Some((_, frame)) => return Whole::Upto(end, Some(frame)),
            // Too few bytes for a header, or no entry: the next read, or the scan, will tell.
            None if rest.len() < layout::FRAME_HEADER_BYTES => {
                return Whole::Upto(end, Some(layout::ENTRY_OVERHEAD_BYTES as u64));
            }
            None => return Whole::Upto(end, None),
        }
    }
}
