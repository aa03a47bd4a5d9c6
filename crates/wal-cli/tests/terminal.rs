//! What is drawn and coloured where there is a terminal, and that nothing is where there is none.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use common::{golden, run, run_with_input, self_scrape};

/// Runs a command line on a terminal of its own, with these variables, and says what it showed there.
fn shown(line: &str, dir: &Path, variables: &[(&str, &str)]) -> String {
    let line = format!(
        "timeout --foreground 200 '{}' {}",
        env!("CARGO_BIN_EXE_wal"),
        line.replace("DIR", &format!("'{}'", dir.display()))
    );
    // What waits for a terminal for ever fails the test and does not stop it.
    let mut command = Command::new("script");
    command.args(["-qec", &line, "/dev/null"]).env("TERM", "xterm").env_remove("NO_COLOR");
    let output = command.envs(variables.iter().copied()).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The sequence that begins a colour.
fn coloured(shown: &str) -> bool {
    shown.contains("\u{1b}[3")
}

#[test]
fn progress_is_drawn_on_a_terminal_only_and_without_colours() {
    let (expect, _) = self_scrape();
    let dir = tempfile::tempdir().unwrap();
    let input = expect.repeat(8);
    run_with_input("import", dir.path(), &[], &input).expect(0, &[]);
    let commands =
        ["verify DIR", "stat DIR", "repair DIR", "repair DIR --apply", "truncate DIR --mint 0 --keep-all"];
    for command in commands {
        println!("{command}");
        let shown = shown(command, dir.path(), &[("NO_COLOR", "1")]);
        for part in ["MiB, ", "/s, ", " left"] {
            assert!(shown.contains(part), "no {part:?} in {shown:?}");
        }
        assert!(!coloured(&shown), "{shown:?}");
    }
    for command in ["verify", "stat", "repair"] {
        assert_eq!(run(command, dir.path(), &[]).expect(0, &[]).stderr(), "");
    }
}

#[test]
fn a_bench_draws_how_long_each_measurement_takes() {
    let dir = tempfile::tempdir().unwrap();
    let shown = shown("bench DIR --seconds 1 --mebibytes 1", dir.path(), &[]);
    for part in ["append, one sync at the end, ", "durable commits, 64 threads, ", " left at most", "replay"]
    {
        assert!(shown.contains(part), "no {part:?} in {shown:?}");
    }
    assert!(!run("bench", dir.path(), &["--seconds", "1", "--mebibytes", "1"]).stderr().contains("left"));
}

#[test]
fn a_truncation_draws_its_own_reading_too() {
    let (expect, _) = self_scrape();
    let dir = tempfile::tempdir().unwrap();
    run_with_input("import", dir.path(), &["--segment-size", "65536"], &expect.repeat(8)).expect(0, &[]);
    let shown = shown("truncate DIR --mint 9223372036854775807 --keep-all", dir.path(), &[("NO_COLOR", "1")]);
    let totals: BTreeSet<&str> =
        shown.split(" of ").skip(1).filter_map(|behind| behind.split(',').next()).collect();
    assert_eq!(totals.len(), 2, "of the log and of its old segments: {shown:?}");
}

#[test]
fn verdicts_and_errors_have_colours_where_a_terminal_shows_them_and_nobody_wants_none() {
    let (clean, damaged) = (golden("03-one-series"), golden("15-flip-body"));
    let cases = [
        ("verify DIR", &clean, "\u{1b}[32mclean\u{1b}[0m"),
        ("stat DIR", &clean, "\u{1b}[32mclean\u{1b}[0m"),
        ("verify DIR", &damaged, "\u{1b}[31mdamaged\u{1b}[0m"),
        ("dump DIR", &damaged, "\u{1b}[31mdamaged\u{1b}[0m"),
        ("dump DIR/absent", &clean, "\u{1b}[31mwal:\u{1b}[0m"),
    ];
    for (line, case, part) in cases {
        let on_terminal = shown(line, case.log.path(), &[]);
        assert!(on_terminal.contains(part), "{line}: {on_terminal:?}");
        for variable in [("NO_COLOR", "1"), ("TERM", "dumb")] {
            let plain = shown(line, case.log.path(), &[variable]);
            assert!(!coloured(&plain), "{line} with {variable:?}: {plain:?}");
        }
        let (command, rest) = line.split_once(" DIR").unwrap();
        let dir = case.log.path().join(rest.split_once('/').map_or("", |(_, below)| below));
        let piped = run(command, &dir, &[]);
        assert!(!coloured(&piped.stdout()) && !coloured(&piped.stderr()), "{line}: {piped}");
    }
}

#[test]
fn an_import_from_a_terminal_says_what_it_waits_for() {
    let dir = tempfile::tempdir().unwrap();
    let shown = shown("import DIR", dir.path(), &[]);
    assert!(shown.contains("Ctrl-D ends them") && shown.contains("0 lines imported"), "{shown}");
    let piped = run_with_input("import", dir.path(), &[], b"").expect(0, &[]);
    assert!(!piped.stderr().contains("Ctrl-D"), "{piped}");
}

#[test]
fn a_quarantine_is_a_table_on_a_terminal_and_objects_elsewhere() {
    let case = golden("15-flip-body");
    run("repair", case.log.path(), &["--apply"]).expect(0, &[]);
    let objects = run("quarantine", case.log.path(), &["list"]).expect(0, &[]);
    assert_eq!(objects.entries().len(), 2, "{objects}");
    let table = shown("quarantine DIR list", case.log.path(), &[]);
    assert!(table.starts_with("file ") && table.contains("from offset") && !table.contains('{'), "{table}");
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let json = shown("quarantine DIR list --json", case.log.path(), &[]);
    assert_eq!(lines(&json), lines(&objects.stdout()));
}
