//! Appending: an entry gets its position and its place in memory. No file is touched here.
//!
//! Two buffers take turns: one is filled while the other is written. Positions are given out as if
//! the bytes were in the files already; the I/O side writes them in the same order.

use std::cell::RefCell;
use std::collections::VecDeque;

use wal_format::{EntryKind, layout};
use wal_segment::{Position, SegmentStats};
use wal_types::{Interval, Sample};

use crate::decide;
use crate::error::{Error, Result};
use crate::mark::Trail;
use crate::metrics::Accepted;
use crate::view::next_after;

/// Whole entries of one segment, on their way to its file.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    pub(crate) segment: u64,
    /// Where its first byte goes in the segment's file.
    pub(crate) offset: u64,
    pub(crate) bytes: Vec<u8>,
    pub(crate) stats: SegmentStats,
    pub(crate) trail: Trail,
}

impl Chunk {
    fn restart(&mut self, at: Position) {
        self.segment = at.segment;
        self.offset = at.offset;
        self.bytes.clear();
        self.stats = SegmentStats::default();
        self.trail.clear();
    }
}

/// Whether the log takes entries.
#[derive(Clone, Debug, Default)]
pub(crate) enum Condition {
    /// It does.
    #[default]
    Open,
    /// Writing stalls, mostly on a full disk: what was accepted waits in memory, and nothing more is accepted before it is
    /// written.
    Stalled,
    /// It is unknown what is on disk: nothing works until the log is reopened.
    Poisoned(Error),
}

/// What an entry holds, as far as the counts of its segment ask.
#[derive(Debug)]
pub(crate) enum Content {
    Series(SegmentStats),
    /// Kept short: most entries are of samples, and this is read under the lock.
    Samples {
        items: usize,
        times_ms: Option<Interval>,
    },
    Deletes(SegmentStats),
}

impl Content {
    pub(crate) fn of_samples(samples: &[Sample]) -> Self {
        Self::Samples { items: samples.len(), times_ms: SegmentStats::times_ms(samples) }
    }

    fn kind(&self) -> EntryKind {
        match self {
            Self::Series(_) => EntryKind::Series,
            Self::Samples { .. } => EntryKind::Samples,
            Self::Deletes(_) => EntryKind::Deletes,
        }
    }

    fn count(&self, stats: &mut SegmentStats) {
        match self {
            Self::Samples { items, times_ms } => stats.add_sample_entry(*items, *times_ms),
            Self::Series(counted) | Self::Deletes(counted) => stats.merge(counted),
        }
    }
}

/// An entry ready to be placed.
pub(crate) struct Framed<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) checksum: u32,
    pub(crate) content: Content,
}

/// What became of an attempt to place an entry.
pub(crate) enum Placed {
    /// It is in; the log now ends there. `wake` says that the I/O side has something to do.
    At { end: Position, wake: bool },
    /// Both buffers are full: the caller must write before it can go on.
    Full,
    /// The log does not take entries now.
    Refused(Condition),
}

/// The side of the log that callers append to; behind one lock that is never held across a system
/// call.
#[derive(Debug)]
pub(crate) struct Appender {
    active: Chunk,
    /// Full buffers in order, waiting to be written.
    full: VecDeque<Chunk>,
    /// Empty buffers, for reuse.
    spare: Vec<Chunk>,
    end: Position,
    accepted: Accepted,
    pub(crate) condition: Condition,
    buffer_bytes: usize,
    segment_bytes_max: u64,
    /// The next segment is asked for once, when the active one is half full.
    asked_to_prepare: bool,
}

/// Buffers that may wait to be written while another is filled.
const FULL_MAX: usize = 1;

impl Appender {
    pub(crate) fn new(end: Position, buffer_bytes: usize, segment_bytes_max: u64) -> Self {
        let mut active = Chunk::default();
        active.restart(end);
        Self {
            active,
            full: VecDeque::new(),
            spare: Vec::new(),
            end,
            accepted: Accepted::default(),
            condition: Condition::Open,
            buffer_bytes,
            segment_bytes_max,
            asked_to_prepare: false,
        }
    }

    /// Behind the last entry.
    pub(crate) fn end(&self) -> Position {
        self.end
    }

    /// What was accepted since the log was opened.
    pub(crate) fn accepted(&self) -> Accepted {
        self.accepted
    }

    /// Gives the entry its place.
    pub(crate) fn place(&mut self, entry: &Framed<'_>) -> Result<Placed> {
        if !matches!(self.condition, Condition::Open) {
            return Ok(Placed::Refused(self.condition.clone()));
        }
        let frame = entry.bytes.len() as u64;
        let rotates = decide::rotates(self.end.offset, frame, self.segment_bytes_max);
        let overflows = self.buffer_bytes < self.active.bytes.len() + entry.bytes.len();
        let mut wake = false;
        if rotates || (overflows && !self.active.bytes.is_empty()) {
            if FULL_MAX <= self.full.len() && !self.active.bytes.is_empty() {
                return Ok(Placed::Full);
            }
            if rotates {
                let segment = next_after(self.end.segment)?;
                self.hand_over();
                self.end = Position { segment, offset: layout::HEADER_BYTES as u64 };
                self.asked_to_prepare = false;
            } else {
                self.hand_over();
            }
            let end = self.end;
            self.active.restart(end);
            wake = true;
        }
        self.active.bytes.extend_from_slice(entry.bytes);
        entry.content.count(&mut self.active.stats);
        self.accepted.add(entry.content.kind(), frame);
        self.end.offset += frame;
        self.active.trail.push(self.end.offset, entry.checksum);
        if !self.asked_to_prepare && self.segment_bytes_max / 2 < self.end.offset {
            self.asked_to_prepare = true;
            wake = true;
        }
        Ok(Placed::At { end: self.end, wake })
    }

    /// The oldest entries not yet handed to the I/O side; with `all` also those of the buffer that is
    /// being filled.
    pub(crate) fn take(&mut self, all: bool) -> Option<Chunk> {
        if let Some(chunk) = self.full.pop_front() {
            return Some(chunk);
        }
        if !all || self.active.bytes.is_empty() {
            return None;
        }
        self.hand_over();
        let end = self.end;
        self.active.restart(end);
        self.full.pop_front()
    }

    /// Takes an emptied buffer back.
    pub(crate) fn give_back(&mut self, mut chunk: Chunk) {
        // One that grew for an oversize entry is not kept.
        if self.spare.len() <= FULL_MAX && chunk.bytes.capacity() <= 2 * self.buffer_bytes {
            chunk.bytes.clear();
            self.spare.push(chunk);
        }
    }

    /// Puts the active buffer among the full ones, if it holds anything.
    fn hand_over(&mut self) {
        if self.active.bytes.is_empty() {
            return;
        }
        let mut fresh = self.spare.pop().unwrap_or_default();
        if fresh.bytes.capacity() == 0 {
            fresh.bytes.reserve_exact(self.buffer_bytes);
        }
        let filled = std::mem::replace(&mut self.active, fresh);
        self.full.push_back(filled);
    }
}

thread_local! {
    static FRAME: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// What a thread's encoding buffer may keep between calls, in bytes.
const FRAME_KEPT_BYTES: usize = 4 << 20;

/// Lends the thread's buffer for encoding, empty. Encoding happens outside every lock.
pub(crate) fn with_frame_buffer<T>(work: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    let mut buffer = FRAME.with(RefCell::take);
    buffer.clear();
    let result = work(&mut buffer);
    if buffer.capacity() <= FRAME_KEPT_BYTES {
        FRAME.with(|kept| kept.replace(buffer));
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(bytes: &[u8]) -> Framed<'_> {
        Framed { bytes, checksum: 1, content: Content::of_samples(&[]) }
    }

    fn place(appender: &mut Appender, bytes: usize) -> Placed {
        appender.place(&framed(&vec![1; bytes])).unwrap()
    }

    fn appender(segment_bytes_max: u64) -> Appender {
        Appender::new(Position { segment: 1, offset: 8 }, 4096, segment_bytes_max)
    }

    #[test]
    fn positions_rise_across_segments() {
        let mut appender = appender(100);
        let mut ends = Vec::new();
        for _ in 0..3 {
            if let Placed::At { end, .. } = place(&mut appender, 40) {
                ends.push((end.segment, end.offset));
            }
        }
        assert_eq!(ends, [(1, 48), (1, 88), (2, 48)]);
        let first = appender.take(true).unwrap();
        assert_eq!((first.segment, first.offset, first.bytes.len()), (1, 8, 80));
        let second = appender.take(true).unwrap();
        assert_eq!((second.segment, second.offset, second.bytes.len()), (2, 8, 40));
        assert!(appender.take(true).is_none());
    }

    #[test]
    fn two_full_buffers_ask_the_caller_to_write() {
        let mut appender = appender(1 << 20);
        assert!(matches!(place(&mut appender, 4000), Placed::At { wake: false, .. }));
        assert!(matches!(place(&mut appender, 4000), Placed::At { wake: true, .. }));
        assert!(matches!(place(&mut appender, 4000), Placed::Full));
        let chunk = appender.take(false).unwrap();
        appender.give_back(chunk);
        assert!(matches!(place(&mut appender, 4000), Placed::At { wake: true, .. }));
    }

    #[test]
    fn an_entry_larger_than_a_buffer_is_taken() {
        let mut appender = appender(1 << 20);
        assert!(matches!(place(&mut appender, 100_000), Placed::At { .. }));
        assert_eq!(appender.take(true).unwrap().bytes.len(), 100_000);
    }

    #[test]
    fn numbers_at_their_end_are_an_error() {
        let mut appender = Appender::new(Position { segment: u64::MAX, offset: 90 }, 4096, 100);
        let error = appender.place(&framed(&[1; 40])).err().unwrap();
        assert_eq!(error.kind(), crate::ErrorKind::NumbersExhausted);
    }
}
