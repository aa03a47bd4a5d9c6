//! A series: its reference and the labels it stands for.

use crate::{Labels, SeriesRef};

/// What a series entry says: from here on, this reference means these labels.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Series {
    /// The number that samples and stones use.
    pub series_ref: SeriesRef,
    /// The labels, sorted by name.
    pub labels: Labels,
}

impl Series {
    /// A series from its two parts.
    pub fn new(series_ref: impl Into<SeriesRef>, labels: Labels) -> Self {
        Series { series_ref: series_ref.into(), labels }
    }
}
