//! Series in the temporary that a broken truncation of the reference leaves behind.
//!
//! The reference removes the segments that it truncates before it gives its temporary their name. Killed in
//! between, the temporary holds the only copy of the series that it kept.

use std::path::Path;

use wal_engine::{ReadMethod, Series};
use wal_format::Payload;
use wal_segment::reader::{SegmentReader, SegmentStep};
use wal_segment::{Access, Modes, OsStorage, Storage, header};

use crate::exit::{self, Failure};

/// The name of the temporary.
pub(crate) const FILE: &str = "compact.tmp";

/// The series of the temporary, entry by entry, if there is one; everything else in it was to go. Holds them
/// all in memory.
pub(crate) fn series(dir: &Path, entry_bytes_max: u64) -> Result<Vec<Vec<Series>>, Failure> {
    let path = dir.join(FILE);
    let failed = |error| Failure::file(&path, &error);
    if !path.symlink_metadata().is_ok_and(|metadata| metadata.is_file()) {
        return Ok(Vec::new());
    }
    let file = OsStorage::new(dir, Modes::default()).open(FILE, Access::Read).map_err(failed)?;
    let len = file.len().map_err(failed)?;
    if let Some(reason) = header::check(&*file, len).map_err(failed)? {
        exit::warn(format_args!("{}: nothing adopted: {reason}", path.display()));
        return Ok(Vec::new());
    }
    let mut reader = SegmentReader::new(file, len, entry_bytes_max, ReadMethod::Positioned);
    let mut adopted = Vec::new();
    loop {
        let fault_at = match reader.next().map_err(failed)? {
            SegmentStep::Entry { entry, .. } => {
                if let Ok(Payload::Series(payload)) = entry.decode() {
                    adopted.push(payload.iter().map(|series| series.to_series()).collect());
                }
                continue;
            }
            SegmentStep::TooLarge { offset, .. } => offset,
            SegmentStep::End(wal_segment::reader::Tail::Fault(_)) => reader.offset(),
            SegmentStep::End(_) => return Ok(adopted),
        };
        exit::warn(format_args!(
            "{}: offset {fault_at}: passed over to the next whole entry",
            path.display()
        ));
        match reader.search(fault_at + 1).map_err(failed)?.found {
            Some(next) => reader.seek(next),
            None => return Ok(adopted),
        }
    }
}
