//! A crash as text: which history, at which calls the power failed, and what survived each time.

use std::fmt;
use std::str::FromStr;

use crate::choice::Pick;
use crate::disk::Disk;
use crate::faults::Fault;

/// One power loss, or one process that dies while the machine goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crash {
    /// Before the call of this number among those that change the disk, counted from 0 since the log
    /// was last opened; beyond the last means after it.
    pub at: usize,
    /// What became of each pending change; `None` when the power did not fail, so that all are still
    /// pending.
    pub picks: Option<Vec<Pick>>,
}

/// A history and the crashes in it, each within what followed the one before. Prints as a few lines,
/// and reads back from them:
///
/// ```text
/// history mixed 42
/// crash 17 keep 0 1 1 g
/// crash 3 keep 1
/// kill 5
/// ```
///
/// Before the crashes a line `fail Sync 3 once forget 5` has the third sync of the history go wrong.
///
/// Lines that begin with `#` are for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schedule {
    /// The name and seed of the history, in one word or several.
    pub history: String,
    /// Calls that go wrong in the history.
    pub faults: Vec<Fault>,
    /// The crashes, first to last.
    pub crashes: Vec<Crash>,
}

impl Crash {
    /// The disk that it leaves of this one.
    #[must_use]
    pub fn leaves(&self, disk: &Disk) -> Disk {
        self.picks.as_ref().map_or_else(|| disk.clone(), |picks| disk.after_power_loss(picks))
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "history {}", self.history)?;
        for fault in &self.faults {
            writeln!(f, "fail {fault}")?;
        }
        for crash in &self.crashes {
            let Some(picks) = &crash.picks else {
                writeln!(f, "kill {}", crash.at)?;
                continue;
            };
            write!(f, "crash {} keep", crash.at)?;
            for pick in picks {
                match pick {
                    Pick::State(n) => write!(f, " {n}")?,
                    Pick::Garbage => f.write_str(" g")?,
                }
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

impl FromStr for Schedule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut schedule = Self::default();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if let Some(history) = line.strip_prefix("history ") {
                history.trim().clone_into(&mut schedule.history);
            } else if let Some(crash) = line.strip_prefix("crash ") {
                schedule.crashes.push(crash_of(crash).ok_or_else(|| format!("no crash: {line:?}"))?);
            } else if let Some(fault) = line.strip_prefix("fail ") {
                schedule.faults.push(fault.parse()?);
            } else if let Some(at) = line.strip_prefix("kill ") {
                let at = at.trim().parse().map_err(|_| format!("no number of a call: {line:?}"))?;
                schedule.crashes.push(Crash { at, picks: None });
            } else {
                return Err(format!("a line begins with history, fail, crash, kill or #: {line:?}"));
            }
        }
        Ok(schedule)
    }
}

fn crash_of(text: &str) -> Option<Crash> {
    let mut words = text.split_whitespace();
    let at = words.next()?.parse().ok()?;
    if words.next()? != "keep" {
        return None;
    }
    let picks = words.map(|word| match word {
        "g" => Some(Pick::Garbage),
        n => n.parse().ok().map(Pick::State),
    });
    Some(Crash { at, picks: Some(picks.collect::<Option<_>>()?) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::{Call, Outcome};

    #[test]
    fn a_schedule_reads_back_from_its_text() {
        let crash = Crash { at: 17, picks: Some(vec![Pick::State(0), Pick::Garbage, Pick::State(2)]) };
        let end = Crash { at: 3, picks: Some(Vec::new()) };
        let kill = Crash { at: 5, picks: None };
        let fault = Fault { call: Call::Sync, nth: 3, for_good: false, outcome: Outcome::Forget(5) };
        let good = Fault { call: Call::Read, nth: 1, for_good: true, outcome: Outcome::Short(7) };
        let (history, faults) = ("mixed 42".to_owned(), vec![fault, good]);
        let schedule = Schedule { history, faults, crashes: vec![crash, end, kill] };
        let text = schedule.to_string();
        let fails = "fail Sync 3 once forget 5\nfail Read 1 for-good short 7\n";
        assert_eq!(text, format!("history mixed 42\n{fails}crash 17 keep 0 g 2\ncrash 3 keep\nkill 5\n"));
        assert_eq!(format!("# lost\n\n  {text}").parse(), Ok(schedule));
    }

    #[test]
    fn what_is_no_schedule_is_refused() {
        for bad in [
            "crash x keep",
            "crash 3",
            "crash 3 keep x",
            "smash 3",
            "kill",
            "kill x",
            "fail Sync 3",
            "fail x 3 once errno 5",
        ] {
            assert!(bad.parse::<Schedule>().is_err(), "{bad}");
        }
    }
}
