//! What the log's handle and its background thread share, and the thread itself.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use wal_segment::{Position, Prepared, Storage};

use crate::append::{Appender, Condition};
use crate::commit::Commits;
use crate::error::{Error, ErrorKind, Result};
use crate::io::{self, Io};
use crate::metrics::Counters;
use crate::options::WalOptions;
use crate::quarantine;
use crate::sync::{self, Condvar, Mutex, ThreadId};
use crate::view::next_after;

/// How often the durable mark is synced, off the path of commits.
const MARK_SYNC_INTERVAL: Duration = Duration::from_secs(3);

/// A sync waits for those who are likely to share it for this part of the time that the last one took.
const PATIENCE_SHARE: u32 = 4;

/// The parts of a running log. Locks are taken in this order, never the other way: truncation, I/O,
/// then either of prepared, appender or commits.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) options: WalOptions,
    pub(crate) appender: Mutex<Appender>,
    pub(crate) io: Mutex<Io>,
    pub(crate) commits: Commits,
    pub(crate) counters: Counters,
    /// The next segment, made ahead of need.
    pub(crate) prepared: Mutex<Option<(u64, Prepared)>>,
    pub(crate) signal: Signal,
    pub(crate) gate: Gate,
}

/// Wakes the background thread.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    state: Mutex<Wish>,
    changed: Condvar,
}

#[derive(Clone, Copy, Debug, Default)]
struct Wish {
    work: bool,
    stop: bool,
}

impl Signal {
    /// There is something to write, to sync or to prepare.
    pub(crate) fn work(&self) {
        let mut wish = self.state.lock();
        if !wish.work {
            wish.work = true;
            self.changed.notify_one();
        }
    }

    /// The thread is to end.
    pub(crate) fn stop(&self) {
        self.state.lock().stop = true;
        self.changed.notify_one();
    }

    /// Blocks until there is a wish or the time has come.
    fn wait(&self, until: Instant) -> Wish {
        let mut wish = self.state.lock();
        while !wish.work && !wish.stop {
            if self.changed.wait_until(&mut wish, until).timed_out() {
                break;
            }
        }
        let heard = *wish;
        wish.work = false;
        heard
    }
}

/// Lets one truncation or backup in at a time.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    inside: Mutex<Option<ThreadId>>,
    left: Condvar,
}

/// Leaves the gate when dropped, also when a panic unwinds.
#[derive(Debug)]
pub(crate) struct GateGuard<'a>(&'a Gate);

impl Gate {
    /// Waits for its turn. From within the `keep` of a running truncation that would be for ever, so it
    /// is an error there.
    pub(crate) fn enter(&self) -> Result<GateGuard<'_>> {
        let me = sync::this_thread();
        let mut inside = self.inside.lock();
        while let Some(other) = *inside {
            if other == me {
                return Err(Error::new(
                    ErrorKind::Nested,
                    "a truncation or backup was asked for from within a truncation",
                    "let `keep` return first",
                ));
            }
            self.left.wait(&mut inside);
        }
        *inside = Some(me);
        Ok(GateGuard(self))
    }
}

impl Drop for GateGuard<'_> {
    fn drop(&mut self) {
        *self.0.inside.lock() = None;
        self.0.left.notify_one();
    }
}

impl Shared {
    /// Writes and syncs everything accepted so far.
    pub(crate) fn sync(&self) -> Result<()> {
        self.io.lock().sync(self)
    }

    /// Whether the position waits for a sync; what is durable does not.
    ///
    /// # Errors
    /// Where no sync will help: a position behind the end, a poisoned log.
    pub(crate) fn is_pending(&self, position: Position) -> Result<bool> {
        if position <= self.commits.durable() {
            return Ok(false);
        }
        let appender = self.appender.lock();
        let end = appender.end();
        if end < position {
            let next = "commit a position that a log_* call of this log returned";
            return Err(Error::new(
                ErrorKind::BeyondEnd,
                format!("position {position} is behind the end of the log, {end}"),
                next,
            ));
        }
        match &appender.condition {
            Condition::Poisoned(cause) => Err(Error::poisoned(cause)),
            _ => Ok(true),
        }
    }

    /// Syncs, unless whoever held the lock before has done it already.
    ///
    /// # Errors
    /// Those of a sync; and when the log is gone, for then the files may be another's.
    pub(crate) fn sync_up_to(&self, io: &mut Io, position: Position) -> Result<()> {
        if self.commits.is_durable(position)? {
            return Ok(());
        }
        let synced = io.sync(self);
        // A full disk behind this position is not this commit's failure.
        if position <= self.commits.durable() { Ok(()) } else { synced }
    }

    /// The log is closed or dropped: nobody is left who could answer a commit. Called with the I/O lock
    /// held, so that nobody is at the files afterwards.
    pub(crate) fn end(&self) {
        let next = "await commits before closing the log; reopening it shows what became durable";
        self.commits.end(&Error::new(ErrorKind::Closed, "the log was closed before it was durable", next));
    }

    /// Tells the counters what lies in quarantine.
    pub(crate) fn count_quarantine(&self) {
        match quarantine::list(&*self.storage) {
            Ok(files) => {
                let bytes = files.iter().map(|file| file.bytes).sum();
                self.counters.quarantine_bytes.store(bytes, Ordering::Relaxed);
            }
            Err(error) => tracing::debug!(%error, "cannot look into the quarantine"),
        }
    }

    /// Prepares the next segment when the active one is half full, away from everybody's path.
    fn prepare_if_due(&self) {
        // Held while the file is made: a rotation that needs it meanwhile waits for this one instead of
        // making another of the same name.
        let mut slot = self.prepared.lock();
        let end = self.appender.lock().end();
        if end.offset <= self.options.segment_bytes_max / 2 {
            return;
        }
        let Ok(number) = next_after(end.segment) else { return };
        if slot.as_ref().is_some_and(|(ready, _)| *ready == number) {
            return;
        }
        match io::prepare(&*self.storage, number, &self.options) {
            Ok(prepared) => *slot = Some((number, prepared)),
            Err(error) => tracing::debug!(%error, "cannot prepare the next segment ahead of need"),
        }
    }

    /// Removes a prepared segment that will not be used.
    pub(crate) fn discard_prepared(&self) {
        let Some((_, prepared)) = self.prepared.lock().take() else { return };
        if let Err(error) = self.storage.remove(&prepared.name) {
            tracing::debug!(%error, "cannot remove a prepared segment; the next open does");
        }
    }
}

/// The background thread: the only clock of the log. Writes full buffers, syncs for those who wait,
/// prepares the next segment, keeps the flush interval, and now and then makes the mark durable.
pub(crate) fn run(shared: &Shared) {
    let mut next_mark = sync::now() + MARK_SYNC_INTERVAL;
    let mut next_flush = shared.options.flush_interval.map(|interval| sync::now() + interval);
    loop {
        let until = next_flush.map_or(next_mark, |flush| flush.min(next_mark));
        let wish = shared.signal.wait(until);
        if wish.stop {
            return;
        }
        if shared.commits.has_waiters() {
            let patience = shared.io.lock().sync_took / PATIENCE_SHARE;
            shared.commits.gather(patience);
            // Failures are told to the waiters.
            let _ = shared.sync();
        } else if wish.work {
            let _ = shared.io.lock().flush(shared, false);
        }
        if wish.work {
            shared.prepare_if_due();
        }
        let now = sync::now();
        let due = next_flush.is_some_and(|due| due <= now);
        if let Some(interval) = shared.options.flush_interval.filter(|_| due) {
            if let Err(error) = shared.sync() {
                tracing::error!(%error, "background sync failed");
            }
            next_flush = Some(sync::now() + interval);
        }
        if next_mark <= now {
            shared.io.lock().sync_mark();
            next_mark = sync::now() + MARK_SYNC_INTERVAL;
        }
    }
}
