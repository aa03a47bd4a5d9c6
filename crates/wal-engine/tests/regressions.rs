//! Defects found once, each with the test that showed it.
#![allow(clippy::unwrap_used)]

mod common;
use common::disk::{Call, FaultyDisk};
use common::image::{self, MODES, segments as bytes_of, three_segments, with_file, without_file};
use common::{Memory, flip, log_values, open, sample, segments, series, small, values};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use wal_engine::intent::{INTENT_FILE, IntentStep, encode, rewrite_name};
use wal_engine::*;
use wal_segment::dir::segment_name;
use wal_sim::Disk;

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

/// What a log holds after a repair, and again: a second open gives the same and repairs nothing.
fn opens_again(disk: &Disk, mode: RecoveryMode) -> (Disk, Memory) {
    let once = image::open(disk, mode);
    let again = image::open(&once.disk, mode);
    let report = again.outcome.unwrap();
    assert_eq!(
        (report.verdict, report.quarantined.len(), report.gaps.len()),
        (Verdict::Clean, 0, 0),
        "{mode}"
    );
    assert_eq!(again.memory.items, once.memory.items, "{mode}");
    assert_eq!(bytes_of(&again.disk), bytes_of(&once.disk), "{mode}");
    (again.disk, again.memory)
}

#[test]
fn several_empty_segments_are_all_gone_after_one_repair() {
    let image = three_segments();
    let disk =
        [2, 4, 5, 6].iter().fold(image.disk.clone(), |disk, n| with_file(&disk, &segment_name(*n), b""));
    let (disk, memory) = opens_again(&disk, RecoveryMode::SkipDamaged);
    assert_eq!(memory.items, image.seen(|index| image.sums[index].0.segment != 2).1);
    assert_eq!(Vec::from_iter(bytes_of(&disk).iter().map(|(number, _)| *number)), [1, 3]);
}

#[test]
fn an_intent_that_puts_a_segment_in_place_and_removes_it_does_neither() {
    let image = three_segments();
    let steps = [IntentStep::Replace { number: 2 }, IntentStep::Remove { first: 1, last: 2 }];
    let temporary = image.disk.contents("000003").unwrap();
    for steps in [steps, [steps[1], steps[0]]] {
        let disk = with_file(&image.disk, &rewrite_name(2), &temporary);
        let disk = with_file(&disk, INTENT_FILE, &encode(&steps));
        assert_eq!(image::read(&disk, false).sums, image.sums);
        for mode in MODES {
            let (left, memory) = opens_again(&disk, mode);
            assert_eq!(memory.items, image.seen(|_| true).1, "{mode}");
            assert_eq!(bytes_of(&left), bytes_of(&image.disk), "{mode}");
            assert_eq!(
                left.contents(&rewrite_name(2)),
                None,
                "{mode}: a temporary that no whole intent names"
            );
        }
    }
}

#[test]
fn an_entry_that_begins_where_a_lost_header_should_be_is_kept() {
    let image = three_segments();
    // Seven bytes less: the first entry begins at offset 1.
    for lost in 1..8 {
        let bytes = image.disk.contents("000002").unwrap();
        let spoiled = [&[0; 8][lost..], &bytes[8..]].concat();
        let disk = without_file(&with_file(&image.disk, "000002", &spoiled), "durable");
        let (left, memory) = opens_again(&disk, RecoveryMode::SkipDamaged);
        assert_eq!(memory.items, image.seen(|_| true).1, "{lost} bytes lost");
        assert_eq!(left.contents("000002").unwrap(), bytes, "{lost} bytes lost");
    }
}

#[test]
fn a_repaired_log_that_goes_on_in_the_last_segment_of_all_opens_again() {
    let image = three_segments();
    let disk = [1, 2, 3].iter().fold(image.disk, |disk, number| without_file(&disk, &segment_name(*number)));
    // Torn when it was made, so the next segment is the one with the highest number.
    let disk = with_file(&without_file(&disk, "durable"), &segment_name(u64::MAX - 1), &[0; 600]);
    for mode in [RecoveryMode::TolerateTornTail, RecoveryMode::PointInTime, RecoveryMode::SkipDamaged] {
        let (disk, _) = opens_again(&disk, mode);
        let (_, wal) = image::open_wal(&disk, mode);
        let (wal, sim) = wal.unwrap();
        assert_eq!(wal.end(), Position::new(u64::MAX, 8));
        wal.commit(log_values(&wal, 0..3)).unwrap();
        drop(wal);
        let found = image::open(&sim.disk().after_power_loss(&[]), RecoveryMode::Strict);
        assert_eq!(found.outcome.unwrap().verdict, Verdict::Clean);
        assert_eq!(found.memory.values(), values(0..3));
    }
}
