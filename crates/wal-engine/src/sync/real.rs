//! The primitives of every build that is not checked.

use std::io;
use std::time::Instant;

pub(crate) use parking_lot::{Condvar, Mutex, MutexGuard};
pub(crate) use std::thread::{JoinHandle, ThreadId};
pub(crate) use std::thread_local;

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
