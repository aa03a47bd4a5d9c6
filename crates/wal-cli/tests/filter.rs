//! What `wal dump` leaves out when only some of a log is wanted.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use std::collections::HashSet;

use common::{assert_same_entries, entries, golden, run, run_with_input, self_scrape, snapshot};
use serde_json::Value;

/// Lines by the form `import` reads, of two series and a reference that is used again.
const LOG: &str = r#"{"type":"series","series":[{"ref":1,"labels":[["__name__","up"],["job","node"]]},{"ref":2,"labels":[["__name__","up"],["job","db"]]}]}
{"type":"samples","samples":[{"ref":1,"t":1000,"v":1},{"ref":2,"t":1000,"v":2},{"ref":9,"t":1000,"v":9}]}
{"type":"deletes","deletes":[{"ref":1,"mint":0,"maxt":1500},{"ref":2,"mint":5000,"maxt":6000}]}
{"type":"samples","samples":[{"ref":2,"t":2000,"v":3}]}
{"type":"series","series":[{"ref":2,"labels":[["__name__","other"]]}]}
{"type":"samples","samples":[{"ref":2,"t":3000,"v":4}]}
"#;

#[test]
fn only_the_items_that_are_wanted_are_printed() {
    let dir = tempfile::tempdir().unwrap();
    run_with_input("import", dir.path(), &[], LOG.as_bytes()).expect(0, &[]);
    let before = snapshot(dir.path());
    for (conditions, want) in [
        (&["--ref", "1"][..], "s1 t1@1000 d1"),
        (&["--ref", "1", "--ref", "9"], "s1 t1@1000 t9@1000 d1"),
        (&["--match", r#"{job="node"}"#], "s1 t1@1000 d1"),
        (&["--match", r#"up{job!="node"}"#], "s2 t2@1000 d2 t2@2000"),
        (&["--match", "other"], "s2 t2@3000"),
        (&["--match", r#"{job=~"n.*|d"}"#, "--match", "other"], "s1 t1@1000 d1 s2 t2@3000"),
        (&["--match", r#"{job=""}"#], "s2 t2@3000"),
        (&["--match", "up", "--ref", "2"], "s2 t2@1000 d2 t2@2000"),
        (&["--kind", "deletes"], "d1 d2"),
        (&["--kind", "deletes", "--kind", "samples", "--until", "1000"], "t1@1000 t2@1000 t9@1000 d1"),
        (&["--since", "1501", "--kind", "samples"], "t2@2000 t2@3000"),
        (&["--since", "1501", "--kind", "deletes"], "d2"),
        (&["--since", "1970-01-01T00:00:01.5Z", "--until", "2000"], "s1 s2 d1 t2@2000 s2"),
        (&["--since", "-1", "--until", "-1"], "s1 s2 s2"),
    ] {
        let dumped = run("dump", dir.path(), conditions).expect(0, &[]);
        assert_eq!(items(&dumped.entries()), want, "{conditions:?}");
        let lines = run("dump", dir.path(), &[conditions, &["--format", "text"]].concat()).stdout();
        assert_eq!(lines.lines().count(), want.split(' ').count(), "{conditions:?}: {lines}");
    }
    let text = run("dump", dir.path(), &["--kind", "samples", "--format", "text"]).stdout();
    assert!(
        text.starts_with("{__name__=\"up\",job=\"node\"} 1 @1000\n"),
        "labels of what is not printed: {text}"
    );
    assert_eq!(snapshot(dir.path()), before);
}

#[test]
fn what_a_selector_cannot_judge_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    run_with_input("import", dir.path(), &[], LOG.as_bytes()).expect(0, &[]);
    run("dump", dir.path(), &["--match", "up"]).expect(0, &["1 samples and deletes left out", "next: "]);
    assert_eq!(run("dump", dir.path(), &["--ref", "9"]).expect(0, &[]).stderr(), "");
}

#[test]
fn times_that_exclude_each_other_are_a_mistake() {
    let case = golden("03-one-series");
    let times = ["--since", "6", "--until", "5"];
    run("dump", case.log.path(), &times).expect(2, &["--since 6 is after --until 5", "next: "]);
    run("dump", case.log.path(), &["--since", "2025-01-01", "--until", "2024-01-01"])
        .expect(2, &["is after"]);
    let twice = case.log.path().to_str().unwrap().to_owned();
    run("diff", case.log.path(), &[&[twice.as_str()], &times[..]].concat()).expect(2, &["is after"]);
    run("dump", case.log.path(), &["--since", "5", "--until", "5"]).expect(0, &[]);
}

#[test]
fn a_selector_matches_text_in_any_script() {
    let line = "{\"type\":\"series\",\"series\":[{\"ref\":1,\"labels\":[[\"gr\u{f6}\u{df}e\",\"\u{65e5}\u{672c}\"]]}]}\n";
    let dir = tempfile::tempdir().unwrap();
    run_with_input("import", dir.path(), &[], line.as_bytes()).expect(0, &[]);
    for (selector, lines) in [
        ("{\"gr\u{f6}\u{df}e\"=\"\u{65e5}\u{672c}\"}", 1),
        ("{\"gr\u{f6}\u{df}e\"=~\".\u{672c}\"}", 1),
        ("{\"gr\u{f6}\u{df}e\"=\"\u{65e5}\"}", 0),
    ] {
        let dumped = run("dump", dir.path(), &["--match", selector]).expect(0, &[]);
        assert_eq!(dumped.entries().len(), lines, "{selector}");
    }
}

#[test]
fn a_filtered_dump_is_a_log_of_its_own() {
    let (_, log) = self_scrape();
    let selector = r#"{__name__=~"go_.*"}"#;
    let dumped = run("dump", log.path(), &["--match", selector]).expect(0, &[]);
    let fresh = tempfile::tempdir().unwrap();
    run_with_input("import", fresh.path(), &[], &dumped.0.stdout).expect(0, &[]);
    assert_same_entries(&run("dump", fresh.path(), &[]).entries(), &dumped.entries(), false);
    let stat = run("stat", fresh.path(), &["--json"]).json();
    assert_eq!(stat["nameless"], 0);
    let (all, _) = self_scrape();
    let names: HashSet<u64> = entries(&all)
        .iter()
        .flat_map(|entry| entry["series"].as_array().cloned().unwrap_or_default())
        .filter(|series| series["labels"][0][1].as_str().unwrap().starts_with("go_"))
        .map(|series| series["ref"].as_u64().unwrap())
        .collect();
    assert_eq!(stat["series"], names.len());
}

#[test]
fn conditions_that_are_none_are_wrong_usage() {
    let case = golden("03-one-series");
    for (conditions, part) in [
        (["--match", "{job}"], "`=`, `!=`"),
        (["--match", r#"{job=~"("}"#], "unclosed group"),
        (["--since", "soon"], "2023-11-14T22:13:20Z"),
        (["--kind", "stones"], "possible values"),
        (["--ref", "one"], "--ref"),
        (["--since", "5000000000000000000000"], "2023-11-14T22:13:20Z"),
        (["--match", "\u{fc}p{job=\"a\"}"], "a metric's name or `{` expected at"),
    ] {
        run("dump", case.log.path(), &conditions).expect(2, &[part]);
    }
}

/// Entries in short: `s1` a series, `t1@5` a sample, `d1` a delete.
fn items(entries: &[Value]) -> String {
    let mut words = Vec::new();
    for entry in entries {
        let kind = entry["type"].as_str().unwrap();
        for item in entry[kind].as_array().unwrap() {
            words.push(match kind {
                "series" => format!("s{}", item["ref"]),
                "samples" => format!("t{}@{}", item["ref"], item["t"]),
                _ => format!("d{}", item["ref"]),
            });
        }
    }
    words.join(" ")
}
