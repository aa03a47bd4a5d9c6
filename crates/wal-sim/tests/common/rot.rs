//! Bytes that change by themselves, and which entries they take with them. Knows the frame of an entry, and
//! nothing else of the log.

use std::ops::Range;

use wal_segment::dir::{segment_name, segment_number};
use wal_sim::{Disk, Rng};

use super::history::Rot;

/// Where an entry lies.
#[derive(Clone, Debug)]
pub struct Place {
    pub segment: u64,
    pub bytes: Range<usize>,
}

/// The places of all entries on the disk, in order: read from the lengths in their frames.
pub fn places(disk: &Disk) -> Vec<Place> {
    let mut numbers: Vec<u64> = disk.list().filter_map(|(name, _)| segment_number(name)).collect();
    numbers.sort_unstable();
    let mut places = Vec::new();
    for segment in numbers {
        let bytes = disk.contents(&segment_name(segment)).unwrap();
        let mut at = 8;
        while bytes.get(at).is_some_and(|kind| *kind != 0) {
            let Some(length) = bytes.get(at + 2..at + 6) else { break };
            let end = at + 10 + u32::from_be_bytes(length.try_into().unwrap()) as usize;
            places.push(Place { segment, bytes: at..end });
            at = end;
        }
    }
    places
}

/// Damages a disk at the n-th entry; says which entries are not what they were.
pub fn damage(disk: &mut Disk, nth: u16, rot: Rot) -> Vec<usize> {
    let places = places(disk);
    if places.is_empty() {
        return Vec::new();
    }
    let hit = &places[usize::from(nth) % places.len()];
    let name = segment_name(hit.segment);
    let mut bytes = disk.contents(&name).unwrap();
    let last = places.iter().rfind(|place| place.segment == hit.segment).unwrap().bytes.clone();
    let start = hit.bytes.start;
    let until = |more: u16| (hit.bytes.end + usize::from(more)).min(last.end);
    let changed = match rot {
        Rot::Bit(n) => {
            // Behind the kind, the flag and the length.
            let at = start + 6 + usize::from(n) % (hit.bytes.len() - 6);
            bytes[at] ^= 1 << (n % 8);
            at..at + 1
        }
        Rot::Length => {
            bytes[start + 2] ^= 0x40;
            start + 2..start + 3
        }
        // A segment that ends in zeros looks finished there, and only a mark in it can tell.
        Rot::Zeros(more) if until(more) < last.end => {
            bytes[start..until(more)].fill(0);
            start..until(more)
        }
        Rot::Kind | Rot::Zeros(_) => {
            bytes[start] = 9;
            start..start + 1
        }
        Rot::Header => {
            bytes[..8].fill(0xff);
            0..last.end
        }
        Rot::Garbage(more) => {
            let mut rng = Rng::new(u64::from(nth));
            bytes[start..until(more)].fill_with(|| rng.next_u64().to_le_bytes()[0] | 1);
            start..until(more)
        }
    };
    disk.put(&name, &bytes);
    let touched = |place: &Place| {
        place.segment == hit.segment && place.bytes.start < changed.end && changed.start < place.bytes.end
    };
    (0..places.len()).filter(|index| touched(&places[*index])).collect()
}
