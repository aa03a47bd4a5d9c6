//! Every call to the disk failing in turn: what was acknowledged is back, and nothing else is.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;
use std::sync::Arc;

use common::disk::{Call, FaultyDisk};
use common::{Memory, log_values, sample, series, small, snapshot, values, written};
use wal_engine::{ErrorKind, RecoveryMode, Verdict, Wal, WalOptions, restore_quarantine};

const EIO: i32 = 5;
const EMFILE: i32 = 24;
const ENOSPC: i32 = 28;

/// Every step on the calling thread, so that calls have the same index in every run.
fn alone() -> WalOptions {
    small().background_thread(false).replay_threads(1)
}

/// What a history came to: values accepted, and how many of them were acknowledged.
#[derive(Debug, Default)]
struct Lived {
    series: bool,
    accepted: Vec<u32>,
    acknowledged: usize,
}

const TRUNCATED_TO: u32 = 15;

/// A short life: three segments with commits, a truncation, a close. Goes on after every failure.
fn live(disk: FaultyDisk) -> Lived {
    let mut lived = Lived::default();
    let opened = Wal::open_storage(Arc::new(disk), alone()).and_then(|recovery| recovery.replay(&mut ()));
    let Ok((wal, _)) = opened else { return lived };
    let mut ends = Vec::new();
    lived.series = wal.log_series(&[series(1)]).is_ok();
    for value in 0..36 {
        if let Ok(end) = wal.log_samples(&[sample(value)]) {
            lived.accepted.push(value);
            ends.push(end);
            if value % 4 == 3 {
                let said = wal.commit(end).is_ok();
                assert_eq!(said, end <= wal.durable_position());
            }
        }
        if value == 30 {
            let _ = wal.truncate(i64::from(TRUNCATED_TO), |_| true);
        }
    }
    let durable = wal.durable_position();
    lived.acknowledged = ends.iter().filter(|end| **end <= durable).count();
    if wal.close().is_ok() {
        lived.acknowledged = ends.len();
    }
    lived
}

/// P0: what was acknowledged is back, in order, once; nothing that was not accepted is.
fn check(lived: &Lived, dir: &Path, context: &str) {
    let (wal, memory, _, _) = FaultyDisk::open_log(dir, alone());
    let found = memory.values();
    let accepted: Vec<f64> = lived.accepted.iter().map(|value| f64::from(*value)).collect();
    let start = found.first().and_then(|value| accepted.iter().position(|other| other == value));
    let start = start.unwrap_or(if found.is_empty() { 0 } else { usize::MAX });
    assert!(start == 0 || accepted[start - 1] < f64::from(TRUNCATED_TO), "{context}: {lived:?} {found:?}");
    assert_eq!(accepted[start..start + found.len()], found, "{context}: {lived:?}");
    assert!(lived.acknowledged <= start + found.len(), "{context}: {lived:?} {found:?}");
    let refs: &[u64] = if lived.series && 0 < start + found.len() { &[1] } else { &[] };
    assert!(memory.refs() == refs || lived.acknowledged == 0, "{context}");
    wal.commit(log_values(&wal, 99..100)).unwrap();
    wal.close().unwrap();
    let (_, again, report, _) = FaultyDisk::open_log(dir, alone());
    assert_eq!(report.verdict, Verdict::Clean, "{context}");
    assert_eq!(again.values(), [found, vec![99.0]].concat(), "{context}");
}

/// Fails every call of these kinds in turn, once and for good, in three ways.
fn fail_each(calls: &[Call]) {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::new(dir.path());
    let faults = Arc::clone(&disk.faults);
    let lived = live(disk);
    assert_eq!((lived.accepted.len(), lived.acknowledged), (36, 36));
    check(&lived, dir.path(), "nothing fails");
    for call in calls {
        let indices = faults.count(*call);
        assert!(0 < indices, "{call:?}");
        for (index, errno, for_good) in (1..=indices).flat_map(|index| {
            [EIO, ENOSPC, EMFILE]
                .into_iter()
                .flat_map(move |errno| [(index, errno, false), (index, errno, true)])
        }) {
            let dir = tempfile::tempdir().unwrap();
            let disk = FaultyDisk::new(dir.path());
            disk.faults.fail(*call, index, for_good, errno);
            let lived = live(disk);
            check(&lived, dir.path(), &format!("{call:?} {index} of {indices}, {errno}, {for_good}"));
        }
    }
}

#[test]
fn any_write_failing_loses_nothing_acknowledged() {
    fail_each(&[Call::Write, Call::SetLen]);
}

#[test]
fn any_sync_failing_loses_nothing_acknowledged() {
    fail_each(&[Call::Sync, Call::SyncFolder]);
}

#[test]
fn any_change_of_names_failing_loses_nothing_acknowledged() {
    fail_each(&[Call::Create, Call::Rename, Call::Remove, Call::Open, Call::Read]);
}

#[test]
fn an_error_from_reading_is_no_verdict_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), 0..60, small());
    let before = snapshot(dir.path());
    for call in [Call::Open, Call::Read] {
        for errno in [EIO, EMFILE] {
            for index in 1.. {
                let disk = FaultyDisk::new(dir.path());
                disk.faults.fail(call, index, false, errno);
                let faults = Arc::clone(&disk.faults);
                let options = alone().recovery_mode(RecoveryMode::SkipDamaged);
                let mut memory = Memory::default();
                let opened = Wal::open_storage(Arc::new(disk), options).and_then(|r| r.replay(&mut memory));
                // The mark is set anew at the end of an open; nothing else moves.
                let now = snapshot(dir.path());
                assert!(before.iter().zip(&now).all(|(a, b)| a == b || a.0 == "durable" || a.0 == "lock"));
                match opened {
                    Err(error) => assert_eq!(error.kind(), ErrorKind::Io, "{call:?} {index}: {error}"),
                    // Files are opened ahead of their turn, as far as that works.
                    Ok(_) => assert_eq!(memory.values(), values(0..60), "{call:?} {index}"),
                }
                if faults.count(call) < index {
                    break;
                }
            }
        }
    }
}

#[test]
fn whatever_fails_during_a_repair_the_next_open_finishes_it() {
    let source = tempfile::tempdir().unwrap();
    written(source.path(), 0..60, small());
    for name in ["durable", "intent", "reserve", "lock"] {
        std::fs::remove_file(source.path().join(name)).unwrap();
    }
    common::flip(&source.path().join("000002"), 100);
    let original = snapshot(source.path());
    for call in [
        Call::Write,
        Call::Sync,
        Call::SyncFolder,
        Call::Create,
        Call::Rename,
        Call::SetLen,
        Call::Open,
        Call::Read,
    ] {
        for index in 1.. {
            let dir = tempfile::tempdir().unwrap();
            common::copy_files(source.path(), dir.path());
            let disk = FaultyDisk::new(dir.path());
            disk.faults.fail(call, index, false, EIO);
            let faults = Arc::clone(&disk.faults);
            let opened = Wal::open_storage(Arc::new(disk), alone()).and_then(|r| r.replay(&mut ()));
            drop(opened);
            let (wal, memory, ..) = FaultyDisk::open_log(dir.path(), alone());
            let found = memory.values();
            assert_eq!(found, values(0..16), "{call:?} {index}");
            // Nothing was destroyed on the way.
            let root = tempfile::tempdir().unwrap();
            let to = root.path().join("restored");
            restore_quarantine(dir.path(), &to).unwrap();
            assert_eq!(snapshot(&to), original, "{call:?} {index}");
            wal.commit(log_values(&wal, 99..100)).unwrap();
            wal.close().unwrap();
            let (_, again, report, _) = FaultyDisk::open_log(dir.path(), alone());
            assert_eq!((again.values().len(), report.verdict), (found.len() + 1, Verdict::Clean));
            if faults.count(call) < index {
                break;
            }
        }
    }
}
