//! Calls that do less than they were asked for: short writes and reads, and a limit to the size of files.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Instant;

use crate::Outcome;
use crate::cmd;
use crate::crash::{self, Plan};
use crate::crash_home::{Home, KILLED, Watched};
use crate::crash_inject;
use crate::crash_oracle;
use crate::crash_stage::Stage;

/// What is preloaded. Strace cannot do this: what it answers in place of a call is a lie, for nothing is
/// written. The tool reaches the kernel through the C library, so a library before that can ask for less.
const LIBRARY: &str = include_str!("crash_short.c");

/// What is wrong with the file layer in one run of the tool.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// The call of that index, or each one, is short.
    Short { call: &'static str, at: Option<usize>, to: &'static str },
    /// No file may grow beyond so many bytes: the kernel writes up to there, and says EFBIG to the next call.
    /// It sends SIGXFSZ as well, which ends a process that does not ignore it.
    Limit { bytes: u64, deadly: bool },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short { call, at: Some(at), to } => write!(f, "{call} number {at} short, to {to}"),
            Self::Short { call, at: None, to } => write!(f, "each {call} short, to {to}"),
            Self::Limit { bytes, deadly } => {
                let signal = if *deadly { "deadly" } else { "ignored" };
                write!(f, "files end at byte {bytes}, SIGXFSZ {signal}")
            }
        }
    }
}

/// What the runs did, to know that they were worth something.
#[derive(Debug, Default)]
struct Counts {
    /// Runs with a short call, by call.
    short: BTreeMap<&'static str, usize>,
    limited: usize,
    /// Runs after which a file ends exactly at the limit, so that a write was cut there.
    cut: usize,
    refused: usize,
    killed: usize,
}

impl Counts {
    /// Faults that come to nothing try nothing.
    fn enough(&self) -> Outcome {
        let all = CALLS.iter().all(|call| self.short.get(call).is_some_and(|&count| 0 < count));
        if !all || self.refused == 0 || self.killed == 0 || self.cut == 0 {
            return Err(format!("the short counts hit nothing: {self}"));
        }
        Ok(())
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { short, limited, cut, refused, killed } = self;
        f.write_str("short")?;
        short.iter().try_for_each(|(call, count)| write!(f, " {call} {count}"))?;
        write!(
            f,
            "; {limited} runs with a limit to files, {cut} left one cut there, \
             {refused} ended in an error, {killed} by the signal"
        )
    }
}

/// Every write and read of every stage short, one at a time and all of them; and every stage under limits.
pub(crate) fn run(plan: &Plan, stages: &[(Stage, Watched)]) -> Outcome {
    let start = Instant::now();
    cmd::need("prlimit", "--version", "apt-get install util-linux")?;
    let library = compile(&plan.memory)?;
    let mut work = Vec::new();
    for (number, (stage, _)) in stages.iter().enumerate() {
        work.extend(CALLS.map(|call| (stage, number, Some(call))));
        work.push((stage, number, None));
    }
    let total = Mutex::new(Counts::default());
    crash::every(work.len(), |worker, index| {
        let Some(&(stage, number, call)) = work.get(index) else { return Ok(()) };
        let home = Home::new(plan.memory.join(format!("short-{worker}")));
        let attempt = |fault: Fault| {
            attempt(plan, &home, stage, &library, fault, &total).map_err(|why| {
                let kept = plan.memory.join(format!("short-of-{index}"));
                let kept = if fs::rename(home.path(), &kept).is_ok() { kept } else { home.path().into() };
                format!("{}: {fault}: {why}\n  the log is in {}", stage.name, kept.display())
            })
        };
        let Some(call) = call else {
            return limits(plan.long, number).into_iter().try_for_each(|fault| attempt(fault).map(drop));
        };
        attempt(Fault::Short { call, at: None, to: "one" })?;
        for at in 1.. {
            let all = TO.len();
            let tried = if plan.long { all } else { 1 };
            let mut hit = false;
            for turn in 0..tried {
                let to = TO[(at + number + turn) % all];
                hit |= attempt(Fault::Short { call, at: Some(at), to })?;
            }
            // No call has this index: all were tried.
            if !hit {
                break;
            }
        }
        Ok(())
    })?;
    let total = total.into_inner().map_err(|e| e.to_string())?;
    println!("    {total}; in {} s", start.elapsed().as_secs());
    if plan.stage.is_some() { Ok(()) } else { total.enough() }
}

/// Limits within a segment, so that a write is cut at each of its bytes, and some at the sizes of other files.
fn limits(long: bool, stage: usize) -> Vec<Fault> {
    let step = if long { 1 } else { LIMIT_STEP };
    let all = (0..=LIMIT_MAX).chain(LIMITS_LARGE).enumerate();
    let chosen = all.filter(|(at, _)| (at + stage).is_multiple_of(step));
    let mut faults = Vec::new();
    for (turn, (_, bytes)) in chosen.enumerate() {
        for deadly in [false, true] {
            // Without `--long` every fourth one is deadly: that is like a kill, of which there are enough.
            if long || deadly == (turn % 4 == 3) {
                faults.push(Fault::Limit { bytes, deadly });
            }
        }
    }
    faults
}

/// One run: whether the fault came to pass.
fn attempt(
    plan: &Plan,
    home: &Home,
    stage: &Stage,
    library: &Path,
    fault: Fault,
    total: &Mutex<Counts>,
) -> Result<bool, String> {
    home.fresh(stage)?;
    let told = home.path().join("told");
    let mut command = Command::new("timeout");
    command.arg("--signal=KILL").arg(crash::TIME_MAX.as_secs().to_string());
    let limited = match fault {
        Fault::Short { call, at, to } => {
            command.env("LD_PRELOAD", library).env("SHORT_BELOW", home.work()).env("SHORT_TOLD", &told);
            let at = at.map(|at| at.to_string()).unwrap_or_default();
            command.env("SHORT_CALL", call).env("SHORT_AT", at).env("SHORT_TO", to);
            false
        }
        Fault::Limit { bytes, deadly } => {
            // What is done with a signal is handed on to the program that is started.
            let signal = if deadly { "--default-signal=XFSZ" } else { "--ignore-signal=XFSZ" };
            command.args(["env", signal, "prlimit", &format!("--fsize={bytes}")]);
            true
        }
    };
    let answer = home.start_piped(plan, stage, command)?;
    let acked = crash_oracle::acked(&answer.stdout);
    let killed = matches!(fault, Fault::Limit { deadly: true, .. }) && answer.code == KILLED;
    if !killed {
        // A short count is no failure, and no reason to end.
        let home_text = home.path().to_string_lossy();
        crash_inject::judge(&answer, "", &home_text, stage.ends, limited)?;
    }
    if !limited && answer.stderr.contains("cannot read") {
        return Err(format!("a short count passes for an error: {}", answer.stderr.trim()));
    }
    home.all_done(plan, stage, &answer)?;
    let mut counts = total.lock().map_err(|e| e.to_string())?;
    let hit = match fault {
        Fault::Short { call, .. } => {
            let hit = told.exists();
            *counts.short.entry(call).or_default() += usize::from(hit);
            hit
        }
        Fault::Limit { bytes, .. } => {
            counts.limited += 1;
            counts.cut += usize::from(0 < bytes && ends_at(&home.work(), bytes)?);
            counts.refused += usize::from(answer.code == crash_inject::IO_ERROR);
            counts.killed += usize::from(killed);
            true
        }
    };
    drop(counts);
    home.settle(plan, stage, acked, &mut stage.oracle.clone())?;
    Ok(hit)
}

/// Whether a file of exactly so many bytes lies somewhere below the directory.
fn ends_at(dir: &Path, bytes: u64) -> Result<bool, String> {
    let fail = |e: std::io::Error| format!("{}: {e}", dir.display());
    for entry in fs::read_dir(dir).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let about = entry.metadata().map_err(fail)?;
        if about.is_file() && about.len() == bytes || about.is_dir() && ends_at(&entry.path(), bytes)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn compile(dir: &Path) -> Result<PathBuf, String> {
    cmd::need("cc", "--version", "apt-get install gcc libc6-dev")?;
    let (source, library) = (dir.join("short.c"), dir.join("short.so"));
    fs::write(&source, LIBRARY).map_err(|e| format!("{}: {e}", source.display()))?;
    let mut command = Command::new("cc");
    command.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"]).arg(&library).arg(&source);
    cmd::output(command.stdin(Stdio::null()))?;
    Ok(library)
}

/// The calls of the tool that have a count.
const CALLS: [&str; 4] = ["pwrite64", "write", "pread64", "read"];
/// What is left of a count, as the library takes it.
const TO: [&str; 3] = ["half", "one", "all-but-one"];
/// A little more than a segment of the stages has.
const LIMIT_MAX: u64 = 300;
/// Around the sizes of the reserve and of the pieces in which it is written.
const LIMITS_LARGE: [u64; 4] = [4_095, 65_535, 65_536, 1_000_000];
/// Without `--long` every so manyth limit, beginning elsewhere for each stage.
const LIMIT_STEP: usize = 7;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_that_hit_nothing_are_a_failure() {
        let all = || Counts {
            short: CALLS.iter().map(|call| (*call, 1)).collect(),
            limited: 3,
            cut: 1,
            refused: 1,
            killed: 1,
        };
        assert_eq!(all().enough(), Ok(()));
        for call in CALLS {
            let mut less = all();
            less.short.insert(call, 0);
            assert!(less.enough().is_err(), "{call}");
        }
        assert!(Counts { cut: 0, ..all() }.enough().is_err());
        assert!(Counts { refused: 0, ..all() }.enough().is_err());
        assert!(Counts { killed: 0, ..all() }.enough().is_err());
    }

    #[test]
    fn the_library_makes_the_call_of_its_index_short_and_tells_the_truth() {
        let dir = tempfile::tempdir().unwrap();
        let library = compile(dir.path()).unwrap();
        let work = dir.path().join("work");
        fs::create_dir(&work).unwrap();
        let (told, to) = (dir.path().join("told"), dir.path().join("to"));
        let bytes: Vec<u8> = (0..100).collect();
        fs::write(work.join("from"), &bytes).unwrap();
        // Reads once, and writes what that gave it.
        let copied = |at: &str, below: &Path| {
            let mut copy = Command::new("dd");
            copy.env("LD_PRELOAD", &library).env("SHORT_BELOW", below).env("SHORT_CALL", "read");
            copy.env("SHORT_AT", at).env("SHORT_TO", "half").env("SHORT_TOLD", &told);
            copy.arg(format!("if={}", work.join("from").display())).arg(format!("of={}", to.display()));
            cmd::answer(copy.args(["bs=100", "count=1"])).unwrap();
            fs::read(&to).unwrap()
        };
        assert_eq!(copied("2", &work), bytes);
        assert_eq!(copied("1", &dir.path().join("wor")), bytes);
        assert!(!told.exists());
        assert_eq!(copied("1", &work), bytes[..50]);
        assert!(told.exists());
    }

    #[test]
    fn every_limit_is_tried_over_the_stages() {
        let tried = |long, stage| {
            let bytes = limits(long, stage).into_iter().filter_map(|fault| match fault {
                Fault::Limit { bytes, .. } => Some(bytes),
                Fault::Short { .. } => None,
            });
            bytes.collect::<std::collections::BTreeSet<_>>()
        };
        let some = (0..LIMIT_STEP).flat_map(|stage| tried(false, stage)).collect();
        assert_eq!(tried(true, 0), some);
    }
}
