//! `wal salvage` and `wal backup`: what is in the copy, what is said to be missing, and that nothing changes
//! in the log that is copied.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use std::fs;
use std::path::Path;

use common::{
    Run, assert_same_entries, golden, golden_cases, run, run_with_input, self_scrape, snapshot, wal,
};
use serde_json::{Value, json};

/// Runs a command on a log and a directory that it writes.
fn copy(command: &str, from: &Path, to: &Path) -> Run {
    run(command, from, &[to.to_str().unwrap()])
}

/// The entries of a dump that hold anything.
fn full(entries: Vec<Value>) -> Vec<Value> {
    let empty = |entry: &Value| entry[entry["type"].as_str().unwrap()] == json!([]);
    entries.into_iter().filter(|entry| !empty(entry)).collect()
}

#[test]
fn every_golden_log_is_salvaged_as_far_as_it_can_be_read() {
    for case in golden_cases() {
        println!("{}", case.name);
        let before = snapshot(case.log.path());
        let place = tempfile::tempdir().unwrap();
        let to = place.path().join("salvaged");
        copy("salvage", case.log.path(), &to).expect(0, &[]);
        assert_eq!(snapshot(case.log.path()), before, "{}: changed", case.name);
        run("verify", &to, &[]).expect(0, &[]);
        let mut salvaged = run("dump", &to, &[]).expect(0, &[]).entries();
        if case.name == "24-truncate-crash" {
            assert_eq!(salvaged.remove(0)["type"], "series", "adopted, and first");
        }
        let compared = run("diff", case.log.path(), &[to.to_str().unwrap(), "--skip-damaged", "--json"]);
        let only = if case.name == "24-truncate-crash" { 1 } else { 0 };
        assert_eq!(
            (&compared.json()["differences"], &compared.json()["only_b"]["series"]),
            (&only.into(), &only.into())
        );
        let readable = run("dump", case.log.path(), &["--skip-damaged"]).entries();
        assert_same_entries(&salvaged, &full(readable), false);
    }
}

#[test]
fn series_of_a_killed_truncation_of_the_reference_are_adopted() {
    let case = golden("24-truncate-crash");
    let place = tempfile::tempdir().unwrap();
    let to = place.path().join("salvaged");
    let report = run("salvage", case.log.path(), &[to.to_str().unwrap(), "--json"]).expect(0, &[]).json();
    assert_eq!((&report["adopted_series"], &report["entries"]), (&1.into(), &12.into()));
    assert_eq!((&report["missing"], &report["nameless"]), (&json!([]), &0.into()));
    let first = run("dump", &to, &[]).entries().remove(0);
    assert_eq!(first["series"], json!([{ "ref": 1, "labels": [["__name__", "m0"], ["job", "x"]] }]));
}

#[test]
fn what_is_missing_is_said_with_its_place() {
    let case = golden("15-flip-body");
    let place = tempfile::tempdir().unwrap();
    let to = place.path().join("salvaged");
    let salvaged = run("salvage", case.log.path(), &[to.to_str().unwrap(), "--json"]);
    let salvaged = salvaged.expect(0, &["missing: ", "000002: offset 81, up to offset 117"]);
    let report = salvaged.json();
    assert_eq!(report["missing"].as_array().unwrap().len(), 1, "{report}");
    assert_eq!(
        (&report["missing"][0]["segment"], &report["missing"][0]["to_offset"]),
        (&2.into(), &117.into())
    );
    let case = golden("22-gap");
    copy("salvage", case.log.path(), &place.path().join("other")).expect(0, &["no segments between 1 and 3"]);
}

#[test]
fn a_segment_of_a_newer_version_is_passed_over_and_the_next_one_read() {
    let case = golden("22-gap");
    let file = case.log.path().join("000001");
    let mut bytes = fs::read(&file).unwrap();
    bytes[4] = 2;
    fs::write(&file, bytes).unwrap();
    let place = tempfile::tempdir().unwrap();
    let to = place.path().join("salvaged");
    copy("salvage", case.log.path(), &to).expect(0, &["missing: ", "000001", "version"]);
    assert_same_entries(&run("dump", &to, &[]).entries(), &case.expect[6..], false);
}

#[test]
fn a_backup_is_the_log() {
    let (expect, _) = self_scrape();
    let place = tempfile::tempdir().unwrap();
    let (log, to) = (place.path().join("log"), place.path().join("backup"));
    run_with_input("import", &log, &["--segment-size", "65536"], &expect).expect(0, &[]);
    let report = copy("backup", &log, &to).expect(0, &[]).stdout();
    assert!(report.contains("segments up to"), "{report}");
    assert_same_entries(&run("dump", &to, &[]).entries(), &run("dump", &log, &[]).entries(), true);
    run("verify", &to, &[]).expect(0, &[]);
}

#[test]
fn a_copy_goes_to_a_fresh_place_beside_the_log() {
    let case = golden("03-one-series");
    let before = snapshot(case.log.path());
    for command in ["salvage", "backup"] {
        copy(command, case.log.path(), &case.log.path().join("below/it"))
            .expect(2, &["lies within", "next: "]);
        copy(command, case.log.path(), case.log.path()).expect(2, &["not empty", "next: "]);
        copy(command, &case.log.path().join("absent"), case.log.path()).expect(2, &["absent"]);
    }
    assert_eq!(snapshot(case.log.path()), before);
    let damaged = golden("15-flip-body");
    let place = tempfile::tempdir().unwrap();
    copy("backup", damaged.log.path(), &place.path().join("to")).expect(1, &["wal repair"]);
}

#[test]
fn completions_and_pages_name_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let script = Run(wal().args(["completions", shell]).output().unwrap()).expect(0, &[]).stdout();
        assert!(["salvage", "quarantine", "skip-damaged"].iter().all(|name| script.contains(name)));
    }
    let dir = tempfile::tempdir().unwrap();
    let pages = dir.path().join("man1");
    Run(wal().arg("man").arg(&pages).output().unwrap()).expect(0, &[]);
    for page in ["wal.1", "wal-dump.1", "wal-salvage.1", "wal-quarantine-list.1"] {
        assert!(fs::read_to_string(pages.join(page)).unwrap().contains(".TH"), "{page}");
    }
    assert!(fs::read_to_string(pages.join("wal-dump.1")).unwrap().contains("Example:"));
    assert!(!pages.join("wal-demo-writer.1").exists(), "what is hidden has no page");
}
