//! Samples over time, counted in one pass without knowing the range beforehand, and as a chart in text.
//!
//! Memory is bounded: counts are kept in steps of one rung of a ladder of times, and where they become too
//! many, the next longer rung takes over. Only steps with samples are kept, so that a few stray times far
//! away do not spoil what the bulk looks like.

use std::collections::BTreeMap;
use std::io::{self, Write};

use crate::text;

/// Counts of samples by time.
pub(crate) struct Timeline {
    /// The rung of [`LADDER`] in use.
    rung: usize,
    steps: BTreeMap<i64, u64>,
    /// The step counted last, which is not in `steps` yet: samples of one time come together.
    last: Option<(i64, u64)>,
}

/// Samples in rows of equal length, in order of time; rows without samples are left out.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Chart {
    /// The length of a row, in milliseconds.
    pub(crate) step_ms: i64,
    /// Where each row begins, in milliseconds, and its samples.
    pub(crate) rows: Vec<(i64, u64)>,
    /// Samples with times before the first row: strays that would spoil the picture.
    pub(crate) before: u64,
    /// Samples with times behind the last row.
    pub(crate) after: u64,
}

impl Timeline {
    /// Nothing counted yet.
    pub(crate) fn new() -> Self {
        Self { rung: 0, steps: BTreeMap::new(), last: None }
    }

    /// Counts one sample.
    pub(crate) fn add(&mut self, time_ms: i64) {
        let step = time_ms.div_euclid(LADDER[self.rung]);
        match &mut self.last {
            Some((last, count)) if *last == step => *count += 1,
            _ => {
                self.settle();
                // Settling may have climbed the ladder.
                self.last = Some((time_ms.div_euclid(LADDER[self.rung]), 1));
            }
        }
    }

    /// Puts the step counted last with the others; climbs the ladder while they are too many.
    fn settle(&mut self) {
        if let Some((step, count)) = self.last.take() {
            *self.steps.entry(step).or_default() += count;
        }
        while STEPS_MAX < self.steps.len() && self.rung + 1 < LADDER.len() {
            let times = LADDER[self.rung + 1] / LADDER[self.rung];
            self.rung += 1;
            let mut coarser = BTreeMap::new();
            for (step, count) in &self.steps {
                *coarser.entry(step.div_euclid(times)).or_default() += count;
            }
            self.steps = coarser;
        }
    }

    /// The picture: at most [`ROWS_MAX`] rows around all but one in a thousand samples at either end.
    pub(crate) fn chart(mut self) -> Option<Chart> {
        self.settle();
        let total: u64 = self.steps.values().sum();
        let strays = total / 1000;
        let first = quantile(self.steps.iter(), strays)?;
        let last = quantile(self.steps.iter().rev(), strays)?;
        let rung_ms = LADDER[self.rung];
        let span = |step_ms: i64| {
            // How many rungs make a row: rows begin at whole multiples, as people read clocks.
            let times = step_ms / rung_ms;
            (times, i128::from(last.div_euclid(times)) - i128::from(first.div_euclid(times)) + 1)
        };
        let lengths = LADDER.iter().enumerate().skip(self.rung).flat_map(|(index, &ms)| {
            let next = LADDER.get(index + 1).map_or(2, |next| next / ms);
            [1, 2, 3, 5]
                .into_iter()
                .filter(move |times| *times < next && next % times == 0 || *times == 1)
                .map(move |times| ms * times)
        });
        let step_ms = lengths
            .into_iter()
            .find(|&step_ms| span(step_ms).1 <= ROWS_MAX)
            .unwrap_or(LADDER[LADDER.len() - 1]);
        let (times, _) = span(step_ms);
        let mut chart = Chart { step_ms, rows: Vec::new(), before: 0, after: 0 };
        for (&step, &count) in &self.steps {
            let row = step.div_euclid(times);
            let start_ms = row.saturating_mul(step_ms);
            if row < first.div_euclid(times) {
                chart.before += count;
            } else if last.div_euclid(times) < row {
                chart.after += count;
            } else if let Some((_, samples)) = chart.rows.last_mut().filter(|(start, _)| *start == start_ms) {
                *samples += count;
            } else {
                chart.rows.push((start_ms, count));
            }
        }
        Some(chart)
    }
}

impl Chart {
    /// Writes one line a row, as long as its samples; a stretch without samples is one line.
    pub(crate) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "samples over time, {} a line", duration(self.step_ms))?;
        if self.before != 0 {
            writeln!(out, "  {} with earlier times, not shown", text::count(self.before))?;
        }
        let most = self.rows.iter().map(|(_, samples)| *samples).max().unwrap_or(0);
        let wide = self.rows.iter().map(|(_, samples)| text::count(*samples).len()).max().unwrap_or(0);
        let mut expected = None;
        for &(start_ms, samples) in &self.rows {
            if let Some(expected) = expected.filter(|expected| *expected < start_ms) {
                writeln!(out, "  none for {}", duration(start_ms.saturating_sub(expected)))?;
            }
            let bar = "#".repeat(bar_chars(samples, most));
            writeln!(out, "  {}  {:>wide$}  {bar}", self.row_name(start_ms), text::count(samples))?;
            expected = Some(start_ms.saturating_add(self.step_ms));
        }
        if self.after != 0 {
            writeln!(out, "  {} with later times, not shown", text::count(self.after))?;
        }
        Ok(())
    }

    /// When a row begins, without the parts that its length makes zeros.
    fn row_name(&self, start_ms: i64) -> String {
        let name = text::utc(start_ms);
        match name.strip_suffix(" UTC") {
            Some(time) if self.step_ms % 60_000 == 0 => time.get(..16).unwrap_or(time).to_owned(),
            Some(time) if self.step_ms % 1000 == 0 => time.get(..19).unwrap_or(time).to_owned(),
            Some(time) => time.to_owned(),
            None => name,
        }
    }
}

/// The first step that has more than `strays` samples up to and with it.
fn quantile<'a>(steps: impl Iterator<Item = (&'a i64, &'a u64)>, strays: u64) -> Option<i64> {
    let mut seen = 0;
    for (&step, &count) in steps {
        seen += count;
        if strays < seen {
            return Some(step);
        }
    }
    None
}

/// How long a bar is; one sample is seen, however many there are elsewhere.
fn bar_chars(samples: u64, most: u64) -> usize {
    let chars = u128::from(samples) * BAR_CHARS / u128::from(most.max(1));
    usize::try_from(chars).unwrap_or(0).max(1)
}

/// A length of time in the largest unit that it is a whole multiple of.
fn duration(ms: i64) -> String {
    for (unit, name) in [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1000, "s")] {
        if ms != 0 && ms % unit == 0 {
            return format!("{} {name}", ms / unit);
        }
    }
    format!("{ms} ms")
}

/// Lengths of time in milliseconds, each a whole multiple of the one before.
const LADDER: [i64; 20] = [
    1,
    10,
    100,
    1000,
    10_000,
    60_000,
    600_000,
    3_600_000,
    21_600_000,
    86_400_000,
    864_000_000,
    8_640_000_000,
    86_400_000_000,
    864_000_000_000,
    8_640_000_000_000,
    86_400_000_000_000,
    864_000_000_000_000,
    8_640_000_000_000_000,
    86_400_000_000_000_000,
    864_000_000_000_000_000,
];
const STEPS_MAX: usize = 4096;
const ROWS_MAX: i128 = 24;
const BAR_CHARS: u128 = 50;

#[cfg(test)]
mod tests {
    use super::{Chart, LADDER, STEPS_MAX, Timeline};

    fn chart(times_ms: impl IntoIterator<Item = i64>) -> Option<Chart> {
        let mut timeline = Timeline::new();
        times_ms.into_iter().for_each(|time_ms| timeline.add(time_ms));
        assert!(timeline.steps.len() <= STEPS_MAX + 1);
        timeline.chart()
    }

    #[test]
    fn each_rung_is_a_multiple_of_the_one_before() {
        assert!(LADDER.windows(2).all(|pair| pair[0] < pair[1] && pair[1] % pair[0] == 0));
    }

    #[test]
    fn no_sample_is_counted_twice_or_not_at_all() {
        for step_ms in [1, 7, 250, 15_000, 61_000, 86_400_000, 1 << 50] {
            for count in [1, 2, 100, 20_000] {
                let chart = chart((0..count).map(|index: i64| index.saturating_mul(step_ms) - 5)).unwrap();
                let sum: u64 = chart.rows.iter().map(|(_, samples)| samples).sum();
                assert_eq!(sum + chart.before + chart.after, count as u64, "{step_ms} {count}");
                assert!(chart.rows.len() <= 25, "{} rows", chart.rows.len());
            }
        }
    }

    #[test]
    fn rows_are_as_people_read_clocks() {
        let chart = chart((0..200).map(|minute| 1_700_000_000_000 + minute * 60_000)).unwrap();
        assert_eq!(chart.step_ms, 600_000);
        assert!(chart.rows.iter().all(|(start, _)| start % 600_000 == 0));
        assert_eq!(chart.rows[1].1, 10);
    }

    #[test]
    fn strays_do_not_spoil_the_picture() {
        let bulk = (0..6000).map(|second| 1_700_000_000_000 + second * 1000);
        let chart = chart([i64::MIN, 0].into_iter().chain(bulk).chain([i64::MAX])).unwrap();
        assert_eq!((chart.before, chart.after), (2, 1));
        assert!(5 < chart.rows.len(), "{chart:?}");
        assert!(chart.step_ms <= 600_000, "{chart:?}");
    }

    #[test]
    fn the_extremes_of_time_alone_make_two_rows() {
        let chart = chart([i64::MIN, i64::MAX]).unwrap();
        assert_eq!(chart.rows.iter().map(|(_, samples)| *samples).collect::<Vec<_>>(), [1, 1]);
        assert!(super::Timeline::new().chart().is_none());
    }

    #[test]
    fn a_stretch_without_samples_is_one_line() {
        let times = (0..60).chain(600..660).map(|second| second * 1000);
        let mut out = Vec::new();
        chart(times).unwrap().write(&mut out).unwrap();
        let out = String::from_utf8(out).unwrap();
        assert_eq!(
            out,
            "samples over time, 30 s a line\n  1970-01-01 00:00:00  30  ##################################################\n  \
             1970-01-01 00:00:30  30  ##################################################\n  none for 9 min\n  \
             1970-01-01 00:10:00  30  ##################################################\n  \
             1970-01-01 00:10:30  30  ##################################################\n"
        );
    }
}
