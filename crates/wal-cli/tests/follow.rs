//! `wal dump --follow`: prints entries as they come, and ends only when it is told to.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Stdio};

use common::{golden, run_with_input, snapshot, wal};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use wal_engine::{Sample, Wal, WalOptions};

/// The tool while it follows a log.
struct Following {
    child: Child,
    lines: Option<BufReader<ChildStdout>>,
}

impl Following {
    fn start(dir: &Path, rest: &[&str]) -> Self {
        let mut command = wal();
        command.arg("dump").arg(dir).arg("--follow").args(rest);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = child.stdout.take().map(BufReader::new);
        Self { child, lines }
    }

    /// The next line; waits until it is there.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.as_mut().unwrap().read_line(&mut line).unwrap();
        line
    }

    fn value(&mut self) -> Value {
        let entry: Value = serde_json::from_str(&self.line()).unwrap();
        entry["samples"][0]["v"].clone()
    }

    fn stderr(&mut self) -> String {
        let mut text = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        text
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn sample(value: f64) -> Sample {
    Sample::new(1, 1_700_000_000_000, value)
}

#[test]
fn entries_are_printed_as_they_come_until_interrupted() {
    let dir = tempfile::tempdir().unwrap();
    let options = WalOptions::default().segment_bytes_max(256);
    let (log, _) = Wal::open(dir.path(), options).unwrap().replay(&mut ()).unwrap();
    let mut following = Following::start(dir.path(), &[]);
    for value in 0..50 {
        let end = log.log_samples(&[sample(f64::from(value))]).unwrap();
        log.commit(end).unwrap();
        assert_eq!(following.value(), f64::from(value));
    }
    log.close().unwrap();
    let pid = Pid::from_raw(i32::try_from(following.child.id()).unwrap());
    assert!(following.child.try_wait().unwrap().is_none(), "it goes on when the writer has left");
    // Not SIGINT: whoever runs the tests in the background has that ignored, and so by the tool.
    kill(pid, Signal::SIGTERM).unwrap();
    let status = following.child.wait().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(Signal::SIGTERM as i32));
    assert_eq!(following.stderr(), "");
}

#[test]
fn following_ends_quietly_when_the_pipe_is_closed() {
    let case = golden("03-one-series");
    let before = snapshot(case.log.path());
    let mut following = Following::start(case.log.path(), &["--format", "text"]);
    assert!(following.line().starts_with("series "));
    // Nothing more is written: the closed pipe alone ends it.
    following.lines = None;
    assert_eq!(following.child.wait().unwrap().code(), Some(0));
    assert_eq!(following.stderr(), "");
    assert_eq!(snapshot(case.log.path()), before);
}

#[test]
fn following_ends_at_a_fault_that_no_write_in_flight_explains() {
    let dir = tempfile::tempdir().unwrap();
    let lines: String = (0..100)
        .map(|n| format!("{{\"type\":\"samples\",\"samples\":[{{\"ref\":1,\"t\":{n},\"v\":{n}}}]}}\n"))
        .collect();
    run_with_input("import", dir.path(), &["--segment-size", "256"], lines.as_bytes()).expect(0, &[]);
    let first = dir.path().join("000001");
    let mut bytes = std::fs::read(&first).unwrap();
    bytes[16] ^= 0xff;
    std::fs::write(&first, bytes).unwrap();
    let mut following = Following::start(dir.path(), &[]);
    assert_eq!(following.child.wait().unwrap().code(), Some(1));
    let said = following.stderr();
    assert!(said.contains("000001: offset 8: damaged") && said.contains("next: "), "{said}");
    // Asked to, it goes past it.
    let mut following = Following::start(dir.path(), &["--skip-damaged"]);
    assert_eq!(following.value(), 1.0);
}
