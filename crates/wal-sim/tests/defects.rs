//! Seeded defects: each breaks one rule at the storage seam, and the same crashes and the same oracle
//! that pass the real log must notice it. A defect that survives fails the test: it tests the tests.
#![allow(missing_docs, clippy::print_stdout)]

mod common;

use common::driver::{Driver, Effort, from_env};
use common::faulty::all_calls_somehow;
use common::history::{History, KINDS};
use common::rotten::repair_survives;
use wal_sim::Defect;
use wal_sim::defects::DEFECTS;

/// How a defect is noticed within the bounded run: the first failure, if there is one.
fn noticed(defect: Defect) -> Option<String> {
    if let Err(what) = repair_survives(defect) {
        return Some(what);
    }
    let seed = from_env("WAL_SIM_SEED", 1);
    for round in 0..12_u32 {
        for kind in KINDS {
            let history = History::new(kind, seed * 1000 + u64::from(round));
            let effort = Effort { states_max: 400, depth: 2, ..Effort::short() };
            let mut driver = Driver::new(effort, seed + u64::from(round));
            driver.defect = defect;
            if let Err(failure) = driver.try_history(&history) {
                return Some(failure.to_string());
            }
            if let Err(what) = all_calls_somehow(&history, defect, round as usize) {
                return Some(what);
            }
        }
        if defect == Defect::None && round == 2 {
            return None;
        }
    }
    None
}

#[test]
fn without_a_defect_nothing_is_noticed() {
    assert_eq!(noticed(Defect::None), None);
}

#[test]
fn every_seeded_defect_is_noticed() {
    let mut survivors = Vec::new();
    for defect in DEFECTS {
        match noticed(defect) {
            None => survivors.push(defect),
            Some(how) => println!("{defect:?}: {}", how.lines().next().unwrap_or_default()),
        }
    }
    assert!(survivors.is_empty(), "not noticed: {survivors:?}");
}
