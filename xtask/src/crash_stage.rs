//! The parts of a log's life in which calls are refused and processes killed: what stands before, what runs, what must hold after.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::crash::{self, Plan};
use crate::crash_home::Home;
use crate::crash_oracle::{self, Oracle};
use crate::crash_strace::{self, Injection};
use crate::{Outcome, golden};

/// Small segments and few lines between syncs: every step of the writer in as few calls as possible.
pub(crate) const IMPORT: [&str; 6] = ["import", "--segment-size", "256", "--sync-every", "5", "--ack"];
/// Written before a last segment ends: the beginning of an entry.
const TEAR: [u8; 4] = [2, 1, 0, 0];
/// The lines of one life.
pub(crate) const LINES: u64 = 15;
const MINT: u64 = 20;

/// A part of the history, from a state that is copied for each try.
pub(crate) struct Stage {
    pub(crate) name: &'static str,
    /// The log before; `None` for no directory at all.
    pub(crate) before: Option<PathBuf>,
    /// Where the log is, below the directory of a try.
    pub(crate) log: &'static str,
    /// The command; `LOG` and `NEW` stand for directories.
    pub(crate) args: Vec<&'static str>,
    /// What is run again in peace after a failure, until the log is read; it must end with 0.
    pub(crate) again: Option<Vec<&'static str>>,
    pub(crate) input: String,
    /// The exit code when nothing fails.
    pub(crate) ends: i32,
    /// What is known of the log before, the life that writes, and what it is fed.
    pub(crate) oracle: Oracle,
    /// Bytes that a repair cuts, each piece of which must be in quarantine afterwards.
    pub(crate) cut: Vec<Vec<u8>>,
    /// Whether it makes a second log, which must hold the same.
    pub(crate) copies: bool,
}

impl Stage {
    /// How many lines it is fed, which are acknowledged when all goes well.
    pub(crate) fn lines(&self) -> u64 {
        self.input.lines().count() as u64
    }
}

/// Makes the states that the stages begin with, and the stages.
pub(crate) fn stages(plan: &Plan) -> Result<Vec<Stage>, String> {
    let home = plan.memory.join("states");
    fs::create_dir_all(&home).map_err(|e| format!("{}: {e}", home.display()))?;
    let [one, torn, two, damaged, repaired, begun] =
        ["one", "torn", "two", "damaged", "repaired", "begun"].map(|name| home.join(name));
    let text = |first, life| crash_oracle::lines(first, LINES, life).concat();
    let import = |preallocation| [&IMPORT[..], &["--preallocation", preallocation, "LOG"]].concat();
    let plain = |name, before: Option<&PathBuf>, args: Vec<&'static str>, oracle: &Oracle| Stage {
        name,
        before: before.cloned(),
        log: "log",
        args,
        again: None,
        input: String::new(),
        ends: 0,
        oracle: oracle.clone(),
        cut: Vec::new(),
        copies: false,
    };
    let mut oracle = Oracle { life: 1, fed: LINES, ..Oracle::default() };
    let mut stages = Vec::new();
    for (name, preallocation) in
        [("first life", "zero-fill"), ("first life, fallocate", "fallocate"), ("first life, growing", "none")]
    {
        let first = plain(name, None, import(preallocation), &oracle);
        stages.push(Stage { input: text(1, 1), ..first });
    }
    let deep = plain("first life, missing parent", None, import("zero-fill"), &oracle);
    stages.push(Stage { input: crash_oracle::lines(1, 2, 1).concat(), log: "a/b/log", ..deep });

    append(plan, &one, LINES, &mut oracle)?;
    oracle = Oracle { life: 2, fed: 2 * LINES, ..oracle };
    golden::copy(&one, &torn)?;
    tear(&torn)?;
    for (name, before) in [("second life", &one), ("torn tail", &torn)] {
        let again = plain(name, Some(before), import("zero-fill"), &oracle);
        stages.push(Stage { input: text(LINES + 1, 2), ..again });
    }
    let tolerate = vec!["repair", "--apply", "--mode", "tolerate-torn-tail", "LOG"];
    let mended = plain("repair, tolerate-torn-tail", Some(&torn), tolerate.clone(), &oracle);
    stages.push(Stage { again: Some(tolerate), cut: vec![TEAR.to_vec()], ..mended });

    for (name, before, args, again) in [
        ("backup", &one, ["backup", "LOG", "NEW"], ["backup", "LOG", "NEWER"]),
        ("salvage", &torn, ["salvage", "LOG", "NEW"], ["salvage", "LOG", "NEWER"]),
    ] {
        let stage = plain(name, Some(before), args.to_vec(), &oracle);
        stages.push(Stage { again: Some(again.to_vec()), copies: true, ..stage });
    }

    golden::copy(&one, &two)?;
    append(plan, &two, LINES, &mut oracle)?;
    let truncated = Oracle { mint: MINT, ..oracle.clone() };
    let truncate = vec!["truncate", "--mint", "20", "--keep-all", "LOG"];
    let truncation = plain("truncation", Some(&two), truncate.clone(), &truncated);
    stages.push(Stage { again: Some(truncate), ..truncation });
    let cut_short = plain("truncation cut short", Some(&begun), import("zero-fill"), &truncated);
    let next = Oracle { life: 3, fed: 3 * LINES, ..truncated };
    stages.push(Stage { input: text(2 * LINES + 1, 3), oracle: next, ..cut_short });
    begin_truncation(plan, stages.iter().find(|stage| stage.name == "truncation"), &begun)?;

    golden::copy(&two, &damaged)?;
    let damage = damage(plan, &damaged, LINES)?;
    let in_time = vec!["repair", "--apply", "--mode", "point-in-time", "LOG"];
    let skip = vec!["repair", "--apply", "--mode", "skip-damaged", "LOG"];
    let until = oracle.up_to(damage.number - 1);
    let (whole, behind) = (damage.segment.clone(), damage.behind.clone());
    let point = plain("repair, point-in-time", Some(&damaged), in_time.clone(), &until);
    let point = Stage { again: Some(in_time.clone()), cut: behind, ..point };
    let strict = vec!["repair", "--apply", "--mode", "strict", "LOG"];
    let strict = plain("repair, strict", Some(&damaged), strict, &until);
    stages.push(Stage { again: Some(in_time), ends: 1, cut: point.cut.clone(), ..strict });
    stages.push(point);
    let skipped = plain("repair, skip-damaged", Some(&damaged), skip.clone(), &oracle.without(damage.number));
    stages.push(Stage { again: Some(skip), cut: vec![whole], ..skipped });

    golden::copy(&damaged, &repaired)?;
    let mut repair = Command::new(&plan.tool);
    crash::answer(repair.args(["repair", "--apply"]).arg(&repaired))?;
    for (name, args, again) in [
        (
            "quarantine restore",
            ["restore", "--to", "NEW"].as_slice(),
            ["restore", "--to", "NEWER"].as_slice(),
        ),
        ("quarantine purge", &["purge"], &["purge"]),
    ] {
        let with = |words: &[&'static str]| [&["quarantine", "LOG"], words].concat();
        let stage = plain(name, Some(&repaired), with(args), &until);
        stages.push(Stage { again: Some(with(again)), ..stage });
    }
    Ok(stages)
}

/// Appends in peace: it must work, and all must be there.
pub(crate) fn append(plan: &Plan, log: &Path, lines: u64, oracle: &mut Oracle) -> Outcome {
    let input = crash_oracle::lines(oracle.last() + 1, lines, oracle.life).concat();
    let mut command = Command::new(&plan.tool);
    let done = crash::answer_fed(command.args(IMPORT).arg(log), &input)?;
    if done.code != 0 || crash_oracle::acked(&done.stdout) != lines {
        let (code, said) = (done.code, done.stderr.trim());
        return Err(format!("appending to it ends with {code}, says {} {said}", done.stdout));
    }
    let expected = oracle.last() + lines;
    oracle.fed = oracle.fed.max(expected);
    oracle.acked = expected;
    oracle.read(&crash::dump(plan, log)?)?;
    if oracle.last() == expected { Ok(()) } else { Err(format!("read to {}", oracle.last())) }
}

/// Leaves a truncation whose intent is written and none of which is done.
fn begin_truncation(plan: &Plan, truncation: Option<&Stage>, log: &Path) -> Outcome {
    let stage = truncation.ok_or("no truncation")?;
    let home = Home::new(plan.memory.join("watched"));
    let watched = home.watch(plan, stage)?;
    let first = ["unlink", "rename"].into_iter().filter(|call| watched.counts.contains_key(*call));
    for call in first {
        let names = |home: &Home| files(&home.log(stage)).map(|files| files.len());
        home.fresh(stage)?;
        let before = names(&home)?;
        let kill = Injection::kill(call, 1);
        let command = crash_strace::inject(&home.trace(), &home.paths(&watched), &home.stdout(), kill);
        home.start(plan, stage, command)?;
        let mut oracle = stage.oracle.clone();
        oracle.read(&crash::dump(plan, &home.log(stage))?)?;
        // Read as if it were finished, which it is not.
        let whole = stage.oracle.seen.len() == oracle.seen.len();
        if !whole && before <= names(&home)? {
            return copy(&home.log(stage), log);
        }
    }
    Err("no kill leaves a truncation begun and not done".to_owned())
}

/// Where a log was damaged.
struct Damage {
    /// The entry that is lost.
    number: u64,
    /// The whole segment.
    segment: Vec<u8>,
    /// What lies behind the fault, a piece for each segment.
    behind: Vec<Vec<u8>>,
}

/// Flips a bit in the middle of an entry near `number`, below the durable mark and with segments behind it.
fn damage(plan: &Plan, log: &Path, number: u64) -> Result<Damage, String> {
    let printed = crash::dump(plan, log)?;
    let line = printed.lines().nth(usize::try_from(number - 1).unwrap_or(0)).unwrap_or_default();
    let entry: serde_json::Value = serde_json::from_str(line).map_err(|e| format!("{line}: {e}"))?;
    let place = (entry["segment"].as_u64(), entry["offset"].as_u64().and_then(|at| usize::try_from(at).ok()));
    let (Some(segment), Some(offset)) = place else { return Err(format!("no place: {line}")) };
    let path = log.join(format!("{segment:06}"));
    let mut bytes = fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    // Behind the six bytes of type, flag and length.
    *bytes.get_mut(offset + 8).ok_or("no such byte")? ^= 1;
    fs::write(&path, &bytes).map_err(|e| format!("{}: {e}", path.display()))?;
    let mut behind = vec![bytes.get(offset..).unwrap_or_default().to_vec()];
    for later in files(log)?.iter().filter(|file| is_segment(&file.to_string_lossy()) && path < **file) {
        behind.push(fs::read(later).map_err(|e| format!("{}: {e}", later.display()))?);
    }
    Ok(Damage { number, segment: bytes, behind })
}

/// Leaves the beginning of an entry at the end of the last segment.
fn tear(log: &Path) -> Outcome {
    let segments = files(log)?.into_iter().filter(|path| is_segment(&path.to_string_lossy()));
    let last = segments.max().ok_or("no segment")?;
    let mut bytes = fs::read(&last).map_err(|e| format!("{}: {e}", last.display()))?;
    bytes.extend(TEAR);
    fs::write(&last, bytes).map_err(|e| format!("{}: {e}", last.display()))
}

pub(crate) fn is_segment(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or("");
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit())
}

pub(crate) fn files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let fail = |e: std::io::Error| format!("{}: {e}", folder.display());
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(fail)? {
        found.extend(Some(entry.map_err(fail)?.path()).filter(|path| path.is_file()));
    }
    Ok(found)
}

/// A log with its quarantine.
pub(crate) fn copy(from: &Path, to: &Path) -> Outcome {
    golden::copy(from, to)?;
    let kept = from.join("quarantine");
    if kept.exists() { golden::copy(&kept, &to.join("quarantine")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbers_are_names_of_segments() {
        assert!(is_segment("/b/log/000012"));
        assert!(!is_segment("/b/log/000012.wal-tmp") && !is_segment("/b/log/") && !is_segment("durable"));
    }
}
