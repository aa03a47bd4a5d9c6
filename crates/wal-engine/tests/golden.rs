//! Every directory that the reference wrote, or that was damaged after it: read as its page says.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use wal_engine::{
    ErrorKind, ReadEvent, ReadOptions, RecoveryMode, Verdict, Wal, WalOptions, WalReader, inspect,
};

fn cases() -> Vec<(String, PathBuf, Value)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/golden");
    let mut cases: Vec<_> = fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            let case = serde_json::from_str(&fs::read_to_string(path.join("case.json")).unwrap()).unwrap();
            (path.file_name().unwrap().to_string_lossy().into_owned(), path, case)
        })
        .collect();
    cases.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(cases.len(), 48);
    cases
}

/// Entries as (segment, offset, kind, items), malformed places, and the fault with its verdict.
type Found = (Vec<(u64, u64, String, usize)>, Vec<(u64, u64)>, Option<(u64, u64)>, Verdict);

fn read(dir: &Path) -> Found {
    let mut reader = WalReader::open(dir, ReadOptions::default()).unwrap();
    let (mut entries, mut malformed, mut fault, mut verdict) = (vec![], vec![], None, Verdict::Clean);
    while let Some(event) = reader.next().unwrap() {
        match event {
            ReadEvent::Entry(entry) => entries.push((
                entry.at.segment,
                entry.at.offset,
                format!("{:?}", entry.payload.kind()).to_lowercase(),
                entry.payload.items(),
            )),
            ReadEvent::Malformed { at, .. } => malformed.push((at.segment, at.offset)),
            ReadEvent::Fault(found) => {
                fault = Some((found.at.segment, found.at.offset));
                verdict = found.verdict;
            }
            _ => {}
        }
    }
    (entries, malformed, fault, verdict)
}

fn place(value: &Value) -> (u64, u64) {
    (value["segment"].as_u64().unwrap(), value["offset"].as_u64().unwrap())
}

#[test]
fn every_golden_directory_reads_as_its_page_says() {
    for (name, path, case) in cases() {
        let before = common::snapshot(&path);
        let (entries, malformed, fault, verdict) = read(&path.join("wal"));
        assert_eq!(verdict.to_string(), case["verdict"].as_str().unwrap(), "{name}");
        assert_eq!(fault, (!case["fault"].is_null()).then(|| place(&case["fault"])), "{name}");
        let expected: Vec<_> = case["malformed"].as_array().unwrap().iter().map(place).collect();
        assert_eq!(malformed, expected, "{name}");
        let expected: Vec<_> = fs::read_to_string(path.join("expect.ndjson"))
            .unwrap()
            .lines()
            .map(|line| {
                let line: Value = serde_json::from_str(line).unwrap();
                let kind = line["type"].as_str().unwrap().to_owned();
                let (segment, offset) = place(&line);
                let items = line[&kind].as_array().unwrap().len();
                (segment, offset, kind, items)
            })
            .collect();
        assert_eq!(entries, expected, "{name}");
        assert_eq!(common::snapshot(&path), before, "{name}: reading changed something");
    }
}

#[test]
fn opening_gives_the_entries_before_the_fault_and_repairs_once() {
    for (name, path, case) in cases() {
        let dir = tempfile::tempdir().unwrap();
        common::copy_files(&path.join("wal"), dir.path());
        let (expected, ..) = read(dir.path());
        let (wal, memory, report) = common::open(dir.path(), WalOptions::default());
        assert_eq!(report.verdict.to_string(), case["verdict"].as_str().unwrap(), "{name}");
        let at: Vec<_> = memory.at.iter().map(|at| (at.segment, at.offset)).collect();
        let wanted: Vec<_> = expected.iter().map(|entry| (entry.0, entry.1)).collect();
        assert_eq!(at, wanted, "{name}");
        common::log_values(&wal, 0..3);
        wal.close().unwrap();

        let (wal, again, second) = common::open(dir.path(), WalOptions::default());
        assert_eq!(second.verdict, Verdict::Clean, "{name}: {second}");
        assert_eq!(again.items.len(), memory.items.len() + 3, "{name}");
        assert_eq!(again.items[..memory.items.len()], memory.items, "{name}");
        assert!(second.quarantined.is_empty(), "{name}");
        wal.close().unwrap();
    }
}

#[test]
fn a_second_opening_changes_no_byte() {
    for (name, path, _) in cases() {
        let dir = tempfile::tempdir().unwrap();
        common::copy_files(&path.join("wal"), dir.path());
        common::open(dir.path(), WalOptions::default()).0.close().unwrap();
        let logs = |dir: &Path| -> Vec<_> {
            // The lock names the process, and the mark counts up; both carry no entries.
            common::snapshot(dir).into_iter().filter(|file| file.0 != "lock" && file.0 != "durable").collect()
        };
        let first = logs(dir.path());
        common::open(dir.path(), WalOptions::default()).0.close().unwrap();
        assert_eq!(logs(dir.path()), first, "{name}");
    }
}

#[test]
fn strict_mode_refuses_every_fault_and_changes_nothing() {
    for (name, path, case) in cases() {
        let dir = tempfile::tempdir().unwrap();
        common::copy_files(&path.join("wal"), dir.path());
        let before = common::snapshot(dir.path());
        let options = WalOptions::default().recovery_mode(RecoveryMode::Strict);
        let opened = Wal::open(dir.path(), options).unwrap().replay(&mut ());
        if case["verdict"] == "clean" {
            opened.unwrap().0.close().unwrap();
            continue;
        }
        let kind = opened.err().unwrap().kind();
        assert!(matches!(kind, ErrorKind::Torn | ErrorKind::Damaged), "{name}: {kind:?}");
        let after: Vec<_> =
            common::snapshot(dir.path()).into_iter().filter(|file| file.0 != "lock").collect();
        assert_eq!(after, before, "{name}");
    }
}

#[test]
fn inspecting_says_what_opening_does_and_touches_nothing() {
    for (name, path, _) in cases() {
        for mode in [RecoveryMode::PointInTime, RecoveryMode::SkipDamaged] {
            let dir = tempfile::tempdir().unwrap();
            common::copy_files(&path.join("wal"), dir.path());
            let before = common::snapshot(dir.path());
            let foretold = inspect(dir.path(), mode).unwrap();
            assert_eq!(common::snapshot(dir.path()), before, "{name}");
            let options = WalOptions::default().recovery_mode(mode);
            let (wal, _, done) = common::open(dir.path(), options);
            assert_eq!(foretold.end, done.end, "{name} {mode}");
            assert_eq!(foretold.cut_at, done.cut_at, "{name} {mode}");
            assert_eq!(foretold.gaps, done.gaps, "{name} {mode}");
            let bytes = |report: &wal_engine::RecoveryReport| {
                let mut kept: Vec<_> =
                    report.quarantined.iter().map(|q| (q.segment, q.offset, q.bytes)).collect();
                kept.sort_unstable();
                kept
            };
            assert_eq!(bytes(&foretold), bytes(&done), "{name} {mode}");
            wal.close().unwrap();
        }
    }
}
