//! Repairs that one process began, another took up, and power loss met: what the disk has of them is what the log
//! then rests on.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::{Arc, Mutex};

use wal_engine::{Labels, RecoveryMode, RecoveryReport, Sample, Series, Verdict, Wal, WalOptions};
use wal_format::{SegmentHeader, frame_samples};
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
    log_many(wal, time_ms, 8)
}

fn log_many(wal: &Wal, time_ms: i64, count: u64) -> wal_engine::Result<()> {
    let samples: Vec<Sample> = (0..count).map(|series| Sample::new(series, time_ms, 0.1)).collect();
    wal.log_samples(&samples).and_then(|at| wal.commit(at))
}

/// Opens the log, and keeps the disk as it is before each call that changes it.
fn moments_of_opening(disk: Disk, mode: RecoveryMode) -> Vec<Disk> {
    let sim = SimDisk::new(disk);
    let mut opened = None;
    let moments = moments_of(&sim, || opened = Some(open(&sim, mode).unwrap()));
    drop(opened);
    moments
}

/// Does something, and keeps the disk as it is before each call that changes it, and at the end.
fn moments_of(sim: &SimDisk, something: impl FnOnce()) -> Vec<Disk> {
    let moments = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&moments);
    sim.watch(Box::new(move |disk| kept.lock().unwrap().push(disk.clone())));
    something();
    sim.unwatch();
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

/// The same, and power fails while the next process takes the repair up: whatever names come back, no entry behind
/// the damage does, and where it is stepped over none is missing.
#[test]
fn a_repair_that_another_process_takes_up_reads_the_same_whatever_names_come_back() {
    let flip = |bytes: &mut Vec<u8>| bytes[100] ^= 1;
    let no_header = |bytes: &mut Vec<u8>| bytes[..8].fill(0xff);
    let zeros = |bytes: &mut Vec<u8>| bytes[50..150].fill(0);
    for mode in [RecoveryMode::PointInTime, RecoveryMode::SkipDamaged] {
        for number in [1, 3] {
            let kinds =
                [("flip", &flip as &dyn Fn(&mut Vec<u8>)), ("no header", &no_header), ("zeros", &zeros)];
            for (kind, damage) in kinds {
                let sim = SimDisk::new(Disk::new());
                let (wal, _) = open(&sim, mode).unwrap();
                for time_ms in 1..=7 {
                    log(&wal, time_ms).unwrap();
                }
                wal.close().unwrap();
                let mut disk = sim.disk();
                let mut bytes = disk.contents(&segment_name(number)).unwrap();
                damage(&mut bytes);
                disk.put(&segment_name(number), &bytes);
                take_up_repairs(disk, mode, &format!("{mode}, segment {number}, {kind}"));
            }
        }
    }
}

/// One process repairs and dies at any call, another repairs and power fails at any call, with any choice of names.
fn take_up_repairs(disk: Disk, mode: RecoveryMode, what: &str) {
    let (_, expected) = open(&SimDisk::new(disk.clone()), mode).unwrap();
    for (death, moment) in moments_of_opening(disk, mode).into_iter().enumerate() {
        for (loss, moment) in moments_of_opening(moment, mode).iter().enumerate() {
            let units = moment.units();
            let names = units.iter().filter(|unit| matches!(unit.kind, UnitKind::Name(_))).count();
            for (kept, rest) in (0..1_u32 << names).flat_map(|kept| [(kept, 0), (kept, u8::MAX)]) {
                let mut nth = 0;
                let picks = units.iter().map(|unit| match unit.kind {
                    UnitKind::Name(_) => {
                        nth += 1;
                        Pick::State(u8::from(kept >> (nth - 1) & 1 == 1))
                    }
                    _ => Pick::State(rest.min(unit.states - 1)),
                });
                let left = SimDisk::new(moment.after_power_loss(&picks.collect::<Vec<_>>()));
                let (_, report) = open(&left, mode).unwrap();
                let place = format!("{what}, death {death}, loss {loss}, names {kept:b}, rest {rest}");
                assert_eq!(report.stats.samples, expected.stats.samples, "{place}");
            }
        }
    }
}

/// The sync of a cut fails, and another process opens the log without a reboot: the cut shows, but the disk does
/// not have it. What is acknowledged next must not lie behind a tail that power loss brings back.
#[test]
fn a_cut_whose_sync_failed_is_made_again() {
    let sim = SimDisk::new(Disk::new());
    let (wal, _) = open(&sim, RecoveryMode::PointInTime).unwrap();
    log(&wal, 1).unwrap();
    // Several sectors of one entry, so that the cut leaves some of them behind the new end.
    log_many(&wal, 2, 100).unwrap();
    wal.close().unwrap();
    let name = segment_name(2);
    let mut disk = sim.disk();
    let mut bytes = disk.contents(&name).unwrap();
    bytes[60] ^= 1;
    disk.put(&name, &bytes);
    let mut met = 0;
    for nth in 1..20 {
        let first = SimDisk::new(disk.clone());
        first.fail(Fault { call: Call::Sync, nth, for_good: false, outcome: Outcome::Forget(5) });
        met += u64::from(open(&first, RecoveryMode::PointInTime).is_err());
        let next = SimDisk::new(first.disk());
        let (wal, report) = open(&next, RecoveryMode::PointInTime).unwrap();
        log(&wal, 100).unwrap();
        drop(wal);
        let after = SimDisk::new(next.disk().after_power_loss(&[]));
        let (_, again) = open(&after, RecoveryMode::PointInTime).unwrap();
        assert_eq!(again.stats.samples, report.stats.samples + 8, "sync {nth}");
    }
    assert!(3 <= met, "{met}");
}

/// A process dies between writing an intent and syncing it; the next reads it whole from the cache and finishes
/// the truncation. Power loss within that must not find some of the changes, and no intent.
#[test]
fn an_intent_that_is_only_in_the_cache_is_made_durable_before_it_is_followed() {
    let sim = SimDisk::new(Disk::new());
    let (wal, _) = open(&sim, RecoveryMode::PointInTime).unwrap();
    for time_ms in 1..=6 {
        log(&wal, time_ms).unwrap();
    }
    let (all, left) = (6 * 8, 2 * 8);
    let moments = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&moments);
    sim.watch(Box::new(move |disk| kept.lock().unwrap().push(disk.clone())));
    wal.truncate(6, |_| true).unwrap();
    sim.unwatch();
    let moments = moments.lock().unwrap().clone();
    for (at, moment) in moments.iter().enumerate() {
        for (later, second) in
            moments_of_opening(moment.clone(), RecoveryMode::PointInTime).iter().enumerate()
        {
            // Names as they are, and whatever else is not durable lost; and the other way round.
            for (names, others) in [(1, 0), (0, 1)] {
                let picks = second.units().into_iter().map(|unit| match unit.kind {
                    UnitKind::Name(_) => Pick::State(names),
                    _ => Pick::State(others * (unit.states - 1)),
                });
                let after = SimDisk::new(second.after_power_loss(&picks.collect::<Vec<_>>()));
                let (_, report) = open(&after, RecoveryMode::PointInTime).unwrap();
                let samples = report.stats.samples;
                assert!(samples == all || samples == left, "{samples} at {at}, then {later}");
            }
        }
    }
}

/// Pages of the first commit to a segment reached the disk out of order, and the mark at the end of the segment before
/// tells that they are torn. A repair that cuts them dies before the cut: they are torn still, and what stands behind
/// the hole does not come back.
#[test]
fn a_torn_tail_stays_one_while_its_repair_is_cut_short() {
    let sim = SimDisk::new(Disk::new());
    let (wal, _) = open(&sim, RecoveryMode::SkipDamaged).unwrap();
    log(&wal, 1).unwrap();
    wal.close().unwrap();
    let mut disk = sim.disk();
    let mut bytes = SegmentHeader::CURRENT.to_bytes().to_vec();
    for time_ms in 2..=3 {
        frame_samples(&[Sample::new(1, time_ms, 0.1)], u32::MAX, &mut bytes).unwrap();
    }
    bytes[8..20].fill(0xff);
    disk.put(&segment_name(2), &bytes);
    let mark = disk.contents("durable");
    let mut between = 0;
    for (at, moment) in moments_of_opening(disk, RecoveryMode::SkipDamaged).iter().enumerate() {
        for all in [0, 1] {
            let picks = moment.units().into_iter().map(|unit| Pick::State(all * (unit.states - 1)));
            let after = moment.after_power_loss(&picks.collect::<Vec<_>>());
            let is_cut = after.contents(&segment_name(2)) != Some(bytes.clone());
            between += u64::from(after.contents("durable") != mark && !is_cut);
            let (_, report) = open(&SimDisk::new(after), RecoveryMode::SkipDamaged).unwrap();
            let wanted = if is_cut { Verdict::Clean } else { Verdict::Torn };
            assert_eq!((report.verdict, report.stats.samples), (wanted, 8), "moment {at}");
        }
    }
    assert!(0 < between, "no power loss between the mark and the cut");
}

/// A repair that steps over damage dies between changing the mark and putting the rewritten segment in place: the
/// damage is damage still, and what lies behind it is not cut as a torn tail.
#[test]
fn damage_stays_damage_until_the_segment_is_rewritten() {
    let sim = SimDisk::new(Disk::new());
    let (wal, _) = open(&sim, RecoveryMode::PointInTime).unwrap();
    for time_ms in 1..=2 {
        log(&wal, time_ms).unwrap();
    }
    wal.close().unwrap();
    let mut disk = sim.disk();
    let mut bytes = disk.contents(&segment_name(1)).unwrap();
    bytes[8..60].fill(0);
    disk.put(&segment_name(1), &bytes);
    for (at, moment) in moments_of_opening(disk, RecoveryMode::SkipDamaged).iter().enumerate() {
        let after = SimDisk::new(moment.after_power_loss(&[]));
        let (_, report) = open(&after, RecoveryMode::SkipDamaged).unwrap();
        assert_eq!(report.stats.samples, 8, "moment {at}");
    }
}

/// The mark's file is there and cannot be opened to write, for want of space: a repair must not cut below a mark
/// that it leaves as it is, or the next open takes what was acknowledged since for damage.
#[test]
fn no_repair_goes_on_without_a_mark_that_is_there() {
    let sim = SimDisk::new(Disk::new());
    let (wal, _) = open(&sim, RecoveryMode::PointInTime).unwrap();
    for time_ms in 1..=3 {
        log(&wal, time_ms).unwrap();
    }
    wal.close().unwrap();
    let mut disk = sim.disk();
    let mut bytes = disk.contents(&segment_name(2)).unwrap();
    bytes[60] ^= 1;
    disk.put(&segment_name(2), &bytes);
    let mut refused = 0;
    for nth in 1..20 {
        let sim = SimDisk::new(disk.clone());
        sim.fail(Fault { call: Call::Open, nth, for_good: false, outcome: Outcome::Errno(28) });
        let Ok((wal, report)) = open(&sim, RecoveryMode::PointInTime) else {
            refused += 1;
            continue;
        };
        if log(&wal, 100).is_ok() {
            drop(wal);
            sim.mend();
            let (_, again) = open(&sim, RecoveryMode::PointInTime).unwrap();
            assert_eq!(again.stats.samples, report.stats.samples + 8, "open {nth}");
        }
    }
    assert_ne!(refused, 0);
}

/// A process dies at any moment of a truncation, also before the sync that clears its intent. The next one, on the
/// running machine, sees none and truncates again, and power fails within that: the first intent, which the disk
/// still has, names a temporary like the one that is being written, and must not be followed with it. Nor where
/// one write of opening the log finds no room, so that clearing it is left to the truncation.
#[test]
fn an_intent_whose_clearing_no_sync_has_covered_does_not_come_back() {
    let sim = SimDisk::new(Disk::new());
    let wal = six_series(&sim);
    let deaths = moments_of(&sim, || _ = wal.truncate(3, |_| true).unwrap());
    let mut brought_back = 0;
    for (death, moment) in deaths.iter().enumerate() {
        for full in 0..8 {
            let next = SimDisk::new(moment.clone());
            next.fail(Fault { call: Call::Write, nth: full, for_good: false, outcome: Outcome::Errno(28) });
            let Ok((wal, _)) = open(&next, RecoveryMode::PointInTime) else { continue };
            next.mend();
            let losses = moments_of(&next, || _ = wal.truncate(5, |_| true).unwrap());
            for (loss, moment) in losses.iter().enumerate() {
                let picks = moment.units().into_iter().map(|unit| match unit.kind {
                    UnitKind::Name(_) => Pick::State(1),
                    _ => Pick::State(0),
                });
                let left = moment.after_power_loss(&picks.collect::<Vec<_>>());
                brought_back += u32::from(shows_intent(&left) && !shows_intent(moment));
                let (_, report) = open(&SimDisk::new(left), RecoveryMode::PointInTime).unwrap();
                let place = format!("death {death}, full at {full}, loss {loss}");
                assert_eq!((report.verdict, report.stats.series), (Verdict::Clean, 6), "{place}");
            }
        }
    }
    assert_ne!(brought_back, 0, "no intent came back, so nothing was tried");
}

/// The sync of an intent fails, and so does that of clearing it: the cache shows none, and the disk may have it whole.
/// Another process, on the running machine, takes the temporaries for rubbish. An intent that comes back after that
/// must not have their sources removed. Nor where there is no room to clear it: then the temporaries stay.
#[test]
fn an_intent_that_failed_syncs_left_on_the_disk_is_not_followed_without_its_temporaries() {
    let mut brought_back = 0;
    for (nth, full) in (1..16).flat_map(|nth| (0..8).map(move |full| (nth, full))) {
        let sim = SimDisk::new(Disk::new());
        let wal = six_series(&sim);
        sim.fail(Fault { call: Call::Sync, nth, for_good: true, outcome: Outcome::Forget(5) });
        let truncated = wal.truncate(5, |_| true);
        drop(wal);
        let next = SimDisk::new(sim.disk());
        next.fail(Fault { call: Call::Write, nth: full, for_good: false, outcome: Outcome::Errno(28) });
        let mut opened = None;
        let losses = moments_of(&next, || opened = open(&next, RecoveryMode::PointInTime).ok());
        for (loss, moment) in losses.iter().enumerate() {
            for state in 0..3 {
                let is_of_intent = |id: u64| moment.name_of(id) == Some("intent");
                let picks = moment.units().into_iter().map(|unit| match unit.kind {
                    UnitKind::Sector(id, _) if is_of_intent(id) => Pick::State(state.min(unit.states - 1)),
                    _ => Pick::State(unit.states - 1),
                });
                let left = moment.after_power_loss(&picks.collect::<Vec<_>>());
                brought_back += u32::from(shows_intent(&left) && !shows_intent(moment));
                let (_, report) = open(&SimDisk::new(left), RecoveryMode::PointInTime).unwrap();
                let place = format!("{nth}: {truncated:?}, full at {full}, loss {loss}, state {state}");
                assert_eq!(report.stats.series, 6, "{place}");
            }
        }
    }
    assert_ne!(brought_back, 0, "no intent came back, so nothing was tried");
}

/// A log of six series in as many segments.
fn six_series(sim: &SimDisk) -> Wal {
    let (wal, _) = open(sim, RecoveryMode::PointInTime).unwrap();
    for n in 1..=6 {
        wal.log_series(&[Series::new(n, Labels::from_pairs([("i", &n.to_string())]))]).unwrap();
        log(&wal, i64::try_from(n).unwrap()).unwrap();
    }
    wal
}

fn shows_intent(disk: &Disk) -> bool {
    disk.contents("intent").is_some_and(|bytes| bytes[0] != 0)
}
