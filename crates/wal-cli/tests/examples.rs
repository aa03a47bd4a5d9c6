//! The examples in the help do what they say, typed as they stand there, in the directory of somebody who has a log.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use common::{COMMANDS, Run, run, run_with_input, self_scrape, wal};

/// The lines of a command's help that can be typed.
fn examples(command: &str) -> Vec<String> {
    let help = Run(wal().args([command, "--help"]).output().unwrap()).expect(0, &[]).stdout();
    let (_, below) = help.split_once("Example:\n").unwrap();
    below.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()
}

/// Types a line in `home`.
fn typed(line: &str, home: &Path) -> Run {
    let tool = Path::new(env!("CARGO_BIN_EXE_wal")).parent().unwrap();
    let path = format!("{}:{}", tool.display(), std::env::var("PATH").unwrap());
    let mut shell = Command::new("sh");
    shell.args(["-c", line]).current_dir(home).env("PATH", path).env("HOME", home).stdin(Stdio::null());
    Run(shell.output().unwrap())
}

/// A series by the name that the examples ask for.
const UP: &str = r#"{"type":"series","series":[{"ref":9000,"labels":[["__name__","up"],["job","node"]]}]}
{"type":"samples","samples":[{"ref":9000,"t":1700000000000,"v":1}]}
"#;

/// A directory with what the examples speak of: a log that a repair has cut, an older one, copies.
fn home() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let (expect, _) = self_scrape();
    let log = home.path().join("data/wal");
    run_with_input("import", &log, &["--segment-size", "65536"], &expect).expect(0, &[]);
    let file = fs::OpenOptions::new().write(true).open(log.join("000001")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"spoiled", 60_000).unwrap();
    run("repair", &log, &["--mode", "skip-damaged", "--apply"]).expect(0, &[]);
    run_with_input("import", &log, &[], UP.as_bytes()).expect(0, &[]);
    run_with_input("import", &home.path().join("old/wal"), &[], &expect).expect(0, &[]);
    home
}

#[test]
fn every_example_in_the_help_works_as_it_stands() {
    for command in COMMANDS {
        let home = home();
        if command == "diff" {
            for copy in ["backup data/wal backups/wal-monday", "salvage data/wal data/wal-salvaged"] {
                fs::create_dir_all(home.path().join("backups")).unwrap();
                typed(&format!("wal {copy}"), home.path()).expect(0, &[]);
            }
        }
        fs::create_dir_all(home.path().join(".local/share/bash-completion/completions")).unwrap();
        let lines = examples(command);
        assert!(!lines.is_empty(), "{command}");
        for line in lines {
            println!("{line}");
            // Two of them go on for long, or for ever.
            let line = match command {
                "bench" => format!("{line} --seconds 1 --mebibytes 1"),
                _ if line.ends_with("--follow") => format!("{line} | head -n 1"),
                _ => line,
            };
            let run = typed(&line, home.path()).expect(0, &[]);
            let silent = line.contains(" > ") || line.starts_with("wal man") || line.contains(" restore ");
            assert_eq!(run.stdout().is_empty(), silent, "{line}: {run}");
        }
    }
}
