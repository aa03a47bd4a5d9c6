//! Following a live log: every entry once and in order, nothing that is not durable when so asked, and
//! whatever cannot be said of entries said as an event.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::{flip, log_values, open, sample, segments, series, small, snapshot, values, written};
use wal_engine::{
    FollowEvent, FollowOptions, Follower, Payload, Position, RecoveryMode, Sample, SeriesRef, Verdict, Wal,
};
use wal_segment::{Modes, OsStorage};

/// Nothing here takes long; what is not there by then never comes.
const HANGS: Duration = Duration::from_secs(60);
const NOW: Option<Duration> = Some(Duration::ZERO);

/// What one event was, owned.
#[derive(Clone, Debug, PartialEq)]
enum Seen {
    Values(Vec<f64>),
    Other,
    Malformed(Position),
    Fault(Verdict, Position),
    Moved(Position, Position),
    Rewound(Position, Position),
    Rewritten(Position, Position),
}

fn seen(event: &FollowEvent<'_>) -> Seen {
    match event {
        FollowEvent::Entry(entry) => match &entry.payload {
            Payload::Samples(batch) => Seen::Values(batch.iter().map(|sample| sample.value).collect()),
            _ => Seen::Other,
        },
        FollowEvent::Malformed { at, .. } => Seen::Malformed(*at),
        FollowEvent::Fault(fault) => Seen::Fault(fault.verdict, fault.at),
        FollowEvent::Moved { asked, now } => Seen::Moved(*asked, *now),
        FollowEvent::Rewound { asked, now } => Seen::Rewound(*asked, *now),
        FollowEvent::Rewritten { asked, now } => Seen::Rewritten(*asked, *now),
        other => panic!("{other:?}"),
    }
}

/// Everything that is there now.
fn drain(follower: &mut Follower) -> Vec<Seen> {
    let mut found = Vec::new();
    while let Some(event) = follower.next(NOW).unwrap() {
        found.push(seen(&event));
    }
    found
}

fn one(value: u32) -> Seen {
    Seen::Values(vec![f64::from(value)])
}

fn each(range: std::ops::Range<u32>) -> Vec<Seen> {
    range.map(one).collect()
}

/// The end and checksum of every entry that is there now.
fn points(dir: &Path) -> Vec<(Position, u32)> {
    let mut follower = Follower::open(dir, FollowOptions::default()).unwrap();
    let mut found = Vec::new();
    while let Some(event) = follower.next(NOW).unwrap() {
        if let FollowEvent::Entry(entry) = event {
            found.push((entry.end, entry.checksum));
        }
    }
    found
}

fn append(path: &Path, bytes: &[u8]) {
    OpenOptions::new().append(true).open(path).unwrap().write_all(bytes).unwrap();
}

#[test]
fn every_entry_comes_once_and_in_order_beside_rotations_and_truncations() {
    const EACH: u32 = 2000;
    let dir = tempfile::tempdir().unwrap();
    let (wal, ..) = open(dir.path(), small());
    // At a time so late that no truncation drops it.
    let kept = |value| Sample { series_ref: SeriesRef(1), time_ms: i64::MAX - 1, value: f64::from(value) };
    let done = AtomicBool::new(false);
    let mut follower = Follower::open(dir.path(), FollowOptions::default()).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for value in 0..EACH {
                wal.log_series(&[series(u64::from(value))]).unwrap();
                let end = wal.log_samples(&[kept(value)]).unwrap();
                if value % 7 == 0 {
                    wal.commit(end).unwrap();
                }
            }
            wal.sync().unwrap();
            done.store(true, Ordering::SeqCst);
        });
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                wal.truncate(i64::MAX - 5, |_| true).unwrap();
            }
        });
        let mut found: Vec<f64> = Vec::new();
        while found.last() != Some(&f64::from(EACH - 1)) {
            let event = follower.next(Some(HANGS)).unwrap().expect("an entry before the end of time");
            match seen(&event) {
                Seen::Values(values) => found.extend(values),
                Seen::Fault(..) | Seen::Rewound(..) | Seen::Malformed(_) => panic!("{event:?}"),
                _ => {}
            }
        }
        assert_eq!(found, values(0..EACH));
    });
    assert!(3 < segments(dir.path()).len());
    wal.close().unwrap();
    assert_eq!(drain(&mut follower), []);
}

#[test]
fn a_follower_changes_nothing_and_needs_no_lock() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), 0..100, small());
    let before = snapshot(dir.path());
    let mut follower = Follower::open(dir.path(), FollowOptions::default()).unwrap();
    assert_eq!(drain(&mut follower), each(0..100));
    assert_eq!(snapshot(dir.path()), before);
    let (wal, ..) = open(dir.path(), small());
    log_values(&wal, 100..120);
    wal.sync().unwrap();
    assert_eq!(drain(&mut follower), each(100..120));
    wal.close().unwrap();
}

#[test]
fn only_what_is_durable_never_runs_ahead_of_the_mark() {
    const EACH: u32 = 600;
    let dir = tempfile::tempdir().unwrap();
    let (wal, ..) = open(dir.path(), small().segment_bytes_max(4096));
    let storage = OsStorage::new(dir.path(), Modes::default());
    let mut follower = Follower::open(dir.path(), FollowOptions::default().durable_only(true)).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for value in 0..EACH {
                let end = wal.log_samples(&[sample(value)]).unwrap();
                if value % 5 == 0 {
                    wal.commit(end).unwrap();
                }
            }
            wal.sync().unwrap();
        });
        for value in 0..EACH {
            let event = follower.next(Some(HANGS)).unwrap().expect("an entry before the end of time");
            let FollowEvent::Entry(entry) = &event else { panic!("{event:?}") };
            let (mark, _) = wal_engine::mark::load(&storage).unwrap();
            assert!(entry.end <= mark.unwrap().position, "{}", entry.end);
            assert_eq!(seen(&event), one(value));
        }
    });
    wal.close().unwrap();
}

#[test]
fn what_is_written_and_not_durable_is_held_back_only_when_so_asked() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, ..) = open(dir.path(), small().segment_bytes_max(1 << 20).background_thread(false));
    log_values(&wal, 0..10);
    wal.sync().unwrap();
    // More than both buffers hold: some is written, and nothing synced.
    log_values(&wal, 10..1000);
    let mut durable = Follower::open(dir.path(), FollowOptions::default().durable_only(true)).unwrap();
    let mut any = Follower::open(dir.path(), FollowOptions::default()).unwrap();
    assert_eq!(drain(&mut durable), each(0..10));
    assert!(10 < drain(&mut any).len());
    wal.sync().unwrap();
    assert_eq!(drain(&mut durable), each(10..1000));
    wal.close().unwrap();
}

#[test]
fn a_wait_ends_when_told_to_stop() {
    let dir = tempfile::tempdir().unwrap();
    let mut follower = Follower::open(dir.path(), FollowOptions::default()).unwrap();
    let handle = follower.handle();
    let began = Instant::now();
    let waiting = std::thread::spawn(move || follower.next(None).unwrap().is_none());
    handle.clone().stop();
    assert!(waiting.join().unwrap());
    assert!(handle.is_stopped() && began.elapsed() < HANGS);
}

#[test]
fn a_wait_ends_at_its_timeout() {
    let dir = tempfile::tempdir().unwrap();
    let mut follower = Follower::open(dir.path(), FollowOptions::default()).unwrap();
    let began = Instant::now();
    assert!(follower.next(Some(Duration::from_millis(5))).unwrap().is_none());
    assert!(Duration::from_millis(5) <= began.elapsed());
}

#[test]
fn without_notifications_entries_come_at_the_interval() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, ..) = open(dir.path(), small());
    let storage = Arc::new(OsStorage::new(dir.path(), Modes::default()));
    let options = FollowOptions::default().poll_interval(Duration::from_millis(1));
    let mut follower = Follower::open_storage(storage, options).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for value in 0..100 {
                let end = wal.log_samples(&[sample(value)]).unwrap();
                wal.commit(end).unwrap();
            }
        });
        for value in 0..100 {
            assert_eq!(seen(&follower.next(Some(HANGS)).unwrap().unwrap()), one(value));
        }
    });
    wal.close().unwrap();
}

#[test]
fn a_torn_tail_is_waited_for_and_read_when_it_is_whole() {
    let whole = tempfile::tempdir().unwrap();
    written(whole.path(), 0..3, small());
    let bytes = fs::read(whole.path().join("000001")).unwrap();
    let start = points(whole.path())[1].0.offset;
    let start = usize::try_from(start).unwrap();
    for cut in 0..bytes.len() {
        // Without a mark, and with prepared zeros behind: every byte comes alone.
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("000001");
        fs::write(&path, &bytes[..cut]).unwrap();
        let mut follower = Follower::open(dir.path(), FollowOptions::default()).unwrap();
        let early = drain(&mut follower);
        assert_eq!(early, each(0..u32::try_from(early.len()).unwrap()), "cut at {cut}");
        assert_eq!(early.len() == 2, start <= cut, "cut at {cut}");
        append(&path, &bytes[cut..]);
        let late = drain(&mut follower);
        assert_eq!([early, late].concat(), each(0..3), "cut at {cut}");
    }
}

#[test]
fn an_unfinished_entry_in_prepared_space_is_waited_for() {
    let whole = tempfile::tempdir().unwrap();
    written(whole.path(), 0..3, small());
    let bytes = fs::read(whole.path().join("000001")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("000001");
    fs::write(&path, vec![0; 4096]).unwrap();
    let mut follower = Follower::open(dir.path(), FollowOptions::default()).unwrap();
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    let mut found = Vec::new();
    // A header is written in one piece.
    std::os::unix::fs::FileExt::write_all_at(&file, &bytes[..8], 0).unwrap();
    for (at, byte) in bytes.iter().enumerate().skip(8) {
        std::os::unix::fs::FileExt::write_all_at(&file, &[*byte], at as u64).unwrap();
        found.extend(drain(&mut follower));
    }
    assert_eq!(found, each(0..3));
}

#[test]
fn a_fault_in_a_finished_segment_is_told_and_gone_past() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), 0..100, small());
    let points = points(dir.path());
    let offset = points[0].0.offset;
    flip(&dir.path().join("000001"), usize::try_from(offset).unwrap() + 8);
    let mut follower = Follower::open(dir.path(), FollowOptions::default()).unwrap();
    let found = drain(&mut follower);
    assert_eq!(found[0], one(0));
    assert_eq!(found[1], Seen::Fault(Verdict::Damaged, Position::new(1, offset)));
    assert_eq!(found[2..], each(2..100));
}

#[test]
fn a_fault_below_the_mark_is_told_in_the_last_segment_too() {
    let dir = tempfile::tempdir().unwrap();
    let options = || small().segment_bytes_max(1 << 20);
    let (wal, ..) = open(dir.path(), options());
    log_values(&wal, 0..50);
    wal.sync().unwrap();
    let points = points(dir.path());
    let offset = points[9].0.offset;
    flip(&dir.path().join("000001"), usize::try_from(offset).unwrap() + 8);
    let mut follower = Follower::open(dir.path(), FollowOptions::default()).unwrap();
    let found = drain(&mut follower);
    assert_eq!(found[..10], each(0..10));
    assert_eq!(found[10], Seen::Fault(Verdict::Damaged, Position::new(1, offset)));
    assert_eq!(found[11..], each(11..50));
    log_values(&wal, 50..60);
    wal.close().unwrap();
    assert_eq!(drain(&mut follower), each(50..60));
}

#[test]
fn a_last_segment_that_ends_below_the_mark_is_told_once() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), 0..50, small().segment_bytes_max(1 << 20));
    let points = points(dir.path());
    let path = dir.path().join("000001");
    let mut follower = Follower::open(dir.path(), FollowOptions::default()).unwrap();
    // The first 40 are there, the rest is lost, and the mark's first witness with them.
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(points[39].0.offset).unwrap();
    let mut found = drain(&mut follower);
    assert_eq!(found.pop(), Some(Seen::Fault(Verdict::Damaged, points[39].0)));
    assert_eq!(found, each(0..40));
    assert_eq!(drain(&mut follower), []);
}

#[test]
fn a_header_that_is_none_is_told_and_the_next_segment_read() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), 0..100, small());
    let version = dir.path().join("000002");
    flip(&version, 4);
    let mut follower = Follower::open(dir.path(), FollowOptions::default()).unwrap();
    let found = drain(&mut follower);
    let told: Vec<_> = found.iter().filter(|seen| matches!(seen, Seen::Fault(..))).collect();
    assert_eq!(told, [&Seen::Fault(Verdict::Unsupported, Position::new(2, 4))]);
    assert_eq!(found.last(), Some(&one(99)));
}

#[test]
fn a_position_that_was_truncated_away_is_told_and_the_first_one_left_taken() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, ..) = open(dir.path(), small());
    log_values(&wal, 0..200);
    wal.sync().unwrap();
    let points = points(dir.path());
    wal.truncate(100, |_| false).unwrap();
    let (asked, checksum) = points[10];
    let mut follower = Follower::open(dir.path(), FollowOptions::default().resume(asked, checksum)).unwrap();
    let found = drain(&mut follower);
    let first: u64 = segments(dir.path())[0].0.parse().unwrap();
    assert_eq!(found[0], Seen::Moved(asked, Position::new(first, 8)));
    assert_eq!(found.last(), Some(&one(199)));
    wal.close().unwrap();
}

#[test]
fn a_segment_that_was_truncated_while_it_is_read_is_read_to_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, ..) = open(dir.path(), small());
    log_values(&wal, 0..200);
    wal.sync().unwrap();
    let points = points(dir.path());
    let own = u32::try_from(points.iter().filter(|(end, _)| end.segment == 1).count()).unwrap();
    let mut follower = Follower::open(dir.path(), FollowOptions::default()).unwrap();
    assert_eq!(seen(&follower.next(NOW).unwrap().unwrap()), one(0));
    wal.truncate(100, |_| false).unwrap();
    let found = drain(&mut follower);
    let rest = usize::try_from(own - 1).unwrap();
    assert_eq!(found[..rest], each(1..own));
    let first: u64 = segments(dir.path())[0].0.parse().unwrap();
    assert_eq!(found[rest], Seen::Moved(Position::new(2, 8), Position::new(first, 8)));
    assert_eq!(found.last(), Some(&one(199)));
    wal.close().unwrap();
}

#[test]
fn a_segment_written_anew_by_a_truncation_while_it_is_read_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, ..) = open(dir.path(), small());
    for series_ref in 0..10 {
        wal.log_series(&[series(series_ref)]).unwrap();
        log_values(&wal, 0..10);
    }
    wal.sync().unwrap();
    let mut follower = Follower::open(dir.path(), FollowOptions::default()).unwrap();
    assert!(follower.next(NOW).unwrap().is_some());
    wal.truncate(i64::MAX, |_| true).unwrap();
    let told: Vec<_> =
        drain(&mut follower).into_iter().filter(|s| matches!(s, Seen::Rewritten(..))).collect();
    assert!(
        matches!(told[..], [Seen::Rewritten(asked, now)] if asked.segment == 1 && 1 < now.segment),
        "{told:?}"
    );
    wal.close().unwrap();
}

#[test]
fn every_saved_position_resumes_behind_its_entry() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), 0..60, small());
    for (index, (end, checksum)) in points(dir.path()).into_iter().enumerate() {
        let rest = each(u32::try_from(index).unwrap() + 1..60);
        let resume = FollowOptions::default().resume(end, checksum);
        assert_eq!(drain(&mut Follower::open(dir.path(), resume).unwrap()), rest, "{end}");
        let from = FollowOptions::default().from(end);
        assert_eq!(drain(&mut Follower::open(dir.path(), from).unwrap()), rest, "{end}");
    }
}

#[test]
fn a_saved_position_in_another_log_is_told() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), 0..60, small());
    let (end, checksum) = points(dir.path())[3];
    let resume = FollowOptions::default().resume(end, checksum ^ 1);
    let mut found = drain(&mut Follower::open(dir.path(), resume).unwrap());
    assert_eq!(found.remove(0), Seen::Rewritten(end, Position::new(1, 8)));
    assert_eq!(found, each(0..60));
    // In the middle of an entry.
    let inside = Position::new(1, end.offset + 1);
    let mut found = drain(&mut Follower::open(dir.path(), FollowOptions::default().from(inside)).unwrap());
    assert_eq!(found.remove(0), Seen::Rewritten(inside, Position::new(1, 8)));
    // Behind everything.
    let beyond = Position::new(900, 400);
    let last = points(dir.path()).last().unwrap().0;
    let found = drain(&mut Follower::open(dir.path(), FollowOptions::default().from(beyond)).unwrap());
    assert_eq!(found, [Seen::Rewound(beyond, last)]);
}

#[test]
fn entries_that_power_loss_took_back_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let options = || small().segment_bytes_max(1 << 20);
    written(dir.path(), 0..50, options());
    let points = points(dir.path());
    let (asked, checksum) = points[49];
    let mut follower = Follower::open(dir.path(), FollowOptions::default()).unwrap();
    assert_eq!(drain(&mut follower).len(), 50);
    // As if the last ten had never reached the disk, nor the mark that names them.
    fs::remove_file(dir.path().join("durable")).unwrap();
    let file = OpenOptions::new().write(true).open(dir.path().join("000001")).unwrap();
    file.set_len(points[39].0.offset).unwrap();
    let mut resumed = Follower::open(dir.path(), FollowOptions::default().resume(asked, checksum)).unwrap();
    for follower in [&mut follower, &mut resumed] {
        assert_eq!(drain(follower), [Seen::Rewound(asked, points[39].0)]);
    }
    let (wal, ..) = open(dir.path(), options());
    log_values(&wal, 100..110);
    wal.close().unwrap();
    assert_eq!(drain(&mut follower), each(100..110));
    assert_eq!(drain(&mut resumed), each(100..110));
}

#[test]
fn entries_replaced_between_two_looks_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let options = || small().segment_bytes_max(1 << 20);
    written(dir.path(), 0..50, options());
    let points = points(dir.path());
    let mut follower = Follower::open(dir.path(), FollowOptions::default()).unwrap();
    assert_eq!(drain(&mut follower).len(), 50);
    fs::remove_file(dir.path().join("durable")).unwrap();
    let file = OpenOptions::new().write(true).open(dir.path().join("000001")).unwrap();
    file.set_len(points[39].0.offset).unwrap();
    let (wal, ..) = open(dir.path(), options());
    log_values(&wal, 100..130);
    wal.close().unwrap();
    let mut found = drain(&mut follower);
    assert_eq!(found.remove(0), Seen::Rewound(points[49].0, points[39].0));
    assert_eq!(found, each(100..130));
}

#[test]
fn a_repair_that_writes_the_segment_anew_is_followed_into_the_new_file() {
    let dir = tempfile::tempdir().unwrap();
    let options = || small().segment_bytes_max(1 << 20).recovery_mode(RecoveryMode::SkipDamaged);
    written(dir.path(), 0..50, options());
    let points = points(dir.path());
    let mut follower = Follower::open(dir.path(), FollowOptions::default()).unwrap();
    assert_eq!(drain(&mut follower), each(0..50));
    flip(&dir.path().join("000001"), usize::try_from(points[20].0.offset).unwrap() + 8);
    let (wal, _, report) = open(dir.path(), options());
    assert!(!report.quarantined.is_empty());
    let at = log_values(&wal, 50..60);
    wal.close().unwrap();
    // Nothing is missed, whatever file or segment the writer went on in.
    let found = drain(&mut follower);
    let seen: Vec<_> = found.iter().filter(|seen| matches!(seen, Seen::Values(_))).cloned().collect();
    assert!(seen.ends_with(&each(50..60)), "at {at}: {found:?}");
}

#[test]
fn restarts_of_the_writer_are_not_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let mut follower = Follower::open(dir.path(), FollowOptions::default()).unwrap();
    assert_eq!(drain(&mut follower), []);
    for round in 0..20 {
        let (wal, ..): (Wal, _, _) = open(dir.path(), small());
        log_values(&wal, round * 10..round * 10 + 5);
        wal.sync().unwrap();
        assert_eq!(drain(&mut follower), each(round * 10..round * 10 + 5));
        log_values(&wal, round * 10 + 5..round * 10 + 10);
        // Without closing, every second time: then the prepared zeros stay behind.
        if round % 2 == 0 {
            wal.close().unwrap()
        } else {
            drop(wal)
        }
        assert_eq!(drain(&mut follower), each(round * 10 + 5..round * 10 + 10));
    }
}

#[test]
fn an_entry_that_does_not_decode_is_told_and_gone_past() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), 0..2, small());
    let end = points(dir.path())[1].0;
    let mut bytes = Vec::new();
    wal_format::frame_payload(wal_format::EntryKind::Series, 1, &[0xff; 3], &mut bytes).unwrap();
    append(&dir.path().join("000001"), &bytes);
    let mut follower = Follower::open(dir.path(), FollowOptions::default()).unwrap();
    assert_eq!(drain(&mut follower), [one(0), one(1), Seen::Malformed(end)]);
}
