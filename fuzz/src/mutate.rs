//! The mutators of the targets whose bytes hold checksums: without them the checksum hides the decoder.

use std::sync::Arc;

use wal_engine::Position;
use wal_engine::intent::{self, IntentStep};
use wal_engine::mark::{MARK_FILE, MarkFile, Witness};
use wal_format::checksum::crc32c;
use wal_format::layout::{CHECKSUM_BYTES, HEADER_BYTES};
use wal_segment::Storage;
use wal_sim::{Disk, Rng, SimDisk};

use crate::edit::{self, Base};
use crate::files::{Files, INTENT, MARK, Piece, SEGMENTS, WITH_HEADER};
use crate::frames;

/// Entries behind so many bytes that mean something else.
pub fn entries(
    data: &mut [u8],
    size: usize,
    size_max: usize,
    seed: u32,
    skip: usize,
    base: Base<'_>,
) -> usize {
    let mut rng = Rng::new(u64::from(seed));
    if size <= skip || rng.one_in(16) {
        return base(data, size, size_max);
    }
    let mut bytes = data[skip..size].to_vec();
    edit::entries(&mut bytes, size_max.saturating_sub(skip), &mut rng, base);
    put(data, skip, &bytes)
}

/// The file of the mark or of the intent, behind a byte that says which.
pub fn control(data: &mut [u8], size: usize, size_max: usize, seed: u32, base: Base<'_>) -> usize {
    let mut rng = Rng::new(u64::from(seed));
    let Some((which, bytes)) = data[..size].split_first() else { return base(data, size, size_max) };
    let code = if which % 2 == 0 { MARK } else { INTENT };
    if rng.one_in(32) {
        data[0] ^= 1;
        return size;
    }
    let mut bytes = bytes.to_vec();
    let room = size_max.saturating_sub(1);
    if code == MARK {
        // Here the slots are where the file has them; in a directory they are the halves of the bytes.
        let slot = rng.below(2) * SLOT_BYTES;
        bytes.resize((slot + SLOT_BYTES).max(bytes.len()).min(room), 0);
        let mut one = bytes.get(slot..bytes.len().min(slot + SLOT_BYTES)).unwrap_or_default().to_vec();
        let length = one.len();
        slot_or_intent(code, &mut one, length, &mut rng, base);
        one.resize(length, 0);
        bytes.truncate(slot + length);
        drop(bytes.splice(slot.min(bytes.len()).., one));
    } else {
        slot_or_intent(code, &mut bytes, room, &mut rng, base);
    }
    bytes.truncate(room);
    put(data, 1, &bytes)
}

/// A directory: one of its files is changed as its kind wants, or files come, go and change places.
pub fn directory(data: &mut [u8], size: usize, size_max: usize, seed: u32, base: Base<'_>) -> usize {
    let mut rng = Rng::new(u64::from(seed));
    if rng.one_in(16) {
        return base(data, size, size_max);
    }
    let mut files = Files::parse(&data[..size]);
    let at = rng.below(files.pieces.len());
    match rng.below(12) {
        0 => files.settings ^= 1 << rng.below(8),
        1 => files.pieces.push(Piece { code: rng.next_u64() as u8, bytes: Vec::new() }),
        2 if !files.pieces.is_empty() => drop(files.pieces.remove(at)),
        3 => {
            let other = rng.below(files.pieces.len());
            if let Some(piece) = files.pieces.get_mut(at) {
                piece.code = if rng.one_in(2) {
                    piece.code ^ [WITH_HEADER, 0x40][other % 2]
                } else {
                    rng.next_u64() as u8
                };
            }
        }
        4 => splice(&mut files, &mut rng),
        5 | 6 => mark_that_fits(&mut files, &mut rng),
        7 => {
            let steps: Vec<IntentStep> = (0..1 + rng.below(3)).map(|_| step(&mut rng)).collect();
            files.pieces.retain(|piece| piece.code != INTENT);
            files.pieces.push(Piece { code: INTENT, bytes: intent::encode(&steps) });
        }
        _ => {
            if let Some(piece) = files.pieces.get_mut(at) {
                change(piece, size_max, &mut rng, base);
            }
        }
    }
    put(data, 0, &files.compose(size_max))
}

/// A change of one file.
fn change(piece: &mut Piece, bytes_max: usize, rng: &mut Rng, base: Base<'_>) {
    match piece.code & 0x3f {
        MARK => {
            let mut halves = [piece.bytes.clone(), piece.bytes.split_off(piece.bytes.len() / 2)];
            halves[0].truncate(piece.bytes.len());
            slot_or_intent(MARK, &mut halves[rng.below(2)], SLOT_BYTES, rng, base);
            let longer = halves[0].len().max(halves[1].len());
            halves.iter_mut().for_each(|half| half.resize(longer, 0));
            piece.bytes = halves.concat();
        }
        INTENT => slot_or_intent(INTENT, &mut piece.bytes, bytes_max, rng, base),
        _ => edit::entries(&mut piece.bytes, bytes_max, rng, base),
    }
}

/// The fuzzer's own change, and then the checksum that belongs to it.
fn slot_or_intent(code: u8, bytes: &mut Vec<u8>, bytes_max: usize, rng: &mut Rng, base: Base<'_>) {
    if rng.one_in(8) {
        *bytes = if code == MARK { any_mark(rng) } else { intent::encode(&[step(rng), step(rng)]) };
    }
    edit::whole(bytes, bytes_max, base);
    if !rng.one_in(8) {
        if code == MARK { repair_slot(bytes) } else { repair_intent(bytes) }
    }
}

/// Gives a slot of the mark its magic and the checksum of its bytes.
pub fn repair_slot(slot: &mut [u8]) {
    let Some(count) = slot.get(WITNESS_COUNT_AT) else { return };
    let body = WITNESS_COUNT_AT + 1 + usize::from(*count) * WITNESS_BYTES;
    if slot.len() < body + CHECKSUM_BYTES {
        return;
    }
    slot[..8].copy_from_slice(b"WALMARK1");
    let checksum = crc32c(&slot[..body]);
    slot[body..body + CHECKSUM_BYTES].copy_from_slice(&checksum.to_be_bytes());
}

/// Gives an intent its magic, the length of whole steps, and the checksum of its bytes.
pub fn repair_intent(bytes: &mut [u8]) {
    let Some(body) = bytes.len().checked_sub(INTENT_HEAD_BYTES) else { return };
    let body = body - body % STEP_BYTES;
    bytes[..8].copy_from_slice(b"WALINTE1");
    bytes[8..12].copy_from_slice(&u32::try_from(body).unwrap_or(0).to_be_bytes());
    let checksum = crc32c(&bytes[INTENT_HEAD_BYTES..INTENT_HEAD_BYTES + body]);
    bytes[12..16].copy_from_slice(&checksum.to_be_bytes());
}

/// An entry of one segment goes into another.
fn splice(files: &mut Files, rng: &mut Rng) {
    let (from, to) = (rng.below(files.pieces.len()), rng.below(files.pieces.len()));
    let Some(source) = files.pieces.get(from) else { return };
    let found = frames::walk(&source.bytes);
    let Some(frame) = found.get(rng.below(found.len())) else { return };
    let entry = source.bytes[frame.clone()].to_vec();
    let target = &mut files.pieces[to].bytes;
    let ends = frames::walk(target);
    let at = ends.get(rng.below(ends.len())).map_or(0, |frame| frame.end);
    drop(target.splice(at..at, entry));
}

/// Puts a mark there that vouches for an entry of the directory, or for one that is no longer in it.
fn mark_that_fits(files: &mut Files, rng: &mut Rng) {
    let segments: Vec<&Piece> = files.pieces.iter().filter(|piece| piece.code & 0x3f < SEGMENTS).collect();
    let Some(segment) = segments.get(rng.below(segments.len())) else { return };
    let found = frames::walk(&segment.bytes);
    let Some(frame) = found.get(rng.below(found.len())) else { return };
    let Some(number) = wal_segment::dir::segment_number(&segment.name()) else { return };
    let header = if segment.code & WITH_HEADER != 0 { HEADER_BYTES } else { 0 };
    let end = (header + frame.end) as u64;
    let mut stored = [0; CHECKSUM_BYTES];
    stored.copy_from_slice(&segment.bytes[frame.end - CHECKSUM_BYTES..frame.end]);
    let witness = Witness { end, checksum: u32::from_be_bytes(stored) };
    let beyond = if rng.one_in(3) { rng.below(64) as u64 } else { 0 };
    let position =
        Position { segment: number.saturating_add(u64::from(rng.one_in(8))), offset: end + beyond };
    let slot = mark(position, rng.below(4) as u64, rng.below(3) as u64, vec![witness]);
    files.pieces.retain(|piece| piece.code != MARK);
    files.pieces.push(Piece { code: MARK, bytes: [slot.clone(), slot].concat() });
}

fn any_mark(rng: &mut Rng) -> Vec<u8> {
    let number = |rng: &mut Rng| [0, 1, 2, 3, u64::MAX - 1, u64::MAX][rng.below(6)];
    let position = Position { segment: number(rng), offset: number(rng) };
    let witness = Witness { end: number(rng), checksum: 7 };
    mark(position, number(rng), number(rng), vec![witness; rng.below(6)])
}

/// The used bytes of a slot.
pub fn mark(position: Position, counter: u64, floor: u64, witnesses: Vec<Witness>) -> Vec<u8> {
    let sim = SimDisk::new(Disk::new());
    let storage: Arc<dyn Storage> = Arc::new(sim.clone());
    let written = storage
        .create_log_folder()
        .and_then(|_| MarkFile::open(&*storage, counter & !1, floor))
        .and_then(|mut file| file.write(position, witnesses));
    // An even counter goes up to an odd one, whose slot is the second.
    let bytes = sim.disk().contents(MARK_FILE).filter(|_| written.is_ok()).unwrap_or_default();
    let slot = bytes.get(SLOT_BYTES..).unwrap_or_default();
    let count = slot.get(WITNESS_COUNT_AT).map_or(0, |count| usize::from(*count));
    slot[..slot.len().min(WITNESS_COUNT_AT + 1 + count * WITNESS_BYTES + CHECKSUM_BYTES)].to_vec()
}

fn step(rng: &mut Rng) -> IntentStep {
    let number = |rng: &mut Rng| [1, 2, 3, 4, 5, 0, u64::MAX][rng.below(7)];
    match rng.below(2) {
        0 => IntentStep::Replace { number: number(rng) },
        _ => {
            let (one, other) = (number(rng), number(rng));
            IntentStep::Remove { first: one.min(other), last: one.max(other) }
        }
    }
}

/// Puts bytes behind the first `skip` and returns the size of all.
fn put(data: &mut [u8], skip: usize, bytes: &[u8]) -> usize {
    let room = data.len() - skip;
    let bytes = &bytes[..bytes.len().min(room)];
    data[skip..skip + bytes.len()].copy_from_slice(bytes);
    skip + bytes.len()
}

const SLOT_BYTES: usize = 512;
/// Behind the magic and four numbers.
const WITNESS_COUNT_AT: usize = 40;
const WITNESS_BYTES: usize = 12;
const INTENT_HEAD_BYTES: usize = 16;
const STEP_BYTES: usize = 17;

#[cfg(test)]
mod tests {
    use super::*;
    use wal_engine::mark::Mark;

    #[test]
    fn a_repaired_slot_reads_whatever_was_changed() {
        let witness = Witness { end: 30, checksum: 9 };
        let slot = mark(Position { segment: 1, offset: 30 }, 4, 1, vec![witness; 2]);
        assert_eq!(Mark::decode(&slot).map(|mark| mark.witnesses.len()), Some(2));
        for at in 0..slot.len() {
            let mut changed = slot.clone();
            changed[at] ^= 1;
            assert_eq!(Mark::decode(&changed), None);
            repair_slot(&mut changed);
            // A count that lies is the only change that still makes it unreadable.
            assert!(Mark::decode(&changed).is_some() || at == WITNESS_COUNT_AT, "byte {at}");
        }
    }

    #[test]
    fn a_repaired_intent_reads_whatever_was_changed() {
        let bytes = intent::encode(&[IntentStep::Replace { number: 2 }, IntentStep::Replace { number: 3 }]);
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << 5;
            assert_eq!(intent::decode(&changed), None);
            repair_intent(&mut changed);
            let is_code = INTENT_HEAD_BYTES <= at && (at - INTENT_HEAD_BYTES).is_multiple_of(STEP_BYTES);
            assert!(intent::decode(&changed).is_some() || is_code, "byte {at}");
        }
    }

    #[test]
    fn a_mark_is_made_for_the_segment_with_the_last_number_too() {
        let entry = [&[4, 1, 0, 0, 0, 16][..], &[0; 16], &0xa6d1_af2c_u32.to_be_bytes()].concat();
        let last = Files { settings: 0, pieces: vec![Piece { code: WITH_HEADER | 7, bytes: entry }] };
        for seed in 0..200 {
            let mut files = last.clone();
            mark_that_fits(&mut files, &mut Rng::new(seed));
            assert!(files.pieces.iter().any(|piece| piece.code == MARK), "seed {seed}");
        }
    }

    #[test]
    fn mutated_inputs_keep_within_their_room() {
        let mut none = |_: &mut [u8], size: usize, size_max: usize| size.min(size_max);
        for seed in 0..3000 {
            let mut data = vec![1; 300];
            assert!(directory(&mut data, 200, 300, seed, &mut none) <= 300);
            assert!(control(&mut data, 200, 300, seed, &mut none) <= 300);
            assert!(entries(&mut data, 200, 300, seed, 1, &mut none) <= 300);
            assert!(directory(&mut data[..0], 0, 0, seed, &mut none) <= 1);
        }
    }
}
