//! What a segment holds, counted while writing and while reading.

use wal_types::{Interval, Sample, SeriesRef, StoneRow};

/// Counts and bounds of one segment, or of several added up.
///
/// The reference keeps the highest time and the lowest series reference of each segment, to decide
/// what truncation may drop; the counts are for people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SegmentStats {
    /// Entries of all kinds, empty and malformed ones included.
    pub entries: u64,
    /// Series items.
    pub series: u64,
    /// Samples.
    pub samples: u64,
    /// Delete rows; a stone of three intervals is three rows.
    pub deletes: u64,
    /// Entries whose checksum holds but whose payload does not decode.
    pub malformed: u64,
    /// The lowest sample time, in milliseconds.
    pub min_time_ms: Option<i64>,
    /// The highest sample time, in milliseconds.
    pub max_time_ms: Option<i64>,
    /// The highest end of a deleted interval, in milliseconds.
    pub max_delete_ms: Option<i64>,
    /// The lowest reference among the series items.
    pub min_series_ref: Option<SeriesRef>,
}

impl SegmentStats {
    /// Counts an entry of series.
    pub fn add_series(&mut self, refs: impl Iterator<Item = SeriesRef>) {
        self.entries += 1;
        for series_ref in refs {
            self.series += 1;
            self.min_series_ref = lower(self.min_series_ref, Some(series_ref));
        }
    }

    /// Counts an entry of `series` series, whose lowest reference is known already.
    pub fn add_series_entry(&mut self, series: usize, min_series_ref: Option<SeriesRef>) {
        self.entries += 1;
        self.series += u64::try_from(series).unwrap_or(u64::MAX);
        self.min_series_ref = lower(self.min_series_ref, min_series_ref);
    }

    /// Counts an entry of samples.
    pub fn add_samples(&mut self, samples: &[Sample]) {
        self.add_sample_entry(samples.len(), Self::times_ms(samples));
    }

    /// The lowest and the highest time of samples, in milliseconds; none if there are none.
    pub fn times_ms(samples: &[Sample]) -> Option<Interval> {
        let nothing = Interval { mint_ms: i64::MAX, maxt_ms: i64::MIN };
        let times = samples.iter().fold(nothing, |seen, sample| Interval {
            mint_ms: seen.mint_ms.min(sample.time_ms),
            maxt_ms: seen.maxt_ms.max(sample.time_ms),
        });
        (!times.is_inverted()).then_some(times)
    }

    /// Counts an entry of `samples` samples, whose lowest and highest time are known already.
    pub fn add_sample_entry(&mut self, samples: usize, times_ms: Option<Interval>) {
        self.entries += 1;
        self.samples += u64::try_from(samples).unwrap_or(u64::MAX);
        self.min_time_ms = lower(self.min_time_ms, times_ms.map(|times| times.mint_ms));
        self.max_time_ms = self.max_time_ms.max(times_ms.map(|times| times.maxt_ms));
    }

    /// Counts an entry of delete rows.
    pub fn add_deletes(&mut self, rows: impl Iterator<Item = StoneRow>) {
        self.entries += 1;
        for row in rows {
            self.deletes += 1;
            self.max_delete_ms = self.max_delete_ms.max(Some(row.interval.maxt_ms));
        }
    }

    /// Counts an entry that does not decode.
    pub fn add_malformed(&mut self) {
        self.entries += 1;
        self.malformed += 1;
    }

    /// Adds what another part holds.
    pub fn merge(&mut self, other: &Self) {
        self.entries += other.entries;
        self.series += other.series;
        self.samples += other.samples;
        self.deletes += other.deletes;
        self.malformed += other.malformed;
        self.min_time_ms = lower(self.min_time_ms, other.min_time_ms);
        self.max_time_ms = self.max_time_ms.max(other.max_time_ms);
        self.max_delete_ms = self.max_delete_ms.max(other.max_delete_ms);
        self.min_series_ref = lower(self.min_series_ref, other.min_series_ref);
    }

    /// Whether no sample in it is at or after `mint_ms`: then truncation before that time may
    /// rewrite it. Deletes do not hold a segment back; those still needed are kept in the rewrite.
    #[must_use]
    pub fn is_older_than(&self, mint_ms: i64) -> bool {
        self.max_time_ms.is_none_or(|max| max < mint_ms)
    }
}

/// The lower of two optional bounds, where none means "no bound yet".
fn lower<T: Ord>(a: Option<T>, b: Option<T>) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(time_ms: i64) -> Sample {
        Sample { series_ref: SeriesRef(1), time_ms, value: 0.0 }
    }

    #[test]
    fn merged_parts_equal_the_whole() {
        let (mut a, mut b, mut whole) =
            (SegmentStats::default(), SegmentStats::default(), SegmentStats::default());
        a.add_samples(&[sample(5), sample(-3)]);
        b.add_series([SeriesRef(9), SeriesRef(4)].into_iter());
        b.add_samples(&[sample(7)]);
        whole.add_samples(&[sample(5), sample(-3)]);
        whole.add_series([SeriesRef(9), SeriesRef(4)].into_iter());
        whole.add_samples(&[sample(7)]);
        a.merge(&b);
        assert_eq!(a, whole);
        assert_eq!((a.min_time_ms, a.max_time_ms), (Some(-3), Some(7)));
        assert_eq!(a.min_series_ref, Some(SeriesRef(4)));
    }

    #[test]
    fn a_delete_until_the_end_of_time_does_not_pin_the_segment() {
        let mut stats = SegmentStats::default();
        stats.add_samples(&[sample(10)]);
        let row = StoneRow { series_ref: SeriesRef(1), interval: Interval { mint_ms: 0, maxt_ms: i64::MAX } };
        stats.add_deletes([row].into_iter());
        assert!(stats.is_older_than(11));
        assert!(!stats.is_older_than(10));
    }

    #[test]
    fn a_segment_of_series_alone_is_always_old() {
        let mut stats = SegmentStats::default();
        stats.add_series([SeriesRef(1)].into_iter());
        assert!(stats.is_older_than(i64::MIN));
    }
}
