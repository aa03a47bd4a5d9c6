//! Closed time ranges, and sets of them.

use std::mem;
use std::slice;

/// A closed range of time: both ends belong to it. Milliseconds since the Unix epoch.
///
/// A range whose end lies before its start is *inverted*: it holds no time. The log keeps such rows as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Interval {
    /// The first time in the range, in milliseconds.
    pub mint_ms: i64,
    /// The last time in the range, in milliseconds.
    pub maxt_ms: i64,
}

impl Interval {
    /// The range from `mint_ms` to `maxt_ms`, both included.
    pub fn new(mint_ms: i64, maxt_ms: i64) -> Self {
        Interval { mint_ms, maxt_ms }
    }

    /// Whether `time_ms` lies in the range.
    pub fn contains(&self, time_ms: i64) -> bool {
        self.mint_ms <= time_ms && time_ms <= self.maxt_ms
    }

    /// Whether the range ends before it starts, and so holds no time.
    pub fn is_inverted(&self) -> bool {
        self.maxt_ms < self.mint_ms
    }
}

/// A list of time ranges: kept sorted and merged by [`add`](Intervals::add), or exactly as given by
/// [`from_verbatim`](Intervals::from_verbatim).
///
/// Equality compares the rows, in order.
#[derive(Clone, Debug, Default)]
pub struct Intervals {
    rows: Vec<Interval>,
    /// Whether the rows are as the caller gave them, not known to be sorted and apart.
    verbatim: bool,
}

impl Intervals {
    /// No ranges.
    pub fn new() -> Self {
        Intervals::default()
    }

    /// Keeps `rows` as they are: unsorted, overlapping and inverted ones included.
    pub fn from_verbatim(rows: Vec<Interval>) -> Self {
        Intervals { rows, verbatim: true }
    }

    /// Adds a range, merging it with those that it overlaps or touches; an inverted one is ignored.
    ///
    /// On a verbatim list the rows that are there are merged first.
    pub fn add(&mut self, interval: Interval) {
        if mem::take(&mut self.verbatim) {
            for row in mem::take(&mut self.rows) {
                self.merge(row);
            }
        }
        self.merge(interval);
    }

    /// The ranges in order.
    pub fn as_slice(&self) -> &[Interval] {
        &self.rows
    }

    /// The ranges in order.
    pub fn iter(&self) -> slice::Iter<'_, Interval> {
        self.rows.iter()
    }

    /// How many ranges there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are no ranges.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Whether some range holds `time_ms`. Logarithmic on a merged list, linear on a verbatim one.
    pub fn contains(&self, time_ms: i64) -> bool {
        if self.verbatim {
            return self.rows.iter().any(|row| row.contains(time_ms));
        }
        let after = self.rows.partition_point(|row| row.maxt_ms < time_ms);
        self.rows.get(after).is_some_and(|row| row.contains(time_ms))
    }

    /// Merges one range into rows that are sorted and apart.
    fn merge(&mut self, mut interval: Interval) {
        if interval.is_inverted() {
            return;
        }
        // Neighbours join too, so the bounds reach one further out; at the ends of time there is no neighbour.
        let reach = Interval::new(interval.mint_ms.saturating_sub(1), interval.maxt_ms.saturating_add(1));
        let first = self.rows.partition_point(|row| row.maxt_ms < reach.mint_ms);
        let touched = self.rows.get(first..).unwrap_or_default();
        let count = touched.partition_point(|row| row.mint_ms <= reach.maxt_ms);
        for row in touched.iter().take(count) {
            interval.mint_ms = interval.mint_ms.min(row.mint_ms);
            interval.maxt_ms = interval.maxt_ms.max(row.maxt_ms);
        }
        self.rows.splice(first..first + count, [interval]);
    }
}

impl PartialEq for Intervals {
    fn eq(&self, other: &Self) -> bool {
        self.rows == other.rows
    }
}

impl Eq for Intervals {}

impl std::hash::Hash for Intervals {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.rows.hash(state);
    }
}

impl FromIterator<Interval> for Intervals {
    /// Adds and merges every range.
    fn from_iter<I: IntoIterator<Item = Interval>>(rows: I) -> Self {
        let mut intervals = Intervals::new();
        rows.into_iter().for_each(|row| intervals.add(row));
        intervals
    }
}

impl<'a> IntoIterator for &'a Intervals {
    type Item = &'a Interval;
    type IntoIter = slice::Iter<'a, Interval>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn merged(rows: &[(i64, i64)]) -> Vec<(i64, i64)> {
        let intervals: Intervals = rows.iter().map(|&(mint, maxt)| Interval::new(mint, maxt)).collect();
        intervals.iter().map(|row| (row.mint_ms, row.maxt_ms)).collect()
    }

    #[test]
    fn neighbours_join_and_others_stay_apart() {
        assert_eq!(merged(&[(1, 2), (3, 4)]), [(1, 4)]);
        assert_eq!(merged(&[(3, 4), (1, 2)]), [(1, 4)]);
        assert_eq!(merged(&[(1, 2), (4, 5)]), [(1, 2), (4, 5)]);
        assert_eq!(merged(&[(1, 2), (4, 5), (7, 8), (3, 6)]), [(1, 8)]);
    }

    #[test]
    fn the_ends_of_time_do_not_overflow() {
        assert_eq!(
            merged(&[(i64::MIN, i64::MIN), (i64::MAX, i64::MAX)]),
            [(i64::MIN, i64::MIN), (i64::MAX, i64::MAX)]
        );
        assert_eq!(merged(&[(i64::MAX, i64::MAX), (i64::MAX - 1, i64::MAX - 1)]), [(i64::MAX - 1, i64::MAX)]);
        assert_eq!(merged(&[(0, 0), (i64::MIN, i64::MAX), (5, 9)]), [(i64::MIN, i64::MAX)]);
        assert_eq!(merged(&[(i64::MIN, -1), (0, i64::MAX)]), [(i64::MIN, i64::MAX)]);
    }

    #[test]
    fn inverted_ranges_are_ignored() {
        assert_eq!(merged(&[(2, 1), (i64::MAX, i64::MIN)]), []);
    }

    #[test]
    fn a_verbatim_list_keeps_its_rows_until_something_is_added() {
        let rows = vec![Interval::new(5, 6), Interval::new(9, 1), Interval::new(4, 5)];
        let mut intervals = Intervals::from_verbatim(rows.clone());
        assert_eq!(intervals.as_slice(), rows);
        assert!(intervals.contains(4) && intervals.contains(6) && !intervals.contains(3));
        intervals.add(Interval::new(7, 7));
        assert_eq!(intervals.as_slice(), [Interval::new(4, 7)]);
    }

    proptest! {
        #[test]
        fn add_agrees_with_a_naive_bitmap(
            rows in prop::collection::vec((0_i64..64, 0_i64..12), 0..24),
            base in prop::sample::select(vec![0, i64::MIN, i64::MAX - 63]),
        ) {
            let mut bitmap = [false; 64];
            let mut intervals = Intervals::new();
            for (mint, len) in rows {
                let maxt = (mint + len - 2).min(63);
                (mint..=maxt).for_each(|time| bitmap[usize::try_from(time).unwrap()] = true);
                if let Some(maxt_ms) = base.checked_add(maxt) {
                    intervals.add(Interval::new(base + mint, maxt_ms));
                }
                // Sorted, and at least one free millisecond between any two.
                for pair in intervals.as_slice().windows(2) {
                    prop_assert!(pair[0].maxt_ms < pair[1].mint_ms - 1);
                }
                for (time, &set) in (0..).zip(&bitmap) {
                    prop_assert_eq!(intervals.contains(base + time), set);
                }
            }
        }
    }
}
