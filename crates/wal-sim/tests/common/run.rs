//! Runs a history on a simulated disk, and keeps the oracle's books.

use std::sync::{Arc, Mutex, MutexGuard};

use wal_engine::{ErrorKind, MarkStatus, Reason, RecoveryMode, RecoveryReport, Verdict, Wal, WalOptions};
use wal_segment::Storage;
use wal_sim::{Broken, Defect, Disk, Oracle, SimDisk};

use super::entry::{Entry, Found, keep, time_ms};
use super::history::Op;

/// How a broken promise begins, unlike an error that the log may return.
pub const BROKEN: &str = "broken";

/// What the log owes.
#[derive(Clone, Debug, Default)]
pub struct Promise {
    pub oracle: Oracle<Entry>,
    /// The disk was damaged, and not by a crash: the log may say so.
    pub damaged: bool,
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
        let storage: Arc<dyn Storage> = match self.defect {
            Defect::None => Arc::new(self.sim.clone()),
            defect => Arc::new(Broken::new(Arc::new(self.sim.clone()), defect)),
        };
        let before = self.sim.disk();
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
        let (wal, report) = match opened {
            Ok(opened) => opened,
            Err(error) => return Ok(Some(error)),
        };
        self.promise().oracle.check(&found.0).map_err(|what| format!("{BROKEN}: {what}"))?;
        let damaged = self.promise().damaged;
        if report.verdict == Verdict::Damaged && !damaged {
            if !is_unmarked_hole(&report) {
                return Err(format!(
                    "{BROKEN}: a crash is called damage: {:?}, mark {}",
                    report.fault, report.mark
                ));
            }
            self.called_damage += 1;
        }
        *self.promise() = Promise { oracle: Oracle::exactly(found.0), damaged: false };
        self.wal = Some(wal);
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

    /// Does one thing. Errors of the log are errors.
    pub fn step(&mut self, op: Op) -> Result<(), String> {
        let told = |error: wal_engine::Error| format!("{op:?}: {error}");
        match op {
            Op::Append(entry) => {
                self.promise().oracle.append(&entry);
                if let Err(error) = entry.log(self.wal()) {
                    self.promise().oracle.refuse();
                    return Err(told(error));
                }
            }
            Op::Commit => {
                let end = self.wal().end();
                self.wal().commit(end).map_err(told)?;
                self.promise().oracle.acknowledge();
            }
            Op::Truncate(id) => {
                let mint_ms = time_ms(id);
                let left = self.left_by_truncation(mint_ms);
                self.promise().oracle.may_become(|entry| {
                    let index = left.iter().position(|(known, _)| known == entry)?;
                    left[index].1
                });
                self.wal().truncate(mint_ms, keep).map_err(told)?;
                self.promise().oracle.has_become();
            }
            Op::Reopen => {
                let wal = self.wal.take().unwrap();
                wal.close().map_err(told)?;
                self.promise().oracle.acknowledge();
                self.open()?;
            }
            Op::Kill => self.kill_and_open()?,
        }
        Ok(())
    }

    /// The process dies and another opens the log on the running machine.
    pub fn kill_and_open(&mut self) -> Result<(), String> {
        let disk = self.sim.disk();
        self.sim.switch_off();
        self.wal = None;
        self.sim = SimDisk::new(disk);
        // What the books may hold when the next process dies in its turn follows from the same promise.
        if !self.moments.lock().unwrap().is_empty() {
            self.record();
        }
        self.open()
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

    /// The model of truncation: segments before the last one whose samples are all old give way to what
    /// is kept of them. Each entry, and what is left of it.
    fn left_by_truncation(&self, mint_ms: i64) -> Vec<(Entry, Option<Entry>)> {
        let active = self.wal().durable_position().segment;
        let entries = self.promise().oracle.entries().to_vec();
        let mut places = segments_of(&self.sim.disk());
        // What is still in memory is in no finished segment.
        places.resize(entries.len(), active);
        let is_old = |segment: u64| {
            segment < active
                && entries.iter().zip(&places).filter(|(_, place)| **place == segment).all(|(entry, _)| {
                    match entry {
                        Entry::Samples { id, .. } => time_ms(*id) < mint_ms,
                        _ => true,
                    }
                })
        };
        let left = entries.iter().zip(&places).map(|(entry, segment)| {
            (*entry, if is_old(*segment) { entry.truncated(mint_ms) } else { Some(*entry) })
        });
        left.collect()
    }
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
fn is_unmarked_hole(report: &RecoveryReport) -> bool {
    let Some(fault) = report.fault else { return false };
    let marked = matches!(report.mark, MarkStatus::Fits(_));
    matches!(fault.reason, Reason::Entry(_)) && fault.entry_behind.is_some() && !marked
}

/// The segment of each entry on the disk, in order: read from the lengths in their frames.
fn segments_of(disk: &Disk) -> Vec<u64> {
    let mut numbers: Vec<u64> =
        disk.list().filter_map(|(name, _)| wal_segment::dir::segment_number(name)).collect();
    numbers.sort_unstable();
    let mut places = Vec::new();
    for number in numbers {
        let bytes = disk.contents(&wal_segment::dir::segment_name(number)).unwrap();
        let mut at = 8;
        while bytes.get(at).is_some_and(|kind| *kind != 0) {
            let Some(length) = bytes.get(at + 2..at + 6) else { break };
            at += 10 + u32::from_be_bytes(length.try_into().unwrap()) as usize;
            places.push(number);
        }
    }
    places
}
