//! The durable watermark, and those who wait for it to pass their position.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Poll, Waker};

use wal_segment::Position;

use crate::error::{Error, Result};
use crate::sync::{self, Condvar, Mutex, MutexGuard};

/// Where one who waits is told the outcome. Each thread has one and uses it again, so that its commits
/// allocate nothing; a future has its own. Each is woken by itself, so no herd runs for one lock.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    told: Mutex<Told>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Told {
    outcome: Option<Result<()>>,
    /// The task that waits here, where it is not a thread.
    waker: Option<Waker>,
}

impl Slot {
    /// The slot of a task that is to be woken.
    pub(crate) fn waking(waker: Waker) -> Self {
        let slot = Self::default();
        slot.told.lock().waker = Some(waker);
        slot
    }

    /// Notes the outcome and wakes a thread that waits. A task is for the caller to wake, with no lock held.
    fn tell(&self, outcome: Result<()>) -> Option<Waker> {
        let mut told = self.told.lock();
        told.outcome = Some(outcome);
        self.changed.notify_one();
        told.waker.take()
    }

    /// Blocks until told.
    pub(crate) fn wait(&self) -> Result<()> {
        let mut told = self.told.lock();
        loop {
            match told.outcome.take() {
                Some(outcome) => return outcome,
                None => self.changed.wait(&mut told),
            }
        }
    }

    /// The outcome, or the promise to wake this task when there is one.
    pub(crate) fn poll(&self, waker: &Waker) -> Poll<Result<()>> {
        let mut told = self.told.lock();
        match told.outcome.take() {
            Some(outcome) => Poll::Ready(outcome),
            None => {
                match &mut told.waker {
                    Some(known) => known.clone_from(waker),
                    none => *none = Some(waker.clone()),
                }
                Poll::Pending
            }
        }
    }
}

sync::thread_local! {
    static SLOT: RefCell<Arc<Slot>> = RefCell::new(Arc::default());
}

/// The calling thread's slot. A thread waits for one thing at a time.
pub(crate) fn own_slot() -> Arc<Slot> {
    SLOT.with(|slot| Arc::clone(&slot.borrow()))
}

#[derive(Debug)]
struct Waiter {
    position: Position,
    slot: Arc<Slot>,
}

/// The watermark and its waiters.
#[derive(Debug)]
pub(crate) struct Commits(Mutex<State>);

#[derive(Debug)]
struct State {
    durable: Position,
    waiters: VecDeque<Waiter>,
    /// Set when the log is gone: nobody is left to tell those who would wait.
    over: Option<Error>,
}

impl Commits {
    pub(crate) fn new(durable: Position) -> Self {
        Self(Mutex::new(State { durable, waiters: VecDeque::new(), over: None }))
    }

    /// Everything before this position is durable.
    pub(crate) fn durable(&self) -> Position {
        self.0.lock().durable
    }

    /// Whether everything before this position is durable.
    ///
    /// # Errors
    /// When it is not, and the log is gone.
    pub(crate) fn is_durable(&self, position: Position) -> Result<bool> {
        self.0.lock().is_durable(position)
    }

    /// Whether someone waits.
    pub(crate) fn has_waiters(&self) -> bool {
        !self.0.lock().waiters.is_empty()
    }

    /// Enters the queue, unless the position is durable by now.
    ///
    /// # Errors
    /// When the log is gone.
    pub(crate) fn enqueue(&self, position: Position, slot: Arc<Slot>) -> Result<bool> {
        let mut state = self.0.lock();
        if state.is_durable(position)? {
            return Ok(false);
        }
        state.waiters.push_back(Waiter { position, slot });
        Ok(true)
    }

    /// Leaves the queue: nobody waits at this slot any more.
    pub(crate) fn leave(&self, slot: &Arc<Slot>) {
        self.0.lock().waiters.retain(|waiter| !Arc::ptr_eq(&waiter.slot, slot));
    }

    /// Raises the watermark and tells everyone who waited for it.
    pub(crate) fn advance(&self, durable: Position) {
        let mut state = self.0.lock();
        state.durable = state.durable.max(durable);
        let durable = state.durable;
        state.tell(|waiter| (waiter.position <= durable).then_some(Ok(()))).wake(state);
    }

    /// Tells everyone who waits behind `written` that it failed.
    pub(crate) fn fail_behind(&self, written: Position, error: &Error) {
        let mut state = self.0.lock();
        state.tell(|waiter| (written < waiter.position).then(|| Err(error.clone()))).wake(state);
    }

    /// Tells everyone that it failed.
    pub(crate) fn fail_all(&self, error: &Error) {
        let mut state = self.0.lock();
        state.tell(|_| Some(Err(error.clone()))).wake(state);
    }

    /// The log is gone: whoever still waits, or comes to wait, hears so.
    pub(crate) fn end(&self, error: &Error) {
        let mut state = self.0.lock();
        state.over = Some(error.clone());
        state.tell(|_| Some(Err(error.clone()))).wake(state);
    }
}

impl State {
    fn is_durable(&self, position: Position) -> Result<bool> {
        match &self.over {
            _ if position <= self.durable => Ok(true),
            Some(over) => Err(over.clone()),
            None => Ok(false),
        }
    }

    /// Tells those for whom there is an outcome, who then leave the queue.
    fn tell(&mut self, outcome: impl Fn(&Waiter) -> Option<Result<()>>) -> ToWake {
        let mut tasks = Vec::new();
        self.waiters.retain(|waiter| match outcome(waiter) {
            Some(outcome) => {
                tasks.extend(waiter.slot.tell(outcome));
                false
            }
            None => true,
        });
        ToWake(tasks)
    }
}

/// Tasks that were told. Allocates nothing where only threads wait.
#[must_use]
struct ToWake(Vec<Waker>);

impl ToWake {
    /// Wakes them once the queue is free again: waking runs code that is not ours.
    fn wake(self, state: MutexGuard<'_, State>) {
        drop(state);
        self.0.into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    fn at(offset: u64) -> Position {
        Position { segment: 1, offset }
    }

    fn waiting(commits: &Commits, offset: u64) -> Arc<Slot> {
        let slot = Arc::<Slot>::default();
        assert!(commits.enqueue(at(offset), Arc::clone(&slot)).unwrap());
        slot
    }

    #[test]
    fn only_those_below_the_watermark_hear_yes() {
        let commits = Commits::new(at(8));
        let (near, far) = (waiting(&commits, 50), waiting(&commits, 90));
        commits.advance(at(60));
        assert!(near.wait().is_ok());
        assert!(far.told.lock().outcome.is_none());
        commits.advance(at(90));
        assert!(far.wait().is_ok());
        assert!(!commits.has_waiters());
    }

    #[test]
    fn a_position_that_is_durable_already_does_not_wait() {
        let commits = Commits::new(at(100));
        assert!(!commits.enqueue(at(100), Arc::default()).unwrap());
    }

    #[test]
    fn a_failure_reaches_every_waiter() {
        let commits = Commits::new(at(8));
        let (near, far) = (waiting(&commits, 50), waiting(&commits, 90));
        let error = Error::new(ErrorKind::DiskFull, "full", "make room");
        commits.fail_behind(at(50), &error);
        assert_eq!(far.wait().unwrap_err().kind(), ErrorKind::DiskFull);
        assert!(commits.has_waiters(), "what is written may still become durable");
        commits.fail_all(&error);
        assert!(near.wait().is_err());
    }

    #[test]
    fn who_leaves_the_queue_is_not_waited_for() {
        let commits = Commits::new(at(8));
        let (near, far) = (waiting(&commits, 50), waiting(&commits, 90));
        commits.leave(&near);
        commits.leave(&near);
        assert!(commits.has_waiters());
        commits.leave(&far);
        assert!(!commits.has_waiters());
    }

    #[test]
    fn nobody_waits_for_a_log_that_is_gone() {
        let commits = Commits::new(at(8));
        let slot = waiting(&commits, 50);
        commits.end(&Error::new(ErrorKind::Closed, "closed", "reopen"));
        assert_eq!(slot.wait().unwrap_err().kind(), ErrorKind::Closed);
        assert_eq!(commits.enqueue(at(50), slot).unwrap_err().kind(), ErrorKind::Closed);
        assert!(!commits.enqueue(at(8), Arc::default()).unwrap(), "what is durable stays so");
    }

    #[test]
    fn the_watermark_never_falls() {
        let commits = Commits::new(at(100));
        commits.advance(at(50));
        assert_eq!(commits.durable(), at(100));
    }
}
