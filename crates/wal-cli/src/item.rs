//! Single items of a log, whatever entries they came in: to compare, to count and to show.

use std::io::{self, Write};

use serde_json::Value;
use wal_types::{Sample, Series, StoneRow};

use crate::{json_out, text};

/// A series, a sample, or a row of a stone. Equal items mean the same: values are compared by their bits, labels
/// in the order of their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Item<'a> {
    /// A reference and its labels.
    Series(&'a Series),
    /// A time and a value.
    Sample(Sample),
    /// A deleted range of time.
    Delete(StoneRow),
}

impl Item<'_> {
    /// Writes one line for people. Series are named by their references: to know all labels takes memory.
    pub(crate) fn text(self, out: &mut impl Write) -> io::Result<()> {
        match self {
            Self::Series(series) => text::series(out, series.series_ref, &series.labels.to_string()),
            Self::Sample(sample) => text::sample(out, None, &sample),
            Self::Delete(row) => text::delete(out, None, &row),
        }
    }

    /// The item as it stands in an entry that `dump` prints.
    pub(crate) fn json(self) -> io::Result<Value> {
        let mut out = Vec::new();
        match self {
            Self::Series(series) => json_out::series(&mut out, series.series_ref, series.labels.iter())?,
            Self::Sample(sample) => json_out::sample(&mut out, sample)?,
            Self::Delete(row) => json_out::stone(&mut out, row)?,
        }
        Ok(serde_json::from_slice(&out)?)
    }
}

/// How many items of each kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) series: u64,
    pub(crate) samples: u64,
    pub(crate) deletes: u64,
}

impl Counts {
    pub(crate) fn add(&mut self, item: Item<'_>) {
        *match item {
            Item::Series(_) => &mut self.series,
            Item::Sample(_) => &mut self.samples,
            Item::Delete(_) => &mut self.deletes,
        } += 1;
    }

    pub(crate) fn add_all(&mut self, other: Self) {
        self.series += other.series;
        self.samples += other.samples;
        self.deletes += other.deletes;
    }

    pub(crate) fn all(self) -> u64 {
        self.series + self.samples + self.deletes
    }
}
