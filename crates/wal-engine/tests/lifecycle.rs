//! A log's ordinary life: appending, committing, rotating, reopening, closing.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use common::{Item, Memory, log_values, open, sample, segments, series, small, values, written};
use wal_engine::{
    ErrorKind, Interval, Intervals, Log, NopWal, Position, Preallocation, ReadEvent, ReadMethod, ReadOptions,
    ReplaySink, Sample, Series, SeriesPayload, SeriesRef, Stone, StoneRow, Wal, WalOptions, WalReader,
};
use wal_format::{EntryKind, SegmentHeader, frame_payload, frame_samples, frame_series};

#[test]
fn what_was_logged_comes_back_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, memory, report) = open(dir.path(), small());
    assert!(memory.items.is_empty());
    assert_eq!(report.end, Position::new(1, 8));
    wal.log_series(&[series(1), series(2)]).unwrap();
    log_values(&wal, 0..100);
    let mut intervals = Intervals::new();
    intervals.add(Interval { mint_ms: 0, maxt_ms: 5 });
    intervals.add(Interval { mint_ms: 10, maxt_ms: 15 });
    wal.log_deletes(&[Stone { series_ref: SeriesRef(1), intervals }]).unwrap();
    wal.close().unwrap();

    let (wal, memory, report) = open(dir.path(), small());
    assert_eq!(memory.refs(), [1, 2]);
    assert_eq!(memory.values(), values(0..100));
    assert_eq!(memory.rows().len(), 2, "every interval is a row");
    assert_eq!(report.stats.entries, 102);
    wal.close().unwrap();
}

#[test]
fn reopening_goes_on_in_the_last_segment() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), 0..3, WalOptions::default());
    let (wal, memory, report) = open(dir.path(), WalOptions::default());
    assert_eq!(memory.values(), values(0..3));
    assert_eq!(report.end.segment, 1);
    log_values(&wal, 3..6);
    wal.close().unwrap();
    assert_eq!(segments(dir.path()).len(), 1);
    assert_eq!(open(dir.path(), WalOptions::default()).1.values(), values(0..6));
}

#[test]
fn a_closed_log_takes_exactly_what_it_holds() {
    for preallocation in [Preallocation::None, Preallocation::Fallocate, Preallocation::ZeroFill] {
        let dir = tempfile::tempdir().unwrap();
        let (wal, ..) = open(dir.path(), small().preallocation(preallocation));
        for value in 0..60 {
            let end = wal.log_samples(&[sample(value)]).unwrap();
            wal.commit(end).unwrap();
        }
        wal.close().unwrap();
        let mut reader = WalReader::open(dir.path(), ReadOptions::default()).unwrap();
        let mut ends = 0;
        while let Some(event) = reader.next().unwrap() {
            if let ReadEvent::SegmentEnd(end) = event {
                assert_eq!(end.bytes, end.valid_bytes, "{preallocation:?}");
                ends += 1;
            }
        }
        assert_eq!(ends, segments(dir.path()).len());
        assert!(1 < ends);
    }
}

#[test]
fn no_segment_passes_its_size_unless_one_entry_alone_does() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, ..) = open(dir.path(), small());
    let large: Vec<_> = (0..100).map(sample).collect();
    for round in 0..5 {
        log_values(&wal, 0..20 + round);
        wal.log_samples(&large).unwrap();
    }
    wal.close().unwrap();
    let mut reader = WalReader::open(dir.path(), ReadOptions::default()).unwrap();
    let mut oversize = 0;
    while let Some(event) = reader.next().unwrap() {
        if let ReadEvent::SegmentEnd(end) = event
            && 512 < end.bytes
        {
            oversize += 1;
            assert_eq!(end.stats.entries, 1, "an oversize entry has its segment to itself");
        }
    }
    assert_eq!(oversize, 5);
}

#[test]
fn an_empty_batch_writes_no_entry() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, ..) = open(dir.path(), small());
    let before = wal.end();
    assert_eq!(wal.log_samples(&[]).unwrap(), before);
    assert_eq!(wal.log_series(&[]).unwrap(), before);
    let bare = Stone { series_ref: SeriesRef(1), intervals: Intervals::new() };
    assert_eq!(wal.log_deletes(&[bare]).unwrap(), before);
    wal.close().unwrap();
    assert!(segments(dir.path()).is_empty(), "nothing was ever written");
}

#[test]
fn a_batch_above_the_entry_limit_is_split() {
    let dir = tempfile::tempdir().unwrap();
    let options = || WalOptions::default().entry_bytes_max(200);
    let (wal, ..) = open(dir.path(), options());
    let batch: Vec<_> = (0..100).map(sample).collect();
    let end = wal.log_samples(&batch).unwrap();
    assert_eq!(end, wal.end());
    wal.close().unwrap();
    let (wal, memory, _) = open(dir.path(), options());
    assert!(1 < memory.items.len());
    assert_eq!(memory.values(), values(0..100));
    drop(wal);
}

#[test]
fn an_item_above_the_entry_limit_is_an_error_and_the_log_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, ..) = open(dir.path(), WalOptions::default().entry_bytes_max(200));
    let text = "x".repeat(300);
    let labels = [("a", text.as_str())].into_iter().collect();
    let error = wal.log_series(&[Series { series_ref: SeriesRef(1), labels }]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    log_values(&wal, 0..2);
    wal.close().unwrap();
    assert_eq!(open(dir.path(), WalOptions::default()).1.values(), values(0..2));
}

#[test]
fn a_valid_entry_above_the_reading_limit_is_too_large_and_not_damage() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, ..) = open(dir.path(), WalOptions::default());
    let batch: Vec<_> = (0..1000).map(sample).collect();
    wal.log_samples(&batch).unwrap();
    wal.close().unwrap();
    let before = common::snapshot(dir.path());
    let options = WalOptions::default().read_entry_bytes_max(4096);
    let error = Wal::open(dir.path(), options).unwrap().replay(&mut ()).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert_eq!(error.position(), Some(Position::new(1, 8)));
    assert_eq!(common::snapshot(dir.path()), before);
}

#[test]
fn committing_makes_durable_what_lies_in_any_segment() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, ..) = open(dir.path(), small());
    let early = log_values(&wal, 0..5);
    let late = log_values(&wal, 5..100);
    assert!(early.segment < late.segment);
    wal.commit(early).unwrap();
    assert!(early <= wal.durable_position() && wal.durable_position() <= late);
    wal.commit(late).unwrap();
    assert_eq!(wal.durable_position(), late);
    assert_eq!(wal.metrics().unsynced_bytes, 0);
}

#[test]
fn committing_beyond_the_end_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, ..) = open(dir.path(), small());
    let end = log_values(&wal, 0..1);
    let beyond = Position { offset: end.offset + 1, ..end };
    assert_eq!(wal.commit(beyond).unwrap_err().kind(), ErrorKind::BeyondEnd);
    wal.commit(end).unwrap();
}

#[test]
fn the_flush_interval_syncs_in_the_background() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, ..) = open(dir.path(), small().flush_interval(Some(Duration::from_millis(1))));
    let end = log_values(&wal, 0..3);
    let deadline = Instant::now() + Duration::from_secs(30);
    while wal.durable_position() < end {
        assert!(Instant::now() < deadline, "no background sync");
        std::thread::yield_now();
    }
}

#[test]
fn dropping_a_log_writes_its_buffers() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, ..) = open(dir.path(), WalOptions::default());
    log_values(&wal, 0..10);
    drop(wal);
    assert_eq!(open(dir.path(), WalOptions::default()).1.values(), values(0..10));
}

#[test]
fn a_second_writer_is_told_who_holds_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, ..) = open(dir.path(), WalOptions::default());
    let error = Wal::open(dir.path(), WalOptions::default()).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Locked);
    assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
    wal.close().unwrap();
    Wal::open(dir.path(), WalOptions::default()).unwrap();
}

#[test]
fn a_reader_beside_a_writer_sees_no_fault_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, ..) = open(dir.path(), small());
    for value in 0..50 {
        let end = wal.log_samples(&[sample(value)]).unwrap();
        wal.commit(end).unwrap();
        let mut reader = WalReader::open(dir.path(), ReadOptions::default()).unwrap();
        assert!(reader.live());
        let mut entries = 0;
        while let Some(event) = reader.next().unwrap() {
            match event {
                ReadEvent::Entry(_) => entries += 1,
                ReadEvent::Fault(fault) => panic!("{fault}"),
                _ => {}
            }
        }
        assert_eq!(entries, value + 1);
    }
    wal.close().unwrap();
    assert!(!WalReader::open(dir.path(), ReadOptions::default()).unwrap().live());
}

#[test]
fn reading_can_start_at_any_entry_and_nowhere_else() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), 0..60, small());
    let (_, memory, _) = open(dir.path(), small());
    for (index, at) in memory.at.iter().enumerate() {
        let mut reader = WalReader::open(dir.path(), ReadOptions::default().from(*at)).unwrap();
        let mut entries = 0;
        while let Some(event) = reader.next().unwrap() {
            if let ReadEvent::Entry(entry) = event {
                assert!(entries != 0 || entry.at == *at);
                entries += 1;
            }
        }
        assert_eq!(entries, memory.at.len() - index);
        let inside = Position { offset: at.offset + 1, ..*at };
        let error = WalReader::open(dir.path(), ReadOptions::default().from(inside)).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::NoSuchPosition);
    }
}

#[test]
fn files_and_folders_get_the_modes_that_were_set() {
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("deep/wal");
    written(&dir, 0..50, small());
    assert_eq!(mode(&dir), 0o750);
    for (name, _) in segments(&dir) {
        assert_eq!(mode(&dir.join(name)), 0o640);
    }
    let dir = root.path().join("own");
    written(&dir, 0..5, small().file_mode(0o600).dir_mode(0o700));
    assert_eq!(mode(&dir), 0o700);
    assert_eq!(mode(&dir.join("000001")), 0o600);
}

#[test]
fn mapped_replay_and_threads_give_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, ..) = open(dir.path(), WalOptions::default().segment_bytes_max(3 << 20));
    let mut value = 0;
    for round in 0..600 {
        let batch: Vec<_> = (value..value + 1000).map(sample).collect();
        value += 1000;
        wal.log_samples(&batch).unwrap();
        wal.log_series(&[series(round)]).unwrap();
    }
    wal.close().unwrap();
    let inline = open(dir.path(), WalOptions::default().replay_threads(1)).1;
    assert_eq!(inline.values().len(), value as usize);
    let threads = open(dir.path(), WalOptions::default().replay_threads(3)).1;
    assert!(inline == threads);
    let mapped = open(dir.path(), WalOptions::default().read_method(ReadMethod::Mapped)).1;
    assert!(inline == mapped);
}

/// Remembers everything but samples.
#[derive(Default)]
struct WithoutSamples(Memory);

impl ReplaySink for WithoutSamples {
    fn series(&mut self, at: Position, batch: &SeriesPayload<'_>) {
        self.0.series(at, batch);
    }

    fn wants_samples(&self) -> bool {
        false
    }

    fn samples(&mut self, at: Position, _: &[Sample]) {
        panic!("samples at {at}, which nobody wanted");
    }

    fn deletes(&mut self, at: Position, batch: &[StoneRow]) {
        self.0.deletes(at, batch);
    }

    fn malformed(&mut self, at: Position, error: &wal_engine::DecodeError) {
        self.0.malformed(at, error);
    }
}

#[test]
fn a_sink_that_wants_no_samples_is_told_everything_else() {
    let dir = tempfile::tempdir().unwrap();
    let mut bytes = SegmentHeader::CURRENT.to_bytes().to_vec();
    for value in (0..300_000_u32).step_by(1000) {
        frame_series(&[series(u64::from(value))], u32::MAX, &mut bytes).unwrap();
        let samples: Vec<_> = (value..value + 1000).map(sample).collect();
        frame_samples(&samples, u32::MAX, &mut bytes).unwrap();
        // Its checksum holds, and its sample is cut short.
        frame_payload(EntryKind::Samples, 1, &[0; 20], &mut bytes).unwrap();
    }
    fs::write(dir.path().join("000000"), &bytes).unwrap();
    for threads in [1, 3] {
        let options = || WalOptions::default().replay_threads(threads);
        let (wal, memory, report) = open(dir.path(), options());
        drop(wal);
        let mut without = WithoutSamples::default();
        let (_, its_report) = Wal::open(dir.path(), options()).unwrap().replay(&mut without).unwrap();
        assert_eq!(its_report.stats, report.stats);
        assert_eq!((its_report.stats.samples, its_report.stats.malformed), (300_000, 300));
        let of_series = |memory: &Memory| {
            let items = memory.items.iter().zip(&memory.at);
            let items = items.filter(|(item, _)| matches!(item, Item::Series(_)));
            items.map(|(item, at)| (item.clone(), *at)).collect::<Vec<_>>()
        };
        assert_eq!(without.0.items.len(), 300);
        assert!(of_series(&without.0) == of_series(&memory));
        assert_eq!(without.0.malformed, memory.malformed);
    }
}

#[test]
fn the_same_code_runs_with_a_log_and_without() {
    let dir = tempfile::tempdir().unwrap();
    let logs: [Box<dyn Log>; 2] = [Box::new(open(dir.path(), small()).0), Box::new(NopWal)];
    for log in logs {
        log.log_series(&[series(1)]).unwrap();
        let end = log.log_samples(&[sample(1)]).unwrap();
        log.log_deletes(&[]).unwrap();
        log.commit(end).unwrap();
        log.sync().unwrap();
        log.truncate(0, &mut |_| true).unwrap();
        log.close().unwrap();
    }
}

#[test]
fn a_log_can_be_written_without_a_thread_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let options = || small().background_thread(false);
    let (wal, ..) = open(dir.path(), options());
    let end = log_values(&wal, 0..1000);
    wal.commit(end).unwrap();
    drop(wal);
    assert_eq!(open(dir.path(), options()).1.values(), values(0..1000));
}

#[test]
fn the_last_segment_number_is_used_and_then_refused() {
    let dir = tempfile::tempdir().unwrap();
    let source = tempfile::tempdir().unwrap();
    written(source.path(), 0..20, small());
    std::fs::copy(source.path().join("000001"), dir.path().join(u64::MAX.to_string())).unwrap();
    // The last segment is gone on with while there is room in it; there is no number for a further one.
    let (wal, found, _) = open(dir.path(), small());
    let before = u32::try_from(found.values().len()).unwrap();
    let refused =
        (before..1000).find_map(|value| wal.log_samples(&[sample(value)]).err().map(|error| (value, error)));
    let (refused, error) = refused.unwrap();
    assert_eq!(error.kind(), ErrorKind::NumbersExhausted);
    wal.sync().unwrap();
    drop(wal);
    let found = open(dir.path(), small()).1;
    assert_eq!(found.values(), values(0..refused), "what was accepted is kept");
}
