//! One segment read entry by entry: windows, the reading limit, files that grow and shrink, the search behind a fault.
#![allow(clippy::unwrap_used)]

use std::io;
use std::sync::{Arc, Mutex};

use wal_format::{EntryFault, EntryKind, SegmentHeader, frame_payload};
use wal_segment::header::{check, first_nonzero};
use wal_segment::reader::READ_BYTES;
use wal_segment::{
    Access, Advance, Fault, MappedWindow, Modes, OsStorage, Position, ReadMethod, Reason, SegmentId,
    SegmentReader, SegmentStep, Storage, StorageFile, Tail, Verdict,
};

/// A file in memory that reads at most so many bytes at once, and refuses to be mapped with an error of this kind.
#[derive(Clone, Debug)]
struct Bytes {
    bytes: Vec<u8>,
    at_once: usize,
    no_map: io::ErrorKind,
    /// The size of every buffer that was to be filled, and what was given in all.
    asked: Arc<Mutex<Vec<usize>>>,
    given: Arc<Mutex<usize>>,
}

impl StorageFile for Bytes {
    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.asked.lock().unwrap().push(buffer.len());
        let from = usize::try_from(offset).unwrap().min(self.bytes.len());
        let have = buffer.len().min(self.at_once).min(self.bytes.len() - from);
        buffer[..have].copy_from_slice(&self.bytes[from..from + have]);
        *self.given.lock().unwrap() += have;
        Ok(have)
    }

    fn write_at(&self, _: &[u8], _: u64) -> io::Result<usize> {
        unreachable!("a reader does not write")
    }

    fn sync(&self) -> io::Result<()> {
        unreachable!("a reader does not sync")
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        unreachable!("a reader does not cut")
    }

    fn allocate(&self, _: u64, _: u64) -> io::Result<()> {
        unreachable!("a reader needs no room")
    }

    fn links(&self) -> io::Result<u64> {
        Ok(1)
    }

    fn map(&self, _: u64, _: usize) -> io::Result<MappedWindow> {
        Err(io::Error::from(self.no_map))
    }
}

fn in_memory(bytes: &[u8]) -> Bytes {
    let no_map = io::ErrorKind::Unsupported;
    let (asked, given) = Default::default();
    Bytes { bytes: bytes.to_vec(), at_once: usize::MAX, no_map, asked, given }
}

fn entry(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    frame_payload(EntryKind::Samples, 1, payload, &mut out).unwrap();
    out
}

/// A segment of entries with payloads of these sizes, each filled with its index.
fn segment(sizes: &[usize]) -> Vec<u8> {
    let mut bytes = SegmentHeader::CURRENT.to_bytes().to_vec();
    for (size, fill) in sizes.iter().zip(1..) {
        bytes.extend(entry(&vec![fill; *size]));
    }
    bytes
}

fn reader(file: Bytes, limit: u64) -> SegmentReader {
    let len = file.len().unwrap();
    SegmentReader::new(Box::new(file), len, limit, ReadMethod::Positioned)
}

/// Offset, first byte of the payload and size of every entry up to the end, and the end.
fn all(reader: &mut SegmentReader) -> (Vec<(u64, u8, usize)>, Advance) {
    let mut entries = Vec::new();
    loop {
        match reader.next().unwrap() {
            SegmentStep::Entry { offset, entry } => {
                entries.push((offset, entry.payload[0], entry.payload.len()));
                let again = reader.entry().map(|(offset, entry)| (offset, entry.kind, entry.payload.len()));
                assert_eq!(again, entries.last().map(|e| (e.0, EntryKind::Samples, e.2)));
            }
            SegmentStep::TooLarge { offset, kind, bytes } => {
                return (entries, Advance::TooLarge { offset, kind, bytes });
            }
            SegmentStep::End(tail) => return (entries, Advance::End(tail)),
        }
    }
}

#[test]
fn entries_of_all_sizes_are_read_through_windows_of_all_sizes() {
    let sizes = [1, 100, READ_BYTES - 120, READ_BYTES, 5 * READ_BYTES, 3, READ_BYTES / 2, READ_BYTES / 2, 9];
    let bytes = segment(&sizes);
    let mut expected = Vec::new();
    let mut at = 8;
    for (size, fill) in sizes.iter().zip(1..) {
        expected.push((at, fill, *size));
        at += *size as u64 + 10;
    }
    for at_once in [READ_BYTES / 3, READ_BYTES - 1, usize::MAX] {
        let file = Bytes { at_once, ..in_memory(&bytes) };
        let given = Arc::clone(&file.given);
        let mut reader = reader(file, u64::MAX);
        assert_eq!(all(&mut reader), (expected.clone(), Advance::End(Tail::Exact)));
        assert_eq!(*given.lock().unwrap(), bytes.len() - 8, "every byte is read once");
        assert_eq!(reader.work_bytes(), 2 * (bytes.len() as u64 - 8), "and checked once");
        assert_eq!((reader.offset(), reader.len_bytes()), (bytes.len() as u64, bytes.len() as u64));
    }
}

#[test]
fn the_window_is_small_again_behind_an_entry_that_needed_a_large_one() {
    let mut sizes = vec![5 * READ_BYTES];
    sizes.extend([READ_BYTES / 8; 80]);
    let file = in_memory(&segment(&sizes));
    let asked = Arc::clone(&file.asked);
    assert_eq!(all(&mut reader(file, u64::MAX)).0.len(), 81);
    let asked = asked.lock().unwrap();
    assert!(asked.iter().any(|bytes| 4 * READ_BYTES < *bytes));
    assert!(asked.iter().rev().take(5).all(|bytes| *bytes <= READ_BYTES), "{asked:?}");
}

#[test]
fn a_valid_entry_above_the_limit_is_told_and_stepped_over() {
    // Once within the first window, and once so large that it is checked in pieces.
    for size in [100, 3 * READ_BYTES + 7] {
        let bytes = segment(&[20, size, 30]);
        let (limit, frame) = (size as u64 + 9, size as u64 + 10);
        for at_once in [1000, usize::MAX] {
            let file = Bytes { at_once, ..in_memory(&bytes) };
            let asked = Arc::clone(&file.asked);
            let mut small = reader(file, limit);
            let told = Advance::TooLarge { offset: 38, kind: EntryKind::Samples, bytes: frame };
            assert_eq!(all(&mut small), (vec![(8, 1, 20)], told));
            assert!(small.entry().is_none());
            assert_eq!(all(&mut small), (vec![(38 + frame, 3, 30)], Advance::End(Tail::Exact)));
            assert!(asked.lock().unwrap().iter().all(|bytes| *bytes <= READ_BYTES), "{asked:?}");
            let mut large = reader(in_memory(&bytes), limit + 1);
            assert_eq!(all(&mut large).0.len(), 3);
        }
    }
}

#[test]
fn no_limit_however_small_makes_damage_of_a_whole_entry() {
    let bytes = segment(&[20]);
    let told = Advance::TooLarge { offset: 8, kind: EntryKind::Samples, bytes: 30 };
    for limit in 0..30 {
        assert_eq!(all(&mut reader(in_memory(&bytes), limit)), (vec![], told), "limit {limit}");
    }
}

#[test]
fn a_damaged_entry_above_the_limit_is_damage_and_no_matter_of_the_limit() {
    let size = 2 * READ_BYTES;
    let sound = segment(&[20, size]);
    for at in [38 + 1, 38 + 6, sound.len() / 2, sound.len() - 5, sound.len() - 1] {
        let mut bytes = sound.clone();
        bytes[at] ^= 1;
        let mut reader = reader(in_memory(&bytes), 1000);
        let (entries, end) = all(&mut reader);
        assert_eq!(entries.len(), 1);
        let Advance::End(Tail::Fault(Reason::Entry(EntryFault::Checksum { stored, computed }))) = end else {
            panic!("{end:?}");
        };
        assert_ne!(stored, computed);
        assert_eq!(reader.offset(), 38, "reading stays at the fault");
    }
}

#[test]
fn a_file_cut_while_it_is_read_ends_in_a_fault_and_not_in_an_error() {
    let bytes = segment(&[20, 50, 2 * READ_BYTES]);
    let full = bytes.len() as u64;
    for (limit, kept) in [(u64::MAX, 38 + 30), (u64::MAX, 300), (1000, 300), (1000, bytes.len() - 3)] {
        let file = in_memory(&bytes[..kept]);
        let mut reader = SegmentReader::new(Box::new(file), full, limit, ReadMethod::Positioned);
        let (entries, end) = all(&mut reader);
        assert_eq!(entries.len(), if kept == 68 { 1 } else { 2 });
        assert!(matches!(end, Advance::End(Tail::Fault(Reason::Entry(_)))), "{end:?}");
    }
    // Cut exactly behind an entry: the end of what is there.
    let mut reader =
        SegmentReader::new(Box::new(in_memory(&bytes[..38])), full, u64::MAX, ReadMethod::Positioned);
    assert_eq!(all(&mut reader), (vec![(8, 1, 20)], Advance::End(Tail::Exact)));
}

#[test]
fn a_grown_file_is_read_on_where_it_ended() {
    let bytes = segment(&[20, 50]);
    let file = in_memory(&bytes);
    let asked = Arc::clone(&file.asked);
    let mut reader = SegmentReader::new(Box::new(file), 38 + 30, u64::MAX, ReadMethod::Positioned);
    let (entries, end) = all(&mut reader);
    assert_eq!(entries, [(8, 1, 20)]);
    // Nothing new: nothing is read again.
    let reads = asked.lock().unwrap().len();
    reader.grow_to(68);
    assert_eq!(all(&mut reader), (vec![], end));
    assert_eq!(asked.lock().unwrap().len(), reads);
    assert!(matches!(end, Advance::End(Tail::Fault(Reason::Entry(EntryFault::PastEnd { .. })))), "{end:?}");
    reader.grow_to(10);
    assert_eq!(reader.len_bytes(), 68, "it never shrinks");
    reader.grow_to(bytes.len() as u64);
    assert_eq!(all(&mut reader), (vec![(38, 2, 50)], Advance::End(Tail::Exact)));
}

#[test]
fn looking_again_forgets_what_was_read_and_believes_the_new_length() {
    let bytes = segment(&[20, 50]);
    let mut reader = reader(in_memory(&bytes), u64::MAX);
    assert_eq!(all(&mut reader).0.len(), 2);
    reader.seek(38);
    reader.look_again(38 + 3);
    assert!(reader.entry().is_none());
    let end = Tail::Fault(Reason::Entry(EntryFault::Incomplete { have: 3 }));
    assert_eq!(reader.advance().unwrap(), Advance::End(end));
    reader.look_again(bytes.len() as u64);
    assert_eq!(all(&mut reader), (vec![(38, 2, 50)], Advance::End(Tail::Exact)));
}

#[test]
fn zeros_to_the_end_are_space_and_anything_else_among_them_is_a_fault() {
    let mut bytes = segment(&[20]);
    bytes.extend(vec![0; 2 * READ_BYTES]);
    let zeros = Tail::Zeros { bytes: 2 * READ_BYTES as u64 };
    assert_eq!(all(&mut reader(in_memory(&bytes), u64::MAX)).1, Advance::End(zeros));
    let at = READ_BYTES + 77;
    bytes[at] = 1;
    let fault = Tail::Fault(Reason::AfterEndMark { first_at: at as u64 });
    assert_eq!(all(&mut reader(in_memory(&bytes), u64::MAX)).1, Advance::End(fault));
    // Whoever knows that a writer is at work believes the end mark.
    let mut believing = reader(in_memory(&bytes), u64::MAX);
    believing.believe_end_mark(true);
    assert_eq!(all(&mut believing).1, Advance::End(zeros));
}

#[test]
fn what_cannot_be_mapped_is_read_and_an_error_of_mapping_is_an_error() {
    let bytes = segment(&[20, 50]);
    let mapped = |no_map| {
        let file = Bytes { no_map, ..in_memory(&bytes) };
        SegmentReader::new(Box::new(file), bytes.len() as u64, u64::MAX, ReadMethod::Mapped)
    };
    let (entries, end) = all(&mut mapped(io::ErrorKind::Unsupported));
    assert_eq!((entries.len(), end), (2, Advance::End(Tail::Exact)));
    // The file ends before the window begins: someone cut it.
    let cut = mapped(io::ErrorKind::UnexpectedEof).advance().unwrap();
    assert_eq!(cut, Advance::End(Tail::Exact));
    let error = mapped(io::ErrorKind::OutOfMemory).advance().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::OutOfMemory);
}

#[test]
fn mapped_windows_give_the_same_entries() {
    let dir = tempfile::tempdir().unwrap();
    let storage = OsStorage::new(dir.path(), Modes::default());
    // More than one window, borders within entries, and one entry larger than a window.
    for sizes in [vec![190_001; 40], vec![9, 5 << 20, 70_000, 4 << 20, 3], vec![1; 20]] {
        let bytes = segment(&sizes);
        let expected = all(&mut reader(in_memory(&bytes), u64::MAX));
        std::fs::write(dir.path().join("000001"), &bytes).unwrap();
        let file = storage.open("000001", Access::Read).unwrap();
        let mut mapped = SegmentReader::new(file, bytes.len() as u64, u64::MAX, ReadMethod::Mapped);
        assert_eq!(all(&mut mapped), expected);
        assert_eq!(expected.0.len(), sizes.len());
    }
}

#[test]
fn a_boundary_is_an_entry_or_the_end_and_looking_moves_nothing() {
    let mut bytes = segment(&[20, 50]);
    let end = bytes.len() as u64;
    bytes.extend([0; 30]);
    let mut reader = reader(in_memory(&bytes), u64::MAX);
    reader.advance().unwrap();
    for (offset, expected) in [(8, true), (38, true), (end, true), (9, false), (37, false), (39, false)] {
        assert_eq!(reader.is_boundary(offset).unwrap(), expected, "{offset}");
        assert_eq!(reader.offset(), 38);
        assert!(reader.entry().is_none());
    }
    assert_eq!(all(&mut reader).0, [(38, 2, 50)]);
}

#[test]
fn the_search_finds_the_next_entry_and_ends_where_the_file_does() {
    let bytes = segment(&[20, 50]);
    let mut whole = reader(in_memory(&bytes), u64::MAX);
    assert_eq!(whole.search(8).unwrap().found, Some(8));
    assert_eq!(whole.search(9).unwrap().found, Some(38));
    let none = whole.search(39).unwrap();
    assert_eq!((none.found, none.exhausted), (None, false));
    // Far behind the fault, over more than one read.
    let mut far = segment(&[20]);
    far.extend(vec![9; 2 * READ_BYTES]);
    let at = far.len() as u64;
    far.extend(entry(b"behind"));
    for at_once in [READ_BYTES - 1, usize::MAX] {
        let mut far = reader(Bytes { at_once, ..in_memory(&far) }, u64::MAX);
        assert_eq!(far.search(39).unwrap().found, Some(at));
    }
    // Little at first, for mostly the next entry is near.
    let file = in_memory(&far);
    let asked = Arc::clone(&file.asked);
    reader(file, u64::MAX).search(39).unwrap();
    assert_eq!(asked.lock().unwrap()[..2], [16 << 10, READ_BYTES]);
    // Shorter than it was when its length was asked: what is there has none.
    let file = in_memory(&bytes[..40]);
    let mut cut = SegmentReader::new(Box::new(file), bytes.len() as u64, u64::MAX, ReadMethod::Positioned);
    assert_eq!(cut.search(9).unwrap().found, None);
}

/// What a step adds to the work, and what it reads.
fn cost<T>(
    reader: &mut SegmentReader,
    given: &Mutex<usize>,
    step: fn(&mut SegmentReader) -> T,
) -> (u64, usize) {
    let (work, read) = (reader.work_bytes(), *given.lock().unwrap());
    step(reader);
    (reader.work_bytes() - work, *given.lock().unwrap() - read)
}

#[test]
fn looking_ahead_counts_as_work_in_the_measure_of_the_bytes_looked_at() {
    const LARGE: usize = 3 * READ_BYTES;
    // Two entries, then zeros up to one byte that is none.
    let mut bytes = segment(&[20, LARGE]);
    let zeros_from = bytes.len();
    bytes.resize(zeros_from + LARGE, 0);
    bytes.push(1);
    let file = in_memory(&bytes);
    let given = Arc::clone(&file.given);
    let mut reader = reader(file, 1000);
    assert_eq!(reader.work_bytes(), 0);
    // The window is read, and the entry in it checked.
    assert_eq!(cost(&mut reader, &given, |r| r.advance().unwrap()), (READ_BYTES as u64 + 30, READ_BYTES));
    // Above the limit: all but its checksum is read to check it.
    let frame = LARGE + 10;
    assert_eq!(cost(&mut reader, &given, |r| r.advance().unwrap()), (frame as u64 - 4, frame));
    // Zeros are read to the first byte that is none. The window comes before.
    let (work, read) = cost(&mut reader, &given, |r| assert!(!r.is_boundary(r.offset()).unwrap()));
    assert_eq!((work, read), ((READ_BYTES + LARGE) as u64, READ_BYTES + LARGE + 1));
    // What is in the window is not read again, but checked, up to where the window ends.
    let (work, read) = cost(&mut reader, &given, |r| assert!(!r.is_boundary(r.offset() + 7).unwrap()));
    assert_eq!((work, read), (LARGE as u64 - 7, LARGE + 1 - 7));
    let (work, read) =
        cost(&mut reader, &given, |r| assert_eq!(r.search(r.len_bytes() - 9).unwrap().found, None));
    assert_eq!((work, read), (9, 9));
    // Zeros to the end, too.
    bytes.pop();
    let file = in_memory(&bytes);
    let given = Arc::clone(&file.given);
    let mut clean = SegmentReader::new(Box::new(file), bytes.len() as u64, 1000, ReadMethod::Positioned);
    clean.seek(zeros_from as u64);
    let (work, read) = cost(&mut clean, &given, |r| assert!(r.is_boundary(r.offset()).unwrap()));
    assert_eq!((work, read), ((READ_BYTES + LARGE) as u64, READ_BYTES + LARGE));
    // A fault: at most all of the window was summed up to find it.
    let mut bytes = segment(&[20, 50]);
    bytes[60] ^= 1;
    let file = in_memory(&bytes);
    let given = Arc::clone(&file.given);
    let mut spoiled = self::reader(file, u64::MAX);
    spoiled.seek(38);
    assert_eq!(cost(&mut spoiled, &given, |r| r.advance().unwrap()), (2 * 60, 60));
}

#[test]
fn the_search_says_when_it_gave_up() {
    // More places that claim a long entry than are kept, and room for all that they claim.
    let mut bytes = SegmentHeader::CURRENT.to_bytes().to_vec();
    bytes.extend(vec![2; (1 << 20) + 1000]);
    bytes.resize(36 << 20, 0);
    let search = reader(in_memory(&bytes), u64::MAX).search(9).unwrap();
    assert_eq!((search.found, search.exhausted), (None, true));
}

#[test]
fn headers_are_told_apart_by_what_may_have_become_of_a_creation() {
    let good = SegmentHeader::CURRENT.to_bytes();
    let mut version = good;
    version[4] = 2;
    let mut far = vec![0; READ_BYTES + 100];
    far[READ_BYTES + 50] = 1;
    let cases: [(&[u8], Option<Reason>); 10] = [
        (&good, None),
        (&[], Some(Reason::Empty)),
        (&good[..5], Some(Reason::ShortHeader { have: 5 })),
        (&[0; 5], Some(Reason::ZeroHeader { have: 5 })),
        (&[0; 4096], Some(Reason::ZeroHeader { have: 4096 })),
        (&version, Some(Reason::UnsupportedVersion(2))),
        (b"\x01\x02\x03\x04\x05\x06\x07\x08", Some(Reason::WrongMagic(0x0102_0304))),
        (b"\x43\xaf\x01", Some(Reason::WrongMagic(0x43af_0100))),
        (b"\0\0\0\0\0\0\0\0\0\x01", Some(Reason::WrongMagic(0))),
        (&far, Some(Reason::WrongMagic(0))),
    ];
    for (bytes, expected) in cases {
        let file = in_memory(bytes);
        assert_eq!(check(&file, bytes.len() as u64).unwrap(), expected, "{:?}", bytes.get(..10));
    }
}

#[test]
fn the_first_byte_that_is_not_zero_is_found_wherever_it_is() {
    let mut bytes = vec![0; 2 * READ_BYTES];
    let len = bytes.len() as u64;
    assert_eq!(first_nonzero(&in_memory(&bytes), 0, len).unwrap(), None);
    for at in [0, 1, READ_BYTES - 1, READ_BYTES, READ_BYTES + 300, 2 * READ_BYTES - 1] {
        bytes[at] = 7;
        let file = in_memory(&bytes);
        assert_eq!(first_nonzero(&file, 0, len).unwrap(), Some(at as u64));
        assert_eq!(first_nonzero(&file, at as u64, len).unwrap(), Some(at as u64));
        assert_eq!(first_nonzero(&file, at as u64 + 1, len).unwrap(), None);
        assert_eq!(first_nonzero(&file, 0, at as u64).unwrap(), None);
        bytes[at] = 0;
    }
    // Shorter than it was when its length was asked.
    assert_eq!(first_nonzero(&in_memory(&bytes), 0, len + 10).unwrap(), None);
}

#[test]
fn a_fault_says_what_where_and_whether_an_entry_lies_behind() {
    let fault = Fault {
        at: Position::new(3, 118),
        reason: Reason::Entry(EntryFault::UnknownKind(9)),
        verdict: Verdict::Damaged,
        entry_behind: None,
    };
    assert_eq!(fault.to_string(), "damaged at 3:118: unknown entry type 9");
    let with = Fault { entry_behind: Some(200), verdict: Verdict::Torn, ..fault };
    let text = "torn at 3:118: unknown entry type 9; a valid entry starts behind it, at offset 200";
    assert_eq!(with.to_string(), text);
    assert_eq!([Verdict::Clean, Verdict::Unsupported].map(|v| v.to_string()), ["clean", "unsupported"]);
}

#[test]
fn a_segment_is_named_by_its_number() {
    assert_eq!([7, 1_234_567].map(|number| SegmentId(number).to_string()), ["000007", "1234567"]);
}

#[test]
fn only_faults_of_the_header_are_faults_of_the_header() {
    let header = [
        Reason::Empty,
        Reason::ShortHeader { have: 1 },
        Reason::ZeroHeader { have: 1 },
        Reason::WrongMagic(1),
        Reason::UnsupportedVersion(2),
        Reason::NotAFile,
    ];
    assert!(header.iter().all(Reason::is_header_fault));
    let others = [
        Reason::Entry(EntryFault::UnknownKind(9)),
        Reason::AfterEndMark { first_at: 9 },
        Reason::EndsBelowMark { mark: 9 },
    ];
    assert!(!others.iter().any(Reason::is_header_fault));
}
