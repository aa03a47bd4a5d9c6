//! What follows from reading a log: what to repair, where to append, what stays.

use std::ops::Range;

use wal_format::layout;
use wal_segment::{Access, Fault, Position, SegmentStats, Verdict};

use crate::error::{Error, Result};
use crate::mark::{MarkStatus, Trail};
use crate::repair::{RepairPlan, Target};
use crate::report::RecoveryReport;
use crate::scan::Finished;
use crate::view::View;

/// A segment that stays in the log.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) number: u64,
    pub(crate) name: String,
    pub(crate) bytes: u64,
    pub(crate) stats: SegmentStats,
}

/// Where the next entry goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AppendAt {
    /// Behind the last entry of the last segment.
    Continue(Position),
    /// Into a segment that does not exist yet.
    NewSegment(u64),
}

impl AppendAt {
    pub(crate) fn position(self) -> Position {
        match self {
            Self::Continue(at) => at,
            Self::NewSegment(segment) => Position { segment, offset: layout::HEADER_BYTES as u64 },
        }
    }
}

/// What reading the whole log found.
pub(crate) struct Reading {
    pub(crate) report: RecoveryReport,
    pub(crate) segments: Vec<ReadSegment>,
    pub(crate) fault: Option<Fault>,
    /// The last entries of the last segment read.
    pub(crate) trail: Trail,
    /// The last entries of the segment before that one, in case nothing of the last one stays.
    pub(crate) trail_before: Trail,
}

pub(crate) struct ReadSegment {
    pub(crate) finished: Finished,
    pub(crate) stats: SegmentStats,
    pub(crate) gaps: Vec<Range<u64>>,
}

/// What follows from the reading: what to repair, where to append, what stays.
pub(crate) fn plan(view: &View, reading: &mut Reading) -> Result<(RepairPlan, AppendAt, Vec<Kept>)> {
    reading.report.cut_at = reading.fault.map(|fault| fault.at);
    let mut plan = RepairPlan::default();
    let mut kept = Vec::new();
    let cut_number = reading.fault.map(|fault| fault.at.segment);
    // Everything behind the fault leaves, highest number first.
    if let Some(number) = cut_number {
        for file in view.segments.iter().rev().filter(|file| number < file.number) {
            plan.moves.push(Target { name: file.name.clone(), number: file.number, len: file.bytes });
        }
    }
    let header_bytes = layout::HEADER_BYTES as u64;
    let last_read = reading.segments.last().map(|segment| segment.finished.file.number);
    for segment in &reading.segments {
        let is_last_read = last_read == Some(segment.finished.file.number);
        let Finished { file, len, end, .. } = &segment.finished;
        let target = Target { name: file.name.clone(), number: file.number, len: *len };
        let is_last = view.segments.last().is_some_and(|last| last.number == file.number);
        let mut bytes = *end;
        if *end < header_bytes || (Some(file.number) == cut_number && is_header_fault(reading)) {
            // No header, no entries: nothing of it stays.
            match len {
                0 => plan.empty.push(target),
                _ => plan.moves.push(target),
            }
            continue;
        } else if segment.gaps.iter().any(|gap| !gap.is_empty()) {
            let parts = parts_between(&segment.gaps, *end);
            bytes = header_bytes + parts.iter().map(|part| part.end - part.start).sum::<u64>();
            if parts.is_empty() {
                plan.moves.push(target);
                continue;
            }
            if is_last_read {
                reading.trail = reading.trail.moved(|end| place_in_parts(&parts, end));
            }
            plan.rewrites.push((target, parts, true));
        } else if Some(file.number) == cut_number {
            plan.cut = Some((target, *end, true));
        } else if is_last && *end < *len {
            // Zeros, all of them looked at: space that was prepared and not used.
            plan.cut = Some((target, *end, false));
        }
        kept.push(Kept { number: file.number, name: file.name.clone(), bytes, stats: segment.stats });
    }
    // Where the last segment leaves, the one before it is the last: what was prepared in it goes too, or the next open
    // would find it there and cut it.
    if plan.cut.is_none() {
        let last = kept.last().filter(|last| !plan.rewrites_segment(last.number));
        let mut reads = reading.segments.iter().map(|segment| &segment.finished);
        let read = last.and_then(|last| reads.find(|read| read.file.number == last.number));
        if let Some(Finished { file, len, end, .. }) = read.filter(|read| read.end < read.len) {
            plan.cut =
                Some((Target { name: file.name.clone(), number: file.number, len: *len }, *end, false));
        }
    }
    if kept.last().map(|last| last.number) != last_read {
        // Witnesses are of the segment that the mark will name.
        let before = reading.segments.iter().rev().nth(1).map(|segment| segment.finished.file.number);
        let trail = std::mem::take(&mut reading.trail_before);
        // Without a segment before there is no trail either.
        let is_of_last = kept.last().map(|last| last.number) == before;
        reading.trail = if is_of_last { trail } else { Trail::default() };
    }
    plan.moves.sort_by_key(|target| std::cmp::Reverse(target.number));
    let damaged = reading.report.verdict == Verdict::Damaged;
    let last_kept = kept.last().filter(|last| {
        // Behind damage a new segment begins, so that no position that was once durable is ever given
        // to another entry. The same where the last segment did not survive.
        let was_last = reading.segments.last().is_some_and(|read| read.finished.file.number == last.number);
        let end = Position { segment: last.number, offset: last.bytes };
        let above_mark =
            view.mark.as_ref().is_none_or(|mark| mark.floor <= end.segment && mark.position <= end);
        was_last && !damaged && above_mark
    });
    // A file that a backup shares is left as it is; a repair gives the log one of its own.
    let last_kept = match last_kept {
        Some(last) if plan.cut.is_none() && is_shared(view, &last.name)? => None,
        other => other,
    };
    let append_at = match last_kept {
        Some(last) => AppendAt::Continue(Position { segment: last.number, offset: last.bytes }),
        None => AppendAt::NewSegment(view.next_number()?),
    };
    // A segment that is written anew has its entries elsewhere than they were read.
    if plan.rewrites.is_empty() {
        plan.witnesses = reading.trail.witnesses();
    }
    plan.mark_at = kept
        .last()
        .map_or(append_at.position(), |last| Position { segment: last.number, offset: last.bytes });
    if !damaged && append_at.position().segment != plan.mark_at.segment {
        // A mark in a segment that appending has left says that a fault there is damage; this one is none.
        plan.mark_at = append_at.position();
        plan.witnesses.clear();
    } else if let (false, Some(mark), MarkStatus::Fits(at)) = (damaged, &view.mark, reading.report.mark) {
        // A mark before the first entry of a segment proves nothing. One in a segment before may tell that what is cut
        // was torn, and must go on telling: power loss before the cut would find damage.
        if plan.mark_at.offset == header_bytes && at.segment < plan.mark_at.segment {
            plan.mark_at = at;
            plan.witnesses.clone_from(&mark.witnesses);
        }
    }
    Ok((plan, append_at, kept))
}

fn is_shared(view: &View, name: &str) -> Result<bool> {
    let links = view.storage.open(name, Access::Read).and_then(|file| file.links());
    Ok(1 < links.map_err(|error| Error::file("read", view.storage.path(name), error))?)
}

fn is_header_fault(reading: &Reading) -> bool {
    reading.fault.is_some_and(|fault| fault.reason.is_header_fault())
}

/// Where an offset of the old file is in one that holds only these parts of it.
fn place_in_parts(parts: &[Range<u64>], offset: u64) -> u64 {
    let before = parts.iter().map(|part| part.end.min(offset).saturating_sub(part.start));
    layout::HEADER_BYTES as u64 + before.sum::<u64>()
}

/// What lies between the gaps of a segment, from behind the header, or the gap in its place, to its end.
fn parts_between(gaps: &[Range<u64>], end: u64) -> Vec<Range<u64>> {
    let mut parts = Vec::new();
    let mut from = layout::HEADER_BYTES as u64;
    for gap in gaps {
        if from < gap.start {
            parts.push(from..gap.start);
        }
        // Without its header a file may go on with an entry that begins where the header should have been.
        let is_of_header = gap.start < layout::HEADER_BYTES as u64;
        from = if is_of_header { gap.end } else { from.max(gap.end) };
    }
    if from < end {
        parts.push(from..end);
    }
    parts
}
