//! What `wal stat` finds out: time, cardinality, gaps, the end, the mark, quarantine; as text and as JSON.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use std::fs;

use common::{golden, run, run_with_input, self_scrape, snapshot};
use serde_json::json;

#[test]
fn samples_over_time_add_up_to_all_samples() {
    let (_, log) = self_scrape();
    let stat = run("stat", log.path(), &["--json"]).expect(0, &[]).json();
    let chart = &stat["samples_over_time"];
    assert_eq!(chart["step_ms"], 5000);
    let rows = chart["rows"].as_array().unwrap();
    let sum: u64 = rows.iter().map(|row| row["samples"].as_u64().unwrap()).sum();
    assert_eq!(sum + chart["before"].as_u64().unwrap() + chart["after"].as_u64().unwrap(), 25_522);
    let text = run("stat", log.path(), &[]).expect(0, &[]).stdout();
    assert_eq!(text.lines().filter(|line| line.contains('#')).count(), rows.len(), "{text}");
}

#[test]
fn bytes_of_all_kinds_and_of_none_add_up_to_the_log() {
    let (_, log) = self_scrape();
    let stat = run("stat", log.path(), &["--json"]).expect(0, &[]).json();
    let kinds = ["series", "samples", "deletes"].map(|kind| stat["entries"][kind]["bytes"].as_u64().unwrap());
    assert_eq!(kinds.iter().sum::<u64>() + stat["other_bytes"].as_u64().unwrap(), stat["bytes"]);
    assert_eq!(stat["largest_metrics"][0]["series"], 20);
    assert_eq!(stat["commonest_pairs"][1], json!({ "name": "job", "value": "self", "series": 360 }));
}

#[test]
fn missing_segment_numbers_and_series_are_told() {
    let case = golden("22-gap");
    let stat = run("stat", case.log.path(), &["--json"]).expect(0, &[]).json();
    assert_eq!(stat["number_gaps"], json!([{ "after": 1, "before": 3 }]));
    assert_eq!(stat["end"], json!({ "segment": 3, "offset": 211, "how": "exact" }));
    assert_eq!((&stat["mark"], &stat["durable"]), (&"none".into(), &serde_json::Value::Null));
    let text = run("stat", case.log.path(), &[]).expect(0, &[]).stdout();
    assert!(text.contains("none between 1 and 3\n") && text.contains("none for "), "{text}");
    let case = golden("20-bad-payload-varint-overlong");
    let stat = run("stat", case.log.path(), &["--json"]).expect(0, &[]).json();
    assert!(stat["nameless"].as_u64().unwrap() != 0, "{stat}");
}

#[test]
fn the_mark_and_the_quarantine_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let (expect, _) = self_scrape();
    run_with_input("import", dir.path(), &[], &expect).expect(0, &[]);
    let stat = run("stat", dir.path(), &["--json"]).expect(0, &[]).json();
    assert_eq!(stat["durable"]["segment"], stat["end"]["segment"], "{stat}");
    assert_eq!((&stat["durable"]["offset"], &stat["behind_mark_bytes"]), (&stat["end"]["offset"], &0.into()));
    assert_eq!(stat["quarantine"], json!({ "files": 0, "bytes": 0 }));
    // Damage below the mark, repaired: the cut goes to quarantine.
    let file = dir.path().join("000001");
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, bytes).unwrap();
    run("repair", dir.path(), &["--apply"]).expect(0, &[]);
    let before = snapshot(dir.path());
    let stat = run("stat", dir.path(), &["--json"]).expect(0, &[]).json();
    assert_eq!(stat["quarantine"]["files"], 1, "{stat}");
    let text = run("stat", dir.path(), &[]).expect(0, &[]).stdout();
    assert!(text.contains("quarantine  1 files"), "{text}");
    assert_eq!(snapshot(dir.path()), before);
}
