//! Going on behind a fault: where to, and how much may be read to find out.
//!
//! One search is linear in the bytes. But whoever chooses the bytes can make a great many searches out of a
//! segment, each of which looks far ahead and comes back. So all work in a segment together has a bound
//! that is linear in its size: first the costly doubts are dropped, then the rest of the segment is one gap,
//! reported like any other.

use std::io;

use wal_format::{Resync, frame_bytes, layout};
use wal_segment::reader::Search;
use wal_segment::storage::read_up_to;
use wal_segment::{Advance, SegmentReader};

/// How much is still done for a gap in this segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effort {
    /// Everything: an entry that starts earlier is looked for, a claimed extent is tried.
    Whole,
    /// The first valid entry is taken for one.
    Brief,
    /// Nothing: the gap reaches to the end.
    Spent,
}

/// Work in a segment, as a multiple of its size and a fixed part, up to which effort is whole; and up to
/// which it is brief. Damage as it happens stays far below the first: reading a segment once is twice its
/// size.
const WHOLE: (u64, u64) = (8, 64 << 20);
const BRIEF: (u64, u64) = (32, 256 << 20);

fn effort(reader: &SegmentReader) -> Effort {
    let within = |(times, fixed): (u64, u64)| {
        reader.work_bytes() <= reader.len_bytes().saturating_mul(times).saturating_add(fixed)
    };
    if within(WHOLE) {
        Effort::Whole
    } else if within(BRIEF) {
        Effort::Brief
    } else {
        Effort::Spent
    }
}

/// Looks for the next valid entry at or behind `from`. `exhausted` also where the bound is reached.
pub(crate) fn search(reader: &mut SegmentReader, from: u64) -> io::Result<Search> {
    match effort(reader) {
        Effort::Whole => reader.search_looking_on(from, Resync::LOOK_ON_BYTES),
        Effort::Brief => reader.search_looking_on(from, 0),
        Effort::Spent => Ok(Search { found: None, exhausted: true }),
    }
}

/// Where reading goes on behind a fault. The extent that the damaged entry claims is believed first, if
/// an entry or the end follows it there: a label's text may look like an entry, and the claim is what
/// keeps us out of it. Not so where entries stand side by side from the first one found up to that very
/// place: then it is the length that is damaged. Text cannot do that by chance, for the checksum of the
/// entry around it comes between.
pub(crate) fn resume_behind(
    reader: &mut SegmentReader,
    offset: u64,
    entry_behind: Option<u64>,
) -> io::Result<u64> {
    let len = reader.len_bytes();
    match effort(reader) {
        Effort::Spent => return Ok(len),
        Effort::Brief => return Ok(entry_behind.unwrap_or(len)),
        Effort::Whole => {}
    }
    let mut head = [0_u8; layout::FRAME_HEADER_BYTES];
    let have = read_up_to(reader.file(), &mut head, offset, len)?;
    let claimed = frame_bytes(head.get(..have).unwrap_or_default())
        .and_then(|(_, bytes)| offset.checked_add(bytes))
        .filter(|end| *end <= len);
    Ok(match claimed {
        Some(end) if reader.is_boundary(end)? => match entry_behind {
            Some(first) if entries_fill(reader, first, end)? => first,
            _ => end,
        },
        _ => entry_behind.unwrap_or(len),
    })
}

/// Whether valid entries stand side by side from one offset up to exactly the other; not if that lies before it.
fn entries_fill(reader: &mut SegmentReader, from: u64, to: u64) -> io::Result<bool> {
    let here = reader.offset();
    reader.seek(from);
    while reader.offset() < to {
        if let Advance::End(_) = reader.advance()? {
            break;
        }
    }
    let filled = reader.offset() == to;
    reader.seek(here);
    Ok(filled)
}
