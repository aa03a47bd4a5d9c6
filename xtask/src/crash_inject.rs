//! Every system call of a short history on files of the log, made to fail by strace, once and for good.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::Instant;

use crate::Outcome;
use crate::cmd::Answer;
use crate::crash::{self, Plan};
use crate::crash_home::{Home, Watched};
use crate::crash_oracle;
use crate::crash_stage::{Stage, is_segment};
use crate::crash_strace::{self, CALLS, Call, Fault, Injection};

/// One try.
struct Case<'a> {
    stage: &'a Stage,
    watched: &'a Watched,
    injection: Injection,
}

/// What came of the tries with one call and error.
#[derive(Clone, Copy, Default)]
struct Tried {
    tries: usize,
    hit: usize,
    refused: usize,
}

pub(crate) fn run(plan: &Plan, stages: &[(Stage, Watched)]) -> Outcome {
    let start = Instant::now();
    let mut cases = Vec::new();
    let mut reached: BTreeMap<&str, usize> = BTreeMap::new();
    for (stage, watched) in stages {
        for (call, errors) in CALLS {
            let count = watched.counts.get(call).copied().unwrap_or(0);
            *reached.entry(call).or_default() += count;
            let all = injections(call, errors, count).into_iter();
            cases.extend(all.map(|injection| Case { stage, watched, injection }));
        }
    }
    let mut text = String::new();
    for (call, count) in &reached {
        let _ = write!(text, " {call} {count}");
    }
    println!("    calls on files of the log in {} stages:{text}", stages.len());
    let tried: Mutex<BTreeMap<(&str, &str), Tried>> = Mutex::default();
    crash::every(cases.len(), |worker, index| {
        let Some(case) = cases.get(index) else { return Ok(()) };
        let home = Home::new(plan.memory.join(format!("errors-{worker}")));
        let (hit, refused) = attempt(plan, &home, case).map_err(|why| {
            // The next try of this worker would write over it.
            let kept = plan.memory.join(format!("error-{index}"));
            let kept = if fs::rename(home.path(), &kept).is_ok() { kept } else { home.path().into() };
            format!("{}: {}: {why}\n  the log is in {}", case.stage.name, case.injection, kept.display())
        })?;
        let mut tried = tried.lock().map_err(|e| e.to_string())?;
        let one = tried.entry((case.injection.call, case.injection.errno())).or_default();
        one.tries += 1;
        one.hit += usize::from(hit);
        one.refused += usize::from(refused);
        Ok(())
    })?;
    let tried = tried.into_inner().map_err(|e| e.to_string())?;
    let sum = |of: fn(&Tried) -> usize| tried.values().map(of).sum::<usize>();
    let (tries, hit, refused) = (sum(|of| of.tries), sum(|of| of.hit), sum(|of| of.refused));
    for call in CALLS.iter().map(|(call, _)| *call) {
        let of_call = tried.iter().filter(|((name, _), _)| *name == call);
        let text: String = of_call
            .map(|((_, errno), one)| format!(" {errno} {}/{}/{}", one.tries, one.hit, one.refused))
            .collect();
        println!("    {call} (tried/hit/refused):{}", if text.is_empty() { " not reached" } else { &text });
    }
    let seconds = start.elapsed().as_secs();
    println!("    {tries} injections in {seconds} s: {hit} hit a call, {refused} ended in an error");
    // The number of calls depends a little on timing; that nearly none is reached does not.
    if plan.stage.is_none() && (hit * 10 < tries * 9 || refused == 0) {
        return Err(format!("only {hit} of {tries} injections hit a call, {refused} refused"));
    }
    Ok(())
}

/// What to try with one call: every index with every error, once and for good.
fn injections(call: &'static str, errors: &[&'static str], count: usize) -> Vec<Injection> {
    let mut list = Vec::new();
    for &errno in errors {
        for for_good in [false, true] {
            // Interrupted for good is a call to be repeated for good.
            if for_good && errno == "EINTR" {
                continue;
            }
            let fault = Fault::Errno { errno, for_good };
            list.extend((1..=count).map(|index| Injection { call, index, fault }));
        }
    }
    list
}

/// One try: whether a call failed, and whether the tool ended in an error.
fn attempt(plan: &Plan, home: &Home, case: &Case<'_>) -> Result<(bool, bool), String> {
    let Case { stage, watched, injection } = case;
    home.fresh(stage)?;
    let command = crash_strace::inject(&home.trace(), &home.paths(watched), &home.stdout(), *injection);
    let answer = home.start(plan, stage, command)?;
    let calls = home.calls()?;
    let failed = calls.iter().any(Call::failed);
    let acked = crash_oracle::acked(&answer.stdout);
    let log = home.log(stage).to_string_lossy().into_owned();
    judge(&answer, injection.errno(), &home.path().to_string_lossy(), stage.ends, failed)?;
    home.all_done(plan, stage, &answer)?;
    let syncs = silent_after_failed_sync(&calls, &log)?;
    plan.failed_syncs.fetch_add(syncs, Ordering::Relaxed);
    home.settle(plan, stage, acked, &mut stage.oracle.clone())?;
    Ok((failed, answer.code == IO_ERROR))
}

/// The contract of the tool's end: it says what and where, and says yes only when all is done.
pub(crate) fn judge(answer: &Answer, errno: &str, home: &str, ends: i32, failed: bool) -> Outcome {
    let said = answer.stderr.trim();
    match answer.code {
        _ if said.contains("panicked") => Err(format!("it panics: {said}")),
        code if code == ends => Ok(()),
        IO_ERROR if !failed => Err(format!("nothing failed, and it exits with 3: {said}")),
        IO_ERROR if errno == "EINTR" => Err(format!("a call that was only interrupted ends it: {said}")),
        IO_ERROR if !said.contains(home) || !said.contains("next:") => {
            Err(format!("its message names no file or no next step: {said}"))
        }
        IO_ERROR => Ok(()),
        code => Err(format!("it exits with {code}: {said}")),
    }
}

/// After a failed sync of a segment or of a directory nothing is acknowledged, and none is asked for again: how
/// many such syncs there were.
fn silent_after_failed_sync(calls: &[Call], log: &str) -> Result<usize, String> {
    let mut syncs = 0;
    let quarantine = format!("{log}/quarantine");
    for bad in calls.iter().filter(|call| call.failed() && call.is_sync()) {
        let Some(file) = bad.file() else { continue };
        // An interrupted sync is repeated; nothing else is.
        let of_the_log = file == log || file == quarantine || is_segment(file);
        if bad.text.contains("EINTR") || !of_the_log {
            continue;
        }
        syncs += 1;
        for later in calls.iter().filter(|call| bad.ended < call.began) {
            if later.is_ack() {
                return Err(format!("{} after the sync of {file} failed", later.text));
            }
            if later.is_sync() && later.file() == Some(file) {
                return Err(format!("{file} is synced again after that failed"));
            }
        }
    }
    Ok(syncs)
}

/// The exit code of an I/O error.
pub(crate) const IO_ERROR: i32 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_index_is_tried_with_every_error_once_and_for_good() {
        let list = injections("fsync", &["EIO", "EINTR"], 9);
        let of = |errno, for_good| {
            let fault = Fault::Errno { errno, for_good };
            list.iter().filter(|one| one.fault == fault).map(|one| one.index).collect::<Vec<_>>()
        };
        let all: Vec<_> = (1..=9).collect();
        assert_eq!((of("EIO", false), of("EIO", true), of("EINTR", false)), (all.clone(), all.clone(), all));
        assert!(of("EINTR", true).is_empty() && injections("fsync", &["EIO"], 0).is_empty());
    }

    #[test]
    fn only_the_end_of_the_stage_or_an_error_with_its_file_passes() {
        let end = |code, stderr: &str, errno, failed| {
            let answer = Answer { code, stdout: String::new(), stderr: stderr.to_owned() };
            judge(&answer, errno, "/b", 0, failed).is_ok()
        };
        let said = "wal: /b/log/000001: cannot sync\n  next: reopen";
        assert!(end(0, "", "EIO", true) && end(3, said, "EIO", true));
        assert!(!end(3, said, "EIO", false) && !end(1, said, "EIO", true));
        assert!(!end(3, "wal: cannot sync\n  next: reopen", "EIO", true));
        assert!(!end(3, "wal: /b/log/000001: cannot sync", "EIO", true));
        assert!(!end(3, "wal: thread panicked at /b/log next:", "EIO", true));
        assert!(!end(3, said, "EINTR", true));
    }

    #[test]
    fn an_acknowledgement_or_another_sync_after_a_failed_one_is_noticed() {
        let failed = "7  fdatasync(3</b/log/000001>) = -1 EIO (Input/output error) (INJECTED)\n";
        let acked = "7  write(1</b/out>, \"acked 5\\n\", 8) = 8\n";
        let again = "7  fdatasync(3</b/log/000001>) = 0\n";
        let check = |text: String| silent_after_failed_sync(&crash_strace::calls(&text), "/b/log").is_ok();
        assert!(check(format!("{acked}{failed}")));
        assert!(!check(format!("{failed}{acked}")));
        assert!(!check(format!("{failed}{again}")));
        assert!(!check(format!("{}{again}", failed.replace("EIO", "ENOSPC"))), "also by a repair");
        assert!(check(format!("{}{again}", failed.replace("EIO", "EINTR"))));
        assert!(check(format!("{}{acked}", failed.replace("000001", "durable"))));
        for directory in ["", "/quarantine"] {
            assert!(!check(format!("{}{acked}", failed.replace("/000001", directory))));
        }
    }
}
