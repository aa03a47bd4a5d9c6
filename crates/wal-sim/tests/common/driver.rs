//! The driver: power loss at every call, in many ways, recovery after each, and again within that.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use wal_sim::{Crash, Defect, Pick, Rng, Schedule, Unit, Ways};

use super::history::History;
use super::run::{Moment, Run};
use super::totals::Totals;

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
    /// So many moments of the life behind a process that died.
    pub killed_moments: usize,
    /// How deep such crashes nest: 1 is none within a recovery.
    pub depth: usize,
    /// How many lives a log has at most, each but the last ended by power loss.
    pub lives: usize,
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
            killed_moments: 3,
            depth: 3,
            lives: 5,
            states_max: u64::MAX,
        }
    }

    /// For a long run with optimisation: up to so many states of one history.
    pub fn long(states_max: u64) -> Self {
        Self {
            outer: Ways { all_up_to: 256, drawn: 24, garbage: true },
            nested: Ways { all_up_to: 16, drawn: 6, garbage: true },
            nested_moments: 24,
            killed_moments: 24,
            states_max,
            ..Self::short()
        }
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

/// Tries histories, and remembers which images it has seen of each.
pub struct Driver {
    pub effort: Effort,
    pub totals: Totals,
    pub defect: Defect,
    seen: HashSet<(u64, u64)>,
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
        let schedule = Schedule { history: history.name.clone(), ..Schedule::default() };
        let moments = guarded(|| moments_of(history, self.defect))
            .map_err(|what| Box::new(Failure { schedule: schedule.clone(), what }))?;
        // What was seen of other histories has other entries or other options behind it.
        self.seen.clear();
        let enough = self.totals.states.saturating_add(self.effort.states_max);
        let ways = self.effort.outer;
        // In any order, so that a run that stops early has not only seen beginnings.
        for at in self.rng.shuffled(moments.len()) {
            let moment = &moments[at];
            self.totals.moments += 1;
            let all = ways.count(&moment.disk.units()) <= ways.all_up_to;
            self.totals.moments_in_full += u64::from(all);
            self.try_moment(history, &schedule, at, moment, ways, enough)?;
            let mut schedule = schedule.clone();
            schedule.crashes.push(Crash { at, picks: None });
            let failed = |what| Box::new(Failure { schedule: schedule.clone(), what });
            let moments = guarded(|| self.kill(history, moment)).map_err(failed)?;
            for _ in 0..self.effort.killed_moments {
                let at = self.rng.below(moments.len());
                self.try_moment(history, &schedule, at, &moments[at], self.effort.nested, enough)?;
            }
            if enough <= self.totals.states {
                break;
            }
        }
        Ok(())
    }

    /// The process dies and the machine does not: another goes on with what the cache shows, of which
    /// nothing needs to be on the disk, and then the power fails. Returns the moments of the second.
    fn kill(&mut self, history: &History, moment: &Moment) -> Result<Vec<Moment>, String> {
        let mut run = Run::new(moment.clone(), &history.options_at(1), self.defect);
        self.totals.killed += 1;
        self.totals.opened += 2;
        let end = live_on(&mut run, history)?;
        let picks = all_or_none(&end.disk.units(), false);
        let left = Moment { disk: end.disk.after_power_loss(&picks), promise: end.promise };
        reopen(left, history, 2, self.defect)?;
        Ok(run.take_moments())
    }

    fn try_moment(
        &mut self,
        history: &History,
        before: &Schedule,
        at: usize,
        moment: &Moment,
        ways: Ways,
        enough: u64,
    ) -> Outcome {
        for picks in ways.of(&moment.disk.units(), &mut self.rng) {
            if enough <= self.totals.states {
                return Ok(());
            }
            let disk = moment.disk.after_power_loss(&picks);
            let left = Moment { disk, promise: moment.promise.clone() };
            if self.is_new(&left) {
                self.state(history, &with_crash(before, at, picks), left, enough)?;
            }
        }
        Ok(())
    }

    /// One durable image: the log is opened on it and judged, opened again, which changes nothing, gone on
    /// with, and loses power once more. What that leaves is such an image again. One in some of these lives
    /// loses power at moments within it, too.
    fn state(&mut self, history: &History, schedule: &Schedule, left: Moment, enough: u64) -> Outcome {
        let failed = |what: String| Box::new(Failure { schedule: schedule.clone(), what });
        let depth = schedule.crashes.len();
        self.totals.image(left.disk.fingerprint());
        let mut run = Run::new(left, &history.options_at(depth), self.defect);
        let nests = depth < self.effort.depth && self.rng.one_in(self.effort.nest_one_in);
        if nests {
            run.record();
        }
        guarded(|| live(&mut run, history, depth)).map_err(failed)?;
        self.totals.count(&run, &history.name, depth);
        let (at, end) = (run.sim.changes(), run.moment());
        if nests {
            let moments = run.take_moments();
            for _ in 0..self.effort.nested_moments {
                let at = self.rng.below(moments.len());
                self.try_moment(history, schedule, at, &moments[at], self.effort.nested, enough)?;
            }
        }
        drop(run);
        let units = end.disk.units();
        let picks = match self.rng.below(4) {
            0 => all_or_none(&units, true),
            1 => all_or_none(&units, false),
            _ => self.effort.nested.draw(&units, &mut self.rng),
        };
        let left = Moment { disk: end.disk.after_power_loss(&picks), promise: end.promise };
        let schedule = with_crash(schedule, at, picks);
        if depth < self.effort.lives && self.totals.states < enough && self.is_new(&left) {
            return self.state(history, &schedule, left, enough);
        }
        self.totals.opened += 1;
        guarded(|| reopen(left, history, depth + 1, self.defect))
            .map_err(|what| Box::new(Failure { schedule, what }))
    }

    fn is_new(&mut self, left: &Moment) -> bool {
        self.seen.insert((left.disk.fingerprint(), left.promise.oracle.shape_number()))
    }
}

fn with_crash(before: &Schedule, at: usize, picks: Vec<Pick>) -> Schedule {
    let mut schedule = before.clone();
    schedule.crashes.push(Crash { at, picks: Some(picks) });
    schedule
}

fn all_or_none(units: &[Unit], all: bool) -> Vec<Pick> {
    units.iter().map(|unit| Pick::State(if all { unit.states - 1 } else { 0 })).collect()
}

/// A panic is a failure like others, and has a schedule.
pub fn guarded<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(format!("panicked: {}", text.unwrap_or_default()))
    })
}

/// A life of the log on a running machine, behind a process that died. Its end; all moments are recorded.
fn live_on(run: &mut Run, history: &History) -> Result<Moment, String> {
    run.record();
    run.open()?;
    run.make_room();
    run.go_on(&history.more(1))?;
    Ok(run.moment())
}

/// A life of the log on a disk where nothing is pending: opened and judged, opened again, gone on with.
fn live(run: &mut Run, history: &History, depth: usize) -> Result<(), String> {
    let before = run.sim.disk();
    run.open_as_read()?;
    if before.is_limited() {
        // On a full disk the log opens and is judged; what it could not repair it repairs when there is room.
        run.drop_log();
        run.make_room();
        run.open().map_err(|what| format!("opened with room again: {what}"))?;
    }
    super::kept::kept_what_it_cut(&before, &run.sim.disk().after_power_loss(&[]))?;
    // Opened again as the process that recovered it left it: nothing is left to repair.
    let once = run.sim.disk();
    let repaired = run.repaired;
    run.drop_log();
    run.open().map_err(|what| format!("opened twice: {what}"))?;
    if run.sim.disk().log_fingerprint() != once.log_fingerprint() || run.repaired != repaired {
        return Err("not idempotent: a second recovery changed the log".to_owned());
    }
    run.go_on(&history.more(depth))
}

fn reopen(left: Moment, history: &History, depth: usize, defect: Defect) -> Result<(), String> {
    Run::new(left, &history.options_at(depth), defect)
        .open()
        .map_err(|what| format!("after going on and another crash: {what}"))
}

/// Runs a history and returns all its moments.
pub fn moments_of(history: &History, defect: Defect) -> Result<Vec<Moment>, String> {
    let first = Moment { disk: history.disk(), ..Moment::default() };
    let mut run = Run::new(first, &history.options, defect);
    run.record();
    run.open()?;
    for op in &history.ops {
        run.step(*op)?;
    }
    Ok(run.take_moments())
}

/// Replays one schedule, from its history on, and tells of each step. The last crash is looked at from
/// all sides.
pub fn replay(schedule: &Schedule, defect: Defect, tell: &mut dyn FnMut(String)) -> Result<(), String> {
    let history = History::named(&schedule.history).ok_or("no such history")?;
    for fault in &schedule.faults {
        super::faulty::once(&history, defect, *fault)?;
    }
    history.ops.iter().for_each(|op| tell(format!("{op:?}")));
    let mut moments = guarded(|| moments_of(&history, defect))?;
    for (index, crash) in schedule.crashes.iter().enumerate() {
        let depth = index + 1;
        tell(format!("crash {} of {}", crash.at, moments.len()));
        let last = moments.pop().unwrap();
        let moment = moments.into_iter().nth(crash.at).unwrap_or(last);
        for (unit, pick) in moment.disk.units().iter().zip(crash.picks.iter().flatten()) {
            tell(format!("{:?}: {pick:?} of {}", unit.kind, unit.states));
        }
        let left = Moment { disk: crash.leaves(&moment.disk), promise: moment.promise };
        left.disk.list().for_each(|(name, bytes)| tell(format!("file {name}, {bytes} bytes")));
        let mut run = Run::new(left, &history.options_at(depth), defect);
        if crash.picks.is_none() {
            guarded(|| live_on(&mut run, &history))?;
        } else {
            run.record();
            guarded(|| live(&mut run, &history, depth))?;
        }
        tell("the log opens and goes on".to_owned());
        for all in [false, true] {
            let Moment { disk, promise } = run.moment();
            let left = Moment { disk: disk.after_power_loss(&all_or_none(&disk.units(), all)), promise };
            guarded(|| reopen(left, &history, depth + 1, defect))?;
        }
        moments = run.take_moments();
    }
    Ok(())
}

/// What a schedule does, for people.
pub fn narrate(schedule: &Schedule, defect: Defect) -> Vec<String> {
    let mut lines = Vec::new();
    if let Err(what) = replay(schedule, defect, &mut |line| lines.push(line)) {
        lines.push(what);
    }
    lines
}

/// A number from the environment.
pub fn from_env(name: &str, or: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(or)
}
