//! A long crash run: `cargo run --release -p wal-sim --example crash -- --states N --seed S`.
//!
//! Stops by itself after about N distinct durable images (default a million), or at the first one that a log
//! does not survive: then the schedule is printed and the exit code is 1. `--kind K` keeps to one kind
//! of history, `--threads N` (default 1) uses more of the machine, `--schedule FILE` replays what an earlier run printed.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use common::driver::{Driver, Effort, Totals, narrate, replay};
use common::history::{History, KINDS};
use wal_sim::{Defect, Schedule, Ways};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| args.iter().position(|arg| arg == name).and_then(|at| args.get(at + 1));
    let number = |name: &str, or: u64| value(name).map_or(or, |text| text.parse().expect("a number"));
    if let Some(path) = value("--schedule") {
        return replay_file(path);
    }
    let (states, seed) = (number("--states", 1_000_000), number("--seed", 1));
    let effort = Effort {
        outer: Ways { all_up_to: 256, drawn: 24, garbage: true },
        nested: Ways { all_up_to: 16, drawn: 6, garbage: true },
        nested_moments: 24,
        ..Effort::short()
    };
    let kinds: Vec<&str> = match value("--kind") {
        Some(kind) => KINDS.into_iter().filter(|known| known == kind).collect(),
        None => KINDS.to_vec(),
    };
    let threads = number("--threads", 1);
    let (began, next, all) = (Instant::now(), AtomicU64::new(0), Mutex::new((Totals::default(), 0)));
    let failed = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !failed.load(Ordering::Relaxed) {
                    let turn = next.fetch_add(1, Ordering::Relaxed);
                    let kind = kinds[usize::try_from(turn).unwrap() % kinds.len()];
                    let history = History::new(kind, seed * 1_000_000 + turn);
                    let mut driver = Driver::new(Effort { states_max: 20_000, ..effort }, seed ^ turn);
                    let tried = driver.try_history(&history);
                    if let Err(failure) = tried {
                        println!("{failure}\n# {}", narrate(&failure.schedule, Defect::None).join("\n# "));
                        failed.store(true, Ordering::Relaxed);
                    }
                    let mut all = all.lock().unwrap();
                    all.0.add(&driver.totals);
                    let (seconds, done) = (began.elapsed().as_secs(), states <= all.0.states);
                    if all.1 + 10 <= seconds || done {
                        all.1 = seconds;
                        let rate = all.0.states as f64 / began.elapsed().as_secs_f64();
                        println!("{} histories, {rate:.0} states a second: {:?}", turn + 1, all.0);
                    }
                    if done {
                        break;
                    }
                }
            });
        }
    });
    if failed.into_inner() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn replay_file(path: &str) -> ExitCode {
    let text = std::fs::read_to_string(path).expect("a readable file");
    let schedule: Schedule = text.parse().expect("a schedule");
    println!("# {}", narrate(&schedule, Defect::None).join("\n# "));
    match replay(&schedule, Defect::None) {
        Ok(()) => ExitCode::SUCCESS,
        Err(what) => {
            println!("{what}");
            ExitCode::FAILURE
        }
    }
}
