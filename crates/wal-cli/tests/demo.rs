//! `demo` and `bench` run to their ends and leave behind what they say.

mod common;

use std::fs;
use std::os::unix::process::ExitStatusExt;

use common::{Run, entries, run, wal};

#[test]
fn the_demonstration_loses_nothing_and_cleans_up() {
    let temporary = tempfile::tempdir().unwrap();
    let shown = Run(wal().arg("demo").env("TMPDIR", temporary.path()).output().unwrap()).expect(0, &[]);
    let text = shown.stdout();
    for part in [
        "durable commits/s",
        "SIGKILL",
        "in order, each once",
        "truncated before",
        "nothing that was acknowledged was lost",
    ] {
        assert!(text.contains(part), "no {part:?} in {shown}");
    }
    assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 0, "left behind");
}

#[test]
fn the_demonstration_leaves_a_clean_log_where_it_is_told_to() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    run("demo", &log, &[]).expect(0, &[]);
    run("verify", &log, &[]).expect(0, &[]);
    assert!(entries(&run("dump", &log, &[]).expect(0, &[]).0.stdout).len() > 1);
    run("demo", &log, &[]).expect(2, &["not empty", "next: "]);
}

#[test]
fn a_bench_measures_within_its_bounds_and_cleans_up() {
    let dir = tempfile::tempdir().unwrap();
    let measured =
        run("bench", dir.path(), &["--seconds", "1", "--mebibytes", "1", "--json"]).expect(0, &[]).json();
    let names: Vec<_> =
        measured["figures"].as_array().unwrap().iter().map(|of| of["name"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "append, one sync at the end",
            "durable commits, 1 thread",
            "durable commits, 8 threads",
            "durable commits, 64 threads",
            "replay"
        ]
    );
    let kinds: Vec<_> = measured["figures"]
        .as_array()
        .unwrap()
        .iter()
        .map(|of| (of["kind"].as_str().unwrap(), of["threads"].as_u64()))
        .collect();
    let commit = |threads| ("commit", Some(threads));
    assert_eq!(kinds, [("append", None), commit(1), commit(8), commit(64), ("replay", None)]);
    for figure in measured["figures"].as_array().unwrap() {
        let [p50, p99] = ["p50_us", "p99_us"].map(|key| figure[key].as_f64());
        assert_eq!(p50.is_some(), figure["kind"] == "commit");
        assert!(p50 <= p99 && p50.is_none_or(|p50| p50 > 0.0), "{figure}");
        assert!(figure["operations_per_second"].as_f64().unwrap() > 0.0, "{figure}");
        assert!(figure["bytes"].as_u64().unwrap() <= 4 << 20, "{figure}");
    }
    assert_eq!(measured["figures"][0]["samples"], measured["figures"][4]["samples"]);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "left behind");
}

#[test]
fn a_bench_that_is_interrupted_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = wal().args(["bench", "--seconds", "60"]).arg(dir.path()).spawn().unwrap();
    while fs::read_dir(dir.path()).unwrap().count() == 0 {
        std::thread::yield_now();
    }
    let process = nix::unistd::Pid::from_raw(i32::try_from(bench.id()).unwrap());
    nix::sys::signal::kill(process, nix::sys::signal::Signal::SIGTERM).unwrap();
    let ended = bench.wait().unwrap();
    assert_eq!(ended.signal(), Some(15), "{ended}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "left behind");
}
