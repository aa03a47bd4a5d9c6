//! The I/O side of the log: buffers into files, rotation, sync. One at a time, strictly in order.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wal_segment::dir::{segment_name, temporary_name};
use wal_segment::{
    Access, Folder, Position, Prepared, Replace, SegmentStats, SegmentWriter, Storage, WriteFailure,
};

use crate::append::{Chunk, Condition};
use crate::error::{Error, Result};
use crate::mark::{MarkFile, Trail};
use crate::metrics::{Counters, millis_since};
use crate::options::WalOptions;
use crate::plan::{AppendAt, Kept};
use crate::repair::RepairPlan;
use crate::shared::Shared;

/// Files and what is known of them. Behind the I/O lock; whoever holds it does everything there is to
/// do to the files.
#[derive(Debug)]
pub(crate) struct Io {
    storage: Arc<dyn Storage>,
    options: WalOptions,
    pub(crate) active: Option<Active>,
    /// Handed over by the append side and not written yet: a full disk refused them.
    unwritten: VecDeque<Chunk>,
    /// Written since the last sync.
    dirty: bool,
    /// How long the last sync took.
    pub(crate) sync_took: Duration,
    trail: Trail,
    pub(crate) mark: Option<MarkFile>,
    mark_dirty: bool,
    /// A repair that the disk had no room for.
    repair: Option<RepairPlan>,
    /// Finished segments, by rising number.
    pub(crate) sealed: Vec<Kept>,
    sealed_bytes: u64,
}

/// The segment that entries go into.
#[derive(Debug)]
pub(crate) struct Active {
    pub(crate) number: u64,
    pub(crate) name: String,
    pub(crate) writer: SegmentWriter,
    pub(crate) stats: SegmentStats,
}

impl Active {
    fn end(&self) -> Position {
        Position { segment: self.number, offset: self.writer.written() }
    }

    /// Counts and tells a sync that ended well.
    fn note_sync(&self, shared: &Shared, took: Duration) {
        let bytes = shared.counters.synced(took);
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        tracing::trace!(
            segment = self.number,
            offset = self.writer.written(),
            bytes,
            took_us,
            "segment synced"
        );
    }
}

/// A failure on the I/O side.
enum Failure {
    /// It was taken back, and can be tried again: mostly a full disk.
    Stalled(Error),
    /// What is on disk is unknown.
    Fatal(Error),
}

/// Everything that [`Io`] starts with.
pub(crate) struct IoStart {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) options: WalOptions,
    pub(crate) kept: Vec<Kept>,
    pub(crate) append_at: AppendAt,
    pub(crate) mark: Option<MarkFile>,
    pub(crate) trail: Trail,
    pub(crate) repair: Option<RepairPlan>,
}

impl Io {
    pub(crate) fn start(start: IoStart) -> Result<Self> {
        let IoStart { storage, options, kept: mut sealed, append_at, mark, trail, repair } = start;
        let mut active = None;
        let end = append_at.position();
        // A segment that does not exist yet has a number of its own.
        let goes_on = sealed.last().is_some_and(|last| last.number == end.segment);
        if let Some(last) = if goes_on { sealed.pop() } else { None } {
            let file = storage
                .open(&last.name, Access::Write)
                .map_err(|error| Error::file("open", storage.path(&last.name), error))?;
            let writer = SegmentWriter::resume(file, end.offset, options.space());
            active = Some(Active { number: last.number, name: last.name, writer, stats: last.stats });
        }
        let unwritten = VecDeque::new();
        Ok(Self {
            storage,
            options,
            active,
            unwritten,
            dirty: false,
            sync_took: Duration::ZERO,
            trail,
            mark,
            mark_dirty: false,
            repair,
            sealed_bytes: total(&sealed),
            sealed,
        })
    }

    /// Writes what the append side has filled; with `all` also the buffer being filled. Syncs nothing
    /// but what rotation needs.
    ///
    /// # Errors
    /// A full disk stalls the log, other failures poison it. Both are told to whom it concerns.
    pub(crate) fn flush(&mut self, shared: &Shared, all: bool) -> Result<()> {
        let poisoned = match &shared.appender.lock().condition {
            Condition::Poisoned(cause) => Some(Error::poisoned(cause)),
            _ => None,
        };
        if let Some(error) = poisoned {
            // Someone may have begun to wait after those before were told.
            shared.commits.fail_all(&error);
            return Err(error);
        }
        let flushed = self.try_flush(shared, all);
        self.count_disk(shared);
        match flushed {
            Ok(()) => {
                let mut appender = shared.appender.lock();
                if let Condition::Stalled = appender.condition {
                    let end = appender.end();
                    tracing::info!(segment = end.segment, offset = end.offset, "there is room again");
                    appender.condition = Condition::Open;
                }
                Ok(())
            }
            Err(Failure::Stalled(error)) => {
                Counters::add(&shared.counters.failures, 1);
                let mut appender = shared.appender.lock();
                if let Condition::Open = appender.condition {
                    let end = appender.end();
                    tracing::warn!(%error, segment = end.segment, offset = end.offset, "cannot write; entries wait in memory");
                }
                appender.condition = Condition::Stalled;
                drop(appender);
                shared.commits.fail_behind(self.written(shared), &error);
                Err(error)
            }
            Err(Failure::Fatal(error)) => Err(poison(shared, error)),
        }
    }

    /// Writes everything accepted so far and makes it durable, then tells those who wait.
    ///
    /// # Errors
    /// As [`flush`](Self::flush). What could be written is made durable even when the rest could not.
    pub(crate) fn sync(&mut self, shared: &Shared) -> Result<()> {
        let flushed = self.flush(shared, true);
        if flushed.as_ref().is_err_and(|error| error.kind() == crate::ErrorKind::Poisoned) {
            return flushed;
        }
        // Space for the syncs to come is part of this one. Having none is no failure: the file then
        // grows with its entries, as far as it can.
        if let Some(active) = self.active.as_mut().filter(|_| self.dirty) {
            if let Err(error) = active.writer.prepare_ahead() {
                tracing::debug!(%error, "no space prepared ahead");
            }
        }
        self.sync_written(shared)?;
        flushed
    }

    fn sync_written(&mut self, shared: &Shared) -> Result<()> {
        let Some(active) = &mut self.active else { return Ok(()) };
        // A sync alone makes nothing durable of what the page cache may show only.
        if self.repair.as_ref().is_some_and(|plan| plan.again.is_some()) {
            return Ok(());
        }
        if !self.dirty {
            shared.commits.advance(active.end());
            return Ok(());
        }
        let began = Instant::now();
        // DURABILITY: sync. Until it returns, entries since the last one may be lost, torn or out of
        // order; nobody has been told otherwise. After a failure it is never asked again.
        if let Err(error) = active.writer.sync() {
            return Err(poison(shared, Error::file("sync", self.storage.path(&active.name), error)));
        }
        self.sync_took = began.elapsed();
        active.note_sync(shared, self.sync_took);
        self.dirty = false;
        let durable = active.end();
        self.write_mark(shared, durable);
        shared.commits.advance(durable);
        // The rotation to come needs it, and then there would be a commit waiting.
        if self.active.as_ref().is_some_and(|active| active.writer.is_nearly_full()) {
            self.sync_mark();
        }
        Ok(())
    }

    /// Ends the life of the files: everything durable, no prepared space left behind.
    pub(crate) fn close(&mut self, shared: &Shared) -> Result<()> {
        self.flush(shared, true)?;
        if let Some(active) = self.active.as_mut().filter(|active| active.writer.has_space_ahead()) {
            let failed = |error| Error::file("trim", self.storage.path(&active.name), error);
            active.writer.trim().map_err(failed)?;
            self.dirty = true;
        }
        self.sync_written(shared)?;
        self.sync_mark();
        Ok(())
    }

    /// Gives space back that is not needed yet.
    pub(crate) fn give_back_space(&mut self) {
        let active =
            self.active.as_mut().filter(|active| self.repair.is_none() && active.writer.has_space_ahead());
        if let Some(Err(error)) = active.map(|active| active.writer.trim()) {
            tracing::warn!(%error, "cannot trim the active segment");
        }
    }

    /// Moves the mark into the active segment, in both slots and durably: needed before older segments
    /// change or go.
    pub(crate) fn raise_mark(&mut self, shared: &Shared) -> std::io::Result<()> {
        let Some(mark) = &mut self.mark else { return Ok(()) };
        // The next segment may not exist yet; then nothing below it is marked any more.
        let number = self.active.as_ref().map_or(shared.commits.durable().segment, |active| active.number);
        match mark.last().filter(|last| last.position.segment == number).cloned() {
            // Only what is durable may be named, and this was; entries written since may not be.
            Some(last) => mark.write_both(last.position, last.witnesses),
            None => {
                let offset = wal_format::layout::HEADER_BYTES as u64;
                mark.write_both(Position { segment: number, offset }, Vec::new())
            }
        }
    }

    /// The lowest segment that a repair still has to change, if one is pending.
    pub(crate) fn pending_from(&self) -> Option<u64> {
        let plan = self.repair.as_ref()?;
        let cut = plan.cut.as_ref().map(|(target, ..)| target.number);
        let rewrites = plan.rewrites.iter().map(|(target, ..)| target.number);
        let again = plan.again.as_ref().map(|again| again.number);
        plan.moves.iter().map(|target| target.number).chain(cut).chain(rewrites).chain(again).min()
    }

    /// Tells the counters what the files take.
    pub(crate) fn count_disk(&self, shared: &Shared) {
        let active = self.active.as_ref().map(|active| active.writer.file_bytes());
        let segments = self.sealed.len() as u64 + u64::from(active.is_some());
        shared.counters.on_disk(self.sealed_bytes + active.unwrap_or(0), segments);
    }

    /// Puts other segments in the place of some finished ones, as a truncation did on disk.
    pub(crate) fn replace_sealed(&mut self, old: &[Kept], fresh: Vec<Kept>) {
        let first = old.first().map_or(0, |segment| segment.number);
        let at = self.sealed.partition_point(|segment| segment.number < first);
        let end = (at + old.len()).min(self.sealed.len());
        self.sealed.splice(at..end, fresh);
        self.sealed_bytes = total(&self.sealed);
    }

    /// Makes the mark durable, if it changed.
    pub(crate) fn sync_mark(&mut self) {
        let Some(mark) = &self.mark else { return };
        if std::mem::take(&mut self.mark_dirty) {
            if let Err(error) = mark.sync() {
                tracing::warn!(%error, "cannot sync the durable mark");
            }
        }
    }

    /// Up to where entries are in the files.
    fn written(&self, shared: &Shared) -> Position {
        self.active.as_ref().map_or_else(|| shared.commits.durable(), Active::end)
    }

    fn try_flush(&mut self, shared: &Shared, all: bool) -> std::result::Result<(), Failure> {
        self.finish_repair(shared)?;
        loop {
            let next = match self.unwritten.pop_front() {
                Some(chunk) => Some(chunk),
                None => shared.appender.lock().take(all),
            };
            let Some(chunk) = next else { return Ok(()) };
            if let Err(failure) = self.write(shared, &chunk) {
                // Its positions are given out: it keeps its place at the front.
                self.unwritten.push_front(chunk);
                return Err(failure);
            }
            shared.appender.lock().give_back(chunk);
        }
    }

    fn write(&mut self, shared: &Shared, chunk: &Chunk) -> std::result::Result<(), Failure> {
        if self.active.as_ref().is_none_or(|active| active.number != chunk.segment) {
            self.rotate(shared, chunk.segment)?;
        }
        let Some(active) = &mut self.active else { return Ok(()) };
        debug_assert_eq!(active.writer.written(), chunk.offset);
        // DURABILITY: write. Power loss may keep any of these sectors; they end in a torn tail, above
        // the mark.
        active.writer.write(&chunk.bytes).map_err(|WriteFailure { error, taken_back }| {
            let full = taken_back && wal_segment::error::is_disk_full(&error);
            let error = Error::file("write to", self.storage.path(&active.name), error);
            if full { Failure::Stalled(error) } else { Failure::Fatal(error) }
        })?;
        active.stats.merge(&chunk.stats);
        self.trail.extend(&chunk.trail);
        self.dirty = true;
        Counters::add(&shared.counters.written_bytes, chunk.bytes.len() as u64);
        Ok(())
    }

    /// Finishes the active segment and begins another. The order is the promise: the old one is
    /// durable to its end before the new one's name exists, and that name is durable before the first
    /// entry goes in. So a fault in a segment that is not the last is never a torn write.
    fn rotate(&mut self, shared: &Shared, number: u64) -> std::result::Result<(), Failure> {
        let storage = Arc::clone(&self.storage);
        let began = Instant::now();
        if let Some(active) = &mut self.active {
            let path = storage.path(&active.name);
            let fatal = |action| {
                let path = path.clone();
                move |error| Failure::Fatal(Error::file(action, path, error))
            };
            // DURABILITY: rotate-seal. Power loss here leaves the old segment last, torn at worst.
            if active.writer.has_space_ahead() {
                active.writer.trim().map_err(fatal("trim"))?;
                self.dirty = true;
            }
            if self.dirty {
                let began = Instant::now();
                active.writer.sync().map_err(fatal("sync"))?;
                active.note_sync(shared, began.elapsed());
                self.dirty = false;
            }
            let end = active.end();
            if self.mark.as_ref().and_then(MarkFile::last).is_none_or(|last| last.position != end) {
                self.write_mark(shared, end);
            }
            self.sync_mark();
            shared.commits.advance(end);
        }
        // While this lock is held nobody else makes a file of that temporary name.
        let mut slot = shared.prepared.lock();
        let prepared = match slot.take_if(|(ready, _)| *ready == number) {
            Some((_, ready)) => ready,
            None => prepare(&*storage, number, &self.options).map_err(Failure::Stalled)?,
        };
        drop(slot);
        let name = segment_name(number);
        // DURABILITY: rotate-rename. Before the directory's sync, power loss may take the name back; no
        // entry is in the file yet.
        if let Err(error) = storage.rename(&prepared.name, &name, Replace::Never) {
            let full = wal_segment::error::is_disk_full(&error);
            let error = Error::file("create", storage.path(&name), error);
            return Err(if full { Failure::Stalled(error) } else { Failure::Fatal(error) });
        }
        storage
            .sync_folder(Folder::Log)
            .map_err(|error| Failure::Fatal(Error::file("sync", storage.path(""), error)))?;
        let sealed_bytes = self.active.as_ref().map_or(0, |old| old.writer.written());
        tracing::debug!(
            segment = number,
            bytes = sealed_bytes,
            took_ms = millis_since(began),
            "segment begun"
        );
        let fresh = Active { number, name, writer: prepared.into_writer(), stats: SegmentStats::default() };
        if let Some(old) = self.active.replace(fresh) {
            let bytes = old.writer.written();
            self.sealed_bytes += bytes;
            self.sealed.push(Kept { number: old.number, name: old.name, bytes, stats: old.stats });
            Counters::add(&shared.counters.rotations, 1);
        }
        self.trail.clear();
        Ok(())
    }

    fn finish_repair(&mut self, shared: &Shared) -> std::result::Result<(), Failure> {
        let Some(plan) = &mut self.repair else { return Ok(()) };
        let mut kept = Vec::new();
        match plan.apply(&*self.storage, self.mark.as_mut(), &mut kept) {
            Ok(()) => {
                tracing::info!("the pending repair is finished");
                self.repair = None;
                shared.count_quarantine();
                self.reopen_active()
            }
            Err(error) if error.is_disk_full() => Err(Failure::Stalled(error.into())),
            Err(error) => Err(Failure::Fatal(error.into())),
        }
    }

    /// A repair may have put another file in the place of the one that is open.
    fn reopen_active(&mut self) -> std::result::Result<(), Failure> {
        let Some(active) = &mut self.active else { return Ok(()) };
        let failed = |error| Failure::Fatal(Error::file("open", self.storage.path(&active.name), error));
        let file = self.storage.open(&active.name, Access::Write).map_err(failed)?;
        active.writer = SegmentWriter::resume(file, active.writer.written(), self.options.space());
        Ok(())
    }

    /// Notes that everything before `durable` is. Without a sync: either value that survives is true.
    fn write_mark(&mut self, shared: &Shared, durable: Position) {
        let Some(mark) = &mut self.mark else { return };
        // A mark at a header proves nothing; the one before it, in the finished segment, still does.
        if self.trail.last().is_none() {
            return;
        }
        match mark.write(durable, self.trail.witnesses()) {
            Ok(()) => self.mark_dirty = true,
            Err(error) => {
                Counters::add(&shared.counters.mark_failures, 1);
                tracing::debug!(%error, "cannot write the durable mark");
            }
        }
    }
}

fn total(segments: &[Kept]) -> u64 {
    segments.iter().map(|segment| segment.bytes).sum()
}

/// Prepares the segment of this number under its temporary name.
pub(crate) fn prepare(storage: &dyn Storage, number: u64, options: &WalOptions) -> Result<Prepared> {
    let name = temporary_name(&segment_name(number));
    Prepared::create(storage, &name, options.space())
        .map_err(|error| Error::file("prepare", storage.path(&name), error))
}

/// Latches the first cause; everyone who waits hears it.
pub(crate) fn poison(shared: &Shared, cause: Error) -> Error {
    Counters::add(&shared.counters.failures, 1);
    let mut appender = shared.appender.lock();
    if let Condition::Poisoned(first) = &appender.condition {
        return Error::poisoned(first);
    }
    appender.condition = Condition::Poisoned(cause.clone());
    drop(appender);
    let at = shared.commits.durable();
    tracing::error!(error = %cause, segment = at.segment, offset = at.offset, "the log is poisoned until it is reopened");
    let error = Error::poisoned(&cause);
    shared.commits.fail_all(&error);
    error
}
