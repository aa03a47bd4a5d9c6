//! The durable mark in every way it can mislead: a table of directories, what reading says about each,
//! and what opening does in each of the four modes. Never damage that is none, never a silent cut below
//! a mark that fits.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use std::sync::Arc;

use common::image::{
    Image, MODES, cut, log_some, mark_of, open, open_wal, plain, quarantined, read, segments, three_segments,
    with_bits, with_file, without_file,
};
use common::{sample, series};
use wal_engine::mark::{MARK_FILE, MarkFile, Witness};
use wal_engine::{ErrorKind, MarkStatus, Position, RecoveryMode, Verdict, Wal};
use wal_format::{EntryKind, frame_payload};
use wal_segment::dir::segment_name;
use wal_sim::{Disk, SimDisk};

/// One row of the table.
struct Case {
    name: &'static str,
    disk: Disk,
    mark: Says,
    /// What reading finds; what the modes do follows from it, see `check`.
    finds: Finds,
}

/// What is said about the mark.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Says {
    Absent,
    Unreadable,
    Fits,
    ProvesNothing,
    DoesNotFit,
}

/// How many entries from the start are read, and why no more.
#[derive(Clone, Copy, Debug)]
enum Finds {
    /// All four modes open the log with these.
    Clean(usize),
    /// `Strict` refuses; the others cut behind these.
    Torn(usize),
    /// `Strict` and `TolerateTornTail` refuse, `PointInTime` cuts behind the first number of entries, and
    /// `SkipDamaged` has as many as the second number.
    Damaged(usize, usize),
}

fn says(status: MarkStatus) -> Says {
    match status {
        MarkStatus::Absent => Says::Absent,
        MarkStatus::Unreadable => Says::Unreadable,
        MarkStatus::Fits(_) => Says::Fits,
        MarkStatus::ProvesNothing(_) => Says::ProvesNothing,
        _ => Says::DoesNotFit,
    }
}

fn check(case: &Case) {
    let name = case.name;
    let (verdict, before, skipping) = match case.finds {
        Finds::Clean(all) => (Verdict::Clean, all, all),
        Finds::Torn(before) => (Verdict::Torn, before, before),
        Finds::Damaged(before, skipping) => (Verdict::Damaged, before, skipping),
    };
    let found = read(&case.disk, false);
    assert_eq!((found.verdict, found.at.len()), (verdict, before), "{name}: reading");
    assert_eq!(says(found.mark), case.mark, "{name}: {:?}", found.mark);
    assert_eq!(read(&case.disk, true).at.len(), skipping, "{name}: reading past damage");
    for mode in MODES {
        let (opened, wal) = open_wal(&case.disk, mode);
        let refused = match verdict {
            Verdict::Clean => false,
            Verdict::Torn => mode == RecoveryMode::Strict,
            _ => matches!(mode, RecoveryMode::Strict | RecoveryMode::TolerateTornTail),
        };
        let wanted = if mode == RecoveryMode::SkipDamaged { skipping } else { before };
        assert_eq!(opened.memory.at.len(), wanted, "{name}: {mode}: entries");
        let Some((wal, sim)) = wal else {
            let kind = opened.outcome.err().unwrap().kind();
            let expected = if verdict == Verdict::Torn { ErrorKind::Torn } else { ErrorKind::Damaged };
            assert!(refused && kind == expected, "{name}: {mode}: {kind:?}");
            assert_eq!(
                opened.disk.fingerprint(),
                case.disk.fingerprint(),
                "{name}: {mode} changed something"
            );
            continue;
        };
        assert!(!refused, "{name}: {mode} opened it");
        let report = opened.outcome.unwrap();
        assert_eq!(report.verdict, verdict, "{name}: {mode}");
        assert_eq!(says(report.mark), case.mark, "{name}: {mode}: {}", report.mark);
        let cut: usize = segments(&case.disk).iter().map(|(_, bytes)| bytes.len()).sum();
        let left: usize = segments(&opened.disk).iter().map(|(_, bytes)| bytes.len()).sum();
        let kept: usize = quarantined(&opened.disk).iter().map(|(_, bytes)| bytes.len()).sum();
        assert!(cut <= left + kept || verdict == Verdict::Clean, "{name}: {mode}: something is gone");
        // It goes on behind every position that was durable, and the next open finds nothing at all.
        let first = wal.end();
        let marked = mark_position(&case.disk);
        assert!(marked.is_none_or(|at| at <= first), "{name}: {mode}: {first} is given again");
        log_some(&wal, 900);
        wal.sync().unwrap();
        wal.close().unwrap();
        let again = open(&sim.disk(), RecoveryMode::Strict);
        let report = again.outcome.unwrap_or_else(|error| panic!("{name}: {mode}: again: {error}"));
        assert_eq!((report.verdict, says(report.mark)), (Verdict::Clean, Says::Fits), "{name}: {mode}");
        assert_eq!(again.memory.items.len(), wanted + 5, "{name}: {mode}");
        assert_eq!(again.memory.items[..wanted], opened.memory.items, "{name}: {mode}");
        assert_eq!(quarantined(&again.disk).len(), quarantined(&sim.disk()).len(), "{name}: {mode}");
    }
}

fn mark_position(disk: &Disk) -> Option<Position> {
    wal_engine::mark::Mark::newest(&disk.contents(MARK_FILE)?).map(|mark| mark.position)
}

/// A disk whose mark says this.
fn marked(disk: &Disk, position: Position, witnesses: Vec<Witness>) -> Disk {
    let sim = SimDisk::new(without_file(disk, MARK_FILE));
    let mut file = MarkFile::open(&sim, 40, 1).unwrap();
    file.write_both(position, witnesses).unwrap();
    sim.disk()
}

fn mark_bytes(disk: &Disk) -> Vec<u8> {
    disk.contents(MARK_FILE).unwrap()
}

fn with_mark_of(disk: &Disk, other: &Disk) -> Disk {
    with_file(disk, MARK_FILE, &mark_bytes(other))
}

/// The log as it was at some moments on the way to `three_segments`, the last one included.
fn stages() -> Vec<Disk> {
    let sim = SimDisk::new(Disk::new());
    let (wal, _) = Wal::open_storage(Arc::new(sim.clone()), plain(1300)).unwrap().replay(&mut ()).unwrap();
    let mut stages = Vec::new();
    for value in 0..13 {
        log_some(&wal, 10 * value);
        wal.sync().unwrap();
        stages.push(sim.disk());
    }
    stages
}

/// A log of other entries, of which the first `shared` batches are the same.
fn another_log(shared: u32, batches: u32) -> Disk {
    let sim = SimDisk::new(Disk::new());
    let (wal, _) = Wal::open_storage(Arc::new(sim.clone()), plain(4000)).unwrap().replay(&mut ()).unwrap();
    for batch in 0..batches {
        log_some(&wal, if batch < shared { 10 * batch } else { 5000 + 10 * batch });
        wal.sync().unwrap();
    }
    wal.close().unwrap();
    sim.disk()
}

fn whole_and_spoiled_marks(image: &Image) -> Vec<Case> {
    let disk = &image.disk;
    let all = image.entries.len();
    let end = image.end();
    let last = "000003";
    let torn = cut(disk, last, end.offset - 2);
    let stale = &stages()[11];
    assert_eq!(mark_of(stale).position.segment, 3);
    let marked = mark_of(stale).position.offset;
    let below = image.entries.iter().filter(|(at, ..)| *at < mark_of(stale).position).count();
    let stale = with_mark_of(disk, stale);
    let above_stale = with_bits(&stale, last, image.entries[below + 1].0.offset + 8, 4);
    let below_stale = with_bits(&stale, last, image.entries[below - 2].0.offset + 8, 4);
    let mut newest_torn = mark_bytes(&stale);
    newest_torn[if mark_of(&stale).counter % 2 == 0 { 30 } else { 542 }] ^= 1;
    let mut both_torn = mark_bytes(disk);
    both_torn[30] ^= 1;
    both_torn[542] ^= 1;
    let mut version = mark_bytes(disk);
    version[7] ^= 3;
    version[519] ^= 3;
    let longer = [mark_bytes(disk), vec![7; 4096]].concat();
    let short = mark_bytes(&stale)[..700].to_vec();
    let case = |name, disk, mark, finds| Case { name, disk, mark, finds };
    let with_mark = |bytes: &[u8]| with_file(disk, MARK_FILE, bytes);
    let lost = without_file(disk, MARK_FILE);
    let rot_in_lost = with_bits(&lost, last, image.entries[below].0.offset + 8, 1);
    let rot_in_earlier = with_bits(&lost, "000002", 300, 1);
    let in_two = image.entries.iter().position(|(at, ..)| at.segment == 2).unwrap();
    let before = image.entry_at(2, 300).unwrap();
    assert!(in_two < before && marked < end.offset);
    vec![
        case("current", disk.clone(), Says::Fits, Finds::Clean(all)),
        case(
            "current, cut within the last entry",
            torn.clone(),
            Says::Fits,
            Finds::Damaged(all - 1, all - 1),
        ),
        case("stale by a sync", stale.clone(), Says::Fits, Finds::Clean(all)),
        case("stale by a sync, rot above it", above_stale, Says::Fits, Finds::Torn(below + 1)),
        case("stale by a sync, rot below it", below_stale, Says::Fits, Finds::Damaged(below - 2, all - 1)),
        case("stale by a sync, cut at it", cut(&stale, last, marked), Says::Fits, Finds::Clean(below)),
        case("lost", lost.clone(), Says::Absent, Finds::Clean(all)),
        case("lost, torn tail", without_file(&torn, MARK_FILE), Says::Absent, Finds::Torn(all - 1)),
        case("lost, rot in the last segment", rot_in_lost, Says::Absent, Finds::Damaged(below, all - 1)),
        case(
            "lost, rot in an earlier segment",
            rot_in_earlier,
            Says::Absent,
            Finds::Damaged(before, all - 1),
        ),
        case("the newer slot torn", with_mark(&newest_torn), Says::Fits, Finds::Clean(all)),
        case("both slots torn", with_mark(&both_torn), Says::Unreadable, Finds::Clean(all)),
        case(
            "both slots torn, torn tail",
            with_file(&torn, MARK_FILE, &both_torn),
            Says::Unreadable,
            Finds::Torn(all - 1),
        ),
        case("of another version", with_mark(&version), Says::Unreadable, Finds::Clean(all)),
        case("empty", with_mark(b""), Says::Unreadable, Finds::Clean(all)),
        case("garbage", with_mark(&[0xa5; 1024]), Says::Unreadable, Finds::Clean(all)),
        case("zeros", with_mark(&[0; 1024]), Says::Unreadable, Finds::Clean(all)),
        case("longer than it should be", with_mark(&longer), Says::Fits, Finds::Clean(all)),
        case("one slot and a part", with_mark(&short), Says::Fits, Finds::Clean(all)),
    ]
}

fn marks_of_other_logs(image: &Image) -> Vec<Case> {
    let disk = &image.disk;
    let (all, end) = (image.entries.len(), image.end());
    let torn = cut(disk, "000003", end.offset - 2);
    let stages = stages();
    let case = |name, disk, mark, finds| Case { name, disk, mark, finds };
    let other = another_log(0, 8);
    // One begins as the other does: eight entries, and then it goes its own way and ends sooner.
    let (longer, shorter) = (another_log(1, 9), another_log(2, 4));
    let short = Image::of(shorter.clone());
    let bare = &stages[0];
    let first = Image::of(bare.clone()).entries.len();
    let older_mark = with_mark_of(disk, &stages[2]);
    assert_eq!(mark_of(&stages[2]).position.segment, 1);
    // Rewritten by our truncation, and then the mark of the time before put back.
    let sim = SimDisk::new(disk.clone());
    let (wal, _) = Wal::open_storage(Arc::new(sim.clone()), plain(1300)).unwrap().replay(&mut ()).unwrap();
    wal.truncate(i64::MAX, |_| true).unwrap();
    wal.close().unwrap();
    let truncated = sim.disk();
    let rest = Image::of(truncated.clone()).entries.len();
    assert!(rest < all);
    let two = stages.iter().rev().find(|stage| mark_of(stage).position.segment == 2).unwrap();
    assert_eq!(segments(&truncated).iter().map(|s| s.0).collect::<Vec<_>>(), [1, 3]);
    vec![
        case("of another log", with_mark_of(disk, &other), Says::DoesNotFit, Finds::Clean(all)),
        case(
            "of another log, torn tail",
            with_mark_of(&torn, &other),
            Says::DoesNotFit,
            Finds::Torn(all - 1),
        ),
        case(
            "of a log that begins alike and is longer",
            with_mark_of(&shorter, &longer),
            Says::DoesNotFit,
            Finds::Clean(short.entries.len()),
        ),
        case(
            "of a log that begins alike and is longer, torn tail",
            with_mark_of(&cut(&shorter, "000001", short.end().offset - 1), &longer),
            Says::DoesNotFit,
            Finds::Torn(short.entries.len() - 1),
        ),
        case("an older copy of this log's", older_mark, Says::Fits, Finds::Clean(all)),
        case(
            "an older copy of this log's, torn tail",
            with_mark_of(&torn, &stages[2]),
            Says::Fits,
            Finds::Torn(all - 1),
        ),
        // Entries that were durable are missing: that is damage, though nothing has rotted.
        case(
            "segments restored older than it",
            with_mark_of(bare, &stages[1]),
            Says::Fits,
            Finds::Damaged(first, first),
        ),
        case(
            "segments restored older than it, its own missing",
            with_mark_of(bare, disk),
            Says::DoesNotFit,
            Finds::Clean(first),
        ),
        case("after truncation", truncated.clone(), Says::Fits, Finds::Clean(rest)),
        case(
            "older than the truncation that rewrote its segment",
            with_mark_of(&truncated, &stages[3]),
            Says::DoesNotFit,
            Finds::Clean(rest),
        ),
        case(
            "older than the truncation that removed its segment",
            with_mark_of(&truncated, two),
            Says::DoesNotFit,
            Finds::Clean(rest),
        ),
    ]
}

fn constructed_marks(image: &Image) -> Vec<Case> {
    let disk = &image.disk;
    let (all, end) = (image.entries.len(), image.end());
    let witnesses = mark_of(disk).witnesses;
    let at = |segment, offset| Position::new(segment, offset);
    let (torn_at, torn_end, _) = image.entries[all - 1].clone();
    let middle = (torn_at.offset + torn_end) / 2;
    let earlier: Vec<_> = witnesses.iter().copied().filter(|w| w.end <= torn_at.offset).collect();
    let within = marked(disk, at(3, middle), earlier.clone());
    let case = |name, disk, mark, finds| Case { name, disk, mark, finds };
    let zero = Witness { end: 300, checksum: 0 };
    let nowhere = Witness { end: 2, checksum: 9 };
    let far = Witness { end: u64::MAX, checksum: 9 };
    let odd = vec![zero, nowhere, far];
    vec![
        case(
            "past the end, and a witness stands",
            marked(disk, at(3, end.offset + 999), witnesses.clone()),
            Says::Fits,
            Finds::Damaged(all, all),
        ),
        case(
            "past the end, and none stands",
            marked(disk, at(3, u64::MAX), odd.clone()),
            Says::DoesNotFit,
            Finds::Clean(all),
        ),
        case("within an entry", within.clone(), Says::Fits, Finds::Clean(all)),
        case(
            "within an entry that is cut",
            cut(&within, "000003", torn_end - 1),
            Says::Fits,
            Finds::Damaged(all - 1, all - 1),
        ),
        case("at a header", marked(disk, at(3, 8), vec![]), Says::ProvesNothing, Finds::Clean(all)),
        case(
            "at a header that has witnesses",
            marked(disk, at(3, 8), odd),
            Says::ProvesNothing,
            Finds::Clean(all),
        ),
        case("at zero", marked(disk, at(0, 0), vec![]), Says::ProvesNothing, Finds::Clean(all)),
        case("of a segment to come", marked(disk, at(4, 8), vec![]), Says::ProvesNothing, Finds::Clean(all)),
        case(
            "at a header, torn tail",
            marked(&cut(disk, "000003", end.offset - 1), at(3, 8), vec![]),
            Says::ProvesNothing,
            Finds::Torn(all - 1),
        ),
        case(
            "of a segment far away",
            marked(disk, at(1 << 60, 900), witnesses),
            Says::DoesNotFit,
            Finds::Clean(all),
        ),
    ]
}

/// A segment as the reference's truncation leaves it: the series entries of another, and those that keep
/// nothing as entries without a payload.
fn rewritten_by_the_reference(image: &Image, from: &[u64], keep: impl Fn(usize) -> bool) -> Vec<u8> {
    let mut bytes = segments(&image.disk)[0].1[..8].to_vec();
    for (index, (at, end, item)) in image.entries.iter().enumerate() {
        if from.contains(&at.segment) && matches!(item, common::Item::Series(_)) {
            let (_, segment) = segments(&image.disk).into_iter().find(|s| s.0 == at.segment).unwrap();
            if keep(index) {
                let from = usize::try_from(at.offset).unwrap();
                bytes.extend_from_slice(&segment[from..usize::try_from(*end).unwrap()]);
            } else {
                frame_payload(EntryKind::Series, 1, b"", &mut bytes).unwrap();
            }
        }
    }
    bytes
}

fn after_the_reference(image: &Image) -> Vec<Case> {
    let disk = &image.disk;
    let all = image.entries.len();
    let case = |name, disk, mark, finds| Case { name, disk, mark, finds };
    // It never appends to what is there: it begins a segment, of a size given beforehand.
    let mut fresh = segments(disk)[0].1[..284].to_vec();
    let in_fresh = image.entries.iter().filter(|(at, end, _)| at.segment == 1 && *end <= 284).count();
    fresh.resize(4096, 0);
    let appended = with_file(disk, &segment_name(4), &fresh);
    let count = |disk: &Disk| Image::of(disk.clone()).entries.len();
    // Only the mark's own segment is left to truncate, and all of its first entry's series are kept.
    let alone = without_file(&without_file(&appended, "000001"), "000002");
    let kept = with_file(&alone, "000003", &rewritten_by_the_reference(image, &[3], |_| true));
    let some = with_file(&alone, "000003", &rewritten_by_the_reference(image, &[3], |index| index % 2 == 0));
    let none = with_file(&alone, "000003", &rewritten_by_the_reference(image, &[3], |_| false));
    let all_three = rewritten_by_the_reference(image, &[1, 2, 3], |_| true);
    let merged = without_file(&without_file(&appended, "000002"), "000003");
    let merged = with_file(&merged, "000001", &all_three);
    let deleted = without_file(&without_file(disk, "000003"), "000002");
    let (kept_count, some_count, none_count) = (count(&kept), count(&some), count(&none));
    let merged_count = count(&merged);
    let deleted_count = count(&deleted);
    let left_over = with_file(&appended, "compact.tmp", &all_three);
    let zeros_cut = cut(&with_file(disk, &segment_name(4), &fresh[..284]), "000003", image.end().offset);
    let bare_head = cut(&appended, "000003", 8);
    let bare_count = count(&bare_head);
    vec![
        case("the reference appended", appended.clone(), Says::Fits, Finds::Clean(all + in_fresh)),
        case("the reference cut its zeros", zeros_cut, Says::Fits, Finds::Clean(all + in_fresh)),
        case("the reference left a compact.tmp", left_over, Says::Fits, Finds::Clean(all + in_fresh)),
        case("the reference rewrote the segment", kept, Says::DoesNotFit, Finds::Clean(kept_count)),
        case("the reference kept a part of it", some, Says::DoesNotFit, Finds::Clean(some_count)),
        case("the reference kept nothing of it", none, Says::DoesNotFit, Finds::Clean(none_count)),
        case("the reference removed the segment", merged, Says::DoesNotFit, Finds::Clean(merged_count)),
        case("the reference wrote before reading", bare_head, Says::DoesNotFit, Finds::Clean(bare_count)),
        case("the reference's repair removed it", deleted, Says::DoesNotFit, Finds::Clean(deleted_count)),
    ]
}

fn check_all(cases: &[Case]) {
    for case in cases {
        check(case);
    }
    println!("{} directories, each read twice and opened in four modes", cases.len());
}

#[test]
fn a_spoiled_or_stale_mark_never_makes_damage_of_a_whole_log() {
    check_all(&whole_and_spoiled_marks(&three_segments()));
}

#[test]
fn a_mark_of_another_log_or_another_time_is_told_and_not_used() {
    check_all(&marks_of_other_logs(&three_segments()));
}

#[test]
fn a_mark_that_points_anywhere_is_judged_by_its_witnesses() {
    check_all(&constructed_marks(&three_segments()));
}

#[test]
fn after_the_reference_wrote_here_the_mark_damages_nothing() {
    check_all(&after_the_reference(&three_segments()));
}

#[test]
fn a_rewritten_segment_that_is_cut_before_its_samples_is_the_limit_of_a_mark() {
    let image = three_segments();
    let first = image.entries.iter().find(|(at, ..)| at.segment == 3).unwrap().1;
    let alone = cut(&image.disk, "000003", first);
    // In the last segment no truncation explains it.
    assert_eq!(read(&alone, false).verdict, Verdict::Damaged);
    // In an earlier one, entries without a sample and nothing behind them are what truncation leaves.
    let followed = with_file(&alone, "000004", &segments(&image.disk)[0].1);
    let found = read(&followed, false);
    assert_eq!((found.verdict, says(found.mark)), (Verdict::Clean, Says::DoesNotFit));
    let second = image.entries.iter().filter(|(at, ..)| at.segment == 3).nth(1).unwrap().1;
    assert_eq!(
        read(&cut(&with_file(&image.disk, "000004", &segments(&image.disk)[0].1), "000003", second), false)
            .verdict,
        Verdict::Damaged
    );
}

#[test]
fn a_repair_leaves_a_mark_that_protects_what_it_kept() {
    let image = three_segments();
    // In the middle, in the first and in the last entry, and in the header.
    let places = [530, 20, 1125, 1];
    let modes = [RecoveryMode::PointInTime, RecoveryMode::SkipDamaged];
    for (place, mode) in places.into_iter().flat_map(|place| modes.map(|mode| (place, mode))) {
        let damaged = with_bits(&image.disk, "000003", place, 1);
        let repaired = open(&damaged, mode).disk;
        let last = Image::of(repaired.clone()).entries.pop().unwrap();
        // The segment was written anew, or nothing of it stays: the mark knows entries where they are now.
        let mark = mark_of(&repaired);
        if mark.position == Position::new(3, 8) {
            // Only the header stays, so any fault before it is in an earlier segment.
            assert_eq!((place, mode), (20, RecoveryMode::PointInTime));
        } else {
            assert_eq!(mark.position, Position::new(last.0.segment, last.1), "{mode}: {place}");
            assert!(mark.witnesses.iter().any(|witness| witness.end == last.1), "{mode}: {place}: {mark:?}");
            assert_eq!(says(read(&repaired, false).mark), Says::Fits, "{mode}: {place}");
        }
        let name = segment_name(last.0.segment);
        if mark.position.segment == last.0.segment {
            let found = read(&cut(&repaired, &name, last.0.offset), false);
            assert_eq!(
                found.verdict,
                Verdict::Damaged,
                "{mode}: {place}: an entry is missing below the mark"
            );
        }
        let found = read(&with_bits(&repaired, &name, last.0.offset + 7, 1), false);
        assert_eq!((found.verdict, found.fault), (Verdict::Damaged, Some(last.0)), "{mode}: {place}");
    }
}

#[test]
fn a_mark_of_the_highest_number_is_named_when_no_number_is_left() {
    let image = three_segments();
    let disk = marked(&image.disk, Position::new(u64::MAX, 900), mark_of(&image.disk).witnesses);
    let error = open(&disk, RecoveryMode::PointInTime).outcome.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::NumbersExhausted);
    assert!(error.to_string().contains("durable"), "{error}");
    assert_eq!(read(&disk, false).verdict, Verdict::Clean);
}

#[test]
fn a_copied_log_is_durable_as_a_whole_before_the_first_yes() {
    let image = three_segments();
    // Copied, mark and all, and never synced: the machine may lose any of it.
    let sim = SimDisk::new(Disk::new());
    let storage: &dyn wal_segment::Storage = &sim;
    storage.create_log_folder().unwrap();
    for (name, _) in image.disk.list().filter(|(name, _)| !name.is_empty()) {
        let file = storage.create_new(name).unwrap();
        file.write_at(&image.disk.contents(name).unwrap(), 0).unwrap();
    }
    let (wal, _) = Wal::open_storage(Arc::new(sim.clone()), plain(1300)).unwrap().replay(&mut ()).unwrap();
    wal.log_series(&[series(77)]).unwrap();
    wal.log_samples(&[sample(78)]).unwrap();
    wal.sync().unwrap();
    let after = sim.disk().after_power_loss(&[]);
    let opened = open(&after, RecoveryMode::PointInTime);
    assert_eq!(opened.memory.items.len(), image.entries.len() + 2);
}
