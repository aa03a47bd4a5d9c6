//! Waiting for a log directory to change, without spinning, until someone says stop.
//!
//! One inotify watch on the directory tells of writes and names; where there is none (no instance left,
//! a storage without a directory) the look is repeated at an interval. An eventfd polled beside it wakes
//! the waiter from another thread.

use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

/// Looked again at least this often beside a watch: a network file system does not tell of what other
/// machines write.
const WATCHED_INTERVAL: Duration = Duration::from_secs(1);
/// What one wait of the system can be told, less a little.
const INTERVAL_MAX: Duration = Duration::from_secs(60);

/// Ends a wait from another thread. Clones end the same one.
#[derive(Clone, Debug)]
pub struct FollowHandle(Arc<Stop>);

#[derive(Debug)]
struct Stop {
    stopped: AtomicBool,
    wake: EventFd,
}

impl FollowHandle {
    fn new() -> io::Result<Self> {
        let wake = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        Ok(Self(Arc::new(Stop { stopped: AtomicBool::new(false), wake })))
    }

    /// Stops the follower for good: a wait in progress ends at once, and later calls of
    /// [`Follower::next`](crate::Follower::next) return `None`. Does not block.
    pub fn stop(&self) {
        self.0.stopped.store(true, Ordering::SeqCst);
        // The only failure is a counter that is full, and then the waiter is awake.
        let _ = self.0.wake.write(1);
    }

    /// Whether [`stop`](Self::stop) was called.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.0.stopped.load(Ordering::SeqCst)
    }
}

/// What a wait ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Woken {
    /// Bytes of a file may have changed, but no name.
    Bytes,
    /// Anything may have changed.
    Anything,
    /// The deadline is reached, or someone said stop.
    Over,
}

/// Waits for one directory.
pub(crate) struct Waiter {
    handle: FollowHandle,
    /// The directory to watch, where there is one.
    dir: Option<PathBuf>,
    watch: Option<Inotify>,
    interval: Duration,
    /// When something was last to be looked at without a notification.
    looked: Instant,
}

impl Waiter {
    /// The watch begins here: what changes from now on ends the next wait.
    pub(crate) fn new(dir: Option<PathBuf>, interval: Duration) -> io::Result<Self> {
        let interval = interval.min(INTERVAL_MAX);
        let handle = FollowHandle::new()?;
        let mut waiter = Self { handle, dir, watch: None, interval, looked: Instant::now() };
        waiter.begin_watch();
        Ok(waiter)
    }

    pub(crate) fn handle(&self) -> &FollowHandle {
        &self.handle
    }

    /// Returns when the directory has changed since the last wait ended, or may have.
    pub(crate) fn wait(&mut self, deadline: Option<Instant>) -> io::Result<Woken> {
        if self.watch.is_none() && self.begin_watch() {
            // What changed before it began was not seen.
            return Ok(Woken::Anything);
        }
        let now = Instant::now();
        let left = deadline.map(|deadline| deadline.saturating_duration_since(now));
        let interval = if self.watch.is_some() { WATCHED_INTERVAL } else { self.interval };
        let sleep = left.map_or(interval, |left| left.min(interval));
        // Rounded up: a wait of less than a millisecond would spin.
        let millis = u16::try_from(sleep.as_nanos().div_ceil(1_000_000)).unwrap_or(u16::MAX);
        let stop = PollFd::new(self.handle.0.wake.as_fd(), PollFlags::POLLIN);
        let polled = match &self.watch {
            Some(watch) => {
                poll(&mut [stop, PollFd::new(watch.as_fd(), PollFlags::POLLIN)], PollTimeout::from(millis))
            }
            None => poll(&mut [stop], PollTimeout::from(millis)),
        };
        match polled {
            // A signal: look, and wait again.
            Err(Errno::EINTR) => return Ok(Woken::Bytes),
            Err(error) => return Err(error.into()),
            Ok(_) if self.handle.is_stopped() => return Ok(Woken::Over),
            Ok(0) if left.is_some_and(|left| left <= interval) => return Ok(Woken::Over),
            Ok(0) => {
                self.looked = Instant::now();
                return Ok(Woken::Anything);
            }
            Ok(_) => {}
        }
        Ok(self.drain())
    }

    /// Whether to look again without a notification: there is none to be had, or it is time.
    pub(crate) fn is_due(&mut self) -> bool {
        let due = self.watch.is_none() || WATCHED_INTERVAL <= self.looked.elapsed();
        if due {
            self.looked = Instant::now();
        }
        due
    }

    /// Takes the events that are there: the look that follows sees what they tell of, and what comes
    /// after it ends the next wait.
    fn drain(&mut self) -> Woken {
        let mut woken = Woken::Bytes;
        loop {
            let Some(watch) = &self.watch else { return Woken::Anything };
            let gone = AddWatchFlags::IN_IGNORED | AddWatchFlags::IN_MOVE_SELF | AddWatchFlags::IN_UNMOUNT;
            match watch.read_events() {
                Ok(events) if events.is_empty() => return woken,
                Ok(events) => {
                    if events.iter().any(|event| event.mask.intersects(gone)) {
                        // Another directory may come under the same name.
                        self.watch = None;
                    } else if events.iter().any(|event| event.mask != AddWatchFlags::IN_MODIFY) {
                        woken = Woken::Anything;
                    }
                }
                Err(Errno::EAGAIN | Errno::EINTR) => return woken,
                Err(error) => {
                    tracing::debug!(%error, "cannot read notifications; looking at intervals");
                    self.watch = None;
                }
            }
        }
    }

    /// Whether a watch is in place now. Without one the interval serves.
    fn begin_watch(&mut self) -> bool {
        let Some(dir) = &self.dir else { return false };
        let wanted = AddWatchFlags::IN_MODIFY
            | AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_MOVE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_MOVE_SELF
            | AddWatchFlags::IN_ONLYDIR;
        let watch = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)
            .and_then(|watch| watch.add_watch(dir, wanted).map(|_| watch));
        match watch {
            Ok(watch) => self.watch = Some(watch),
            Err(error) => tracing::debug!(%error, "no notifications; looking at intervals"),
        }
        self.watch.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soon() -> Option<Instant> {
        Instant::now().checked_add(Duration::from_secs(60))
    }

    #[test]
    fn bytes_and_names_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, b"a").unwrap();
        let mut waiter = Waiter::new(Some(dir.path().to_path_buf()), Duration::from_millis(5)).unwrap();
        assert!(waiter.watch.is_some());
        let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, b"b", 0).unwrap();
        assert_eq!(waiter.wait(soon()).unwrap(), Woken::Bytes);
        std::fs::rename(&path, dir.path().join("other")).unwrap();
        assert_eq!(waiter.wait(soon()).unwrap(), Woken::Anything);
        assert_eq!(waiter.wait(Some(Instant::now())).unwrap(), Woken::Over);
    }

    #[test]
    fn without_a_directory_the_interval_serves() {
        let mut waiter = Waiter::new(None, Duration::from_millis(1)).unwrap();
        assert_eq!(waiter.wait(soon()).unwrap(), Woken::Anything);
        assert_eq!(waiter.wait(Some(Instant::now())).unwrap(), Woken::Over);
    }

    #[test]
    fn a_directory_that_goes_away_is_watched_again_when_it_is_back() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("log");
        std::fs::create_dir(&dir).unwrap();
        let mut waiter = Waiter::new(Some(dir.clone()), Duration::from_millis(1)).unwrap();
        std::fs::rename(&dir, parent.path().join("old")).unwrap();
        assert_eq!(waiter.wait(soon()).unwrap(), Woken::Anything);
        assert!(waiter.watch.is_none());
        std::fs::create_dir(&dir).unwrap();
        assert_eq!(waiter.wait(soon()).unwrap(), Woken::Anything);
        assert!(waiter.watch.is_some());
    }
}
