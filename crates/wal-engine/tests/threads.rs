//! Many threads at one log: appends, commits, truncations, readers and backups at once; panics in callbacks.
#![allow(clippy::unwrap_used)]

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use common::crowd::{by_thread, of_thread, read_live};
use common::disk::{Call, Faults, FaultyDisk};
use common::{log_values, open, sample, segments, series, small, snapshot, values, written};
use wal_engine::{ErrorKind, Position, ReplaySink, Sample, Verdict, Wal, WalOptions};

const EIO: i32 = 5;
/// Nothing here takes long; who is not done by then hangs.
const HANGS: Duration = Duration::from_secs(60);

/// Counts a thread out, also when it panics.
struct Leaves<'a>(&'a AtomicUsize);

impl Drop for Leaves<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[test]
fn appends_commits_truncations_readers_and_backups_run_at_once() {
    const THREADS: u64 = 4;
    const EACH: u32 = 300;
    let dir = tempfile::tempdir().unwrap();
    let copies = tempfile::tempdir().unwrap();
    let options = || small().flush_interval(Some(Duration::from_millis(1)));
    let (wal, ..) = open(dir.path(), options());
    wal.log_series(&(0..THREADS).map(series).collect::<Vec<_>>()).unwrap();
    let (busy, truncations) = (AtomicUsize::new(4), AtomicUsize::new(0));
    let running = || 0 < busy.load(Ordering::SeqCst);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (wal, busy) = (&wal, &busy);
            scope.spawn(move || {
                let _leaves = Leaves(busy);
                for count in 0..EACH {
                    wal.log_samples(&[sample(count)]).unwrap();
                    let end = wal.log_samples(&[of_thread(thread, count)]).unwrap();
                    if count % (1 + u32::try_from(thread).unwrap()) == 0 {
                        wal.commit(end).unwrap();
                        assert!(end <= wal.durable_position());
                    }
                }
            });
        }
        scope.spawn(|| {
            while running() {
                wal.truncate(i64::MAX - 5, |_| true).unwrap();
                truncations.fetch_add(1, Ordering::SeqCst);
            }
        });
        scope.spawn(|| {
            while running() {
                read_live(dir.path());
            }
        });
        scope.spawn(|| {
            for copy in 0..20 {
                let to = copies.path().join(copy.to_string());
                let report = wal.backup(&to).unwrap();
                let (_, memory, opened) = open(&to, small().background_thread(false));
                assert_eq!((opened.verdict, opened.end), (Verdict::Clean, report.end));
                for found in by_thread(&memory, THREADS) {
                    let whole: Vec<f64> = values(0..u32::try_from(found.len()).unwrap());
                    assert_eq!(found, whole, "a copy holds a prefix of every thread");
                }
            }
        });
    });
    assert!(0 < truncations.load(Ordering::SeqCst));
    wal.close().unwrap();
    let (_, memory, report) = open(dir.path(), small());
    assert_eq!(report.verdict, Verdict::Clean);
    assert_eq!(memory.refs(), [0, 1, 2, 3], "series are kept, once");
    for found in by_thread(&memory, THREADS) {
        assert_eq!(found, values(0..EACH), "every acknowledged entry, in order, once");
    }
}

/// Appends and commits until the log fails; returns how many samples were acknowledged and accepted.
fn commit_until_failure(wal: &Wal, thread: u64) -> (u32, u32) {
    let (mut acknowledged, mut accepted) = (0, 0);
    for count in 0..100_000 {
        match wal.log_samples(&[of_thread(thread, count)]) {
            Err(error) => {
                // A temporary that cannot be prepared does not poison.
                assert!(matches!(error.kind(), ErrorKind::Poisoned | ErrorKind::Io), "{error}");
                return (acknowledged, accepted);
            }
            Ok(end) => {
                accepted = count + 1;
                match wal.commit(end) {
                    Ok(()) => acknowledged = accepted,
                    Err(error) => {
                        assert!(matches!(error.kind(), ErrorKind::Poisoned | ErrorKind::Io), "{error}");
                    }
                }
            }
        }
    }
    panic!("nothing failed");
}

#[test]
fn a_failure_among_threads_leaves_every_acknowledgement_true_and_no_one_waiting() {
    const THREADS: u64 = 8;
    for (round, call) in [Call::Sync, Call::SyncFolder, Call::Write, Call::Rename, Call::SetLen]
        .into_iter()
        .cycle()
        .take(40)
        .enumerate()
    {
        let dir = tempfile::tempdir().unwrap();
        let (wal, _, _, faults) = FaultyDisk::open_log(dir.path(), small().segment_bytes_max(500));
        faults.fail(call, 2 + round as u64, true, EIO);
        let wal = Arc::new(wal);
        let (told, hears) = mpsc::channel();
        for thread in 0..THREADS {
            let (wal, told) = (Arc::clone(&wal), told.clone());
            std::thread::spawn(move || told.send((thread, commit_until_failure(&wal, thread))).unwrap());
        }
        let mut outcomes: Vec<_> = (0..THREADS)
            .map(|_| hears.recv_timeout(HANGS).unwrap_or_else(|_| panic!("{call:?} {round}: someone waits")))
            .collect();
        outcomes.sort_unstable();
        // The last handle drops with the last thread; the lock is free when it has.
        while Arc::strong_count(&wal) != 1 {
            std::thread::yield_now();
        }
        drop(wal);
        let (_, memory, _) = open(dir.path(), small());
        for ((thread, (acknowledged, accepted)), found) in outcomes.iter().zip(by_thread(&memory, THREADS)) {
            let count = u32::try_from(found.len()).unwrap();
            assert_eq!(found, values(0..count), "{call:?} {round} thread {thread}");
            assert!(*acknowledged <= count && count <= *accepted, "{call:?} {round}: {outcomes:?} {count}");
        }
    }
}

/// Threads that commit while a sync is held at the gate: one syncs, the others wait for it.
fn commit_at_the_gate(wal: &Wal, faults: &Faults, ends: &[Position]) -> Vec<wal_engine::Result<()>> {
    faults.hold_syncs(true);
    let (told, hears) = mpsc::channel();
    std::thread::scope(|scope| {
        for end in ends {
            let told = told.clone();
            scope.spawn(move || told.send(wal.commit(*end)).unwrap());
        }
        while faults.waiting.load(Ordering::SeqCst) == 0 {
            std::thread::yield_now();
        }
        assert!(hears.try_recv().is_err(), "nobody is told before the sync returns");
        faults.hold_syncs(false);
        ends.iter().map(|_| hears.recv_timeout(HANGS).unwrap()).collect()
    })
}

#[test]
fn whoever_waits_for_a_sync_hears_how_it_went() {
    for fails in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let (wal, _, _, faults) = FaultyDisk::open_log(dir.path(), WalOptions::default());
        wal.commit(log_values(&wal, 0..1)).unwrap();
        let ends: Vec<_> = (1..9).map(|value| log_values(&wal, value..value + 1)).collect();
        if fails {
            faults.fail_named(Call::Sync, "000001", EIO);
        }
        for outcome in commit_at_the_gate(&wal, &faults, &ends) {
            assert_eq!(outcome.map_err(|error| error.kind()).err(), fails.then_some(ErrorKind::Poisoned));
        }
        assert_eq!(ends[7] <= wal.durable_position(), !fails);
    }
}

#[test]
fn appends_go_on_while_a_sync_takes_its_time() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, _, _, faults) = FaultyDisk::open_log(dir.path(), WalOptions::default());
    wal.commit(log_values(&wal, 0..1)).unwrap();
    let end = log_values(&wal, 1..2);
    faults.hold_syncs(true);
    std::thread::scope(|scope| {
        let committer = scope.spawn(|| wal.commit(end));
        while faults.waiting.load(Ordering::SeqCst) == 0 {
            std::thread::yield_now();
        }
        let later = log_values(&wal, 2..1000);
        assert!(wal.durable_position() < end);
        faults.hold_syncs(false);
        committer.join().unwrap().unwrap();
        wal.commit(later).unwrap();
    });
    wal.close().unwrap();
    assert_eq!(open(dir.path(), small()).1.values(), values(0..1000));
}

#[test]
fn keep_may_append_commit_and_look_but_not_truncate() {
    let dir = tempfile::tempdir().unwrap();
    let root = tempfile::tempdir().unwrap();
    let (wal, ..) = open(dir.path(), small());
    for round in 0..20 {
        wal.log_series(&[series(u64::from(round))]).unwrap();
        log_values(&wal, round * 10..round * 10 + 10);
    }
    let mut asked = 0;
    let report = wal
        .truncate(100, |_| {
            asked += 1;
            wal.commit(wal.log_samples(&[sample(1000 + asked)]).unwrap()).unwrap();
            wal.sync().unwrap();
            assert_eq!(wal.truncate(0, |_| true).unwrap_err().kind(), ErrorKind::Nested);
            assert_eq!(wal.backup(root.path().join("copy")).unwrap_err().kind(), ErrorKind::Nested);
            true
        })
        .unwrap();
    assert!(0 < asked && 0 < report.bytes_freed);
    wal.truncate(100, |_| true).unwrap();
    wal.close().unwrap();
    let (_, memory, _) = open(dir.path(), small());
    let found = memory.values();
    assert_eq!(memory.refs(), (0..20).collect::<Vec<_>>());
    for value in values(100..200).into_iter().chain(values(1001..1001 + asked)) {
        assert_eq!(found.iter().filter(|found| **found == value).count(), 1, "{value}");
    }
}

#[test]
fn a_panic_in_keep_unwinds_and_leaves_the_log_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, ..) = open(dir.path(), small());
    for round in 0..40 {
        wal.log_series(&[series(u64::from(round))]).unwrap();
        log_values(&wal, round * 10..round * 10 + 10);
    }
    wal.sync().unwrap();
    let before = segments(dir.path());
    for survives in [0, 1, 7, 20] {
        let mut asked = 0;
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            wal.truncate(i64::MAX, |_| {
                asked += 1;
                assert!(asked <= survives, "a panic on purpose");
                true
            })
        }));
        panicked.unwrap_err();
        assert_eq!(segments(dir.path()), before);
        assert!(
            snapshot(dir.path()).iter().all(|(name, _)| !name.contains("rewrite")),
            "temporaries are gone"
        );
    }
    wal.commit(log_values(&wal, 400..410)).unwrap();
    wal.truncate(0, |_| true).unwrap();
    wal.close().unwrap();
    let (_, memory, report) = open(dir.path(), small());
    assert_eq!((report.verdict, memory.values()), (Verdict::Clean, values(0..410)));
    assert_eq!(memory.refs(), (0..40).collect::<Vec<_>>());
}

/// Panics at the n-th sample.
struct Panics(u32, AtomicBool);

impl ReplaySink for Panics {
    fn samples(&mut self, _: Position, _: &[Sample]) {
        self.0 = self.0.checked_sub(1).unwrap_or_else(|| {
            self.1.store(true, Ordering::SeqCst);
            panic!("a panic on purpose")
        });
    }
}

#[test]
fn a_panic_in_the_sink_leaves_the_log_as_it_was_and_unlocked() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), 0..100, small());
    let before = snapshot(dir.path());
    for (threads, at) in [(1, 0), (1, 99), (3, 0), (3, 50), (3, 99)] {
        let mut sink = Panics(at, AtomicBool::new(false));
        let recovery = Wal::open(dir.path(), small().replay_threads(threads)).unwrap();
        assert!(catch_unwind(AssertUnwindSafe(|| recovery.replay(&mut sink))).is_err());
        assert!(sink.1.into_inner());
        let unlocked = |files: Vec<(String, Vec<u8>)>| files.into_iter().filter(|file| file.0 != "lock");
        assert!(unlocked(snapshot(dir.path())).eq(unlocked(before.clone())));
    }
    let (wal, memory, _) = open(dir.path(), small());
    assert_eq!(memory.values(), values(0..100));
    wal.close().unwrap();
}

/// A log of one segment, large enough that threads read it ahead of the sink.
fn written_large(dir: &std::path::Path) {
    let (wal, ..) = open(dir, WalOptions::default());
    for first in (0..400_000).step_by(1000) {
        wal.log_series(&[series(u64::from(first))]).unwrap();
        wal.log_samples(&(first..first + 1000).map(sample).collect::<Vec<_>>()).unwrap();
    }
    wal.close().unwrap();
}

#[test]
fn any_number_of_threads_replays_the_same() {
    let dir = tempfile::tempdir().unwrap();
    written_large(dir.path());
    let one = open(dir.path(), WalOptions::default().replay_threads(1)).1;
    for threads in (2..9).cycle().take(28) {
        assert!(
            open(dir.path(), WalOptions::default().replay_threads(threads)).1 == one,
            "{threads} threads"
        );
    }
}

#[test]
fn a_panic_in_the_sink_ends_the_threads_that_read_ahead() {
    let dir = tempfile::tempdir().unwrap();
    written_large(dir.path());
    for (threads, at) in [(2, 0), (2, 399), (3, 0), (3, 200), (8, 1)] {
        let mut sink = Panics(at, AtomicBool::new(false));
        let recovery = Wal::open(dir.path(), WalOptions::default().replay_threads(threads)).unwrap();
        assert!(catch_unwind(AssertUnwindSafe(|| recovery.replay(&mut sink))).is_err());
        assert!(sink.1.into_inner());
    }
    assert_eq!(open(dir.path(), WalOptions::default()).1.values().len(), 400_000);
}
