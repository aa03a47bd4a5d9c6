//! What all tests of the tool share: running it, the golden logs, and comparing entries and directories.
#![allow(dead_code, reason = "every test file uses its own part of this")]
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// All commands but `demo`, which is an example by itself.
pub(crate) const COMMANDS: [&str; 13] = [
    "dump",
    "verify",
    "stat",
    "diff",
    "import",
    "repair",
    "truncate",
    "quarantine",
    "backup",
    "salvage",
    "completions",
    "man",
    "bench",
];

/// The tool, not yet started.
pub(crate) fn wal() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wal"));
    command.stdin(Stdio::null());
    command
}

/// Runs the tool with arguments on a directory: `run(&["dump"], dir, &["--skip-damaged"])`.
pub(crate) fn run(command: &str, dir: &Path, rest: &[&str]) -> Run {
    Run(wal().arg(command).arg(dir).args(rest).output().unwrap())
}

/// Runs the tool with input on its standard input.
pub(crate) fn run_with_input(command: &str, dir: &Path, rest: &[&str], input: &[u8]) -> Run {
    let mut child = Command::new(env!("CARGO_BIN_EXE_wal"))
        .arg(command)
        .arg(dir)
        .args(rest)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    // The tool may refuse before it has read everything, and then the pipe is closed.
    let feeder = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    feeder.join().unwrap();
    Run(output)
}

/// What a run of the tool left.
pub(crate) struct Run(pub Output);

impl Run {
    pub(crate) fn code(&self) -> i32 {
        self.0.status.code().unwrap_or_else(|| panic!("killed: {self}"))
    }

    pub(crate) fn stdout(&self) -> String {
        String::from_utf8(self.0.stdout.clone()).unwrap()
    }

    pub(crate) fn stderr(&self) -> String {
        String::from_utf8(self.0.stderr.clone()).unwrap()
    }

    /// Standard output as one JSON object.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.0.stdout).unwrap_or_else(|error| panic!("{error}: {self}"))
    }

    /// Standard output as entries.
    pub(crate) fn entries(&self) -> Vec<Value> {
        entries(&self.0.stdout)
    }

    /// Asserts the exit code, and that every one of `parts` is said on standard error.
    #[track_caller]
    pub(crate) fn expect(self, code: i32, parts: &[&str]) -> Self {
        assert_eq!(self.code(), code, "{self}");
        let stderr = self.stderr();
        for part in parts {
            assert!(stderr.contains(part), "no {part:?} in {self}");
        }
        assert!(!stderr.contains("panicked"), "{self}");
        self
    }
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (out, err) = (String::from_utf8_lossy(&self.0.stdout), String::from_utf8_lossy(&self.0.stderr));
        let out: String = out.chars().take(2000).collect();
        write!(f, "{}\n--- stdout\n{out}\n--- stderr\n{err}", self.0.status)
    }
}

/// Parses NDJSON.
pub(crate) fn entries(text: &[u8]) -> Vec<Value> {
    let lines = text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
}

/// Asserts that two lists of entries are the same, values by their bits.
#[track_caller]
pub(crate) fn assert_same_entries(got: &[Value], want: &[Value], with_positions: bool) {
    for (index, (got, want)) in got.iter().zip(want).enumerate() {
        assert_eq!(exact(got, with_positions), exact(want, with_positions), "entry {index}");
    }
    assert_eq!(got.len(), want.len(), "number of entries");
}

/// An entry with every value replaced by its bits, so that 1 and 1.0 are equal and 0.0 and -0.0 are not.
fn exact(entry: &Value, with_positions: bool) -> Value {
    let mut entry = entry.clone();
    for sample in entry.get_mut("samples").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(number) = sample["v"].as_f64() {
            sample["v"] = format!("{:#018x}", number.to_bits()).into();
        }
    }
    if !with_positions && let Some(entry) = entry.as_object_mut() {
        entry.remove("segment");
        entry.remove("offset");
    }
    entry
}

/// A golden log: written by the reference, or damaged after.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) expect: Vec<Value>,
    pub(crate) case: Value,
    /// A copy of the log that may be changed.
    pub(crate) log: TempDir,
}

/// All golden logs.
pub(crate) fn golden_cases() -> Vec<Case> {
    let mut names: Vec<_> = fs::read_dir(data().join("golden"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names.iter().map(|name| golden(name)).collect()
}

/// One golden log by its name.
pub(crate) fn golden(name: &str) -> Case {
    let dir = data().join("golden").join(name);
    let case = serde_json::from_slice(&fs::read(dir.join("case.json")).unwrap()).unwrap();
    let expect = entries(&fs::read(dir.join("expect.ndjson")).unwrap());
    Case { name: name.to_owned(), expect, case, log: copy_of(&dir.join("wal")) }
}

/// What a real Prometheus logged while scraping itself: the entries as text, and a copy of the log.
pub(crate) fn self_scrape() -> (Vec<u8>, TempDir) {
    let dir = data().join("real/prometheus-self-scrape");
    (fs::read(dir.join("expect.ndjson")).unwrap(), copy_of(&dir.join("wal")))
}

/// Every file below a directory with its bytes.
pub(crate) fn snapshot(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                files.insert(path.clone(), Vec::new());
                folders.push(path);
            } else {
                files.insert(path.clone(), fs::read(&path).unwrap());
            }
        }
    }
    files
}

/// Copies the files of a directory; git keeps no empty directory, so a missing one is an empty one.
fn copy_of(dir: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(dir).into_iter().flatten() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    copy
}

/// The test data of the log's own crate.
fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../wal-engine/tests/data")
}
