//! What opening a log found and did: for programs, and as text for people.

use std::fmt;

use wal_segment::{Fault, Position, Reason, SegmentStats, Verdict};

use crate::mark::MarkStatus;
use crate::options::RecoveryMode;

/// How many places of malformed entries a report lists; all of them are counted.
pub(crate) const MALFORMED_LISTED_MAX: usize = 1000;

/// Bytes that could not be read as entries and were stepped over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The first byte.
    pub from: Position,
    /// The offset behind the last byte, in the same segment.
    pub to_offset: u64,
    /// Why they could not be read.
    pub reason: Reason,
}

/// A file in quarantine, or one that a repair would put there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// The name in `quarantine/`; empty in a report of what would be done.
    pub name: String,
    /// The segment that the bytes are from.
    pub segment: u64,
    /// Where they began in it; 0 means the whole file.
    pub offset: u64,
    /// How many bytes.
    pub bytes: u64,
}

/// What opening found, what it cut, and where that is kept.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct RecoveryReport {
    /// The mode asked for.
    pub mode: RecoveryMode,
    /// The judgement on the whole log: that of its first fault.
    pub verdict: Verdict,
    /// The first fault.
    pub fault: Option<Fault>,
    /// What was stepped over, in the mode that does.
    pub gaps: Vec<Gap>,
    /// Where the log now ends, when something behind it was cut.
    pub cut_at: Option<Position>,
    /// What was cut, and the names under which it is kept.
    pub quarantined: Vec<Quarantined>,
    /// Positions of entries that do not decode (the first 1000).
    pub malformed: Vec<Position>,
    /// How many entries do not decode.
    pub malformed_count: u64,
    /// What was read.
    pub stats: SegmentStats,
    /// Segments read.
    pub segments: u64,
    /// What the durable mark said.
    pub mark: MarkStatus,
    /// Names in the directory that the log does not know. A `compact.tmp` is the reference's: after a
    /// crash of its truncation it may hold the only copy of the kept series.
    pub leftovers: Vec<String>,
    /// Whether the repair could not be finished for want of space: the log is open and can be
    /// truncated, appends fail until there is room.
    pub pending: bool,
    /// Whether the mode does not allow to open this log (only in a report of an inspection).
    pub refused: bool,
    /// The end of the log: where the next entry goes.
    pub end: Position,
}

impl RecoveryReport {
    pub(crate) fn add_malformed(&mut self, at: Position) {
        self.malformed_count += 1;
        if self.malformed.len() < MALFORMED_LISTED_MAX {
            self.malformed.push(at);
        }
    }

    /// Bytes that were cut.
    #[must_use]
    pub fn quarantined_bytes(&self) -> u64 {
        self.quarantined.iter().map(|file| file.bytes).sum()
    }
}

impl fmt::Display for RecoveryReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stats = &self.stats;
        writeln!(f, "verdict: {}", self.verdict)?;
        if let Some(fault) = &self.fault {
            writeln!(f, "fault: {fault}")?;
        }
        writeln!(
            f,
            "read: segments {}, entries {}, series {}, samples {}, deletes {}",
            self.segments, stats.entries, stats.series, stats.samples, stats.deletes
        )?;
        if self.malformed_count != 0 {
            writeln!(f, "malformed entries, skipped: {}", self.malformed_count)?;
        }
        for gap in &self.gaps {
            let bytes = gap.to_offset.saturating_sub(gap.from.offset);
            writeln!(f, "gap: {} to offset {} ({bytes} bytes): {}", gap.from, gap.to_offset, gap.reason)?;
        }
        writeln!(f, "durable mark: {}", self.mark)?;
        if self.refused {
            writeln!(f, "refused: the mode {} does not open this log; nothing is changed", self.mode)?;
            return Ok(());
        }
        if let Some(at) = self.cut_at {
            writeln!(f, "the log ends at {at}")?;
        }
        for file in &self.quarantined {
            let from = Position { segment: file.segment, offset: file.offset };
            let name = if file.name.is_empty() { "(a new file)" } else { &file.name };
            writeln!(f, "set aside: {} bytes from {from} as quarantine/{name}", file.bytes)?;
        }
        if self.pending {
            writeln!(f, "pending: the disk is full; the repair is finished when there is room")?;
        }
        for name in &self.leftovers {
            let note = match name.as_str() {
                "compact.tmp" => {
                    " (left by a truncation of the reference; it may hold the only copy of its series)"
                }
                _ => "",
            };
            writeln!(f, "not ours, left alone: {name}{note}")?;
        }
        writeln!(f, "next entry at: {}", self.end)
    }
}
