//! The body of the target `readers`: one segment read through positioned reads and through mapped windows.

use std::path::Path;

use wal_format::SegmentHeader;
use wal_segment::reader::READ_BYTES;
use wal_segment::{
    Access, Advance, Modes, OsStorage, ReadMethod, SegmentReader, Storage, StorageFile, Tail, header,
};

use crate::frames;

/// The first byte says how much stands before the entries, so that they lie across the edge of what is read
/// in one go, and the second what is too large to be read. Whichever way the bytes come into memory, the
/// entries, the end, what lies behind a fault and where entries begin are the same.
pub fn body(data: &[u8]) {
    let [before, limit, entries @ ..] = data else { return };
    let mut segment = SegmentHeader::CURRENT.to_bytes().to_vec();
    if FILLED <= *before {
        let short_of_edge = usize::from(before - FILLED) * 4;
        let fill = READ_BYTES - short_of_edge - frames::entry(2, b"").len();
        segment.extend(frames::entry(2, &vec![0; fill]));
    }
    segment.extend(entries);
    let limit = if *limit == 0 { 64 } else { u64::from(*limit) << 12 };
    let [one, other] = open_twice(&segment);
    let len = segment.len() as u64;
    let positioned = read_all(SegmentReader::new(one, len, limit, ReadMethod::Positioned), limit);
    let mapped = read_all(SegmentReader::new(other, len, limit, ReadMethod::Mapped), limit);
    assert_eq!(positioned, mapped);
}

/// Everything that can be read of a segment, and what is said about its end.
#[derive(Debug, PartialEq)]
struct Found {
    header: Option<wal_segment::Reason>,
    entries: Vec<(u64, u8, u8, u32, Vec<u8>)>,
    large: Vec<(u64, u64)>,
    tails: Vec<(u64, Tail, Option<u64>)>,
    boundaries: Vec<bool>,
}

fn read_all(mut reader: SegmentReader, limit: u64) -> Found {
    let len = reader.len_bytes();
    let mut found = Found {
        header: sure(header::check(reader.file(), len)),
        entries: Vec::new(),
        large: Vec::new(),
        tails: Vec::new(),
        boundaries: Vec::new(),
    };
    loop {
        match sure(reader.advance()) {
            Advance::Entry => {
                let Some((offset, entry)) = reader.entry() else { panic!("an entry that is not there") };
                let kind = entry.kind.code();
                let payload = entry.payload.to_vec();
                assert_eq!(reader.offset(), offset + entry.frame_bytes() as u64);
                found.entries.push((offset, kind, entry.flag, entry.checksum, payload));
            }
            Advance::TooLarge { offset, bytes, .. } => {
                assert!(limit < bytes);
                found.large.push((offset, bytes));
            }
            Advance::End(tail) => {
                let at = reader.offset();
                let search = sure(reader.search(at + 1));
                found.tails.push((at, tail, search.found));
                match search.found {
                    // Behind what was found, as reading on behind damage does.
                    Some(next) if found.tails.len() < TAILS_MAX => reader.seek(next),
                    _ => break,
                }
            }
        }
    }
    for back in 0..BOUNDARIES {
        let at = len.saturating_sub(back * 3);
        found.boundaries.push(sure(reader.is_boundary(at)));
    }
    found
}

fn sure<T>(read: std::io::Result<T>) -> T {
    read.unwrap_or_else(|error| panic!("a file in memory cannot be read: {error}"))
}

/// A file with these bytes, opened twice, in memory where there is a file system for that. It has lost its name
/// by then: however this process ends, nothing stays behind.
fn open_twice(bytes: &[u8]) -> [Box<dyn StorageFile>; 2] {
    let memory = Path::new("/dev/shm");
    let above = if memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() };
    let thread = format!("{:?}", std::thread::current().id());
    let number: String = thread.chars().filter(char::is_ascii_digit).collect();
    let dir = above.join(format!("wal-fuzz-{}-{number}", std::process::id()));
    let storage = OsStorage::new(&dir, Modes::default());
    let opened = (|| {
        storage.create_log_folder()?;
        std::fs::write(dir.join(NAME), bytes)?;
        let files = [storage.open(NAME, Access::Read)?, storage.open(NAME, Access::Read)?];
        std::fs::remove_dir_all(&dir)?;
        Ok(files)
    })();
    opened.unwrap_or_else(|error: std::io::Error| panic!("{}: {error}", dir.display()))
}

const NAME: &str = "000001";
const FILLED: u8 = 0xc0;
const TAILS_MAX: usize = 4;
const BOUNDARIES: u64 = 12;
