//! The logs of the reference: `dump` and `verify` answer exactly what was recorded, and change nothing.

mod common;

use common::{assert_same_entries, golden, golden_cases, run, self_scrape, snapshot};
use serde_json::Value;

#[test]
fn every_golden_log_is_dumped_up_to_its_first_fault() {
    let cases = golden_cases();
    assert_eq!(cases.len(), 48);
    for case in cases {
        println!("{}", case.name);
        let before = snapshot(case.log.path());
        let dumped = run("dump", case.log.path(), &[]);
        assert_same_entries(&dumped.entries(), &case.expect, true);
        let clean = case.case["verdict"] == "clean";
        let dumped = dumped.expect(i32::from(!clean), &[]);
        if let Some(offset) = case.case["fault"]["offset"].as_u64() {
            let file =
                case.log.path().join(format!("{:06}", case.case["fault"]["segment"].as_u64().unwrap()));
            dumped.expect(1, &[&format!("{}: offset {offset}:", file.display()), "next: "]);
        } else if case.case["malformed"].as_array().is_some_and(Vec::is_empty) {
            let empty = if case.name == "01-empty" { "no segment files here" } else { "" };
            assert!(dumped.stderr().contains(empty), "{}: {dumped}", case.name);
            assert_eq!(dumped.stderr().is_empty(), empty.is_empty(), "{}: {dumped}", case.name);
        } else {
            dumped.expect(0, &["malformed entry skipped"]);
        }
        assert_eq!(snapshot(case.log.path()), before, "{}: changed by dump", case.name);
    }
}

#[test]
fn every_golden_log_gets_its_verdict() {
    for case in golden_cases() {
        println!("{}", case.name);
        let before = snapshot(case.log.path());
        let verified = run("verify", case.log.path(), &["--json"]);
        let found = verified.json();
        assert_eq!(found["verdict"], case.case["verdict"], "{verified}");
        for key in ["segment", "offset"] {
            assert_eq!(found["fault"][key], case.case["fault"][key], "{verified}");
        }
        assert_eq!(found["fault"].is_null(), case.case["fault"].is_null(), "{verified}");
        assert_eq!(found["fault"]["reason"].is_string(), !found["fault"].is_null(), "{verified}");
        assert_eq!(found["malformed"], case.case["malformed"], "{verified}");
        assert_eq!(found["live"], Value::Bool(false));
        let clean = case.case["verdict"] == "clean";
        run("verify", case.log.path(), &[]).expect(i32::from(!clean), &[]);
        verified.expect(i32::from(!clean), &[]);
        run("stat", case.log.path(), &["--json"]).expect(0, &[]);
        assert_eq!(snapshot(case.log.path()), before, "{}: changed by verify or stat", case.name);
    }
}

#[test]
fn segments_are_counted_one_by_one() {
    let case = golden("22-leftovers");
    let found = run("verify", case.log.path(), &["--json"]).expect(0, &[]).json();
    let files: Vec<_> =
        found["segments"].as_array().unwrap().iter().map(|of| of["file"].as_str().unwrap()).collect();
    assert_eq!(files, ["000001", "000002", "000003", "7"]);
    let first = &found["segments"][0];
    for (key, want) in [("bytes", 209), ("valid_bytes", 209), ("entries", 6), ("series", 1), ("samples", 4)] {
        assert_eq!(first[key], want, "{key}: {first}");
    }
    assert_eq!(
        (&first["deletes"], &first["min_time"], &first["max_time"]),
        (&1.into(), &0.into(), &3.into())
    );
    assert!(first["ends"].is_string());
    assert_eq!(found["leftovers"], serde_json::json!(["compact.tmp", "notes.txt"]));
}

#[test]
fn valid_bytes_end_before_the_fault_and_absent_times_are_null() {
    let case = golden("15-flip-body");
    let found = run("verify", case.log.path(), &["--json"]).expect(1, &[]).json();
    assert_eq!(found["segments"][1]["valid_bytes"], 81);
    let case = golden("02-header-only");
    let found = run("verify", case.log.path(), &["--json"]).expect(0, &[]).json();
    assert_eq!(found["segments"][0]["min_time"], Value::Null);
    assert_eq!(found["segments"][0]["valid_bytes"], 8);
}

#[test]
fn damage_can_be_passed_over_and_is_still_told() {
    let case = golden("15-flip-body");
    let dumped = run("dump", case.log.path(), &["--skip-damaged"])
        .expect(1, &["000002: offset 81", "passed over 36 bytes"]);
    let entries = dumped.entries();
    assert!(entries.len() > case.expect.len());
    assert_same_entries(&entries[..case.expect.len()], &case.expect, true);
    assert_eq!(entries.last().unwrap()["segment"], 3);
}

#[test]
fn text_shows_labels_of_series_seen_and_references_of_others() {
    let case = golden("03-one-series");
    let text = run("dump", case.log.path(), &["--format", "text"]).expect(0, &[]).stdout();
    assert_eq!(text, "series 1 {__name__=\"up\",job=\"x\"}\n");
    let case = golden("20-bad-payload-varint-overlong");
    let text = run("dump", case.log.path(), &["--format", "text"]).expect(0, &[]).stdout();
    assert!(text.contains("{__name__=\"up\",job=\"a\"} 1.5 @2000\n"), "{text}");
    assert!(text.contains("{ref=\"5\"} 5 @50\n"), "{text}");
    let case = golden("22-gap");
    let text = run("dump", case.log.path(), &["--format", "text"]).expect(0, &[]).stdout();
    assert!(text.contains("delete {__name__=\"m2\",job=\"x\"} @2000..@2001\n"), "{text}");
}

#[test]
fn a_dump_from_a_position_is_the_rest_of_the_dump() {
    let case = golden("22-gap");
    let rest = run("dump", case.log.path(), &["--from", "1:153"]).expect(0, &[]).entries();
    assert_same_entries(&rest, &case.expect[4..], true);
    let rest = run("dump", case.log.path(), &["--from", "3:8"]).expect(0, &[]).entries();
    assert_same_entries(&rest, &case.expect[6..], true);
}

#[test]
fn a_real_log_is_dumped_entry_by_entry() {
    let (expect, log) = self_scrape();
    let dumped = run("dump", log.path(), &[]).expect(0, &[]).entries();
    assert_same_entries(&dumped, &common::entries(&expect), true);
}

#[test]
fn a_real_log_has_its_statistics() {
    let (_, log) = self_scrape();
    let stat = run("stat", log.path(), &["--json"]).expect(0, &[]).json();
    assert_eq!((&stat["series"], &stat["samples"]), (&360.into(), &25_522.into()), "{stat}");
    assert_eq!(stat["verdict"], "clean");
    assert_eq!(stat["segments"], 3);
    assert!(stat["bytes_per_sample"].as_f64().unwrap() > 10.0);
    assert_eq!(stat["widest_labels"][0]["name"], "__name__");
    assert!(stat["largest_metrics"][0]["series"].as_u64().unwrap() > 1);
    let table = run("stat", log.path(), &[]).expect(0, &[]).stdout();
    for part in ["25,522", "360", "widest labels", "metrics with most series", "UTC"] {
        assert!(table.contains(part), "no {part} in {table}");
    }
}
