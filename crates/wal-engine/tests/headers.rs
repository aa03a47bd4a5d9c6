//! Segments whose header is missing, cut short, of zeros or wrong: torn at creation in the last one, damage elsewhere.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;

use common::{open, small, values, written};
use wal_engine::{Position, Reason, RecoveryMode, Verdict, inspect};

/// Bytes of a segment, and the reason that they are at fault for.
fn cases() -> Vec<(Vec<u8>, Reason)> {
    vec![
        (vec![], Reason::Empty),
        (vec![0x43, 0xaf, 0, 0xef, 1], Reason::ShortHeader { have: 5 }),
        (vec![0; 5], Reason::ZeroHeader { have: 5 }),
        (vec![0; 4096], Reason::ZeroHeader { have: 4096 }),
        (vec![1, 2, 3], Reason::WrongMagic(0x0102_0300)),
        (vec![1; 8], Reason::WrongMagic(0x0101_0101)),
    ]
}

#[test]
fn a_last_segment_without_its_whole_header_was_torn_at_creation() {
    for (bytes, reason) in cases() {
        let dir = tempfile::tempdir().unwrap();
        written(dir.path(), 0..3, small());
        fs::write(dir.path().join("000002"), &bytes).unwrap();
        let verdict = match reason {
            Reason::Empty => Verdict::Clean,
            Reason::WrongMagic(_) => Verdict::Damaged,
            _ => Verdict::Torn,
        };
        let planned = inspect(dir.path(), RecoveryMode::TolerateTornTail).unwrap();
        assert_eq!((planned.verdict, planned.refused), (verdict, verdict == Verdict::Damaged), "{reason}");
        let (wal, memory, report) = open(dir.path(), small());
        assert_eq!((memory.values(), report.verdict), (values(0..3), verdict), "{reason}");
        let fault = report.fault.map(|fault| (fault.at, fault.reason));
        let expected = (Position::new(2, 0), reason);
        assert_eq!(fault, Some(expected).filter(|_| verdict != Verdict::Clean));
        let kept: Vec<u64> = report.quarantined.iter().map(|kept| kept.bytes).collect();
        assert_eq!(kept, if bytes.is_empty() { vec![] } else { vec![bytes.len() as u64] });
        wal.close().unwrap();
        let (wal, memory, report) = open(dir.path(), small());
        assert_eq!((memory.values(), report.verdict), (values(0..3), Verdict::Clean), "{reason}");
        wal.close().unwrap();
    }
}

#[test]
fn an_earlier_segment_without_its_whole_header_is_damaged_and_skipped_as_a_whole() {
    for (bytes, reason) in cases() {
        let dir = tempfile::tempdir().unwrap();
        written(dir.path(), 0..40, small());
        let before = fs::read(dir.path().join("000001")).unwrap().len() as u64;
        fs::write(dir.path().join("000002"), &bytes).unwrap();
        let planned = inspect(dir.path(), RecoveryMode::TolerateTornTail).unwrap();
        assert_eq!((planned.verdict, planned.refused), (Verdict::Damaged, true), "{reason}");
        let mode = small().recovery_mode(RecoveryMode::SkipDamaged);
        let (wal, memory, report) = open(dir.path(), mode);
        let each = u32::try_from((before - 8) / 36).unwrap();
        let expected = [values(0..each), values(2 * each..40)].concat();
        assert_eq!((memory.values(), report.verdict), (expected, Verdict::Damaged), "{reason}");
        let gaps: Vec<_> = report.gaps.iter().map(|gap| (gap.from, gap.to_offset, gap.reason)).collect();
        // Zeros behind where a header would end are an end in good order.
        let to = if bytes.len() == 4096 { 8 } else { bytes.len() as u64 };
        assert_eq!(gaps, [(Position::new(2, 0), to, reason)]);
        wal.close().unwrap();
    }
}

#[test]
fn behind_a_damaged_header_every_other_damage_of_the_segment_is_found_too() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), 0..40, small());
    let path = dir.path().join("000001");
    let mut bytes = fs::read(&path).unwrap();
    let each = u32::try_from((bytes.len() - 8) / 36).unwrap();
    bytes[0] ^= 1;
    // The payload of the last entry in it.
    let at = bytes.len() - 10;
    bytes[at] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let (wal, memory, report) = open(dir.path(), small().recovery_mode(RecoveryMode::SkipDamaged));
    let gaps: Vec<_> = report.gaps.iter().map(|gap| (gap.from, gap.to_offset)).collect();
    let len = bytes.len() as u64;
    assert_eq!(gaps, [(Position::new(1, 0), 8), (Position::new(1, len - 36), len)]);
    assert_eq!(memory.values(), [values(0..each - 1), values(each..40)].concat());
    wal.close().unwrap();
}
