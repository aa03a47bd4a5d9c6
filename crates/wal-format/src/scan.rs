//! What stands at the front of a window of a segment: an entry, not enough bytes, or an end and why.

use thiserror::Error;

use crate::checksum;
use crate::cursor::{array_at, narrow, part, wide};
use crate::entry::{Entry, EntryKind};
use crate::layout::{CHECKSUM_BYTES, END_MARK, ENTRY_OVERHEAD_BYTES, FRAME_HEADER_BYTES};

/// What [`next_entry`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// An entry whose checksum holds; the next one starts [`Entry::frame_bytes`] further on.
    Entry(Entry<'a>),
    /// The window is too short to tell. The segment does have that many bytes from the same start on.
    NeedMore {
        /// How long a window, from the same start, will do for the next step.
        window_bytes: u64,
    },
    /// There is no entry here.
    End(EntryEnd),
}

/// Why entries end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EntryEnd {
    /// The segment ends exactly here.
    EndOfFile,
    /// The end mark: nothing was written from here on, if all bytes are zero; see [`all_zero`].
    EndMark,
    /// Bytes that are no entry.
    Fault(EntryFault),
}

/// What is wrong with the bytes where an entry should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
pub enum EntryFault {
    /// The segment ends within the frame header.
    #[error("{have} bytes are left where an entry header takes {FRAME_HEADER_BYTES}")]
    Incomplete {
        /// How many bytes the segment has from here on.
        have: u64,
    },
    /// The first byte is neither a kind of entry nor the end mark.
    #[error("unknown entry type {0}")]
    UnknownKind(u8),
    /// The length leads past the end of the segment.
    #[error("the entry takes {frame_bytes} bytes, and the segment has {have} more")]
    PastEnd {
        /// How many bytes the whole entry would take.
        frame_bytes: u64,
        /// How many bytes the segment has from here on.
        have: u64,
    },
    /// The stored checksum is not that of the bytes.
    #[error("checksum {stored:08x} is stored, and the bytes have {computed:08x}")]
    Checksum {
        /// The checksum in the entry.
        stored: u32,
        /// The checksum of the bytes before it.
        computed: u32,
    },
}

/// Looks at one entry. `window` starts where an entry should, and `more_bytes` of the segment lie behind it.
///
/// Nothing is believed that the bytes at hand do not show: a length that leads past the segment is a fault before
/// anyone reads or allocates that much. The answer is the same for every window that is long enough.
///
/// An unknown first byte is [`EntryFault::UnknownKind`] however few bytes follow.
///
/// ```
/// use wal_format::{EntryEnd, EntryKind, Step, frame_payload, next_entry};
///
/// let mut log = Vec::new();
/// frame_payload(EntryKind::Samples, 1, b"", &mut log)?;
/// let Step::Entry(entry) = next_entry(&log, 0) else { panic!("no entry") };
/// assert_eq!(next_entry(&log[entry.frame_bytes()..], 0), Step::End(EntryEnd::EndOfFile));
/// assert_eq!(next_entry(&log[..6], 4), Step::NeedMore { window_bytes: 10 });
/// # Ok::<(), wal_format::ItemTooLarge>(())
/// ```
#[inline]
pub fn next_entry(window: &[u8], more_bytes: u64) -> Step<'_> {
    let have = wide(window.len()).saturating_add(more_bytes);
    let header_bytes = wide(FRAME_HEADER_BYTES);
    let Some(&first) = window.first() else {
        return match have {
            0 => Step::End(EntryEnd::EndOfFile),
            _ => Step::NeedMore { window_bytes: have.min(header_bytes) },
        };
    };
    if first == END_MARK {
        return Step::End(EntryEnd::EndMark);
    }
    let Some(kind) = EntryKind::from_code(first) else {
        return fault(EntryFault::UnknownKind(first));
    };
    if have < header_bytes {
        return fault(EntryFault::Incomplete { have });
    }
    let Some(&[_, flag, a, b, c, d]) = window.first_chunk::<FRAME_HEADER_BYTES>() else {
        return Step::NeedMore { window_bytes: header_bytes };
    };
    let frame_bytes = u64::from(u32::from_be_bytes([a, b, c, d])).saturating_add(wide(ENTRY_OVERHEAD_BYTES));
    if have < frame_bytes {
        return fault(EntryFault::PastEnd { frame_bytes, have });
    }
    let Some(frame) = narrow(frame_bytes).and_then(|bytes| window.get(..bytes)) else {
        return Step::NeedMore { window_bytes: frame_bytes };
    };
    let Some((body, stored)) = frame.split_last_chunk::<CHECKSUM_BYTES>() else {
        return Step::NeedMore { window_bytes: frame_bytes };
    };
    let (stored, computed) = (u32::from_be_bytes(*stored), checksum::crc32c(body));
    if stored != computed {
        return fault(EntryFault::Checksum { stored, computed });
    }
    let payload = part(body, FRAME_HEADER_BYTES..body.len());
    Step::Entry(Entry { kind, flag, payload, checksum: stored })
}

/// The kind and the whole size in bytes of the entry that starts with `header`, believing its length field.
///
/// `None` if these are fewer than six bytes or the kind is unknown. Nothing is checked beyond that.
#[inline]
pub fn frame_bytes(header: &[u8]) -> Option<(EntryKind, u64)> {
    let &[code, _, a, b, c, d] = array_at::<FRAME_HEADER_BYTES>(header, 0)?;
    let kind = EntryKind::from_code(code)?;
    Some((kind, u64::from(u32::from_be_bytes([a, b, c, d])).saturating_add(wide(ENTRY_OVERHEAD_BYTES))))
}

/// Whether every byte is zero: never-written space behind an end mark.
pub fn all_zero(bytes: &[u8]) -> bool {
    // Folding a block without a branch lets the compiler use wide registers; leaving between blocks keeps a long
    // non-zero tail cheap.
    let mut blocks = bytes.chunks_exact(ZERO_BLOCK_BYTES);
    let is_zero = |block: &[u8]| block.iter().fold(0, |any, byte| any | byte) == 0;
    blocks.all(is_zero) && is_zero(blocks.remainder())
}

fn fault(fault: EntryFault) -> Step<'static> {
    Step::End(EntryEnd::Fault(fault))
}

const ZERO_BLOCK_BYTES: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::frame_payload;

    fn framed(payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        frame_payload(EntryKind::Series, 1, payload, &mut out).unwrap();
        out
    }

    fn faults(window: &[u8], more_bytes: u64, expected: EntryFault) {
        assert_eq!(next_entry(window, more_bytes), Step::End(EntryEnd::Fault(expected)));
    }

    #[test]
    fn the_end_of_the_file_is_an_end() {
        assert_eq!(next_entry(&[], 0), Step::End(EntryEnd::EndOfFile));
        assert_eq!(next_entry(&[], 3), Step::NeedMore { window_bytes: 3 });
        assert_eq!(next_entry(&[], 300), Step::NeedMore { window_bytes: 6 });
    }

    #[test]
    fn a_zero_is_the_end_mark_whatever_follows() {
        assert_eq!(next_entry(&[0], 0), Step::End(EntryEnd::EndMark));
        assert_eq!(next_entry(&[0, 2, 3], 9), Step::End(EntryEnd::EndMark));
    }

    #[test]
    fn an_unknown_type_is_a_fault_at_once() {
        faults(&[1], 0, EntryFault::UnknownKind(1));
        faults(&[255], 100, EntryFault::UnknownKind(255));
    }

    #[test]
    fn a_cut_header_is_a_fault_and_a_short_window_is_not() {
        faults(&[2, 1], 3, EntryFault::Incomplete { have: 5 });
        assert_eq!(next_entry(&[2, 1], 4), Step::NeedMore { window_bytes: 6 });
    }

    #[test]
    fn length_past_the_end_is_a_fault() {
        faults(
            &[2, 1, 0xff, 0xff, 0xff, 0xff],
            0,
            EntryFault::PastEnd { frame_bytes: 0x1_0000_0009, have: 6 },
        );
        let entry = framed(b"abc");
        let short = &entry[..entry.len() - 1];
        faults(short, 0, EntryFault::PastEnd { frame_bytes: 13, have: 12 });
        assert_eq!(next_entry(short, 1), Step::NeedMore { window_bytes: 13 });
    }

    #[test]
    fn any_flipped_bit_is_a_fault_or_an_end() {
        let entry = framed(b"some payload");
        for bit in 0..entry.len() * 8 {
            let mut flipped = entry.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(next_entry(&flipped, 0), Step::End(_)), "bit {bit}");
        }
    }

    #[test]
    fn the_answer_does_not_depend_on_the_window() {
        let mut log = framed(b"abc");
        log.extend(framed(b""));
        let whole = next_entry(&log, 0);
        for len in 0..log.len() {
            let more = wide(log.len() - len);
            match next_entry(&log[..len], more) {
                Step::NeedMore { window_bytes } => assert!(wide(len) < window_bytes && len < 13),
                step => assert_eq!(step, whole),
            }
        }
    }

    #[test]
    fn extent_is_told_from_six_bytes() {
        assert_eq!(frame_bytes(&framed(b"abc")[..6]), Some((EntryKind::Series, 13)));
        assert_eq!(frame_bytes(&framed(b"abc")[..5]), None);
        assert_eq!(frame_bytes(&[1, 0, 0, 0, 0, 0]), None);
        assert_eq!(frame_bytes(&[4, 0, 255, 255, 255, 255]), Some((EntryKind::Deletes, (1 << 32) + 9)));
    }

    #[test]
    fn one_set_bit_anywhere_is_not_all_zero() {
        assert!(all_zero(&[]));
        for len in [1, 127, 128, 129, 300] {
            let mut bytes = vec![0; len];
            assert!(all_zero(&bytes));
            for at in 0..len {
                bytes[at] = 0x10;
                assert!(!all_zero(&bytes));
                bytes[at] = 0;
            }
            // Many at once do not cancel out.
            bytes.fill(0x10);
            assert!(!all_zero(&bytes));
        }
    }
}
