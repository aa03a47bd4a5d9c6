//! What a newcomer tries first: an empty folder, the folder above, a segment file, the log of another
//! Prometheus, a file that may not be read. Every answer names what is there and what to do.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use common::{Run, golden, run, run_with_input, snapshot};

/// Every command on a directory, with the arguments that it cannot do without.
const ON_A_LOG: [(&str, &[&str]); 6] = [
    ("dump", &[]),
    ("stat", &[]),
    ("repair", &["--apply"]),
    ("truncate", &["--mint", "0", "--keep-all"]),
    ("quarantine", &["list"]),
    ("import", &[]),
];

#[test]
fn a_modern_prometheus_log_is_named_and_left_alone() {
    for look in ["record", "first part", "checkpoint", "empty segment"] {
        let data = tempfile::tempdir().unwrap();
        let dir = data.path().join("wal");
        modern_log(&dir, look);
        let before = snapshot(&dir);
        let advice = format!("promtool tsdb dump {}", data.path().display());
        for (command, rest) in ON_A_LOG {
            println!("{command} of a modern log with {look}");
            let refused = run_with_input(command, &dir, rest, b"");
            let refused = refused.expect(1, &["Prometheus 2.4 or newer", "next: ", &advice]);
            assert_eq!(refused.stdout(), "");
        }
        let verified = run("verify", &dir, &["--json"]).expect(1, &["00000003", &advice]).json();
        assert_eq!(verified["verdict"], "unsupported");
        assert_eq!((&verified["fault"]["segment"], &verified["fault"]["offset"]), (&3.into(), &0.into()));
        let table = run("verify", &dir, &[]).expect(1, &[]).stdout();
        assert!(table.contains("unsupported"), "{table}");
        assert_eq!(snapshot(&dir), before, "{look}: changed");
    }
}

#[test]
fn a_damaged_header_of_ours_is_no_modern_log() {
    let case = golden("03-one-series");
    let file = case.log.path().join("000001");
    let mut bytes = fs::read(&file).unwrap();
    bytes[0] = 1;
    fs::write(&file, bytes).unwrap();
    run("verify", case.log.path(), &[]).expect(1, &["000001: offset 0: damaged", "wal repair"]);
}

#[test]
fn the_folder_above_a_log_is_answered_with_the_log() {
    let data = tempfile::tempdir().unwrap();
    let dir = data.path().join("wal");
    fs::create_dir(&dir).unwrap();
    fs::copy(golden("03-one-series").log.path().join("000001"), dir.join("000001")).unwrap();
    for command in ["dump", "verify", "stat"] {
        run(command, data.path(), &[]).expect(0, &["no segment files here", dir.to_str().unwrap()]);
        assert_eq!(run(command, &dir, &[]).expect(0, &[]).stderr(), "");
    }
}

#[test]
fn a_writing_command_leaves_nothing_in_the_folder_above_a_log() {
    let data = tempfile::tempdir().unwrap();
    let dir = data.path().join("wal");
    fs::create_dir(&dir).unwrap();
    fs::copy(golden("03-one-series").log.path().join("000001"), dir.join("000001")).unwrap();
    let before = snapshot(data.path());
    let place = tempfile::tempdir().unwrap();
    let to = place.path().join("to");
    let to = to.to_str().unwrap();
    for (command, rest) in [
        ("repair", &["--apply"][..]),
        ("truncate", &["--mint", "0", "--keep-all"]),
        ("backup", &[to]),
        ("salvage", &[to]),
    ] {
        run(command, data.path(), rest).expect(2, &["no segment files here", dir.to_str().unwrap()]);
    }
    assert_eq!(snapshot(data.path()), before);
    assert!(!Path::new(to).exists());
}

#[test]
fn an_empty_folder_is_said_to_be_one() {
    let dir = tempfile::tempdir().unwrap();
    for command in ["dump", "verify", "stat"] {
        run(command, dir.path(), &[]).expect(0, &["no segment files here: an empty log", "next: "]);
    }
    let place = tempfile::tempdir().unwrap();
    let to = place.path().join("to");
    let salvaged = run("salvage", dir.path(), &[to.to_str().unwrap()]);
    salvaged.expect(0, &["no segment files here: an empty log"]);
    assert!(snapshot(dir.path()).is_empty());
}

#[test]
fn a_segment_file_is_answered_with_its_folder() {
    let case = golden("03-one-series");
    let next = format!("holds the segment files: {}\n", case.log.path().display());
    for command in ["dump", "verify", "stat", "repair"] {
        run(command, &case.log.path().join("000001"), &[]).expect(2, &["not a directory", &next]);
    }
}

#[test]
fn what_may_not_be_read_is_an_error_and_no_verdict() {
    let case = golden("03-one-series");
    let place = tempfile::tempdir().unwrap();
    fs::set_permissions(place.path(), Permissions::from_mode(0o755)).unwrap();
    let tool = place.path().join("wal");
    // Copied by another process: a program that this one has open for writing, which a child of another test
    // may inherit, cannot be started.
    let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_wal")).arg(&tool).status().unwrap();
    assert!(copied.success());
    let log = place.path().join("log");
    fs::create_dir(&log).unwrap();
    let file = log.join("000001");
    fs::copy(case.log.path().join("000001"), &file).unwrap();
    let unreadable = |path: &Path, named: &Path| {
        fs::set_permissions(path, Permissions::from_mode(0o000)).unwrap();
        for command in ["dump", "verify", "stat"] {
            let mut command_line = Command::new(&tool);
            command_line.arg(command).arg(&log);
            // A privileged user may read everything, so somebody else has to ask.
            if nix::unistd::geteuid().is_root() {
                command_line.uid(NOBODY).gid(NOBODY);
            }
            let refused = Run(command_line.output().unwrap());
            let refused = refused.expect(3, &[named.to_str().unwrap(), "Permission denied", "next: "]);
            assert!(!refused.stderr().contains("wal repair"), "{refused}");
        }
        fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
    };
    unreadable(&file, &file);
    unreadable(&log, &log);
}

#[test]
fn an_empty_quarantine_is_said_to_be_one() {
    let case = golden("03-one-series");
    let listed = run("quarantine", case.log.path(), &["list"]).expect(0, &["the quarantine is empty"]);
    assert_eq!(listed.stdout(), "");
}

/// Writes what a modern log looks like.
fn modern_log(dir: &Path, look: &str) {
    fs::create_dir(dir).unwrap();
    let data = [b'x'; 40];
    let kind = match look {
        "first part" => 2 | 8,
        _ => 1,
    };
    let mut record = vec![kind, 0, 40];
    record.extend(wal_format::checksum::crc32c(&data).to_be_bytes());
    record.extend(data);
    record.resize(32 << 10, 0);
    match look {
        "checkpoint" => {
            let checkpoint = dir.join("checkpoint.00000002");
            fs::create_dir(&checkpoint).unwrap();
            fs::write(checkpoint.join("00000000"), &record).unwrap();
            record.truncate(20);
        }
        "empty segment" => record.clear(),
        _ => {}
    }
    fs::write(dir.join("00000003"), &record).unwrap();
    fs::write(dir.join("00000004"), b"").unwrap();
}

const NOBODY: u32 = 65_534;
