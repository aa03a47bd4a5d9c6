//! Calls that fail, at every index: what was acknowledged survives, in the running machine and after power
//! loss. Here each call goes wrong in one way, by turns; `cargo xtask sim` has each go wrong in all ways.
#![allow(missing_docs, clippy::print_stdout)]

mod common;

use common::driver::from_env;
use common::faulty::every_call_somehow;
use common::history::{History, KINDS};
use wal_sim::{Call, Defect};

fn somehow(call: Call) {
    let seed = from_env("WAL_SIM_SEED", 77);
    let mut runs = 0;
    for (turn, kind) in KINDS.into_iter().enumerate() {
        match every_call_somehow(&History::new(kind, seed), Defect::None, call, turn) {
            Ok(more) => runs += more,
            Err(what) => panic!("seed {seed}\n{what}"),
        }
    }
    println!("{call:?}, seed {seed}: {runs} runs");
    assert!(5 < runs, "{runs}");
}

#[test]
fn a_failed_sync_never_makes_a_lie_of_a_yes() {
    somehow(Call::Sync);
}

#[test]
fn a_failed_or_short_write_never_makes_a_lie_of_a_yes() {
    somehow(Call::Write);
}

#[test]
fn a_failed_or_short_read_is_never_taken_for_damage() {
    somehow(Call::Read);
}

#[test]
fn a_file_that_cannot_be_opened_is_never_taken_for_missing() {
    somehow(Call::Open);
}

#[test]
fn a_directory_that_cannot_be_listed_is_never_taken_for_empty() {
    somehow(Call::List);
}

#[test]
fn a_failed_change_of_names_never_makes_a_lie_of_a_yes() {
    for call in [Call::CreateNew, Call::Rename, Call::Remove] {
        somehow(call);
    }
}

#[test]
fn a_failed_sync_of_a_folder_never_makes_a_lie_of_a_yes() {
    somehow(Call::SyncFolder);
}

#[test]
fn a_failed_cut_never_makes_a_lie_of_a_yes() {
    somehow(Call::SetLen);
}

#[test]
fn space_that_cannot_be_reserved_never_makes_a_lie_of_a_yes() {
    somehow(Call::Allocate);
    somehow(Call::CreateFolder);
}
