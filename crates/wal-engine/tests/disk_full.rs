//! A full disk: what was accepted stays, waiters hear it, and everything goes on when there is room.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use common::disk::{Call, Faults, FaultyDisk};
use common::{flip, log_values, open, sample, segments, series, small, snapshot, values, written};
use wal_engine::{
    ErrorKind, Position, Preallocation, RecoveryMode, Verdict, Wal, WalOptions, list_quarantine,
};

fn alone() -> WalOptions {
    small().background_thread(false)
}

fn fill(faults: &Faults, full: bool) {
    faults.full.store(full, Ordering::SeqCst);
}

/// Logs until the log refuses; returns how many values it took and the position behind the last.
fn log_until_full(wal: &Wal, from: u32) -> (u32, Position) {
    let mut end = wal.end();
    for value in from..from + 100_000 {
        match wal.log_samples(&[sample(value)]) {
            Ok(at) => end = at,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::DiskFull, "{error}");
                assert!(error.to_string().contains("make room"), "{error}");
                return (value, end);
            }
        }
    }
    panic!("the disk is full and the log takes entries without end");
}

/// Bytes that all files of the log take.
fn used(dir: &Path) -> u64 {
    snapshot(dir).iter().map(|(_, bytes)| bytes.len() as u64).sum()
}

#[test]
fn what_was_accepted_is_kept_in_memory_until_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, _, _, faults) = FaultyDisk::open_log(dir.path(), alone());
    let durable = log_values(&wal, 0..3);
    wal.commit(durable).unwrap();
    fill(&faults, true);
    let (accepted, end) = log_until_full(&wal, 3);
    assert!(30 < accepted, "two buffers are filled before the log refuses");
    for _ in 0..3 {
        assert_eq!(wal.commit(end).unwrap_err().kind(), ErrorKind::DiskFull);
        assert_eq!(wal.sync().unwrap_err().kind(), ErrorKind::DiskFull);
        assert_eq!(wal.log_samples(&[sample(0)]).unwrap_err().kind(), ErrorKind::DiskFull);
        wal.commit(durable).unwrap();
    }
    let metrics = wal.metrics();
    assert_eq!((metrics.stalled, metrics.poisoned), (1, 0));
    assert_eq!(wal.end(), end, "what was refused took no position");
    fill(&faults, false);
    let further = log_values(&wal, accepted..accepted + 10);
    assert!(end < further);
    wal.commit(further).unwrap();
    assert_eq!(wal.metrics().stalled, 0);
    wal.close().unwrap();
    let (_, memory, report) = open(dir.path(), small());
    assert_eq!((memory.values(), report.end), (values(0..accepted + 10), further));
}

#[test]
fn entries_keep_the_positions_they_were_given() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, _, _, faults) = FaultyDisk::open_log(dir.path(), alone().preallocation(Preallocation::None));
    let mut given = Vec::new();
    for value in 0..60 {
        given.push(wal.end());
        log_values(&wal, value..value + 1);
        *faults.room.lock() = Some(used(dir.path()));
        for _ in 0..2 {
            assert_eq!(wal.sync().unwrap_err().kind(), ErrorKind::DiskFull, "{value}");
            assert_eq!(wal.log_samples(&[sample(999)]).unwrap_err().kind(), ErrorKind::DiskFull);
        }
        *faults.room.lock() = None;
        wal.sync().unwrap();
    }
    wal.close().unwrap();
    let (_, memory, _) = open(dir.path(), small());
    assert_eq!(memory.values(), values(0..60));
    for (at, given) in memory.at.iter().zip(given) {
        // An entry at the very end of a segment begins the next one.
        assert!(*at == given || (at.segment == given.segment + 1 && at.offset == 8), "{at} {given}");
    }
}

#[test]
fn a_write_cut_short_leaves_no_part_of_an_entry_behind() {
    // Every amount of room from none to several segments; the disk ends in the middle of entries.
    for extra in (0..1800).step_by(41) {
        let dir = tempfile::tempdir().unwrap();
        let (wal, _, _, faults) = FaultyDisk::open_log(dir.path(), alone());
        wal.commit(log_values(&wal, 0..1)).unwrap();
        *faults.room.lock() = Some(used(dir.path()) + extra);
        let mut accepted = 1;
        while accepted < 60 && wal.log_samples(&[sample(accepted)]).is_ok() {
            accepted += 1;
            let _ = wal.commit(wal.end());
        }
        let durable = wal.durable_position();
        let copy = tempfile::tempdir().unwrap();
        common::copy_files(dir.path(), copy.path());
        let (_, memory, report) = open(copy.path(), small());
        assert_eq!(report.verdict, Verdict::Clean, "room {extra}: {report}");
        let found = u32::try_from(memory.values().len()).unwrap();
        assert_eq!((memory.values(), report.end), (values(0..found), durable));
        *faults.room.lock() = None;
        wal.close().unwrap();
        assert_eq!(open(dir.path(), small()).1.values(), values(0..accepted), "room {extra}");
    }
}

#[test]
fn every_waiter_hears_of_a_full_disk_and_later_commits_go_through() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, _, _, faults) =
        FaultyDisk::open_log(dir.path(), WalOptions::default().preallocation(Preallocation::None));
    let durable = log_values(&wal, 0..13);
    wal.commit(durable).unwrap();
    let ends: Vec<_> = (13..29).map(|value| log_values(&wal, value..value + 1)).collect();
    fill(&faults, true);
    let (told, hears) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        for end in &ends {
            let (wal, told) = (&wal, told.clone());
            scope.spawn(move || told.send((*end, wal.commit(*end))).unwrap());
        }
        for _ in &ends {
            let (end, outcome) = hears.recv_timeout(Duration::from_secs(30)).unwrap();
            assert_eq!(outcome.unwrap_err().kind(), ErrorKind::DiskFull, "{end}");
        }
    });
    assert_eq!(wal.durable_position(), durable);
    fill(&faults, false);
    // A write that failed a moment ago may still be told; no later one fails.
    let deadline = Instant::now() + Duration::from_secs(30);
    while let Err(error) = wal.commit(ends[15]) {
        assert!(error.kind() == ErrorKind::DiskFull && Instant::now() < deadline, "{error}");
    }
    wal.close().unwrap();
    assert_eq!(open(dir.path(), small()).1.values(), values(0..29));
}

#[test]
fn truncation_works_on_a_full_disk_and_relieves_it() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, _, _, faults) = FaultyDisk::open_log(dir.path(), alone());
    wal.log_series(&[series(1)]).unwrap();
    wal.commit(log_values(&wal, 0..100)).unwrap();
    *faults.room.lock() = Some(used(dir.path()));
    let (accepted, end) = log_until_full(&wal, 100);
    assert_eq!(wal.commit(end).unwrap_err().kind(), ErrorKind::DiskFull);
    let report = wal.truncate(90, |_| true).unwrap();
    assert!(0 < report.bytes_freed && report.series_kept == 1, "{report}");
    wal.commit(end).unwrap();
    assert_eq!(wal.metrics().stalled, 0);
    wal.close().unwrap();
    let (_, memory, report) = open(dir.path(), small());
    assert_eq!(report.verdict, Verdict::Clean);
    let found = memory.values();
    assert_eq!(memory.refs(), [1]);
    assert!(found[0] <= 90.0, "only old samples went");
    let first = accepted - u32::try_from(found.len()).unwrap();
    assert_eq!(found, values(first..accepted));
}

#[test]
fn the_reserve_is_given_back_also_for_what_is_written_over() {
    for name in ["durable", "intent", "rename"] {
        let dir = tempfile::tempdir().unwrap();
        let (wal, _, _, faults) = FaultyDisk::open_log(dir.path(), alone());
        wal.log_series(&[series(1)]).unwrap();
        wal.commit(log_values(&wal, 0..100)).unwrap();
        *faults.full_above_reserve.lock() = Some(name);
        let report = wal.truncate(90, |_| true).unwrap();
        assert!(0 < report.bytes_freed && report.segments_deferred == 0, "{name}: {report}");
        assert_eq!((report.series_kept, report.segments_rewritten), (1, 1), "counted once: {name}: {report}");
        wal.close().unwrap();
        let (_, memory, report) = open(dir.path(), small());
        assert_eq!((report.verdict, memory.refs()), (Verdict::Clean, vec![1]), "{name}");
        assert!(memory.values().ends_with(&values(90..100)), "{name}");
    }
}

#[test]
fn a_truncation_that_found_no_room_for_a_rename_is_finished_by_opening() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, _, _, faults) = FaultyDisk::open_log(dir.path(), alone());
    wal.log_series(&[series(1)]).unwrap();
    wal.commit(log_values(&wal, 0..100)).unwrap();
    faults.fail(Call::Rename, 1, true, 5);
    wal.truncate(90, |_| true).unwrap_err();
    drop(wal);
    let disk = FaultyDisk::new(dir.path());
    *disk.faults.full_above_reserve.lock() = Some("rename");
    let mut memory = common::Memory::default();
    let recovery = Wal::open_storage(Arc::new(disk), alone()).unwrap();
    let (_wal, report) = recovery.replay(&mut memory).unwrap();
    assert_eq!((report.verdict, memory.refs()), (Verdict::Clean, vec![1]));
    assert!(memory.values().len() < 100 && memory.values().ends_with(&values(90..100)));
}

#[test]
fn truncation_that_keeps_nothing_needs_no_room_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, _, _, faults) = FaultyDisk::open_log(dir.path(), alone());
    wal.commit(log_values(&wal, 0..100)).unwrap();
    fill(&faults, true);
    let before = segments(dir.path()).len();
    let report = wal.truncate(i64::MAX, |_| true).unwrap();
    assert_eq!(report.segments_removed, before as u64 - 1);
    assert_eq!(report.segments_deferred, 0);
    assert_eq!(segments(dir.path()).len(), 1);
}

#[test]
fn opening_and_replay_work_on_a_full_disk() {
    for closed in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let (wal, ..) = open(dir.path(), small());
        log_values(&wal, 0..60);
        if closed {
            wal.close().unwrap();
        } else {
            drop(wal);
        }
        let disk = FaultyDisk::new(dir.path());
        let faults = Arc::clone(&disk.faults);
        fill(&faults, true);
        let mut memory = common::Memory::default();
        let (wal, report) = Wal::open_storage(Arc::new(disk), alone()).unwrap().replay(&mut memory).unwrap();
        assert_eq!((memory.values(), report.pending), (values(0..60), false));
        let (accepted, end) = log_until_full(&wal, 60);
        fill(&faults, false);
        wal.commit(end).unwrap();
        wal.close().unwrap();
        assert_eq!(open(dir.path(), small()).1.values(), values(0..accepted));
    }
}

#[test]
fn a_fresh_log_on_a_full_disk_opens_and_waits_for_room() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::new(dir.path());
    let faults = Arc::clone(&disk.faults);
    fill(&faults, true);
    let (wal, _) = Wal::open_storage(Arc::new(disk), alone()).unwrap().replay(&mut ()).unwrap();
    let end = log_values(&wal, 0..1);
    assert_eq!(wal.commit(end).unwrap_err().kind(), ErrorKind::DiskFull);
    fill(&faults, false);
    wal.commit(end).unwrap();
    wal.close().unwrap();
    assert_eq!(open(dir.path(), small()).1.values(), values(0..1));
}

#[test]
fn a_repair_without_room_stays_pending_and_is_finished_later() {
    for skip in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        written(dir.path(), 0..100, small());
        flip(&dir.path().join("000003"), 100);
        let options = || {
            let mode = if skip { RecoveryMode::SkipDamaged } else { RecoveryMode::PointInTime };
            alone().recovery_mode(mode)
        };
        let disk = FaultyDisk::new(dir.path());
        let faults = Arc::clone(&disk.faults);
        fill(&faults, true);
        let mut memory = common::Memory::default();
        let opened = Wal::open_storage(Arc::new(disk), options()).unwrap();
        let (wal, report) = opened.replay(&mut memory).unwrap();
        assert!(report.pending, "{report}");
        let found = memory.values();
        assert_eq!(wal.log_samples(&[sample(200)]).unwrap_err().kind(), ErrorKind::DiskFull);
        assert_eq!(wal.metrics().stalled, 1);
        // Segments below the fault can be truncated all the same.
        let report = wal.truncate(i64::MAX, |_| true).unwrap();
        assert_eq!(report.segments_removed, 2, "{report}");
        let changed = std::fs::read(dir.path().join("000003")).unwrap();
        assert_eq!(changed.len() as u64, written_len(3), "nothing is cut before it is kept");
        fill(&faults, false);
        wal.commit(log_values(&wal, 200..210)).unwrap();
        assert!(!list_quarantine(dir.path()).unwrap().is_empty());
        wal.close().unwrap();
        let (_, memory, report) = open(dir.path(), small());
        assert_eq!(report.verdict, Verdict::Clean, "{report}");
        let kept: Vec<f64> =
            found.into_iter().filter(|value| *value >= 28.0).chain(values(200..210)).collect();
        assert_eq!(memory.values(), kept);
    }
}

/// The size of a full segment of [`small`] logs of single samples.
fn written_len(number: u64) -> u64 {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), 0..100, small());
    std::fs::metadata(dir.path().join(format!("{number:06}"))).unwrap().len()
}

#[test]
fn space_prepared_ahead_is_a_wish() {
    let dir = tempfile::tempdir().unwrap();
    let options = || WalOptions::default().window_bytes(1 << 20).background_thread(false);
    let (wal, _, _, faults) = FaultyDisk::open_log(dir.path(), options());
    // Room for the entries, not for a window of zeros.
    *faults.room.lock() = Some(used(dir.path()) + 20_000);
    for value in 0..100 {
        wal.commit(log_values(&wal, value..value + 1)).unwrap();
    }
    assert!(0 < faults.count(Call::Write));
    wal.close().unwrap();
    assert_eq!(open(dir.path(), options()).1.values(), values(0..100));
}

#[test]
fn the_reserve_is_as_large_as_what_is_prepared_at_once_within_bounds() {
    for (window, wanted) in [(4096, 64 << 10), (300 << 10, 300 << 10), (64 << 20, 1 << 20)] {
        let dir = tempfile::tempdir().unwrap();
        written(dir.path(), 0..3, small().window_bytes(window));
        let reserve = std::fs::metadata(dir.path().join("reserve")).unwrap().len();
        assert_eq!(reserve, wanted, "a window of {window} bytes");
    }
}
