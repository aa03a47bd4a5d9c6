//! Every single-bit flip, and every cut, of a log of three segments: with a durable mark that fits, with
//! a stale one, and without. Never a wrong entry, never a silent cut below the mark, and without a mark
//! the verdict table, as a naive twin reads it.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};

use common::image::{
    Image, MODES, cut, log_some, mark_of, open, open_wal, quarantined, read, segments, three_segments,
    with_bits, with_file, without_file,
};
use common::naive::{Judged, judge};
use wal_engine::mark::MARK_FILE;
use wal_engine::{ErrorKind, MarkStatus, RecoveryMode, Verdict};

use wal_segment::dir::segment_name;
use wal_sim::{Disk, Pick};

/// How many of each outcome there were.
#[derive(Debug, Default)]
struct Tally {
    cases: AtomicUsize,
    clean: AtomicUsize,
    torn: AtomicUsize,
    damaged: AtomicUsize,
    unsupported: AtomicUsize,
    opened_twice: AtomicUsize,
}

/// Holds the engine against the twin on one spoiled disk: reading it both ways, and opening it in one
/// mode; if `again`, opening it a second time. `lost` says which entries are no longer what they were.
fn check(image: &Image, disk: &Disk, want: &Judged, lost: impl Fn(usize) -> bool, turn: usize, again: bool) {
    let place = want.fault;
    let found_by_twin: Vec<usize> = want.entries.iter().map(|at| image.index_of(*at)).collect();
    let found = read(disk, false);
    assert_eq!(found.verdict.to_string(), want.verdict, "{place:?}");
    assert_eq!(found.fault.map(|at| (at.segment, at.offset)), place);
    let sums = |indexes: &[usize]| indexes.iter().map(|index| image.sums[*index]).collect::<Vec<_>>();
    assert!(found.sums == sums(&found_by_twin), "{place:?}: other entries before the fault");
    // Past damage everything comes back but what was touched.
    let kept: Vec<usize> = match want.verdict {
        "damaged" => (0..image.sums.len()).filter(|index| !lost(*index)).collect(),
        _ => found_by_twin.clone(),
    };
    assert!(read(disk, true).sums == sums(&kept), "{place:?}: other entries past the fault");

    let mode = MODES[turn % MODES.len()];
    let opened = open(disk, mode);
    let refused = match want.verdict {
        "clean" => None,
        "torn" => (mode == RecoveryMode::Strict).then_some(ErrorKind::Torn),
        "damaged" => matches!(mode, RecoveryMode::Strict | RecoveryMode::TolerateTornTail)
            .then_some(ErrorKind::Damaged),
        _ => Some(ErrorKind::Unsupported),
    };
    let wanted = match (want.verdict, mode) {
        // Looked for before anything is read.
        ("unsupported", _) => image.seen(|_| false),
        (_, RecoveryMode::SkipDamaged) => image.seen(|index| kept.contains(&index)),
        _ => image.seen(|index| found_by_twin.contains(&index)),
    };
    assert!((opened.memory.at, opened.memory.items) == wanted, "{place:?}: {mode}: other entries");
    let report = match (opened.outcome, refused) {
        (Err(error), Some(kind)) => {
            assert_eq!(error.kind(), kind, "{place:?}: {mode}");
            assert_eq!(error.position().map(|at| (at.segment, at.offset)), place, "{mode}");
            assert_eq!(opened.disk.fingerprint(), disk.fingerprint(), "{place:?}: {mode} changed something");
            return;
        }
        (Ok(report), None) => report,
        (outcome, _) => panic!("{place:?}: {mode}: {outcome:?}"),
    };
    assert_eq!(report.verdict.to_string(), want.verdict, "{place:?}: {mode}");
    // What is no longer in the log is in quarantine, byte for byte.
    let size = |disk: &Disk| segments(disk).iter().map(|(_, bytes)| bytes.len()).sum::<usize>();
    let set_aside: usize = quarantined(&opened.disk).iter().map(|(_, bytes)| bytes.len()).sum();
    assert!(size(disk) <= size(&opened.disk) + set_aside, "{place:?}: {mode}: something is gone");
    for (name, bytes) in quarantined(&opened.disk) {
        let parts: Vec<u64> = name[11..name.len() - 4].split('-').map(|part| part.parse().unwrap()).collect();
        let original = disk.contents(&segment_name(parts[1])).unwrap();
        assert_eq!(bytes, original[usize::try_from(parts[2]).unwrap()..], "{place:?}: {mode}: {name}");
    }
    if again {
        let second = open(&opened.disk, RecoveryMode::Strict);
        let report = second.outcome.unwrap_or_else(|error| panic!("{place:?}: {mode}: {error}"));
        assert_eq!((report.verdict, report.quarantined.len()), (Verdict::Clean, 0), "{place:?}: {mode}");
        assert!(second.memory.items == wanted.1, "{place:?}: {mode}: other entries at the second opening");
    }
}

/// Flips every bit of every segment, on two threads.
fn flip_every_bit(image: &Image, disk: &Disk, mark: Option<(u64, u64)>) -> Tally {
    let tally = Tally::default();
    let originals = segments(disk);
    let bytes: Vec<(usize, u64)> = originals
        .iter()
        .enumerate()
        .flat_map(|(index, (_, bytes))| (0..bytes.len() as u64).map(move |offset| (index, offset)))
        .collect();
    let work = |part: usize| {
        let mut spoiled = originals.clone();
        for (index, offset) in bytes.iter().copied().skip(part).step_by(2) {
            let number = originals[index].0;
            for bit in 0..8 {
                let at = usize::try_from(offset).unwrap();
                spoiled[index].1[at] ^= 1 << bit;
                let want = judge(&spoiled, mark);
                let flipped = with_bits(disk, &segment_name(number), offset, 1 << bit);
                let touched = image.entry_at(number, offset);
                let again = bit == at % 8;
                check(image, &flipped, &want, |index| Some(index) == touched, at + bit, again);
                spoiled[index].1[at] ^= 1 << bit;
                tally.count(&want, again);
            }
        }
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(|| work(1));
        work(0);
        other.join().unwrap();
    });
    tally
}

impl Tally {
    fn count(&self, judged: &Judged, again: bool) {
        let verdict = match judged.verdict {
            "clean" => &self.clean,
            "torn" => &self.torn,
            "damaged" => &self.damaged,
            _ => &self.unsupported,
        };
        for counter in [&self.cases, verdict] {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        self.opened_twice.fetch_add(usize::from(again), Ordering::Relaxed);
    }

    fn verdicts(&self) -> [usize; 4] {
        [&self.clean, &self.torn, &self.damaged, &self.unsupported].map(|n| n.load(Ordering::Relaxed))
    }
}

/// Flips that reading cannot see: the three reserved bytes of each header.
const RESERVED: usize = 3 * 3 * 8;
/// Flips in the version byte of each header.
const VERSION: usize = 3 * 8;

#[test]
fn every_flipped_bit_below_a_mark_that_fits_is_damage_with_its_place() {
    let image = three_segments();
    let end = image.end();
    assert_eq!(mark_of(&image.disk).position, end);
    let tally = flip_every_bit(&image, &image.disk, Some((end.segment, end.offset)));
    println!("{tally:?}");
    let cases = tally.cases.load(Ordering::Relaxed);
    // Nothing is ever called torn, so nothing is ever cut in silence.
    assert_eq!(tally.verdicts(), [RESERVED, 0, cases - RESERVED - VERSION, VERSION]);
    assert!(25_000 < cases);
}

#[test]
fn every_flipped_bit_without_a_mark_is_judged_by_the_table() {
    let image = three_segments();
    let bare = without_file(&image.disk, MARK_FILE);
    let tally = flip_every_bit(&image, &bare, None);
    println!("{tally:?}");
    let [clean, torn, damaged, unsupported] = tally.verdicts();
    assert_eq!([clean, unsupported], [RESERVED, VERSION]);
    // The last entry, and every entry's type that can become an end mark, in the last segment.
    assert!(0 < torn && torn < 1000 && 24_000 < damaged, "{tally:?}");
}

#[test]
fn every_flipped_bit_of_the_mark_leaves_the_other_slot_or_none() {
    let image = three_segments();
    let mut one_slot = image.disk.contents(MARK_FILE).unwrap();
    let newer = usize::from(mark_of(&image.disk).counter % 2 != 0);
    one_slot[512 * (1 - newer)..512 * (2 - newer)].fill(0);
    let one_slot = with_file(&image.disk, MARK_FILE, &one_slot);
    let (mut fits, mut unreadable) = (0, 0);
    for disk in [&image.disk, &one_slot] {
        for bit in 0..1024 * 8 {
            let flipped = with_bits(disk, MARK_FILE, bit / 8, 1 << (bit % 8));
            let found = read(&flipped, false);
            assert!(found.verdict == Verdict::Clean && found.sums == image.sums, "bit {bit}");
            match found.mark {
                MarkStatus::Fits(at) => {
                    assert_eq!(at.segment, 3);
                    fits += 1;
                }
                MarkStatus::Unreadable => unreadable += 1,
                other => panic!("bit {bit}: {other:?}"),
            }
            if bit % 64 == 7 {
                let opened = open(&flipped, RecoveryMode::Strict);
                assert_eq!(opened.memory.items.len(), image.entries.len());
                assert_eq!(read(&opened.disk, false).mark, MarkStatus::Fits(image.end()));
            }
        }
    }
    println!("{fits} flips of the mark leave one that fits, {unreadable} leave none");
    let used = 8 + 32 + 1 + 12 * mark_of(&image.disk).witnesses.len() + 4;
    assert_eq!(unreadable, used * 8, "every bit of the only slot that is used");
}

#[test]
fn a_segment_cut_at_any_length_is_judged_by_the_mark_or_by_the_table() {
    let image = three_segments();
    let bare = without_file(&image.disk, MARK_FILE);
    let mark = mark_of(&image.disk);
    let mut cases = 0;
    for (index, (number, bytes)) in segments(&image.disk).iter().enumerate() {
        for len in 0..bytes.len() as u64 {
            let mut spoiled = segments(&image.disk);
            spoiled[index].1.truncate(usize::try_from(len).unwrap());
            let lost = |index: usize| {
                let (at, end, _) = image.sums[index];
                at.segment == *number && len < end
            };
            let stands = *number != 3 || mark.witnesses.iter().any(|witness| witness.end <= len);
            let fitting = stands.then_some((mark.position.segment, mark.position.offset));
            for (disk, mark) in [(&bare, None), (&image.disk, fitting)] {
                let want = judge(&spoiled, mark);
                let is_below = mark.is_some() && *number == 3;
                assert!(!is_below || want.verdict == "damaged", "cut to {len}: silent");
                let turn = usize::try_from(len).unwrap() + cases / 2;
                check(&image, &cut(disk, &segment_name(*number), len), &want, lost, turn, len % 8 == 0);
                cases += 1;
            }
        }
    }
    println!("{cases} cuts");
}

#[test]
fn a_hole_of_zeros_is_a_torn_tail_above_the_mark_and_no_ghost_comes_out_of_it() {
    let image = three_segments();
    let last: Vec<usize> = (0..image.sums.len()).filter(|index| image.sums[*index].0.segment == 3).collect();
    let bytes = segments(&image.disk)[2].1.clone();
    let bare = without_file(&image.disk, MARK_FILE);
    let mut cases = 0;
    for (n, first) in last.iter().enumerate() {
        for until in last[n..].iter().take(3) {
            let (from, to) = (image.sums[*first].0.offset, image.sums[*until].1);
            let mut holed = bytes.clone();
            holed[usize::try_from(from).unwrap()..usize::try_from(to).unwrap()].fill(0);
            let disk = with_file(&bare, "000003", &holed);
            // Below a mark that fits, nothing tears.
            let marked = read(&with_file(&image.disk, "000003", &holed), false);
            assert_eq!((marked.verdict, marked.sums.len()), (Verdict::Damaged, *first), "{from}..{to}");
            let is_tail = *until == image.sums.len() - 1;
            let found = read(&disk, false);
            let wanted = if is_tail { Verdict::Clean } else { Verdict::Torn };
            assert_eq!((found.verdict, found.sums.len()), (wanted, *first), "{from}..{to}");
            for mode in MODES.into_iter().skip(1) {
                let (opened, wal) = open_wal(&disk, mode);
                let (wal, sim) = wal.unwrap();
                assert_eq!(opened.memory.items.len(), *first, "{from}..{to}: {mode}");
                assert!(is_tail || !quarantined(&opened.disk).is_empty());
                log_some(&wal, 700);
                wal.sync().unwrap();
                let running = sim.disk();
                let units = running.units();
                for lost in [true, false] {
                    let pick = |states: u8| Pick::State(if lost { 0 } else { states - 1 });
                    let picks: Vec<Pick> = units.iter().map(|unit| pick(unit.states)).collect();
                    let after = open(&running.after_power_loss(&picks), RecoveryMode::Strict);
                    let items = &after.memory.items;
                    assert_eq!(items.len(), first + 5, "{from}..{to}: {mode}: {:?}", after.outcome);
                    assert_eq!(items[..*first], opened.memory.items, "{from}..{to}: {mode}");
                }
                cases += 1;
            }
        }
    }
    println!("{cases} holes filled");
}
