//! A commit that a task waits for, under any runtime or none.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use wal_segment::Position;

use crate::commit::Slot;
use crate::error::Result;
use crate::shared::Shared;

/// A commit under way; see [`Wal::commit_async`](crate::Wal::commit_async). Completes when everything
/// before its position is durable, with the errors of [`Wal::commit`](crate::Wal::commit).
///
/// Does nothing until it is polled. Dropping it gives up the wait and nothing else: the entries may
/// become durable all the same. It does not keep the log open: when that is closed first, closing makes
/// everything durable and so answers yes; when it is dropped first, or closing fails, the answer is
/// [`ErrorKind::Closed`](crate::ErrorKind::Closed). Polled again after it was ready, it answers
/// afresh.
///
/// The log's thread wakes the task while it is at the log's files, so a waker must only schedule, as those
/// of all runtimes do.
#[derive(Debug)]
#[must_use = "a commit does nothing until it is awaited"]
pub struct CommitFuture {
    shared: Arc<Shared>,
    position: Position,
    has_thread: bool,
    /// Where the outcome will be told, once this waits.
    slot: Option<Arc<Slot>>,
}

impl CommitFuture {
    pub(crate) fn new(shared: Arc<Shared>, position: Position, has_thread: bool) -> Self {
        Self { shared, position, has_thread, slot: None }
    }
}

impl Future for CommitFuture {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        if let Some(slot) = &self.slot {
            let polled = slot.poll(context.waker());
            if polled.is_ready() {
                self.slot = None;
            }
            return polled;
        }
        let shared = &*self.shared;
        if !shared.is_pending(self.position)? {
            return Poll::Ready(Ok(()));
        }
        if !self.has_thread {
            return Poll::Ready(shared.sync_up_to(&mut shared.io.lock(), self.position));
        }
        let slot = Arc::new(Slot::waking(context.waker().clone()));
        if !shared.commits.enqueue(self.position, Arc::clone(&slot))? {
            return Poll::Ready(Ok(()));
        }
        shared.signal.work();
        self.slot = Some(slot);
        Poll::Pending
    }
}

impl Drop for CommitFuture {
    fn drop(&mut self) {
        if let Some(slot) = &self.slot {
            self.shared.commits.leave(slot);
        }
    }
}
