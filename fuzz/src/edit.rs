//! Changes to bytes that hold entries, which keep most of them whole: what a fuzzer that flips bits never finds.

use std::ops::Range;

use wal_format::EntryKind;
use wal_format::layout::{ENTRY_OVERHEAD_BYTES, FRAME_HEADER_BYTES};
use wal_sim::Rng;

use crate::frames;

/// The fuzzer's own change of the first `size` of these bytes to at most `size_max`; returns the new size.
pub type Base<'a> = &'a mut dyn FnMut(&mut [u8], usize, usize) -> usize;

/// Changes the entries in these bytes, and lets most of them have valid checksums afterwards.
pub fn entries(bytes: &mut Vec<u8>, bytes_max: usize, rng: &mut Rng, base: Base<'_>) {
    let frames = frames::walk(bytes);
    let any = |rng: &mut Rng| frames.get(rng.below(frames.len())).cloned();
    match rng.below(16) {
        0..=4 => whole(bytes, bytes_max, base),
        5..=8 => match any(rng) {
            Some(frame) => payload(bytes, frame, rng, base),
            None => whole(bytes, bytes_max, base),
        },
        9 => match any(rng) {
            // One entry once more, at another boundary.
            Some(frame) => {
                let copy = bytes[frame].to_vec();
                let at = any(rng).map_or(0, |frame| frame.start);
                drop(bytes.splice(at..at, copy));
            }
            None => bytes.extend(frames::entry(any_kind(rng), b"")),
        },
        10 => drop(any(rng).map(|frame| bytes.drain(frame).count())),
        11 => drop(any(rng).map(|frame| bytes[frame.start] = rng.below(6) as u8)),
        12 => {
            // A length that lies by a little: it swallows the beginning of the next entry, or leaves a rest.
            if let Some(frame) = any(rng) {
                let payload_bytes = frame.len() - ENTRY_OVERHEAD_BYTES;
                let lie = (payload_bytes + 1 + rng.below(24)).saturating_sub(12);
                frames::set_length(&mut bytes[frame.start..], lie);
            }
        }
        13 => {
            bytes.extend(frames::entry(any_kind(rng), &vec![0; rng.below(24)]));
        }
        14 => bytes.resize(bytes.len() + 1 + rng.below(40), 0),
        _ => {
            let at = any(rng).map_or(0, |frame| frame.end);
            bytes.truncate(at + rng.below(12));
        }
    }
    bytes.truncate(bytes_max);
    // One in eight keeps its faults: those are inputs, too.
    if !rng.one_in(8) {
        frames::fit_last_length(bytes);
        frames::repair_checksums(bytes);
    }
}

fn any_kind(rng: &mut Rng) -> u8 {
    EntryKind::ALL[rng.below(EntryKind::ALL.len())].code()
}

/// The fuzzer's own change of all bytes.
pub fn whole(bytes: &mut Vec<u8>, bytes_max: usize, base: Base<'_>) {
    let size = bytes.len();
    let room = bytes_max.max(size).max(1);
    bytes.resize(room, 0);
    let size = base(bytes, size, bytes_max.max(1));
    bytes.truncate(size);
}

/// The fuzzer's own change of one payload, whose length follows.
fn payload(bytes: &mut Vec<u8>, frame: Range<usize>, rng: &mut Rng, base: Base<'_>) {
    let within = frame.start + FRAME_HEADER_BYTES..frame.end + FRAME_HEADER_BYTES - ENTRY_OVERHEAD_BYTES;
    let mut payload = bytes[within.clone()].to_vec();
    let room = payload.len() + rng.below(32);
    whole(&mut payload, room, base);
    frames::set_length(&mut bytes[frame.start..], payload.len());
    drop(bytes.splice(within, payload));
}

#[cfg(test)]
mod tests {
    use super::*;
    use wal_format::{Step, next_entry};

    /// What stands in for the fuzzer's own change: one bit, and a byte more.
    fn flip(bytes: &mut [u8], size: usize, size_max: usize) -> usize {
        let size = (size + 1).min(size_max);
        if let Some(byte) = bytes[..size].last_mut() {
            *byte ^= 0x10;
        }
        size
    }

    #[test]
    fn most_changed_logs_still_hold_valid_entries() {
        let mut rng = Rng::new(7);
        let (mut valid, mut faulty) = (0, 0);
        for _ in 0..2000 {
            let mut bytes = [frames::entry(2, &[9; 20]), frames::entry(3, &[8; 12])].concat();
            entries(&mut bytes, 200, &mut rng, &mut flip);
            assert!(bytes.len() <= 200);
            let mut rest = &bytes[..];
            while let Step::Entry(entry) = next_entry(rest, 0) {
                rest = &rest[entry.frame_bytes()..];
                valid += 1;
            }
            faulty += usize::from(!rest.is_empty());
        }
        assert!(2000 < valid, "{valid} valid entries");
        assert!(100 < faulty, "{faulty} logs end at a fault");
    }

    #[test]
    fn a_changed_payload_keeps_its_frame() {
        let mut rng = Rng::new(1);
        for _ in 0..100 {
            let mut bytes = [frames::entry(2, &[9; 20]), frames::entry(3, &[8; 12])].concat();
            payload(&mut bytes, 0..30, &mut rng, &mut flip);
            assert_eq!(frames::walk(&bytes).len(), 2, "{bytes:02x?}");
        }
    }
}
