//! Bare loops over our own files: what nothing that reads or writes a log can beat.

use std::path::Path;

use wal_engine::ReadMethod;
use wal_segment::{Access, Advance, Listing, Modes, OsStorage, SegmentReader, Storage, Tail};

use crate::run::Answer;

/// A part of a segment, from one entry to another.
struct Part {
    name: String,
    from: u64,
    to: u64,
}

/// A log cut into parts of about the same size, one for each thread.
pub(crate) struct ChecksumScan {
    storage: OsStorage,
    /// The parts that each thread reads.
    shares: Vec<Vec<Part>>,
    entries: u64,
}

impl ChecksumScan {
    /// Walks the log once, to find where entries begin.
    pub(crate) fn new(dir: &Path, threads: usize) -> Answer<ChecksumScan> {
        let storage = OsStorage::new(dir, Modes::default());
        let mut shares: Vec<Vec<Part>> = (0..threads).map(|_| Vec::new()).collect();
        let mut entries = 0;
        for segment in Listing::read(&storage, &[])?.segments {
            let mut reader = reader(&storage, &segment.name)?;
            let mut from = reader.offset();
            for (share, parts) in shares.iter_mut().enumerate() {
                let goal = reader.len_bytes() / threads as u64 * (share as u64 + 1);
                let is_last = share + 1 == threads;
                while (is_last || reader.offset() < goal) && advance(&mut reader)? {
                    entries += 1;
                }
                let part = Part { name: segment.name.clone(), from, to: reader.offset() };
                from = part.to;
                parts.push(part);
            }
        }
        Ok(ChecksumScan { storage, shares, entries })
    }

    /// Reads everything and compares every checksum.
    pub(crate) fn run(&self) -> Answer<()> {
        let counted: Answer<u64> = std::thread::scope(|scope| {
            let threads: Vec<_> = self
                .shares
                .iter()
                .map(|parts| scope.spawn(|| count(&self.storage, parts).map_err(|e| e.to_string())))
                .collect();
            let mut entries = 0;
            for thread in threads {
                entries += thread.join().map_err(|_| "a thread of the scan panicked")??;
            }
            Ok(entries)
        });
        match counted? {
            entries if entries == self.entries => Ok(()),
            entries => Err(format!("the scan found {entries} entries of {}", self.entries).into()),
        }
    }
}

fn count(storage: &OsStorage, parts: &[Part]) -> Answer<u64> {
    let mut entries = 0;
    for part in parts {
        let mut reader = reader(storage, &part.name)?;
        reader.seek(part.from);
        while reader.offset() < part.to && advance(&mut reader)? {
            entries += 1;
        }
    }
    Ok(entries)
}

fn reader(storage: &OsStorage, name: &str) -> Answer<SegmentReader> {
    let file = storage.open(name, Access::Read)?;
    let len = file.len()?;
    Ok(SegmentReader::new(file, len, u64::MAX, ReadMethod::Positioned))
}

/// Whether there was one more entry.
fn advance(reader: &mut SegmentReader) -> Answer<bool> {
    match reader.advance()? {
        Advance::Entry | Advance::TooLarge { .. } => Ok(true),
        Advance::End(Tail::Fault(reason)) => Err(format!("the log is at fault: {reason}").into()),
        Advance::End(_) => Ok(false),
    }
}
