//! Seeded defects: each breaks one rule at the storage seam, and the same crashes, the same failing calls and
//! the same oracle that pass the real log must notice it. A defect that survives fails the test: it tests the
//! tests.
#![allow(missing_docs, clippy::print_stdout, clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::driver::{Driver, Effort, from_env};
use common::faulty::all_calls_somehow;
use common::history::{History, KINDS};
use wal_sim::Defect;
use wal_sim::defects::DEFECTS;

/// Faults of the reference that neither a crash nor a failing call can show, and why. All others are brought
/// back by a defect.
const NOT_SHOWN: [(u8, &str); 13] = [
    (8, "a closed log cannot be written to: a matter of types"),
    (
        11,
        "two writers: a matter of the lock, which the conformance test tries on the disk and on the real one",
    ),
    (12, "writing before reading: a matter of types"),
    (13, "a new segment at every start loses nothing; the length of sealed files is tested in wal-engine"),
    (14, "the simulated disk has no permissions"),
    (15, "an entry that is durable and does not decode: no crash makes one; fuzzing and unit tests do"),
    (16, "a segment cut exactly at an entry: no crash cuts a finished one; cut files in wal-engine do"),
    (21, "which segment an entry goes into is judged by the writer's own tests, not by what survives"),
    (25, "what a truncation leaves standing costs space and loses nothing"),
    (26, "the same, beside damage"),
    (27, "threads beside each other: loom, shuttle and the stress test"),
    (28, "the lowest maximum time is a matter of statistics, not of durability"),
    (29, "speed"),
];

/// How a defect is noticed within the bounded run: the first failure, if there is one. Those kinds of
/// histories come first where the broken rule matters.
fn noticed(defect: Defect, kinds: &[&'static str], rounds: u32) -> Option<String> {
    let seed = from_env("WAL_SIM_SEED", 1);
    let likely = (0..rounds.min(3)).map(|round| (concerned(defect), round));
    for (kinds, round) in likely.chain((0..rounds).map(|round| (kinds, round))) {
        for kind in kinds {
            let history = History::new(kind, seed * 1000 + u64::from(round));
            let effort = Effort { states_max: 400, depth: 2, ..Effort::short() };
            let mut driver = Driver::new(effort, seed + u64::from(round));
            driver.defect = defect;
            let mut crashes = || driver.try_history(&history).err().map(|failure| failure.to_string());
            let calls = || all_calls_somehow(&history, defect, round as usize).err();
            let fails_calls = matches!(defect.breaks().rules, [4 | 6, ..]);
            let what = if fails_calls { calls().or_else(crashes) } else { crashes().or_else(calls) };
            if let Some(what) = what {
                return Some(format!("{}: {what}", history.name));
            }
        }
    }
    None
}

/// Kinds of histories in which the rules matter that a defect breaks.
fn concerned(defect: Defect) -> &'static [&'static str] {
    match defect {
        Defect::NoCloseSync | Defect::SealSyncTooLate => return &["reopening"],
        Defect::NoIntentClear => return &["mixed"],
        Defect::TargetRemovedFirst => return &["skipping"],
        _ => {}
    }
    match defect.breaks().rules {
        [1, ..] => &["rotation", "reopening", "fresh"],
        [2, ..] => &["damage", "skipping", "poison", "fresh"],
        [3, ..] => &["damage", "truncation", "marks", "appends"],
        [5, ..] => &["truncation"],
        [8, ..] => &["numbers"],
        [10, ..] => &["full"],
        _ => &["appends", "poison"],
    }
}

/// The defects that nothing notices.
fn survivors(defects: &[Defect], kinds: &[&'static str], rounds: u32) -> Vec<Defect> {
    let (next, survivors) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(defect) = defects.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match noticed(*defect, kinds, rounds) {
                        None => survivors.lock().unwrap().push(*defect),
                        Some(how) => println!("{defect:?}: {}", how.lines().next().unwrap_or_default()),
                    }
                }
            });
        }
    });
    survivors.into_inner().unwrap()
}

/// That what nothing notices is told. That the decorator itself breaks nothing is a matter of the conformance test.
#[test]
fn without_a_defect_nothing_is_noticed() {
    assert_eq!(survivors(&[Defect::None], &["reopening", "truncation", "damage", "full"], 1), [Defect::None]);
}

#[test]
fn every_seeded_defect_is_noticed() {
    let survivors = survivors(&DEFECTS, &KINDS, 12);
    assert!(survivors.is_empty(), "not noticed: {survivors:?}");
}

#[test]
fn every_rule_and_every_fault_that_can_be_shown_has_a_defect() {
    let breaks = DEFECTS.map(Defect::breaks);
    let rules: BTreeSet<u8> = breaks.iter().flat_map(|breaks| breaks.rules).copied().collect();
    assert_eq!(rules, (1..=10).collect());
    let shown: BTreeSet<u8> = breaks.iter().flat_map(|breaks| breaks.faults).copied().collect();
    let not_shown: BTreeSet<u8> = NOT_SHOWN.iter().map(|(fault, _)| *fault).collect();
    assert!(shown.is_disjoint(&not_shown), "{shown:?}");
    assert_eq!(shown.union(&not_shown).copied().collect::<BTreeSet<u8>>(), (1..=29).collect());
    let distinct: std::collections::HashSet<Defect> = DEFECTS.into_iter().collect();
    assert_eq!(distinct.len(), DEFECTS.len());
    assert!(breaks.iter().all(|breaks| !breaks.rules.is_empty()));
}
