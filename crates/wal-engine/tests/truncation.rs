//! Truncation: what goes, what stays, and what a crash in the middle of it leaves.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use common::disk::{Call, FaultyDisk};
use common::{Memory, open, sample, segments, series, small, snapshot, values};
use wal_engine::{
    ErrorKind, Interval, Intervals, Position, ReadOptions, SeriesRef, Stone, Verdict, Wal, WalOptions,
    WalReader,
};

fn stone(series_ref: u64, mint_ms: i64, maxt_ms: i64) -> Stone {
    let intervals = Intervals::from_verbatim(vec![Interval { mint_ms, maxt_ms }]);
    Stone { series_ref: SeriesRef(series_ref), intervals }
}

/// Rounds of series, samples and a delete, over many small segments; sample times are the values.
fn fill(wal: &Wal, rounds: u32) {
    for round in 0..rounds {
        let series_ref = u64::from(round) + 1;
        wal.log_series(&[series(series_ref)]).unwrap();
        for value in round * 10..round * 10 + 10 {
            wal.log_samples(&[sample(value)]).unwrap();
        }
        let time = i64::from(round) * 10;
        wal.log_deletes(&[stone(series_ref, 0, time)]).unwrap();
    }
    wal.sync().unwrap();
}

fn read(dir: &Path) -> Memory {
    let copy = tempfile::tempdir().unwrap();
    common::copy_files(dir, copy.path());
    open(copy.path(), small()).1
}

#[test]
fn kept_series_survive_and_old_samples_go() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, ..) = open(dir.path(), small());
    fill(&wal, 40);
    let before = segments(dir.path()).len();
    let report = wal.truncate(200, |series_ref| series_ref.0 % 2 == 0).unwrap();
    assert!(0 < report.segments_removed && 0 < report.series_dropped && 0 < report.bytes_freed);
    assert!(segments(dir.path()).len() < before);
    let memory = read(dir.path());
    // Every even series is there; odd ones only where their segment was too new to be touched.
    let refs = memory.refs();
    for series_ref in (2..=40).step_by(2) {
        assert!(refs.contains(&series_ref), "{series_ref} of {refs:?}");
    }
    assert!(!refs.contains(&1) && !refs.contains(&3));
    // Every sample at or after the time is there.
    let found = memory.values();
    for value in values(200..400) {
        assert!(found.contains(&value));
    }
    assert!(!found.contains(&0.0));
    // Deletes: the kept series' that still reach to the time.
    let rows = memory.rows();
    assert!(rows.iter().all(|row| row.interval.maxt_ms >= 190), "{rows:?}");
    assert!(rows.iter().any(|row| row.series_ref.0 == 40));
    // The log goes on.
    wal.log_samples(&[sample(999)]).unwrap();
    wal.close().unwrap();
    let (_, memory, report) = open(dir.path(), small());
    assert_eq!(report.verdict, Verdict::Clean);
    assert_eq!(memory.values().last(), Some(&999.0));
}

#[test]
fn a_delete_until_the_end_of_time_pins_nothing_and_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, ..) = open(dir.path(), small());
    wal.log_series(&[series(1)]).unwrap();
    wal.log_deletes(&[stone(1, 0, i64::MAX), stone(2, 0, i64::MAX)]).unwrap();
    fill(&wal, 30);
    wal.truncate(250, |series_ref| series_ref.0 == 1).unwrap();
    let memory = read(dir.path());
    assert!(!memory.values().contains(&0.0));
    let forever: Vec<_> = memory.rows().into_iter().filter(|row| row.interval.maxt_ms == i64::MAX).collect();
    assert_eq!(forever.len(), 1);
    assert_eq!(forever[0].series_ref.0, 1);
    wal.close().unwrap();
}

#[test]
fn old_segments_go_wherever_they_stand() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, ..) = open(dir.path(), small());
    // New samples first: the reference would stop there.
    wal.log_samples(&(1000..1060).map(sample).collect::<Vec<_>>()).unwrap();
    fill(&wal, 20);
    wal.truncate(500, |_| false).unwrap();
    let memory = read(dir.path());
    assert_eq!(memory.values()[..60], values(1000..1060));
    assert!(!memory.values().contains(&5.0));
    wal.close().unwrap();
}

#[test]
fn nothing_is_kept_when_nothing_is_wanted() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, ..) = open(dir.path(), small());
    fill(&wal, 30);
    let active = wal.end().segment;
    let report = wal.truncate(i64::MAX, |_| false).unwrap();
    assert_eq!(report.segments_rewritten, 0);
    let names = segments(dir.path());
    assert_eq!(names.len(), 1, "only the active one stays: {names:?}");
    assert_eq!(names[0].0, format!("{active:06}"));
    wal.close().unwrap();
}

#[test]
fn truncating_twice_changes_nothing_more() {
    let dir = tempfile::tempdir().unwrap();
    // No thread beside it, which prepares the next segment when it comes to it.
    let (wal, ..) = open(dir.path(), small().background_thread(false));
    fill(&wal, 30);
    wal.truncate(200, |_| true).unwrap();
    let first = snapshot(dir.path());
    let again = wal.truncate(200, |_| true).unwrap();
    assert_eq!((again.segments_removed, again.segments_rewritten), (0, 0));
    assert_eq!(snapshot(dir.path()), first);
    wal.close().unwrap();
}

#[test]
fn no_rewritten_segment_passes_the_size() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, ..) = open(dir.path(), small());
    fill(&wal, 60);
    wal.truncate(i64::MAX, |_| true).unwrap();
    for (name, bytes) in segments(dir.path()) {
        assert!(bytes <= 512 || name == format!("{:06}", wal.end().segment), "{name}: {bytes}");
    }
    assert_eq!(read(dir.path()).refs().len(), 60);
    wal.close().unwrap();
}

#[test]
fn a_damaged_segment_is_left_alone_and_reported() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, ..) = open(dir.path(), small());
    fill(&wal, 40);
    let path = dir.path().join("000003");
    common::flip(&path, 40);
    let damaged = fs::read(&path).unwrap();
    let report = wal.truncate(300, |_| false).unwrap();
    assert_eq!(report.damaged.len(), 1);
    assert_eq!(report.damaged[0].at.segment, 3);
    assert_eq!(fs::read(&path).unwrap(), damaged);
    assert!(!dir.path().join("000002").exists() && !dir.path().join("000004").exists());
    assert_eq!(wal.metrics().corruptions, 1);
    wal.close().unwrap();
}

#[test]
fn an_entry_kept_whole_is_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, ..) = open(dir.path(), small());
    let end = usize::try_from(wal.log_series(&[series(1), series(2)]).unwrap().offset).unwrap();
    wal.sync().unwrap();
    let original = fs::read(dir.path().join("000001")).unwrap()[..end].to_vec();
    fill(&wal, 20);
    wal.truncate(150, |_| true).unwrap();
    assert_eq!(fs::read(dir.path().join("000001")).unwrap()[..end], original);
    wal.close().unwrap();
}

/// A log of series alone, each in an entry of its own, over several segments.
fn fill_with_series(dir: &Path) -> (Wal, Vec<(u64, Position)>) {
    let (wal, ..) = open(dir, small().background_thread(false));
    let log = |series_ref| (series_ref, wal.log_series(&[series(series_ref)]).unwrap());
    let logged: Vec<_> = (1..60).map(log).collect();
    wal.sync().unwrap();
    assert!(4 < segments(dir).len());
    (wal, logged)
}

#[test]
fn segments_of_which_everything_is_kept_are_not_written_anew() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, logged) = fill_with_series(dir.path());
    let before = snapshot(dir.path());
    let report = wal.truncate(i64::MAX, |_| true).unwrap();
    assert_eq!(snapshot(dir.path()), before, "also the mark and the intent are as they were");
    assert_eq!((report.segments_removed, report.segments_rewritten, report.series_dropped), (0, 0, 0));
    let sealed = logged.iter().filter(|(_, at)| at.segment < wal.end().segment).count();
    assert_eq!(report.series_kept, sealed as u64);
    wal.close().unwrap();
}

#[test]
fn whichever_series_goes_the_others_keep_their_order_and_the_segments_before_it_their_files() {
    let inodes = |dir: &Path| -> Vec<(String, u64)> {
        let inode = |name: &String| fs::metadata(dir.join(name)).unwrap().ino();
        segments(dir).into_iter().map(|(name, _)| (name.clone(), inode(&name))).collect()
    };
    for gone in 1..60 {
        let dir = tempfile::tempdir().unwrap();
        let (wal, mut logged) = fill_with_series(dir.path());
        let before = inodes(dir.path());
        let report = wal.truncate(i64::MAX, |series_ref| series_ref.0 != gone).unwrap();
        let at = logged[usize::try_from(gone).unwrap() - 1].1.segment;
        if at == wal.end().segment {
            assert_eq!(inodes(dir.path()), before, "{gone} is in the active segment");
        } else {
            assert_eq!(report.series_dropped, 1);
            logged.retain(|(series_ref, _)| *series_ref != gone);
            let same = before.iter().zip(inodes(dir.path())).take_while(|(old, new)| *old == new).count();
            assert_eq!(same as u64, at - 1, "{gone} was in segment {at}");
        }
        let refs: Vec<u64> = logged.iter().map(|(series_ref, _)| *series_ref).collect();
        assert_eq!(read(dir.path()).refs(), refs, "without {gone}");
        wal.close().unwrap();
    }
}

/// Fails each call of a kind in turn: whatever happened, the next open gives the log as it was or as
/// it was to be, whole.
#[test]
fn a_truncation_cut_short_anywhere_leaves_the_old_log_or_the_new_one() {
    let keep = |series_ref: SeriesRef| series_ref.0 % 3 == 0;
    let original = tempfile::tempdir().unwrap();
    let (wal, ..) = open(original.path(), small());
    fill(&wal, 30);
    wal.close().unwrap();
    let old = read(original.path());
    let goal = tempfile::tempdir().unwrap();
    common::copy_files(original.path(), goal.path());
    let (wal, ..) = open(goal.path(), small());
    wal.truncate(200, keep).unwrap();
    wal.close().unwrap();
    let new = read(goal.path());
    assert!(old != new);

    let (mut olds, mut news) = (0, 0);
    for call in [Call::Write, Call::Sync, Call::SyncFolder, Call::Create, Call::Rename, Call::Remove] {
        for nth in 1..200 {
            let dir = tempfile::tempdir().unwrap();
            common::copy_files(original.path(), dir.path());
            let disk = FaultyDisk::new(dir.path());
            let faults = Arc::clone(&disk.faults);
            let options = small().background_thread(false);
            let (wal, _) = Wal::open_storage(Arc::new(disk), options).unwrap().replay(&mut ()).unwrap();
            faults.fail(call, nth, true, 5);
            let before = faults.count(call);
            let outcome = wal.truncate(200, keep);
            let reached = before + nth <= faults.count(call);
            drop(wal);
            // A reader beside it, and the next open, see the same whole log.
            let (_, after, report) = {
                let mut memory = Memory::default();
                let mut reader = WalReader::open(dir.path(), ReadOptions::default()).unwrap();
                while reader.next().unwrap().is_some() {}
                let (wal, report) = Wal::open(dir.path(), small()).unwrap().replay(&mut memory).unwrap();
                (wal, memory, report)
            };
            assert_eq!(report.verdict, Verdict::Clean, "{call:?} {nth}");
            let items = |memory: &Memory| memory.items.clone();
            match (items(&after) == items(&old), items(&after) == items(&new)) {
                (true, false) => olds += 1,
                (false, true) => news += 1,
                _ => panic!("{call:?} {nth}: neither the old log nor the new one, {outcome:?}"),
            }
            if !reached {
                assert!(outcome.is_ok());
                break;
            }
            assert!(outcome.is_err(), "{call:?} {nth}");
        }
    }
    assert!(5 < olds && 5 < news, "{olds} {news}");
}

#[test]
fn a_backup_of_a_running_log_opens_and_holds_everything_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, ..) = open(dir.path(), small());
    fill(&wal, 20);
    let to = tempfile::tempdir().unwrap();
    let to = to.path().join("copy");
    let report = wal.backup(&to).unwrap();
    assert_eq!(report.end, wal.end());
    assert_eq!(report.linked, report.segments - 1, "sealed segments share their bytes");
    assert_eq!(wal.backup(&to).unwrap_err().kind(), ErrorKind::InvalidOptions, "not empty any more");
    let expected = read(dir.path());
    // The log goes on, and is truncated: the copy stays as it was.
    fill(&wal, 20);
    wal.truncate(i64::MAX, |_| false).unwrap();
    let (copy, memory, recovery) = open(&to, small());
    assert_eq!(recovery.verdict, Verdict::Clean);
    assert!(memory == expected);
    copy.log_samples(&[sample(7)]).unwrap();
    copy.close().unwrap();
    wal.close().unwrap();
}

#[test]
fn repairing_a_log_leaves_its_backup_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, ..) = open(dir.path(), small());
    fill(&wal, 20);
    let to = tempfile::tempdir().unwrap();
    let to = to.path().join("copy");
    wal.backup(&to).unwrap();
    wal.close().unwrap();
    // Damage both at once, through the shared bytes; then repair only the log.
    common::flip(&dir.path().join("000002"), 300);
    let before = snapshot(&to);
    let (wal, _, report) = open(dir.path(), WalOptions::default());
    assert_eq!(report.verdict, Verdict::Damaged);
    wal.close().unwrap();
    assert_eq!(snapshot(&to), before);
}

#[test]
fn a_run_that_finds_no_space_is_done_in_halves() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::new(dir.path());
    let faults = Arc::clone(&disk.faults);
    let options = small().background_thread(false);
    let (wal, _) = Wal::open_storage(Arc::new(disk), options).unwrap().replay(&mut ()).unwrap();
    fill(&wal, 40);
    // The whole run finds no space; nor does it when everything that can be given back is.
    for nth in [1, 2] {
        faults.fail(Call::Create, nth, false, 28);
    }
    let report = wal.truncate(i64::MAX, |_| true).unwrap();
    assert_eq!(report.segments_deferred, 0);
    assert!(1 < report.segments_rewritten && 0 < report.bytes_freed, "{report}");
    wal.close().unwrap();
    let memory = read(dir.path());
    assert_eq!(memory.refs(), (1..=40).collect::<Vec<_>>());
}
