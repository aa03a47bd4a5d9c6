//! `wal diff`: the same items are the same log however they were written, and every other item is told with its place.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use std::fs;
use std::path::Path;

use common::{Run, golden, golden_cases, run, run_with_input, self_scrape, snapshot};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A log with these lines.
fn log(lines: &str) -> TempDir {
    log_of(lines, &[])
}

fn log_of(lines: &str, rest: &[&str]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    run_with_input("import", dir.path(), rest, lines.as_bytes()).expect(0, &[]);
    dir
}

fn diff(a: &Path, b: &Path, rest: &[&str]) -> Run {
    run("diff", a, &[&[b.to_str().unwrap()], rest].concat())
}

/// A line of one sample for each number.
fn samples(numbers: impl Iterator<Item = u64>) -> String {
    let one = |number: u64| format!("{{\"ref\":{},\"t\":{number},\"v\":{}}}", number % 7, number * 3);
    numbers.map(|number| format!("{{\"type\":\"samples\",\"samples\":[{}]}}\n", one(number))).collect()
}

const SERIES: &str = r#"{"type":"series","series":[{"ref":1,"labels":[["__name__","up"],["job","node"]]},{"ref":2,"labels":[["__name__","up"],["job","db"]]}]}
"#;

#[test]
fn entries_and_segments_make_no_difference() {
    let (expect, real) = self_scrape();
    let mut lines = String::new();
    for entry in common::entries(&expect) {
        let kind = entry["type"].as_str().unwrap();
        for items in entry[kind].as_array().unwrap().chunks(7) {
            lines += &format!("{}\n", json!({ "type": kind, kind: items }));
        }
    }
    let other = log_of(&lines, &["--segment-size", "20000"]);
    let (before_a, before_b) = (snapshot(real.path()), snapshot(other.path()));
    let same = diff(real.path(), other.path(), &["--json"]).expect(0, &[]);
    assert_eq!(same.stderr(), "");
    let same = same.json();
    assert_eq!((&same["equal"], &same["differences"]), (&true.into(), &0.into()));
    assert_eq!(same["both"], json!({ "series": 360, "samples": 25_522, "deletes": 0 }));
    assert_eq!(same["shown"], json!([]));
    let text = diff(real.path(), other.path(), &[]).expect(0, &[]).stdout();
    assert!(text.contains("25,522") && text.contains("the logs hold the same"), "{text}");
    assert_eq!((snapshot(real.path()), snapshot(other.path())), (before_a, before_b), "changed");
}

#[test]
fn every_difference_is_told_with_its_place_in_both_logs() {
    let deletes = "{\"type\":\"deletes\",\"deletes\":[{\"ref\":1,\"mint\":0,\"maxt\":5}]}\n";
    let a = log(&(SERIES.to_owned() + &samples(0..20) + deletes));
    let b = log(&(SERIES.replace("db", "dc") + &samples((0..20).filter(|number| *number != 9)) + deletes));
    let found = diff(a.path(), b.path(), &["--json"]).expect(1, &[]).json();
    assert_eq!((&found["equal"], &found["differences"]), (&false.into(), &2.into()), "{found}");
    let [both, only_a, only_b] = ["both", "only_a", "only_b"].map(|key| &found[key]);
    assert_eq!(*both, json!({ "series": 1, "samples": 19, "deletes": 1 }));
    assert_eq!(*only_a, json!({ "series": 1, "samples": 1, "deletes": 0 }));
    assert_eq!(*only_b, json!({ "series": 1, "samples": 0, "deletes": 0 }));
    let [series, sample] = [&found["shown"][0], &found["shown"][1]];
    assert_eq!((&series["a"]["segment"], &series["a"]["offset"]), (&1.into(), &8.into()));
    assert_eq!(series["b"]["first"], json!([{ "ref": 2, "labels": [["__name__", "up"], ["job", "dc"]] }]));
    assert_eq!(sample["a"]["first"], json!([{ "ref": 2, "t": 9, "v": 27.0 }]));
    assert_eq!(sample["b"]["first"], json!([]));
    // The places are those that `dump` knows.
    for (dir, side, number) in [(a.path(), &sample["a"], 9), (b.path(), &sample["b"], 10)] {
        let from = format!("{}:{}", side["segment"], side["offset"]);
        let entry = run("dump", dir, &["--from", &from]).expect(0, &[]).entries().remove(0);
        assert_eq!(entry["samples"][0]["t"], number);
    }
    let text = diff(a.path(), b.path(), &["--show", "1"]).expect(1, &[]).stdout();
    for part in [
        "A 1:8, B 1:8\n- series 2 {__name__=\"up\",job=\"db\"}\n+ series 2 {__name__=\"up\",job=\"dc\"}\n",
        "the logs differ in 2 places, the first 1 shown above",
    ] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    assert!(!text.contains("@9"), "{text}");
}

#[test]
fn values_differ_by_their_bits() {
    let of = |value: &str| {
        log(&format!("{{\"type\":\"samples\",\"samples\":[{{\"ref\":1,\"t\":5,\"v\":{value}}}]}}\n"))
    };
    for (a, b, code) in [
        ("1", "1.0", 0),
        ("0", "-0.0", 1),
        ("\"0x7ff0000000000002\"", "\"0x7ff0000000000002\"", 0),
        ("\"0x7ff0000000000002\"", "\"0x7ff8000000000001\"", 1),
    ] {
        println!("{a} and {b}");
        diff(of(a).path(), of(b).path(), &[]).expect(code, &[]);
    }
}

#[test]
fn a_log_is_found_again_behind_more_than_can_be_read_ahead() {
    let whole = log(&samples(0..20_000));
    for gap in [100..8_000, 3_000..17_000, 0..12_000, 9_000..20_000] {
        let without = log(&samples((0..20_000).filter(|number| !gap.contains(number))));
        let missing = json!({ "series": 0, "samples": gap.end - gap.start, "deletes": 0 });
        let one_way = diff(whole.path(), without.path(), &["--json"]).expect(1, &[]).json();
        assert_eq!((&one_way["only_a"], &one_way["only_b"]["samples"]), (&missing, &0.into()), "{gap:?}");
        assert_eq!(one_way["differences"], 1);
        assert_eq!(one_way["shown"][0]["a"]["first"][0]["t"], gap.start);
        let other_way = diff(without.path(), whole.path(), &["--json"]).expect(1, &[]).json();
        assert_eq!((&other_way["only_b"], &other_way["only_a"]["samples"]), (&missing, &0.into()), "{gap:?}");
    }
    // Both go their own ways for longer than that, and meet again.
    let other = log(&(samples(0..1_000) + &samples(50_000..60_000) + &samples(9_000..20_000)));
    let found = diff(whole.path(), other.path(), &["--json"]).expect(1, &[]).json();
    assert_eq!((&found["only_a"]["samples"], &found["only_b"]["samples"]), (&8_000.into(), &10_000.into()));
    assert_eq!((&found["both"]["samples"], &found["differences"]), (&12_000.into(), &1.into()));
}

#[test]
fn nothing_in_common_is_one_difference_and_an_empty_log_is_none_of_its_own() {
    let (a, b) = (log(&samples(0..5_000)), log(&samples(10_000..13_000)));
    let found = diff(a.path(), b.path(), &["--json"]).expect(1, &[]).json();
    assert_eq!((&found["only_a"]["samples"], &found["only_b"]["samples"]), (&5_000.into(), &3_000.into()));
    assert_eq!((&found["both"]["samples"], &found["differences"]), (&0.into(), &1.into()));
    let empty = tempfile::tempdir().unwrap();
    let found = diff(empty.path(), b.path(), &["--json"]).expect(1, &["an empty log"]).json();
    assert_eq!((&found["only_b"]["samples"], &found["differences"]), (&3_000.into(), &1.into()));
    diff(empty.path(), empty.path(), &[]).expect(0, &["are the same directory"]);
}

#[test]
fn all_items_of_both_logs_are_counted_whatever_was_changed() {
    let mut random = 7_u64;
    let mut draw = |below: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(random >> 33).unwrap() % below
    };
    for round in 0..20 {
        let mut numbers: Vec<u64> = (0..3_000).map(|_| draw(1_000_000) as u64).collect();
        let a = log(&samples(numbers.iter().copied()));
        let edits = [0, 1, 20, 400][draw(4)];
        for _ in 0..edits {
            let at = draw(numbers.len());
            match draw(3) {
                0 => drop(numbers.remove(at)),
                1 => numbers.insert(at, 2_000_000 + draw(1_000_000) as u64),
                _ => numbers[at] = 2_000_000 + draw(1_000_000) as u64,
            }
        }
        let b = log(&samples(numbers.iter().copied()));
        let found = diff(a.path(), b.path(), &["--json"]).expect(i32::from(edits != 0), &[]).json();
        let count = |key: &str| found[key]["samples"].as_u64().unwrap();
        let (both, only_a, only_b) = (count("both"), count("only_a"), count("only_b"));
        assert_eq!((both + only_a, both + only_b), (3_000, numbers.len() as u64), "round {round}: {found}");
        assert!(only_a <= edits && only_b <= edits, "round {round}, {edits} edits: {found}");
    }
}

#[test]
fn only_what_is_wanted_is_compared() {
    let a = log(&(SERIES.to_owned() + &samples(0..50)));
    let b = log(&(SERIES.to_owned() + &samples((0..50).filter(|number| number % 7 != 3))));
    diff(a.path(), b.path(), &[]).expect(1, &[]);
    diff(a.path(), b.path(), &["--ref", "2"]).expect(0, &[]);
    diff(a.path(), b.path(), &["--kind", "series"]).expect(0, &[]);
    diff(a.path(), b.path(), &["--match", "up"]).expect(0, &["samples and deletes left out"]);
    diff(a.path(), b.path(), &["--until", "2"]).expect(0, &[]);
    diff(a.path(), b.path(), &["--until", "3"]).expect(1, &[]);
}

#[test]
fn a_truncated_log_is_its_backup_from_that_time_on() {
    let (expect, _) = self_scrape();
    let log = log_of(std::str::from_utf8(&expect).unwrap(), &["--segment-size", "30000"]);
    let place = tempfile::tempdir().unwrap();
    let backup = place.path().join("backup");
    run("backup", log.path(), &[backup.to_str().unwrap()]).expect(0, &[]);
    diff(log.path(), &backup, &[]).expect(0, &[]);
    let stat = run("stat", log.path(), &["--json"]).json();
    let [min, max] = ["min_time", "max_time"].map(|key| stat[key].as_i64().unwrap());
    let middle = (min + (max - min) / 2).to_string();
    run("truncate", log.path(), &["--mint", &middle, "--keep-all"]).expect(0, &[]);
    let found = diff(log.path(), &backup, &["--json"]).expect(1, &[]).json();
    assert_eq!((&found["only_a"]["samples"], &found["only_b"]["series"]), (&0.into(), &0.into()), "{found}");
    diff(log.path(), &backup, &["--since", &middle]).expect(0, &[]);
}

#[test]
fn a_damaged_log_is_compared_up_to_its_fault_or_past_it() {
    let case = golden("15-flip-body");
    let place = tempfile::tempdir().unwrap();
    let salvaged = place.path().join("salvaged");
    run("salvage", case.log.path(), &[salvaged.to_str().unwrap()]).expect(0, &[]);
    let faults = ["000002: offset 81: damaged", "wal repair"];
    let found = diff(case.log.path(), &salvaged, &["--json"]).expect(1, &faults).json();
    assert_eq!((&found["a"]["verdict"], &found["b"]["verdict"]), (&"damaged".into(), &"clean".into()));
    assert_eq!((&found["equal"], &found["only_a"]["samples"]), (&false.into(), &0.into()));
    let past = diff(case.log.path(), &salvaged, &["--skip-damaged"]).expect(1, &faults).stdout();
    assert!(past.contains("what can be read of both is the same"), "{past}");
}

#[test]
fn every_golden_log_is_the_same_as_itself() {
    for case in golden_cases() {
        println!("{}", case.name);
        let before = snapshot(case.log.path());
        let found = diff(case.log.path(), case.log.path(), &["--json"]);
        let clean = case.case["verdict"] == "clean";
        let found = found.expect(i32::from(!clean), &["are the same directory"]).json();
        assert_eq!((&found["equal"], &found["a"]["verdict"]), (&true.into(), &case.case["verdict"]));
        let items = |kind: &str| {
            case.expect.iter().filter_map(|entry| entry[kind].as_array()).map(Vec::len).sum::<usize>()
        };
        for kind in ["series", "samples", "deletes"] {
            assert_eq!(found["both"][kind], Value::from(items(kind)), "{kind}");
        }
        assert_eq!(snapshot(case.log.path()), before);
    }
}

#[test]
fn what_is_no_log_is_refused_on_either_side() {
    let case = golden("03-one-series");
    let log = case.log.path();
    let absent = log.join("absent");
    for (a, b) in [(absent.as_path(), log), (log, absent.as_path())] {
        diff(a, b, &[]).expect(2, &["absent", "next: "]);
    }
    diff(log, &log.join("000001"), &[]).expect(2, &["not a directory", "next: "]);
    let newer = golden("03-one-series");
    let file = newer.log.path().join("000001");
    let mut bytes = fs::read(&file).unwrap();
    bytes[4] = 2;
    fs::write(&file, bytes).unwrap();
    diff(log, newer.log.path(), &[]).expect(1, &["000001", "version 2"]);
    run("diff", log, &[]).expect(2, &["<B>"]);
}
