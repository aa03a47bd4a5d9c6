//! The primitives of a checked build: those of loom or shuttle, in the shape of parking_lot's.
//!
//! Time stands still unless a wait runs out. Under loom none does: a wake-up that gets lost is then a
//! deadlock, where the next tick of the clock would hide it. Under shuttle a draw decides before each
//! timed wait whether it runs out; if so, others run first, and then the clock stands at its end.
//!
//! Each call tells the checker where the log made it: a deadlock is reported by those places.

use std::cell::Cell;
use std::io;
use std::ops::{Deref, DerefMut};
use std::sync::{OnceLock, PoisonError};
use std::time::Instant;

#[cfg(wal_loom)]
use loom::{sync as checked, thread};
#[cfg(wal_shuttle)]
use shuttle::{sync as checked, thread};

#[cfg(wal_loom)]
pub(crate) use loom::thread_local;
#[cfg(wal_shuttle)]
pub(crate) use shuttle::thread_local;
pub(crate) use thread::{JoinHandle, ThreadId, yield_now};

// A checker runs the threads of one execution in turns on one real thread, which is the test's own.
std::thread_local! {
    static CLOCK: Cell<Option<Instant>> = const { Cell::new(None) };
    static LOSES_WAKE_UPS: Cell<bool> = const { Cell::new(false) };
}

/// A defect switched on for the calling test: a wait lets go of its lock some time before it can be
/// woken, as if whoever wakes did not hold the lock when it changed the state.
#[cfg(test)]
pub(crate) fn lose_wake_ups(wanted: bool) {
    LOSES_WAKE_UPS.set(wanted);
}

/// A checker tries what comes of letting others run once.
pub(crate) const YIELDS_MAX: usize = 1;
/// Few threads are a crowd here, so that small models do what a crowd does.
pub(crate) const CROWD: usize = 2;

#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(checked::Mutex<T>);

#[derive(Debug)]
pub(crate) struct MutexGuard<'a, T> {
    lock: &'a Mutex<T>,
    // Taken out only while a condition is waited for.
    held: Option<checked::MutexGuard<'a, T>>,
}

impl<T> Mutex<T> {
    pub(crate) fn new(inside: T) -> Self {
        Self(checked::Mutex::new(inside))
    }

    #[track_caller]
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        MutexGuard { lock: self, held: Some(held) }
    }

    #[track_caller]
    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        let held = self.0.try_lock().ok()?;
        Some(MutexGuard { lock: self, held: Some(held) })
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.held.as_ref().unwrap()
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.held.as_mut().unwrap()
    }
}

/// Whether a wait ran out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waited(bool);

impl Waited {
    pub(crate) fn timed_out(self) -> bool {
        self.0
    }
}

#[derive(Debug, Default)]
pub(crate) struct Condvar(checked::Condvar);

impl Condvar {
    #[track_caller]
    pub(crate) fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        if LOSES_WAKE_UPS.get() {
            between(guard);
        }
        let held = guard.held.take().unwrap();
        guard.held = Some(self.0.wait(held).unwrap_or_else(PoisonError::into_inner));
    }

    #[track_caller]
    pub(crate) fn wait_until<T>(&self, guard: &mut MutexGuard<'_, T>, until: Instant) -> Waited {
        if runs_out() {
            between(guard);
            CLOCK.set(Some(now().max(until)));
            return Waited(true);
        }
        self.wait(guard);
        Waited(false)
    }

    #[track_caller]
    pub(crate) fn notify_one(&self) {
        self.0.notify_one();
    }
}

/// Lets go of the lock, lets others run, and takes it again.
fn between<T>(guard: &mut MutexGuard<'_, T>) {
    drop(guard.held.take());
    thread::yield_now();
    guard.held = guard.lock.lock().held.take();
}

#[cfg(wal_loom)]
fn runs_out() -> bool {
    false
}

#[cfg(wal_shuttle)]
fn runs_out() -> bool {
    use shuttle::rand::Rng;
    shuttle::rand::thread_rng().gen_ratio(1, 4)
}

pub(crate) fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).spawn(work)
}

pub(crate) fn this_thread() -> ThreadId {
    thread::current().id()
}

pub(crate) fn now() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    CLOCK.get().unwrap_or_else(|| *START.get_or_init(Instant::now))
}
