//! A measured line: its rounds, what they are held against, and how that is printed.

/// What is measured once a round, and the goal that it is held against.
pub(crate) struct Line {
    pub(crate) what: String,
    /// One value a round.
    pub(crate) rounds: Vec<f64>,
    pub(crate) unit: Unit,
    pub(crate) goal: Goal,
}

/// How a value is printed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Items a second.
    Rate,
    /// Seconds, of what takes milliseconds.
    Millis,
    /// Seconds, of what takes microseconds.
    Micros,
    /// Bytes.
    Bytes,
}

/// What a line is held against. Ratios to another line are taken round by round: what disturbed one disturbed the
/// other.
pub(crate) enum Goal {
    /// Nothing: others are held against it.
    None,
    /// This many times the rate that the reference has.
    Reference { rate: f64, times: f64 },
    /// At least this part of the other's rounds.
    AtLeast { part: f64, of: &'static str, rounds: Vec<f64> },
    /// At most so many times the other's rounds.
    AtMost { times: f64, of: &'static str, rounds: Vec<f64> },
    /// At most this much.
    Limit(f64),
}

/// The head of the table.
pub(crate) const HEAD: &str =
    "| | measured | median | min - max | goal | ratio | |\n|---|---|---|---|---|---|---|";

impl Line {
    /// A line without a goal.
    pub(crate) fn new(what: impl Into<String>, unit: Unit, rounds: Vec<f64>) -> Line {
        Line { what: what.into(), rounds, unit, goal: Goal::None }
    }

    /// The same line with a goal.
    pub(crate) fn goal(mut self, goal: Goal) -> Line {
        self.goal = goal;
        self
    }

    /// The line in a Markdown table, with the letter of its row.
    pub(crate) fn markdown(&self, row: char) -> String {
        let (least, most) = self
            .rounds
            .iter()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), n| (least.min(*n), most.max(*n)));
        let [median, least, most] = [median(&self.rounds), least, most].map(|value| self.unit.print(value));
        let (goal, ratio, met) = self.judged();
        format!("| {row} | {} | {median} | {least} - {most} | {goal} | {ratio} | {met} |", self.what)
    }

    /// The goal, the ratio that it is about, and whether it is met.
    fn judged(&self) -> (String, String, &'static str) {
        let told = |goal: String, ratio: f64, met: bool| {
            (goal, format!("{ratio:.2}"), if met { "met" } else { "missed" })
        };
        match &self.goal {
            Goal::None => (String::new(), String::new(), ""),
            Goal::Reference { rate, times } => {
                let ratio = median(&self.rounds) / rate;
                told(format!("{times} x {}", Unit::Rate.print(*rate)), ratio, *times <= ratio)
            }
            Goal::AtLeast { part, of, rounds } => {
                let ratio = self.ratio_to(rounds);
                told(format!("{part} of {of}"), ratio, *part <= ratio)
            }
            Goal::AtMost { times, of, rounds } => {
                let ratio = self.ratio_to(rounds);
                told(format!("within {times} of {of}"), ratio, ratio <= *times)
            }
            Goal::Limit(limit) => {
                let ratio = median(&self.rounds) / limit;
                told(format!("at most {}", self.unit.print(*limit)), ratio, ratio <= 1.0)
            }
        }
    }

    fn ratio_to(&self, others: &[f64]) -> f64 {
        let ratios: Vec<f64> = self.rounds.iter().zip(others).map(|(own, other)| own / other).collect();
        median(&ratios)
    }
}

impl Unit {
    fn print(self, value: f64) -> String {
        match self {
            Unit::Rate => format!("{:.2} M/s", value / 1e6),
            Unit::Millis => format!("{:.1} ms", value * 1e3),
            Unit::Micros => format!("{:.1} us", value * 1e6),
            Unit::Bytes => format!("{:.1} MiB", value / f64::from(1 << 20)),
        }
    }
}

/// The middle one of several values; not a number if there are none.
pub(crate) fn median(values: &[f64]) -> f64 {
    part(values, 0.5)
}

/// The value that this part of all is at or below; not a number if there are none.
pub(crate) fn part(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    // The index is within the values for every part up to one.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of a length is one")]
    let at = (sorted.len() as f64 * part) as usize;
    sorted.get(at.min(sorted.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}
