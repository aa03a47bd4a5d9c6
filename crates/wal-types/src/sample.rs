//! One measurement of one series.

use std::hash::{Hash, Hasher};

use crate::SeriesRef;

/// One value of one series at one time.
///
/// Two samples are equal when the *bits* of their values are: a NaN equals itself and only NaNs of the same payload
/// (Prometheus marks stale series with one particular NaN), and `-0.0` differs from `0.0`. A log must give back the
/// bits it was given, so this is the comparison its users need.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    /// The series this value belongs to.
    pub series_ref: SeriesRef,
    /// When, in milliseconds since the Unix epoch; the full signed range is legal.
    pub time_ms: i64,
    /// The value, any 64-bit pattern.
    pub value: f64,
}

impl Sample {
    /// A sample from its three parts; `time_ms` is in milliseconds since the Unix epoch.
    pub fn new(series_ref: impl Into<SeriesRef>, time_ms: i64, value: f64) -> Self {
        Sample { series_ref: series_ref.into(), time_ms, value }
    }
}

impl PartialEq for Sample {
    fn eq(&self, other: &Self) -> bool {
        self.series_ref == other.series_ref
            && self.time_ms == other.time_ms
            && self.value.to_bits() == other.value.to_bits()
    }
}

impl Eq for Sample {}

impl Hash for Sample {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.series_ref.hash(state);
        self.time_ms.hash(state);
        self.value.to_bits().hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nan_equals_itself_and_no_other_nan() {
        let stale = Sample::new(1, 2, f64::from_bits(0x7ff0_0000_0000_0002));
        assert_eq!(stale, stale);
        assert_ne!(stale, Sample::new(1, 2, f64::NAN));
    }

    #[test]
    fn zeros_of_different_sign_differ() {
        assert_ne!(Sample::new(1, 2, 0.0), Sample::new(1, 2, -0.0));
    }

    #[test]
    fn every_part_takes_part_in_equality() {
        let sample = Sample::new(1, 2, 3.0);
        assert_ne!(sample, Sample::new(2, 2, 3.0));
        assert_ne!(sample, Sample::new(1, 3, 3.0));
        assert_eq!(sample, Sample { ..sample });
    }
}
