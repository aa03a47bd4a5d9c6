//! The models can fail: each defect of concurrency here is one that they must notice.

use std::panic::{AssertUnwindSafe, catch_unwind};

use wal_segment::Position;

use super::histories;
use crate::commit::own_slot;
use crate::{Result, Wal, sync};

/// Raises the watermark before the sync that makes it true.
fn commit_early(wal: &Wal, position: Position) -> Result<()> {
    if position <= wal.durable_position() {
        return Ok(());
    }
    let mut io = wal.shared.io.lock();
    wal.shared.commits.advance(wal.end());
    io.sync(&wal.shared)
}

/// Wakes the log's thread first and enters the queue then: the thread may have looked already.
fn commit_queued_late(wal: &Wal, position: Position) -> Result<()> {
    let slot = own_slot();
    wal.shared.signal.work();
    match wal.shared.commits.enqueue(position, slot.clone())? {
        true => slot.wait(),
        false => Ok(()),
    }
}

/// What a checker says about a model that must not hold.
fn complaint(name: &str, history: impl Fn() + Clone + Send + Sync + 'static) -> String {
    let found = catch_unwind(AssertUnwindSafe(|| {
        #[cfg(wal_loom)]
        super::exhaustive::explore(name, Some(3), history);
        #[cfg(wal_shuttle)]
        let _ = super::random::draw(name, 10_000, history);
    }));
    let complaint = found.expect_err("the defect went unnoticed");
    let text = complaint.downcast_ref::<String>().cloned();
    text.or_else(|| complaint.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap()
}

#[test]
fn a_watermark_raised_before_its_sync_is_noticed() {
    let said = complaint("early", || histories::committers(2, histories::threaded(true), commit_early));
    assert!(said.contains("which no sync has covered"), "{said}");
}

#[test]
fn a_waiter_that_queues_after_its_wake_up_is_noticed() {
    let said = complaint("late", || histories::hand_off(2, commit_queued_late));
    assert!(said.to_lowercase().contains("deadlock"), "{said}");
}

#[test]
fn a_wake_up_that_gets_lost_is_noticed() {
    sync::lose_wake_ups(true);
    let said = complaint("lost", || histories::hand_off(2, Wal::commit));
    sync::lose_wake_ups(false);
    assert!(said.to_lowercase().contains("deadlock"), "{said}");
}

#[cfg(wal_shuttle)]
#[test]
fn a_disk_that_syncs_nothing_is_noticed() {
    let said = complaint("lying disk", || {
        super::whole::everything_at_once(wal_sim::Defect::NoSegmentSync, &Default::default());
    });
    assert!(said.contains("were acknowledged"), "{said}");
}
