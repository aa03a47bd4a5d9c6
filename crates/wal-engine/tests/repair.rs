//! Torn tails, damage, the recovery modes, quarantine and the durable mark.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::Path;

use common::{flip, log_values, open, sample, segments, small, snapshot, values, written};
use wal_engine::{
    ErrorKind, MarkStatus, RecoveryMode, Verdict, Wal, WalOptions, inspect, list_quarantine,
    purge_quarantine, restore_quarantine,
};

fn in_mode(mode: RecoveryMode) -> WalOptions {
    small().recovery_mode(mode)
}

/// A log of a hundred values in several segments, without the files beside them.
fn foreign(dir: &Path) {
    let own = tempfile::tempdir().unwrap();
    written(own.path(), 0..100, small());
    for (name, _) in segments(own.path()) {
        fs::copy(own.path().join(&name), dir.join(name)).unwrap();
    }
}

#[test]
fn damage_ends_the_log_and_what_is_behind_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    foreign(dir.path());
    let original = snapshot(dir.path());
    flip(&dir.path().join("000003"), 100);
    let (wal, memory, report) = open(dir.path(), in_mode(RecoveryMode::PointInTime));
    assert_eq!(report.verdict, Verdict::Damaged);
    assert_eq!(report.cut_at.unwrap().segment, 3);
    let survived = memory.values();
    assert_eq!(survived, values(0..u32::try_from(survived.len()).unwrap()));
    let quarantined = list_quarantine(dir.path()).unwrap();
    assert_eq!(quarantined.len(), original.len() - 2, "the later segments, and the tail of the third");
    // Numbers of what is in quarantine are not used again.
    log_values(&wal, 0..50);
    wal.close().unwrap();
    let highest = original.len() as u64;
    for (name, _) in segments(dir.path()) {
        let number: u64 = name.parse().unwrap();
        assert!(number <= 3 || highest < number, "{name}");
    }
    let (wal, memory, report) = open(dir.path(), small());
    assert_eq!(report.verdict, Verdict::Clean);
    assert_eq!(memory.values().len(), survived.len() + 50);
    wal.close().unwrap();
}

#[test]
fn what_was_quarantined_can_be_restored_and_purged() {
    let dir = tempfile::tempdir().unwrap();
    foreign(dir.path());
    flip(&dir.path().join("000003"), 100);
    let damaged = snapshot(dir.path());
    open(dir.path(), small()).0.close().unwrap();
    let to = dir.path().with_extension("restored");
    restore_quarantine(dir.path(), &to).unwrap();
    assert_eq!(snapshot(&to), damaged, "byte for byte as before the repair");
    let error = restore_quarantine(dir.path(), &to).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidOptions, "the target is not empty");
    let freed = purge_quarantine(dir.path()).unwrap();
    assert!(0 < freed);
    assert!(list_quarantine(dir.path()).unwrap().is_empty());
    fs::remove_dir_all(to).unwrap();
}

#[test]
fn damage_is_an_error_where_only_a_torn_tail_is_tolerated() {
    let dir = tempfile::tempdir().unwrap();
    foreign(dir.path());
    flip(&dir.path().join("000003"), 100);
    let before = snapshot(dir.path());
    let options = in_mode(RecoveryMode::TolerateTornTail);
    let error = Wal::open(dir.path(), options).unwrap().replay(&mut ()).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Damaged);
    assert!(error.to_string().contains("wal repair"), "{error}");
    let after: Vec<_> = snapshot(dir.path()).into_iter().filter(|file| file.0 != "lock").collect();
    assert_eq!(after, before);
}

#[test]
fn skipping_damage_keeps_everything_but_the_entry_touched() {
    for (segment, offset) in [(1, 50), (3, 100), (3, 9), (4, 3)] {
        let dir = tempfile::tempdir().unwrap();
        foreign(dir.path());
        let before = fs::read(dir.path().join("000003")).unwrap();
        flip(&dir.path().join(format!("{segment:06}")), offset);
        let (wal, memory, report) = open(dir.path(), in_mode(RecoveryMode::SkipDamaged));
        let lost: Vec<f64> =
            values(0..100).into_iter().filter(|value| !memory.values().contains(value)).collect();
        let headers_only = offset < 8;
        assert_eq!(lost.len(), usize::from(!headers_only), "{segment}:{offset} lost {lost:?}");
        assert_eq!(report.gaps.len(), 1);
        log_values(&wal, 100..110);
        wal.close().unwrap();
        // The gap is gone from the log and kept beside it; the next open finds nothing.
        let (wal, again, report) = open(dir.path(), small());
        assert_eq!(report.verdict, Verdict::Clean, "{report}");
        assert_eq!(again.values().len(), memory.values().len() + 10);
        let kept = list_quarantine(dir.path()).unwrap();
        assert_eq!((kept.len(), kept[0].segment, kept[0].offset), (1, segment, 0));
        if segment == 3 {
            let path = dir.path().join("quarantine").join(&kept[0].name);
            assert_eq!(fs::read(path).unwrap().len(), before.len());
        }
        wal.close().unwrap();
    }
}

#[test]
fn a_torn_tail_is_trimmed_and_kept_in_quarantine() {
    let dir = tempfile::tempdir().unwrap();
    foreign(dir.path());
    let (name, len) = segments(dir.path()).pop().unwrap();
    let path = dir.path().join(name);
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(len - 3).unwrap();
    let (wal, memory, report) = open(dir.path(), in_mode(RecoveryMode::TolerateTornTail));
    assert_eq!(report.verdict, Verdict::Torn);
    assert_eq!(memory.values(), values(0..99));
    assert_eq!(report.quarantined.len(), 1);
    let end = log_values(&wal, 99..100);
    assert_eq!(end.segment, report.cut_at.unwrap().segment, "goes on in the same segment");
    wal.close().unwrap();
    assert_eq!(open(dir.path(), small()).1.values(), values(0..100));
}

#[test]
fn a_hole_of_zeros_ends_the_log_and_leaves_no_ghost() {
    let dir = tempfile::tempdir().unwrap();
    let own = tempfile::tempdir().unwrap();
    written(own.path(), 0..20, WalOptions::default());
    let mut bytes = fs::read(own.path().join("000001")).unwrap();
    // Entries 10 and 11 never reached the disk; those behind them did.
    let entry = (bytes.len() - 8) / 20;
    bytes[8 + 10 * entry..8 + 12 * entry].fill(0);
    fs::write(dir.path().join("000001"), &bytes).unwrap();
    let (wal, memory, report) = open(dir.path(), WalOptions::default());
    assert_eq!(memory.values(), values(0..10));
    assert_eq!(report.verdict, Verdict::Torn);
    assert!(report.fault.unwrap().entry_behind.is_some(), "the report says that entries are behind");
    wal.log_samples(&[sample(10)]).unwrap();
    drop(wal);
    let (_, memory, report) = open(dir.path(), WalOptions::default());
    assert_eq!(memory.values(), values(0..11), "none of the old ones comes back");
    assert_eq!(report.verdict, Verdict::Clean);
}

#[test]
fn below_a_fitting_mark_nothing_is_cut_in_silence() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), 0..10, WalOptions::default());
    let path = dir.path().join("000001");
    let whole = fs::read(&path).unwrap();
    let entry = (whole.len() - 8) / 10;
    // Cut exactly behind an entry: the bytes alone cannot tell, the mark can.
    fs::write(&path, &whole[..8 + 9 * entry]).unwrap();
    let options = || WalOptions::default().recovery_mode(RecoveryMode::TolerateTornTail);
    let error = Wal::open(dir.path(), options()).unwrap().replay(&mut ()).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Damaged);
    // Cut within an entry: without the mark, a torn tail.
    fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    let error = Wal::open(dir.path(), options()).unwrap().replay(&mut ()).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Damaged);
    fs::remove_file(dir.path().join("durable")).unwrap();
    let (_, memory, report) = open(dir.path(), options());
    assert_eq!(report.verdict, Verdict::Torn);
    assert_eq!(memory.values(), values(0..9));
}

#[test]
fn a_mark_behind_damage_is_not_called_another_logs() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), 0..100, small());
    let marked = inspect(dir.path(), RecoveryMode::PointInTime).unwrap().end;
    flip(&dir.path().join("000001"), 60);
    let plan = inspect(dir.path(), RecoveryMode::PointInTime).unwrap();
    assert_eq!((plan.verdict, plan.mark), (Verdict::Damaged, MarkStatus::NotReached(marked)));
    // Read past the damage, it is there to be looked at.
    let skipping = inspect(dir.path(), RecoveryMode::SkipDamaged).unwrap();
    assert_eq!((skipping.verdict, skipping.mark), (Verdict::Damaged, MarkStatus::Fits(marked)));
}

#[test]
fn a_mark_of_another_log_is_reported_and_not_used() {
    let dir = tempfile::tempdir().unwrap();
    foreign(dir.path());
    let other = tempfile::tempdir().unwrap();
    let (wal, ..) = open(other.path(), WalOptions::default());
    wal.log_series(&(1..9).map(common::series).collect::<Vec<_>>()).unwrap();
    wal.close().unwrap();
    fs::copy(other.path().join("durable"), dir.path().join("durable")).unwrap();
    let (wal, memory, report) = open(dir.path(), small());
    assert!(matches!(report.mark, MarkStatus::DoesNotFit(_)), "{:?}", report.mark);
    assert_eq!(report.verdict, Verdict::Clean);
    assert_eq!(memory.values(), values(0..100));
    drop(wal);
}

#[test]
fn an_older_mark_is_a_lower_bound_and_no_fault() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, ..) = open(dir.path(), WalOptions::default());
    wal.commit(log_values(&wal, 0..5)).unwrap();
    let old = fs::read(dir.path().join("durable")).unwrap();
    wal.commit(log_values(&wal, 5..10)).unwrap();
    wal.close().unwrap();
    fs::write(dir.path().join("durable"), old).unwrap();
    let (wal, memory, report) = open(dir.path(), WalOptions::default());
    assert!(matches!(report.mark, MarkStatus::Fits(_)));
    assert_eq!((report.verdict, memory.values()), (Verdict::Clean, values(0..10)));
    drop(wal);
}

#[test]
fn a_newer_version_anywhere_forbids_any_change() {
    let dir = tempfile::tempdir().unwrap();
    foreign(dir.path());
    let path = dir.path().join("000002");
    let mut bytes = fs::read(&path).unwrap();
    bytes[4] = 2;
    fs::write(&path, bytes).unwrap();
    flip(&dir.path().join("000001"), 60);
    let before = snapshot(dir.path());
    for mode in [RecoveryMode::PointInTime, RecoveryMode::SkipDamaged] {
        let error = Wal::open(dir.path(), in_mode(mode)).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert_eq!(error.position().unwrap().offset, 4);
    }
    // What would be done says the same: nothing.
    let foretold = inspect(dir.path(), RecoveryMode::PointInTime).unwrap();
    assert!(foretold.refused && foretold.verdict == Verdict::Unsupported);
    let after: Vec<_> = snapshot(dir.path()).into_iter().filter(|file| file.0 != "lock").collect();
    assert_eq!(after, before);
}

#[test]
fn a_log_repaired_by_skipping_is_restored_whole() {
    let dir = tempfile::tempdir().unwrap();
    foreign(dir.path());
    flip(&dir.path().join("000001"), 0);
    let damaged = snapshot(dir.path());
    open(dir.path(), in_mode(RecoveryMode::SkipDamaged)).0.close().unwrap();
    let to = tempfile::tempdir().unwrap();
    restore_quarantine(dir.path(), to.path()).unwrap();
    assert_eq!(snapshot(to.path()), damaged);
}

#[test]
fn a_restored_tail_never_overwrites_newer_entries() {
    let dir = tempfile::tempdir().unwrap();
    foreign(dir.path());
    let (name, len) = segments(dir.path()).pop().unwrap();
    fs::OpenOptions::new().write(true).open(dir.path().join(name)).unwrap().set_len(len - 3).unwrap();
    let (wal, ..) = open(dir.path(), small());
    log_values(&wal, 500..502);
    wal.close().unwrap();
    let to = tempfile::tempdir().unwrap();
    restore_quarantine(dir.path(), to.path()).unwrap();
    let kept = list_quarantine(to.path()).unwrap();
    assert_eq!(kept.len(), 1, "the tail is beside the log");
    let (_, memory, report) = open(to.path(), small());
    assert_eq!(report.verdict, Verdict::Clean);
    assert_eq!(memory.values()[99..], [500.0, 501.0]);
}

#[test]
fn an_entry_that_does_not_decode_is_skipped_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let own = tempfile::tempdir().unwrap();
    written(own.path(), 0..2, WalOptions::default());
    let mut bytes = fs::read(own.path().join("000001")).unwrap();
    let at = bytes.len();
    wal_format::frame_payload(wal_format::EntryKind::Series, 1, &[1, 2, 3], &mut bytes).unwrap();
    wal_format::frame_samples(&[sample(2)], 1000, &mut bytes).unwrap();
    fs::write(dir.path().join("000001"), &bytes).unwrap();
    let (wal, memory, report) = open(dir.path(), WalOptions::default());
    assert_eq!((report.verdict, report.malformed_count), (Verdict::Clean, 1));
    assert_eq!(memory.malformed[0].offset, at as u64);
    assert_eq!(memory.values(), values(0..3));
    drop(wal);
    let strict = WalOptions::default().strict_payloads(true);
    let error = Wal::open(dir.path(), strict).unwrap().replay(&mut ()).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Malformed);
}

#[test]
fn the_references_leftover_is_reported_and_never_deleted() {
    let dir = tempfile::tempdir().unwrap();
    foreign(dir.path());
    fs::write(dir.path().join("compact.tmp"), b"series").unwrap();
    fs::write(dir.path().join("000009.wal-tmp"), b"ours").unwrap();
    let (wal, _, report) = open(dir.path(), small());
    assert_eq!(report.leftovers, ["compact.tmp"]);
    assert!(report.to_string().contains("only copy"));
    wal.close().unwrap();
    assert!(dir.path().join("compact.tmp").exists());
    assert!(!dir.path().join("000009.wal-tmp").exists(), "our own temporaries go");
}

#[test]
fn a_name_of_a_segment_that_is_no_file_is_refused() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("target"), b"untouched").unwrap();
    for kind in ["link", "folder", "fifo"] {
        let dir = tempfile::tempdir().unwrap();
        foreign(dir.path());
        let path = dir.path().join("000099");
        match kind {
            "link" => std::os::unix::fs::symlink(outside.path().join("target"), &path).unwrap(),
            "folder" => fs::create_dir(&path).unwrap(),
            _ => {
                let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
                assert!(made.success());
            }
        }
        let error = Wal::open(dir.path(), small()).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Io, "{kind}");
        assert!(error.to_string().contains("000099"), "{error}");
    }
    assert_eq!(fs::read(outside.path().join("target")).unwrap(), b"untouched");
}
