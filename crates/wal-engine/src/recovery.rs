//! Recovery: from an opened directory, through reading it once, to a log that can be appended to.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use wal_format::layout;
use wal_segment::error::is_disk_full;
use wal_segment::header;
use wal_segment::os::QUARANTINE_FOLDER;
use wal_segment::{
    Access, Fault, FileError, Folder, LockAttempt, LockGuard, Modes, OsStorage, Position, ReadMethod, Reason,
    SegmentStats, Storage, Verdict,
};

use crate::decide::{self, Action};
use crate::error::{Error, ErrorKind, Result};
use crate::intent::{self, INTENT_FILE, IntentFile, is_rewrite_name};
use crate::mark::{MARK_FILE, MarkFile, MarkStatus, Trail};
use crate::metrics::millis_since;
use crate::options::{RecoveryMode, WalOptions};
use crate::pipeline;
use crate::plan::{AppendAt, Kept, ReadSegment, Reading, plan};
use crate::progress::{Meter, ReadProgress};
use crate::repair::{self, Again, RepairPlan};
use crate::replay::{Decoder, ReplaySink};
use crate::report::RecoveryReport;
use crate::scan::{Event, Finished, Scan, ScanOptions};
use crate::truncate;
use crate::view::View;
use crate::wal::{self, Start, Wal};

/// A log that is locked and not yet read. Reading it is the only way on: a log that was not read
/// cannot be written.
///
/// ```compile_fail
/// # fn main() -> Result<(), wal_engine::Error> {
/// let recovery = wal_engine::Wal::open("wal", Default::default())?;
/// recovery.log_samples(&[])?; // not before `replay`
/// # Ok(()) }
/// ```
///
/// Dropping it releases the lock and leaves the directory as it was.
#[derive(Debug)]
pub struct Recovery {
    storage: Arc<dyn Storage>,
    lock: LockGuard,
    view: View,
    options: WalOptions,
    progress: ReadProgress,
}

/// Where reading counts what it finds.
pub(crate) struct Found<'a> {
    pub(crate) stats: &'a mut SegmentStats,
    pub(crate) trail: &'a mut Trail,
    pub(crate) report: &'a mut RecoveryReport,
    pub(crate) meter: &'a Meter<'a>,
}

impl Recovery {
    pub(crate) fn open(storage: Arc<dyn Storage>, options: WalOptions) -> Result<Self> {
        options.check()?;
        let dir = storage.path("");
        let created = storage
            .create_log_folder()
            .map_err(|error| Error::file("open the log directory", dir.clone(), error))?;
        // Else the whole log could vanish with its directory's name. Whoever made the directory, copied it
        // here or gave it this name may not have synced that, and nothing inside would show it.
        match storage.sync_folder(Folder::Parent) {
            // A directory made by someone else, in a place that is not ours to open.
            Err(error) if !created && error.kind() == io::ErrorKind::PermissionDenied => {
                tracing::warn!(%error, "cannot make the log directory's own name durable");
            }
            Err(error) => return Err(Error::file("sync the parent of", dir, error)),
            Ok(()) => {}
        }
        let lock = storage.lock().map_err(|error| Error::file("lock", dir.clone(), error))?;
        let lock = match lock {
            LockAttempt::Taken(guard) => guard,
            LockAttempt::HeldBy(who) => return Err(wal::locked(&dir, &who)),
        };
        let view = View::read(Arc::clone(&storage))?;
        if let Some(fault) = find_unsupported(&view)? {
            return Err(Error::fault(&fault, fault_path(&view, &fault)));
        }
        let progress = ReadProgress::default();
        progress.expect(view.bytes());
        Ok(Self { storage, lock, view, options, progress })
    }

    /// A handle that tells, also from other threads, how much of the log [`replay`](Self::replay) has
    /// read: for a progress bar, a metric, a health check.
    #[must_use]
    pub fn progress(&self) -> ReadProgress {
        self.progress.clone()
    }

    /// Reads the log into the sink, repairs what the recovery mode allows, and makes it ready for
    /// appending. Blocks for as long as that takes; syncs what is not known to be durable.
    ///
    /// What the sink saw is a prefix of what was appended, in order, and everything durable is in it.
    ///
    /// # Errors
    /// A fault that the mode does not allow to repair, or an I/O error. Nothing is cut then, and the
    /// sink has seen the entries before it.
    pub fn replay(self, sink: &mut impl ReplaySink) -> Result<(Wal, RecoveryReport)> {
        let Self { storage, lock, view, options, progress } = self;
        let (began, total_bytes) = (Instant::now(), progress.total_bytes());
        let mut reading = read(&view, &options, &progress, sink)?;
        let mode = options.recovery_mode;
        if let Some(fault) = refused(&reading, mode) {
            return Err(Error::fault(fault, fault_path(&view, fault)));
        }
        report_events(&reading);
        // From here on the disk is changed.
        let view = finish_pending_truncation(view, &mut reading)?;
        let (mut plan, append_at, kept) = plan(&view, &mut reading)?;
        let mut control = open_control_files(&view, append_at, &options)?;
        remove_temporaries(&view)?;
        let report = &mut reading.report;
        plan.again = make_durable(&view, &kept, &plan, report.mark)?;
        if !plan.is_empty() {
            // What an earlier process moved behind a fault must not come back when the fault is gone.
            sync_names(&view)?;
        }
        match plan.apply(&*storage, control.as_mut(), &mut report.quarantined) {
            Ok(()) => {}
            Err(error) if error.is_disk_full() => {
                tracing::warn!(%error, "the disk is full: repair is pending");
                report.pending = true;
                report.quarantined.extend(plan.preview());
            }
            Err(error) => return Err(error.into()),
        }
        sync_names(&view)?;
        let end = append_at.position();
        // What could not be written again may be in the page cache only.
        let durable = plan
            .again
            .as_ref()
            .map_or(end, |again| Position { segment: again.number, offset: again.range.start });
        report.end = end;
        // A mark at an entry protects more than one at a header: if the next segment does not exist
        // yet, the end of the one before is named.
        let marked = match (append_at, kept.last()) {
            (AppendAt::NewSegment(_), Some(last)) => Position { segment: last.number, offset: last.bytes },
            _ => end,
        };
        if let Some(mark) = control.as_mut().filter(|_| !report.pending) {
            if let Err(error) = mark.write_both(marked, reading.trail.witnesses()) {
                tracing::warn!(%error, "cannot write the durable mark");
            }
        }
        let start = Start {
            storage,
            lock,
            options,
            kept,
            append_at,
            durable,
            mark: control,
            trail: reading.trail,
            repair: report.pending.then_some(plan),
            corruptions: report.gaps.len() as u64 + u64::from(reading.fault.is_some()),
        };
        let wal = Wal::start(start)?;
        tracing::info!(
            segment = end.segment,
            offset = end.offset,
            entries = report.stats.entries,
            bytes = total_bytes,
            verdict = %report.verdict,
            took_ms = millis_since(began),
            "log opened"
        );
        Ok((wal, reading.report))
    }
}

/// Reads a log and tells what opening it in `mode` would do. Changes nothing, takes no lock, and works
/// on a read-only file system.
///
/// # Errors
/// When the directory or a file cannot be read. A log that the mode would refuse is no error here: the
/// report says `refused`.
pub fn inspect(dir: &Path, mode: RecoveryMode) -> Result<RecoveryReport> {
    inspect_with_progress(dir, mode, &ReadProgress::default())
}

/// Like [`inspect`], for a log that takes a while: `progress`, a fresh one, tells other threads how far it has been
/// read. Its total is 0 until the directory has been looked at.
///
/// # Errors
/// As for [`inspect`].
pub fn inspect_with_progress(
    dir: &Path,
    mode: RecoveryMode,
    progress: &ReadProgress,
) -> Result<RecoveryReport> {
    wal::require_directory(dir)?;
    let storage: Arc<dyn Storage> = Arc::new(OsStorage::new(dir, Modes::default()));
    let view = View::read(storage)?;
    if let Some(fault) = find_unsupported(&view)? {
        return Ok(RecoveryReport {
            mode,
            verdict: fault.verdict,
            fault: Some(fault),
            refused: true,
            leftovers: view.others,
            mark: view.mark_status,
            ..RecoveryReport::default()
        });
    }
    let options = WalOptions::default().recovery_mode(mode);
    progress.expect(view.bytes());
    let mut reading = read(&view, &options, progress, &mut ())?;
    if refused(&reading, mode).is_some() {
        reading.report.refused = true;
        return Ok(reading.report);
    }
    let (plan, append_at, _) = plan(&view, &mut reading)?;
    reading.report.quarantined = plan.preview();
    reading.report.end = append_at.position();
    Ok(reading.report)
}

/// The fault that the mode does not allow to repair.
fn refused(reading: &Reading, mode: RecoveryMode) -> Option<&Fault> {
    reading.fault.as_ref().filter(|fault| decide::action(mode, fault.verdict) == Action::Refuse)
}

/// An unsupported segment anywhere forbids any change, so it is looked for before anything else.
fn find_unsupported(view: &View) -> Result<Option<Fault>> {
    for segment in &view.segments {
        let failed = |error| Error::file("read", view.storage.path(&segment.name), error);
        if !segment.regular {
            return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")));
        }
        let file = view.storage.open(&segment.name, Access::Read).map_err(failed)?;
        let len = file.len().map_err(failed)?;
        if let Some(reason @ Reason::UnsupportedVersion(_)) = header::check(&*file, len).map_err(failed)? {
            let at = Position { segment: segment.number, offset: 4 };
            return Ok(Some(Fault { at, reason, verdict: Verdict::Unsupported, entry_behind: None }));
        }
    }
    Ok(None)
}

/// One pass over the log: entries to the sink, facts to the reading.
fn read(
    view: &View,
    options: &WalOptions,
    progress: &ReadProgress,
    sink: &mut impl ReplaySink,
) -> Result<Reading> {
    let mode = options.recovery_mode;
    let scan_options = ScanOptions {
        skip_damaged: mode == RecoveryMode::SkipDamaged,
        entry_bytes_max: options.read_entry_bytes_max,
        method: options.read_method,
        live: false,
        from: None,
    };
    let mut scan = Scan::new(view, scan_options)?;
    let mut reading = Reading {
        report: RecoveryReport { mode, leftovers: view.others.clone(), ..RecoveryReport::default() },
        segments: Vec::new(),
        fault: None,
        trail: Trail::default(),
        trail_before: Trail::default(),
    };
    let wants_samples = sink.wants_samples();
    let mut decoder = Decoder::new(wants_samples);
    let mut stats = SegmentStats::default();
    let mut gaps = Vec::new();
    let threads = match options.read_method {
        ReadMethod::Positioned => options.replay_threads,
        _ => 1,
    };
    let mut piped = None;
    let mut meter = Meter::new(progress);
    loop {
        // Clean stretches go through the pipeline; whatever it does not understand stays for the scan,
        // and so does the rest of that segment.
        let segment = scan.position().map(|at| at.segment);
        if 1 < threads && segment.is_some() && segment != piped {
            piped = segment;
            let found = Found {
                stats: &mut stats,
                trail: &mut reading.trail,
                report: &mut reading.report,
                meter: &meter,
            };
            pipeline::run(&mut scan, view, options, wants_samples, found, sink)?;
        }
        match scan.advance()? {
            None => break,
            Some(Event::Entry) => {
                let (at, entry) = scan.entry()?;
                reading.trail.push(at.offset + entry_bytes(&entry), entry.checksum);
                if let Err(error) = decoder.deliver(at, &entry, &mut stats, sink) {
                    refuse_malformed(options, view, at, &error)?;
                    reading.report.add_malformed(at);
                }
                meter.read_to(at.offset);
            }
            Some(Event::Gap(gap, fault)) => {
                gaps.push(gap.from.offset..gap.to_offset);
                reading.report.gaps.push(gap);
                reading.report.fault.get_or_insert(fault);
            }
            Some(Event::SegmentEnd(finished)) => {
                meter.end_segment(finished.len);
                reading.end_segment(finished, &mut stats, &mut gaps, scan.has_more());
            }
            Some(Event::Fault(fault)) => {
                reading.report.fault.get_or_insert(fault);
                reading.fault = Some(fault);
                if let Some(finished) = scan.abandon(fault.reason) {
                    reading.end_segment(finished, &mut stats, &mut gaps, false);
                }
                break;
            }
        }
    }
    progress.finish();
    reading.report.mark = scan.mark_status;
    reading.report.verdict = reading.report.fault.map_or(Verdict::Clean, |fault| fault.verdict);
    Ok(reading)
}

impl Reading {
    fn end_segment(
        &mut self,
        finished: Finished,
        stats: &mut SegmentStats,
        gaps: &mut Vec<Range<u64>>,
        more: bool,
    ) {
        let stats = std::mem::take(stats);
        self.report.stats.merge(&stats);
        self.report.segments += 1;
        self.segments.push(ReadSegment { finished, stats, gaps: std::mem::take(gaps) });
        if more {
            self.trail_before = std::mem::take(&mut self.trail);
        }
    }
}

pub(crate) fn refuse_malformed(
    options: &WalOptions,
    view: &View,
    at: Position,
    error: &wal_format::DecodeError,
) -> Result<()> {
    if !options.strict_payloads {
        return Ok(());
    }
    let next = "nothing was changed; open without strict payloads to skip it";
    Err(Error::new(ErrorKind::Malformed, "an entry with a valid checksum does not decode", next)
        .with_path(view.storage.path(""))
        .with_position(at)
        .with_cause(error))
}

fn entry_bytes(entry: &wal_format::Entry<'_>) -> u64 {
    entry.payload.len() as u64 + layout::ENTRY_OVERHEAD_BYTES as u64
}

/// Opens the mark, and sees to it that intent and reserve exist, so that a full disk later finds them.
/// Without room the log works all the same, with less protection.
fn open_control_files(view: &View, append_at: AppendAt, options: &WalOptions) -> Result<Option<MarkFile>> {
    let storage = &*view.storage;
    let above = view.mark.as_ref().map_or(0, |mark| mark.counter);
    let without = |name: &str, error: io::Error| match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            tracing::warn!(file = name, %error, "no room for a control file");
            Ok(None)
        }
        _ => Err(Error::from(FileError::new("open", storage.path(name), error))),
    };
    let mark = match MarkFile::open(storage, above, append_at.position().segment) {
        Ok(mark) => Some(mark),
        // A mark that stays as it is while a repair cuts below it would call all that follows damage.
        Err(error) if view.mark.is_some() => {
            return Err(Error::file("open", storage.path(MARK_FILE), error));
        }
        Err(error) => without(MARK_FILE, error)?,
    };
    if let Err(error) = IntentFile::open(storage) {
        without(INTENT_FILE, error)?;
    }
    if let Err(error) = truncate::create_reserve(storage, options) {
        without(crate::view::RESERVE_FILE, error)?;
    }
    Ok(mark)
}

/// Removes what is half done, and sees to it first that no intent can come back which needs it.
fn remove_temporaries(view: &View) -> Result<()> {
    let storage = &*view.storage;
    let (rewritten, others): (Vec<_>, Vec<_>) =
        view.temporaries.iter().partition(|name| is_rewrite_name(name));
    for name in others {
        repair::remove_if_there(storage, name)?;
    }
    // DURABILITY: recovery-intent. Before temporaries that it may name go: an intent that comes back takes those
    // that are missing for segments put in place, and would have their sources removed.
    match intent::forget(storage) {
        // The next truncation tries again, before it makes its own.
        Err(error) if is_disk_full(&error) => {
            tracing::warn!(%error, "no room to clear the intent: temporaries are left");
            return Ok(());
        }
        other => other.map_err(|error| FileError::new("clear", storage.path(INTENT_FILE), error))?,
    }
    for name in rewritten {
        repair::remove_if_there(storage, name)?;
    }
    Ok(())
}

/// Makes every segment that stays durable where it is not known to be, before the first acknowledgement,
/// and before a mark that a repair writes names what is in it. Returns what of the last one found no room to
/// be written again.
fn make_durable(view: &View, kept: &[Kept], plan: &RepairPlan, mark: MarkStatus) -> Result<Option<Again>> {
    let storage = &*view.storage;
    let fitting = match mark {
        MarkStatus::Fits(at) => Some(at),
        _ => None,
    };
    let mut left = None;
    for segment in kept {
        // One that is written anew is durable when it takes its place. All others, also below a fitting mark:
        // the log may be a copy, mark and all, of one that was durable elsewhere. A file without changes costs
        // next to nothing to sync.
        if plan.rewrites_segment(segment.number) {
            continue;
        }
        let failed = |error| Error::file("make durable", storage.path(&segment.name), error);
        let file = storage.open(&segment.name, Access::Write).map_err(failed)?;
        let is_last = kept.last().is_some_and(|last| last.number == segment.number);
        // One that a backup shares was synced before it was.
        if is_last && file.links().map_err(failed)? < 2 {
            let from = match fitting {
                Some(at) if at.segment == segment.number => at.offset.min(segment.bytes),
                _ => 0,
            };
            let (name, number) = (segment.name.clone(), segment.number);
            let again = Again { name, number, range: from..segment.bytes };
            match repair::write_again(storage, &again) {
                Ok(()) => {}
                // Tried again with the rest of the repair, which then says so.
                Err(error) if error.is_disk_full() => left = Some(again),
                Err(error) => return Err(error.into()),
            }
            continue;
        }
        let failed = |error| FileError::new("sync", storage.path(&segment.name), error).of_sync();
        file.sync().map_err(failed)?;
    }
    Ok(left)
}

/// Makes all names durable that the log rests on: also those that an earlier process changed, moved into
/// quarantine above all, and died before its syncs.
fn sync_names(view: &View) -> Result<()> {
    let storage = &*view.storage;
    // DURABILITY: recovery-names. A segment that power loss brings back would stand before what is
    // acknowledged next.
    match storage.sync_folder(Folder::Quarantine) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => {
            return Err(FileError::new("sync", storage.path(QUARANTINE_FOLDER), error).of_sync().into());
        }
        Ok(()) => {}
    }
    repair::sync(storage, Folder::Log)?;
    Ok(())
}

/// Finishes a truncation that was cut short, as it was read: then segments bear their own names.
fn finish_pending_truncation(view: View, reading: &mut Reading) -> Result<View> {
    if view.intent.is_empty() {
        return Ok(view);
    }
    let storage = &*view.storage;
    let failed = |error| FileError::new("write", storage.path(INTENT_FILE), error);
    // Read from the cache, it may not be on the disk: who wrote it may have died before its sync.
    IntentFile::open(storage).and_then(|intent| intent.write(&view.intent)).map_err(failed)?;
    truncate::finish_intent(storage, &view.intent)?;
    let view = View::read(Arc::clone(&view.storage))?;
    for segment in &mut reading.segments {
        let file = &mut segment.finished.file;
        if let Some(found) = view.segments.iter().find(|found| found.number == file.number) {
            file.name.clone_from(&found.name);
        }
    }
    Ok(view)
}

fn report_events(reading: &Reading) {
    let report = &reading.report;
    if let Some(fault) = &report.fault {
        tracing::warn!(
            segment = fault.at.segment,
            offset = fault.at.offset,
            %fault,
            mode = %report.mode,
            "log is not clean; repairing"
        );
    }
    if let MarkStatus::DoesNotFit(at) = report.mark {
        tracing::warn!(
            segment = at.segment,
            offset = at.offset,
            "the durable mark does not belong to this log"
        );
    }
    if report.malformed_count != 0 {
        tracing::warn!(count = report.malformed_count, "entries do not decode; skipped");
    }
    for name in &report.leftovers {
        tracing::warn!(name = %name, "unknown name in the log directory; left alone");
    }
}

fn fault_path(view: &View, fault: &Fault) -> std::path::PathBuf {
    let file = view.segments.iter().find(|file| file.number == fault.at.segment);
    view.storage.path(file.map_or("", |file| &file.name))
}
