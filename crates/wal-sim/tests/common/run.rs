//! Runs a history on a simulated disk, and keeps the oracle's books.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use wal_engine::{ErrorKind, MarkStatus, Reason, RecoveryMode, RecoveryReport, Verdict, Wal, WalOptions};
use wal_segment::Storage;
use wal_segment::dir::segment_number;
use wal_sim::{Broken, Call, Defect, Disk, Fault, Oracle, Outcome, SimDisk};

use super::entry::{Entry, Found, keep, time_ms};
use super::history::{Op, Rot};

/// How a broken promise begins, unlike an error that the log may return.
pub const BROKEN: &str = "broken";

/// So much larger than what there is to read a buffer may be: one of fixed size, for a header or the mark.
const OVERREAD_MAX: usize = 1024;

/// What the log owes.
#[derive(Clone, Debug, Default)]
pub struct Promise {
    pub oracle: Oracle<Entry>,
    /// The disk was damaged, and not by a crash: the log may say so.
    pub damaged: bool,
    /// A sync was made to fail. If it was the mark's, the log went on, and the mark may be in a segment before.
    pub mark_may_lag: bool,
    /// Files that a backup shares with the log: these bytes stay, whatever the log does.
    pub shared: Arc<Vec<(PathBuf, Vec<u8>)>>,
}

pub type Books = Arc<Mutex<Promise>>;

/// The disk and the promise at one moment.
#[derive(Clone, Debug, Default)]
pub struct Moment {
    pub disk: Disk,
    pub promise: Promise,
}

/// A log on a disk, with its books.
pub struct Run {
    pub sim: SimDisk,
    pub books: Books,
    pub moments: Arc<Mutex<Vec<Moment>>>,
    options: WalOptions,
    defect: Defect,
    wal: Option<Wal>,
    /// Torn tails that the log took for damage, as [`is_unmarked_hole`] allows.
    pub called_damage: u64,
    /// Recoveries that cut something.
    pub repaired: u64,
    /// Calls may fail: on a full disk, or because one was told to.
    tolerant: bool,
    /// A truncation was left half way; what it left is known when the log is opened again.
    unsettled: bool,
    saved_mark: Option<Vec<u8>>,
    /// The call that is to go wrong, wherever in the history it comes.
    fault: Option<Fault>,
    /// It did, in a life before this one.
    met_before_life: bool,
    /// The mode in which the log was opened.
    mode: RecoveryMode,
    /// Faults that were met before the log was opened.
    met_before: usize,
}

impl Run {
    pub fn new(from: Moment, options: &WalOptions, defect: Defect) -> Self {
        Self {
            sim: SimDisk::new(from.disk),
            books: Arc::new(Mutex::new(from.promise)),
            moments: Arc::default(),
            options: options.clone(),
            defect,
            wal: None,
            called_damage: 0,
            repaired: 0,
            tolerant: false,
            unsettled: false,
            saved_mark: None,
            fault: None,
            met_before_life: false,
            mode: RecoveryMode::default(),
            met_before: 0,
        }
    }

    /// Keeps the disk and the promise at every call that changes the disk.
    pub fn record(&self) {
        let (books, moments) = (Arc::clone(&self.books), Arc::clone(&self.moments));
        self.sim.watch(Box::new(move |disk| {
            let promise = books.lock().unwrap().clone();
            moments.lock().unwrap().push(Moment { disk: disk.clone(), promise });
        }));
    }

    /// Everything kept, and the last moment; the log is gone then.
    pub fn take_moments(&mut self) -> Vec<Moment> {
        let last = self.moment();
        self.sim.switch_off();
        self.wal = None;
        let mut moments = std::mem::take(&mut *self.moments.lock().unwrap());
        moments.push(last);
        moments
    }

    pub fn moment(&self) -> Moment {
        Moment { disk: self.sim.disk(), promise: self.books.lock().unwrap().clone() }
    }

    /// Opens the log and judges what comes back; from then on exactly that must.
    pub fn open(&mut self) -> Result<(), String> {
        self.open_or_refuse()?.map_or(Ok(()), |error| Err(format!("cannot open: {error}")))
    }

    /// The same, on a disk that fails: an error of the log is no broken promise, so it is returned.
    pub fn open_or_refuse(&mut self) -> Result<Option<wal_engine::Error>, String> {
        let sim = Arc::new(self.sim.clone());
        let storage: Arc<dyn Storage> = match self.defect {
            Defect::None => sim,
            defect => Arc::new(Broken::new(sim, defect)),
        };
        let before = self.sim.disk();
        (self.unsettled, self.met_before) = (false, self.sim.met_count());
        let first_moment = self.moments.lock().unwrap().len();
        let mut found = Found::default();
        let mut opened = open_with(&storage, &self.options, &mut found);
        if opened.as_ref().is_err_and(|error| error.kind() == ErrorKind::Damaged) {
            // A mode that refuses damage must leave it as it is, for the mode that does not.
            if self.sim.disk().log_fingerprint() != before.log_fingerprint() {
                return Err(format!("{BROKEN}: a log was refused, and changed all the same"));
            }
            found = Found::default();
            let options = self.options.clone().recovery_mode(RecoveryMode::PointInTime);
            opened = open_with(&storage, &options, &mut found);
        }
        let overread = self.sim.overread();
        if OVERREAD_MAX < overread {
            return Err(format!("{BROKEN}: memory for {overread} bytes that are not there"));
        }
        let (wal, report) = match opened {
            Ok(opened) => opened,
            Err(error) => return Ok(Some(error)),
        };
        let damaged = self.promise().damaged;
        let is_unmarked_hole = is_unmarked_hole(&report, self.promise().mark_may_lag);
        let skips_hole = report.mode == RecoveryMode::SkipDamaged && !damaged && is_unmarked_hole;
        let judged = match skips_hole {
            true => self.promise().oracle.check_with_gaps(&found.0),
            false => self.promise().oracle.check(&found.0),
        };
        judged.map_err(|what| format!("{BROKEN}: {what}"))?;
        if report.verdict == Verdict::Damaged && !damaged {
            if !is_unmarked_hole {
                return Err(format!(
                    "{BROKEN}: a crash is called damage: {:?}, mark {}",
                    report.fault, report.mark
                ));
            }
            self.called_damage += 1;
            // Damage stays damage until its repair is done: power loss within it may be told the same.
            for moment in self.moments.lock().unwrap().iter_mut().skip(first_moment) {
                moment.promise.damaged = true;
            }
        }
        {
            let mut promise = self.promise();
            // Where the disk is full, what shows may not be written again yet.
            match report.pending {
                true => promise.oracle.came_back(found.0),
                false => promise.oracle = Oracle::exactly(found.0),
            }
            // What was not repaired for want of space is found again.
            promise.damaged &= report.pending;
        }
        self.judge_outside()?;
        self.wal = Some(wal);
        self.mode = report.mode;
        self.repaired += u64::from(report.cut_at.is_some() || !report.quarantined.is_empty());
        Ok(None)
    }

    /// The same, on a disk where nothing is pending: what is read must come back from then on, whatever
    /// becomes of the recovery itself.
    pub fn open_as_read(&mut self) -> Result<(), String> {
        self.open()?;
        let exactly = self.promise().clone();
        for moment in self.moments.lock().unwrap().iter_mut() {
            moment.promise.oracle = exactly.oracle.clone();
        }
        Ok(())
    }

    /// Goes on with the log for a while.
    pub fn go_on(&mut self, ops: &[Op]) -> Result<(), String> {
        ops.iter().try_for_each(|op| self.step(*op))
    }

    /// Does one thing. Errors of the log are errors, unless the history is at a place where calls fail.
    pub fn step(&mut self, op: Op) -> Result<(), String> {
        match self.try_step(op) {
            Err(what) if self.tolerant && !what.starts_with(BROKEN) => {
                // Whatever is on the disk, the way out is to open the log again.
                if !self.is_open() {
                    self.open()?;
                }
                Ok(())
            }
            other => other,
        }
    }

    /// The same, and tells what the log says.
    pub fn try_step(&mut self, op: Op) -> Result<(), String> {
        match op {
            Op::Append(entry) => self.append(entry),
            Op::Commit => self.commit(),
            Op::Truncate(id) => self.truncate(id),
            Op::Reopen => self.reopen(|_| Ok(())),
            Op::Kill => {
                self.tolerant = self.sim.disk().is_limited();
                self.kill_and_open()
            }
            Op::Rot(nth, rot) => self.reopen(|run| run.rot(nth, rot)),
            Op::Full(sectors) => {
                self.sim.limit(Some(self.sim.disk().sectors_in_use() + usize::from(sectors)));
                self.tolerant = true;
                Ok(())
            }
            Op::Room => {
                self.sim.limit(None);
                self.tolerant = false;
                Ok(())
            }
            Op::FailSync(nth, for_good) => {
                let nth = u64::from(nth);
                self.promise().mark_may_lag = true;
                self.sim.fail(Fault { call: Call::Sync, nth, for_good, outcome: Outcome::Forget(5) });
                self.tolerant = true;
                Ok(())
            }
            Op::SaveMark => {
                self.saved_mark = self.sim.disk().contents("durable");
                Ok(())
            }
            Op::OldMark => self.reopen(|run| {
                let mut disk = run.sim.disk();
                let none = vec![0; 1024];
                disk.put("durable", run.saved_mark.as_ref().unwrap_or(&none));
                run.start_on(disk);
                Ok(())
            }),
            Op::Backup => self.backup(),
        }
    }

    fn append(&mut self, entry: Entry) -> Result<(), String> {
        self.promise().oracle.append(&entry);
        entry.log(self.wal()).map(|_| ()).map_err(|error| {
            self.promise().oracle.refuse();
            told("append", &error)
        })
    }

    fn commit(&mut self) -> Result<(), String> {
        let end = self.wal().end();
        self.wal().commit(end).map_err(|error| told("commit", &error))?;
        let durable = self.promise().oracle.is_durable();
        if !durable && let Some(name) = self.failed_sync() {
            return Err(format!("{BROKEN}: acknowledged after the sync of {name:?} had failed"));
        }
        self.promise().oracle.acknowledge();
        Ok(())
    }

    /// A segment or the log directory whose sync failed since the log was opened.
    fn failed_sync(&self) -> Option<String> {
        if self.sim.met_count() == self.met_before {
            return None;
        }
        let met = self.sim.met().into_iter().skip(self.met_before);
        met.filter(|(call, name)| match call {
            Call::Sync => wal_segment::dir::segment_number(name).is_some(),
            Call::SyncFolder => name.is_empty(),
            _ => false,
        })
        .map(|(_, name)| name)
        .next()
    }

    /// Closes the log, does something to the disk, and opens it again.
    fn reopen(&mut self, between: impl FnOnce(&mut Self) -> Result<(), String>) -> Result<(), String> {
        self.wal.take().unwrap().close().map_err(|error| told("close", &error))?;
        if let Some(name) = self.failed_sync().filter(|_| !self.promise().oracle.is_durable()) {
            return Err(format!("{BROKEN}: closed in peace after the sync of {name:?} had failed"));
        }
        self.promise().oracle.acknowledge();
        between(self)?;
        self.open()
    }

    fn rot(&mut self, nth: u16, rot: Rot) -> Result<(), String> {
        // What closing could not make durable would not be told from a torn write.
        if self.has_met_fault() {
            return Ok(());
        }
        let mut disk = self.sim.disk();
        let touched = super::rot::damage(&mut disk, nth, rot);
        let entries = self.promise().oracle.entries().to_vec();
        let first = touched.first().copied().unwrap_or(entries.len());
        let skips = self.mode == RecoveryMode::SkipDamaged;
        let stays = |index: usize| if skips { !touched.contains(&index) } else { index < first };
        let left = (0..entries.len()).filter(|index| stays(*index)).map(|index| entries[index]);
        let left = Oracle::exactly(left.collect());
        {
            let mut promise = self.promise();
            promise.oracle = left;
            promise.damaged = true;
        }
        self.start_on(disk);
        Ok(())
    }

    /// Has a call go wrong, counted over all lives that the history has.
    pub fn fail(&mut self, fault: Fault) {
        self.sim.fail(fault);
        self.fault = Some(fault);
    }

    pub fn fail_no_more(&mut self) {
        self.fault = None;
    }

    pub fn has_met_fault(&self) -> bool {
        self.fault.is_some_and(|fault| fault.nth <= self.sim.count(fault.call)) || self.met_before_life
    }

    /// Another machine has the disk now.
    fn start_on(&mut self, disk: Disk) {
        self.sim.switch_off();
        let old = std::mem::replace(&mut self.sim, SimDisk::new(disk));
        if let Some(fault) = &mut self.fault {
            let count = old.count(fault.call);
            self.met_before_life |= fault.nth <= count;
            fault.nth = fault.nth.saturating_sub(count);
            if fault.nth != 0 {
                self.sim.fail(*fault);
            }
        }
        if !self.moments.lock().unwrap().is_empty() {
            self.record();
        }
    }

    /// Copies the log while it runs, and opens the copy.
    fn backup(&mut self) -> Result<(), String> {
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("copy");
        self.wal().backup(&to).map_err(|error| told("backup", &error))?;
        self.promise().oracle.acknowledge();
        let mut copy = Disk::new();
        for file in std::fs::read_dir(&to).unwrap() {
            let file = file.unwrap();
            copy.put(file.file_name().to_str().unwrap(), &std::fs::read(file.path()).unwrap());
        }
        let disk = self.sim.disk();
        let shared: Vec<(PathBuf, Vec<u8>)> =
            disk.outside().map(|(path, bytes)| (path.to_path_buf(), bytes)).collect();
        for (path, bytes) in shared.iter().filter(|(path, _)| path.starts_with(&to)) {
            copy.put(path.file_name().unwrap().to_str().unwrap(), bytes);
        }
        let promise = Promise { oracle: self.promise().oracle.clone(), ..Promise::default() };
        let mut other = Run::new(Moment { disk: copy, promise }, &self.options, Defect::None);
        other.open().map_err(|what| format!("{BROKEN}: the backup: {what}"))?;
        self.promise().shared = Arc::new(shared);
        Ok(())
    }

    /// What a backup shares with the log is as it was when it was taken.
    fn judge_outside(&self) -> Result<(), String> {
        let shared = Arc::clone(&self.promise().shared);
        let disk = self.sim.disk();
        for (path, bytes) in disk.outside() {
            if let Some((_, then)) = shared.iter().find(|(known, _)| known == path)
                && *then != bytes
            {
                return Err(format!("{BROKEN}: the backup's {} was changed", path.display()));
            }
        }
        Ok(())
    }

    /// The process dies and another opens the log on the running machine.
    pub fn kill_and_open(&mut self) -> Result<(), String> {
        let disk = self.sim.disk();
        self.sim.switch_off();
        self.wal = None;
        // What the books may hold when the next process dies in its turn follows from the same promise.
        self.start_on(disk);
        self.open()
    }

    /// Whatever was full is not any more.
    pub fn make_room(&mut self) {
        self.sim.limit(None);
        self.tolerant = false;
    }

    /// Lets go of the log without closing it.
    pub fn drop_log(&mut self) {
        self.wal = None;
    }

    pub fn is_open(&self) -> bool {
        self.wal.is_some()
    }

    fn promise(&self) -> MutexGuard<'_, Promise> {
        self.books.lock().unwrap()
    }

    fn wal(&self) -> &Wal {
        self.wal.as_ref().unwrap()
    }

    /// Truncates. The model of it: segments before the last one whose samples are all old give way to what
    /// is kept of them; on a full disk to any part of that.
    fn truncate(&mut self, id: u32) -> Result<(), String> {
        if self.unsettled {
            return Ok(());
        }
        let mint_ms = time_ms(id);
        // The next one may not be there yet, and one that is may hold nothing durable yet.
        let named = self.sim.disk().list().filter_map(|(name, _)| segment_number(name)).max();
        let active = self.wal().durable_position().segment.max(named.unwrap_or(0));
        let entries = self.promise().oracle.entries().to_vec();
        let mut segments: Vec<u64> =
            super::rot::places(&self.sim.disk()).iter().map(|place| place.segment).collect();
        // What is still in memory is in no finished segment.
        segments.resize(entries.len(), active);
        let within =
            |segment: u64| entries.iter().zip(&segments).filter(move |(_, place)| **place == segment);
        let is_old = |segment: u64| {
            within(segment).all(|(entry, _)| match entry {
                Entry::Samples { id, .. } => time_ms(*id) < mint_ms,
                _ => true,
            })
        };
        let mut old: Vec<u64> =
            segments.iter().copied().filter(|segment| *segment < active && is_old(*segment)).collect();
        old.dedup();
        // Every part of them, the whole last; where calls do not fail, the whole only.
        let whole = (1_u32 << old.len().min(PARTS_MAX)) - 1;
        let may_fail = self.tolerant || self.fault.is_some();
        let parts = if may_fail { 1..whole + 1 } else { whole..whole + 1 };
        let changes: Vec<_> = parts
            .map(|part| {
                let (entries, segments, old) = (&entries, &segments, &old);
                move |entry: &Entry| {
                    let segment = segments[entries.iter().position(|known| known == entry)?];
                    let index = old.iter().position(|number| *number == segment);
                    let goes = index.is_some_and(|index| PARTS_MAX <= index || part >> index & 1 == 1);
                    if goes { entry.truncated(mint_ms) } else { Some(*entry) }
                }
            })
            .collect();
        if changes.is_empty() {
            return Ok(());
        }
        self.promise().oracle.may_become_one_of(&changes);
        let had_reserve = self.sim.disk().contents("reserve").is_some();
        let truncated = self.wal().truncate(mint_ms, keep);
        // The reserve is larger than these logs: once it is given back there is room for what is kept.
        let relieves = had_reserve && self.sim.met_count() == self.met_before && !old.is_empty();
        let is_short = match &truncated {
            Ok(report) => report.segments_deferred != 0,
            Err(error) => error.kind() == ErrorKind::DiskFull,
        };
        if relieves && is_short {
            return Err(format!(
                "{BROKEN}: no room for a truncation though there was a reserve: {truncated:?}"
            ));
        }
        match truncated {
            Ok(report) if report.segments_deferred == 0 && !may_fail => self.promise().oracle.has_become(),
            Ok(_) => self.unsettled = true,
            Err(error) => {
                self.unsettled = true;
                return Err(told("truncate", &error));
            }
        }
        Ok(())
    }
}

/// So many old segments are left in any combination by a truncation that stops half way; others go for sure.
const PARTS_MAX: usize = 6;

/// An error of the log as text, if it says what people need: where, and what to do next.
pub fn told(action: &str, error: &wal_engine::Error) -> String {
    let text = error.to_string();
    let is_helpful = text.contains("; next: ") && (text.contains('/') || error.kind() != ErrorKind::Io);
    let broken = if is_helpful { String::new() } else { format!("{BROKEN}: names no path or next step: ") };
    format!("{broken}{action}: {text}")
}

fn open_with(
    storage: &Arc<dyn Storage>,
    options: &WalOptions,
    found: &mut Found,
) -> wal_engine::Result<(Wal, RecoveryReport)> {
    Wal::open_storage(Arc::clone(storage), options.clone())?.replay(found)
}

/// A hole in a log that no mark vouches for, with entries behind it: the log cannot tell it from rot, and
/// errs on the side of damage. Nothing durable is lost by that.
fn is_unmarked_hole(report: &RecoveryReport, mark_may_lag: bool) -> bool {
    let Some(fault) = report.fault else { return false };
    let is_marked = match report.mark {
        MarkStatus::Fits(at) if mark_may_lag && at.segment < fault.at.segment => false,
        // A repair of it that was cut short left its mark at the fault.
        MarkStatus::Fits(at) => at != fault.at,
        _ => false,
    };
    matches!(fault.reason, Reason::Entry(_)) && fault.entry_behind.is_some() && !is_marked
}
