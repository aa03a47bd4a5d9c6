//! Follows a live log: entries as they are written, across rotations, truncations and restarts.
//!
//! The order of looks is what makes it right. What a segment holds is final only when the next one has
//! its name, because the old one is finished before that; so the names are read first, and then the old
//! segment once more to its end. The mark is read before the bytes that it vouches for.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use wal_format::layout;
use wal_segment::{Modes, OsStorage, Position, Reason, Storage, Tail};

use crate::decide::Against;
use crate::error::{Error, Result};
use crate::follow_event::{FollowEvent, FollowOptions};
use crate::mark::{self, MARK_FILE, Mark};
use crate::reader::LogEntry;
use crate::track::{FIRST, Found, Track};
use crate::view::View;
use crate::wait::{FollowHandle, Waiter, Woken};
use crate::wal::require_directory;

/// What a look came to.
enum Step {
    Entry,
    Told(FollowEvent<'static>),
    /// The state has changed: look again.
    Again,
    /// Nothing is there yet.
    Wait,
}

/// Follows a log from its directory while a writer adds to it: no lock, no write, positioned reads only.
///
/// ```no_run
/// use wal_engine::{FollowEvent, FollowOptions, Follower};
///
/// let mut follower = Follower::open("data/wal", FollowOptions::default().durable_only(true))?;
/// while let Some(event) = follower.next(None)? {
///     if let FollowEvent::Entry(entry) = event {
///         println!("{} holds {} items", entry.at, entry.payload.items());
///     }
/// }
/// # Ok::<(), wal_engine::Error>(())
/// ```
pub struct Follower {
    storage: Arc<dyn Storage>,
    options: FollowOptions,
    waiter: Waiter,
    current: Option<Track>,
    /// Where to go on when no segment is open; the first there is if unset.
    wanted: Option<Position>,
    /// Nothing was looked at yet.
    starting: bool,
    /// A segment that was read up to here was written anew meanwhile.
    rewritten: Option<Position>,
    /// Names may have changed since they were read.
    names_stale: bool,
    /// Of the current segment, what is known to be durable.
    durable_to: u64,
}

impl std::fmt::Debug for Follower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follower").field("at", &self.position()).finish_non_exhaustive()
    }
}

impl Follower {
    /// Begins to follow the log in `dir`, which may be empty. Reads nothing yet.
    ///
    /// # Errors
    /// When `dir` is no directory, or the process has no descriptor left.
    pub fn open(dir: impl AsRef<Path>, options: FollowOptions) -> Result<Self> {
        let dir = dir.as_ref();
        require_directory(dir)?;
        let storage = Arc::new(OsStorage::new(dir, Modes::default()));
        Self::start(storage, Some(dir.to_path_buf()), options)
    }

    /// Like [`open`](Self::open), on any storage; without notifications, so at the poll interval.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn open_storage(storage: Arc<dyn Storage>, options: FollowOptions) -> Result<Self> {
        Self::start(storage, None, options)
    }

    fn start(storage: Arc<dyn Storage>, dir: Option<PathBuf>, options: FollowOptions) -> Result<Self> {
        let waiter = Waiter::new(dir, options.poll_interval)
            .map_err(|error| Error::file("watch", storage.path(""), error))?;
        Ok(Self {
            storage,
            waiter,
            current: None,
            wanted: options.start,
            options,
            starting: true,
            rewritten: None,
            names_stale: true,
            durable_to: 0,
        })
    }

    /// What comes next; blocks until there is something, for at most `timeout` (`None`: without end).
    /// `None` when that is over, or the follower was stopped. With a timeout of zero it only looks.
    ///
    /// # Errors
    /// When a file or the directory cannot be read, which is no statement about its bytes; a valid entry
    /// above the reading limit. Calling again tries again, behind such an entry.
    pub fn next(&mut self, timeout: Option<Duration>) -> Result<Option<FollowEvent<'_>>> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            if self.waiter.handle().is_stopped() {
                return Ok(None);
            }
            match self.look()? {
                Step::Entry => return Ok(self.entry()),
                Step::Told(event) => return Ok(Some(event)),
                Step::Again => continue,
                Step::Wait => {}
            }
            let woken = self.waiter.wait(deadline);
            match woken.map_err(|error| Error::file("wait for", self.storage.path(""), error))? {
                Woken::Over => {
                    if self.waiter.is_due() {
                        self.refresh(true);
                    }
                    return Ok(None);
                }
                woken => self.refresh(woken == Woken::Anything),
            }
        }
    }

    /// Where reading goes on: behind the last entry. `None` before anything was found.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        self.current.as_ref().map(Track::position).or(self.wanted)
    }

    /// What stops this follower from another thread.
    #[must_use]
    pub fn handle(&self) -> FollowHandle {
        self.waiter.handle().clone()
    }

    fn refresh(&mut self, names: bool) {
        self.names_stale |= names;
        if let Some(track) = &mut self.current {
            track.stale = true;
        }
    }

    fn entry(&self) -> Option<FollowEvent<'_>> {
        let track = self.current.as_ref()?;
        let (offset, entry) = track.entry()?;
        let at = Position { segment: track.file.number, offset };
        let bytes = entry.payload.len() as u64 + layout::ENTRY_OVERHEAD_BYTES as u64;
        let end = Position { segment: at.segment, offset: at.offset + bytes };
        Some(match entry.decode() {
            Ok(payload) => FollowEvent::Entry(LogEntry { at, end, checksum: entry.checksum, payload }),
            Err(error) => FollowEvent::Malformed { at, error },
        })
    }

    fn look(&mut self) -> Result<Step> {
        let Some(track) = &mut self.current else { return self.enter() };
        let asked = track.position();
        let back = if track.stale { track.look_again()? } else { None };
        if let Some(back) = back {
            self.durable_to = 0;
            let now = Position { segment: asked.segment, offset: back };
            return Ok(Step::Told(FollowEvent::Rewound { asked, now }));
        }
        let (found, is_final) = (track.advance()?, track.is_final);
        match found {
            Found::Entry if !self.options.durable_only || self.is_durable()? => {
                if let Some(track) = &mut self.current {
                    track.accept();
                }
                Ok(Step::Entry)
            }
            Found::Entry => {
                if let Some(track) = &mut self.current {
                    track.take_back();
                }
                self.look_at_names()
            }
            Found::Header(reason) if is_final || !unfinished(&reason) => {
                self.tell_fault(reason, Against::Unmarked)
            }
            Found::Header(_) => self.look_at_names(),
            Found::End(tail) if is_final => match (tail, self.below_mark(tail)?) {
                (Tail::Fault(reason), _) => self.tell_fault(reason, Against::Unmarked),
                (_, Some(mark)) => self.tell_fault(Reason::EndsBelowMark { mark }, Against::BelowMark),
                (_, None) => self.finish(),
            },
            Found::End(tail) => match self.look_at_names()? {
                Step::Wait => self.live_end(tail),
                step => Ok(step),
            },
        }
    }

    /// Opens the next segment.
    fn enter(&mut self) -> Result<Step> {
        if !self.names_stale {
            return Ok(Step::Wait);
        }
        let view = View::read(Arc::clone(&self.storage))?;
        let least = self.wanted.map_or(0, |wanted| wanted.segment);
        let index = view.segments.partition_point(|segment| segment.number < least);
        let Some(file) = view.segments.get(index) else {
            self.names_stale = false;
            let starting = std::mem::take(&mut self.starting);
            return match self.wanted {
                Some(asked) if starting && FIRST < asked.offset => self.go_back(&view, asked),
                _ => Ok(Step::Wait),
            };
        };
        let is_final = index + 1 < view.segments.len();
        let opened = Track::open(&self.storage, file.clone(), self.options.entry_bytes_max, is_final)?;
        // Taken away between the two looks: the names are other ones now.
        let Some(mut track) = opened else { return Ok(Step::Again) };
        self.names_stale = false;
        self.durable_to = 0;
        let first = Position { segment: track.file.number, offset: FIRST };
        let (rewritten, wanted) = (self.rewritten.take(), self.wanted.take());
        self.starting = false;
        let told = match (rewritten, wanted) {
            (Some(asked), _) => Some(FollowEvent::Rewritten { asked, now: first }),
            (None, Some(asked)) if asked.segment != first.segment => {
                Some(FollowEvent::Moved { asked, now: first })
            }
            (None, Some(asked)) if FIRST < asked.offset => stand(&mut track, asked, self.options.checksum)?,
            _ => None,
        };
        self.current = Some(track);
        Ok(told.map_or(Step::Again, Step::Told))
    }

    /// The current segment has nothing more at the moment: is it still the last one, and the same file?
    fn look_at_names(&mut self) -> Result<Step> {
        let Some(track) = &mut self.current else { return Ok(Step::Again) };
        if track.is_final || !self.names_stale {
            return Ok(Step::Wait);
        }
        let view = View::read(Arc::clone(&self.storage))?;
        self.names_stale = false;
        let number = track.file.number;
        if view.segments.last().is_some_and(|last| number < last.number) {
            // Only now is its end final: the writer may have added to it until it made the next one.
            track.finalize();
            return Ok(Step::Again);
        }
        if !view.segments.iter().any(|segment| segment.number == number) {
            let asked = track.position();
            return if view.segments.is_empty() { Ok(Step::Wait) } else { self.go_back(&view, asked) };
        }
        if let Some(mut other) = track.replaced()? {
            other.stale = true;
            self.durable_to = 0;
            self.current = Some(other);
            return Ok(Step::Again);
        }
        Ok(Step::Wait)
    }

    /// The end of a segment that is being written to. Unfinished bytes are no fault, unless the mark
    /// says that they were durable.
    fn live_end(&mut self, tail: Tail) -> Result<Step> {
        if self.below_mark(tail)?.is_none() {
            return Ok(Step::Wait);
        }
        // The bytes were read before the mark, so once more behind it.
        let Some(track) = &mut self.current else { return Ok(Step::Again) };
        let asked = track.position();
        if let Some(back) = track.look_again()? {
            let now = Position { segment: asked.segment, offset: back };
            return Ok(Step::Told(FollowEvent::Rewound { asked, now }));
        }
        match track.advance()? {
            Found::Entry => {
                track.take_back();
                Ok(Step::Again)
            }
            Found::Header(_) => Ok(Step::Wait),
            // And the mark once more behind the bytes: a repair lowers it before it cuts.
            Found::End(tail) => match (tail, self.below_mark(tail)?) {
                (_, None) => Ok(Step::Wait),
                (Tail::Fault(reason), _) => self.tell_fault(reason, Against::BelowMark),
                (_, Some(mark)) => self.tell_fault(Reason::EndsBelowMark { mark }, Against::BelowMark),
            },
        }
    }

    fn tell_fault(&mut self, reason: Reason, against: Against) -> Result<Step> {
        let Some(track) = &mut self.current else { return Ok(Step::Again) };
        match track.fault(reason, against)? {
            Some(fault) => Ok(Step::Told(FollowEvent::Fault(fault))),
            None if track.is_final => self.finish(),
            None => Ok(Step::Wait),
        }
    }

    /// A finished segment was read to its end.
    fn finish(&mut self) -> Result<Step> {
        let Some(track) = &mut self.current else { return Ok(Step::Again) };
        let here = track.position();
        if let Some(mut other) = track.replaced()? {
            let known = here.offset == FIRST || track.last_checksum().is_some();
            if known && other.look_again()?.is_none() {
                // A repair put a copy in its place, and the writer went on in that.
                self.durable_to = 0;
                self.current = Some(other);
                return Ok(Step::Again);
            }
            self.rewritten = Some(here);
        }
        self.current = None;
        self.wanted = Some(Position { segment: here.segment.saturating_add(1), offset: FIRST });
        self.names_stale = true;
        Ok(Step::Again)
    }

    /// The log ends before the segment asked for: goes to its end.
    fn go_back(&mut self, view: &View, asked: Position) -> Result<Step> {
        let mut now = Position { segment: 0, offset: FIRST };
        (self.current, self.wanted, self.durable_to) = (None, None, 0);
        if let Some(last) = view.segments.last() {
            let limit = self.options.entry_bytes_max;
            let Some(mut track) = Track::open(&self.storage, last.clone(), limit, false)? else {
                (self.wanted, self.names_stale) = (Some(asked), true);
                return Ok(Step::Again);
            };
            track.walk(u64::MAX)?;
            now = track.position();
            self.current = Some(track);
        }
        Ok(Step::Told(FollowEvent::Rewound { asked, now }))
    }

    /// Whether the entry that the current segment has moved to survives power loss.
    fn is_durable(&mut self) -> Result<bool> {
        let mark = match &self.current {
            None => return Ok(false),
            // The old segment is synced to its end before the next one gets its name.
            Some(track) if track.is_final || track.position().offset <= self.durable_to => return Ok(true),
            Some(_) => self.mark()?,
        };
        let (Some(track), Some(mark)) = (&self.current, mark) else { return Ok(false) };
        if mark.position.segment == track.file.number && track.fits(&mark)? {
            self.durable_to = mark.position.offset;
        }
        Ok(track.position().offset <= self.durable_to)
    }

    /// What a fitting mark says against an end here.
    fn below_mark(&self, tail: Tail) -> Result<Option<u64>> {
        match (&self.current, self.mark()?) {
            (Some(track), Some(mark)) => track.below(&mark, tail),
            _ => Ok(None),
        }
    }

    fn mark(&self) -> Result<Option<Mark>> {
        let loaded = mark::load(&*self.storage);
        Ok(loaded.map_err(|error| Error::file("read", self.storage.path(MARK_FILE), error))?.0)
    }
}

/// Stands at a position in the middle of a segment, or says why that cannot be.
fn stand(track: &mut Track, asked: Position, checksum: Option<u32>) -> Result<Option<FollowEvent<'static>>> {
    if let Some(checksum) = checksum {
        if track.stand_behind(asked.offset, checksum)? {
            return Ok(None);
        }
    }
    let reached = track.walk(asked.offset)?;
    if reached == asked.offset && checksum.is_none_or(|checksum| track.last_checksum() == Some(checksum)) {
        return Ok(None);
    }
    if reached < asked.offset && !track.is_final {
        return Ok(Some(FollowEvent::Rewound { asked, now: track.position() }));
    }
    track.seek(FIRST);
    Ok(Some(FollowEvent::Rewritten { asked, now: track.position() }))
}

/// Whether a header may be on its way.
fn unfinished(reason: &Reason) -> bool {
    matches!(reason, Reason::Empty | Reason::ShortHeader { .. } | Reason::ZeroHeader { .. })
}
