//! The primitives of every build that is not checked.

use std::io;
use std::time::Instant;

pub(crate) use parking_lot::{Condvar, Mutex};
pub(crate) use std::thread::{JoinHandle, ThreadId, yield_now};
pub(crate) use std::thread_local;

/// How often a thread that waits for a while lets others run.
pub(crate) const YIELDS_MAX: usize = 1000;
/// So many threads are a crowd: each that is woken or waited for costs some microseconds, and together they
/// take as long as a fast disk takes to sync.
pub(crate) const CROWD: usize = 16;

/// Starts a thread of that name.
pub(crate) fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(work)
}

/// The thread that asks.
pub(crate) fn this_thread() -> ThreadId {
    std::thread::current().id()
}

/// The time by which threads wait.
#[inline]
pub(crate) fn now() -> Instant {
    Instant::now()
}
