//! Truncation: old segments give way to what is still needed of them, all at once or not at all.

use std::fmt;
use std::io;

use wal_segment::error::is_disk_full;
use wal_segment::storage::write_all_at;
use wal_segment::{Fault, FileError, Folder, Listing, Replace, Storage};
use wal_types::SeriesRef;

use crate::append::Condition;
use crate::error::{Error, ErrorKind, Result};
use crate::intent::{self, INTENT_FILE, IntentFile, IntentStep, STEPS_MAX, rewrite_name};
use crate::io::poison;
use crate::options::WalOptions;
use crate::plan::Kept;
use crate::progress::{Meter, ReadProgress};
use crate::repair::{remove_if_there, sync};
use crate::rewrite::{Output, Run, SegmentOutcome, Temporaries, name_of};
use crate::shared::Shared;
use crate::view::RESERVE_FILE;

/// The least and the most that is held for a full disk, in bytes; between them, as much as is prepared at once.
///
/// The room for the bytes of a small file is not enough to make one: full, xfs gives out no name with less than
/// 192 KiB free, and btrfs with data and metadata in the same blocks none with less than 1 MiB.
const RESERVE_BYTES_MIN: u64 = 64 << 10;
const RESERVE_BYTES_MAX: u64 = 1 << 20;

/// What a truncation did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TruncateReport {
    /// Segment files that are gone.
    pub segments_removed: u64,
    /// Segment files that were written anew with what is kept.
    pub segments_rewritten: u64,
    /// Series items kept.
    pub series_kept: u64,
    /// Series items dropped.
    pub series_dropped: u64,
    /// Delete rows kept.
    pub deletes_kept: u64,
    /// Delete rows dropped.
    pub deletes_dropped: u64,
    /// Bytes of segment files before, less those after.
    pub bytes_freed: u64,
    /// Old segments that could not be read to their end: left as they are.
    pub damaged: Vec<Fault>,
    /// Old segments left for another time, for want of space to write what is kept of them.
    pub segments_deferred: u64,
}

impl fmt::Display for TruncateReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "segments: {} removed, {} rewritten", self.segments_removed, self.segments_rewritten)?;
        writeln!(f, "series: {} kept, {} dropped", self.series_kept, self.series_dropped)?;
        writeln!(f, "deletes: {} kept, {} dropped", self.deletes_kept, self.deletes_dropped)?;
        writeln!(f, "bytes freed: {}", self.bytes_freed)?;
        for fault in &self.damaged {
            writeln!(f, "left alone: {fault}")?;
        }
        if self.segments_deferred != 0 {
            writeln!(f, "left for want of space: {} segments", self.segments_deferred)?;
        }
        Ok(())
    }
}

/// Truncates. The caller holds the gate, so the sealed segments change under nobody else's hands.
pub(crate) fn run(
    shared: &Shared,
    mint_ms: i64,
    progress: &ReadProgress,
    mut keep: impl FnMut(SeriesRef) -> bool,
) -> Result<TruncateReport> {
    let stalled = {
        let appender = shared.appender.lock();
        match &appender.condition {
            Condition::Poisoned(cause) => return Err(Error::poisoned(cause)),
            condition => matches!(condition, Condition::Stalled),
        }
    };
    if stalled {
        relieve(shared);
    }
    let mut report = TruncateReport::default();
    let mut waiting = candidates(shared, mint_ms);
    progress.expect(waiting.iter().flatten().map(|segment| segment.bytes).sum());
    let mut tight = stalled;
    if !waiting.is_empty() {
        tight |= forget_old_intent(shared)?;
    }
    loop {
        let passed =
            pass(shared, waiting, mint_ms, tight, &mut Meter::new(progress), &mut keep, &mut report)?;
        waiting = passed.waiting;
        let Some(full) = passed.full else { break };
        if !passed.progressed && tight {
            if report == TruncateReport::default() {
                return Err(full);
            }
            report.segments_deferred = waiting.iter().map(|run| run.len() as u64).sum();
            break;
        }
        if !tight {
            relieve(shared);
            tight = true;
        }
    }
    // There may be room now; if not, everything stays as it was.
    if tight && shared.io.lock().flush(shared, true).is_ok() {
        let _ = create_reserve(&*shared.storage, &shared.options);
    }
    Ok(report)
}

/// Sees to it, at the latest now, that no older intent can come back; whether space was given back for that.
fn forget_old_intent(shared: &Shared) -> Result<bool> {
    let storage = &*shared.storage;
    // DURABILITY: truncate-old-intent. Before the first temporary has a name: an older intent names
    // temporaries alike, and what is half written would take a segment's place.
    let (relieved, forgotten) = match intent::forget(storage) {
        // Some file systems need room for what is there already, too; then opening the log found none either.
        Err(error) if is_disk_full(&error) => {
            relieve(shared);
            (true, intent::forget(storage))
        }
        forgotten => (false, forgotten),
    };
    forgotten.map_err(|error| Error::file("clear", storage.path(INTENT_FILE), error))?;
    Ok(relieved)
}

/// The sealed segments whose samples are all old, in runs of neighbours.
fn candidates(shared: &Shared, mint_ms: i64) -> Vec<Vec<Kept>> {
    let io = shared.io.lock();
    let limit = io.pending_from().unwrap_or(u64::MAX);
    let mut runs: Vec<Vec<Kept>> = Vec::new();
    let mut adjacent = false;
    for segment in &io.sealed {
        let old = segment.stats.is_older_than(mint_ms) && segment.number < limit;
        if old {
            match runs.last_mut() {
                Some(run) if adjacent => run.push(segment.clone()),
                _ => runs.push(vec![segment.clone()]),
            }
        }
        adjacent = old;
    }
    runs
}

/// What doing every run once came to.
struct Passed {
    /// Something was put in place, or a run became smaller ones.
    progressed: bool,
    /// Runs that found no space.
    waiting: Vec<Vec<Kept>>,
    /// The error that said so.
    full: Option<Error>,
}

/// Does every run once. Where space is tight, each run gives its own back before the next one begins,
/// and a run that finds none is tried again in halves: each needs less at once.
fn pass(
    shared: &Shared,
    runs: Vec<Vec<Kept>>,
    mint_ms: i64,
    tight: bool,
    meter: &mut Meter<'_>,
    keep: &mut impl FnMut(SeriesRef) -> bool,
    report: &mut TruncateReport,
) -> Result<Passed> {
    let mut passed = Passed { progressed: false, waiting: Vec::new(), full: None };
    let mut batch: Vec<Run<'_>> = Vec::new();
    for mut segments in runs {
        match rewrite(shared, &segments, mint_ms, meter, keep) {
            Ok((rewritten, damaged)) => {
                report.damaged.extend(damaged);
                for run in rewritten {
                    if run.changes_nothing() {
                        report.series_kept += run.tally.series_kept;
                        report.deletes_kept += run.tally.deletes_kept;
                    } else {
                        batch.push(run);
                    }
                }
            }
            Err(error) if error.kind() == ErrorKind::DiskFull => {
                if tight && 1 < segments.len() {
                    passed.progressed = true;
                    passed.waiting.push(segments.split_off(segments.len() / 2));
                }
                passed.waiting.push(segments);
                passed.full = Some(error);
            }
            Err(error) => return Err(error),
        }
        // A run needs a step for each file it writes and one for those it removes.
        let steps = batch.iter().map(|run| run.outputs.len() + 1).sum::<usize>();
        if tight || STEPS_MAX / 2 < steps {
            put_batch(shared, std::mem::take(&mut batch), report, &mut passed)?;
        }
    }
    put_batch(shared, batch, report, &mut passed)?;
    Ok(passed)
}

/// Puts what was written in place. Where that finds no room either, as on a file system that writes also
/// what is there already to a new place, the runs wait.
fn put_batch(
    shared: &Shared,
    batch: Vec<Run<'_>>,
    report: &mut TruncateReport,
    passed: &mut Passed,
) -> Result<()> {
    if batch.is_empty() {
        return Ok(());
    }
    let segments: Vec<Vec<Kept>> = batch.iter().map(|run| run.segments.clone()).collect();
    match put_in_place(shared, batch, report) {
        Ok(()) => passed.progressed = true,
        Err(error) if error.kind() == ErrorKind::DiskFull => {
            passed.waiting.extend(segments);
            passed.full = Some(error);
        }
        Err(error) => return Err(error),
    }
    Ok(())
}

/// Writes what is kept of neighbouring segments. A damaged one among them splits the run, and so does one
/// that can stay as it is.
fn rewrite<'a>(
    shared: &'a Shared,
    segments: &[Kept],
    mint_ms: i64,
    meter: &mut Meter<'_>,
    keep: &mut impl FnMut(SeriesRef) -> bool,
) -> Result<(Vec<Run<'a>>, Vec<Fault>)> {
    let storage = &*shared.storage;
    let numbers = |from: usize| segments.iter().skip(from).map(|segment| segment.number).collect();
    let (size, limit) = (shared.options.segment_bytes_max, shared.options.read_entry_bytes_max);
    let mut runs = vec![Run::new(storage, numbers(0), size)];
    let mut damaged = Vec::new();
    for (index, segment) in segments.iter().enumerate() {
        let Some(run) = runs.last_mut() else { break };
        let splits = match run.take_in(segment, limit, mint_ms, meter, keep)? {
            SegmentOutcome::Done => false,
            SegmentOutcome::Whole => true,
            SegmentOutcome::LeftAlone(fault) => {
                tracing::warn!(
                    segment = fault.at.segment,
                    offset = fault.at.offset,
                    %fault,
                    "a damaged segment is left out of the truncation"
                );
                damaged.push(fault);
                true
            }
        };
        if splits {
            runs.push(Run::new(storage, numbers(index + 1), size));
        }
    }
    for output in runs.iter_mut().filter(|run| !run.changes_nothing()).flat_map(|run| &mut run.outputs) {
        let path = storage.path(&rewrite_name(output.number));
        output.finish().map_err(|error| Error::file("sync", path, error))?;
    }
    Ok((runs, damaged))
}

/// Lets the rewritten segments take the place of the old ones.
fn put_in_place(shared: &Shared, runs: Vec<Run<'_>>, report: &mut TruncateReport) -> Result<()> {
    let storage = &*shared.storage;
    let mut steps = Vec::new();
    let mut temporaries = Temporaries::new(storage);
    let mut changes: Vec<(Vec<Kept>, Vec<Kept>)> = Vec::new();
    let mut done = report.clone();
    for run in runs {
        let Run { segments, outputs, tally, temporaries: own, .. } = run;
        temporaries.absorb(own);
        steps.extend(outputs.iter().map(|output| IntentStep::Replace { number: output.number }));
        let gone = segments.get(outputs.len()..).unwrap_or_default();
        if let (Some(first), Some(last)) = (gone.first(), gone.last()) {
            steps.push(IntentStep::Remove { first: first.number, last: last.number });
        }
        let fresh: Vec<Kept> = outputs.iter().map(|output| kept(output, &segments)).collect();
        let bytes = |segments: &[Kept]| segments.iter().map(|segment| segment.bytes).sum::<u64>();
        done.segments_removed += gone.len() as u64;
        done.segments_rewritten += fresh.len() as u64;
        done.series_kept += tally.series_kept;
        done.series_dropped += tally.series_dropped;
        done.deletes_kept += tally.deletes_kept;
        done.deletes_dropped += tally.deletes_dropped;
        done.bytes_freed += bytes(&segments).saturating_sub(bytes(&fresh));
        changes.push((segments, fresh));
    }
    // DURABILITY: truncate-temporaries. Their names are durable before the intent can be: an intent
    // whose temporaries are gone would be taken for one half done, and lose them.
    sync(storage, Folder::Log).map_err(|error| poison(shared, error.into()))?;
    let failed = |error| Error::file("raise the durable mark in", storage.path(""), error);
    shared.io.lock().raise_mark(shared).map_err(failed)?;
    let failed = |error| Error::file("write", storage.path(INTENT_FILE), error);
    let intent = IntentFile::open(storage).map_err(failed)?;
    // DURABILITY: truncate-intent. Before it is whole, power loss leaves the old log; after, the new.
    if let Err(error) = intent.write(&steps) {
        let error = failed(error);
        if error.kind() == ErrorKind::DiskFull {
            // Clearing it is a write as well.
            relieve(shared);
        }
        return match intent.clear() {
            Ok(()) => Err(error),
            // It may be whole on disk: then the temporaries are the log, and must stay.
            Err(_) => {
                temporaries.keep();
                Err(poison(shared, error))
            }
        };
    }
    temporaries.keep();
    finish_intent(storage, &steps).map_err(|error| poison(shared, error.into()))?;
    let mut io = shared.io.lock();
    for (old, fresh) in changes {
        io.replace_sealed(&old, fresh);
    }
    io.count_disk(shared);
    *report = done;
    Ok(())
}

fn kept(output: &Output, segments: &[Kept]) -> Kept {
    Kept {
        number: output.number,
        name: name_of(output.number, segments),
        bytes: output.bytes(),
        stats: output.stats,
    }
}

/// Does what a whole intent says, from whatever step it was left at, and clears it.
pub(crate) fn finish_intent(
    storage: &dyn Storage,
    steps: &[IntentStep],
) -> std::result::Result<(), FileError> {
    if steps.is_empty() {
        return Ok(());
    }
    let failed = |action, name: &str| {
        let path = storage.path(name);
        move |error: io::Error| FileError::new(action, path, error)
    };
    let listing = Listing::read(storage, &[]).map_err(failed("read the log directory", ""))?;
    let name_of = |number| match listing.segments.iter().find(|segment| segment.number == number) {
        Some(segment) => segment.name.clone(),
        None => wal_segment::dir::segment_name(number),
    };
    for step in steps {
        if let IntentStep::Replace { number } = *step {
            let temporary = rewrite_name(number);
            // One that is gone has its place already.
            if listing.temporaries.contains(&temporary) {
                let name = name_of(number);
                let rename = || storage.rename(&temporary, &name, Replace::Allowed);
                // Even that takes room on some file systems. One that was refused has done nothing.
                let renamed = match rename() {
                    Err(error) if is_disk_full(&error) && storage.remove(RESERVE_FILE).is_ok() => rename(),
                    other => other,
                };
                renamed.map_err(failed("put in place", &temporary))?;
            }
        }
    }
    // DURABILITY: truncate-renames. The rewritten segments bear their names for good before any source
    // of theirs goes.
    sync(storage, Folder::Log)?;
    for step in steps {
        if let IntentStep::Remove { first, last } = *step {
            for segment in listing.segments.iter().filter(|s| first <= s.number && s.number <= last) {
                remove_if_there(storage, &segment.name)?;
            }
        }
    }
    // DURABILITY: truncate-removals. Before the intent goes, else a source could come back beside what
    // was made of it.
    sync(storage, Folder::Log)?;
    IntentFile::open(storage).and_then(|intent| intent.clear()).map_err(failed("clear", INTENT_FILE))
}

/// Gives back what is not needed yet, on a full disk.
fn relieve(shared: &Shared) {
    shared.discard_prepared();
    shared.io.lock().give_back_space();
    if let Err(error) = remove_if_there(&*shared.storage, RESERVE_FILE) {
        tracing::warn!(%error, "cannot give the reserve back");
    }
}

/// Makes the reserve, unless it is there: real bytes, so that giving it back frees something.
pub(crate) fn create_reserve(storage: &dyn Storage, options: &WalOptions) -> io::Result<()> {
    let file = match storage.create_new(RESERVE_FILE) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        other => other?,
    };
    let bytes = options.window_bytes.clamp(RESERVE_BYTES_MIN, RESERVE_BYTES_MAX);
    let zeros = vec![0; usize::try_from(bytes).unwrap_or_default()];
    let written = write_all_at(&*file, &zeros, 0).map_err(|(_, error)| error).and_then(|()| file.sync());
    if written.is_err() {
        let _ = storage.remove(RESERVE_FILE);
    }
    written
}
