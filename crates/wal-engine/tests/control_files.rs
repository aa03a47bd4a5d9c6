//! The two files beside the segments, `durable` and `intent`: what is whole, what is believed, and what is left alone.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::io::ErrorKind::InvalidInput;
use std::path::Path;

use common::disk::{Call, FaultyDisk};
use common::{open, small};
use wal_engine::intent::{self, INTENT_FILE, IntentFile, IntentStep, STEPS_MAX, decode, encode};
use wal_engine::mark::{self, MARK_FILE, Mark, MarkFile, Trail, Witness};
use wal_engine::{MarkStatus, Position};
use wal_format::checksum::crc32c;
use wal_segment::{Access, Modes, OsStorage, Storage};

const SLOT_BYTES: usize = 512;

fn storage(dir: &Path) -> OsStorage {
    OsStorage::new(dir, Modes::default())
}

fn at(offset: u64) -> Position {
    Position::new(3, offset)
}

fn witness(end: u64) -> Vec<Witness> {
    vec![Witness { end, checksum: 7 }]
}

/// A slot with this many witnesses, built by hand.
fn slot(count: u8) -> Vec<u8> {
    let mut body = b"WALMARK1".to_vec();
    for number in [1_u64, 3, 400, 2] {
        body.extend(number.to_be_bytes());
    }
    body.push(count);
    for n in 0..count {
        body.extend((100 + u64::from(n)).to_be_bytes());
        body.extend(7_u32.to_be_bytes());
    }
    body.extend(crc32c(&body).to_be_bytes());
    body.resize(SLOT_BYTES, 0);
    body
}

/// An intent of this body, built by hand.
fn intent_of(body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(body.len()).unwrap();
    [&b"WALINTE1"[..], &len.to_be_bytes(), &crc32c(body).to_be_bytes(), body].concat()
}

#[test]
fn what_stands_in_the_place_of_a_control_file_is_an_error_and_not_an_absent_file() {
    let dir = tempfile::tempdir().unwrap();
    for name in [INTENT_FILE, MARK_FILE] {
        fs::create_dir(dir.path().join(name)).unwrap();
    }
    let storage = storage(dir.path());
    assert_eq!(intent::load(&storage).unwrap_err().kind(), InvalidInput);
    assert_eq!(IntentFile::open(&storage).unwrap_err().kind(), InvalidInput);
    assert_eq!(mark::load(&storage).unwrap_err().kind(), InvalidInput);
    assert_eq!(MarkFile::open(&storage, 0, 0).unwrap_err().kind(), InvalidInput);
}

#[test]
fn absent_control_files_say_nothing_and_are_created_at_their_full_size() {
    let dir = tempfile::tempdir().unwrap();
    let storage = storage(dir.path());
    assert_eq!(intent::load(&storage).unwrap(), []);
    assert_eq!(mark::load(&storage).unwrap(), (None, MarkStatus::Absent));
    let (intent, mark) = (IntentFile::open(&storage).unwrap(), MarkFile::open(&storage, 0, 0).unwrap());
    let len = |name| storage.open(name, Access::Read).unwrap().len().unwrap();
    assert_eq!((len(INTENT_FILE), len(MARK_FILE)), (64 << 10, 2 * SLOT_BYTES as u64));
    assert_eq!(intent::load(&storage).unwrap(), []);
    assert_eq!(mark::load(&storage).unwrap(), (None, MarkStatus::Unreadable));
    drop((intent, mark));
}

#[test]
fn a_pending_intent_survives_being_opened_and_not_being_cleared() {
    let dir = tempfile::tempdir().unwrap();
    let storage = storage(dir.path());
    let steps = [IntentStep::Replace { number: 2 }, IntentStep::Remove { first: 3, last: 9 }];
    IntentFile::open(&storage).unwrap().write(&steps).unwrap();
    let again = IntentFile::open(&storage).unwrap();
    assert_eq!(intent::load(&storage).unwrap(), steps);
    again.clear().unwrap();
    assert_eq!(intent::load(&storage).unwrap(), []);
}

#[test]
fn as_many_steps_as_an_intent_holds_fill_its_file_and_no_more_are_written() {
    let steps: Vec<IntentStep> = (1..).map(|number| IntentStep::Replace { number }).take(5000).collect();
    let fitting = (64 * 1024 - 16) / 17;
    assert_eq!(STEPS_MAX, fitting);
    let bytes = encode(&steps);
    assert_eq!(bytes.len(), 16 + 17 * fitting);
    assert_eq!(decode(&bytes).unwrap(), steps[..fitting]);
    let dir = tempfile::tempdir().unwrap();
    let storage = storage(dir.path());
    IntentFile::open(&storage).unwrap().write(&steps).unwrap();
    assert_eq!(intent::load(&storage).unwrap(), steps[..fitting]);
}

#[test]
fn steps_with_a_valid_checksum_that_mean_nothing_are_no_intent() {
    let step = |code: u8| [&[code][..], &[0; 7], &[5], &[0; 7], &[6]].concat();
    assert_eq!(decode(&intent_of(&step(1))).unwrap(), [IntentStep::Replace { number: 5 }]);
    assert_eq!(decode(&intent_of(&step(2))).unwrap(), [IntentStep::Remove { first: 5, last: 6 }]);
    for code in [0, 3, 255] {
        assert_eq!(decode(&intent_of(&step(code))), None);
    }
    assert_eq!(decode(&intent_of(&step(1)[..16])), None, "a step cut short");
    assert_eq!(decode(&intent_of(&[step(1), vec![1]].concat())), None, "a step begun");
}

#[test]
fn a_mark_is_written_into_the_older_slot_and_the_newer_one_counts() {
    let dir = tempfile::tempdir().unwrap();
    let storage = storage(dir.path());
    let mut file = MarkFile::open(&storage, 4, 2).unwrap();
    assert!(file.last().is_none());
    let mut slots = fs::read(dir.path().join(MARK_FILE)).unwrap();
    for (counter, offset) in (5..).zip([100, 200, 300, 400]) {
        file.write(at(offset), witness(offset)).unwrap();
        let expected = Mark { counter, position: at(offset), floor: 2, witnesses: witness(offset) };
        assert_eq!(file.last(), Some(&expected));
        let (loaded, status) = mark::load(&storage).unwrap();
        assert_eq!((loaded, status), (Some(expected), MarkStatus::DoesNotFit(at(offset))));
        // One slot changed, and it was not the one that held the value before.
        let now = fs::read(dir.path().join(MARK_FILE)).unwrap();
        let changed = |range: std::ops::Range<usize>| now[range.clone()] != slots[range];
        let (first, second) = (changed(0..SLOT_BYTES), changed(SLOT_BYTES..2 * SLOT_BYTES));
        assert_eq!((first, second), (counter % 2 == 0, counter % 2 == 1));
        slots = now;
    }
    // Opened again, both values are still there.
    let mut file = MarkFile::open(&storage, 8, 3).unwrap();
    assert_eq!(fs::read(dir.path().join(MARK_FILE)).unwrap(), slots);
    file.write_both(at(50), witness(50)).unwrap();
    let bytes = fs::read(dir.path().join(MARK_FILE)).unwrap();
    let both = bytes.chunks(SLOT_BYTES).map(|slot| Mark::decode(slot).unwrap());
    assert_eq!(
        both.map(|mark| (mark.counter, mark.position)).collect::<Vec<_>>(),
        [(10, at(50)), (9, at(50))]
    );
}

#[test]
fn control_files_are_durable_when_they_say_so_and_say_when_they_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::new(dir.path());
    let (intent, mut mark) = (IntentFile::open(&disk).unwrap(), MarkFile::open(&disk, 0, 0).unwrap());
    let syncs = || disk.faults.journal.lock().iter().filter(|line| line.starts_with("Sync ")).count();
    let before = syncs();
    mark.write(at(9), witness(9)).unwrap();
    assert_eq!(syncs(), before, "whichever slot survives is true");
    mark.sync().unwrap();
    mark.write_both(at(9), witness(9)).unwrap();
    intent.write(&[IntentStep::Replace { number: 1 }]).unwrap();
    intent.clear().unwrap();
    assert_eq!(syncs(), before + 4);
    disk.faults.fail(Call::Sync, 1, true, 5);
    assert!(mark.sync().is_err() && mark.write_both(at(9), witness(9)).is_err());
    assert!(intent.write(&[]).is_err() && intent.clear().is_err());
}

#[test]
fn a_counter_that_no_log_wrote_begins_anew() {
    let dir = tempfile::tempdir().unwrap();
    let storage = storage(dir.path());
    for (above, expected) in [(0, 1), ((1 << 63) - 1, 1 << 63), (1 << 63, 1), (u64::MAX, 1)] {
        let mut file = MarkFile::open(&storage, above, 0).unwrap();
        file.write(at(9), witness(9)).unwrap();
        assert_eq!(file.last().unwrap().counter, expected);
    }
}

#[test]
fn a_mark_file_cut_short_is_made_whole_again() {
    let dir = tempfile::tempdir().unwrap();
    let storage = storage(dir.path());
    fs::write(dir.path().join(MARK_FILE), &slot(2)[..100]).unwrap();
    drop(MarkFile::open(&storage, 0, 0).unwrap());
    assert_eq!(fs::read(dir.path().join(MARK_FILE)).unwrap(), vec![0; 2 * SLOT_BYTES]);
}

#[test]
fn a_slot_with_as_many_witnesses_as_are_ever_written_is_read_and_none_with_more() {
    let mut trail = Trail::default();
    for entry in 1..=200_000_u32 {
        trail.push(8 + 50 * u64::from(entry), entry);
    }
    let most = trail.witnesses().len();
    for count in 0..=38 {
        let read = Mark::decode(&slot(count));
        let count = usize::from(count);
        assert_eq!(read.map(|mark| mark.witnesses.len()), Some(count).filter(|count| *count <= most));
    }
}

#[test]
fn witnesses_stand_near_and_far_behind_the_mark() {
    let mut trail = Trail::default();
    let mut end = 8;
    for entry in 1..=200_000_u32 {
        end += 50;
        trail.push(end, entry);
    }
    let distances: Vec<u64> = trail.witnesses().iter().map(|witness| end - witness.end).collect();
    for wanted in [0, 1, 4096, 65_536, 1_048_576] {
        let near = wanted..wanted + 7000;
        assert!(distances.iter().any(|distance| near.contains(distance)), "{wanted}: {distances:?}");
    }
    // What is remembered for that is bounded: one entry every two KiB of the last one and some MiB.
    trail.clear();
    assert!(trail.last().is_none() && trail.witnesses().is_empty());
}

#[test]
fn a_mark_without_an_entry_before_it_proves_nothing() {
    let mark = |offset, witnesses| Mark { counter: 1, position: at(offset), floor: 0, witnesses };
    assert!(mark(400, vec![]).proves_nothing());
    assert!(mark(8, witness(8)).proves_nothing());
    assert!(!mark(9, witness(9)).proves_nothing());
    let dir = tempfile::tempdir().unwrap();
    let storage = storage(dir.path());
    MarkFile::open(&storage, 0, 0).unwrap().write(at(8), vec![]).unwrap();
    assert_eq!(mark::load(&storage).unwrap().1, MarkStatus::ProvesNothing(at(8)));
}

#[test]
fn a_mark_fits_by_one_checksum_where_it_should_stand() {
    let dir = tempfile::tempdir().unwrap();
    let storage = storage(dir.path());
    let mut bytes = vec![0; 100];
    bytes[40..44].copy_from_slice(&0x0102_0304_u32.to_be_bytes());
    fs::write(dir.path().join("000003"), &bytes).unwrap();
    let file = storage.open("000003", Access::Read).unwrap();
    let fits = |end, checksum, len| {
        let witnesses = vec![Witness { end: 90, checksum: 5 }, Witness { end, checksum }];
        let mark = Mark { counter: 1, position: at(90), floor: 0, witnesses };
        mark.fits(&*file, len).unwrap()
    };
    assert!(fits(44, 0x0102_0304, 100));
    assert!(!fits(44, 0x0102_0305, 100));
    assert!(!fits(45, 0x0102_0304, 100));
    assert!(!fits(80, 0, 100), "zeros are what unwritten space holds");
    assert!(!fits(3, 0x0102_0304, 100), "no checksum ends there");
    assert!(!fits(44, 0x0102_0304, 43), "cut within the checksum");
    assert!(fits(44, 0x0102_0304, 44));
    let mark = Mark { witnesses: witness(44), ..Mark::default() };
    assert!(mark.has_checksum(7) && !mark.has_checksum(8) && !Mark::default().has_checksum(7));
}

#[test]
fn what_the_mark_says_is_told_in_words() {
    let said = [
        (MarkStatus::Absent, "none"),
        (MarkStatus::Unreadable, "unreadable"),
        (MarkStatus::Fits(at(9)), "durable up to 3:9"),
        (MarkStatus::ProvesNothing(at(9)), "at 3:9, proves nothing"),
        (MarkStatus::NotReached(at(9)), "at 3:9, in a segment that was not read"),
        (MarkStatus::DoesNotFit(at(9)), "at 3:9, does not belong to these segments"),
    ];
    for (status, text) in said {
        assert_eq!(status.to_string(), text);
    }
}

#[test]
fn an_opened_log_has_its_control_files_and_they_are_none_of_the_leftovers() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("notes.txt"), b"mine").unwrap();
    let (wal, _, report) = open(dir.path(), small());
    assert_eq!(report.leftovers, ["notes.txt"]);
    wal.close().unwrap();
    for name in [INTENT_FILE, MARK_FILE, "reserve", "lock"] {
        assert!(dir.path().join(name).is_file(), "{name}");
    }
    let (wal, _, report) = open(dir.path(), small());
    assert_eq!(report.leftovers, ["notes.txt"]);
    wal.close().unwrap();
}
