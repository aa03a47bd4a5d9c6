//! Which items of a log are wanted: by kind, series and time.
//!
//! Memory grows with the series that the selectors have to be remembered for.

use std::collections::HashMap;

use wal_engine::{LogEntry, SeriesView};
use wal_format::Payload;
use wal_types::{Sample, SeriesRef, StoneRow};

use crate::args::{FilterArgs, Kind};
use crate::exit::Failure;
use crate::selector::Selector;

/// What is wanted. Without any condition, everything is.
#[derive(Clone, Default)]
pub(crate) struct Filter {
    kinds: Vec<Kind>,
    refs: Vec<SeriesRef>,
    selectors: Vec<Selector>,
    since_ms: Option<i64>,
    until_ms: Option<i64>,
    /// Whether the series last logged under a reference is selected.
    selected: HashMap<SeriesRef, bool>,
    /// Samples and deletes left out because no series entry read before them names their series.
    nameless: u64,
}

impl Filter {
    /// The conditions of the arguments. Times that exclude each other are a mistake and no condition.
    pub(crate) fn new(args: &FilterArgs) -> Result<Self, Failure> {
        let times = args.since.zip(args.until);
        if let Some((since, until)) = times.filter(|(since, until)| until < since) {
            return Err(Failure::bad_input(format_args!(
                "--since {since} is after --until {until}: nothing is in between\n  next: give the earlier time to --since"
            )));
        }
        Ok(Self {
            kinds: args.kind.clone(),
            refs: args.series_ref.iter().copied().map(SeriesRef).collect(),
            selectors: args.selector.clone(),
            since_ms: args.since,
            until_ms: args.until,
            ..Self::default()
        })
    }

    /// Whether everything is wanted.
    fn is_open(&self) -> bool {
        self.kinds.is_empty()
            && self.refs.is_empty()
            && self.selectors.is_empty()
            && self.since_ms.is_none()
            && self.until_ms.is_none()
    }

    /// Takes note of an entry's series, and says whether any item of it is wanted. Entries come in the
    /// log's order.
    pub(crate) fn look_at(&mut self, entry: &LogEntry<'_>) -> bool {
        if self.is_open() {
            return true;
        }
        match &entry.payload {
            Payload::Series(payload) => {
                if !self.selectors.is_empty() {
                    for series in payload.iter() {
                        let find = |name: &[u8]| {
                            series.labels.iter().find(|label| label.name == name).map(|label| label.value)
                        };
                        let selected = self.selectors.iter().any(|selector| selector.admits(find));
                        self.selected.insert(series.series_ref, selected);
                    }
                }
                payload.iter().any(|series| self.wants_series(&series))
            }
            Payload::Samples(payload) => {
                self.count_nameless(payload.iter().map(|sample| sample.series_ref));
                payload.iter().any(|sample| self.wants_sample(&sample))
            }
            Payload::Deletes(payload) => {
                self.count_nameless(payload.iter().map(|row| row.series_ref));
                payload.iter().any(|row| self.wants_row(&row))
            }
        }
    }

    /// Whether a series is wanted. Times say nothing about it: whoever reads samples needs their series.
    pub(crate) fn wants_series(&self, series: &SeriesView<'_>) -> bool {
        self.wants_kind(Kind::Series) && self.wants_ref(series.series_ref)
    }

    /// Whether a sample is wanted.
    pub(crate) fn wants_sample(&self, sample: &Sample) -> bool {
        self.wants_kind(Kind::Samples)
            && self.since_ms.is_none_or(|since| since <= sample.time_ms)
            && self.until_ms.is_none_or(|until| sample.time_ms <= until)
            && self.wants_ref(sample.series_ref)
    }

    /// Whether a row of a stone is wanted: also when only a part of it lies in the time asked for.
    pub(crate) fn wants_row(&self, row: &StoneRow) -> bool {
        self.wants_kind(Kind::Deletes)
            && self.since_ms.is_none_or(|since| since <= row.interval.maxt_ms)
            && self.until_ms.is_none_or(|until| row.interval.mint_ms <= until)
            && self.wants_ref(row.series_ref)
    }

    /// Samples and deletes that no selector could judge.
    pub(crate) fn nameless(&self) -> u64 {
        self.nameless
    }

    fn wants_kind(&self, kind: Kind) -> bool {
        self.kinds.is_empty() || self.kinds.contains(&kind)
    }

    fn wants_ref(&self, series_ref: SeriesRef) -> bool {
        (self.refs.is_empty() || self.refs.contains(&series_ref))
            && (self.selectors.is_empty() || self.selected.get(&series_ref).copied().unwrap_or(false))
    }

    fn count_nameless(&mut self, refs: impl Iterator<Item = SeriesRef>) {
        if !self.selectors.is_empty() {
            self.nameless += refs.filter(|series_ref| !self.selected.contains_key(series_ref)).count() as u64;
        }
    }
}
