//! Entries of several threads in one log, and what must be true of them.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use wal_engine::{ErrorKind, ReadEvent, ReadOptions, Sample, SeriesRef, WalReader};

use super::{Item, Memory};

/// Sample `count` of a thread, at a time so late that no truncation drops it.
pub fn of_thread(thread: u64, count: u32) -> Sample {
    Sample { series_ref: SeriesRef(thread), time_ms: i64::MAX - 1, value: f64::from(count) }
}

/// The values that each thread's samples came back with, in log order.
pub fn by_thread(memory: &Memory, threads: u64) -> Vec<Vec<f64>> {
    let mut found = vec![Vec::new(); usize::try_from(threads).unwrap()];
    for item in &memory.items {
        if let Item::Samples(samples) = item {
            for sample in samples.iter().filter(|sample| sample.time_ms == i64::MAX - 1) {
                found[usize::try_from(sample.series_ref.0).unwrap()].push(sample.value);
            }
        }
    }
    found
}

/// Reads a live log to its end; it must look whole at every moment.
pub fn read_live(dir: &Path) -> usize {
    let mut entries = 0;
    // A segment may be truncated away between two looks; then the reader says so, and reads again.
    let Ok(mut reader) = WalReader::open(dir, ReadOptions::default()) else { return 0 };
    loop {
        match reader.next() {
            Ok(Some(ReadEvent::Entry(_))) => entries += 1,
            Ok(Some(ReadEvent::Fault(fault))) => panic!("{fault}"),
            Ok(Some(_)) => {}
            Ok(None) => return entries,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::NoSuchPosition, "{error}");
                return entries;
            }
        }
    }
}
