//! Repairs that one process began, another took up, and power loss met: what the disk has of them is what the log
//! then rests on.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::{Arc, Mutex};

use wal_engine::{RecoveryMode, RecoveryReport, Sample, Verdict, Wal, WalOptions};
use wal_segment::dir::segment_name;
use wal_sim::{Call, Disk, Fault, Outcome, Pick, SimDisk, UnitKind};

fn options(mode: RecoveryMode) -> WalOptions {
    WalOptions::default()
        .background_thread(false)
        .replay_threads(1)
        .segment_bytes_max(256)
        .recovery_mode(mode)
}

fn open(sim: &SimDisk, mode: RecoveryMode) -> wal_engine::Result<(Wal, RecoveryReport)> {
    Wal::open_storage(Arc::new(sim.clone()), options(mode))?.replay(&mut ())
}

fn log(wal: &Wal, time_ms: i64) -> wal_engine::Result<()> {
    let samples: Vec<Sample> = (0..8).map(|series| Sample::new(series, time_ms, 0.1)).collect();
    wal.log_samples(&samples).and_then(|at| wal.commit(at))
}

/// Opens the log, and keeps the disk as it is before each call that changes it.
fn moments_of_opening(disk: Disk, mode: RecoveryMode) -> Vec<Disk> {
    let (sim, moments) = (SimDisk::new(disk), Arc::new(Mutex::new(Vec::new())));
    let kept = Arc::clone(&moments);
    sim.watch(Box::new(move |disk| kept.lock().unwrap().push(disk.clone())));
    let opened = open(&sim, mode).unwrap();
    sim.unwatch();
    drop(opened);
    let mut moments = std::mem::take(&mut *moments.lock().unwrap());
    moments.push(sim.disk());
    moments
}

/// A failed sync, and another process that opens the log without a reboot: it cuts the space prepared ahead, and
/// the mark that it writes for that reaches the disk before the pages that the failed sync forgot.
#[test]
fn the_mark_that_a_repair_writes_names_only_what_is_durable() {
    let sim = SimDisk::new(Disk::new());
    let (wal, _) = open(&sim, RecoveryMode::PointInTime).unwrap();
    log(&wal, 1).unwrap();
    sim.fail(Fault { call: Call::Sync, nth: 1, for_good: true, outcome: Outcome::Forget(5) });
    log(&wal, 2).unwrap_err();
    let disk = sim.disk();
    sim.switch_off();
    for (at, moment) in moments_of_opening(disk, RecoveryMode::PointInTime).iter().enumerate() {
        let is_of_mark = |id: u64| moment.name_of(id) == Some("durable");
        let picks = moment.units().into_iter().map(|unit| match unit.kind {
            UnitKind::Size(id) | UnitKind::Sector(id, _) if is_of_mark(id) => Pick::State(unit.states - 1),
            UnitKind::Name(_) => Pick::State(1),
            _ => Pick::State(0),
        });
        let after = SimDisk::new(moment.after_power_loss(&picks.collect::<Vec<_>>()));
        let (_, report) = open(&after, RecoveryMode::TolerateTornTail).unwrap();
        assert_ne!(report.verdict, Verdict::Damaged, "moment {at}");
        assert!(8 <= report.stats.samples, "moment {at}");
    }
}

/// A process moves damaged segments into quarantine and dies; the next finds them gone and goes on. What it
/// acknowledges must not lie behind a segment that power loss brings back.
#[test]
fn what_an_earlier_process_moved_to_quarantine_stays_there() {
    let sim = SimDisk::new(Disk::new());
    let (wal, _) = open(&sim, RecoveryMode::PointInTime).unwrap();
    for time_ms in 1..=6 {
        log(&wal, time_ms).unwrap();
    }
    wal.close().unwrap();
    let mut disk = sim.disk();
    // No header: the segment is moved as a whole, with all behind it.
    disk.put(&segment_name(2), &[0xff; 100]);
    for (at, moment) in moments_of_opening(disk, RecoveryMode::PointInTime).iter().enumerate() {
        let next = SimDisk::new(moment.clone());
        let (wal, report) = open(&next, RecoveryMode::PointInTime).unwrap();
        log(&wal, 100).unwrap();
        drop(wal);
        let after = SimDisk::new(next.disk().after_power_loss(&[]));
        let (_, again) = open(&after, RecoveryMode::PointInTime).unwrap();
        assert_eq!(again.verdict, Verdict::Clean, "moment {at}");
        assert_eq!(again.stats.samples, report.stats.samples + 8, "moment {at}");
    }
}
