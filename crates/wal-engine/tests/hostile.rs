//! Files that change under a reader, bytes that make it work, logs copied by hard links, and who holds the lock.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::disk::FaultyDisk;
use common::{log_values, open, segments, small, values, written};
use wal_engine::{
    ErrorKind, Position, ReadEvent, ReadMethod, ReadOptions, RecoveryMode, ReplaySink, Sample, Wal,
    WalOptions, WalReader,
};

use wal_format::{SegmentHeader, frame_samples};

/// Cuts the last segment to a few bytes when the first entry arrives.
struct Cutter {
    path: PathBuf,
    seen: Vec<f64>,
}

impl ReplaySink for Cutter {
    fn samples(&mut self, _: Position, batch: &[Sample]) {
        if self.seen.is_empty() {
            cut_to(&self.path, 40);
        }
        self.seen.extend(batch.iter().map(|sample| sample.value));
    }
}

fn cut_to(path: &Path, bytes: u64) {
    fs::OpenOptions::new().write(true).open(path).unwrap().set_len(bytes).unwrap();
}

#[test]
fn a_file_that_shrinks_under_a_reader_ends_it_and_kills_nobody() {
    let dir = tempfile::tempdir().unwrap();
    // More than a reader takes in one go.
    written(dir.path(), 0..30_000, WalOptions::default());
    let path = dir.path().join("000001");
    assert!(800_000 < fs::metadata(&path).unwrap().len());
    let mut reader = WalReader::open(dir.path(), ReadOptions::default()).unwrap();
    let mut entries = 0;
    while let Some(event) = reader.next().unwrap() {
        match event {
            ReadEvent::Entry(_) if entries == 0 => {
                cut_to(&path, 40);
                entries = 1;
            }
            ReadEvent::Entry(_) => entries += 1,
            _ => {}
        }
    }
    assert!((1..30_000).contains(&entries), "{entries}");
}

#[test]
fn a_file_that_shrinks_during_replay_is_an_error_or_a_shorter_log() {
    for threads in [1, 2] {
        let dir = tempfile::tempdir().unwrap();
        written(dir.path(), 0..30_000, WalOptions::default());
        let mut cutter = Cutter { path: dir.path().join("000001"), seen: Vec::new() };
        let options = WalOptions::default().replay_threads(threads);
        let outcome = Wal::open(dir.path(), options).unwrap().replay(&mut cutter);
        assert!(cutter.seen.len() < 30_000);
        assert_eq!(cutter.seen, values(0..u32::try_from(cutter.seen.len()).unwrap()));
        if let Ok((_, report)) = outcome {
            assert!(report.fault.is_some(), "{report}");
        }
    }
}

/// Tries to get hold of the log that is being replayed.
struct Rival {
    dir: PathBuf,
    told: Vec<ErrorKind>,
}

impl ReplaySink for Rival {
    fn samples(&mut self, _: Position, _: &[Sample]) {
        let error = Wal::open(&self.dir, WalOptions::default()).err().unwrap();
        self.told.push(error.kind());
    }
}

#[test]
fn while_a_file_is_mapped_the_lock_keeps_every_other_writer_out() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), 0..3, WalOptions::default());
    let mut rival = Rival { dir: dir.path().to_owned(), told: Vec::new() };
    let options = WalOptions::default().read_method(ReadMethod::Mapped);
    let (wal, _) = Wal::open(dir.path(), options).unwrap().replay(&mut rival).unwrap();
    assert_eq!(rival.told, [ErrorKind::Locked; 3]);
    // Readers are not kept out, and do not notice.
    let mut reader = WalReader::open(dir.path(), ReadOptions::default()).unwrap();
    assert!(reader.live());
    let mut entries = 0;
    while let Some(event) = reader.next().unwrap() {
        entries += usize::from(matches!(event, ReadEvent::Entry(_)));
    }
    assert_eq!(entries, 3);
    wal.close().unwrap();
}

#[test]
fn a_copy_by_hard_links_and_its_original_go_separate_ways() {
    let root = tempfile::tempdir().unwrap();
    let (original, copy) = (root.path().join("original"), root.path().join("copy"));
    written(&original, 0..10, small());
    fs::create_dir(&copy).unwrap();
    for entry in fs::read_dir(&original).unwrap() {
        let path = entry.unwrap().path();
        fs::hard_link(&path, copy.join(path.file_name().unwrap())).unwrap();
    }
    let before: Vec<_> = common::snapshot(&copy);
    let (wal, memory, _) = open(&original, small());
    assert_eq!(memory.values(), values(0..10));
    wal.commit(log_values(&wal, 10..60)).unwrap();
    wal.truncate(30, |_| true).unwrap();
    wal.close().unwrap();
    assert_eq!(common::snapshot(&copy), before, "the copy changed with the original");
    assert!(1 < segments(&original).len());
    let (wal, memory, _) = open(&copy, small());
    assert_eq!(memory.values(), values(0..10));
    wal.commit(log_values(&wal, 70..75)).unwrap();
    wal.close().unwrap();
    assert!(!open(&original, small()).1.values().contains(&70.0));
}

/// A length that lies, up to nearly the end of the segment, before each of many small entries: every one of them
/// makes a gap, and to know that it lies, the rest of the segment has to be read.
#[test]
fn gaps_made_on_purpose_cost_work_linear_in_the_segment() {
    const SEGMENT_BYTES: usize = 1 << 20;
    let mut bytes = SegmentHeader::CURRENT.to_bytes().to_vec();
    let mut entries = 0;
    while bytes.len() + 64 < SEGMENT_BYTES {
        let lie = u32::try_from(SEGMENT_BYTES - bytes.len() - 40).unwrap();
        bytes.extend([3, 1]);
        bytes.extend(lie.to_be_bytes());
        frame_samples(&[Sample::new(1, entries, 1.0)], 1 << 20, &mut bytes).unwrap();
        entries += 1;
    }
    bytes.resize(SEGMENT_BYTES, 0xff);
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("000001"), &bytes).unwrap();
    fs::write(dir.path().join("000002"), SegmentHeader::CURRENT.to_bytes()).unwrap();
    let options = WalOptions::default().recovery_mode(RecoveryMode::SkipDamaged);
    let (_wal, found, report, disk) = FaultyDisk::open_log(dir.path(), options);
    let read = disk.read_bytes.load(std::sync::atomic::Ordering::Relaxed);
    // Without a bound it is the square: some ten thousand times the size of the segment.
    assert!(read < 32 * SEGMENT_BYTES as u64 + (300 << 20), "{read} bytes read");
    assert!(report.gaps.len() < usize::try_from(entries).unwrap(), "the bound was not needed");
    assert_eq!(report.gaps.last().unwrap().to_offset, bytes.len() as u64, "what is left out is told");
    let times: Vec<i64> = (0..i64::try_from(found.values().len()).unwrap()).collect();
    assert_eq!(found.times(), times, "what came back is what was written, in order");
}
