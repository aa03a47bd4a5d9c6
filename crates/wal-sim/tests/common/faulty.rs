//! Histories on a disk where calls go wrong: what was acknowledged stays true all the same.

use wal_sim::{Call, Defect, Fault, Outcome, Pick};

use super::history::{History, Op};
use super::run::{Moment, Run};

/// Runs the history once for each of its syncs (every `step`-th of them): that one fails, and the
/// kernel forgets the pages.
pub fn every_sync_fails(history: &History, defect: Defect, step: u64) -> Result<(), String> {
    every_call_fails(history, defect, Call::Sync, Outcome::Forget(5), false, step).map(|_| ())
}

/// Runs the history once for each call of a kind, which goes wrong; then the process dies, another
/// opens the log on the running machine, goes on, and the power fails. Returns how many runs that were.
pub fn every_call_fails(
    history: &History,
    defect: Defect,
    call: Call,
    outcome: Outcome,
    for_good: bool,
    step: u64,
) -> Result<u64, String> {
    let mut runs = 0;
    for nth in (1..).step_by(usize::try_from(step).unwrap()) {
        let fault = Fault { call, nth, for_good, outcome };
        let told = |what: String| format!("{}: {fault:?}: {what}", history.name);
        match once(history, defect, fault).map_err(told)? {
            true => runs += 1,
            false => break,
        }
    }
    Ok(runs)
}

/// Whether the fault was met at all.
fn once(history: &History, defect: Defect, fault: Fault) -> Result<bool, String> {
    let mut run = Run::new(Moment { disk: history.disk(), ..Moment::default() }, &history.options, defect);
    run.sim.fail(fault);
    let mut went_wrong = run.open_or_refuse()?.is_some();
    let first = run.sim.clone();
    for op in &history.ops {
        // What a truncation that failed left is known only when the log is opened again.
        if !run.is_open() || (went_wrong && matches!(op, Op::Reopen | Op::Kill | Op::Truncate(_))) {
            break;
        }
        // What is refused is no failure of the test; that no promise is broken by it is its matter.
        match run.step(*op) {
            Ok(()) => {}
            Err(what) if what.starts_with(super::run::BROKEN) => return Err(what),
            Err(_) => went_wrong = true,
        }
        if went_wrong && matches!(op, Op::Truncate(_)) {
            break;
        }
    }
    let met = fault.nth <= first.count(fault.call);
    // Power loss at this moment, and the other way: no power loss, another process.
    let moment = run.moment();
    for lost in [true, false] {
        let units = moment.disk.units();
        let pick = |states: u8| Pick::State(if lost { 0 } else { states - 1 });
        let picks: Vec<Pick> = units.iter().map(|unit| pick(unit.states)).collect();
        let disk = moment.disk.after_power_loss(&picks);
        let left = Moment { disk, promise: moment.promise.clone() };
        let mut after = Run::new(left, &history.options, defect);
        after.open().map_err(|what| format!("after power loss, all lost {lost}: {what}"))?;
    }
    run.kill_and_open().map_err(|what| format!("reopened without a reboot: {what}"))?;
    run.go_on(&history.more(1))?;
    run.step(Op::Commit)?;
    let moment = run.moment();
    let left = Moment { disk: moment.disk.after_power_loss(&[]), promise: moment.promise };
    let mut after = Run::new(left, &history.options, defect);
    after.open().map_err(|what| format!("reopened without a reboot, gone on, power lost: {what}"))?;
    Ok(met)
}
