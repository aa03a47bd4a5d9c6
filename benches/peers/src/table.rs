//! What was measured, as tables: medians and ranges of rounds, and ratios taken round by round.

use std::fmt::Write;
use std::time::Duration;

/// Whose figure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Ours,
    Floor,
    Peer,
}

/// One work, done by everybody in every round.
pub(crate) struct Cell {
    title: String,
    unit: &'static str,
    scale: f64,
    lines: Vec<Line>,
}

struct Line {
    name: String,
    kind: Kind,
    /// One a round.
    rates: Vec<f64>,
}

/// What ours should reach.
pub(crate) enum Goal {
    /// So many times the fastest peer.
    BestPeer(f64),
    /// So many times what has this name.
    Other(f64, &'static str),
    /// A rate, which has this name.
    Rate(f64, &'static str),
}

/// All tables, in the order of the work, and the goals.
#[derive(Default)]
pub(crate) struct Report {
    tables: String,
    goals: String,
    missed: usize,
    met: usize,
}

/// Items a second.
pub(crate) fn rate(items: usize, elapsed: Duration) -> f64 {
    items as f64 / elapsed.as_secs_f64()
}

impl Cell {
    pub(crate) fn new(title: String, unit: &'static str, scale: f64) -> Self {
        eprintln!("{title}");
        Self { title, unit, scale, lines: Vec::new() }
    }

    /// Notes the rate of one round.
    pub(crate) fn add(&mut self, round: usize, name: &str, kind: Kind, rate: f64) {
        match self.lines.iter_mut().find(|line| line.name == name) {
            Some(line) => line.rates.push(rate),
            None => self.lines.push(Line { name: name.to_owned(), kind, rates: vec![rate] }),
        }
        debug_assert!(self.lines.iter().all(|line| line.rates.len().abs_diff(round) <= 1));
    }

    fn line(&self, name: &str) -> Option<&Line> {
        self.lines.iter().find(|line| line.name == name)
    }

    fn best_peer(&self) -> Option<&Line> {
        let peers = self.lines.iter().filter(|line| line.kind == Kind::Peer);
        peers.max_by(|a, b| Spread::of(&a.rates).median.total_cmp(&Spread::of(&b.rates).median))
    }
}

/// Median and range.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Spread {
    median: f64,
    min: f64,
    max: f64,
}

impl Spread {
    fn of(values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
        let middle = sorted.len() / 2;
        let median = if sorted.len().is_multiple_of(2) {
            (at(middle.wrapping_sub(1)) + at(middle)) / 2.0
        } else {
            at(middle)
        };
        Self { median, min: at(0), max: at(sorted.len().wrapping_sub(1)) }
    }

    /// Of the quotients of what was measured in the same round.
    fn of_ratios(ours: &[f64], theirs: &[f64]) -> Self {
        let ratios: Vec<f64> = ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect();
        Self::of(&ratios)
    }
}

impl Report {
    /// Adds the table of one work; the last column says how many times the others `ours` is.
    pub(crate) fn cell(&mut self, cell: &Cell, ours: &str) {
        let rounds = cell.lines.first().map_or(0, |line| line.rates.len());
        let own = cell.line(ours).map_or(&[][..], |line| &line.rates);
        let text = &mut self.tables;
        *text += &format!("\n{} ({rounds} rounds)\n\n", cell.title);
        *text += &format!(
            "| | median {unit} | min | max | {ours} / this |\n|---|---|---|---|---|\n",
            unit = cell.unit
        );
        for line in &cell.lines {
            let Spread { median, min, max } = Spread::of(&line.rates);
            let ratio = Spread::of_ratios(own, &line.rates).median;
            let [median, min, max] = [median, min, max].map(|rate| figure(rate / cell.scale));
            // Writing to a string does not fail.
            let _ = writeln!(text, "| {} | {median} | {min} | {max} | {ratio:.2} |", line.name);
        }
    }

    /// Adds a line behind the table.
    pub(crate) fn line(&mut self, line: &str) {
        let _ = writeln!(self.tables, "\n{line}");
    }

    /// Holds `ours` against a goal.
    pub(crate) fn goal(&mut self, row: &str, goal: Goal, cell: &Cell, ours: &str) {
        let own = cell.line(ours).map_or(&[][..], |line| &line.rates);
        let (least, what, ratio) = match goal {
            Goal::BestPeer(least) => match cell.best_peer() {
                Some(peer) => (least, peer.name.clone(), Spread::of_ratios(own, &peer.rates)),
                None => (least, "a peer".to_owned(), Spread::of(&[])),
            },
            Goal::Other(least, name) => {
                let theirs = cell.line(name).map_or(&[][..], |line| &line.rates);
                (least, name.to_owned(), Spread::of_ratios(own, theirs))
            }
            Goal::Rate(rate, name) => {
                let ratios: Vec<f64> = own.iter().map(|own| own / rate).collect();
                let rate = figure(rate / cell.scale);
                (1.0, format!("{name}, {rate} {}", cell.unit), Spread::of(&ratios))
            }
        };
        let met = least <= ratio.median;
        if met {
            self.met += 1;
        } else {
            self.missed += 1;
        }
        let word = if met { "met" } else { "**missed**" };
        let Spread { median, min, max } = ratio;
        let _ = writeln!(
            self.goals,
            "| {row} | {ours} | {what} | {least:.2} | {median:.2} | {min:.2}-{max:.2} | {word} |"
        );
    }

    /// Everything, goals first; unless `judged`, the goals are left out.
    pub(crate) fn print(&self, machine: &str, judged: bool) {
        println!("{machine}");
        if !judged {
            println!("Everything once and small: these figures say nothing.\n{}", self.tables);
            return;
        }
        println!();
        println!("| row | of | against | goal | ratio | range | |\n|---|---|---|---|---|---|---|");
        print!("{}", self.goals);
        println!("\n{} goals met, {} missed.", self.met, self.missed);
        print!("{}", self.tables);
    }
}

/// Three digits that mean something.
fn figure(value: f64) -> String {
    match value {
        value if value < 10.0 => format!("{value:.2}"),
        value if value < 100.0 => format!("{value:.1}"),
        value => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell() -> Cell {
        let mut cell = Cell::new("work".to_owned(), "k/s", 1e3);
        for (round, rates) in [[6e3, 2e3, 3e3], [8e3, 2e3, 9e3], [4e3, 4e3, 1e3]].into_iter().enumerate() {
            cell.add(round, "ours", Kind::Ours, rates[0]);
            cell.add(round, "slow", Kind::Peer, rates[1]);
            cell.add(round, "fast", Kind::Peer, rates[2]);
        }
        cell
    }

    #[test]
    fn the_best_peer_is_the_one_with_the_highest_median() {
        assert_eq!(cell().best_peer().unwrap().name, "fast");
    }

    #[test]
    fn ratios_are_taken_round_by_round() {
        let mut report = Report::default();
        report.goal("row", Goal::BestPeer(1.5), &cell(), "ours");
        report.goal("row", Goal::Other(3.5, "slow"), &cell(), "ours");
        report.goal("row", Goal::Rate(5e3, "a rate"), &cell(), "ours");
        let lines: Vec<&str> = report.goals.lines().collect();
        assert_eq!(lines[0], "| row | ours | fast | 1.50 | 2.00 | 0.89-4.00 | met |");
        assert_eq!(lines[1], "| row | ours | slow | 3.50 | 3.00 | 1.00-4.00 | **missed** |");
        assert_eq!(lines[2], "| row | ours | a rate, 5.00 k/s | 1.00 | 1.20 | 0.80-1.60 | met |");
        assert_eq!((report.met, report.missed), (2, 1));
    }

    #[test]
    fn the_median_of_an_even_number_lies_between() {
        assert_eq!(Spread::of(&[4.0, 1.0, 3.0, 2.0]), Spread { median: 2.5, min: 1.0, max: 4.0 });
    }

    #[test]
    fn what_was_not_measured_meets_no_goal() {
        let mut report = Report::default();
        report.goal("row", Goal::BestPeer(0.0), &cell(), "nobody");
        assert_eq!((report.met, report.missed), (0, 1));
    }
}
