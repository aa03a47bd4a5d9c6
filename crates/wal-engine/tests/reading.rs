//! What a pass over a log says where it cannot go on: beside a writer, behind damage, and on a disk that says no.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use common::disk::{Call, Faults, FaultyDisk};
use common::{flip, log_values, open, segments, small, snapshot, values, written};
use wal_engine::{
    ErrorKind, Fault, MarkStatus, Position, ReadEvent, ReadOptions, Reason, RecoveryMode, SegmentEnd,
    Verdict, Wal, WalOptions, WalReader, inspect, list_quarantine,
};

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
        (wal, memory.values(), report, faults.count(Call::SetLen), len)
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
    }
    for mode in [RecoveryMode::PointInTime, RecoveryMode::SkipDamaged] {
        let report = inspect(dir.path(), mode).unwrap();
        assert_eq!((report.refused, report.verdict, report.mode), (false, Verdict::Damaged, mode));
        assert_eq!(report.gaps.len(), usize::from(mode == RecoveryMode::SkipDamaged));
        assert!(!report.quarantined.is_empty());
    }
    assert_eq!(snapshot(dir.path()), before);
}
