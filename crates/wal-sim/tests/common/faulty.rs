//! Histories on a disk where a call goes wrong: what was acknowledged stays true all the same, whoever asked
//! hears of it, and the message helps.

use wal_sim::faults::CALLS;
use wal_sim::{Call, Defect, Fault, Outcome, Pick};

use super::history::{History, Op};
use super::run::{BROKEN, Moment, Run, told};

/// EIO, ENOSPC, EDQUOT, EINTR, EMFILE, EROFS, EACCES.
const ERRNOS: [i32; 7] = [5, 28, 122, 4, 24, 30, 13];

/// The ways in which a call of this kind can go wrong.
pub fn outcomes(call: Call) -> Vec<Outcome> {
    let mut outcomes: Vec<Outcome> = ERRNOS.into_iter().map(Outcome::Errno).collect();
    match call {
        // A kernel that fails a sync calls its pages clean; or it does not.
        Call::Sync => outcomes.extend([5, 28, 122].map(Outcome::Forget)),
        Call::Read | Call::Write => outcomes.extend([1, 511, 700].map(Outcome::Short)),
        _ => {}
    }
    outcomes
}

/// Runs the history once for each call of a kind, in each way in which it can go wrong, once and for good.
/// Returns how many runs that were.
pub fn every_call(history: &History, defect: Defect, call: Call) -> Result<u64, String> {
    let mut runs = 0;
    for outcome in outcomes(call) {
        for for_good in [false, true] {
            for nth in 1.. {
                if !once(history, defect, Fault { call, nth, for_good, outcome })? {
                    break;
                }
                runs += 1;
            }
        }
    }
    Ok(runs)
}

/// The same with one way for each call, by turns: all of them come to their turn, not at every call.
pub fn every_call_somehow(history: &History, defect: Defect, call: Call, turn: usize) -> Result<u64, String> {
    let outcomes = outcomes(call);
    let mut runs = 0;
    for nth in 1.. {
        let at = turn + usize::try_from(nth).unwrap();
        let for_good = (at / outcomes.len()) & 1 == 0;
        if !once(history, defect, Fault { call, nth, for_good, outcome: outcomes[at % outcomes.len()] })? {
            break;
        }
        runs += 1;
    }
    Ok(runs)
}

/// Everything that can be tried of a history in the second way; calls that change the disk before the many
/// that only look.
pub fn all_calls_somehow(history: &History, defect: Defect, turn: usize) -> Result<u64, String> {
    CALLS.into_iter().rev().map(|call| every_call_somehow(history, defect, call, turn)).sum()
}

/// Runs a history in which one call goes wrong; whether it was met at all. Then the process dies, another
/// opens the log on the running machine, goes on, and the power fails. An error is a schedule, and why.
pub fn once(history: &History, defect: Defect, fault: Fault) -> Result<bool, String> {
    let mut met = true;
    match super::driver::guarded(|| run(history, defect, fault).map(|was_met| met = was_met)) {
        Ok(()) => Ok(met),
        Err(what) => Err(format!("# {what}\nhistory {}\nfail {fault}\n", history.name)),
    }
}

fn run(history: &History, defect: Defect, fault: Fault) -> Result<bool, String> {
    let first = Moment { disk: history.disk(), ..Moment::default() };
    let mut run = Run::new(first, &history.options, defect);
    run.fail(fault);
    if let Some(error) = run.open_or_refuse()? {
        check_message(&error)?;
    }
    for op in &history.ops {
        // What a truncation that failed left is known only when the log is opened again.
        let lives_on = matches!(op, Op::Append(_) | Op::Commit);
        if !run.is_open() || (run.has_met_fault() && !lives_on) {
            break;
        }
        // What is refused is no failure of the test; that no promise is broken by it is its matter.
        let done = if run.has_met_fault() { run.try_step(*op) } else { run.step(*op) };
        match done {
            Err(what) if what.contains(BROKEN) || !run.has_met_fault() => return Err(what),
            _ => {}
        }
    }
    let met = run.has_met_fault();
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
    run.fail_no_more();
    run.kill_and_open().map_err(|what| format!("reopened without a reboot: {what}"))?;
    run.make_room();
    run.go_on(&history.more(1))?;
    run.step(Op::Commit)?;
    let moment = run.moment();
    let left = Moment { disk: moment.disk.after_power_loss(&[]), promise: moment.promise };
    let mut after = Run::new(left, &history.options, defect);
    after.open().map_err(|what| format!("reopened without a reboot, gone on, power lost: {what}"))?;
    Ok(met)
}

fn check_message(error: &wal_engine::Error) -> Result<(), String> {
    let text = told("open", error);
    if text.starts_with(BROKEN) { Err(text) } else { Ok(()) }
}
