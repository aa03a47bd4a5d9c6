//! A long crash run: `cargo run --release -p wal-sim --example crash -- --states N --seed S`.
//!
//! Stops by itself after N distinct durable images (default a million), or at the first one that a log
//! does not survive: then the schedule is printed and the exit code is 1. `--kind K` keeps to one kind
//! of history, `--schedule FILE` replays what an earlier run printed.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::process::ExitCode;
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
    let began = Instant::now();
    let mut totals = Totals::default();
    let mut told = 0;
    let mut histories: u64 = 0;
    for round in 0.. {
        for kind in &kinds {
            let history = History::new(kind, seed * 1_000_000 + round);
            let left = states - totals.states;
            let mut driver = Driver::new(Effort { states_max: left.min(20_000), ..effort }, seed ^ round);
            let tried = driver.try_history(&history);
            totals.add(&driver.totals);
            histories += 1;
            if let Err(failure) = tried {
                println!("{failure}\n# {}", narrate(&failure.schedule, Defect::None).join("\n# "));
                return ExitCode::FAILURE;
            }
            let seconds = began.elapsed().as_secs_f64();
            if told + 10 <= began.elapsed().as_secs() || states <= totals.states {
                told = began.elapsed().as_secs();
                let rate = totals.states as f64 / seconds;
                println!("{histories} histories, {rate:.0} states a second: {totals:?}");
            }
            if states <= totals.states {
                return ExitCode::SUCCESS;
            }
        }
    }
    ExitCode::SUCCESS
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
