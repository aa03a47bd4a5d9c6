//! Orders of the threads drawn by shuttle: many more steps than can be tried in every order.

use std::sync::Arc;
use std::time::Instant;

use shuttle::scheduler::{
    PctScheduler, RandomScheduler, ReplayScheduler, Scheduler, UncontrolledNondeterminismCheckScheduler,
};
use shuttle::{Config, Runner};
use wal_sim::Defect;

use super::histories::{self, threaded};
use super::whole::{Tally, everything_at_once};
use crate::Wal;

/// Preemptions that the second half of the schedules place, each at a random step.
const PREEMPTIONS: usize = 3;

/// Runs a history under so many schedules: half of them pick any thread at each step, half go by
/// priorities that change a few times. `WAL_MODELS_SEED` draws others and `WAL_MODELS_TIMES` more of
/// them; `WAL_MODELS_REPLAY` runs one, as it was printed. Returns how many it ran.
pub(super) fn draw(name: &str, schedules: u64, history: impl Fn() + Clone + Send + Sync + 'static) -> u64 {
    if let Ok(schedule) = std::env::var("WAL_MODELS_REPLAY") {
        return run(ReplayScheduler::new_from_encoded(&schedule), history);
    }
    let seed = number("WAL_MODELS_SEED", 1);
    let half = usize::try_from(schedules * number("WAL_MODELS_TIMES", 1) / 2).unwrap();
    println!("shuttle {name}: seed {seed}");
    let began = Instant::now();
    let runs = run(RandomScheduler::new_from_seed(seed, half), history.clone())
        + run(PctScheduler::new_from_seed(seed, PREEMPTIONS, half), history);
    println!("shuttle {name}: {runs} schedules in {:.1} s", began.elapsed().as_secs_f64());
    runs
}

fn run(scheduler: impl Scheduler + 'static, history: impl Fn() + Send + Sync + 'static) -> u64 {
    let mut config = Config::new();
    // Recovery is deeper than what a checker expects of a thread.
    config.stack_size = 256 << 10;
    Runner::new(scheduler, config).run(history) as u64
}

fn number(name: &str, usual: u64) -> u64 {
    std::env::var(name).map_or(usual, |text| text.parse().unwrap())
}

#[test]
fn committers_hear_the_truth() {
    draw("committers", 30_000, || histories::committers(4, threaded(true), Wal::commit));
}

#[test]
fn a_failing_sync_is_told_to_every_committer() {
    draw("failing sync", 20_000, || histories::failing_sync(4, threaded(true)));
}

#[test]
fn a_full_disk_is_told_and_nothing_is_lost() {
    draw("full disk", 15_000, || histories::full_disk(4, threaded(true)));
}

#[test]
fn rotation_beside_commits_keeps_every_yes_true() {
    draw("rotation", 10_000, || histories::rotation(4, true));
}

#[test]
fn full_buffers_lose_and_repeat_nothing() {
    draw("full buffers", 10_000, || histories::full_buffers(3, 4));
}

#[test]
fn the_last_one_to_let_go_closes_the_log() {
    draw("closing", 10_000, || histories::last_one_closes(4));
}

#[test]
fn a_queued_committer_is_served() {
    for fails in [false, true] {
        draw("queued", 1_000, move || histories::queued(fails));
    }
}

#[test]
fn the_gate_lets_one_in_at_a_time() {
    draw("gate", 2_000, || histories::gate(4));
}

#[test]
fn a_task_that_awaits_a_commit_is_answered_truly_when_the_log_goes() {
    for closes in [true, false] {
        draw("awaited, no thread", 1_000, move || histories::awaited(closes, false));
        draw("awaited", 1_000, move || histories::awaited(closes, true));
    }
}

#[test]
fn everything_at_once_keeps_every_promise() {
    let tally = Arc::<Tally>::default();
    let counted = Arc::clone(&tally);
    let runs = draw("everything at once", 10_000, move || everything_at_once(Defect::None, &counted));
    assert!(tally.is_rich(runs), "of {runs} runs: {tally:?}");
}

#[test]
fn a_schedule_repeats_to_the_last_step() {
    let every_one_twice =
        UncontrolledNondeterminismCheckScheduler::new(RandomScheduler::new_from_seed(1, 200));
    run(every_one_twice, || everything_at_once(Defect::None, &Tally::default()));
}
