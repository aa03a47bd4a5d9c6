//! Every system call of a short history on files of the log, made to fail by strace, once and for good.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Mutex;
use std::time::Instant;

use crate::cmd::{self, Answer};
use crate::crash::{self, Plan};
use crate::crash_oracle::{self, Oracle};
use crate::crash_strace::{self, CALLS, Call, Injection};
use crate::{Outcome, golden};

const IMPORT: [&str; 6] = ["import", "--segment-size", "256", "--sync-every", "5", "--ack"];
const LINES: u64 = 40;
const MINT: u64 = 60;
/// Without `--long`: of the indices of one stage, call, error and duration so many, evenly spread.
const INDICES_MAX: usize = 3;
/// Written before a last segment ends: the beginning of an entry.
const TEAR: [u8; 4] = [2, 1, 0, 0];

/// A part of the history, from a state that is copied for each try.
struct Stage {
    name: &'static str,
    /// The log before; `None` for no directory at all.
    before: Option<PathBuf>,
    /// Opening has something to repair.
    torn: bool,
    args: Vec<&'static str>,
    input: String,
    /// What is known of the log before, the life that writes, and what it is fed.
    oracle: Oracle,
}

/// One try.
struct Case<'a> {
    stage: &'a Stage,
    injection: Injection,
    paths: &'a [String],
}

pub(crate) fn run(plan: &Plan) -> Outcome {
    cmd::need("strace", "--version", "apt-get install strace")?;
    let start = Instant::now();
    let stages = stages(plan)?;
    let mut watched = Vec::new();
    for stage in &stages {
        watched.push(watch(plan, stage)?);
    }
    let mut cases = Vec::new();
    let mut reached: BTreeMap<&str, usize> = BTreeMap::new();
    for (stage, (counts, paths)) in stages.iter().zip(&watched) {
        for (call, errors) in CALLS {
            let count = counts.get(call).copied().unwrap_or(0);
            *reached.entry(call).or_default() += count;
            for injection in injections(call, errors, count, plan.long) {
                cases.push(Case { stage, injection, paths });
            }
        }
    }
    let mut text = String::new();
    for (call, count) in &reached {
        let _ = write!(text, " {call} {count}");
    }
    println!("    calls on files of the log in {} stages:{text}", stages.len());
    let hit = Mutex::new((0_usize, 0_usize));
    crash::every(cases.len(), |worker, index| {
        let Some(case) = cases.get(index) else { return Ok(()) };
        let home = plan.scratch.join(format!("errors-{worker}"));
        let (failed, refused) = attempt(plan, &home, case).map_err(|why| {
            // The next try of this worker would write over it.
            let kept = plan.scratch.join(format!("error-{index}"));
            let kept = if fs::rename(&home, &kept).is_ok() { kept } else { home };
            format!("{}: {}: {why}\n  the log is in {}", case.stage.name, case.injection, kept.display())
        })?;
        let mut hit = hit.lock().map_err(|e| e.to_string())?;
        hit.0 += usize::from(failed);
        hit.1 += usize::from(refused);
        Ok(())
    })?;
    let (hit, refused) = hit.into_inner().map_err(|e| e.to_string())?;
    let seconds = start.elapsed().as_secs();
    println!("    {} injections in {seconds} s: {hit} hit a call, {refused} ended in an error", cases.len());
    // The number of calls depends a little on timing; that nearly none is reached does not.
    if hit * 10 < cases.len() * 8 || refused == 0 {
        return Err(format!("only {hit} of {} injections hit a call, {refused} refused", cases.len()));
    }
    Ok(())
}

/// What to try with one call.
fn injections(call: &'static str, errors: &[&'static str], count: usize, all: bool) -> Vec<Injection> {
    let tried = if all { count } else { count.min(INDICES_MAX) };
    let mut list = Vec::new();
    for (turn, &errno) in errors.iter().enumerate() {
        for for_good in [false, true] {
            // Interrupted for good is a call to be repeated for good.
            if for_good && errno == "EINTR" {
                continue;
            }
            for step in 0..tried {
                // Evenly, each error beginning elsewhere, so that all of them together try more indices.
                let shift = 2 * turn + usize::from(for_good);
                let index = 1 + (step * count / tried + if all { 0 } else { shift }) % count;
                list.push(Injection { call, index, errno, for_good });
            }
        }
    }
    list
}

/// Makes the states that the stages begin with.
fn stages(plan: &Plan) -> Result<Vec<Stage>, String> {
    let home = plan.scratch.join("states");
    fs::create_dir_all(&home).map_err(|e| format!("{}: {e}", home.display()))?;
    let text = |first: u64, life: u64| crash_oracle::lines(first, LINES, life).concat();
    let (one, torn, two) = (home.join("one"), home.join("torn"), home.join("two"));
    let mut oracle = Oracle { life: 1, fed: LINES, ..Oracle::default() };
    let first = Stage {
        name: "first life",
        before: None,
        torn: false,
        args: IMPORT.to_vec(),
        input: text(1, 1),
        oracle: oracle.clone(),
    };
    grow(plan, &one, 1, &mut oracle)?;
    oracle = Oracle { life: 2, fed: 2 * LINES, ..oracle };
    let again = |name, before: &Path, torn| Stage {
        name,
        before: Some(before.to_path_buf()),
        torn,
        args: IMPORT.to_vec(),
        input: text(LINES + 1, 2),
        oracle: oracle.clone(),
    };
    golden::copy(&one, &torn)?;
    tear(&torn)?;
    let stages = [again("second life", &one, false), again("torn tail", &torn, true)];
    golden::copy(&one, &two)?;
    grow(plan, &two, 2, &mut oracle)?;
    let truncation = Stage {
        name: "truncation",
        before: Some(two),
        torn: false,
        args: vec!["truncate", "--mint", "60", "--keep-all"],
        input: String::new(),
        oracle: Oracle { mint: MINT, ..oracle },
    };
    Ok([first].into_iter().chain(stages).chain([truncation]).collect())
}

/// A life of forty lines that nothing happens to.
fn grow(plan: &Plan, log: &Path, life: u64, oracle: &mut Oracle) -> Outcome {
    let input = crash_oracle::lines(oracle.last() + 1, LINES, life).concat();
    append(plan, log, &input, oracle, LINES)
}

/// Appends in peace: it must work, and all must be there.
fn append(plan: &Plan, log: &Path, input: &str, oracle: &mut Oracle, lines: u64) -> Outcome {
    let fed = log.with_extension("input");
    fs::write(&fed, input).map_err(|e| format!("{}: {e}", fed.display()))?;
    let stdin = File::open(&fed).map_err(|e| format!("{}: {e}", fed.display()))?;
    let mut command = crash::tool(plan, &IMPORT, log);
    let done = command.stdin(stdin).output().map_err(|e| format!("import does not start: {e}"))?;
    let stdout = String::from_utf8_lossy(&done.stdout);
    if !done.status.success() || crash_oracle::acked(&stdout) != lines {
        let said = String::from_utf8_lossy(&done.stderr);
        return Err(format!("appending to it ends with {}, says {stdout} {}", done.status, said.trim()));
    }
    let expected = oracle.last() + lines;
    oracle.fed = oracle.fed.max(expected);
    oracle.acked = expected;
    oracle.read(&crash::dump(plan, log)?)?;
    if oracle.last() == expected { Ok(()) } else { Err(format!("read to {}", oracle.last())) }
}

/// Leaves the beginning of an entry at the end of the last segment.
fn tear(log: &Path) -> Outcome {
    let mut segments = Vec::new();
    for entry in fs::read_dir(log).map_err(|e| format!("{}: {e}", log.display()))? {
        let path = entry.map_err(|e| format!("{}: {e}", log.display()))?.path();
        segments.extend(Some(path).filter(|path| is_segment(&path.to_string_lossy())));
    }
    let last = segments.into_iter().max().ok_or("no segment")?;
    let mut bytes = fs::read(&last).map_err(|e| format!("{}: {e}", last.display()))?;
    bytes.extend(TEAR);
    fs::write(&last, bytes).map_err(|e| format!("{}: {e}", last.display()))
}

fn is_segment(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or("");
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit())
}

/// Prepares a directory for one run of the stage, and adds the tool to a command line of strace.
fn start(
    plan: &Plan,
    home: &Path,
    stage: &Stage,
    mut command: std::process::Command,
) -> Result<Answer, String> {
    let fail = |e: std::io::Error| format!("{}: {e}", home.display());
    let log = home.join("log");
    command.arg(&plan.tool).args(&stage.args).arg(&log);
    fs::write(home.join("input"), &stage.input).map_err(fail)?;
    command.stdin(File::open(home.join("input")).map_err(fail)?);
    command.stdout(File::create(home.join("out")).map_err(fail)?).stderr(Stdio::piped());
    let done = command.output().map_err(|e| format!("strace does not start: {e}"))?;
    let stdout = fs::read_to_string(home.join("out")).map_err(fail)?;
    let stderr = String::from_utf8_lossy(&done.stderr).into_owned();
    let code = done.status.code().unwrap_or(HUNG);
    Ok(Answer { code, stdout, stderr })
}

/// What `timeout` answers, or dies of, when the tool did not end by itself.
const HUNG: i32 = 137;

/// An empty directory, and in it the log as the stage finds it.
fn fresh(home: &Path, stage: &Stage) -> Outcome {
    if home.exists() {
        fs::remove_dir_all(home).map_err(|e| format!("{}: {e}", home.display()))?;
    }
    fs::create_dir_all(home).map_err(|e| format!("{}: {e}", home.display()))?;
    stage.before.as_ref().map_or(Ok(()), |before| golden::copy(before, &home.join("log")))
}

/// Runs a stage without failures: how often each call is made, and on which paths.
fn watch(plan: &Plan, stage: &Stage) -> Result<(BTreeMap<String, usize>, Vec<String>), String> {
    let home = plan.scratch.join("watched");
    fresh(&home, stage)?;
    let answer = start(plan, &home, stage, crash_strace::watch(&home.join("trace")))?;
    if answer.code != 0 {
        return Err(format!(
            "{} under strace exits with {}: {}",
            stage.name,
            answer.code,
            answer.stderr.trim()
        ));
    }
    let trace = fs::read_to_string(home.join("trace")).map_err(|e| format!("the trace: {e}"))?;
    let calls = crash_strace::calls(&trace);
    let base = home.to_string_lossy();
    let log = format!("{base}/log");
    let mut paths = crash_strace::paths(&calls, &log);
    // The thread that prepares segments may be further another time.
    for number in 1..=40 {
        paths.extend([format!("/{number:06}"), format!("/{number:06}.wal-tmp")]);
    }
    let paths = paths.iter().map(|path| format!("log{path}")).collect();
    let mut counts = crash_strace::counts(&calls, &log);
    // The directory above is opened and synced, too, but only when the log is created.
    for call in ["openat", "fsync"] {
        let parent = calls.iter().filter(|one| one.name == call && one.text.contains(&*base));
        let parent = parent.filter(|one| !one.text.contains(&format!("{base}/"))).count();
        *counts.entry(call.to_owned()).or_default() += parent;
    }
    Ok((counts, paths))
}

/// One try: whether a call failed, and whether the tool ended in an error.
fn attempt(plan: &Plan, home: &Path, case: &Case<'_>) -> Result<(bool, bool), String> {
    let Case { stage, injection, paths } = case;
    fresh(home, stage)?;
    let mut full: Vec<String> =
        paths.iter().map(|path| home.join(path).to_string_lossy().into_owned()).collect();
    full.push(home.to_string_lossy().into_owned());
    let trace = home.join("trace");
    let command = crash_strace::inject(&trace, &full, &home.join("out"), *injection);
    let answer = start(plan, home, stage, command)?;
    let calls = crash_strace::calls(&fs::read_to_string(&trace).map_err(|e| format!("the trace: {e}"))?);
    let failed = calls.iter().any(Call::failed);
    let log = home.join("log");
    let lines = stage.input.lines().count() as u64;
    let acked = crash_oracle::acked(&answer.stdout);
    judge(&answer, injection, &log.to_string_lossy(), failed, acked == lines)?;
    silent_after_failed_sync(&calls, &log.to_string_lossy(), stage.torn)?;

    let mut oracle = stage.oracle.clone();
    oracle.acked += acked;
    let text = if log.exists() { crash::dump(plan, &log)? } else { String::new() };
    oracle.read(&text).map_err(|why| format!("read back: {why}"))?;
    oracle.life += 1;
    let more = crash_oracle::lines(oracle.last() + 1, 5, oracle.life).concat();
    append(plan, &log, &more, &mut oracle, 5).map_err(|why| format!("reopened: {why}"))?;
    Ok((failed, answer.code != 0))
}

/// The contract of the tool's end: it ends, says what and where, and says yes only when all is done.
fn judge(answer: &Answer, injection: &Injection, log: &str, failed: bool, all_acked: bool) -> Outcome {
    let said = answer.stderr.trim();
    let home = log.strip_suffix("/log").unwrap_or(log);
    match answer.code {
        HUNG => Err(format!("it does not end by itself: {said}")),
        _ if said.contains("panicked") => Err(format!("it panics: {said}")),
        0 if all_acked => Ok(()),
        0 => Err("it exits with 0 and has not acknowledged everything".to_owned()),
        3 if !failed => Err(format!("nothing failed, and it exits with 3: {said}")),
        // Opening has done nothing yet, and libc opens directories without asking again.
        3 if injection.errno == "EINTR" && injection.call != "openat" => {
            Err(format!("a call that was only interrupted ends it: {said}"))
        }
        3 if !said.contains(home) || !said.contains("next:") => {
            Err(format!("its message names no file or no next step: {said}"))
        }
        3 => Ok(()),
        code => Err(format!("it exits with {code}: {said}")),
    }
}

/// After a failed sync of a segment or of the directory nothing is acknowledged, and none is asked for again.
///
/// Except by a repair: one that finds the disk full is left for later and then done again as a whole.
fn silent_after_failed_sync(calls: &[Call], log: &str, repairs: bool) -> Outcome {
    let is_ack = |call: &Call| call.name == "write" && call.text.contains("\"acked ");
    let is_sync = |call: &Call| ["fsync", "fdatasync"].contains(&&*call.name);
    for bad in calls.iter().filter(|call| call.failed() && is_sync(call)) {
        let Some(file) = bad.file() else { continue };
        // An interrupted sync is repeated; nothing else is.
        if bad.text.contains("EINTR") || !(file == log || is_segment(file)) {
            continue;
        }
        let first_ack = calls.iter().position(is_ack).unwrap_or(calls.len());
        let full = bad.text.contains("ENOSPC") || bad.text.contains("EDQUOT");
        if repairs && full && calls.iter().position(|call| call == bad) < Some(first_ack) {
            continue;
        }
        for later in calls.iter().filter(|call| bad.ended < call.began) {
            if is_ack(later) {
                return Err(format!("{} after the sync of {file} failed", later.text));
            }
            if is_segment(file) && is_sync(later) && later.file() == Some(file) {
                return Err(format!("{file} is synced again after that failed"));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampled(count: usize, all: bool) -> Vec<Injection> {
        injections("fsync", &["EIO", "EINTR"], count, all)
    }

    #[test]
    fn a_long_run_tries_every_index_and_a_short_one_some_within_bounds() {
        let once: Vec<usize> = sampled(9, true)
            .iter()
            .filter(|one| one.errno == "EIO" && !one.for_good)
            .map(|one| one.index)
            .collect();
        assert_eq!(once, (1..=9).collect::<Vec<_>>());
        assert_eq!(sampled(9, false).len(), 3 * INDICES_MAX);
        assert!(sampled(2, false).iter().all(|one| (1..=2).contains(&one.index)));
        assert!(sampled(0, false).is_empty() && sampled(0, true).is_empty());
    }

    #[test]
    fn only_a_clean_end_or_an_error_with_its_file_passes() {
        let eio = Injection { call: "fsync", index: 1, errno: "EIO", for_good: false };
        let end = |code, stderr: &str, injection: Injection, failed, acked| {
            let answer = Answer { code, stdout: String::new(), stderr: stderr.to_owned() };
            judge(&answer, &injection, "/b/log", failed, acked).is_ok()
        };
        let said = "wal: /b/log/000001: cannot sync\n  next: reopen";
        assert!(end(0, "", eio, true, true) && end(3, said, eio, true, false));
        assert!(!end(0, "", eio, true, false) && !end(3, said, eio, false, false));
        assert!(!end(1, said, eio, true, false) && !end(HUNG, said, eio, true, false));
        assert!(!end(3, "wal: cannot sync\n  next: reopen", eio, true, false));
        assert!(!end(3, "wal: thread panicked at /b/log next:", eio, true, false));
        assert!(!end(3, said, Injection { errno: "EINTR", ..eio }, true, false));
    }

    #[test]
    fn an_acknowledgement_or_another_sync_after_a_failed_one_is_noticed() {
        let failed = "7  fdatasync(3</b/log/000001>) = -1 EIO (Input/output error) (INJECTED)\n";
        let acked = "7  write(1</b/out>, \"acked 5\\n\", 8) = 8\n";
        let check =
            |text: String| silent_after_failed_sync(&crash_strace::calls(&text), "/b/log", false).is_ok();
        assert!(check(format!("{acked}{failed}")));
        assert!(!check(format!("{failed}{acked}")));
        assert!(!check(format!("{failed}7  fdatasync(3</b/log/000001>) = 0\n")));
        assert!(check(format!("{}{acked}", failed.replace("000001", "durable"))));
        assert!(!check(format!("{}{acked}", failed.replace("/000001", ""))));
    }

    #[test]
    fn only_a_repair_on_a_full_disk_may_be_done_again() {
        let twice = |errno: &str| {
            let failed = format!("7  fdatasync(3</b/log/000001>) = -1 {errno} (why) (INJECTED)\n");
            crash_strace::calls(&(failed + "7  fdatasync(3</b/log/000001>) = 0\n"))
        };
        let passes = |errno, repairs| silent_after_failed_sync(&twice(errno), "/b/log", repairs).is_ok();
        assert!(passes("ENOSPC", true) && passes("EDQUOT", true));
        assert!(!passes("ENOSPC", false) && !passes("EIO", true));
    }
}
