//! Segments that the reference wrote, and damaged ones: every entry is found, and no body of a fuzz target objects.

#![allow(clippy::unwrap_used, reason = "what fails to unwrap here is a failed test")]

use std::fs;
use std::path::{Path, PathBuf};

use wal_format::layout::HEADER_BYTES;
use wal_format::{Entry, EntryEnd, SegmentHeader, Step, fuzzing, next_entry};

/// The golden cases, each a directory.
fn cases() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wal-engine/tests/data/golden");
    let cases = sorted(&root);
    assert!(cases.len() > 40, "{} holds {} cases", root.display(), cases.len());
    cases
}

fn sorted(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|item| item.unwrap().path()).collect();
    paths.sort();
    paths
}

/// The segments of a case, in the order of their numbers; names that are no numbers are leftovers.
fn segments(case: &Path) -> Vec<Vec<u8>> {
    let number = |path: &Path| path.file_name().unwrap().to_str().unwrap().parse::<u64>().ok();
    let mut numbered: Vec<_> =
        sorted(&case.join("wal")).into_iter().filter_map(|path| Some((number(&path)?, path))).collect();
    numbered.sort();
    numbered.iter().map(|(_, path)| fs::read(path).unwrap()).collect()
}

/// The entries of a segment up to its end, and the end.
fn entries(segment: &[u8]) -> (Vec<Entry<'_>>, EntryEnd) {
    let mut rest = segment.get(HEADER_BYTES..).unwrap_or_default();
    let mut entries = Vec::new();
    loop {
        match next_entry(rest, 0) {
            Step::Entry(entry) => {
                rest = &rest[entry.frame_bytes()..];
                entries.push(entry);
            }
            Step::End(end) => return (entries, end),
            Step::NeedMore { .. } => panic!("the whole segment is at hand"),
        }
    }
}

#[test]
fn clean_cases_have_the_expected_number_of_entries() {
    let mut clean = 0;
    for case in cases() {
        let facts = fs::read_to_string(case.join("case.json")).unwrap();
        if !facts.contains("\"verdict\": \"clean\"") {
            continue;
        }
        clean += 1;
        let expected = fs::read_to_string(case.join("expect.ndjson")).unwrap().lines().count();
        let mut decoded = 0;
        let mut malformed = 0;
        for segment in segments(&case).iter().filter(|segment| !segment.is_empty()) {
            assert_eq!(SegmentHeader::check(segment), Ok(()), "{}", case.display());
            let (entries, end) = entries(segment);
            assert!(!matches!(end, EntryEnd::Fault(_)), "{}: {end:?}", case.display());
            for entry in entries {
                match entry.decode() {
                    Ok(_) => decoded += 1,
                    Err(_) => malformed += 1,
                }
            }
        }
        assert_eq!(decoded, expected, "{}", case.display());
        assert_eq!(malformed > 0, !facts.contains("\"malformed\": []"), "{}", case.display());
    }
    assert!(clean > 20);
}

#[test]
fn entries_of_the_reference_are_written_back_byte_for_byte() {
    let mut written = 0;
    for segment in cases().iter().flat_map(|case| segments(case)) {
        for entry in entries(&segment).0 {
            let mut out = Vec::new();
            let checksum =
                wal_format::frame_payload(entry.kind, entry.flag, entry.payload, &mut out).unwrap();
            assert_eq!(checksum, entry.checksum);
            assert!(segment.windows(out.len()).any(|window| window == out));
            written += 1;
        }
    }
    assert!(written > 200);
}

#[test]
fn golden_bytes_keep_every_promise() {
    for segment in cases().iter().flat_map(|case| segments(case)) {
        fuzzing::scan(segment.get(HEADER_BYTES..).unwrap_or(&segment));
        fuzzing::round_trip(&segment);
        fuzzing::resync(&segment);
        for entry in entries(&segment).0 {
            fuzzing::series(entry.payload);
            fuzzing::samples(entry.payload);
            fuzzing::deletes(entry.payload);
        }
    }
}
