//! The driver: power loss at every call, in many ways, recovery after each, and again within that.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use wal_engine::{RecoveryMode, WalOptions};
use wal_sim::{Crash, Defect, Disk, Oracle, Pick, Rng, Schedule, Unit, Ways};

use super::entry::Entry;
use super::history::History;
use super::run::{Moment, Run};

/// How much is tried.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Ways of losing power at each moment of the history itself.
    pub outer: Ways,
    /// The same at moments within a recovery and what follows it.
    pub nested: Ways,
    /// One recovery in so many has its own moments tried.
    pub nest_one_in: usize,
    /// So many of them.
    pub nested_moments: usize,
    /// One recovery in so many is done twice.
    pub twice_one_in: usize,
    /// How deep crashes nest: 1 is none within a recovery.
    pub depth: usize,
    /// Stops when so many states were tried.
    pub states_max: u64,
}

impl Effort {
    /// For a test without optimisation.
    pub fn short() -> Self {
        Self {
            outer: Ways { all_up_to: 64, drawn: 10, garbage: true },
            nested: Ways { all_up_to: 8, drawn: 4, garbage: true },
            nest_one_in: 8,
            nested_moments: 12,
            twice_one_in: 2,
            depth: 3,
            states_max: u64::MAX,
        }
    }
}

/// What was tried.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    /// Distinct durable images that a log was opened on.
    pub states: u64,
    /// Of these, within a recovery or what follows it.
    pub nested: u64,
    /// Of these, from histories with rotation or truncation, or in need of repair.
    pub structural: u64,
    /// Processes that died while the machine went on.
    pub killed: u64,
    /// Logs opened.
    pub opened: u64,
    /// Recoveries that repaired something.
    pub repaired: u64,
    /// Recoveries that called a torn tail damage, as they may when no mark tells the two apart.
    pub called_damage: u64,
}

impl Totals {
    pub fn add(&mut self, other: &Self) {
        self.states += other.states;
        self.nested += other.nested;
        self.structural += other.structural;
        self.killed += other.killed;
        self.opened += other.opened;
        self.repaired += other.repaired;
        self.called_damage += other.called_damage;
    }
}

/// A crash that the log did not survive.
#[derive(Clone, Debug)]
pub struct Failure {
    pub schedule: Schedule,
    pub what: String,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "# {}\n{}", self.what, self.schedule)
    }
}

pub struct Driver {
    pub effort: Effort,
    pub totals: Totals,
    pub defect: Defect,
    seen: HashSet<u64>,
    rng: Rng,
}

type Outcome = Result<(), Box<Failure>>;

impl Driver {
    pub fn new(effort: Effort, seed: u64) -> Self {
        let (totals, seen) = (Totals::default(), HashSet::new());
        Self { effort, totals, defect: Defect::None, seen, rng: Rng::new(seed) }
    }

    /// Tries a history: power loss at each of its moments.
    pub fn try_history(&mut self, history: &History) -> Outcome {
        let schedule = Schedule { history: history.name.clone(), crashes: Vec::new() };
        let moments = moments_of(history, self.defect)
            .map_err(|what| Box::new(Failure { schedule: schedule.clone(), what }))?;
        let ways = self.effort.outer;
        // In any order, so that a run that stops early has not only seen beginnings.
        for at in self.rng.shuffled(moments.len()) {
            let moment = &moments[at];
            self.try_moment(history, &schedule, at, moment, ways)?;
            let mut schedule = schedule.clone();
            schedule.crashes.push(Crash { at, picks: None });
            self.kill(history, moment).map_err(|what| Box::new(Failure { schedule, what }))?;
            if self.is_enough() {
                break;
            }
        }
        Ok(())
    }

    /// The process dies and the machine does not: another goes on with what the cache shows, of which
    /// nothing needs to be on the disk, and then the power fails.
    fn kill(&mut self, history: &History, moment: &Moment) -> Result<(), String> {
        let options = options_at(history, 1);
        let mut run = Run::new(moment.disk.clone(), moment.oracle.clone(), &options, self.defect);
        run.open()?;
        self.totals.killed += 1;
        self.totals.opened += 2;
        reopen(go_on(&mut run, history, 1, false)?, history, 1, self.defect)
    }

    fn is_enough(&self) -> bool {
        self.effort.states_max <= self.totals.states
    }

    fn try_moment(
        &mut self,
        history: &History,
        before: &Schedule,
        at: usize,
        moment: &Moment,
        ways: Ways,
    ) -> Outcome {
        for picks in ways.of(&moment.disk.units(), &mut self.rng) {
            if self.is_enough() {
                return Ok(());
            }
            let disk = moment.disk.after_power_loss(&picks);
            if !self.is_new(&disk, &moment.oracle, history) {
                continue;
            }
            let mut schedule = before.clone();
            schedule.crashes.push(Crash { at, picks: Some(picks) });
            self.totals.states += 1;
            self.totals.nested += u64::from(1 < schedule.crashes.len());
            self.recover(history, &schedule, disk, moment.oracle.clone())?;
        }
        Ok(())
    }

    /// Opens the log that a crash left and goes on with it; by turns with crashes within that, or with
    /// closer looks at what it comes to.
    fn recover(
        &mut self,
        history: &History,
        schedule: &Schedule,
        disk: Disk,
        oracle: Oracle<Entry>,
    ) -> Outcome {
        let failed = |what: String| Box::new(Failure { schedule: schedule.clone(), what });
        let depth = schedule.crashes.len();
        let mut run = Run::new(disk, oracle, &options_at(history, depth), self.defect);
        let mut fresh = 0;
        if depth < self.effort.depth && self.rng.one_in(self.effort.nest_one_in) {
            let moments = follow(&mut run, history, depth).map_err(failed)?;
            self.totals.opened += 1;
            for _ in 0..self.effort.nested_moments {
                let at = self.rng.below(moments.len());
                self.try_moment(history, schedule, at, &moments[at], self.effort.nested)?;
            }
        } else {
            let before = run.sim.disk();
            run.open().map_err(failed)?;
            super::kept::kept_what_it_cut(&before, &run.sim.disk().after_power_loss(&[])).map_err(failed)?;
            let twice = self.rng.one_in(self.effort.twice_one_in);
            if twice {
                settle(&mut run).map_err(failed)?;
            }
            let keep_all = self.rng.one_in(2);
            let ghost = go_on(&mut run, history, depth, keep_all).map_err(failed)?;
            fresh = u64::from(self.is_new(&ghost.disk, &ghost.oracle, history));
            self.totals.states += fresh;
            self.totals.nested += fresh;
            reopen(ghost, history, depth, self.defect).map_err(failed)?;
            self.totals.opened += 2 + u64::from(twice);
        }
        self.totals.called_damage += run.called_damage;
        let repaired = run.repaired != 0;
        self.totals.repaired += u64::from(repaired);
        let structural = repaired || !matches!(history.name.split(' ').next(), Some("fresh" | "appends"));
        self.totals.structural += u64::from(structural) * (1 + fresh);
        Ok(())
    }

    fn is_new(&mut self, disk: &Disk, oracle: &Oracle<Entry>, history: &History) -> bool {
        let mut hasher = DefaultHasher::new();
        (disk.fingerprint(), oracle.shape(), &history.name).hash(&mut hasher);
        self.seen.insert(hasher.finish())
    }
}

/// Opens the log again as the process that recovered it left it: nothing is left to repair.
fn settle(run: &mut Run) -> Result<(), String> {
    let once = run.sim.disk().log_fingerprint();
    let repaired = run.repaired;
    run.drop_log();
    run.open().map_err(|what| format!("opened twice: {what}"))?;
    if run.sim.disk().log_fingerprint() != once || run.repaired != repaired {
        return Err("a second recovery changed the log".to_owned());
    }
    Ok(())
}

/// Goes on with the log and loses power at the end: whatever the crash before left behind the new end
/// must not come back with it.
fn go_on(run: &mut Run, history: &History, depth: usize, keep_all: bool) -> Result<Moment, String> {
    for op in history.more(&mut Rng::new(depth as u64), next_id(history, depth)) {
        run.step(op)?;
    }
    let Moment { disk, oracle } = run.moment();
    let kept = |unit: &Unit| if keep_all { Pick::State(unit.states - 1) } else { Pick::State(0) };
    let picks: Vec<Pick> = disk.units().iter().map(kept).collect();
    Ok(Moment { disk: disk.after_power_loss(&picks), oracle })
}

fn reopen(left: Moment, history: &History, depth: usize, defect: Defect) -> Result<(), String> {
    let mut run = Run::new(left.disk, left.oracle, &options_at(history, depth + 1), defect);
    run.open().map_err(|what| format!("after going on and another crash: {what}"))
}

/// Opens the log with every moment kept, and goes on with it for a while.
fn follow(run: &mut Run, history: &History, depth: usize) -> Result<Vec<Moment>, String> {
    run.record();
    if run.sim.disk().units().is_empty() {
        run.open_as_read()?;
    } else {
        run.open()?;
    }
    for op in history.more(&mut Rng::new(depth as u64), next_id(history, depth)) {
        run.step(op)?;
    }
    Ok(run.take_moments())
}

/// Runs a history and returns all its moments.
pub fn moments_of(history: &History, defect: Defect) -> Result<Vec<Moment>, String> {
    let mut run = Run::new(Disk::new(), Oracle::default(), &history.options, defect);
    run.record();
    run.open()?;
    for op in &history.ops {
        run.step(*op)?;
    }
    Ok(run.take_moments())
}

/// Replays one schedule, from its history on, with every look at the last recovery there is.
pub fn replay(schedule: &Schedule, defect: Defect) -> Result<(), String> {
    let history = History::named(&schedule.history).ok_or("no such history")?;
    let mut moments = moments_of(&history, defect)?;
    for (index, crash) in schedule.crashes.iter().enumerate() {
        let depth = index + 1;
        let last = moments.pop().unwrap();
        let Moment { disk, oracle } = moments.into_iter().nth(crash.at).unwrap_or(last);
        let disk = crash.leaves(&disk);
        let options = options_at(&history, depth);
        if depth == schedule.crashes.len() {
            for keep_all in [false, true] {
                let mut run = Run::new(disk.clone(), oracle.clone(), &options, defect);
                run.open()?;
                super::kept::kept_what_it_cut(&disk, &run.sim.disk().after_power_loss(&[]))?;
                settle(&mut run)?;
                reopen(go_on(&mut run, &history, depth, keep_all)?, &history, depth, defect)?;
            }
        }
        moments = follow(&mut Run::new(disk, oracle, &options, defect), &history, depth)?;
    }
    Ok(())
}

/// What each pending change of the schedule's last crash was, for people.
pub fn narrate(schedule: &Schedule, defect: Defect) -> Vec<String> {
    let mut lines = Vec::new();
    let Some(history) = History::named(&schedule.history) else { return lines };
    let Ok(mut moments) = moments_of(&history, defect) else { return lines };
    lines.extend(history.ops.iter().map(|op| format!("{op:?}")));
    for (index, crash) in schedule.crashes.iter().enumerate() {
        let Some(moment) = moments.get(crash.at.min(moments.len() - 1)) else { break };
        lines.push(format!("crash {} of {}", crash.at, moments.len()));
        let units = moment.disk.units();
        lines.extend(
            units
                .iter()
                .zip(crash.picks.iter().flatten())
                .map(|(unit, pick)| format!("{:?}: {pick:?} of {}", unit.kind, unit.states)),
        );
        let disk = crash.leaves(&moment.disk);
        lines.extend(disk.list().map(|(name, bytes)| format!("file {name}, {bytes} bytes")));
        let mut run = Run::new(disk, moment.oracle.clone(), &options_at(&history, index + 1), defect);
        match follow(&mut run, &history, index + 1) {
            Ok(next) => {
                lines.push("the log opens and goes on".to_owned());
                moments = next;
            }
            Err(what) => {
                lines.push(what);
                break;
            }
        }
    }
    lines
}

/// Recoveries take turns in the mode that refuses damage and the one that does not.
fn options_at(history: &History, depth: usize) -> WalOptions {
    let modes = [RecoveryMode::PointInTime, RecoveryMode::TolerateTornTail];
    history.options.clone().recovery_mode(modes[depth % 2])
}

fn next_id(history: &History, depth: usize) -> u32 {
    history.next_id + 100 * u32::try_from(depth).unwrap()
}

/// A number from the environment.
pub fn from_env(name: &str, or: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(or)
}
