//! Entries whose every byte follows from a number, and a sink that tells when one does not.

use wal_engine::{
    DecodeError, Interval, Intervals, Labels, Position, ReplaySink, Sample, Series, SeriesPayload, SeriesRef,
    Stone, StoneRow, Wal,
};

/// One entry of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Entry {
    /// Two series, of which a truncation may have kept one: bit 0 and bit 1.
    Series { id: u32, kept: u8 },
    /// So many samples of one time.
    Samples { id: u32, count: u16 },
    /// One deleted range.
    Deletes { id: u32 },
    /// Nothing that was ever appended.
    Alien,
}

/// The time of an entry's samples, or the end of its deletes, in milliseconds.
pub fn time_ms(id: u32) -> i64 {
    i64::from(id) * 10
}

fn refs(id: u32) -> [u64; 2] {
    [u64::from(id) * 2, u64::from(id) * 2 + 1]
}

fn one_series(series_ref: u64) -> Series {
    Series::new(series_ref, Labels::from_pairs([("__name__", "up"), ("i", &series_ref.to_string())]))
}

fn sample(id: u32, index: usize) -> Sample {
    let index = index as u64;
    let bits = (u64::from(id) << 32 | index).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    Sample { series_ref: SeriesRef(u64::from(id) + index), time_ms: time_ms(id), value: f64::from_bits(bits) }
}

impl Entry {
    /// Appends it.
    pub fn log(self, wal: &Wal) -> wal_engine::Result<Position> {
        match self {
            Self::Series { id, .. } => wal.log_series(&refs(id).map(one_series)),
            Self::Samples { id, count } => {
                let samples: Vec<Sample> = (0..usize::from(count)).map(|index| sample(id, index)).collect();
                wal.log_samples(&samples)
            }
            Self::Deletes { id } => {
                let intervals = Intervals::from_verbatim(vec![Interval { mint_ms: 0, maxt_ms: time_ms(id) }]);
                wal.log_deletes(&[Stone::new(refs(id)[0], intervals)])
            }
            Self::Alien => unreachable!("nobody appends it"),
        }
    }

    /// What a truncation leaves of it, when the entry is in an old segment.
    pub fn truncated(self, mint_ms: i64) -> Option<Self> {
        match self {
            Self::Series { id, kept } => {
                let [first, second] = refs(id).map(|series| u8::from(keep(SeriesRef(series))));
                let kept = kept & (first | second << 1);
                (kept != 0).then_some(Self::Series { id, kept })
            }
            Self::Deletes { id } => (mint_ms <= time_ms(id) && keep(SeriesRef(refs(id)[0]))).then_some(self),
            Self::Samples { .. } | Self::Alien => None,
        }
    }
}

/// The series that truncations keep: both, the second, or the first of an entry, by turns.
pub fn keep(series: SeriesRef) -> bool {
    series.0 % 3 != 1
}

/// Remembers what a log gives back.
#[derive(Debug, Default)]
pub struct Found(pub Vec<Entry>);

impl ReplaySink for Found {
    fn series(&mut self, _: Position, batch: &SeriesPayload<'_>) {
        let mut kept = 0;
        let mut id = None;
        for series in batch.iter() {
            let series_ref = series.series_ref.0;
            let this = u32::try_from(series_ref / 2).unwrap();
            let right = series.labels.to_labels() == one_series(series_ref).labels;
            let bit = 1 << (series_ref % 2);
            if !right || *id.get_or_insert(this) != this || bit <= kept {
                return self.0.push(Entry::Alien);
            }
            kept |= bit;
        }
        self.0.push(id.map_or(Entry::Alien, |id| Entry::Series { id, kept }));
    }

    fn samples(&mut self, _: Position, batch: &[Sample]) {
        let id = batch.first().map_or(0, |first| u32::try_from(first.series_ref.0).unwrap_or(0));
        let right = batch.iter().enumerate().all(|(index, found)| *found == sample(id, index));
        let count = u16::try_from(batch.len()).unwrap();
        self.0.push(if right && count != 0 { Entry::Samples { id, count } } else { Entry::Alien });
    }

    fn deletes(&mut self, _: Position, batch: &[StoneRow]) {
        let entry = match batch {
            [row] => {
                let id = u32::try_from(row.series_ref.0 / 2).unwrap();
                let right = row.interval == Interval { mint_ms: 0, maxt_ms: time_ms(id) };
                if right { Entry::Deletes { id } } else { Entry::Alien }
            }
            _ => Entry::Alien,
        };
        self.0.push(entry);
    }

    fn malformed(&mut self, _: Position, _: &DecodeError) {
        self.0.push(Entry::Alien);
    }
}
