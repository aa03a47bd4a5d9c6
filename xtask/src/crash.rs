//! `cargo xtask crash`: the real tool on the real file system, killed at random moments and refused single system calls.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

use crate::cmd::{self, Answer};
use crate::crash_home::Home;
use crate::{Outcome, Repo, crash_inject, crash_kill, crash_kill_at, crash_short, crash_stage};

/// What was asked for on the command line.
pub(crate) struct Plan {
    pub(crate) tool: PathBuf,
    /// Where the logs are made, and stay if they are evidence.
    pub(crate) scratch: PathBuf,
    /// The same for logs of which thousands are made, a moment each.
    pub(crate) memory: PathBuf,
    pub(crate) seed: u64,
    pub(crate) long: bool,
    /// Only the stage of this name, to look into a failure.
    pub(crate) stage: Option<String>,
    /// Histories killed at random moments; those killed at calls are at least as many.
    pub(crate) histories: usize,
    kills: bool,
    errors: bool,
    /// Logs read so far, each of which was held against what is known of it.
    read: AtomicUsize,
    /// Syncs that failed, each of which had nothing acknowledged behind it.
    pub(crate) failed_syncs: AtomicUsize,
}

/// Which choices are made unless others are asked for: a failure that is seen once can be seen again.
pub(crate) const SEED: u64 = 1;
const HELP: &str = "crash [kills|errors] [--long] [--seed S] [--histories N] [--stage NAME]";
const HISTORIES: usize = 250;
const HISTORIES_LONG: usize = 5_000;
/// More says no more: after so many failures the rest is left out.
const FAILURES_SHOWN: usize = 5;

impl Plan {
    /// For other verbs that run the tool.
    pub(crate) fn new(tool: PathBuf, scratch: PathBuf) -> Self {
        Self {
            tool,
            memory: scratch.clone(),
            scratch,
            seed: 0,
            long: false,
            stage: None,
            histories: 0,
            kills: false,
            errors: false,
            read: AtomicUsize::new(0),
            failed_syncs: AtomicUsize::new(0),
        }
    }

    fn logs_read(&self) -> usize {
        self.read.load(Ordering::Relaxed)
    }
}

pub(crate) fn run(repo: &Repo, args: &[String]) -> Outcome {
    let mut plan = plan(args)?;
    plan.scratch = repo.target.join("crash").join(std::process::id().to_string());
    plan.tool = repo.wal_tool()?;
    plan.memory = in_memory().unwrap_or(plan.scratch.clone());
    for dir in [&plan.scratch, &plan.memory] {
        std::fs::create_dir_all(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    }
    let mut problems = Vec::new();
    if plan.kills {
        println!("    seed {}", plan.seed);
    }
    let before = plan.logs_read();
    if plan.kills && plan.stage.is_none() {
        problems.extend(kills(&plan).err());
    }
    let random = plan.logs_read() - before;
    cmd::need("strace", "--version", "apt-get install strace")?;
    let mut stages = Vec::new();
    for stage in crash_stage::stages(&plan)? {
        if plan.stage.as_ref().is_some_and(|name| name != stage.name) {
            continue;
        }
        let watched = Home::new(plan.memory.join("watched")).watch(&plan, &stage)?;
        stages.push((stage, watched));
    }
    let before = plan.logs_read();
    if plan.kills {
        problems.extend(crash_kill_at::run(&plan, &stages).err());
        // The first of these ends the run with an error, so a run that comes here has none.
        if problems.is_empty() {
            let logs = random + plan.logs_read() - before;
            println!("    kills: {logs} logs judged: lost 0, invented 0, reordered 0, panicked 0");
        }
    }
    let (before, problems_before) = (plan.logs_read(), problems.len());
    if plan.errors {
        problems.extend(crash_inject::run(&plan, &stages).err());
        problems.extend(crash_short::run(&plan, &stages).err());
        if problems.len() == problems_before {
            let (logs, syncs) = (plan.logs_read() - before, plan.failed_syncs.load(Ordering::Relaxed));
            println!(
                "    errors: {logs} logs judged: lost 0, invented 0, reordered 0, panicked 0; \
                 {syncs} failed syncs of segments and directories: acknowledged after a failed sync 0"
            );
        }
    }
    for dir in [&plan.scratch, &plan.memory].into_iter().filter(|dir| problems.is_empty() && dir.exists()) {
        std::fs::remove_dir_all(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    }
    if problems.is_empty() { Ok(()) } else { Err(problems.join("\n")) }
}

/// A place without a disk, where a sync takes no time. That a call fails or a process dies is a matter between
/// the process and the kernel's file layer, and the same there.
fn in_memory() -> Option<PathBuf> {
    let dir = Path::new("/dev/shm").join(format!("wal-crash-{}", std::process::id()));
    std::fs::create_dir(&dir).is_ok().then_some(dir)
}

fn kills(plan: &Plan) -> Outcome {
    let start = Instant::now();
    let total = Mutex::new(crash_kill::Counts::default());
    every(plan.histories, |_, history| {
        let counts = crash_kill::history(plan, history as u64).map_err(|why| {
            format!(
                "history {history} of seed {}: {why}\n  the log is in {}",
                plan.seed,
                plan.scratch.display()
            )
        })?;
        total.lock().map_err(|e| e.to_string())?.add(&counts);
        Ok(())
    })?;
    let total = total.into_inner().map_err(|e| e.to_string())?;
    println!("    {} histories in {} s: {total}", plan.histories, start.elapsed().as_secs());
    total.enough()
}

fn plan(args: &[String]) -> Result<Plan, String> {
    let nowhere = Plan::new(PathBuf::new(), PathBuf::new());
    let mut plan = Plan { seed: SEED, kills: true, errors: true, ..nowhere };
    let mut args = args.iter().map(String::as_str);
    while let Some(arg) = args.next() {
        let mut number = || args.next().and_then(|text| text.parse().ok()).ok_or(HELP);
        match arg {
            "kills" => plan.errors = false,
            "errors" => plan.kills = false,
            "--stage" => plan.stage = Some(args.next().ok_or(HELP)?.to_owned()),
            "--long" => plan.long = true,
            "--seed" => plan.seed = number()?,
            "--histories" => plan.histories = usize::try_from(number()?).map_err(|e| e.to_string())?,
            _ => return Err(format!("`{arg}`? {HELP}")),
        }
    }
    if plan.histories == 0 {
        plan.histories = if plan.long { HISTORIES_LONG } else { HISTORIES };
    }
    Ok(plan)
}

/// Does all of `0..count` on all cores; the first argument of `work` says which worker is asked.
pub(crate) fn every(count: usize, work: impl Fn(usize, usize) -> Outcome + Sync) -> Outcome {
    let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(count.max(1));
    let next = AtomicUsize::new(0);
    let problems = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for worker in 0..workers {
            let (next, problems, work) = (&next, &problems, &work);
            scope.spawn(move || {
                for _ in 0..count {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let full = problems.lock().is_ok_and(|problems: std::sync::MutexGuard<'_, Vec<_>>| {
                        FAILURES_SHOWN <= problems.len()
                    });
                    if count <= index || full {
                        return;
                    }
                    if let (Err(why), Ok(mut problems)) = (work(worker, index), problems.lock()) {
                        problems.push(why);
                    }
                }
            });
        }
    });
    let problems = problems.into_inner().map_err(|e| e.to_string())?;
    if problems.is_empty() { Ok(()) } else { Err(problems.join("\n")) }
}

/// The tool with a limit to its time, which ends it and all that it started.
pub(crate) fn tool(plan: &Plan, args: &[&str], dir: &Path) -> Command {
    let mut command = Command::new("timeout");
    command.arg("--signal=KILL").arg(TIME_MAX.as_secs().to_string());
    command.arg(&plan.tool).args(args).arg(dir);
    command
}

/// Runs the tool to its end, which must come by itself and in time.
pub(crate) fn answer(command: &mut Command) -> Result<Answer, String> {
    answer_fed(command, "")
}

/// The same, with something to read that fits a pipe.
pub(crate) fn answer_fed(command: &mut Command, input: &str) -> Result<Answer, String> {
    let line = cmd::line(command);
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.map_err(|e| format!("`{line}` does not start: {e}"))?;
    crash_kill::feed(&mut child.stdin.take(), input)?;
    let done = watched(child.id(), || child.wait_with_output().map_err(|e| e.to_string()));
    let done = done.map_err(|why| format!("`{line}`: {why}"))?;
    let code = done.status.code().ok_or_else(|| format!("`{line}` died: {}", done.status))?;
    let text =
        |bytes| String::from_utf8(bytes).map_err(|_| format!("`{line}` printed bytes that are no text"));
    Ok(Answer { code, stdout: text(done.stdout)?, stderr: text(done.stderr)? })
}

/// Ends a child that keeps `work` waiting for too long: a tool that hangs must not hang us.
pub(crate) fn watched<T>(child: u32, work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    let (done, wait) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let watch = scope.spawn(move || {
            let late = wait.recv_timeout(TIME_MAX) == Err(RecvTimeoutError::Timeout);
            let pid = i32::try_from(child).map(Pid::from_raw);
            if let (true, Ok(pid)) = (late, pid) {
                // Not waited for yet, so the number is still its own.
                let _ = signal::kill(pid, Signal::SIGKILL);
            }
            late
        });
        let answer = work();
        drop(done);
        if watch.join().unwrap_or(true) { Err("the tool hangs".to_owned()) } else { answer }
    })
}

/// What `wal dump` prints. A torn log is read up to its tear; anything worse is a failure.
pub(crate) fn dump(plan: &Plan, dir: &Path) -> Result<String, String> {
    let Answer { code, stdout, stderr } = answer(Command::new(&plan.tool).arg("dump").arg(dir))?;
    plan.read.fetch_add(1, Ordering::Relaxed);
    if code == 0 {
        return Ok(stdout);
    }
    let verify = answer(Command::new(&plan.tool).args(["verify", "--json"]).arg(dir))?;
    let verdict: serde_json::Value =
        serde_json::from_str(&verify.stdout).map_err(|e| format!("verify printed no JSON: {e}"))?;
    if code == 1 && verdict["verdict"] == "torn" {
        return Ok(stdout);
    }
    Err(format!("dump exits with {code}, the log is {}: {}", verdict["verdict"], stderr.trim()))
}

/// What one run of the tool may take: a hundred times what the slowest one needs.
pub(crate) const TIME_MAX: Duration = Duration::from_secs(30);

/// Numbers from a seed, equal on every machine.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        let mut random =
            Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ stream.wrapping_mul(0xd6e8_feb8_6659_fd93));
        random.next();
        random
    }

    fn next(&mut self) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// At least `low`, at most `high`.
    pub(crate) fn within(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high.saturating_sub(low) + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_index_is_done_once_and_failures_are_told() {
        let done = Mutex::new(Vec::new());
        let told = every(100, |_, index| {
            done.lock().unwrap().push(index);
            if index == 7 { Err("seven".to_owned()) } else { Ok(()) }
        });
        assert_eq!(told, Err("seven".to_owned()));
        let mut done = done.into_inner().unwrap();
        done.sort_unstable();
        assert_eq!(done, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn after_enough_failures_the_rest_is_left_out() {
        let told = every(1000, |_, index| Err(format!("{index}"))).unwrap_err();
        assert!(told.lines().count() < 50, "{told}");
    }

    #[test]
    fn a_seed_is_taken_and_nonsense_is_refused() {
        let args = |text: &str| plan(&text.split(' ').map(str::to_owned).collect::<Vec<_>>());
        let asked = args("kills --seed 7 --histories 20").unwrap();
        assert_eq!((asked.seed, asked.histories, asked.kills, asked.errors), (7, 20, true, false));
        assert!(args("--seed").is_err() && args("everything").is_err());
    }
}
