//! Everything at once on real threads, and a call that fails among it: appends, commits, truncations, readers, a follower
//! and backups. Afterwards every acknowledgement must have been true, and nobody may still wait.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use common::crowd::{by_thread, of_thread, read_live};
use common::disk::{Call, Faults, FaultyDisk};
use common::{Item, Memory, open, sample, series, small, values};
use wal_engine::{ErrorKind, FollowEvent, FollowOptions, Follower, Payload, Result, Wal, WalOptions};

const EIO: i32 = 5;
const ENOSPC: i32 = 28;
/// Nothing here takes long; who is not done by then hangs.
const HANGS: Duration = Duration::from_secs(60);
const APPENDERS: u64 = 4;
const ENTRIES: u32 = 150;

/// What fails in a round.
#[derive(Clone, Copy, Debug)]
enum Fails {
    Nothing,
    /// Every sync of the segment of this name, which poisons.
    SegmentSync(u64),
    /// The n-th call of a kind, once.
    Once(Call, u64, i32),
}

impl Fails {
    fn arrange(self, faults: &Faults) {
        match self {
            Self::Nothing => {}
            Self::SegmentSync(segment) => faults.fail_named(Call::Sync, &format!("{segment:06}"), EIO),
            Self::Once(call, nth, errno) => faults.fail(call, nth, false, errno),
        }
    }
}

/// What a thread came to.
#[derive(Debug)]
enum Outcome {
    Appender { thread: u64, acknowledged: u32, accepted: u32, failed: Option<ErrorKind> },
    Follower { seen: Vec<Vec<f64>> },
    Other,
}

/// What all threads of a round share.
struct Round {
    wal: Wal,
    dir: PathBuf,
    copies: PathBuf,
    appending: AtomicU64,
    followed: AtomicBool,
}

/// Counts an appender out, also when it panics.
struct Leaves(Arc<Round>);

impl Drop for Leaves {
    fn drop(&mut self) {
        self.0.appending.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Round {
    fn goes_on(&self) -> bool {
        0 < self.appending.load(Ordering::SeqCst)
    }

    /// Appends and commits until all is in or the log takes no more.
    fn append(self: Arc<Self>, thread: u64) -> Outcome {
        let _leaves = Leaves(Arc::clone(&self));
        let (mut acknowledged, mut accepted, mut failed) = (0, 0, None);
        for count in 0..ENTRIES {
            let entered = self
                .wal
                .log_samples(&[sample(count)])
                .and_then(|_| self.wal.log_samples(&[of_thread(thread, count)]));
            let told = entered.and_then(|end| {
                accepted = count + 1;
                // One commits each time, others let some pass, which the flush interval covers.
                if u64::from(count) % (1 + thread) != 0 {
                    return Ok(());
                }
                self.wal.commit(end)?;
                assert!(end <= self.wal.durable_position());
                acknowledged = accepted;
                Ok(())
            });
            if let Err(error) = told {
                failed = Some(expected(&error));
                // A full disk, and a file that could not be made, are no end: what was accepted waits.
                if error.kind() == ErrorKind::Poisoned || accepted != count + 1 {
                    break;
                }
            }
        }
        Outcome::Appender { thread, acknowledged, accepted, failed }
    }

    fn truncate(&self) -> Outcome {
        while self.goes_on() && !gives_up(self.wal.truncate(i64::MAX - 5, |_| true)) {}
        Outcome::Other
    }

    fn back_up(&self) -> Outcome {
        let mut copy = 0;
        while self.goes_on() && copy < 5 {
            let to = self.copies.join(copy.to_string());
            if gives_up(self.wal.backup(&to)) {
                break;
            }
            if to.is_dir() {
                let (_, memory, _) = open(&to, small().background_thread(false));
                for found in by_thread(&memory, APPENDERS) {
                    assert_eq!(found, values(0..len(&found)), "a copy holds a prefix of every thread");
                }
            }
            copy += 1;
        }
        Outcome::Other
    }

    fn read(&self) -> Outcome {
        while self.goes_on() {
            read_live(&self.dir);
        }
        Outcome::Other
    }

    /// Follows until there is nothing more after the last append.
    fn follow(&self) -> Outcome {
        let options = FollowOptions::default().poll_interval(Duration::from_millis(1));
        let mut follower = Follower::open(&self.dir, options).unwrap();
        let mut memory = Memory::default();
        loop {
            let was_last = !self.goes_on();
            match follower.next(Some(Duration::from_millis(1))) {
                Ok(Some(FollowEvent::Entry(entry))) => {
                    if let Payload::Samples(batch) = &entry.payload {
                        memory.items.push(Item::Samples(batch.iter().collect()));
                    }
                }
                Ok(Some(event @ (FollowEvent::Fault(_) | FollowEvent::Malformed { .. }))) => {
                    panic!("{event:?}")
                }
                Ok(None) if was_last => break,
                Ok(_) => {}
                Err(error) => panic!("{error}"),
            }
        }
        self.followed.store(true, Ordering::SeqCst);
        Outcome::Follower { seen: by_thread(&memory, APPENDERS) }
    }
}

fn len(found: &[f64]) -> u32 {
    u32::try_from(found.len()).unwrap()
}

/// The kinds that a failing disk may come to.
fn expected(error: &wal_engine::Error) -> ErrorKind {
    assert!(
        matches!(error.kind(), ErrorKind::Poisoned | ErrorKind::Io | ErrorKind::DiskFull),
        "an unexpected error: {error}"
    );
    error.kind()
}

/// Whether there is no use in going on.
fn gives_up<T>(told: Result<T>) -> bool {
    told.is_err_and(|error| expected(&error) == ErrorKind::Poisoned)
}

fn options() -> WalOptions {
    small().flush_interval(Some(Duration::from_millis(1)))
}

/// One log, all threads, one fault.
fn round(fails: Fails) {
    let (dir, copies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (wal, _, _, faults) = FaultyDisk::open_log(dir.path(), options());
    wal.log_series(&(0..APPENDERS).map(series).collect::<Vec<_>>()).unwrap();
    wal.sync().unwrap();
    fails.arrange(&faults);
    let round = Arc::new(Round {
        wal,
        dir: dir.path().to_path_buf(),
        copies: copies.path().to_path_buf(),
        appending: APPENDERS.into(),
        followed: AtomicBool::new(false),
    });
    let (told, hears) = mpsc::channel();
    let start = |work: fn(Arc<Round>, u64) -> Outcome, thread| {
        let (round, told) = (Arc::clone(&round), told.clone());
        std::thread::spawn(move || told.send(work(round, thread)).unwrap());
    };
    let others: [fn(Arc<Round>, u64) -> Outcome; 4] = [
        |round, _| round.truncate(),
        |round, _| round.back_up(),
        |round, _| round.read(),
        |round, _| round.follow(),
    ];
    (0..APPENDERS).for_each(|thread| start(Round::append, thread));
    others.into_iter().for_each(|work| start(work, 0));
    drop(told);
    let outcomes: Vec<Outcome> = (0..usize::try_from(APPENDERS).unwrap() + others.len())
        .map(|_| {
            hears
                .recv_timeout(HANGS)
                .unwrap_or_else(|why| panic!("{fails:?}: {why}: a thread waits or panicked"))
        })
        .collect();
    while Arc::strong_count(&round) != 1 {
        std::thread::yield_now();
    }
    let Round { wal, followed, .. } = Arc::into_inner(round).unwrap();
    assert!(followed.into_inner());
    let poisoned = wal.metrics().poisoned == 1;
    let closed = wal.close();
    assert_eq!(closed.is_err(), poisoned, "{fails:?}: {closed:?}");
    judge(dir.path(), fails, poisoned, &outcomes, &faults);
}

/// What must hold once everyone is done.
fn judge(dir: &Path, fails: Fails, poisoned: bool, outcomes: &[Outcome], faults: &Faults) {
    if let Fails::SegmentSync(segment) = fails {
        assert!(poisoned, "{fails:?}: the sync was never asked for");
        let asked = format!("Sync {segment:06}");
        let times = faults.journal.lock().iter().filter(|call| **call == asked).count();
        assert_eq!(times, 1, "{fails:?}: a failed sync is not asked for again");
        let heard = |outcome: &Outcome| {
            matches!(outcome, Outcome::Appender { failed: Some(ErrorKind::Poisoned), .. })
        };
        assert!(outcomes.iter().any(heard), "{fails:?}: {outcomes:?}");
    }
    let (_, memory, _) = open(dir, small());
    assert_eq!(memory.refs(), (0..APPENDERS).collect::<Vec<_>>(), "{fails:?}: series are kept, once");
    let found = by_thread(&memory, APPENDERS);
    for outcome in outcomes {
        match outcome {
            Outcome::Appender { thread, acknowledged, accepted, failed } => {
                let found = &found[usize::try_from(*thread).unwrap()];
                assert_eq!(found, &values(0..len(found)), "{fails:?}: in order, once, no gap");
                let count = len(found);
                assert!(*acknowledged <= count && count <= *accepted, "{fails:?}: {count} of {outcome:?}");
                if poisoned {
                    // Who was done before it failed was not told.
                    let told = *failed == Some(ErrorKind::Poisoned) || *accepted == ENTRIES;
                    assert!(told, "{fails:?}: {outcome:?}");
                } else {
                    assert_eq!(count, *accepted, "{fails:?}: closing makes everything durable");
                }
            }
            Outcome::Follower { seen } => {
                for (seen, found) in seen.iter().zip(&found) {
                    assert_eq!(
                        seen,
                        &found[..seen.len().min(found.len())],
                        "{fails:?}: followed in order, once"
                    );
                }
            }
            Outcome::Other => {}
        }
    }
}

#[test]
fn everything_at_once_ends_with_all_that_was_accepted() {
    (0..3).for_each(|_| round(Fails::Nothing));
}

#[test]
fn a_sync_error_among_everything_is_told_to_all_and_no_yes_was_false() {
    (0..12).for_each(|n| round(Fails::SegmentSync(3 + 3 * n)));
}

#[test]
fn any_call_failing_among_everything_leaves_every_yes_true() {
    let calls = [
        (Call::Sync, EIO),
        (Call::SyncFolder, EIO),
        (Call::Write, EIO),
        (Call::Write, ENOSPC),
        (Call::Rename, EIO),
    ];
    for (n, (call, errno)) in (1..).zip(calls.into_iter().cycle().take(15)) {
        round(Fails::Once(call, 7 * n, errno));
    }
}
