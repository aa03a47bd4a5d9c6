//! The driver: power loss at every call, in many ways, recovery after each, and again within that.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use wal_engine::{RecoveryMode, WalOptions};
use wal_sim::{Crash, Defect, Disk, Oracle, Pick, Rng, Schedule, Ways};

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
        for (at, moment) in moments.iter().enumerate() {
            self.try_moment(history, &schedule, at, moment, ways)?;
        }
        Ok(())
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
            schedule.crashes.push(Crash { at, picks });
            self.totals.states += 1;
            self.totals.nested += u64::from(1 < schedule.crashes.len());
            self.recover(history, &schedule, &disk, &moment.oracle)?;
        }
        Ok(())
    }

    /// Opens the log that a crash left, twice, goes on with it, and loses power again.
    fn recover(
        &mut self,
        history: &History,
        schedule: &Schedule,
        disk: &Disk,
        oracle: &Oracle<Entry>,
    ) -> Outcome {
        let failed = |what: String| Box::new(Failure { schedule: schedule.clone(), what });
        let depth = schedule.crashes.len();
        let nests = depth < self.effort.depth && self.rng.one_in(self.effort.nest_one_in);
        let mut run = Run::new(disk.clone(), oracle.clone(), &options_at(history, depth), self.defect);
        let report = if nests {
            let (report, moments) = follow(&mut run, history, depth).map_err(failed)?;
            let ways = self.effort.nested;
            for _ in 0..self.effort.nested_moments {
                let at = self.rng.below(moments.len());
                self.try_moment(history, schedule, at, &moments[at], ways)?;
            }
            self.totals.opened += 1;
            report
        } else {
            let report = run.open().map_err(failed)?;
            run.drop_log();
            let once = run.sim.disk();
            let found = run.moment().oracle;
            let mut again = Run::new(once.clone(), found, &options_at(history, depth), self.defect);
            let second = again.open().map_err(|what| failed(format!("opened twice: {what}")))?;
            again.drop_log();
            if once.log_fingerprint() != again.sim.disk().log_fingerprint() || !second.quarantined.is_empty()
            {
                return Err(failed("a second recovery changed the log".to_owned()));
            }
            let more = history.more(&mut Rng::new(depth as u64), next_id(history, depth));
            again.open().map_err(failed)?;
            for op in more {
                again.step(op).map_err(failed)?;
            }
            // Ghosts: whatever the first crash left behind the new end must not come back with it.
            let Moment { disk, oracle } = again.moment();
            let units = disk.units();
            let mut picks: Vec<Pick> = units.iter().map(|_| Pick::State(0)).collect();
            if self.rng.one_in(2) {
                picks = units.iter().map(|unit| Pick::State(unit.states - 1)).collect();
            }
            let ghost = disk.after_power_loss(&picks);
            let mut last = Run::new(ghost, oracle, &options_at(history, depth), self.defect);
            last.open()
                .map_err(|what| failed(format!("after going on and a crash (picks {picks:?}): {what}")))?;
            self.totals.opened += 4;
            report
        };
        self.totals.called_damage += run.called_damage;
        let repaired = report.cut_at.is_some();
        self.totals.repaired += u64::from(repaired);
        let structural = repaired || !matches!(history.name.split(' ').next(), Some("fresh" | "appends"));
        self.totals.structural += u64::from(structural);
        Ok(())
    }

    fn is_new(&mut self, disk: &Disk, oracle: &Oracle<Entry>, history: &History) -> bool {
        let mut hasher = DefaultHasher::new();
        (disk.fingerprint(), oracle.shape(), &history.name).hash(&mut hasher);
        self.seen.insert(hasher.finish())
    }
}

/// Opens the log with every moment kept, and goes on with it for a while.
fn follow(
    run: &mut Run,
    history: &History,
    depth: usize,
) -> Result<(wal_engine::RecoveryReport, Vec<Moment>), String> {
    run.record();
    let report = run.open_as_read()?;
    for op in history.more(&mut Rng::new(depth as u64), next_id(history, depth)) {
        run.step(op)?;
    }
    Ok((report, run.take_moments()))
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

/// Replays one schedule, from its history on.
pub fn replay(schedule: &Schedule, defect: Defect) -> Result<(), String> {
    let history = History::named(&schedule.history).ok_or("no such history")?;
    let mut moments = moments_of(&history, defect)?;
    for (index, crash) in schedule.crashes.iter().enumerate() {
        let depth = index + 1;
        let last = moments.pop().unwrap();
        let moment = moments.into_iter().nth(crash.at).unwrap_or(last);
        let disk = moment.disk.after_power_loss(&crash.picks);
        let mut run = Run::new(disk, moment.oracle, &options_at(&history, depth), defect);
        moments = follow(&mut run, &history, depth)?.1;
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
                .zip(&crash.picks)
                .map(|(unit, pick)| format!("{:?}: {pick:?} of {}", unit.kind, unit.states)),
        );
        let disk = moment.disk.after_power_loss(&crash.picks);
        lines.extend(disk.list().map(|(name, bytes)| format!("file {name}, {bytes} bytes")));
        let mut run = Run::new(disk, moment.oracle.clone(), &options_at(&history, index + 1), defect);
        match follow(&mut run, &history, index + 1) {
            Ok((report, next)) => {
                lines.push(format!("opened: {report:?}"));
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

/// The mode that does not refuse damage: whether any is found, the run asks itself.
fn options_at(history: &History, _: usize) -> WalOptions {
    history.options.clone().recovery_mode(RecoveryMode::PointInTime)
}

fn next_id(history: &History, depth: usize) -> u32 {
    history.next_id + 100 * u32::try_from(depth).unwrap()
}

/// A number from the environment.
pub fn from_env(name: &str, or: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(or)
}
