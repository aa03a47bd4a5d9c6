//! What is drawn where standard error is a terminal, and that nothing is where it is not.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use std::process::Command;

use common::{run, run_with_input, self_scrape};

#[test]
fn progress_is_drawn_on_a_terminal_only_and_without_colours() {
    let (expect, _) = self_scrape();
    let dir = tempfile::tempdir().unwrap();
    let input = expect.repeat(8);
    run_with_input("import", dir.path(), &[], &input).expect(0, &[]);
    for command in ["verify", "stat", "repair --apply", "truncate --mint 0 --keep-all"] {
        println!("{command}");
        let line = format!("'{}' {command} '{}'", env!("CARGO_BIN_EXE_wal"), dir.path().display());
        // `script` runs a command on a terminal of its own.
        let output = Command::new("script").args(["-qec", &line, "/dev/null"]).output().unwrap();
        let shown = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{shown}");
        for part in ["MiB, ", "/s, ", " left"] {
            assert!(shown.contains(part), "no {part:?} in {shown:?}");
        }
        assert!(!shown.contains("\u{1b}[3"), "a colour in {shown:?}");
    }
    for command in ["verify", "stat"] {
        assert_eq!(run(command, dir.path(), &[]).expect(0, &[]).stderr(), "");
    }
}
