//! The durable watermark, and those who wait for it to pass their position.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use wal_segment::Position;

use crate::error::{Error, Result};

/// Where a waiting thread is told the outcome. Each thread has one and uses it again, so a commit
/// allocates nothing, and each is woken by itself, so no herd runs for one lock.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    outcome: Mutex<Option<Result<()>>>,
    told: Condvar,
}

impl Slot {
    fn tell(&self, outcome: Result<()>) {
        *self.outcome.lock() = Some(outcome);
        self.told.notify_one();
    }

    /// Blocks until told.
    pub(crate) fn wait(&self) -> Result<()> {
        let mut outcome = self.outcome.lock();
        loop {
            match outcome.take() {
                Some(told) => return told,
                None => self.told.wait(&mut outcome),
            }
        }
    }
}

thread_local! {
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
}

impl Commits {
    pub(crate) fn new(durable: Position) -> Self {
        Self(Mutex::new(State { durable, waiters: VecDeque::new() }))
    }

    /// Everything before this position is durable.
    pub(crate) fn durable(&self) -> Position {
        self.0.lock().durable
    }

    /// Whether someone waits.
    pub(crate) fn has_waiters(&self) -> bool {
        !self.0.lock().waiters.is_empty()
    }

    /// Enters the queue, unless the position is durable by now.
    pub(crate) fn enqueue(&self, position: Position, slot: Arc<Slot>) -> bool {
        let mut state = self.0.lock();
        if position <= state.durable {
            return false;
        }
        state.waiters.push_back(Waiter { position, slot });
        true
    }

    /// Raises the watermark and tells everyone who waited for it.
    pub(crate) fn advance(&self, durable: Position) {
        let mut state = self.0.lock();
        state.durable = state.durable.max(durable);
        let durable = state.durable;
        state.waiters.retain(|waiter| {
            let waits_on = durable < waiter.position;
            if !waits_on {
                waiter.slot.tell(Ok(()));
            }
            waits_on
        });
    }

    /// Tells everyone who waits behind `written` that it failed.
    pub(crate) fn fail_behind(&self, written: Position, error: &Error) {
        let mut state = self.0.lock();
        state.waiters.retain(|waiter| {
            let fails = written < waiter.position;
            if fails {
                waiter.slot.tell(Err(error.clone()));
            }
            !fails
        });
    }

    /// Tells everyone that it failed.
    pub(crate) fn fail_all(&self, error: &Error) {
        for waiter in self.0.lock().waiters.drain(..) {
            waiter.slot.tell(Err(error.clone()));
        }
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
        assert!(commits.enqueue(at(offset), Arc::clone(&slot)));
        slot
    }

    #[test]
    fn only_those_below_the_watermark_hear_yes() {
        let commits = Commits::new(at(8));
        let (near, far) = (waiting(&commits, 50), waiting(&commits, 90));
        commits.advance(at(60));
        assert!(near.wait().is_ok());
        assert!(far.outcome.lock().is_none());
        commits.advance(at(90));
        assert!(far.wait().is_ok());
        assert!(!commits.has_waiters());
    }

    #[test]
    fn a_position_that_is_durable_already_does_not_wait() {
        let commits = Commits::new(at(100));
        assert!(!commits.enqueue(at(100), Arc::default()));
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
    fn the_watermark_never_falls() {
        let commits = Commits::new(at(100));
        commits.advance(at(50));
        assert_eq!(commits.durable(), at(100));
    }
}
