//! The order of steps that makes an acknowledgement true, and what poisons a log.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;
use std::sync::Arc;

use common::disk::{Call, Faults, FaultyDisk};
use common::{flip, log_values, open, sample, segments, small, values, written};
use wal_engine::{Error, ErrorKind, Position, RecoveryMode, Verdict, Wal, WalOptions};

const EIO: i32 = 5;
const EMFILE: i32 = 24;
const ENOSPC: i32 = 28;

/// Every step on the calling thread, so that calls have the same index in every run.
fn alone() -> WalOptions {
    small().background_thread(false).replay_threads(1)
}

/// Where a call stands in the journal: the first one at or behind `from`.
fn first(journal: &[String], call: &str, from: usize) -> usize {
    let found = journal.iter().skip(from).position(|line| line == call);
    from + found.unwrap_or_else(|| panic!("no {call} from {from} on in {journal:#?}"))
}

fn last(journal: &[String], call: &str) -> usize {
    journal.iter().rposition(|line| line == call).unwrap_or_else(|| panic!("no {call}"))
}

/// A log with a first part that is durable and a last part that is not.
fn half_durable(dir: &Path) -> (Wal, Arc<Faults>, Position, Position) {
    let (wal, _, _, faults) = FaultyDisk::open_log(dir, alone());
    let durable = log_values(&wal, 0..3);
    wal.commit(durable).unwrap();
    let end = log_values(&wal, 3..6);
    (wal, faults, durable, end)
}

/// Whatever the log is asked now, it answers with the first cause; but what is durable stays so.
fn assert_poisoned(wal: Wal, durable: Position, end: Position, cause: &str) {
    let says = |error: Error| {
        assert_eq!(error.kind(), ErrorKind::Poisoned, "{error}");
        assert!(error.to_string().contains(cause), "{error}");
    };
    for _ in 0..3 {
        says(wal.log_samples(&[sample(9)]).unwrap_err());
        says(wal.log_series(&[]).unwrap_err());
        says(wal.commit(end).unwrap_err());
        says(wal.sync().unwrap_err());
        says(wal.truncate(0, |_| true).unwrap_err());
        wal.commit(durable).unwrap();
    }
    assert_eq!((wal.metrics().poisoned, wal.durable_position()), (1, durable));
    says(wal.close().unwrap_err());
}

#[test]
fn every_segment_that_stays_is_synced_when_another_is_written_anew() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), 0..40, small());
    std::fs::remove_file(dir.path().join("durable")).unwrap();
    flip(&dir.path().join("000001"), 8 + 36 + 20);
    let names: Vec<String> = segments(dir.path()).into_iter().map(|(name, _)| name).collect();
    let (wal, _, report, faults) =
        FaultyDisk::open_log(dir.path(), alone().recovery_mode(RecoveryMode::SkipDamaged));
    assert_eq!(report.gaps.len(), 1);
    let journal = faults.journal.lock().clone();
    for name in &names {
        // The damaged one is synced beside its place before it takes it.
        let is_old = name == "000001";
        assert_eq!(journal.contains(&format!("Sync {name}")), !is_old, "{name} in {journal:#?}");
    }
    wal.close().unwrap();
}

#[test]
fn the_old_segment_is_trimmed_and_synced_before_the_next_one_bears_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, _, _, faults) = FaultyDisk::open_log(dir.path(), alone().segment_bytes_max(500));
    for value in 0..40 {
        wal.commit(log_values(&wal, value..value + 1)).unwrap();
    }
    let journal = faults.journal.lock().clone();
    for number in 1..wal.end().segment {
        let (old, new) = (format!("{number:06}"), format!("{:06}", number + 1));
        let trimmed = last(&journal, &format!("SetLen {old}"));
        let written = last(&journal, &format!("Write {old}"));
        let synced = last(&journal, &format!("Sync {old}"));
        let prepared = first(&journal, &format!("Sync {new}.wal-tmp"), 0);
        let renamed = first(&journal, &format!("Rename {new}.wal-tmp {new}"), 0);
        assert!(written < trimmed && trimmed < synced && synced < renamed && prepared < renamed);
    }
    assert!(3 < wal.end().segment);
}

#[test]
fn a_rotation_waits_for_the_directory_and_the_new_entry_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, _, _, faults) = FaultyDisk::open_log(dir.path(), alone().segment_bytes_max(500));
    for value in 0..40 {
        wal.commit(log_values(&wal, value..value + 1)).unwrap();
    }
    let journal = faults.journal.lock().clone();
    for number in 1..wal.end().segment {
        let (old, new) = (format!("{number:06}"), format!("{:06}", number + 1));
        // The commit before sees that the next one will not fit: it trims with its own sync, and makes the
        // mark durable.
        let entry = last(&journal, &format!("Write {old}"));
        let committed = first(&journal, "Write durable", entry) + 2;
        let calls = [&format!("SetLen {old}"), &format!("Sync {old}"), "Write durable", "Sync durable"];
        assert_eq!(journal[entry + 1..committed], calls);
        let entry = first(&journal, &format!("Write {new}"), committed);
        let synced = first(&journal, &format!("Sync {new}"), entry);
        let syncs: Vec<_> =
            journal[committed..synced].iter().filter(|line| line.starts_with("Sync")).collect();
        assert_eq!(syncs, [&format!("Sync {new}.wal-tmp"), "SyncFolder Log"]);
    }
    assert!(3 < wal.end().segment);
}

#[test]
fn the_directory_is_synced_before_anything_goes_into_a_new_segment() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, _, _, faults) = FaultyDisk::open_log(dir.path(), alone());
    wal.commit(log_values(&wal, 0..40)).unwrap();
    let journal = faults.journal.lock().clone();
    for number in 1..=wal.end().segment {
        let name = format!("{number:06}");
        let renamed = first(&journal, &format!("Rename {name}.wal-tmp {name}"), 0);
        let synced = first(&journal, "SyncFolder Log", renamed);
        assert!(synced < first(&journal, &format!("Write {name}"), renamed));
    }
}

#[test]
fn a_fresh_log_has_durable_names_before_its_first_yes() {
    let root = tempfile::tempdir().unwrap();
    let (wal, _, _, faults) = FaultyDisk::open_log(&root.path().join("wal"), alone());
    let end = log_values(&wal, 0..1);
    wal.commit(end).unwrap();
    let journal = faults.journal.lock().clone();
    let parent = first(&journal, "SyncFolder Parent", 0);
    let renamed = first(&journal, "Rename 000001.wal-tmp 000001", parent);
    let folder = first(&journal, "SyncFolder Log", renamed);
    let synced = first(&journal, "Sync 000001", folder);
    // The mark says yes before the caller hears it, and never before the sync.
    assert!(synced < first(&journal, "Write durable", synced));
}

#[test]
fn a_failed_sync_poisons_and_is_never_asked_again() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, faults, durable, end) = half_durable(dir.path());
    faults.fail(Call::Sync, 1, false, EIO);
    let error = wal.commit(end).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Poisoned);
    let syncs = faults.count(Call::Sync);
    assert_poisoned(wal, durable, end, "cannot sync");
    assert_eq!(faults.count(Call::Sync), syncs);
    let (_, memory, ..) = FaultyDisk::open_log(dir.path(), alone());
    let found = memory.values();
    assert!(found == values(0..3) || found == values(0..6), "{found:?}");
}

#[test]
fn a_failed_sync_at_rotation_poisons_before_the_next_segment_has_a_name() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, faults, durable, _) = half_durable(dir.path());
    let end = log_values(&wal, 6..20);
    assert_eq!(end.segment, 2);
    faults.fail_named(Call::Sync, "000001", EIO);
    wal.sync().unwrap_err();
    assert_poisoned(wal, durable, end, "cannot sync");
    assert_eq!(segments(dir.path()).len(), 1);
}

#[test]
fn a_failed_write_poisons() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, faults, durable, end) = half_durable(dir.path());
    faults.fail(Call::Write, 1, false, EIO);
    wal.commit(end).unwrap_err();
    assert_poisoned(wal, durable, end, "cannot write");
}

#[test]
fn a_full_disk_that_cannot_be_taken_back_poisons() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, faults, durable, end) = half_durable(dir.path());
    faults.fail(Call::Write, 1, false, ENOSPC);
    faults.fail(Call::SetLen, 1, false, EIO);
    wal.commit(end).unwrap_err();
    assert_poisoned(wal, durable, end, "cannot write");
}

#[test]
fn a_failed_rename_or_directory_sync_poisons() {
    for (call, cause) in [(Call::Rename, "cannot create"), (Call::SyncFolder, "cannot sync")] {
        let dir = tempfile::tempdir().unwrap();
        let (wal, faults, ..) = half_durable(dir.path());
        let end = log_values(&wal, 6..20);
        faults.fail(call, 1, false, EIO);
        wal.commit(end).unwrap_err();
        let durable = wal.durable_position();
        assert_eq!(durable.segment, 1, "the old segment was finished");
        assert_poisoned(wal, durable, end, cause);
        assert!(FaultyDisk::open_log(dir.path(), alone()).1.values().len() >= 13);
    }
}

#[test]
fn a_mark_that_cannot_be_written_fails_no_commit() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, faults, ..) = half_durable(dir.path());
    faults.fail_named(Call::Write, "durable", EIO);
    faults.fail_named(Call::Sync, "durable", EIO);
    for value in 6..40 {
        wal.commit(log_values(&wal, value..value + 1)).unwrap();
    }
    assert!(0 < wal.metrics().mark_failures);
    assert_eq!(wal.metrics().poisoned, 0);
    wal.close().unwrap();
    let (_, memory, report, _) = FaultyDisk::open_log(dir.path(), alone());
    assert_eq!((report.verdict, memory.values()), (Verdict::Clean, values(0..40)));
}

#[test]
fn a_segment_that_cannot_be_prepared_fails_nothing_for_good() {
    for (call, errno) in [(Call::Create, EMFILE), (Call::Create, EIO), (Call::Write, EIO), (Call::Sync, EIO)]
    {
        let dir = tempfile::tempdir().unwrap();
        let (wal, faults, ..) = half_durable(dir.path());
        let end = log_values(&wal, 6..20);
        faults.fail_named(call, "000002.wal-tmp", errno);
        let error = wal.commit(end).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io, "{call:?}: {error}");
        assert_eq!(wal.log_samples(&[sample(99)]).unwrap_err().kind(), ErrorKind::Io);
        assert_eq!(wal.durable_position().segment, 1, "what could be written is durable");
        faults.mend();
        wal.commit(end).unwrap();
        assert_eq!((wal.durable_position(), wal.end()), (end, end));
        wal.close().unwrap();
        assert_eq!(FaultyDisk::open_log(dir.path(), alone()).1.values(), values(0..20), "{call:?}");
    }
}

#[test]
fn after_a_failed_sync_recovery_writes_again_from_the_mark() {
    for marked in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let (wal, faults, durable, end) = half_durable(dir.path());
        faults.fail(Call::Sync, 1, false, EIO);
        wal.commit(end).unwrap_err();
        drop(wal);
        if !marked {
            std::fs::remove_file(dir.path().join("durable")).unwrap();
        }
        let (_wal, memory, _, faults) = FaultyDisk::open_log(dir.path(), alone());
        assert_eq!(memory.values(), values(0..6), "the cache shows them");
        let writes = faults.writes.lock().clone();
        let again: Vec<_> = writes.into_iter().filter(|(name, ..)| name == "000001").collect();
        let from = if marked { durable.offset } else { 0 };
        let bytes = usize::try_from(end.offset - from).unwrap();
        assert_eq!(again, [("000001".to_owned(), from, bytes)]);
        let journal = faults.journal.lock().clone();
        let rewritten = last(&journal, "Write 000001");
        assert!(rewritten < first(&journal, "Sync 000001", rewritten));
    }
}

#[test]
fn what_stays_before_damage_is_written_again_though_nothing_is_appended_to_it() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, faults, durable, end) = half_durable(dir.path());
    faults.fail(Call::Sync, 1, false, EIO);
    wal.commit(end).unwrap_err();
    drop(wal);
    std::fs::remove_file(dir.path().join("durable")).unwrap();
    common::flip(&dir.path().join("000001"), usize::try_from(durable.offset).unwrap() + 10);
    let (wal, memory, report, faults) = FaultyDisk::open_log(dir.path(), alone());
    assert_eq!((memory.values(), report.verdict), (values(0..3), Verdict::Damaged), "{report}");
    assert_eq!(wal.end().segment, 2);
    let writes = faults.writes.lock().clone();
    let again: Vec<_> = writes.into_iter().filter(|(name, ..)| name == "000001").collect();
    assert_eq!(again, [("000001".to_owned(), 0, usize::try_from(durable.offset).unwrap())]);
    let journal = faults.journal.lock().clone();
    let rewritten = last(&journal, "Write 000001");
    assert!(rewritten < first(&journal, "Sync 000001", rewritten));
}

#[test]
fn without_room_to_write_again_the_log_opens_and_says_yes_to_nothing_that_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, faults, durable, end) = half_durable(dir.path());
    faults.fail(Call::Sync, 1, false, EIO);
    wal.commit(end).unwrap_err();
    drop(wal);
    let disk = FaultyDisk::new(dir.path());
    let faults = Arc::clone(&disk.faults);
    *faults.full_above_reserve.lock() = Some("000001");
    let mut memory = common::Memory::default();
    let recovery = Wal::open_storage(Arc::new(disk), alone()).unwrap();
    let (wal, report) = recovery.replay(&mut memory).unwrap();
    assert!(report.pending, "{report}");
    assert_eq!(memory.values(), values(0..6));
    assert_eq!(wal.durable_position(), durable, "the rest may be in the page cache only");
    wal.commit(durable).unwrap();
    assert_eq!(wal.commit(end).unwrap_err().kind(), ErrorKind::DiskFull);
    assert_eq!(wal.sync().unwrap_err().kind(), ErrorKind::DiskFull);
    assert_eq!(wal.log_samples(&[sample(6)]).unwrap_err().kind(), ErrorKind::DiskFull);
    assert_eq!(wal.durable_position(), durable, "{:?}", faults.journal.lock());
    // It gives the reserve back, and then tries again.
    wal.truncate(0, |_| true).unwrap();
    wal.commit(end).unwrap();
    let journal = faults.journal.lock().clone();
    let rewritten = last(&journal, "Write 000001");
    assert!(rewritten < first(&journal, "Sync 000001", rewritten));
    *faults.full_above_reserve.lock() = None;
    wal.commit(log_values(&wal, 6..8)).unwrap();
    wal.close().unwrap();
    assert_eq!(open(dir.path(), small()).1.values(), values(0..8));
}
