//! Power loss at every call of short histories, in every way while they are few: nothing durable is
//! lost, nothing comes back that was not there, and crashes are never called damage.
#![allow(missing_docs, clippy::print_stdout)]

mod common;

use common::driver::{Driver, Effort, from_env, moments_of, narrate, replay};
use common::history::{History, KINDS};
use common::totals::Totals;
use wal_sim::{Defect, Schedule};

/// Tries histories of a kind; which ones follows from the seed.
fn try_kind(kind: &str, states: u64) -> Totals {
    let seed = from_env("WAL_SIM_SEED", 1);
    let states_max = from_env("WAL_SIM_STATES", states);
    let mut driver = Driver::new(Effort::short(), seed);
    let mut histories = 0;
    while driver.totals.states < states_max && histories < 400 {
        let history = History::new(kind, seed * 1000 + histories);
        driver.effort.states_max = states_max - driver.totals.states;
        if let Err(failure) = driver.try_history(&history) {
            panic!("seed {seed}\n{failure}{}", narrate(&failure.schedule, Defect::None).join("\n"));
        }
        histories += 1;
    }
    println!("{kind}, seed {seed}: {histories} histories, {}", driver.totals);
    driver.totals
}

#[test]
fn a_fresh_log_survives_power_loss_at_every_call() {
    assert!(100 < try_kind("fresh", 400).states);
}

#[test]
fn appends_and_commits_survive_power_loss_at_every_call() {
    assert!(500 < try_kind("appends", 3000).states);
}

#[test]
fn rotation_survives_power_loss_at_every_call() {
    assert!(500 < try_kind("rotation", 3000).states);
}

#[test]
fn truncation_survives_power_loss_at_every_call() {
    assert!(500 < try_kind("truncation", 3000).states);
}

#[test]
fn closing_and_dying_processes_survive_power_loss_at_every_call() {
    assert!(500 < try_kind("reopening", 3000).states);
}

#[test]
fn everything_mixed_survives_power_loss_within_recovery() {
    let totals = try_kind("mixed", 3000);
    assert!(totals.nested != 0 && totals.repaired != 0, "{totals:?}");
}

#[test]
fn damage_that_ends_the_log_survives_power_loss_at_every_call() {
    assert!(500 < try_kind("damage", 2000).states);
}

#[test]
fn damage_stepped_over_survives_power_loss_at_every_call() {
    assert!(500 < try_kind("skipping", 2000).states);
}

#[test]
fn a_full_disk_survives_power_loss_at_every_call() {
    assert!(500 < try_kind("full", 2000).states);
}

#[test]
fn a_failed_sync_and_another_process_survive_power_loss() {
    assert!(500 < try_kind("poison", 2000).states);
}

#[test]
fn an_old_mark_or_none_survives_power_loss_at_every_call() {
    assert!(500 < try_kind("marks", 2000).states);
}

#[test]
fn a_backup_stays_as_it_was_taken_whatever_becomes_of_the_log() {
    assert!(500 < try_kind("backup", 2000).states);
}

#[test]
fn numbers_above_six_digits_survive_power_loss_at_every_call() {
    assert!(500 < try_kind("numbers", 2000).states);
}

/// No draws: every combination of what power loss can leave, at every call of histories of two appends.
#[test]
fn a_short_history_loses_power_in_every_way_there_is() {
    let mut effort = Effort { lives: 1, nest_one_in: usize::MAX, ..Effort::short() };
    effort.outer.all_up_to = 1 << 16;
    let mut driver = Driver::new(effort, 1);
    for seed in 0..4 {
        driver.try_history(&History::new("fresh", seed)).unwrap();
    }
    println!("{}", driver.totals);
    assert_eq!(driver.totals.moments_in_full, driver.totals.moments);
    assert!(80 < driver.totals.moments && 100 < driver.totals.states, "{}", driver.totals);
}

/// The first commit of a fresh log, lost in the middle: no mark is on the disk yet that could tell the hole
/// from rot. It is called damage, and what was acknowledged before it comes back.
#[test]
fn a_hole_before_the_first_mark_is_called_damage_and_loses_nothing() {
    let schedule = "history appends 1000\ncrash 21 keep 1 0 0 1 1 1";
    let told = narrate(&schedule.parse().unwrap(), Defect::None).join("\n");
    assert!(told.contains("the log opens and goes on") && !told.contains("broken"), "{told}");
}

/// The mark is in a segment before: its own sync failed when that one was finished, and then the process died. A hole
/// behind it is called damage as well.
#[test]
fn a_hole_above_a_mark_whose_sync_failed_is_called_damage_and_loses_nothing() {
    let schedule = "history poison 1000724 varied\nkill 44\ncrash 7 keep 0 1 1 g 1 0 1";
    let told = narrate(&schedule.parse().unwrap(), Defect::None).join("\n");
    assert!(told.contains("the log opens and goes on") && !told.contains("broken"), "{told}");
}

/// Such damage is repaired; where power fails within that repair, the next open calls it damage again.
#[test]
fn damage_without_a_mark_stays_damage_while_its_repair_is_cut_short() {
    let schedule = "history fresh 1000026\nkill 2\ncrash 21 keep 1 0 1 1 1 1\ncrash 14 keep 0 1 0 1 1 0"
        .parse()
        .unwrap();
    replay(&schedule, Defect::None, &mut |_| ()).unwrap();
}

/// The last segment left with its damage, and the one before it, now the last, ended in a prepared byte: the
/// first open left that, the second cut it.
#[test]
fn a_segment_that_a_repair_makes_the_last_is_trimmed_by_it() {
    let schedule = "history skipping 1000059\ncrash 110 keep 1".parse().unwrap();
    replay(&schedule, Defect::None, &mut |_| ()).unwrap();
}

/// A hole that no mark tells from rot, in a log that is to go on behind damage: entries that nobody was promised
/// come back without the one in the hole.
#[test]
fn going_on_behind_an_unmarked_hole_loses_only_what_was_not_durable() {
    let schedule = "history skipping 1000540\ncrash 23 keep 0 1 0 1 1".parse().unwrap();
    replay(&schedule, Defect::None, &mut |_| ()).unwrap();
}

/// A schedule names its history, and both kinds of sizes must be found again by that.
#[test]
fn a_history_is_found_again_by_its_name() {
    for kind in KINDS {
        for history in [History::new(kind, 3), History::varied(kind, 3)] {
            let again = History::named(&history.name).unwrap();
            assert_eq!(
                (again.ops, again.next_id),
                (history.ops.clone(), history.next_id),
                "{}",
                history.name
            );
            assert_eq!(format!("{:?}", again.options), format!("{:?}", history.options), "{}", history.name);
        }
        assert_ne!(History::new(kind, 3).more(1), History::varied(kind, 3).more(1));
    }
}

#[test]
fn a_history_gives_the_same_moments_every_time() {
    for kind in KINDS {
        let history = History::new(kind, 3);
        let prints = || -> Vec<u64> {
            moments_of(&history, Defect::None)
                .unwrap()
                .iter()
                .map(|moment| moment.disk.fingerprint())
                .collect()
        };
        assert_eq!(prints(), prints(), "{kind}");
    }
}

#[test]
fn a_schedule_can_be_pasted_and_replayed() {
    for end in ["crash 6 keep 1", "kill 6"] {
        let text = format!("history rotation 5\ncrash 40 keep 0 1 0 1\n{end}");
        let schedule: Schedule = text.parse().unwrap();
        replay(&schedule, Defect::None, &mut |_| ()).unwrap();
        assert!(!narrate(&schedule, Defect::None).is_empty());
    }
}

#[test]
fn a_schedule_that_fails_fails_again_when_pasted() {
    let defect = Defect::NoSegmentSync;
    let mut driver = Driver::new(Effort::short(), 1);
    driver.defect = defect;
    let failure = driver.try_history(&History::new("appends", 1)).unwrap_err();
    let pasted: Schedule = failure.to_string().parse().unwrap();
    assert_eq!(pasted, failure.schedule);
    assert!(replay(&pasted, defect, &mut |_| ()).is_err());
    assert!(replay(&pasted, Defect::None, &mut |_| ()).is_ok());
}

/// What counts distinct images over all histories counts none twice and is a few parts in a hundred off at most.
#[test]
fn images_are_counted_once_by_a_sketch_of_fixed_size() {
    for wanted in [100_u64, 10_000, 300_000] {
        let mut totals = Totals::default();
        for n in (0..wanted).chain(0..wanted) {
            totals.image(n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        }
        assert!(totals.distinct().abs_diff(wanted) < wanted / 25, "{} of {wanted}", totals.distinct());
    }
}
