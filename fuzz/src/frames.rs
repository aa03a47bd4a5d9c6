//! Entries in bytes that may be anything: found by their lengths alone, and given valid checksums.

use std::ops::Range;

use wal_format::checksum::crc32c;
use wal_format::layout::{
    CHECKSUM_BYTES, END_MARK, ENTRY_OVERHEAD_BYTES, FLAG_DEFAULT, FRAME_HEADER_BYTES, LENGTH_AT,
};

/// Where entries lie, whatever their checksums say: up to an end mark or a length past the end.
pub fn walk(bytes: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(frame) = bytes.get(at..at + FRAME_HEADER_BYTES) {
        let length = u32::from_be_bytes([frame[2], frame[3], frame[4], frame[5]]) as usize;
        let end = at + length + ENTRY_OVERHEAD_BYTES;
        if frame[0] == END_MARK || bytes.len() < end {
            break;
        }
        found.push(at..end);
        at = end;
    }
    found
}

/// Gives every entry that [`walk`] finds the checksum of its bytes.
pub fn repair_checksums(bytes: &mut [u8]) {
    for frame in walk(bytes) {
        let at = frame.end - CHECKSUM_BYTES;
        let checksum = crc32c(&bytes[frame.start..at]);
        bytes[at..frame.end].copy_from_slice(&checksum.to_be_bytes());
    }
}

/// Makes the last entry whose length passes the end fit exactly, if there is one.
pub fn fit_last_length(bytes: &mut [u8]) {
    let at = walk(bytes).last().map_or(0, |frame| frame.end);
    let left = bytes.len() - at;
    if ENTRY_OVERHEAD_BYTES <= left && bytes[at] != END_MARK {
        set_length(&mut bytes[at..], left - ENTRY_OVERHEAD_BYTES);
    }
}

/// Writes the payload's length into the frame that these bytes begin with.
pub fn set_length(frame: &mut [u8], payload_bytes: usize) {
    let length = u32::try_from(payload_bytes).unwrap_or(u32::MAX);
    frame[LENGTH_AT..FRAME_HEADER_BYTES].copy_from_slice(&length.to_be_bytes());
}

/// A valid entry.
pub fn entry(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; payload.len() + ENTRY_OVERHEAD_BYTES];
    bytes[0] = kind;
    bytes[1] = FLAG_DEFAULT;
    set_length(&mut bytes, payload.len());
    bytes[FRAME_HEADER_BYTES..FRAME_HEADER_BYTES + payload.len()].copy_from_slice(payload);
    repair_checksums(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use wal_format::{Step, next_entry};

    #[test]
    fn entries_are_found_by_their_lengths_up_to_the_end_mark() {
        let mut bytes = entry(2, b"abc");
        bytes.extend(entry(3, b""));
        bytes.extend([0; 32]);
        assert_eq!(walk(&bytes), [0..13, 13..23]);
        bytes[5] = 255;
        assert!(walk(&bytes).is_empty(), "a length past the end ends the walk");
    }

    #[test]
    fn a_repaired_checksum_is_what_the_scanner_wants() {
        let mut bytes = entry(2, b"payload");
        bytes[8] ^= 1;
        assert!(!matches!(next_entry(&bytes, 0), Step::Entry(_)));
        repair_checksums(&mut bytes);
        assert!(matches!(next_entry(&bytes, 0), Step::Entry(_)));
    }

    #[test]
    fn a_last_length_is_made_to_fit() {
        let mut bytes = entry(2, b"first");
        bytes.extend([2, 1, 200, 0, 0, 0, 1, 2, 3, 4, 5, 6]);
        fit_last_length(&mut bytes);
        assert_eq!(walk(&bytes), [0..15, 15..27]);
    }
}
