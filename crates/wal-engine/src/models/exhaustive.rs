//! Every order of the threads, by loom: all of them where that ends, else those with few preemptions.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::histories::{self, threaded};
use crate::Wal;

/// Runs a history under every order of its threads; with a bound, under those with at most so many
/// preemptions. `LOOM_MAX_PREEMPTIONS` sets another bound.
pub(super) fn explore(name: &str, preemptions: Option<usize>, history: impl Fn() + Send + Sync + 'static) {
    let runs = Arc::new(AtomicU64::new(0));
    let mut model = loom::model::Builder::new();
    model.preemption_bound = model.preemption_bound.or(preemptions.map(|bound| bound + deeper()));
    // A test may explore more than once, and each remembers by itself how far it got.
    model.checkpoint_file = model.checkpoint_file.map(|file| file.with_extension(name.replace(' ', "-")));
    // An order may be long, as long as there are not too many of them.
    model.max_branches = 100_000;
    let began = Instant::now();
    model.check({
        let runs = Arc::clone(&runs);
        move || {
            runs.fetch_add(1, Ordering::Relaxed);
            history();
        }
    });
    let bound = model.preemption_bound.map_or("all".to_owned(), |n| format!("up to {n} preemptions"));
    let (runs, took) = (runs.load(Ordering::Relaxed), began.elapsed().as_secs_f64());
    println!("loom {name}: {runs} interleavings, {bound}, in {took:.1} s");
}

/// How many preemptions more than usual: `cargo xtask models --long` sets it.
fn deeper() -> usize {
    std::env::var("WAL_MODELS_DEEPER").map_or(0, |more| more.parse().unwrap())
}

#[test]
fn two_committers_hear_the_truth_in_every_order() {
    explore("two committers", None, || histories::committers(2, threaded(false), Wal::commit));
}

#[test]
fn a_queued_committer_is_served_in_every_order() {
    for fails in [false, true] {
        explore(&format!("queued, fails {fails}"), None, move || histories::queued(fails));
    }
}

#[test]
fn two_committers_and_the_thread_hear_the_truth() {
    explore("two committers and the thread", Some(3), || {
        histories::committers(2, threaded(true), Wal::commit);
    });
}

#[test]
fn the_hand_off_loses_nobody() {
    explore("hand-off", Some(3), || histories::hand_off(2, Wal::commit));
}

#[test]
fn three_committers_and_the_thread_hear_the_truth() {
    explore("three committers and the thread", Some(2), || {
        histories::committers(3, threaded(true), Wal::commit);
    });
}

#[test]
fn a_failing_sync_is_told_to_every_committer() {
    explore("failing sync", None, || histories::failing_sync(2, threaded(false)));
    explore("failing sync and the thread", Some(3), || histories::failing_sync(2, threaded(true)));
    explore("failing sync, three", Some(2), || histories::failing_sync(3, threaded(true)));
}

#[test]
fn a_full_disk_is_told_and_nothing_is_lost() {
    explore("full disk", None, || histories::full_disk(2, threaded(false)));
    explore("full disk and the thread", Some(3), || histories::full_disk(2, threaded(true)));
}

#[test]
fn rotation_beside_commits_keeps_every_yes_true() {
    explore("rotation", None, || histories::rotation(2, false));
    explore("rotation and the thread", Some(2), || histories::rotation(2, true));
}

#[test]
fn full_buffers_lose_and_repeat_nothing() {
    explore("full buffers and the thread", Some(2), || histories::full_buffers(2, 2));
}

#[test]
fn the_last_one_to_let_go_closes_the_log() {
    explore("closing", Some(3), || histories::last_one_closes(2));
}

#[test]
fn the_gate_lets_one_in_at_a_time() {
    explore("gate", None, || histories::gate(2));
    explore("gate, three", Some(3), || histories::gate(3));
}

#[test]
fn a_task_that_awaits_a_commit_is_answered_truly_when_the_log_goes() {
    for closes in [true, false] {
        let name = format!("awaited, closes {closes}");
        explore(&name, None, move || histories::awaited(closes, false));
        explore(&format!("{name}, thread"), Some(4), move || histories::awaited(closes, true));
    }
}
