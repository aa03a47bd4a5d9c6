//! The whole log on the simulated disk: appends, commits, truncations, readers and its own thread, a call that
//! fails among them, and then the power.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use shuttle::rand::{Rng as _, thread_rng};
use wal_segment::{Position, Preallocation, Storage};
use wal_sim::{Broken, Call, Defect, Disk, Fault, Outcome, Rng, SimDisk, Ways};
use wal_types::{Labels, Sample, Series, SeriesRef};

use super::pausing::Pausing;
use crate::sync::{self, Mutex};
use crate::{ErrorKind, ReadEvent, ReadOptions, ReplaySink, Wal, WalOptions, WalReader};

const APPENDERS: u64 = 2;
const ENTRIES: u32 = 4;
/// So late that no truncation drops it.
const LATE_MS: i64 = i64::MAX - 1;

fn options() -> WalOptions {
    WalOptions::default()
        .segment_bytes_max(150)
        .preallocation(Preallocation::None)
        .replay_threads(1)
        .flush_interval(Some(std::time::Duration::from_secs(1)))
}

/// What an appender may claim: so many entries were taken, and so many of them acknowledged.
#[derive(Clone, Copy, Debug, Default)]
struct Claim {
    acknowledged: u32,
    accepted: u32,
}

/// What came back of each appender, in log order, and the series.
#[derive(Debug, Default)]
struct Found {
    of: [Vec<f64>; APPENDERS as usize],
    series: Vec<u64>,
}

impl ReplaySink for Found {
    fn samples(&mut self, _: Position, batch: &[Sample]) {
        for sample in batch.iter().filter(|sample| sample.time_ms == LATE_MS) {
            self.of[usize::try_from(sample.series_ref.0).unwrap()].push(sample.value);
        }
    }

    fn series(&mut self, _: Position, batch: &crate::SeriesPayload<'_>) {
        self.series.extend(batch.iter().map(|series| series.series_ref.0));
    }
}

/// A disk with a log of three segments on it, two of them old.
fn begun() -> Disk {
    let sim = SimDisk::new(Disk::new());
    let options = options().background_thread(false);
    let (wal, _) = Wal::open_storage(Arc::new(sim.clone()), options).unwrap().replay(&mut ()).unwrap();
    let labels = Labels::from_pairs([("__name__", "up")]);
    wal.log_series(&[Series::new(7, labels)]).unwrap();
    for value in 0..6 {
        wal.log_samples(&[Sample { series_ref: SeriesRef(7), time_ms: 1, value: f64::from(value) }]).unwrap();
    }
    wal.close().unwrap();
    sim.disk()
}

/// Whether an operation of a log with a failing disk may end like this.
fn is_expected<T>(told: &crate::Result<T>) -> bool {
    let kinds = [ErrorKind::Poisoned, ErrorKind::Io, ErrorKind::DiskFull];
    told.as_ref().map_or_else(|error| kinds.contains(&error.kind()), |_| true)
}

fn append(wal: &Wal, sim: &SimDisk, appender: u64, claims: &Mutex<Vec<(Disk, u64, Claim)>>) -> Claim {
    let mut claim = Claim::default();
    for count in 0..ENTRIES {
        let sample = Sample { series_ref: SeriesRef(appender), time_ms: LATE_MS, value: f64::from(count) };
        let logged = wal.log_samples(&[sample]);
        assert!(is_expected(&logged), "{logged:?}");
        let Ok(end) = logged else { return claim };
        claim.accepted = count + 1;
        if thread_rng().gen_ratio(2, 3) {
            let told = wal.commit(end);
            assert!(is_expected(&told), "{told:?}");
            if told.is_ok() {
                claim.acknowledged = count + 1;
                // The disk of this moment is judged later: the yes must be true now.
                if thread_rng().gen_ratio(1, 8) {
                    claims.lock().push((sim.disk(), appender, claim));
                }
            }
        }
    }
    claim
}

/// Reads the log beside its writers; it must look whole.
fn read(sim: &Arc<dyn Storage>) {
    let Ok(mut reader) = WalReader::open_storage(Arc::clone(sim), ReadOptions::default()) else { return };
    loop {
        match reader.next() {
            Ok(Some(ReadEvent::Fault(fault))) => panic!("a reader found {fault}"),
            Ok(Some(_)) => {}
            Ok(None) => return,
            Err(error) => {
                // What it was about to read was truncated away.
                assert_eq!(error.kind(), ErrorKind::NoSuchPosition, "{error}");
                return;
            }
        }
    }
}

/// How often what the model is for came up.
#[derive(Debug, Default)]
pub(super) struct Tally {
    poisoned: AtomicU64,
    truncated: AtomicU64,
    rotated: AtomicU64,
}

impl Tally {
    fn note(&self, wal: &Wal) {
        let metrics = wal.metrics();
        for (count, happened) in [
            (&self.poisoned, metrics.poisoned == 1),
            (&self.truncated, metrics.truncations == 1),
            (&self.rotated, 0 < metrics.rotations),
        ] {
            count.fetch_add(u64::from(happened), Ordering::Relaxed);
        }
    }

    /// Whether each came up in a tenth of so many runs at least.
    pub(super) fn is_rich(&self, runs: u64) -> bool {
        [&self.poisoned, &self.truncated, &self.rotated]
            .into_iter()
            .all(|count| runs / 10 < count.load(Ordering::Relaxed))
    }
}

/// Some call fails, or none does.
fn drawn_fault() -> Option<Fault> {
    let mut rng = thread_rng();
    let (call, outcome) = match rng.gen_range(0..8) {
        0 | 1 => (Call::Sync, Outcome::Errno(5)),
        2 => (Call::Sync, Outcome::Forget(5)),
        3 => (Call::SyncFolder, Outcome::Errno(5)),
        4 => (Call::Rename, Outcome::Errno(5)),
        5 => (Call::Write, Outcome::Errno(28)),
        6 => (Call::Write, Outcome::Errno(5)),
        _ => return None,
    };
    Some(Fault { call, nth: rng.gen_range(1..16), for_good: false, outcome })
}

/// The power fails; what was acknowledged must come back, in order, and nothing else.
fn judge(disk: &Disk, claims: [(u32, u32); APPENDERS as usize]) {
    let mut rng = Rng::new(thread_rng().r#gen());
    let ways = Ways { all_up_to: 1, drawn: 3, garbage: true };
    let picks = ways.of(&disk.units(), &mut rng).pop().unwrap();
    let sim = SimDisk::new(disk.after_power_loss(&picks));
    let mut found = Found::default();
    let recovery = Wal::open_storage(Arc::new(sim), options().background_thread(false)).unwrap();
    recovery.replay(&mut found).unwrap();
    assert_eq!(found.series, [7], "the series is kept, once");
    for ((acknowledged, accepted), found) in claims.into_iter().zip(&found.of) {
        let count = u32::try_from(found.len()).unwrap();
        assert_eq!(found, &(0..count).map(f64::from).collect::<Vec<_>>());
        assert!(acknowledged <= count, "{acknowledged} were acknowledged, {count} came back");
        assert!(count <= accepted, "{accepted} were accepted, {count} came back");
    }
}

/// All of it, on a disk that keeps its contract, or not.
pub(super) fn everything_at_once(defect: Defect, tally: &Tally) {
    let sim = SimDisk::new(begun());
    let disk: Arc<dyn Storage> = Arc::new(Pausing(Arc::new(Broken::new(Arc::new(sim.clone()), defect))));
    let recovery = Wal::open_storage(Arc::clone(&disk), options()).unwrap();
    let (wal, _) = recovery.replay(&mut ()).unwrap();
    let wal = Arc::new(wal);
    if let Some(fault) = drawn_fault() {
        sim.fail(fault);
    }
    let seen = Arc::new(Mutex::new(Vec::new()));
    let claims = Arc::new(Mutex::new([Claim::default(); APPENDERS as usize]));
    let mut threads: Vec<_> = (0..APPENDERS)
        .map(|appender| {
            let (wal, sim) = (Arc::clone(&wal), sim.clone());
            let (seen, claims) = (Arc::clone(&seen), Arc::clone(&claims));
            sync::spawn("appender", move || {
                let claim = append(&wal, &sim, appender, &seen);
                claims.lock()[usize::try_from(appender).unwrap()] = claim;
            })
        })
        .collect();
    threads.push(sync::spawn("truncation", {
        let wal = Arc::clone(&wal);
        move || {
            let told = wal.truncate(LATE_MS - 1, |_| true);
            assert!(is_expected(&told), "{told:?}");
        }
    }));
    threads.push(sync::spawn("reader", move || read(&disk)));
    threads.into_iter().for_each(|thread| thread.unwrap().join().unwrap());
    tally.note(&wal);
    let wal = Arc::into_inner(wal).unwrap();
    if thread_rng().r#gen() {
        let told = wal.close();
        assert!(is_expected(&told), "{told:?}");
    } else {
        drop(wal);
    }
    sim.mend();
    let claims = *claims.lock();
    judge(&sim.disk(), claims.map(|claim| (claim.acknowledged, claim.accepted)));
    for (disk, appender, claim) in std::mem::take(&mut *seen.lock()) {
        let mut then = [(0, ENTRIES); APPENDERS as usize];
        then[usize::try_from(appender).unwrap()] = (claim.acknowledged, ENTRIES);
        judge(&disk, then);
    }
}
