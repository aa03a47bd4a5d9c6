//! A directory for one try: the tool is run in it, with whatever stands in its way, and then the log is judged.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::cmd::{self, Answer};
use crate::crash::{self, Plan};
use crate::crash_oracle::{self, Oracle};
use crate::crash_stage::{Stage, append, copy, files};
use crate::crash_strace::{self, Call};
use crate::{Outcome, ndjson};

/// Lines of the life that goes on after a failure.
const LINES_AFTER: u64 = 5;

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
}
