//! The body of the fuzz target `import`: takes any bytes, and panics where reading NDJSON breaks a promise.

use wal_engine::{LogEntry, Position};
use wal_format::{Entry, EntryKind, encode_deletes, encode_samples, encode_series};
use wal_types::{Sample, Series, Stone};

use crate::filter::Filter;
use crate::json_in::{Batch, Parser};
use crate::json_out;

/// Each line is refused with a place in it, or is an entry that `dump` prints so that `import` reads the
/// same items again, to the last bit, and prints the same text again. Returns how many lines were entries.
pub fn import(data: &[u8]) -> usize {
    let mut entries = 0;
    // One for all lines, as the command has it: nothing of a line may show in the next one.
    let mut parser = Parser::default();
    for line in data.split(|byte| *byte == b'\n') {
        let read = match parser.line(line) {
            Ok(batch) => Items::of(&batch),
            Err(bad) => {
                // A string without an end is looked for past the last byte.
                assert!(
                    0 < bad.column && bad.column <= line.len() + 2,
                    "column {} of {}",
                    bad.column,
                    line.len()
                );
                assert!(!bad.reason.is_empty());
                continue;
            }
        };
        let printed = dump(&read);
        let again = match parser.line(&printed) {
            Ok(batch) => Items::of(&batch),
            Err(bad) => panic!("our own line does not read: {bad}: {}", String::from_utf8_lossy(&printed)),
        };
        assert_eq!(read, again);
        assert_eq!(printed, dump(&again));
        entries += 1;
    }
    entries
}

/// The items of a line, owned.
#[derive(Debug, PartialEq)]
enum Items {
    Series(Vec<Series>),
    Samples(Vec<Sample>),
    Deletes(Vec<Stone>),
}

impl Items {
    fn of(batch: &Batch<'_>) -> Self {
        match batch {
            Batch::Series(series) => Self::Series(series.to_vec()),
            Batch::Samples(samples) => Self::Samples(samples.to_vec()),
            Batch::Deletes(stones) => Self::Deletes(stones.to_vec()),
        }
    }
}

/// The line that `dump` prints of these items, which have been through the bytes of a log.
fn dump(items: &Items) -> Vec<u8> {
    let mut bytes = Vec::new();
    let kind = match items {
        Items::Series(series) => {
            encode_series(series, &mut bytes);
            EntryKind::Series
        }
        Items::Samples(samples) => {
            encode_samples(samples, &mut bytes);
            EntryKind::Samples
        }
        Items::Deletes(stones) => {
            encode_deletes(stones, &mut bytes);
            EntryKind::Deletes
        }
    };
    let payload = match (Entry { kind, flag: 0, payload: &bytes, checksum: 0 }).decode() {
        Ok(payload) => payload,
        Err(error) => panic!("our own payload does not decode: {error}"),
    };
    let at = Position { segment: 1, offset: 8 };
    let mut line = Vec::new();
    let entry = LogEntry { at, end: at, checksum: 0, payload };
    if let Err(error) = json_out::entry(&mut line, &entry, &Filter::default()) {
        panic!("memory takes every write: {error}");
    }
    line
}
