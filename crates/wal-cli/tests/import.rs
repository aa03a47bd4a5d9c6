//! `import`: what `dump` printed goes in again; bad input keeps what came before it.

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use common::{
    assert_same_entries, entries, golden, golden_cases, run, run_with_input, self_scrape, snapshot, wal,
};

const GOOD: &str = r#"{"type":"samples","samples":[{"ref":1,"t":1700000000000,"v":1.5}]}"#;

#[test]
fn a_real_log_goes_in_and_comes_out_the_same() {
    let (text, _) = self_scrape();
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("new/wal");
    fs::create_dir(dir.path().join("new")).unwrap();
    let imported =
        run_with_input("import", &log, &["--segment-size", "65536"], &text).expect(0, &["lines imported"]);
    assert_eq!(imported.stdout(), "", "acknowledgements nobody asked for");
    let dumped = run("dump", &log, &[]).expect(0, &[]).entries();
    assert_same_entries(&dumped, &entries(&text), false);
    let verified = run("verify", &log, &["--json"]).expect(0, &[]).json();
    let segments = verified["segments"].as_array().unwrap();
    assert!(segments.len() > 3, "{verified}");
    assert!(segments.iter().all(|of| of["bytes"].as_u64().unwrap() <= 65_536), "{verified}");
}

#[test]
fn every_golden_entry_goes_in_and_comes_out_the_same() {
    for case in golden_cases() {
        let text: String = case.expect.iter().map(|entry| format!("{entry}\n")).collect();
        let dir = tempfile::tempdir().unwrap();
        run_with_input("import", dir.path(), &[], text.as_bytes()).expect(0, &[]);
        let dumped = run("dump", dir.path(), &[]).expect(0, &[]).entries();
        // A line without items writes nothing.
        let kind = |entry: &serde_json::Value| entry["type"].as_str().unwrap().to_owned();
        let full: Vec<_> =
            case.expect.into_iter().filter(|of| of[kind(of)] != serde_json::json!([])).collect();
        println!("{}", case.name);
        assert_same_entries(&dumped, &full, false);
    }
}

#[test]
fn text_that_is_not_utf8_goes_in_and_comes_out_the_same() {
    let line = r#"{"type":"series","series":[{"ref":1,"labels":[[{"bytes":"//4="},"a\u0000\"\u00e9"],["b",{"bytes":"gA=="}]]}]}"#;
    let dir = tempfile::tempdir().unwrap();
    run_with_input("import", dir.path(), &[], line.as_bytes()).expect(0, &[]);
    let dumped = run("dump", dir.path(), &[]).expect(0, &[]).entries();
    assert_eq!(dumped[0]["series"][0]["labels"][0][0], "b", "sorted by name bytes");
    assert_eq!(dumped[0]["series"][0]["labels"][1], serde_json::json!([{"bytes":"//4="}, "a\0\"\u{e9}"]));
}

#[test]
fn a_bad_line_is_named_and_everything_before_it_is_kept() {
    for (bad, reason) in [
        ("{\"type\":\"samples\",\"samples\":[{\"ref\":-1,\"t\":0,\"v\":0}]}", "no series reference"),
        ("nonsense", "expected `{`"),
        ("{\"type\":\"samples\",\"samples\":[{\"ref\":1,\"t\":0,\"v\":1", "expected `,` or `}`"),
        ("{\"type\":\"samples\",\"samples\":[{\"ref\":1,\"t\":0,\"v\":1e999}]}", "does not fit"),
        ("\u{1f600}", "expected `{`"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let input = format!("{GOOD}\n\n{GOOD}\n{bad}\n{GOOD}\n");
        let refused = run_with_input("import", dir.path(), &["--ack"], input.as_bytes());
        let refused = refused.expect(2, &["line 4:", reason, "next: "]);
        assert_eq!(refused.stdout(), "acked 3\n", "{refused}");
        assert_eq!(run("dump", dir.path(), &[]).expect(0, &[]).entries().len(), 2);
    }
}

#[test]
fn acknowledgements_come_while_the_input_is_still_open() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = wal()
        .args(["import", "--ack", "--sync-every", "2"])
        .arg(dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut acks = BufReader::new(child.stdout.take().unwrap()).lines();
    write!(stdin, "{GOOD}\n{GOOD}\n").unwrap();
    assert_eq!(acks.next().unwrap().unwrap(), "acked 2");
    // What is acknowledged can be read beside the writer.
    assert_eq!(run("dump", dir.path(), &[]).expect(0, &[]).entries().len(), 2);
    let verified = run("verify", dir.path(), &["--json"]).expect(0, &[]).json();
    assert_eq!((&verified["live"], &verified["verdict"]), (&true.into(), &"clean".into()), "{verified}");
    write!(stdin, "{GOOD}\n{GOOD}\n{GOOD}").unwrap();
    drop(stdin);
    assert_eq!(acks.map(Result::unwrap).collect::<Vec<_>>(), ["acked 4", "acked 5"]);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_killed_import_keeps_every_line_it_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = wal()
        .args(["import", "--ack", "--sync-every", "3"])
        .arg(dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut acks = BufReader::new(child.stdout.take().unwrap()).lines();
    for number in 0..300 {
        writeln!(stdin, r#"{{"type":"samples","samples":[{{"ref":1,"t":{number},"v":{number}}}]}}"#).unwrap();
    }
    assert_eq!(
        acks.by_ref().map(Result::unwrap).find(|line| line == "acked 300").as_deref(),
        Some("acked 300")
    );
    writeln!(stdin, "{GOOD}").unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    run_with_input("import", dir.path(), &[], b"").expect(0, &[]);
    let found = run("dump", dir.path(), &[]).expect(0, &[]).entries();
    for (number, entry) in found.iter().take(300).enumerate() {
        assert_eq!(entry["samples"][0]["t"], number, "{entry}");
    }
    assert!((300..=301).contains(&found.len()), "{} entries", found.len());
}

#[test]
fn lines_without_items_write_nothing_and_count_as_lines() {
    let dir = tempfile::tempdir().unwrap();
    let input = r#"{"type":"series","series":[]}
{"type":"samples","samples":[]}
{"type":"deletes","deletes":[]}"#;
    let run_one = run_with_input("import", dir.path(), &["--ack"], input.as_bytes()).expect(0, &[]);
    assert_eq!(run_one.stdout(), "acked 3\n");
    assert_eq!(run("dump", dir.path(), &[]).expect(0, &[]).stdout(), "");
}

#[test]
fn an_import_goes_on_behind_what_is_there() {
    let case = golden("11-reopen");
    run_with_input("import", case.log.path(), &[], GOOD.as_bytes()).expect(0, &[]);
    let found = run("dump", case.log.path(), &[]).expect(0, &[]).entries();
    assert_same_entries(&found[..case.expect.len()], &case.expect, true);
    assert_same_entries(&found[case.expect.len()..], &entries(GOOD.as_bytes()), false);
}

#[test]
fn a_torn_tail_is_trimmed_and_said() {
    let case = golden("13-torn-last-b1");
    let said = run_with_input("import", case.log.path(), &[], GOOD.as_bytes());
    said.expect(0, &["000001: offset 118", "torn tail was trimmed", "kept as"]);
    let found = run("dump", case.log.path(), &[]).expect(0, &[]).entries();
    assert_eq!(found.len(), case.expect.len() + 1);
    assert_same_entries(&found[..case.expect.len()], &case.expect, true);
}

#[test]
fn a_damaged_log_is_refused_and_repair_is_named() {
    for name in ["15-flip-body", "14-torn-mid-h5", "16-bad-magic-first"] {
        let case = golden(name);
        let before = snapshot(case.log.path());
        let refused = run_with_input("import", case.log.path(), &["--ack"], GOOD.as_bytes());
        let repair = format!("wal repair {}", case.log.path().display());
        let refused = refused.expect(1, &[&repair]);
        assert_eq!(refused.stdout(), "");
        let mut after = snapshot(case.log.path());
        after.retain(|path, _| before.contains_key(path));
        assert_eq!(after, before, "{name}");
    }
}

#[test]
fn a_line_that_never_ends_is_refused_after_its_beginning() {
    let dir = tempfile::tempdir().unwrap();
    let mut child =
        wal().arg("import").arg(dir.path()).stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // Ends only because the tool closes the pipe.
    while stdin.write_all(&[b'x'; 65_536]).is_ok() {}
    assert_eq!(child.wait().unwrap().code(), Some(2));
}

#[test]
fn a_line_of_many_items_is_one_entry() {
    let items: Vec<_> = (0..200_000).map(|n| format!(r#"{{"ref":{n},"t":{n},"v":{n}}}"#)).collect();
    let line = format!(r#"{{"type":"samples","samples":[{}]}}"#, items.join(","));
    let dir = tempfile::tempdir().unwrap();
    run_with_input("import", dir.path(), &["--segment-size", "4096"], line.as_bytes()).expect(0, &[]);
    let found = run("dump", dir.path(), &[]).expect(0, &[]).entries();
    assert_same_entries(&found, &entries(line.as_bytes()), false);
}

#[test]
fn space_is_prepared_as_asked_and_given_back_at_the_end() {
    for (preallocation, ahead) in [("none", false), ("fallocate", true), ("zero-fill", true)] {
        let dir = tempfile::tempdir().unwrap();
        let mut child = wal()
            .args(["import", "--sync-every", "1", "--ack", "--preallocation", preallocation])
            .arg(dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        writeln!(stdin, "{GOOD}").unwrap();
        let mut acked = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut acked).unwrap();
        assert_eq!(acked, "acked 1\n");
        let segment = dir.path().join("000001");
        let open = fs::metadata(&segment).unwrap().len();
        drop(stdin);
        assert_eq!(child.wait().unwrap().code(), Some(0));
        let closed = fs::metadata(&segment).unwrap().len();
        assert_eq!(closed < open, ahead, "{preallocation}: {open} bytes open, {closed} closed");
        let found = run("dump", dir.path(), &[]).expect(0, &[]).entries();
        assert_same_entries(&found, &entries(GOOD.as_bytes()), false);
    }
}
