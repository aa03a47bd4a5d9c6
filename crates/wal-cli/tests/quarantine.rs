//! The quarantine at its edges: nothing in it, its place taken, targets that are none, a writer at work.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use std::fs;
use std::path::Path;

use common::{golden, run, run_with_input, snapshot};
use tempfile::TempDir;

const LINE: &[u8] = b"{\"type\":\"samples\",\"samples\":[{\"ref\":1,\"t\":5,\"v\":5}]}\n";

/// A log whose torn tail was set aside, and in whose place newer entries are.
fn retaken_log() -> TempDir {
    let log = tempfile::tempdir().unwrap();
    run_with_input("import", log.path(), &[], &LINE.repeat(3)).expect(0, &[]);
    fs::remove_file(log.path().join("durable")).unwrap();
    let file = fs::OpenOptions::new().write(true).open(log.path().join("000001")).unwrap();
    file.set_len(file.metadata().unwrap().len() - 3).unwrap();
    run_with_input("import", log.path(), &[], &LINE.repeat(2)).expect(0, &["torn tail was trimmed"]);
    log
}

/// `wal quarantine LOG restore --to TO`
fn restore(log: &Path, to: &Path) -> common::Run {
    run("quarantine", log, &["restore", "--to", to.to_str().unwrap()])
}

#[test]
fn what_has_lost_its_place_is_restored_beside_it_and_that_is_said() {
    let log = retaken_log();
    let before = snapshot(log.path());
    let place = tempfile::tempdir().unwrap();
    let to = place.path().join("restored");
    restore(log.path(), &to).expect(0, &["2 files put into", "1 of them into its quarantine", "next: "]);
    assert_eq!(snapshot(log.path()), before, "restoring changed the log");
    assert_eq!(run("dump", &to, &[]).expect(0, &[]).0.stdout, run("dump", log.path(), &[]).0.stdout);
    let listed = |dir: &Path| run("quarantine", dir, &["list"]).expect(0, &[]).stdout();
    assert_eq!(listed(&to), listed(log.path()));
    assert_eq!(listed(&to).lines().count(), 1);
}

#[test]
fn nothing_is_restored_from_an_empty_quarantine_and_no_target_is_made() {
    let case = golden("03-one-series");
    let place = tempfile::tempdir().unwrap();
    let to = place.path().join("restored");
    restore(case.log.path(), &to).expect(2, &["the quarantine is empty", "next: "]);
    assert!(!to.exists());
}

#[test]
fn a_target_is_fresh_and_lies_beside_the_log() {
    let log = retaken_log();
    let before = snapshot(log.path());
    for below in ["new", "quarantine/new"] {
        restore(log.path(), &log.path().join(below)).expect(2, &["lies within", "next: "]);
    }
    restore(log.path(), log.path()).expect(2, &["not empty", "next: "]);
    restore(log.path(), &log.path().join("000001")).expect(2, &["not a directory", "next: "]);
    assert_eq!(snapshot(log.path()), before);
    let place = tempfile::tempdir().unwrap();
    restore(log.path(), place.path()).expect(0, &[]);
}

#[test]
fn purging_twice_or_nothing_is_no_error() {
    let log = retaken_log();
    run("quarantine", log.path(), &["purge"]).expect(0, &["1 files deleted"]);
    let again = run("quarantine", log.path(), &["purge"]).expect(0, &["0 files deleted, 0 bytes freed"]);
    assert_eq!(again.stdout(), "");
    let case = golden("03-one-series");
    run("quarantine", case.log.path(), &["purge", "--json"]).expect(0, &["0 files deleted"]);
}

#[test]
fn what_is_not_of_a_repair_stays_in_the_folder() {
    let log = retaken_log();
    let notes = log.path().join("quarantine/notes.txt");
    fs::write(&notes, "mine").unwrap();
    assert_eq!(run("quarantine", log.path(), &["list"]).expect(0, &[]).entries().len(), 1);
    run("quarantine", log.path(), &["purge"]).expect(0, &["1 files deleted"]);
    assert_eq!(fs::read(&notes).unwrap(), b"mine");
}

#[test]
fn a_purge_beside_a_writer_is_refused_and_a_list_is_not() {
    let log = retaken_log();
    let (wal, _) = wal_engine::Wal::open(log.path(), wal_engine::WalOptions::default())
        .unwrap()
        .replay(&mut ())
        .unwrap();
    run("quarantine", log.path(), &["purge"]).expect(3, &["next: stop that writer"]);
    assert_eq!(run("quarantine", log.path(), &["list"]).expect(0, &[]).entries().len(), 1);
    let place = tempfile::tempdir().unwrap();
    restore(log.path(), &place.path().join("to")).expect(0, &[]);
    wal.close().unwrap();
}
