//! Stones: which times of a series are deleted.

use crate::{Interval, Intervals, SeriesRef};

/// A tombstone: the time ranges of one series that are deleted.
///
/// On the wire a stone becomes one [`StoneRow`] per interval, and so reads back as that many rows; a stone without
/// intervals leaves no trace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Stone {
    /// The series whose samples are deleted.
    pub series_ref: SeriesRef,
    /// The deleted ranges.
    pub intervals: Intervals,
}

/// One row of a deletes entry: one deleted range of one series.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoneRow {
    /// The series whose samples are deleted.
    pub series_ref: SeriesRef,
    /// The deleted range, both ends included.
    pub interval: Interval,
}

impl Stone {
    /// A stone from its two parts.
    pub fn new(series_ref: impl Into<SeriesRef>, intervals: Intervals) -> Self {
        Stone { series_ref: series_ref.into(), intervals }
    }

    /// The rows this stone becomes on the wire, in order.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = StoneRow> + '_ {
        self.intervals.iter().map(|&interval| StoneRow { series_ref: self.series_ref, interval })
    }
}

impl From<StoneRow> for Stone {
    /// A stone of one interval, kept as it is even where it is inverted.
    fn from(row: StoneRow) -> Self {
        Stone { series_ref: row.series_ref, intervals: Intervals::from_verbatim(vec![row.interval]) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stone_of_two_intervals_has_two_rows() {
        let intervals = Intervals::from_verbatim(vec![Interval::new(5, 6), Interval::new(1, 2)]);
        let rows: Vec<_> = Stone::new(9, intervals).rows().collect();
        let row = |mint_ms, maxt_ms| StoneRow {
            series_ref: SeriesRef(9),
            interval: Interval::new(mint_ms, maxt_ms),
        };
        assert_eq!(rows, [row(5, 6), row(1, 2)]);
    }

    #[test]
    fn a_row_becomes_a_stone_of_that_row() {
        let row = StoneRow { series_ref: SeriesRef(3), interval: Interval::new(8, -8) };
        assert_eq!(Stone::from(row).rows().collect::<Vec<_>>(), [row]);
    }
}
