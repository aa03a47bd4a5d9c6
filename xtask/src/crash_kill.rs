//! Histories of a log whose writer is killed again and again: written, killed, read, and gone on with.

use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::crash::{self, Plan, Random};
use crate::crash_oracle::{self, Oracle};

/// What fits a pipe at once: feeding never waits for the tool, not even for one that waits itself.
const LINES_A_LIFE_MAX: u64 = 160;
const SEGMENT_BYTES: [&str; 4] = ["512", "1024", "4096", "65536"];

/// What the histories did, to know that they were worth something.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    lives: u64,
    killed: u64,
    truncations: u64,
    truncations_killed: u64,
    acked: u64,
    unacked: u64,
}

impl Counts {
    pub(crate) fn add(&mut self, other: &Self) {
        self.lives += other.lives;
        self.killed += other.killed;
        self.truncations += other.truncations;
        self.truncations_killed += other.truncations_killed;
        self.acked += other.acked;
        self.unacked += other.unacked;
    }

    /// Kills that always come too late or too early try nothing.
    pub(crate) fn enough(&self) -> Outcome {
        if self.killed * 2 < self.lives || self.acked == 0 || self.unacked == 0 {
            return Err(format!("the kills do not hit the writer at work: {self}"));
        }
        Ok(())
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lives, killed, truncations, truncations_killed, acked, unacked } = self;
        write!(
            f,
            "{lives} lives, {killed} killed; {truncations} truncations, {truncations_killed} killed; \
             {acked} entries acknowledged, {unacked} more came back"
        )
    }
}

/// One history from an empty directory on. The directory is left behind when something is wrong with it.
pub(crate) fn history(plan: &Plan, number: u64) -> Result<Counts, String> {
    let mut random = Random::new(plan.seed, number);
    let dir = plan.scratch.join(format!("history-{number}"));
    let mut oracle = Oracle::default();
    let mut counts = Counts::default();
    for life in 1..=random.within(2, 5) {
        oracle.life = life;
        let done = if oracle.last() > 0 && random.within(0, 3) == 0 {
            truncate(plan, &dir, &mut random, &mut oracle, &mut counts)
        } else {
            import(plan, &dir, &mut random, &mut oracle, &mut counts)
        };
        let read = done.and_then(|()| {
            // Killed before it made the directory: then there is nothing to read, and nothing may be due.
            let text = if dir.exists() { crash::dump(plan, &dir)? } else { String::new() };
            let acked = oracle.acked;
            oracle.read(&text)?;
            counts.unacked += oracle.acked - acked;
            Ok(())
        });
        read.map_err(|why: String| format!("life {life}: {why}"))?;
    }
    if dir.exists() {
        std::fs::remove_dir_all(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    }
    Ok(counts)
}

/// A life that appends, with its end somewhere in it.
fn import(plan: &Plan, dir: &Path, random: &mut Random, oracle: &mut Oracle, counts: &mut Counts) -> Outcome {
    let segment = SEGMENT_BYTES[usize::try_from(random.within(0, 3)).unwrap_or(0)];
    let every = random.within(1, 12);
    let lines = random.within(1, LINES_A_LIFE_MAX);
    let wait_acks = random.within(0, lines / every);
    let closes_input = random.within(0, 3) == 0;
    // Nothing awaited: the kill comes while it starts and recovers.
    let wait_micros = random.within(0, if wait_acks == 0 { 25_000 } else { 3_000 });
    let every_text = every.to_string();
    let mut command = Command::new(&plan.tool);
    command.args(["import", "--segment-size", segment, "--sync-every", &every_text, "--ack"]).arg(dir);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|e| format!("the tool does not start: {e}"))?;
    let text = crash_oracle::lines(oracle.last() + 1, lines, oracle.life).concat();
    let mut input = child.stdin.take();
    let listened = feed(&mut input, &text).and_then(|()| {
        if closes_input {
            input = None;
        }
        crash::watched(child.id(), || listen(&mut child, wait_acks, wait_micros))
    });
    let stdout = end(child, input, listened, counts)?;
    let first = oracle.last();
    oracle.fed = oracle.fed.max(first + lines);
    oracle.acked = first + crash_oracle::acked(&stdout);
    counts.acked += oracle.acked - first;
    counts.lives += 1;
    Ok(())
}

/// A tool that ended early reads no more; why it did, its exit code says.
pub(crate) fn feed(input: &mut Option<ChildStdin>, text: &str) -> Result<(), String> {
    match input.as_mut().map_or(Ok(()), |input| input.write_all(text.as_bytes())) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(format!("the tool's input: {e}")),
        _ => Ok(()),
    }
}

/// Reads so many acknowledgements, waits so long, kills, and reads what was printed until then.
fn listen(child: &mut Child, wait_acks: u64, wait_micros: u64) -> Result<String, String> {
    let mut stdout = BufReader::new(child.stdout.take().ok_or("no output of the tool")?);
    let mut text = String::new();
    for _ in 0..wait_acks {
        if stdout.read_line(&mut text).map_err(|e| format!("the tool's output: {e}"))? == 0 {
            break;
        }
    }
    wait(wait_micros);
    child.kill().map_err(|e| format!("the tool cannot be killed: {e}"))?;
    for _ in 0..=LINES_A_LIFE_MAX {
        if stdout.read_line(&mut text).map_err(|e| format!("the tool's output: {e}"))? == 0 {
            break;
        }
    }
    Ok(text)
}

/// Leaves no process behind; one that had ended by itself must have ended well.
fn end(
    mut child: Child,
    input: Option<ChildStdin>,
    listened: Result<String, String>,
    counts: &mut Counts,
) -> Result<String, String> {
    let killed = child.kill();
    drop(input);
    let done = child.wait_with_output().map_err(|e| format!("the tool: {e}"))?;
    killed.map_err(|e| format!("the tool cannot be killed: {e}"))?;
    match done.status.code() {
        None => counts.killed += 1,
        Some(0) => {}
        Some(code) => {
            return Err(format!(
                "the tool exits with {code}: {}",
                String::from_utf8_lossy(&done.stderr).trim()
            ));
        }
    }
    listened
}

/// A life that truncates, killed somewhere in it.
fn truncate(
    plan: &Plan,
    dir: &Path,
    random: &mut Random,
    oracle: &mut Oracle,
    counts: &mut Counts,
) -> Outcome {
    let mint = random.within(1, oracle.last());
    oracle.mint = oracle.mint.max(mint);
    let mut command = Command::new(&plan.tool);
    command.args(["truncate", "--mint", &mint.to_string(), "--keep-all"]).arg(dir);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let child = command.spawn().map_err(|e| format!("the tool does not start: {e}"))?;
    wait(random.within(2_000, 12_000));
    let before = counts.killed;
    end(child, None, Ok(String::new()), counts)?;
    counts.truncations += 1;
    counts.truncations_killed += counts.killed - before;
    counts.lives += 1;
    Ok(())
}

fn wait(micros: u64) {
    let deadline = Instant::now() + Duration::from_micros(micros);
    while let Some(left) = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        std::thread::park_timeout(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kills_that_hit_nothing_are_a_failure() {
        let hit = Counts { lives: 10, killed: 9, acked: 100, unacked: 20, ..Counts::default() };
        assert_eq!(hit.enough(), Ok(()));
        assert!(Counts { killed: 4, ..hit }.enough().is_err());
        assert!(Counts::default().enough().is_err());
    }

    #[test]
    fn what_is_fed_in_a_life_fits_a_pipe() {
        let longest: usize =
            crash_oracle::lines(1_000_000_000, LINES_A_LIFE_MAX, 99).iter().map(String::len).sum();
        assert!(longest < 64 * 1024, "{longest}");
    }
}
