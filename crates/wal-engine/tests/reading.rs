//! What a pass over a log says where it cannot go on: beside a writer, behind damage, and on a disk that says no.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use common::disk::{Call, Faults, FaultyDisk};
use common::{flip, log_values, open, segments, series, small, snapshot, values, written};
use wal_engine::mark;
use wal_engine::{
    ErrorKind, Fault, Labels, MarkStatus, Position, ReadEvent, ReadOptions, ReadProgress, Reason,
    RecoveryMode, SegmentEnd, Series, Verdict, Wal, WalOptions, WalReader, inspect, list_quarantine,
};
use wal_format::{EntryKind, frame_payload};
use wal_segment::{Modes, OsStorage};

const ENOENT: i32 = 2;
const EIO: i32 = 5;
const EACCES: i32 = 13;
const EMFILE: i32 = 24;
/// One sample takes this many bytes: a frame, a base, two differences of one byte, a value.
const ENTRY_BYTES: u64 = 10 + 16 + 10;

/// What a reader told: how many entries, gaps, the fault, and how the segments end.
#[derive(Debug, Default)]
struct Told {
    entries: Vec<Position>,
    gaps: Vec<(Position, u64)>,
    fault: Option<Fault>,
    ends: Vec<SegmentEnd>,
    valid: Vec<u64>,
}

fn read(reader: &mut WalReader) -> Result<Told, wal_engine::Error> {
    let mut told = Told::default();
    while let Some(event) = reader.next()? {
        match event {
            ReadEvent::Entry(entry) => told.entries.push(entry.at),
            ReadEvent::Gap(gap, _) => told.gaps.push((gap.from, gap.to_offset)),
            ReadEvent::Fault(fault) => told.fault = Some(fault),
            ReadEvent::SegmentEnd(end) => {
                told.ends.push(end.ends);
                told.valid.push(end.valid_bytes);
            }
            other => panic!("{other:?}"),
        }
    }
    Ok(told)
}

fn read_dir(dir: &Path, options: ReadOptions) -> Told {
    read(&mut WalReader::open(dir, options).unwrap()).unwrap()
}

fn write_at(dir: &Path, name: &str, at: u64, bytes: &[u8]) {
    let at = usize::try_from(at).unwrap();
    let mut file = fs::read(dir.join(name)).unwrap();
    file.resize(file.len().max(at + bytes.len()), 0);
    file[at..at + bytes.len()].copy_from_slice(bytes);
    fs::write(dir.join(name), file).unwrap();
}

fn disk(dir: &Path) -> (Arc<FaultyDisk>, Arc<Faults>) {
    let disk = FaultyDisk::new(dir);
    let faults = Arc::clone(&disk.faults);
    (Arc::new(disk), faults)
}

fn in_mode(mode: RecoveryMode) -> WalOptions {
    small().recovery_mode(mode)
}

#[test]
fn what_a_writer_has_not_finished_is_no_fault_to_a_reader_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, ..) = open(dir.path(), small());
    let end = log_values(&wal, 0..3);
    wal.commit(end).unwrap();
    write_at(dir.path(), "000001", end.offset, &[9, 9, 9]);
    let told = read_dir(dir.path(), ReadOptions::default());
    assert_eq!((told.entries.len(), told.fault), (3, None));
    assert_eq!((told.ends, told.valid), (vec![SegmentEnd::Live], vec![end.offset]));
    // But what was durable and cannot be read is damage, writer or not.
    flip(&dir.path().join("000001"), usize::try_from(8 + ENTRY_BYTES + 20).unwrap());
    let told = read_dir(dir.path(), ReadOptions::default());
    assert_eq!(told.entries.len(), 1);
    let fault = told.fault.unwrap();
    assert_eq!((fault.verdict, fault.at.offset), (Verdict::Damaged, 8 + ENTRY_BYTES));
    drop(wal);
    // Without the writer the same bytes behind the end are a fault.
    flip(&dir.path().join("000001"), usize::try_from(8 + ENTRY_BYTES + 20).unwrap());
    write_at(dir.path(), "000001", end.offset, &[9, 9, 9]);
    assert_eq!(read_dir(dir.path(), ReadOptions::default()).fault.unwrap().verdict, Verdict::Torn);
}

#[test]
fn a_reader_ends_at_a_segment_of_another_version_and_names_its_place() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), 0..40, small());
    write_at(dir.path(), "000002", 4, &[2]);
    for skip in [false, true] {
        let told = read_dir(dir.path(), ReadOptions::default().skip_damaged(skip));
        let fault = told.fault.unwrap();
        assert_eq!((fault.verdict, fault.at), (Verdict::Unsupported, Position::new(2, 4)));
        assert_eq!(told.ends, [SegmentEnd::Exact, SegmentEnd::Fault(Reason::UnsupportedVersion(2))]);
        assert_eq!(told.valid[1], 0);
    }
    fs::write(dir.path().join("notes.txt"), b"mine").unwrap();
    for mode in [RecoveryMode::Strict, RecoveryMode::SkipDamaged] {
        let report = inspect(dir.path(), mode).unwrap();
        let fault = report.fault.unwrap();
        assert_eq!((fault.verdict, fault.at), (Verdict::Unsupported, Position::new(2, 4)));
        assert_eq!((report.mode, report.verdict, report.refused), (mode, Verdict::Unsupported, true));
        assert_eq!(report.leftovers, ["notes.txt"]);
        assert!(matches!(report.mark, MarkStatus::NotReached(_)), "{:?}", report.mark);
    }
}

#[test]
fn a_segment_that_is_gone_or_no_file_is_an_error_and_no_fault() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), 0..40, small());
    let (storage, faults) = disk(dir.path());
    faults.fail_named(Call::Open, "000002", ENOENT);
    let error = WalReader::open_storage(storage, ReadOptions::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoSuchPosition);
    assert!(error.to_string().contains("segment 2 was truncated away"), "{error}");
    fs::remove_file(dir.path().join("000002")).unwrap();
    fs::create_dir(dir.path().join("000002")).unwrap();
    let error = WalReader::open(dir.path(), ReadOptions::default()).unwrap_err();
    assert!(error.to_string().contains("not a regular file"), "{error}");
    let error = Wal::open(dir.path(), small()).unwrap_err();
    assert!(error.to_string().contains("not a regular file"), "{error}");
}

#[test]
fn a_segment_that_cannot_be_opened_yet_is_opened_when_its_turn_comes() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), 0..40, small());
    let (storage, faults) = disk(dir.path());
    faults.fail_named(Call::Open, "000003", EMFILE);
    let mut reader = WalReader::open_storage(storage, ReadOptions::default()).unwrap();
    faults.mend();
    assert_eq!(read(&mut reader).unwrap().entries.len(), 40);
    // When it is its turn there is nothing to wait for.
    let (storage, faults) = disk(dir.path());
    faults.fail_named(Call::Open, "000003", EMFILE);
    let mut reader = WalReader::open_storage(Arc::clone(&storage) as _, ReadOptions::default()).unwrap();
    let error = read(&mut reader).unwrap_err();
    assert!(error.to_string().contains("000003"), "{error}");
    faults.mend();
    faults.fail_named(Call::Open, "000001", EMFILE);
    let error = WalReader::open_storage(storage, ReadOptions::default()).unwrap_err();
    assert!(error.to_string().contains("000001"), "{error}");
}

#[test]
fn segments_that_go_while_a_reader_is_at_work_are_read_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), 0..40, small());
    let mut reader = WalReader::open(dir.path(), ReadOptions::default()).unwrap();
    for (name, _) in segments(dir.path()) {
        fs::remove_file(dir.path().join(name)).unwrap();
    }
    assert_eq!(read(&mut reader).unwrap().entries.len(), 40);
}

#[test]
fn a_start_in_the_middle_is_found_and_nothing_before_it_is_read() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), 0..40, small());
    let all = read_dir(dir.path(), ReadOptions::default()).entries;
    for (index, from) in all.iter().enumerate().step_by(7) {
        assert_eq!(read_dir(dir.path(), ReadOptions::default().from(*from)).entries, all[index..]);
    }
    let inside = Position { offset: all[5].offset + 1, ..all[5] };
    let error = WalReader::open(dir.path(), ReadOptions::default().from(inside)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoSuchPosition);
}

#[test]
fn a_false_length_is_not_believed_and_the_next_entry_is_found() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), 0..10, small());
    // It claims an end within the next entry.
    write_at(dir.path(), "000001", 8 + ENTRY_BYTES + 5, &[40]);
    let told = read_dir(dir.path(), ReadOptions::default().skip_damaged(true));
    let (from, to) = (8 + ENTRY_BYTES, 8 + 2 * ENTRY_BYTES);
    assert_eq!(told.gaps, [(Position::new(1, from), to)]);
    assert_eq!(told.entries.len(), 9);
    // It claims more than there is.
    write_at(dir.path(), "000001", 8 + ENTRY_BYTES + 2, &[1]);
    assert_eq!(read_dir(dir.path(), ReadOptions::default().skip_damaged(true)).gaps, told.gaps);
}

#[test]
fn a_segment_without_a_valid_entry_leaves_as_a_whole_when_damage_is_skipped() {
    let dir = tempfile::tempdir().unwrap();
    let count = u32::try_from((512 - 8) / ENTRY_BYTES).unwrap();
    written(dir.path(), 0..3 * count, small());
    let second = fs::read(dir.path().join("000002")).unwrap();
    let ruined: Vec<u8> = second.iter().map(|byte| byte ^ 0x55).collect();
    fs::write(dir.path().join("000002"), [&second[..8], &ruined[8..]].concat()).unwrap();
    let planned = inspect(dir.path(), RecoveryMode::SkipDamaged).unwrap();
    let (wal, memory, report) = open(dir.path(), in_mode(RecoveryMode::SkipDamaged));
    let expected = [values(0..count), values(2 * count..3 * count)].concat();
    assert_eq!((memory.values(), report.verdict), (expected.clone(), Verdict::Damaged));
    let moved: Vec<_> =
        report.quarantined.iter().map(|kept| (kept.segment, kept.offset, kept.bytes)).collect();
    assert_eq!(moved, [(2, 0, second.len() as u64)]);
    assert_eq!((planned.quarantined.len(), planned.end), (1, report.end));
    assert!(!dir.path().join("000002").exists());
    wal.close().unwrap();
    let (wal, memory, report) = open(dir.path(), small());
    assert_eq!((memory.values(), report.verdict), (expected, Verdict::Clean));
    wal.close().unwrap();
}

#[test]
fn a_mark_has_no_witnesses_of_a_segment_that_left() {
    let dir = tempfile::tempdir().unwrap();
    let count = u32::try_from((512 - 8) / ENTRY_BYTES).unwrap();
    written(dir.path(), 0..4 * count, small());
    for name in ["000003", "000004"] {
        let bytes = fs::read(dir.path().join(name)).unwrap();
        fs::write(dir.path().join(name), bytes.iter().map(|byte| byte ^ 0x55).collect::<Vec<_>>()).unwrap();
    }
    let (wal, memory, report) = open(dir.path(), in_mode(RecoveryMode::SkipDamaged));
    assert_eq!((memory.values().len(), report.gaps.len()), (2 * count as usize, 2));
    drop(wal);
    let at = Position::new(2, 8 + u64::from(count) * ENTRY_BYTES);
    assert_eq!(inspect(dir.path(), RecoveryMode::Strict).unwrap().mark, MarkStatus::ProvesNothing(at));
}

#[test]
fn a_mark_at_the_end_of_a_segment_of_series_alone_fits() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, ..) = open(dir.path(), small());
    let end = wal.log_series(&[series(1)]).unwrap();
    wal.close().unwrap();
    let header = fs::read(dir.path().join("000001")).unwrap()[..8].to_vec();
    fs::write(dir.path().join("000002"), header).unwrap();
    let report = inspect(dir.path(), RecoveryMode::Strict).unwrap();
    assert_eq!((report.verdict, report.mark), (Verdict::Clean, MarkStatus::Fits(end)));
}

#[test]
fn a_rotten_checksum_of_the_only_durable_entry_is_damage_and_not_a_torn_write() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), 0..1, small());
    flip(&dir.path().join("000001"), usize::try_from(8 + ENTRY_BYTES - 1).unwrap());
    let report = inspect(dir.path(), RecoveryMode::TolerateTornTail).unwrap();
    assert_eq!((report.verdict, report.refused), (Verdict::Damaged, true));
    // The same without a mark cannot be told from a write cut short.
    fs::remove_file(dir.path().join("durable")).unwrap();
    let report = inspect(dir.path(), RecoveryMode::TolerateTornTail).unwrap();
    assert_eq!((report.verdict, report.refused, report.mark), (Verdict::Torn, false, MarkStatus::Absent));
}

/// The mark of a log that holds the first three values only.
fn early_mark() -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), 0..3, small());
    fs::read(dir.path().join("durable")).unwrap()
}

#[test]
fn above_a_fitting_mark_a_fault_is_a_torn_tail_even_with_entries_behind_it() {
    let mut tail = Vec::new();
    frame_payload(EntryKind::Samples, 1, &[0; 16], &mut tail).unwrap();
    tail[20] ^= 1;
    frame_payload(EntryKind::Samples, 1, &[0; 16], &mut tail).unwrap();
    // In the mark's segment, and in the last one when the mark stands at the end of the one before.
    for first_of_next in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let count = if first_of_next { u32::try_from((512 - 8) / ENTRY_BYTES).unwrap() } else { 3 };
        written(dir.path(), 0..count, small());
        let end = 8 + u64::from(count) * ENTRY_BYTES;
        if first_of_next {
            let header = fs::read(dir.path().join("000001")).unwrap()[..8].to_vec();
            fs::write(dir.path().join("000002"), [header, tail.clone()].concat()).unwrap();
        } else {
            write_at(dir.path(), "000001", end, &tail);
        }
        let report = inspect(dir.path(), RecoveryMode::TolerateTornTail).unwrap();
        assert_eq!((report.verdict, report.refused), (Verdict::Torn, false));
        assert_eq!(report.mark, MarkStatus::Fits(Position::new(1, end)));
        // A mark before the end of the segment before says nothing about the last one, and no mark nothing at all.
        if first_of_next {
            fs::write(dir.path().join("durable"), early_mark()).unwrap();
            let report = inspect(dir.path(), RecoveryMode::TolerateTornTail).unwrap();
            assert_eq!((report.verdict, report.refused), (Verdict::Damaged, true));
            assert_eq!(report.mark, MarkStatus::Fits(Position::new(1, 8 + 3 * ENTRY_BYTES)));
        }
        fs::remove_file(dir.path().join("durable")).unwrap();
        let report = inspect(dir.path(), RecoveryMode::TolerateTornTail).unwrap();
        assert_eq!((report.verdict, report.refused), (Verdict::Damaged, true));
    }
}

#[test]
fn a_log_cut_at_an_entry_below_its_mark_is_damaged_though_there_is_nothing_to_keep() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), 0..5, small());
    let at = 8 + 3 * ENTRY_BYTES;
    fs::File::options().write(true).open(dir.path().join("000001")).unwrap().set_len(at).unwrap();
    let (wal, memory, report) = open(dir.path(), small());
    assert_eq!((memory.values(), report.verdict), (values(0..3), Verdict::Damaged));
    let fault = report.fault.unwrap();
    assert_eq!(
        (fault.at, fault.reason),
        (Position::new(1, at), Reason::EndsBelowMark { mark: 8 + 5 * ENTRY_BYTES })
    );
    assert!(report.quarantined.is_empty() && list_quarantine(dir.path()).unwrap().is_empty());
    assert_eq!(report.end, Position::new(2, 8), "no position is given twice");
    wal.close().unwrap();
    let (wal, memory, report) = open(dir.path(), small());
    assert_eq!((memory.values(), report.verdict), (values(0..3), Verdict::Clean));
    wal.close().unwrap();
}

#[test]
fn a_rewrite_that_fails_leaves_the_old_segment_and_no_temporary() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), 0..10, small());
    flip(&dir.path().join("000001"), usize::try_from(8 + ENTRY_BYTES + 20).unwrap());
    let damaged = fs::read(dir.path().join("000001")).unwrap();
    let (storage, faults) = disk(dir.path());
    let recovery = Wal::open_storage(storage, in_mode(RecoveryMode::SkipDamaged)).unwrap();
    faults.fail_named(Call::Write, "000001.repair.wal-tmp", EIO);
    let error = recovery.replay(&mut ()).unwrap_err();
    assert!(error.to_string().contains("000001"), "{error}");
    assert_eq!(fs::read(dir.path().join("000001")).unwrap(), damaged);
    assert!(snapshot(dir.path()).iter().all(|(name, _)| !name.ends_with(".wal-tmp")));
    let (wal, memory, report) = open(dir.path(), in_mode(RecoveryMode::SkipDamaged));
    assert_eq!((memory.values().len(), report.gaps.len()), (9, 1));
    wal.close().unwrap();
    assert_eq!(segments(dir.path())[0].1, 8 + 9 * ENTRY_BYTES);
}

#[test]
fn the_mark_of_a_repaired_log_names_its_end_also_when_nothing_was_appended() {
    let mark_in = |dir: &Path| mark::load(&OsStorage::new(dir, Modes::default())).unwrap().0.unwrap();
    // Skipped damage: the segment is shorter than it was.
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), 0..10, small());
    flip(&dir.path().join("000001"), usize::try_from(8 + 3 * ENTRY_BYTES + 20).unwrap());
    flip(&dir.path().join("000001"), usize::try_from(8 + 6 * ENTRY_BYTES + 20).unwrap());
    let (wal, _, report) = open(dir.path(), in_mode(RecoveryMode::SkipDamaged));
    assert_eq!((report.gaps.len(), wal.metrics().corruptions), (2, 2));
    drop(wal);
    assert_eq!(mark_in(dir.path()).position, Position::new(1, 8 + 8 * ENTRY_BYTES));
    // Cut at damage.
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), 0..10, small());
    flip(&dir.path().join("000001"), usize::try_from(8 + 3 * ENTRY_BYTES + 20).unwrap());
    let (wal, _, report) = open(dir.path(), small());
    assert_eq!((report.cut_at, wal.metrics().corruptions), (Some(Position::new(1, 8 + 3 * ENTRY_BYTES)), 1));
    drop(wal);
    assert_eq!(mark_in(dir.path()).position, Position::new(1, 8 + 3 * ENTRY_BYTES));
    // A log without a mark has one from its opening on, however it was read.
    for threads in [1, 2] {
        let dir = tempfile::tempdir().unwrap();
        written(dir.path(), 0..40, small());
        fs::remove_file(dir.path().join("durable")).unwrap();
        let (wal, _, report) = open(dir.path(), small().replay_threads(threads));
        assert_eq!(wal.metrics().corruptions, 0);
        assert_eq!(report.segments, segments(dir.path()).len() as u64);
        drop(wal);
        let status = inspect(dir.path(), RecoveryMode::Strict).unwrap().mark;
        assert_eq!(status, MarkStatus::Fits(report.end));
        let mark = mark_in(dir.path());
        assert!(mark.witnesses.iter().all(|witness| (witness.end - 8) % ENTRY_BYTES == 0), "{mark:?}");
    }
}

#[test]
fn without_a_mark_every_segment_is_synced_and_only_the_last_one_written_again() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), 0..40, small());
    let names: Vec<String> = segments(dir.path()).into_iter().map(|(name, _)| name).collect();
    let (last, earlier) = names.split_last().unwrap();
    let opened = || {
        fs::remove_file(dir.path().join("durable")).unwrap();
        let (wal, _, _, faults) = FaultyDisk::open_log(dir.path(), small());
        let synced: Vec<String> = faults.journal.lock().clone();
        let written: Vec<String> = faults.writes.lock().iter().map(|(name, ..)| name.clone()).collect();
        wal.close().unwrap();
        (synced, written)
    };
    let (synced, written) = opened();
    assert!(names.iter().all(|name| synced.contains(&format!("Sync {name}"))), "{synced:?}");
    assert!(written.contains(last) && !earlier.iter().any(|name| written.contains(name)), "{written:?}");
    // A mark that fits says nothing about segments behind its own.
    let (wal, ..) = open(dir.path(), small());
    let early = fs::read(dir.path().join("durable")).unwrap();
    let end = log_values(&wal, 40..60);
    wal.close().unwrap();
    fs::write(dir.path().join("durable"), early).unwrap();
    let (wal, _, report, faults) = FaultyDisk::open_log(dir.path(), small());
    assert!(matches!(report.mark, MarkStatus::Fits(at) if at.segment < end.segment), "{:?}", report.mark);
    let name = format!("{:06}", end.segment);
    let from =
        faults.writes.lock().iter().filter(|(written, ..)| *written == name).map(|write| write.1).min();
    assert_eq!(from, Some(0));
    wal.close().unwrap();
    // A file that a backup shares is synced and not written to.
    let last = &name;
    let other = tempfile::tempdir_in(dir.path().parent().unwrap()).unwrap();
    fs::hard_link(dir.path().join(last), other.path().join(last)).unwrap();
    let (synced, written) = opened();
    assert!(names.iter().all(|name| synced.contains(&format!("Sync {name}"))), "{synced:?}");
    assert!(!written.contains(last), "{written:?}");
}

#[test]
fn progress_is_counted_in_the_bytes_of_the_log() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), 0..40, small());
    let recovery = Wal::open(dir.path(), small()).unwrap();
    let progress = recovery.progress();
    let total: u64 = segments(dir.path()).iter().map(|(_, bytes)| bytes).sum();
    assert_eq!((progress.total_bytes(), progress.done_bytes()), (total, 0));
    recovery.replay(&mut ()).unwrap().0.close().unwrap();
    assert_eq!((progress.total_bytes(), progress.done_bytes()), (total, total));
}

#[test]
fn a_truncation_tells_how_much_of_the_old_segments_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, ..) = open(dir.path(), small());
    wal.log_series(&[Series::new(1, Labels::from_pairs([("job", "node")]))]).unwrap();
    wal.commit(log_values(&wal, 0..40)).unwrap();
    let old: u64 = segments(dir.path()).iter().rev().skip(1).map(|(_, bytes)| bytes).sum();
    let progress = ReadProgress::default();
    let mut seen = vec![(0, 0)];
    wal.truncate_with_progress(i64::MAX, &progress, |_| {
        seen.push((progress.total_bytes(), progress.done_bytes()));
        true
    })
    .unwrap();
    seen.push((progress.total_bytes(), progress.done_bytes()));
    assert_eq!((seen.get(1), seen.last()), (Some(&(old, 0)), Some(&(old, old))));
    wal.close().unwrap();
}

#[test]
fn the_lowest_segment_moves_only_when_the_others_are_gone_for_good() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), 0..60, small());
    assert!(4 <= segments(dir.path()).len());
    // The header is at fault, so the segment that bears the fault leaves as well.
    write_at(dir.path(), "000002", 0, &[1]);
    let (wal, memory, report, faults) = FaultyDisk::open_log(dir.path(), small());
    assert!(memory.values().len() < 60);
    let numbers: Vec<u64> = report.quarantined.iter().map(|kept| kept.segment).collect();
    assert!(numbers.is_sorted_by(|a, b| a > b) && numbers.last() == Some(&2), "{numbers:?}");
    let journal = faults.journal.lock().clone();
    let moved = |number: u64| {
        let call = format!("Rename {number:06} quarantine/");
        journal.iter().position(|line| line.starts_with(&call)).unwrap()
    };
    let syncs = |from: u64, to: u64| {
        let between = &journal[moved(from)..moved(to)];
        between.iter().filter(|line| line.starts_with("SyncFolder")).collect::<Vec<_>>()
    };
    assert_eq!(syncs(3, 2), ["SyncFolder Quarantine", "SyncFolder Log"]);
    assert!(syncs(4, 3).is_empty());
    wal.close().unwrap();
}

#[test]
fn ends_of_segments_are_told_in_words() {
    let ends = [
        (SegmentEnd::Exact, "exact"),
        (SegmentEnd::Zeros { bytes: 12 }, "12 zero bytes"),
        (SegmentEnd::Live, "live"),
        (SegmentEnd::Fault(Reason::Empty), "the file is empty"),
    ];
    for (end, text) in ends {
        assert_eq!(end.to_string(), text);
    }
}

#[test]
fn a_segment_that_a_backup_shares_is_not_appended_to() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), 0..3, small());
    let other = tempfile::tempdir_in(dir.path().parent().unwrap()).unwrap();
    fs::hard_link(dir.path().join("000001"), other.path().join("000001")).unwrap();
    let (wal, _, report) = open(dir.path(), small());
    assert_eq!((report.verdict, report.end), (Verdict::Clean, Position::new(2, 8)));
    log_values(&wal, 3..6);
    wal.close().unwrap();
    assert_eq!(fs::metadata(other.path().join("000001")).unwrap().len(), 8 + 3 * ENTRY_BYTES);
    let (wal, memory, report) = open(dir.path(), small());
    assert_eq!((memory.values(), report.end.segment), (values(0..6), 2));
    wal.close().unwrap();
}

#[test]
fn only_a_last_segment_with_prepared_space_is_cut_when_it_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), 0..40, small());
    let open_counted = || {
        let (wal, memory, report, faults) = FaultyDisk::open_log(dir.path(), small());
        let len = fs::metadata(dir.path().join(format!("{:06}", report.end.segment))).unwrap().len();
        let marks = faults.journal.lock().iter().filter(|line| *line == "Sync durable").count();
        // The size of a segment that is not cut is changed and changed back, which makes it durable.
        let cuts = faults.count(Call::SetLen) % 2;
        // Once when it is opened, and once more before a cut of what is to be kept.
        assert_eq!(marks, 1 + usize::from(cuts != 0));
        (wal, memory.values(), report, cuts, len)
    };
    let (wal, read, report, cuts, len) = open_counted();
    assert_eq!((read, cuts, len), (values(0..40), 0, report.end.offset));
    wal.close().unwrap();
    // What a writer leaves that was killed: zeros behind its last entry, kept by nobody.
    let last = format!("{:06}", report.end.segment);
    write_at(dir.path(), &last, len, &[0; 300]);
    // And zeros in an earlier segment, which are left there.
    let earlier = fs::metadata(dir.path().join("000001")).unwrap().len();
    write_at(dir.path(), "000001", earlier, &[0; 50]);
    let (wal, read, report, cuts, len) = open_counted();
    assert_eq!((read, cuts, len), (values(0..40), 1, report.end.offset));
    assert_eq!((report.verdict, report.quarantined.len()), (Verdict::Clean, 0));
    assert_eq!(fs::metadata(dir.path().join("000001")).unwrap().len(), earlier + 50);
    wal.close().unwrap();
}

#[test]
fn an_empty_last_segment_goes_without_a_trace() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), 0..3, small());
    fs::write(dir.path().join("000002"), b"").unwrap();
    let (wal, memory, report) = open(dir.path(), small());
    assert_eq!((memory.values(), report.verdict), (values(0..3), Verdict::Clean));
    assert!(report.quarantined.is_empty() && list_quarantine(dir.path()).unwrap().is_empty());
    assert!(
        !dir.path().join("000002").exists() || fs::metadata(dir.path().join("000002")).unwrap().len() != 0
    );
    wal.close().unwrap();
}

#[test]
fn a_parent_that_is_not_ours_to_sync_is_an_error_only_for_a_log_that_we_created() {
    let place = tempfile::tempdir().unwrap();
    let fresh = place.path().join("wal");
    let (storage, faults) = disk(&fresh);
    faults.fail_named(Call::SyncFolder, "Parent", EACCES);
    assert!(Wal::open_storage(storage, small()).unwrap_err().to_string().contains("sync the parent"));
    // Made by someone else.
    let (storage, faults) = disk(&fresh);
    faults.fail_named(Call::SyncFolder, "Parent", EACCES);
    drop(Wal::open_storage(storage, small()).unwrap());
    // Whatever else it says, the name may not be durable.
    let (storage, faults) = disk(&fresh);
    faults.fail_named(Call::SyncFolder, "Parent", EIO);
    assert!(Wal::open_storage(storage, small()).unwrap_err().to_string().contains("sync the parent"));
}

#[test]
fn names_in_quarantine_that_cannot_be_made_durable_are_an_error_and_no_quarantine_is_none() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), 0..3, small());
    for (errno, opens) in [(ENOENT, true), (EIO, false)] {
        let (storage, faults) = disk(dir.path());
        faults.fail_named(Call::SyncFolder, "Quarantine", errno);
        let opened = Wal::open_storage(storage, small()).unwrap().replay(&mut ());
        assert_eq!(opened.is_ok(), opens, "{errno}");
    }
}

#[test]
fn inspection_says_what_each_mode_would_do_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), 0..40, small());
    flip(&dir.path().join("000002"), 100);
    let before = snapshot(dir.path());
    for mode in [RecoveryMode::Strict, RecoveryMode::TolerateTornTail] {
        let report = inspect(dir.path(), mode).unwrap();
        assert_eq!((report.refused, report.verdict, report.mode), (true, Verdict::Damaged, mode));
        assert!(report.quarantined.is_empty() && report.gaps.is_empty());
        let error = Wal::open(dir.path(), in_mode(mode)).unwrap().replay(&mut ()).unwrap_err();
        assert_eq!(error.position().map(|at| at.segment), Some(2));
        assert_eq!(error.path(), Some(dir.path().join("000002").as_path()));
    }
    for mode in [RecoveryMode::PointInTime, RecoveryMode::SkipDamaged] {
        let report = inspect(dir.path(), mode).unwrap();
        assert_eq!((report.refused, report.verdict, report.mode), (false, Verdict::Damaged, mode));
        assert_eq!(report.gaps.len(), usize::from(mode == RecoveryMode::SkipDamaged));
        assert!(!report.quarantined.is_empty());
    }
    assert_eq!(snapshot(dir.path()), before);
}
