//! Commits that tasks wait for, without any runtime.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use common::disk::{Call, FaultyDisk};
use common::{log_values, small, values};
use wal_engine::{CommitFuture, ErrorKind, Position, Wal, WalOptions};

/// Unparks the thread that made it, and counts.
struct Unpark(Thread, AtomicU64);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.unpark();
    }
}

fn unpark() -> Arc<Unpark> {
    Arc::new(Unpark(thread::current(), AtomicU64::new(0)))
}

fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(unpark());
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

fn poll_once(future: &mut CommitFuture) -> Poll<wal_engine::Result<()>> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// A log with a thread, that takes much before it must write or rotate.
fn threaded() -> WalOptions {
    small().segment_bytes_max(1 << 20).buffer_bytes(1 << 16).background_thread(true)
}

#[test]
fn what_a_future_says_yes_to_is_durable() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, ..) = FaultyDisk::open_log(dir.path(), threaded());
    let end = log_values(&wal, 0..3);
    assert!(wal.durable_position() < end);
    block_on(wal.commit_async(end)).unwrap();
    assert_eq!(wal.durable_position(), end);
    block_on(wal.commit_async(end)).unwrap();
}

#[test]
fn tasks_that_wait_together_share_a_sync() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, _, _, faults) = FaultyDisk::open_log(dir.path(), threaded());
    faults.hold_syncs(true);
    let (wake, syncs) = (unpark(), wal.metrics().syncs);
    let waker = Waker::from(Arc::clone(&wake));
    let mut context = Context::from_waker(&waker);
    let mut waiting: Vec<CommitFuture> = (0..100)
        .map(|n| {
            let mut future = wal.commit_async(log_values(&wal, n..n + 1));
            assert!(Pin::new(&mut future).poll(&mut context).is_pending());
            future
        })
        .collect();
    faults.hold_syncs(false);
    while !waiting.is_empty() {
        waiting.retain_mut(|future| match Pin::new(future).poll(&mut context) {
            Poll::Ready(told) => {
                told.unwrap();
                false
            }
            Poll::Pending => true,
        });
        if !waiting.is_empty() {
            thread::park();
        }
    }
    let syncs = wal.metrics().syncs - syncs;
    assert!(syncs < 50, "{syncs} syncs for 100 tasks");
    assert!(wake.1.load(Ordering::SeqCst) <= 100, "each is woken once");
}

#[test]
fn a_future_that_is_dropped_gives_up_the_wait_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, _, _, faults) = FaultyDisk::open_log(dir.path(), threaded());
    faults.hold_syncs(true);
    let end = log_values(&wal, 0..3);
    let (mut dropped, mut kept) = (wal.commit_async(end), wal.commit_async(end));
    assert!(poll_once(&mut dropped).is_pending() && poll_once(&mut kept).is_pending());
    drop(dropped);
    faults.hold_syncs(false);
    block_on(kept).unwrap();
    assert_eq!(wal.durable_position(), end);
}

#[test]
fn a_failed_sync_reaches_every_task() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, _, _, faults) = FaultyDisk::open_log(dir.path(), threaded());
    faults.hold_syncs(true);
    faults.fail_named(Call::Sync, "000001", 5);
    let ends: Vec<Position> = (0..5).map(|n| log_values(&wal, n..n + 1)).collect();
    let mut waiting: Vec<CommitFuture> = ends.iter().map(|end| wal.commit_async(*end)).collect();
    assert!(waiting.iter_mut().all(|future| poll_once(future).is_pending()));
    faults.hold_syncs(false);
    for future in waiting {
        assert_eq!(block_on(future).unwrap_err().kind(), ErrorKind::Poisoned);
    }
    assert_eq!(block_on(wal.commit_async(ends[0])).unwrap_err().kind(), ErrorKind::Poisoned);
}

#[test]
fn a_position_behind_the_end_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, ..) = FaultyDisk::open_log(dir.path(), threaded());
    let end = wal.end();
    let behind = Position { offset: end.offset + 1, ..end };
    assert_eq!(block_on(wal.commit_async(behind)).unwrap_err().kind(), ErrorKind::BeyondEnd);
}

#[test]
fn a_log_that_is_closed_answers_yes_and_one_that_is_dropped_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let open = || Wal::open(dir.path(), threaded()).unwrap().replay(&mut ()).unwrap().0;
    let wal = open();
    let late = wal.commit_async(log_values(&wal, 0..3));
    wal.close().unwrap();
    block_on(late).unwrap();
    let wal = open();
    let late = wal.commit_async(log_values(&wal, 3..6));
    drop(wal);
    assert_eq!(block_on(late).unwrap_err().kind(), ErrorKind::Closed);
    let (_wal, found, _) = common::open(dir.path(), threaded());
    assert_eq!(found.values(), values(0..6), "refused, and there all the same: it was written");
}

#[test]
fn a_task_that_waits_while_the_log_is_closed_is_answered() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, _, _, faults) = FaultyDisk::open_log(dir.path(), threaded());
    faults.hold_syncs(true);
    let mut waiting = wal.commit_async(log_values(&wal, 0..3));
    assert!(poll_once(&mut waiting).is_pending());
    thread::scope(|scope| {
        scope.spawn(|| wal.close().unwrap());
        faults.hold_syncs(false);
        block_on(waiting).unwrap();
    });
}

#[test]
fn without_a_thread_the_first_poll_syncs() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, ..) = FaultyDisk::open_log(dir.path(), small().background_thread(false));
    let end = log_values(&wal, 0..3);
    assert!(poll_once(&mut wal.commit_async(end)).is_ready());
    assert_eq!(wal.durable_position(), end);
}

#[test]
fn without_a_thread_a_future_leaves_the_files_of_a_dropped_log_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, _, _, faults) = FaultyDisk::open_log(dir.path(), threaded().background_thread(false));
    let late = wal.commit_async(log_values(&wal, 0..3));
    drop(wal);
    // From here on another process may hold the log.
    let syncs = faults.count(Call::Sync);
    let writes = faults.count(Call::Write);
    assert_eq!(block_on(late).unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!((faults.count(Call::Sync), faults.count(Call::Write)), (syncs, writes));
}
