//! The parts of a log's life in which calls are refused and processes killed: what stands before, what runs, what must hold after.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::cmd::{self, Answer};
use crate::crash::{self, Plan};
use crate::crash_oracle::{self, Oracle};
use crate::crash_strace::{self, Call, Injection};
use crate::{Outcome, golden, ndjson};

/// Small segments and few lines between syncs: every step of the writer in as few calls as possible.
pub(crate) const IMPORT: [&str; 6] = ["import", "--segment-size", "256", "--sync-every", "5", "--ack"];
/// Written before a last segment ends: the beginning of an entry.
const TEAR: [u8; 4] = [2, 1, 0, 0];
/// The lines of one life.
pub(crate) const LINES: u64 = 15;
const MINT: u64 = 20;
/// Lines of the life that goes on after a failure.
const LINES_AFTER: u64 = 5;

/// A part of the history, from a state that is copied for each try.
pub(crate) struct Stage {
    pub(crate) name: &'static str,
    /// The log before; `None` for no directory at all.
    before: Option<PathBuf>,
    /// Where the log is, below the directory of a try.
    log: &'static str,
    /// The command; `LOG` and `NEW` stand for directories.
    pub(crate) args: Vec<&'static str>,
    /// What is run again in peace after a failure, until the log is read; it must end with 0.
    again: Option<Vec<&'static str>>,
    pub(crate) input: String,
    /// The exit code when nothing fails.
    pub(crate) ends: i32,
    /// What is known of the log before, the life that writes, and what it is fed.
    pub(crate) oracle: Oracle,
    /// Bytes that a repair cuts, each piece of which must be in quarantine afterwards.
    cut: Vec<Vec<u8>>,
    /// Whether it makes a second log, which must hold the same.
    copies: bool,
}

impl Stage {
    /// How many lines it is fed, which are acknowledged when all goes well.
    pub(crate) fn lines(&self) -> u64 {
        self.input.lines().count() as u64
    }
}

/// How often each call is made when nothing fails, and on which paths.
pub(crate) struct Watched {
    pub(crate) counts: BTreeMap<String, usize>,
    paths: Vec<String>,
}

/// A directory for one try.
pub(crate) struct Home(PathBuf);

impl Home {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Where all is that the tool may touch.
    pub(crate) fn work(&self) -> PathBuf {
        self.0.join("work")
    }

    pub(crate) fn log(&self, stage: &Stage) -> PathBuf {
        self.work().join(stage.log)
    }

    /// The paths on which calls are made to fail.
    pub(crate) fn paths(&self, watched: &Watched) -> Vec<String> {
        let home = self.0.to_string_lossy();
        watched.paths.iter().map(|path| format!("{home}/{path}").trim_end_matches('/').to_owned()).collect()
    }

    pub(crate) fn trace(&self) -> PathBuf {
        self.0.join("trace")
    }

    pub(crate) fn stdout(&self) -> PathBuf {
        self.0.join("out")
    }

    /// An empty directory, and in it the log as the stage finds it.
    pub(crate) fn fresh(&self, stage: &Stage) -> Outcome {
        let fail = |e: std::io::Error| format!("{}: {e}", self.0.display());
        if self.0.exists() {
            fs::remove_dir_all(&self.0).map_err(fail)?;
        }
        fs::create_dir_all(self.work()).map_err(fail)?;
        stage.before.as_ref().map_or(Ok(()), |before| copy(before, &self.log(stage)))
    }

    /// Runs the stage's command behind `command`, a command line of strace.
    pub(crate) fn start(&self, plan: &Plan, stage: &Stage, command: Command) -> Result<Answer, String> {
        self.start_as(plan, command, self.words(stage, &stage.args), &stage.input)
    }

    /// Runs the tool with these arguments and this input behind `command`.
    pub(crate) fn start_as(
        &self,
        plan: &Plan,
        mut command: Command,
        words: Vec<OsString>,
        input: &str,
    ) -> Result<Answer, String> {
        let fail = |e: std::io::Error| format!("{}: {e}", self.0.display());
        command.stdout(File::create(self.stdout()).map_err(fail)?);
        let ended = self.end(plan, command, words, input)?;
        let stdout = fs::read_to_string(self.stdout()).map_err(fail)?;
        Ok(Answer { stdout, ..ended })
    }

    /// The same as `start`, with standard output into a pipe: a limit to the size of files is none for a pipe.
    pub(crate) fn start_piped(
        &self,
        plan: &Plan,
        stage: &Stage,
        mut command: Command,
    ) -> Result<Answer, String> {
        command.stdout(Stdio::piped());
        self.end(plan, command, self.words(stage, &stage.args), &stage.input)
    }

    fn end(
        &self,
        plan: &Plan,
        mut command: Command,
        words: Vec<OsString>,
        input: &str,
    ) -> Result<Answer, String> {
        let fail = |e: std::io::Error| format!("{}: {e}", self.0.display());
        command.arg(&plan.tool).args(words);
        fs::write(self.0.join("input"), input).map_err(fail)?;
        command.stdin(File::open(self.0.join("input")).map_err(fail)?).stderr(Stdio::piped());
        let began = Instant::now();
        let done = command.output().map_err(|e| format!("`{}` does not start: {e}", cmd::line(&command)))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (stdout, stderr) = (text(&done.stdout), text(&done.stderr));
        if crash::TIME_MAX <= began.elapsed() {
            return Err(format!("it does not end by itself: {}", stderr.trim()));
        }
        Ok(Answer { code: done.status.code().unwrap_or(KILLED), stdout, stderr })
    }

    /// A tool that exits with 0 has done all: every line is acknowledged, and a copy holds what the log does.
    pub(crate) fn all_done(&self, plan: &Plan, stage: &Stage, answer: &Answer) -> Outcome {
        if answer.code != 0 {
            return Ok(());
        }
        if crash_oracle::acked(&answer.stdout) != stage.lines() {
            return Err("it exits with 0 and has not acknowledged everything".to_owned());
        }
        let mut copied = stage.oracle.clone();
        if stage.copies {
            copied.lost.extend(unread(&answer.stderr, &crash::dump(plan, &self.log(stage))?)?);
        }
        self.copy_is_whole(plan, stage, "new", &copied)
    }

    fn copy_is_whole(&self, plan: &Plan, stage: &Stage, name: &str, oracle: &Oracle) -> Outcome {
        if !stage.copies {
            return Ok(());
        }
        let mut copied = oracle.clone();
        copied.read(&crash::dump(plan, &self.work().join(name))?).map_err(|why| format!("the copy: {why}"))
    }

    /// What the stage runs once more, if anything, and the room that it needs.
    pub(crate) fn again(&self, stage: &Stage) -> Result<Option<Vec<OsString>>, String> {
        let left = self.work().join("newer");
        if left.exists() {
            fs::remove_dir_all(&left).map_err(|e| format!("{}: {e}", left.display()))?;
        }
        Ok(stage.again.as_ref().map(|again| self.words(stage, again)))
    }

    /// The arguments with their directories.
    pub(crate) fn words(&self, stage: &Stage, args: &[&str]) -> Vec<OsString> {
        let word = |arg: &&str| match *arg {
            "LOG" => self.log(stage).into(),
            "NEW" => self.work().join("new").into(),
            // What a failure left in the first one is the user's to remove.
            "NEWER" => self.work().join("newer").into(),
            other => other.into(),
        };
        args.iter().map(word).collect()
    }

    pub(crate) fn calls(&self) -> Result<Vec<Call>, String> {
        let trace = fs::read_to_string(self.trace()).map_err(|e| format!("the trace: {e}"))?;
        Ok(crash_strace::calls(&trace))
    }

    /// After a failure or a kill: what was begun is done again, the log holds what it must, and appending
    /// goes on.
    pub(crate) fn settle(&self, plan: &Plan, stage: &Stage, acked: u64, oracle: &mut Oracle) -> Outcome {
        if let Some(again) = self.again(stage)? {
            let done = crash::answer(Command::new(&plan.tool).args(again))?;
            if done.code != 0 {
                return Err(format!("done again, it ends with {}: {}", done.code, done.stderr.trim()));
            }
            self.copy_is_whole(plan, stage, "newer", oracle)?;
        }
        self.read_back(plan, stage, acked, oracle)?;
        let log = self.log(stage);
        self.nothing_cut_is_gone(stage, &log)?;
        oracle.life += 1;
        append(plan, &log, LINES_AFTER, oracle).map_err(|why| format!("reopened: {why}"))
    }

    /// Reads the log after a life that acknowledged so much.
    pub(crate) fn read_back(&self, plan: &Plan, stage: &Stage, acked: u64, oracle: &mut Oracle) -> Outcome {
        oracle.acked += acked;
        let log = self.log(stage);
        // Ended before it made the directory: then there is nothing to read, and nothing may be due.
        let text = if log.exists() { crash::dump(plan, &log)? } else { String::new() };
        oracle.read(&text).map_err(|why| format!("read back: {why}"))
    }

    fn nothing_cut_is_gone(&self, stage: &Stage, log: &Path) -> Outcome {
        let mut kept = Vec::new();
        for folder in [log.to_path_buf(), log.join("quarantine")].iter().filter(|folder| folder.exists()) {
            for path in files(folder)? {
                kept.push(fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))?);
            }
        }
        let missing = stage.cut.iter().filter(|cut| !kept.contains(cut)).count();
        if missing == 0 {
            Ok(())
        } else {
            Err(format!("{missing} pieces that were cut are in no quarantine"))
        }
    }

    /// Runs a stage without failures.
    pub(crate) fn watch(&self, plan: &Plan, stage: &Stage) -> Result<Watched, String> {
        self.fresh(stage)?;
        let answer = self.start(plan, stage, crash_strace::watch(&self.trace()))?;
        if answer.code != stage.ends {
            let said = answer.stderr.trim();
            return Err(format!("{} under strace exits with {}: {said}", stage.name, answer.code));
        }
        let calls = self.calls()?;
        let home = self.0.to_string_lossy().into_owned();
        let work = format!("{home}/work");
        names_are_synced(&calls, &work)?;
        let found = crash_strace::paths(&calls, &work).into_iter().map(|path| format!("work{path}"));
        let mut paths: Vec<String> = found.collect();
        // The thread that prepares segments may be further another time.
        for number in 1..=NUMBERS_MAX {
            let path = format!("work/{}/{number:06}", stage.log);
            paths.extend([format!("{path}.wal-tmp"), path]);
        }
        paths.push(String::new());
        paths.sort();
        paths.dedup();
        let mut counts = crash_strace::counts(&calls, &work);
        // The directory above that of the log's, which a first life syncs.
        for call in calls.iter().filter(|call| call.file() == Some(&home) && call.is_sync()) {
            *counts.entry(call.name.clone()).or_default() += 1;
        }
        let acked = crash_oracle::acked(&answer.stdout);
        let mut oracle = stage.oracle.clone();
        self.settle(plan, stage, acked, &mut oracle).map_err(|why| format!("{}: {why}", stage.name))?;
        Ok(Watched { counts, paths })
    }
}

/// A name that is not synced is no place for an acknowledged entry: of every directory that was made, the
/// one above is synced before anything is acknowledged.
fn names_are_synced(calls: &[Call], work: &str) -> Outcome {
    let acked = calls.iter().position(Call::is_ack).unwrap_or(calls.len());
    for (at, made) in calls.iter().enumerate().filter(|(_, call)| call.name == "mkdir") {
        let path = made.text.split('"').nth(1).unwrap_or_default();
        let (above, _) = path.rsplit_once('/').ok_or_else(|| format!("no whole path: {path}"))?;
        let mut between = calls.iter().take(acked).skip(at);
        let synced = between.any(|call| call.name == "fsync" && call.file() == Some(above));
        if path.starts_with(work) && made.succeeded() && !synced {
            return Err(format!("{path} is made and {above} not synced before an acknowledgement"));
        }
    }
    Ok(())
}

/// The entries of a log that a salvage names as missing, because a segment could not be read from there on.
fn unread(said: &str, dump: &str) -> Result<Vec<u64>, String> {
    let mut missing = Vec::new();
    for line in said.lines().filter(|line| line.contains("missing: ") && line.contains("cannot read")) {
        let place = line.split_once(": offset ").and_then(|(path, rest)| {
            let segment: u64 = path.rsplit('/').next()?.parse().ok()?;
            Some((segment, rest.split(':').next()?.parse::<u64>().ok()?))
        });
        let (segment, offset) = place.ok_or_else(|| format!("no place: {line}"))?;
        // Nothing else is in the log at that time, so an entry's number is its line.
        for (number, entry) in (1..).zip(ndjson::parse(dump)?) {
            let behind = entry["offset"].as_u64().is_some_and(|at| offset <= at);
            missing.extend((entry["segment"] == segment && behind).then_some(number));
        }
    }
    Ok(missing)
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

fn files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let fail = |e: std::io::Error| format!("{}: {e}", folder.display());
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(fail)? {
        found.extend(Some(entry.map_err(fail)?.path()).filter(|path| path.is_file()));
    }
    Ok(found)
}

/// A log with its quarantine.
fn copy(from: &Path, to: &Path) -> Outcome {
    golden::copy(from, to)?;
    let kept = from.join("quarantine");
    if kept.exists() { golden::copy(&kept, &to.join("quarantine")) } else { Ok(()) }
}

/// More segments than any stage makes.
const NUMBERS_MAX: u64 = 24;
/// What a process without an exit code answers.
pub(crate) const KILLED: i32 = 137;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_made_whose_name_is_not_synced_is_noticed() {
        let made = "7 mkdir(\"/b/w/a\", 0750) = 0\n7 mkdir(\"/b/w/a/log\", 0750) = 0\n";
        let sync = |dir: &str| format!("7 fsync(3<{dir}>) = 0\n");
        let acked = "7 write(1</b/out>, \"acked 5\\n\", 8) = 8\n";
        let check = |text: String| names_are_synced(&crash_strace::calls(&text), "/b/w").is_ok();
        let (above, below) = (sync("/b/w"), sync("/b/w/a"));
        assert!(check(format!("{made}{above}{below}{acked}")));
        assert!(!check(format!("{made}{below}{acked}")) && !check(format!("{made}{above}{acked}")));
        assert!(!check(format!("{above}{made}{below}{acked}")), "synced before it is there");
        assert!(!check(format!("{made}{above}{acked}{below}")), "synced too late");
    }

    #[test]
    fn only_what_a_salvage_names_as_unread_may_be_missing() {
        let dump =
            "{\"segment\":1,\"offset\":8}\n{\"segment\":2,\"offset\":8}\n{\"segment\":2,\"offset\":60}\n";
        let said = |rest: &str| unread(&format!("wal: missing: /b/log/000002: offset {rest}"), dump);
        assert_eq!(said("60: cannot read it"), Ok(vec![3]));
        assert_eq!(said("0: cannot read it"), Ok(vec![2, 3]));
        assert_eq!(said("60: 4 bytes are left"), Ok(vec![]));
        assert!(said("no number: cannot read it").is_err());
    }

    #[test]
    fn only_numbers_are_names_of_segments() {
        assert!(is_segment("/b/log/000012"));
        assert!(!is_segment("/b/log/000012.wal-tmp") && !is_segment("/b/log/") && !is_segment("durable"));
    }
}
