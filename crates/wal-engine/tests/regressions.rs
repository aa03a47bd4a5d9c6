//! Defects found once, each with the test that showed it.
#![allow(clippy::unwrap_used)]

mod common;
use common::disk::{Call, FaultyDisk};
use common::{Memory, flip, log_values, open, sample, segments, series, small, values};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use wal_engine::*;

#[test]
fn truncating_a_repaired_log_before_its_first_append_leaves_it_clean() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, ..) = open(dir.path(), WalOptions::default());
    wal.log_series(&[series(1)]).unwrap();
    log_values(&wal, 0..10);
    wal.close().unwrap();
    let (_, len) = segments(dir.path())[0].clone();
    flip(&dir.path().join("000001"), usize::try_from(len).unwrap() - 25);
    let (wal, _, report) = open(dir.path(), WalOptions::default());
    assert_eq!(report.verdict, Verdict::Damaged);
    wal.truncate(i64::MAX, |_| true).unwrap();
    wal.close().unwrap();
    let options = WalOptions::default().recovery_mode(RecoveryMode::Strict);
    let mut memory = Memory::default();
    let (_, report) = Wal::open(dir.path(), options).unwrap().replay(&mut memory).unwrap();
    assert_eq!(report.verdict, Verdict::Clean, "{report}");
    assert_eq!(memory.refs(), [1]);
}

#[test]
fn a_failed_directory_sync_in_a_truncation_poisons() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::new(dir.path());
    let faults = Arc::clone(&disk.faults);
    let (wal, _) =
        Wal::open_storage(Arc::new(disk), small().background_thread(false)).unwrap().replay(&mut ()).unwrap();
    wal.commit(log_values(&wal, 0..100)).unwrap();
    faults.fail(Call::SyncFolder, 1, false, 5);
    wal.truncate(i64::MAX, |_| true).unwrap_err();
    let error = wal.log_samples(&[sample(1)]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Poisoned);
}

#[test]
fn appending_to_a_backup_leaves_the_log_it_was_made_of_alone() {
    let dir = tempfile::tempdir().unwrap();
    common::written(dir.path(), 0..10, WalOptions::default());
    std::fs::write(dir.path().join("000002"), b"").unwrap();
    let (wal, ..) = open(dir.path(), WalOptions::default());
    let root = tempfile::tempdir().unwrap();
    let to = root.path().join("copy");
    wal.backup(&to).unwrap();
    wal.close().unwrap();
    common::written(&to, 10..20, WalOptions::default());
    assert_eq!(open(&to, WalOptions::default()).1.values(), values(0..20));
    assert_eq!(open(dir.path(), WalOptions::default()).1.values(), values(0..10));
}

#[test]
fn a_pending_repair_of_a_file_shared_with_a_backup_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    common::written(dir.path(), 0..10, WalOptions::default());
    let path = dir.path().join("000001");
    std::fs::remove_file(dir.path().join("durable")).unwrap();
    let len = std::fs::metadata(&path).unwrap().len();
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(len - 3).unwrap();
    let root = tempfile::tempdir().unwrap();
    std::fs::hard_link(&path, root.path().join("000001")).unwrap();
    let shared = std::fs::read(&path).unwrap();
    let disk = FaultyDisk::new(dir.path());
    let faults = Arc::clone(&disk.faults);
    faults.full.store(true, Ordering::SeqCst);
    let (wal, report) =
        Wal::open_storage(Arc::new(disk), WalOptions::default()).unwrap().replay(&mut ()).unwrap();
    assert!(report.pending);
    faults.full.store(false, Ordering::SeqCst);
    wal.commit(log_values(&wal, 9..20)).unwrap();
    wal.close().unwrap();
    assert_eq!(open(dir.path(), WalOptions::default()).1.values(), values(0..20));
    assert_eq!(std::fs::read(root.path().join("000001")).unwrap(), shared);
}

#[test]
fn no_waiter_is_forgotten_when_a_sync_fails() {
    for round in 0..200_u64 {
        let dir = tempfile::tempdir().unwrap();
        let disk = FaultyDisk::new(dir.path());
        let faults = Arc::clone(&disk.faults);
        let (wal, _) =
            Wal::open_storage(Arc::new(disk), WalOptions::default().preallocation(Preallocation::None))
                .unwrap()
                .replay(&mut ())
                .unwrap();
        let wal = Arc::new(wal);
        faults.fail(Call::Sync, 2 + round % 20, true, 5);
        let (tx, rx) = std::sync::mpsc::channel();
        for t in 0..12 {
            let wal = Arc::clone(&wal);
            let tx = tx.clone();
            std::thread::spawn(move || {
                while let Ok(at) = wal.log_samples(&[sample(t)]) {
                    if wal.commit(at).is_err() {
                        break;
                    }
                }
                tx.send(t).unwrap();
            });
        }
        for answered in 0..12 {
            rx.recv_timeout(std::time::Duration::from_secs(8))
                .unwrap_or_else(|_| panic!("round {round}: only {answered} of 12 waiters were answered"));
        }
    }
}

#[test]
fn damage_stays_damage_until_its_repair_has_kept_what_it_cuts() {
    let dir = tempfile::tempdir().unwrap();
    common::written(dir.path(), 0..10, WalOptions::default());
    let (_, len) = segments(dir.path())[0].clone();
    flip(&dir.path().join("000001"), usize::try_from(len).unwrap() - 6);
    // The copy fails: there is a file where the quarantine should be.
    std::fs::write(dir.path().join("quarantine"), b"").unwrap();
    Wal::open(dir.path(), WalOptions::default()).unwrap().replay(&mut ()).err().unwrap();
    std::fs::remove_file(dir.path().join("quarantine")).unwrap();
    let tolerant = WalOptions::default().recovery_mode(RecoveryMode::TolerateTornTail);
    let error = Wal::open(dir.path(), tolerant).unwrap().replay(&mut ()).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Damaged);
}

#[test]
fn a_position_that_was_durable_is_never_given_again() {
    let dir = tempfile::tempdir().unwrap();
    common::written(dir.path(), 0..10, WalOptions::default());
    let (_, len) = segments(dir.path())[0].clone();
    flip(&dir.path().join("000001"), usize::try_from(len).unwrap() - 6);
    // Repaired, and closed again before anything was appended, more than once.
    for _ in 0..2 {
        let (wal, memory, report) = open(dir.path(), WalOptions::default());
        assert_eq!(memory.values(), values(0..9));
        assert_eq!(report.end, Position::new(2, 8));
        wal.close().unwrap();
    }
    let (wal, ..) = open(dir.path(), WalOptions::default());
    assert!(Position::new(1, len) < wal.log_samples(&[sample(9)]).unwrap());
    wal.close().unwrap();
}

#[test]
fn a_full_disk_that_a_sync_of_the_repair_reports_is_not_asked_again() {
    let dir = tempfile::tempdir().unwrap();
    common::written(dir.path(), 0..10, WalOptions::default());
    std::fs::remove_file(dir.path().join("durable")).unwrap();
    let (name, len) = segments(dir.path())[0].clone();
    let file = std::fs::OpenOptions::new().write(true).open(dir.path().join(&name)).unwrap();
    file.set_len(len - 3).unwrap();
    let disk = FaultyDisk::new(dir.path());
    let faults = Arc::clone(&disk.faults);
    faults.fail_named(Call::Sync, &name, 28);
    let error = Wal::open_storage(Arc::new(disk), WalOptions::default()).unwrap().replay(&mut ()).err();
    assert_eq!(error.unwrap().kind(), ErrorKind::Io);
    let syncs = faults.journal.lock().iter().filter(|call| **call == format!("Sync {name}")).count();
    assert_eq!(syncs, 1);
    assert_eq!(open(dir.path(), WalOptions::default()).1.values(), values(0..9));
}
