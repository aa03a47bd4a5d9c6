//! The number by which samples and stones name a series.

use std::fmt;

/// A reference to a series: the number under which a series entry introduced its labels.
///
/// The log gives it no meaning beyond equality and order; whoever writes the log hands the numbers out.
/// Every value of the 64 bits is legal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeriesRef(pub u64);

impl From<u64> for SeriesRef {
    fn from(number: u64) -> Self {
        SeriesRef(number)
    }
}

impl From<SeriesRef> for u64 {
    fn from(series_ref: SeriesRef) -> Self {
        series_ref.0
    }
}

impl fmt::Display for SeriesRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn converts_both_ways_and_prints_decimal() {
        let series_ref = SeriesRef::from(u64::MAX);
        assert_eq!(u64::from(series_ref), u64::MAX);
        assert_eq!(series_ref.to_string(), "18446744073709551615");
        assert_eq!(format!("{:>4}", SeriesRef(7)), "   7");
    }
}
