//! The durable watermark, and those who wait for it to pass their position.

use std::cell::RefCell;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use wal_segment::Position;

use crate::error::{Error, Result};
use crate::sync::{self, Condvar, Mutex};

/// Where one who waits is told the outcome. Each thread has one and uses it again, so that its commits
/// allocate nothing; a future has its own. Each is woken for its own outcome, so no herd runs for one lock.
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
    /// Threads that were told at the same time, and are to be woken by the one that hears of it here.
    relay: Relay,
}

/// Whom a thread that was told wakes in turn.
type Relay = [Option<Arc<Slot>>; 2];

impl Slot {
    /// The slot of a task that is to be woken.
    pub(crate) fn waking(waker: Waker) -> Self {
        let slot = Self::default();
        slot.told.lock().waker = Some(waker);
        slot
    }

    /// Notes the outcome, and whom a thread that hears it here is to wake then.
    fn tell(&self, outcome: Result<()>, relay: Relay) -> Option<Waker> {
        let mut told = self.told.lock();
        told.outcome = Some(outcome);
        told.relay = relay;
        told.waker.take()
    }

    /// Whether a task waits here, and not a thread.
    fn is_task(&self) -> bool {
        self.told.lock().waker.is_some()
    }

    /// Blocks until told, and then wakes those who are ours to wake.
    pub(crate) fn wait(&self) -> Result<()> {
        let mut told = self.told.lock();
        let outcome = loop {
            match told.outcome.take() {
                Some(outcome) => break outcome,
                None => self.changed.wait(&mut told),
            }
        };
        let relay = std::mem::take(&mut told.relay);
        drop(told);
        for slot in relay.iter().flatten() {
            slot.changed.notify_one();
        }
        outcome
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
pub(crate) struct Commits {
    state: Mutex<State>,
    /// Room for those who are being told, used again. One at a time tells.
    telling: Mutex<Vec<Waiter>>,
}

#[derive(Debug)]
struct State {
    durable: Position,
    waiters: Vec<Waiter>,
    /// How many waited when the watermark last rose, those included whom that told. Threads that commit
    /// again and again come back, so about so many are expected to wait before the next sync.
    crowd: usize,
    /// Set when the log is gone: nobody is left to tell those who would wait.
    over: Option<Error>,
}

impl Commits {
    pub(crate) fn new(durable: Position) -> Self {
        let state = State { durable, waiters: Vec::new(), crowd: 0, over: None };
        Self { state: Mutex::new(state), telling: Mutex::default() }
    }

    /// Everything before this position is durable.
    pub(crate) fn durable(&self) -> Position {
        self.state.lock().durable
    }

    /// Whether everything before this position is durable.
    ///
    /// # Errors
    /// When it is not, and the log is gone.
    pub(crate) fn is_durable(&self, position: Position) -> Result<bool> {
        self.state.lock().is_durable(position)
    }

    /// Whether someone waits.
    pub(crate) fn has_waiters(&self) -> bool {
        !self.state.lock().waiters.is_empty()
    }

    /// Whether one who commits now is probably the only one: nobody waits, and at most one did when the
    /// watermark last rose.
    pub(crate) fn is_quiet(&self) -> bool {
        let state = self.state.lock();
        state.waiters.is_empty() && state.crowd <= 1
    }

    /// Lets those come back who waited when the watermark last rose, if it is only a few who are missing, for
    /// no longer than this: they share the sync that is about to begin, instead of waiting for the one after.
    pub(crate) fn gather(&self, patience: Duration) {
        let began = sync::now();
        for _ in 0..sync::YIELDS_MAX {
            let state = self.state.lock();
            let missing = state.crowd.saturating_sub(state.waiters.len());
            drop(state);
            if missing == 0 || sync::CROWD < missing || patience < sync::now() - began {
                break;
            }
            sync::yield_now();
        }
    }

    /// Enters the queue, unless the position is durable by now.
    ///
    /// # Errors
    /// When the log is gone.
    pub(crate) fn enqueue(&self, position: Position, slot: Arc<Slot>) -> Result<bool> {
        let mut state = self.state.lock();
        if state.is_durable(position)? {
            return Ok(false);
        }
        state.waiters.push(Waiter { position, slot });
        Ok(true)
    }

    /// Leaves the queue: nobody waits at this slot any more.
    pub(crate) fn leave(&self, slot: &Arc<Slot>) {
        self.state.lock().waiters.retain(|waiter| !Arc::ptr_eq(&waiter.slot, slot));
    }

    /// Raises the watermark and tells everyone who waited for it.
    pub(crate) fn advance(&self, durable: Position) {
        self.tell(
            Ok(()),
            |state, waiter| waiter.position <= state.durable,
            |state| {
                state.durable = state.durable.max(durable);
                state.crowd = state.waiters.len();
            },
        );
    }

    /// Tells everyone who waits behind `written` that it failed.
    pub(crate) fn fail_behind(&self, written: Position, error: &Error) {
        self.tell(Err(error.clone()), |_, waiter| written < waiter.position, |_| {});
    }

    /// Tells everyone that it failed.
    pub(crate) fn fail_all(&self, error: &Error) {
        self.tell(Err(error.clone()), |_, _| true, |_| {});
    }

    /// The log is gone: whoever still waits, or comes to wait, hears so.
    pub(crate) fn end(&self, error: &Error) {
        self.tell(Err(error.clone()), |_, _| true, |state| state.over = Some(error.clone()));
    }

    /// Changes the state, takes those out of the queue whom that concerns, and tells them the outcome.
    /// They are woken with the queue free, as a thread that was told may come back to it at once, and with all
    /// of them told, so that it does not matter who runs first.
    fn tell(
        &self,
        outcome: Result<()>,
        concerns: impl Fn(&State, &Waiter) -> bool,
        change: impl FnOnce(&mut State),
    ) {
        let mut telling = self.telling.lock();
        let mut state = self.state.lock();
        change(&mut state);
        let mut waiters = std::mem::take(&mut state.waiters);
        // The queue has no order: whoever waits for what became durable is told now, the others stay.
        let mut at = 0;
        while let Some(waiter) = waiters.get(at) {
            if concerns(&state, waiter) { telling.push(waiters.swap_remove(at)) } else { at += 1 }
        }
        state.waiters = waiters;
        drop(state);
        // Tasks are woken here and wake nobody: one that was woken may be dropped before it runs.
        telling.retain(|waiter| {
            let is_task = waiter.slot.is_task();
            if is_task {
                if let Some(task) = waiter.slot.tell(outcome.clone(), Relay::default()) {
                    task.wake();
                }
            }
            !is_task
        });
        // Waking a crowd takes longer than a sync: the first wakes two more, and so does each of these, while
        // the caller can go on.
        let relays = sync::CROWD <= telling.len();
        for (at, waiter) in telling.iter().enumerate().rev() {
            let after = |at: usize| telling.get(at).filter(|_| relays).map(|waiter| Arc::clone(&waiter.slot));
            waiter.slot.tell(outcome.clone(), [after(2 * at + 1), after(2 * at + 2)]);
            if !relays || at == 0 {
                waiter.slot.changed.notify_one();
            }
        }
        telling.clear();
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
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::task::Wake;

    use super::*;
    use crate::ErrorKind;

    /// Counts how often its tasks were woken.
    #[derive(Debug, Default)]
    struct Woken(AtomicU64);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

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
    fn a_crowd_of_threads_and_tasks_is_told_to_the_last_one() {
        let commits = Commits::new(at(8));
        let threads: Vec<_> = (0..100_u64).map(|n| waiting(&commits, 9 + n)).collect();
        let woken = Arc::<Woken>::default();
        for n in 0..100 {
            let slot = Arc::new(Slot::waking(Waker::from(Arc::clone(&woken))));
            assert!(commits.enqueue(at(9 + n), slot).unwrap());
        }
        std::thread::scope(|scope| {
            let waits: Vec<_> = threads.iter().map(|slot| scope.spawn(|| slot.wait())).collect();
            commits.advance(at(50));
            commits.advance(at(108));
            assert!(waits.into_iter().all(|wait| wait.join().unwrap().is_ok()));
        });
        assert_eq!(woken.0.load(Ordering::Relaxed), 100);
    }

    #[test]
    fn only_a_commit_that_no_other_is_expected_beside_is_quiet() {
        let commits = Commits::new(at(8));
        assert!(commits.is_quiet());
        let (near, far) = (waiting(&commits, 50), waiting(&commits, 90));
        assert!(!commits.is_quiet(), "others wait");
        commits.advance(at(90));
        assert!(!commits.is_quiet(), "those who waited come back");
        assert!(near.wait().is_ok() && far.wait().is_ok());
        let last = waiting(&commits, 100);
        commits.gather(Duration::ZERO);
        commits.advance(at(100));
        assert!(last.wait().is_ok() && commits.is_quiet());
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
