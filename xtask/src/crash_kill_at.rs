//! Processes killed in the place of a system call or right behind it: each call of each stage, and then again in later lives.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::sync::Mutex;
use std::time::Instant;

use crate::Outcome;
use crate::crash::{self, Plan, Random};
use crate::crash_home::{Home, Watched};
use crate::crash_oracle::{self, Oracle};
use crate::crash_stage::{IMPORT, LINES, Stage};
use crate::crash_strace::{self, CALLS, Fault, Injection};

/// Lives with a random kill behind the one that is killed where the history says.
const LIVES_MORE_MAX: u64 = 2;
/// Calls that change nothing: death behind one leaves what death before the next one leaves.
const READING: [&str; 2] = ["pread64", "getdents64"];

/// What a life does.
const KINDS: [&str; 6] = ["import", "truncate", "repair", "quarantine", "backup", "salvage"];

/// Where a history is killed first.
struct Point<'a> {
    stage: &'a Stage,
    watched: &'a Watched,
    injection: Injection,
}

/// What the histories did, to know that they were worth something.
#[derive(Debug, Default)]
struct Counts {
    histories: usize,
    /// Died where the history says: in the place of the call, and behind it.
    hit: [usize; 2],
    lives: usize,
    /// Lives that were killed, by what they did.
    killed: BTreeMap<&'static str, usize>,
}

impl Counts {
    fn add(&mut self, other: &Self) {
        self.histories += other.histories;
        self.lives += other.lives;
        self.hit = [self.hit[0] + other.hit[0], self.hit[1] + other.hit[1]];
        for (what, count) in &other.killed {
            *self.killed.entry(what).or_default() += count;
        }
    }

    /// Kills that come to nothing try nothing.
    fn enough(&self) -> Outcome {
        let [before, behind] = self.hit;
        let each = KINDS.iter().all(|what| self.killed.get(what).is_some_and(|&count| 0 < count));
        if (before + behind) * 10 < self.histories * 9 || before == 0 || behind == 0 || !each {
            return Err(format!("the kills do not hit the calls: {self}"));
        }
        Ok(())
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { histories, hit: [before, behind], lives, killed } = self;
        write!(
            f,
            "{histories} histories, {before} killed before and {behind} behind their call; {lives} lives, killed:"
        )?;
        killed.iter().try_for_each(|(what, count)| write!(f, " {what} {count}"))
    }
}

/// Every call of every stage, before and behind; as often as it takes to come to as many histories as were
/// asked for.
pub(crate) fn run(plan: &Plan, stages: &[(Stage, Watched)]) -> Outcome {
    let start = Instant::now();
    let points = points(stages);
    let rounds = plan.histories.div_ceil(points.len().max(1));
    let total = Mutex::new(Counts::default());
    crash::every(points.len() * rounds, |worker, number| {
        let Some(point) = points.get(number % points.len()) else { return Ok(()) };
        let home = Home::new(plan.memory.join(format!("kills-{worker}")));
        let mut random = Random::new(plan.seed, number as u64);
        let counts = history(plan, &home, point, &mut random).map_err(|why| {
            let kept = plan.memory.join(format!("killed-{number}"));
            let kept = if fs::rename(home.path(), &kept).is_ok() { kept } else { home.path().into() };
            let (name, injection, seed) = (point.stage.name, point.injection, plan.seed);
            format!("{name}: {injection}: seed {seed}: {why}\n  the log is in {}", kept.display())
        })?;
        total.lock().map_err(|e| e.to_string())?.add(&counts);
        Ok(())
    })?;
    let total = total.into_inner().map_err(|e| e.to_string())?;
    println!("    at calls: {total}; in {} s", start.elapsed().as_secs());
    if plan.stage.is_some() { Ok(()) } else { total.enough() }
}

fn points(stages: &[(Stage, Watched)]) -> Vec<Point<'_>> {
    let mut points = Vec::new();
    for (stage, watched) in stages {
        for (call, _) in CALLS {
            for index in 1..=watched.counts.get(call).copied().unwrap_or(0) {
                let mut add = |fault| {
                    points.push(Point { stage, watched, injection: Injection { call, index, fault } });
                };
                add(Fault::KillBefore);
                if !READING.contains(&call) {
                    add(Fault::KillAfter);
                }
            }
        }
    }
    points
}

/// The life that is killed at the point, more that are killed somewhere, and one in peace.
fn history(plan: &Plan, home: &Home, point: &Point<'_>, random: &mut Random) -> Result<Counts, String> {
    let Point { stage, watched, injection } = point;
    let mut counts = Counts { histories: 1, ..Counts::default() };
    let mut oracle = stage.oracle.clone();
    home.fresh(stage)?;
    let words = home.words(stage, &stage.args);
    let (killed, mut acked) = life(plan, home, point, *injection, words, &stage.input, &mut counts)?;
    counts.hit[usize::from(injection.fault == Fault::KillAfter)] += usize::from(killed);
    for number in 0..random.within(0, LIVES_MORE_MAX) {
        let at = somewhere(watched, random);
        let mut input = String::new();
        let words = match home.again(stage)? {
            Some(again) => again,
            None => {
                home.read_back(plan, stage, acked, &mut oracle)
                    .map_err(|why| format!("life {}: {why}", 2 + number))?;
                let words = next(random, &mut oracle, &mut input);
                home.words(stage, &words.iter().map(String::as_str).collect::<Vec<_>>())
            }
        };
        (_, acked) = life(plan, home, point, at, words, &input, &mut counts)?;
    }
    home.settle(plan, stage, acked, &mut oracle)?;
    Ok(counts)
}

/// The arguments of another life: mostly it appends, in one of three ways, else it truncates.
fn next(random: &mut Random, oracle: &mut Oracle, input: &mut String) -> Vec<String> {
    oracle.life += 1;
    let turn = random.within(0, 3);
    if turn == 3 && 0 < oracle.last() {
        let mint = random.within(1, oracle.last());
        oracle.mint = oracle.mint.max(mint);
        return ["truncate", "--mint", &mint.to_string(), "--keep-all", "LOG"].map(str::to_owned).into();
    }
    let preallocation = match turn {
        0 => "fallocate",
        1 => "none",
        _ => "zero-fill",
    };
    *input = crash_oracle::lines(oracle.last() + 1, LINES, oracle.life).concat();
    oracle.fed = oracle.fed.max(oracle.last() + LINES);
    [&IMPORT[..], &["--preallocation", preallocation, "LOG"]]
        .concat()
        .into_iter()
        .map(str::to_owned)
        .collect()
}

/// A call that the stage makes, and a side of it.
fn somewhere(watched: &Watched, random: &mut Random) -> Injection {
    let all: usize = watched.counts.values().sum();
    let mut at = random.within(1, all as u64);
    let fault = if random.within(0, 1) == 0 { Fault::KillBefore } else { Fault::KillAfter };
    for (call, _) in CALLS {
        let count = watched.counts.get(call).copied().unwrap_or(0) as u64;
        if at <= count {
            return Injection { call, index: usize::try_from(at).unwrap_or(1), fault };
        }
        at -= count;
    }
    Injection::kill("fdatasync", 1)
}

/// A life that dies at the injection, or ends well if it never makes that call: whether it died, and how many
/// lines it acknowledged.
fn life(
    plan: &Plan,
    home: &Home,
    point: &Point<'_>,
    injection: Injection,
    words: Vec<OsString>,
    input: &str,
    counts: &mut Counts,
) -> Result<(bool, u64), String> {
    let command = crash_strace::inject(&home.trace(), &home.paths(point.watched), &home.stdout(), injection);
    let what = KINDS.into_iter().find(|what| words.first().is_some_and(|word| word == what));
    let answer = home.start_as(plan, command, words, input)?;
    let trace = fs::read_to_string(home.trace()).map_err(|e| format!("the trace: {e}"))?;
    let killed = trace.contains("+++ killed by SIG");
    let said = answer.stderr.trim();
    if said.contains("panicked") {
        return Err(format!("it panics: {said}"));
    }
    if !killed && answer.code != 0 && answer.code != point.stage.ends {
        return Err(format!("{} ends with {}: {said}", what.unwrap_or("it"), answer.code));
    }
    counts.lives += 1;
    if let (true, Some(what)) = (killed, what) {
        *counts.killed.entry(what).or_default() += 1;
    }
    Ok((killed, crash_oracle::acked(&answer.stdout)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kills_that_hit_no_call_are_a_failure() {
        let each = KINDS.map(|what| (what, 1));
        let all = || Counts { histories: 10, hit: [5, 5], lives: 20, killed: BTreeMap::from(each) };
        assert_eq!(all().enough(), Ok(()));
        assert!(Counts { hit: [4, 4], ..all() }.enough().is_err());
        assert!(Counts { hit: [10, 0], ..all() }.enough().is_err());
        for (what, _) in each {
            let mut one_missing = all();
            one_missing.killed.remove(what);
            assert!(one_missing.enough().is_err(), "{what}");
        }
        assert!(Counts::default().enough().is_err());
    }
}
