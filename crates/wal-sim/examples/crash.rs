//! A long crash run: `cargo run --release -p wal-sim --example crash -- --states N --seed S`.
//!
//! First every call of one history of each kind goes wrong in every way. Then power is lost; this
//! stops by itself after N distinct durable images (default a million; counted by a sketch of fixed size, about one
//! part in a hundred off), on all cores, or at the first one that a log does not survive: then the schedule is printed
//! and the exit code is 1. `--kind K` keeps to one kind of history,
//! `--threads N` to so many cores, `--schedule FILE` replays what an earlier run printed.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use common::driver::{Driver, Effort, Failure, narrate, replay};
use common::faulty::every_call;
use common::history::{History, KINDS};
use common::totals::Totals;
use wal_sim::faults::CALLS;
use wal_sim::{Call, Defect, Schedule};

/// So many states of one history: then another is more worth.
const STATES_OF_ONE: u64 = 20_000;

/// How a broken promise begins in the text of a failure, and what it is called.
const BREACHES: [(&str, &str); 5] = [
    ("lost:", "lost"),
    ("invented:", "invented"),
    ("reordered:", "reordered or changed"),
    ("panicked:", "panicked"),
    ("silently cut:", "silently cut"),
];

/// What all threads together have come to.
struct Sum {
    of_kind: Vec<Totals>,
    failures: Vec<Failure>,
    told_at_s: u64,
}

impl Sum {
    fn all(&self) -> Totals {
        let mut all = Totals::default();
        self.of_kind.iter().for_each(|totals| all.add(totals));
        all
    }
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| args.iter().position(|arg| arg == name).and_then(|at| args.get(at + 1));
    let number = |name: &str, or: u64| value(name).map_or(or, |text| text.parse().expect("a number"));
    if let Some(path) = value("--schedule") {
        return replay_file(path);
    }
    let (states, seed) = (number("--states", 1_000_000), number("--seed", 1));
    let kinds: Vec<&str> = match value("--kind") {
        Some(kind) => KINDS.into_iter().filter(|known| known == kind).collect(),
        None => KINDS.to_vec(),
    };
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    let threads = number("--threads", cores);
    println!("seed {seed}, {states} states wanted");
    if let Err(what) = fail_calls(&kinds, seed, threads) {
        println!("{what}");
        return ExitCode::FAILURE;
    }
    let (began, next, stop) = (Instant::now(), AtomicU64::new(0), AtomicBool::new(false));
    let sum = Sum { of_kind: vec![Totals::default(); kinds.len()], failures: Vec::new(), told_at_s: 0 };
    let sum = Mutex::new(sum);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let turn = next.fetch_add(1, Ordering::Relaxed);
                    let index = usize::try_from(turn).unwrap() % kinds.len();
                    let history = History::varied(kinds[index], seed * 1_000_000 + turn);
                    let mut driver = Driver::new(Effort::long(STATES_OF_ONE), seed ^ turn);
                    let tried = driver.try_history(&history);
                    let mut sum = sum.lock().unwrap();
                    sum.of_kind[index].add(&driver.totals);
                    sum.failures.extend(tried.err().map(|failure| *failure));
                    let all = sum.all();
                    if states <= all.distinct() || !sum.failures.is_empty() {
                        stop.store(true, Ordering::Relaxed);
                    }
                    let seconds = began.elapsed().as_secs();
                    if sum.told_at_s + 60 <= seconds {
                        sum.told_at_s = seconds;
                        println!("after {seconds} s: {all}");
                    }
                }
            });
        }
    });
    let sum = sum.into_inner().unwrap();
    for (kind, totals) in kinds.iter().zip(&sum.of_kind) {
        println!("{kind:<10} {totals}");
    }
    let all = sum.all();
    let rate = all.states as f64 / began.elapsed().as_secs_f64();
    println!("all        {all}\n{rate:.0} states a second");
    for (begins, name) in BREACHES {
        println!("{name}: {}", sum.failures.iter().filter(|failure| failure.what.contains(begins)).count());
    }
    for failure in &sum.failures {
        println!("\n{failure}# {}", narrate(&failure.schedule, Defect::None).join("\n# "));
    }
    // What the run is for: states in which more than the last sector of one file is at stake.
    let is_thin = value("--kind").is_none() && all.structural < all.states / 5;
    if is_thin {
        println!("less than a fifth of the states are structural");
    }
    if sum.failures.is_empty() && !is_thin { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Has every call of one history of each kind go wrong, in every way, once and for good.
fn fail_calls(kinds: &[&str], seed: u64, threads: u64) -> Result<(), String> {
    let work: Vec<(&str, Call)> =
        CALLS.into_iter().flat_map(|call| kinds.iter().map(move |kind| (*kind, call))).collect();
    let (began, next, runs) = (Instant::now(), AtomicUsize::new(0), AtomicU64::new(0));
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((kind, call)) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match every_call(&History::new(kind, seed), Defect::None, *call) {
                        Ok(more) => _ = runs.fetch_add(more, Ordering::Relaxed),
                        Err(what) => failures.lock().unwrap().push(what),
                    }
                }
            });
        }
    });
    let (runs, seconds) = (runs.into_inner(), began.elapsed().as_secs());
    println!("{runs} histories in which one call failed, each in each way, in {seconds} s");
    let failures = failures.into_inner().unwrap();
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n")) }
}

fn replay_file(path: &str) -> ExitCode {
    let text = std::fs::read_to_string(path).expect("a readable file");
    let schedule: Schedule = text.parse().expect("a schedule");
    match replay(&schedule, Defect::None, &mut |line| println!("# {line}")) {
        Ok(()) => ExitCode::SUCCESS,
        Err(what) => {
            println!("{what}");
            ExitCode::FAILURE
        }
    }
}
