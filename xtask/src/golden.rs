//! `cargo xtask golden`: the tool reads logs that the reference wrote, says what it should, and changes nothing.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::{Outcome, Repo, cmd, ndjson};

/// The set is fixed: a directory that got lost must not pass unseen.
const GOLDEN_CASES: usize = 48;

pub(crate) fn run(repo: &Repo, _: &[String]) -> Outcome {
    let tool = repo.wal_tool()?;
    let cases = repo.cases("golden")?;
    let mut problems = Vec::new();
    if cases.len() != GOLDEN_CASES {
        problems.push(format!("{} golden cases found, {GOLDEN_CASES} expected", cases.len()));
    }
    let real = repo.cases("real")?;
    if real.is_empty() {
        problems.push("the log of a real Prometheus is gone".to_owned());
    }
    for dir in cases.iter().chain(&real) {
        let name = dir.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if let Err(why) = case(&tool, dir) {
            problems.push(format!("{name}: {why}"));
        }
    }
    println!("    {} cases, {} real logs", cases.len(), real.len());
    if problems.is_empty() { Ok(()) } else { Err(problems.join("\n")) }
}

/// One directory: dump, verify, and not a byte changed by either.
fn case(tool: &Path, dir: &Path) -> Outcome {
    let scratch = tempfile::tempdir().map_err(|e| format!("no temporary directory: {e}"))?;
    let log = scratch.path().join("wal");
    copy(&dir.join("wal"), &log)?;
    let before = snapshot(&log)?;
    let expected = Expected::read(dir)?;
    let mut problems = Vec::new();

    let dump = cmd::answer(Command::new(tool).arg("dump").arg(&log))?;
    let text =
        std::fs::read_to_string(dir.join("expect.ndjson")).map_err(|e| format!("expect.ndjson: {e}"))?;
    problems.extend(ndjson::difference(&text, &dump.stdout)?.map(|why| format!("dump: {why}")));
    let verify = cmd::answer(Command::new(tool).arg("verify").arg(&log).arg("--json"))?;
    for (verb, answer) in [("dump", &dump), ("verify", &verify)] {
        if answer.code != expected.exit_code() {
            let (code, wanted) = (answer.code, expected.exit_code());
            problems
                .push(format!("{verb} exits with {code}, not {wanted}; it said: {}", answer.stderr.trim()));
        }
    }
    problems.extend(expected.differences(&verify.stdout)?);
    if snapshot(&log)? != before {
        problems.push("reading changed the directory".to_owned());
    }
    if problems.is_empty() { Ok(()) } else { Err(problems.join("\n  ")) }
}

/// What `case.json` says about a log; a directory without one is clean.
struct Expected {
    verdict: Value,
    fault: Value,
    malformed: Value,
}

impl Expected {
    fn read(dir: &Path) -> Result<Expected, String> {
        let path = dir.join("case.json");
        if !path.exists() {
            return Ok(Expected { verdict: json!("clean"), fault: Value::Null, malformed: json!([]) });
        }
        let text = std::fs::read_to_string(&path).map_err(|e| format!("case.json: {e}"))?;
        let mut case: Value = serde_json::from_str(&text).map_err(|e| format!("case.json: {e}"))?;
        let mut take = |key: &str| case[key].take();
        Ok(Expected { verdict: take("verdict"), fault: take("fault"), malformed: take("malformed") })
    }

    fn exit_code(&self) -> i32 {
        i32::from(self.verdict != "clean")
    }

    /// Compares places only: how a fault is worded is the tool's own business.
    fn differences(&self, printed: &str) -> Result<Vec<String>, String> {
        let said: Value =
            serde_json::from_str(printed).map_err(|e| format!("verify printed no JSON object: {e}"))?;
        let malformed = match said["malformed"].as_array() {
            Some(list) => list.iter().map(place).collect(),
            None => Value::Null,
        };
        let mut problems = Vec::new();
        for (what, want, got) in [
            ("verdict", &self.verdict, &said["verdict"]),
            ("fault", &self.fault, &place(&said["fault"])),
            ("malformed", &self.malformed, &malformed),
        ] {
            if want != got {
                problems.push(format!("verify: {what} is {got}, not {want}"));
            }
        }
        Ok(problems)
    }
}

/// Segment and offset of a fault, `null` for none.
fn place(fault: &Value) -> Value {
    if fault.is_null() {
        return Value::Null;
    }
    json!({"segment": fault["segment"], "offset": fault["offset"]})
}

/// Copies the files of a directory, which has no folders in it.
pub(crate) fn copy(from: &Path, to: &Path) -> Outcome {
    let fail = |path: &Path, e: std::io::Error| format!("{}: {e}", path.display());
    std::fs::create_dir_all(to).map_err(|e| fail(to, e))?;
    for entry in std::fs::read_dir(from).map_err(|e| fail(from, e))? {
        let entry = entry.map_err(|e| fail(from, e))?;
        let is_file = entry.file_type().map_err(|e| fail(from, e))?.is_file();
        // Only there because git keeps no empty directory.
        if is_file && entry.file_name() != ".gitkeep" {
            let target = to.join(entry.file_name());
            std::fs::copy(entry.path(), &target).map_err(|e| fail(&target, e))?;
        }
    }
    Ok(())
}

/// Names and contents.
fn snapshot(dir: &Path) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(dir).map_err(|e| format!("{}: {e}", dir.display()))? {
        let path = entry.map_err(|e| format!("{}: {e}", dir.display()))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let bytes = if path.is_dir() {
            b"directory".to_vec()
        } else {
            std::fs::read(&path).map_err(|e| format!("{name}: {e}"))?
        };
        files.insert(name, bytes);
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn damaged() -> Expected {
        Expected {
            verdict: json!("damaged"),
            fault: json!({"segment": 1, "offset": 189}),
            malformed: json!([{"segment": 1, "offset": 8}]),
        }
    }

    const SAID: &str = r#"{"verdict":"damaged","fault":{"segment":1,"offset":189,"reason":"checksum"},
        "malformed":[{"segment":1,"offset":8,"reason":"short"}],"live":false}"#;

    #[test]
    fn the_expected_answer_passes_whatever_its_wording() {
        assert_eq!(damaged().differences(SAID).unwrap(), [""; 0]);
    }

    #[test]
    fn another_verdict_place_or_malformed_entry_is_reported() {
        for (from, to) in [("\"damaged\"", "\"torn\""), ("189", "190"), ("\"offset\":8", "\"offset\":9")] {
            assert_eq!(damaged().differences(&SAID.replace(from, to)).unwrap().len(), 1, "{to}");
        }
    }

    #[test]
    fn a_fault_or_list_left_out_is_reported() {
        let said = r#"{"verdict":"damaged","fault":null}"#;
        assert_eq!(damaged().differences(said).unwrap().len(), 2);
    }

    #[test]
    fn only_a_clean_log_exits_with_zero() {
        assert_eq!(damaged().exit_code(), 1);
        assert_eq!(Expected { verdict: json!("clean"), ..damaged() }.exit_code(), 0);
    }
}
