//! `repair`, `quarantine` and `truncate`: said first, done on request, nothing destroyed.

mod common;

use std::fs;

use common::{assert_same_entries, entries, golden, golden_cases, run, snapshot};

#[test]
fn a_dry_run_changes_nothing_in_any_mode() {
    for case in golden_cases() {
        let before = snapshot(case.log.path());
        for mode in ["strict", "tolerate-torn-tail", "point-in-time", "skip-damaged"] {
            println!("{} {mode}", case.name);
            let said = run("repair", case.log.path(), &["--mode", mode]);
            let refused = match case.case["verdict"].as_str().unwrap() {
                "torn" => mode == "strict",
                "damaged" => mode == "strict" || mode == "tolerate-torn-tail",
                _ => false,
            };
            let said = said.expect(i32::from(refused), &[]);
            assert!(!said.stdout().is_empty());
            assert_eq!(said.stdout().contains("refused"), refused, "{said}");
            assert_eq!(snapshot(case.log.path()), before);
        }
    }
}

#[test]
fn a_repair_ends_the_log_at_the_fault_and_a_second_one_finds_nothing() {
    for case in golden_cases() {
        println!("{}", case.name);
        let faulty = case.case["verdict"] != "clean";
        let said = run("repair", case.log.path(), &["--apply"]).expect(0, &[]).stdout();
        assert_eq!(said.contains("nothing to repair"), !faulty, "{said}");
        let dumped = run("dump", case.log.path(), &[]).expect(0, &[]).entries();
        assert_same_entries(&dumped, &case.expect, true);
        run("verify", case.log.path(), &[]).expect(0, &[]);
        let again = run("repair", case.log.path(), &["--apply"]).expect(0, &[]).stdout();
        assert!(again.contains("nothing to repair"), "{again}");
    }
}

#[test]
fn a_mode_that_refuses_changes_no_segment() {
    let case = golden("15-flip-body");
    let before = snapshot(case.log.path());
    for mode in ["strict", "tolerate-torn-tail"] {
        run("repair", case.log.path(), &["--mode", mode, "--apply"]).expect(1, &["000002", "next: "]);
    }
    let mut after = snapshot(case.log.path());
    after.retain(|path, _| before.contains_key(path));
    assert_eq!(after, before);
}

#[test]
fn skipping_damage_keeps_what_lies_beyond_it() {
    let case = golden("15-flip-body");
    let beyond = run("dump", case.log.path(), &["--skip-damaged"]).expect(1, &[]).entries();
    run("repair", case.log.path(), &["--mode", "skip-damaged", "--apply"]).expect(0, &[]);
    let kept = run("dump", case.log.path(), &[]).expect(0, &[]).entries();
    assert_same_entries(&kept, &beyond, false);
}

#[test]
fn what_was_cut_is_listed_put_back_and_purged() {
    let case = golden("15-flip-body");
    let before = snapshot(case.log.path());
    run("repair", case.log.path(), &["--apply"]).expect(0, &[]);
    let listed = entries(run("quarantine", case.log.path(), &["list"]).expect(0, &[]).stdout().as_bytes());
    assert_eq!(listed.len(), 2, "the tail of segment 2, and segment 3");
    let tail = listed.iter().find(|file| file["segment"] == 2).unwrap();
    assert_eq!((&tail["offset"], &tail["bytes"]), (&81.into(), &(211 - 81).into()));

    let fresh = tempfile::tempdir().unwrap();
    let to = fresh.path().join("restored");
    run("quarantine", case.log.path(), &["restore", "--to", to.to_str().unwrap()]).expect(0, &["next: "]);
    for name in ["000001", "000002", "000003"] {
        assert_eq!(fs::read(to.join(name)).unwrap(), before[&case.log.path().join(name)], "{name}");
    }
    run("quarantine", case.log.path(), &["restore", "--to", to.to_str().unwrap()]).expect(2, &["not empty"]);

    let purged = run("quarantine", case.log.path(), &["purge"]).expect(0, &["2 files deleted"]).stdout();
    assert_eq!(entries(purged.as_bytes()).len(), 2);
    assert_eq!(run("quarantine", case.log.path(), &["list"]).expect(0, &[]).stdout(), "");
    run("dump", case.log.path(), &[]).expect(0, &[]);
}

#[test]
fn truncation_removes_what_is_old_and_keeps_the_series_asked_for() {
    let lists = tempfile::tempdir().unwrap();
    let list = lists.path().join("refs");
    fs::write(&list, "11\n 21\t99\n\n").unwrap();
    let list = list.to_str().unwrap();
    for (keep, kept) in [
        (&["--keep-all"][..], &[1, 11, 21][..]),
        (&["--keep-refs", list], &[11, 21]),
        (&["--drop-refs", list], &[1, 21]),
    ] {
        let case = golden("22-leftovers");
        fs::remove_file(case.log.path().join("7")).unwrap();
        let rest = [&["--mint", "2000"], keep].concat();
        let report = run("truncate", case.log.path(), &rest).expect(0, &[]);
        assert!(!report.stdout().is_empty());
        let found = run("dump", case.log.path(), &[]).expect(0, &[]).entries();
        let refs: Vec<_> = found
            .iter()
            .filter_map(|entry| entry["series"].as_array())
            .flatten()
            .map(|series| series["ref"].as_u64().unwrap())
            .collect();
        assert_eq!(refs, kept, "{keep:?}");
        let times = found.iter().filter_map(|entry| entry["samples"].as_array()).flatten();
        assert!(times.map(|sample| sample["t"].as_i64().unwrap()).all(|time| time >= 2000), "{found:?}");
        assert!(case.log.path().join("notes.txt").exists() && case.log.path().join("compact.tmp").exists());
    }
}

#[test]
fn a_bad_list_of_references_is_refused_before_the_log_is_touched() {
    let case = golden("08-segments");
    let before = snapshot(case.log.path());
    let lists = tempfile::tempdir().unwrap();
    let list = lists.path().join("refs");
    fs::write(&list, "1 2\n3 x4\n").unwrap();
    let list = list.to_str().unwrap();
    run("truncate", case.log.path(), &["--mint", "1", "--keep-refs", list])
        .expect(2, &[list, "line 2", "x4", "next: "]);
    run("truncate", case.log.path(), &["--mint", "1", "--drop-refs", "absent"])
        .expect(2, &["absent", "next: "]);
    assert_eq!(snapshot(case.log.path()), before);
}

#[test]
fn truncation_of_a_damaged_log_is_refused() {
    let case = golden("14-torn-mid-b1");
    let repair = format!("wal repair {}", case.log.path().display());
    run("truncate", case.log.path(), &["--mint", "-5", "--keep-all"]).expect(1, &["000001", &repair]);
}
