//! Calls that fail, at every index, once and for good: what was acknowledged survives, in the running
//! machine and after power loss.
#![allow(missing_docs)]

mod common;

use common::faulty::every_call_fails;
use common::history::{History, KINDS};
use wal_sim::{Call, Defect, Outcome};

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

fn every(call: Call, outcome: Outcome, for_good: bool) {
    for kind in KINDS {
        // On a full disk a truncation does what it has room for, which the model of it does not know.
        let is_full = outcome == Outcome::Errno(ENOSPC) && call != Call::Write;
        if is_full && matches!(kind, "truncation" | "mixed") {
            continue;
        }
        let history = History::new(kind, 77);
        let runs = every_call_fails(&history, Defect::None, call, outcome, for_good, 1);
        if let Err(what) = runs {
            panic!("{what}\n{:?}", history.ops);
        }
    }
}

#[test]
fn a_failed_sync_that_forgets_its_pages_never_makes_a_lie_of_a_yes() {
    every(Call::Sync, Outcome::Forget(EIO), false);
    every(Call::Sync, Outcome::Forget(EIO), true);
}

#[test]
fn a_failed_sync_never_makes_a_lie_of_a_yes() {
    every(Call::Sync, Outcome::Errno(EIO), false);
}

#[test]
fn a_failed_write_never_makes_a_lie_of_a_yes() {
    for outcome in [Outcome::Errno(EIO), Outcome::Errno(ENOSPC)] {
        every(Call::Write, outcome, false);
        every(Call::Write, outcome, true);
    }
}

#[test]
fn a_short_write_is_finished() {
    for bytes in [1, 511] {
        every(Call::Write, Outcome::Short(bytes), false);
    }
    every(Call::Write, Outcome::Short(700), true);
}

#[test]
fn a_short_read_is_finished() {
    every(Call::Read, Outcome::Short(1), false);
}

#[test]
fn a_failed_change_of_names_never_makes_a_lie_of_a_yes() {
    for call in [Call::Rename, Call::Remove, Call::CreateNew] {
        for outcome in [Outcome::Errno(EIO), Outcome::Errno(ENOSPC)] {
            every(call, outcome, false);
            every(call, outcome, true);
        }
    }
}

#[test]
fn a_failed_sync_of_a_folder_never_makes_a_lie_of_a_yes() {
    every(Call::SyncFolder, Outcome::Errno(EIO), false);
    every(Call::SyncFolder, Outcome::Errno(EIO), true);
}

#[test]
fn a_failed_cut_never_makes_a_lie_of_a_yes() {
    every(Call::SetLen, Outcome::Errno(EIO), false);
    every(Call::SetLen, Outcome::Errno(EIO), true);
}

#[test]
fn a_failed_look_is_never_taken_for_damage() {
    for call in [Call::Open, Call::List, Call::Read] {
        every(call, Outcome::Errno(EIO), false);
    }
}
