//! What the tool refuses: wrong usage, wrong paths, foreign bytes. Every refusal has its
//! exit code, names the file, and says what to do next.

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Stdio;

use common::{COMMANDS, Run, golden, run, run_with_input, self_scrape, snapshot, wal};
use nix::sys::stat::Mode;

const READING: [&str; 3] = ["dump", "verify", "stat"];

#[test]
fn wrong_usage_is_exit_code_2() {
    for arguments in [
        &[][..],
        &["nonsense"],
        &["dump"],
        &["dump", "x", "--nonsense"],
        &["dump", "x", "--format", "xml"],
        &["dump", "x", "--from", "8"],
        &["dump", "x", "--follow"],
        &["repair", "x", "--mode", "lenient"],
        &["truncate", "x", "--keep-all"],
        &["truncate", "x", "--mint", "1"],
        &["truncate", "x", "--mint", "1", "--keep-all", "--drop-refs", "y"],
        &["truncate", "x", "--mint", "soon", "--keep-all"],
        &["diff", "x"],
        &["diff", "x", "y", "--show", "-1"],
        &["import", "x", "--sync-every", "0"],
        &["import", "x", "--segment-size", "63"],
        &["dump", "x", "--ref", "18446744073709551616"],
        &["dump", "x", "--from", "1:18446744073709551616"],
        &["dump", "x", "x"],
        &["dump", "-x"],
        &["quarantine", "x"],
        &["quarantine", "x", "restore"],
    ] {
        let refused = Run(wal().args(arguments).output().unwrap());
        let refused = refused.expect(2, &[]);
        assert!(!refused.stderr().is_empty(), "{arguments:?}");
        assert_eq!(refused.stdout(), "", "{arguments:?}");
    }
}

#[test]
fn help_and_version_are_exit_code_0_and_help_has_an_example() {
    for command in COMMANDS.into_iter().chain(["demo"]) {
        let help = Run(wal().args([command, "--help"]).output().unwrap()).expect(0, &[]);
        assert!(
            help.stdout().contains(&format!("Example:\n  wal {command}"))
                || help.stdout().contains("| wal import"),
            "{help}"
        );
    }
    let help = Run(wal().arg("--help").output().unwrap()).expect(0, &[]).stdout();
    assert!(COMMANDS.iter().all(|command| help.contains(command)), "{help}");
    assert!(help.contains("Exit codes:") && !help.contains("demo-writer"), "{help}");
    let version = Run(wal().arg("--version").output().unwrap()).expect(0, &[]).stdout();
    assert_eq!(version, format!("wal {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_directory_that_is_not_there_is_refused_and_not_created() {
    let dir = tempfile::tempdir().unwrap();
    let absent = dir.path().join("absent");
    let name = absent.to_str().unwrap();
    for command in READING {
        run(command, &absent, &[]).expect(2, &[name, "next: "]);
    }
    run("repair", &absent, &["--apply"]).expect(2, &[name]);
    run("truncate", &absent, &["--mint", "0", "--keep-all"]).expect(2, &[name]);
    run("quarantine", &absent, &["list"]).expect(2, &[name]);
    run("bench", &absent, &[]).expect(2, &[name]);
    assert!(!absent.exists());
}

#[test]
fn a_file_is_no_log_directory() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, b"text").unwrap();
    for path in [file.clone(), file.join("below")] {
        let name = path.to_str().unwrap();
        for command in READING {
            run(command, &path, &[]).expect(2, &[name, "next: "]);
        }
        run_with_input("import", &path, &[], b"").expect(2, &[name]);
        run("repair", &path, &[]).expect(2, &[name]);
        run("demo", &path, &[]).expect(2, &[name]);
    }
    assert_eq!(fs::read(&file).unwrap(), b"text");
}

#[test]
fn an_io_error_is_exit_code_3() {
    let endless = "x".repeat(5000);
    for command in READING {
        run(command, Path::new(&endless), &[]).expect(3, &["xxx", "next: "]);
    }
    run_with_input("import", Path::new(&endless), &[], b"").expect(3, &["xxx"]);
    let (_, log) = self_scrape();
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = wal().arg("dump").arg(log.path()).stdout(full).stderr(Stdio::piped()).output().unwrap();
    Run(output).expect(3, &["standard output", "next: "]);
}

#[test]
fn an_empty_directory_is_a_clean_empty_log() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(run("dump", dir.path(), &[]).expect(0, &[]).stdout(), "");
    let verified = run("verify", dir.path(), &["--json"]).expect(0, &[]).json();
    assert_eq!((&verified["verdict"], &verified["segments"]), (&"clean".into(), &serde_json::json!([])));
    run("stat", dir.path(), &[]).expect(0, &[]);
    run("repair", dir.path(), &[]).expect(0, &[]);
    assert!(snapshot(dir.path()).is_empty(), "something was created");
}

#[test]
fn things_with_a_segments_name_are_neither_followed_nor_waited_for() {
    let outside = tempfile::tempdir().unwrap();
    fs::copy(golden("03-one-series").log.path().join("000001"), outside.path().join("whole")).unwrap();
    let things: [(&str, Make<'_>); 4] = [
        ("folder", &|at| fs::create_dir(at).unwrap()),
        ("dangling link", &|at| symlink("nowhere", at).unwrap()),
        ("link to a segment", &|at| symlink(outside.path().join("whole"), at).unwrap()),
        ("fifo", &|at| nix::unistd::mkfifo(at, Mode::S_IRWXU).unwrap()),
    ];
    for (what, make) in things {
        let dir = tempfile::tempdir().unwrap();
        make(&dir.path().join("000001"));
        for command in ["dump", "verify"] {
            println!("{command} of a {what}");
            let refused = run(command, dir.path(), &[]);
            assert!([1, 3].contains(&refused.code()), "{refused}");
            let refused = refused.expect(refused_code(), &["000001"]);
            assert!(!refused.stdout().contains("\"ref\""), "{refused}");
        }
        let names: Vec<_> = fs::read_dir(dir.path()).unwrap().collect();
        assert_eq!(names.len(), 1, "{what}");
    }
}

/// Makes a thing at a path.
type Make<'a> = &'a dyn Fn(&Path);

/// The exit code for a name that is no file.
fn refused_code() -> i32 {
    3
}

#[test]
fn a_newer_version_is_unsupported_and_left_alone() {
    let case = golden("03-one-series");
    let file = case.log.path().join("000001");
    let mut bytes = fs::read(&file).unwrap();
    bytes[4] = 2;
    fs::write(&file, bytes).unwrap();
    let before = snapshot(case.log.path());
    let verified = run("verify", case.log.path(), &["--json"]).expect(1, &["000001", "version 2"]).json();
    assert_eq!(verified["verdict"], "unsupported");
    assert_eq!((&verified["fault"]["segment"], &verified["fault"]["offset"]), (&1.into(), &4.into()));
    run("dump", case.log.path(), &[]).expect(1, &["000001", "offset 4", "next: "]);
    assert_eq!(snapshot(case.log.path()), before);
    run_with_input("import", case.log.path(), &[], b"").expect(1, &["version 2", "next: "]);
    run("repair", case.log.path(), &[]).expect(1, &[]);
    run("repair", case.log.path(), &["--apply"]).expect(1, &[]);
    run("truncate", case.log.path(), &["--mint", "0", "--keep-all"]).expect(1, &[]);
    let mut after = snapshot(case.log.path());
    after.retain(|path, _| before.contains_key(path));
    assert_eq!(after, before);
}

#[test]
fn a_segment_of_another_program_is_damage_at_its_first_byte() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("000001"), b"\x7fELF and so on, and on").unwrap();
    run("dump", dir.path(), &[]).expect(1, &["000001: offset 0: damaged", "next: "]);
    let verified = run("verify", dir.path(), &["--json"]).expect(1, &[]).json();
    assert_eq!((&verified["verdict"], &verified["fault"]["offset"]), (&"damaged".into(), &0.into()));
}

#[test]
fn an_entry_above_the_limit_is_no_damage_however_small_the_limit() {
    let (_, log) = self_scrape();
    for limit in ["0", "1", "6", "5000"] {
        for command in ["dump", "verify", "stat"] {
            let refused = run(command, log.path(), &["--entry-limit", limit]);
            refused.expect(3, &["above the reading limit", "000001", "--entry-limit"]);
        }
    }
}

#[test]
fn a_closed_pipe_is_no_error() {
    let (_, log) = self_scrape();
    for format in ["ndjson", "text"] {
        let mut child = wal()
            .args(["dump", "--format", format])
            .arg(log.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::with_capacity(512, child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(!line.is_empty());
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!((child.wait().unwrap().code(), said.as_str()), (Some(0), ""));
    }
}

#[test]
fn a_position_that_is_not_in_the_log_is_refused() {
    let case = golden("03-one-series");
    for from in ["9:8", "1:9999"] {
        run("dump", case.log.path(), &["--from", from]).expect(2, &["next: "]);
    }
}
