//! Which names, values and metrics the series of a log have: what makes a log large.
//!
//! Memory grows with the series and with their distinct label values, not with the samples.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};
use wal_engine::SeriesView;
use wal_types::SeriesRef;

use crate::table::Table;
use crate::text;

/// Counts over all series seen.
#[derive(Default)]
pub(crate) struct Cardinality {
    refs: HashSet<SeriesRef>,
    labels: HashMap<Box<[u8]>, LabelUse>,
}

/// What is known about one label name.
#[derive(Default)]
struct LabelUse {
    series: u64,
    /// The values and how many series have each.
    values: HashMap<Box<[u8]>, u64>,
    value_bytes_max: usize,
}

impl Cardinality {
    /// Counts a series, if its reference was not seen before.
    pub(crate) fn add(&mut self, series: &SeriesView<'_>) {
        if !self.refs.insert(series.series_ref) {
            return;
        }
        for label in series.labels.iter() {
            let of = slot(&mut self.labels, label.name);
            of.series += 1;
            of.value_bytes_max = of.value_bytes_max.max(label.value.len());
            *slot(&mut of.values, label.value) += 1;
        }
    }

    /// How many series there are.
    pub(crate) fn series(&self) -> u64 {
        self.refs.len() as u64
    }

    /// Whether a reference belongs to a series that was seen.
    pub(crate) fn knows(&self, series_ref: SeriesRef) -> bool {
        self.refs.contains(&series_ref)
    }

    /// Label names, those with the most values first.
    fn widest(&self) -> Vec<(&[u8], &LabelUse)> {
        top(self.labels.iter().map(|(name, of)| (&**name, of)), |(name, of)| (of.values.len() as u64, *name))
    }

    /// Metric names, those with the most series first.
    fn largest(&self) -> Vec<(&[u8], u64)> {
        let values = self.labels.get(METRIC_NAME).into_iter().flat_map(|of| &of.values);
        top(values.map(|(name, &series)| (&**name, series)), |(name, series)| (*series, *name))
    }

    /// Pairs of a label and a value, those in most series first; the metric's name has a list of its own.
    fn commonest(&self) -> Vec<(&[u8], &[u8], u64)> {
        let labels = self.labels.iter().filter(|(name, _)| &***name != METRIC_NAME);
        let pairs = labels
            .flat_map(|(name, of)| of.values.iter().map(|(value, &series)| (&**name, &**value, series)));
        top(pairs, |(name, value, series)| (*series, (*name, *value)))
    }

    /// The lists as the members of a JSON object.
    pub(crate) fn json(&self) -> [(&'static str, Value); 3] {
        let name = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
        let widest = self.widest().into_iter().map(|(label, of)| {
            json!({
                "name": name(label), "values": of.values.len(), "series": of.series,
                "longest_value_bytes": of.value_bytes_max,
            })
        });
        let largest = self
            .largest()
            .into_iter()
            .map(|(metric, series)| json!({ "name": name(metric), "series": series }));
        let pairs = self.commonest().into_iter().map(
            |(label, value, series)| json!({ "name": name(label), "value": name(value), "series": series }),
        );
        [
            ("widest_labels", widest.collect()),
            ("largest_metrics", largest.collect()),
            ("commonest_pairs", pairs.collect()),
        ]
    }

    /// The lists as tables; empty ones are left out.
    pub(crate) fn tables(&self) -> Vec<Table> {
        let mut labels = Table::new(1, &["widest labels", "values", "series", "longest value", ""]);
        for (name, of) in self.widest() {
            let counts = [of.values.len() as u64, of.series, of.value_bytes_max as u64].map(text::count);
            labels.row([shown(name)].into_iter().chain(counts).chain([String::new()]).collect());
        }
        let mut metrics = Table::new(1, &["metrics with most series", "series", ""]);
        for (name, series) in self.largest() {
            metrics.row(vec![shown(name), text::count(series), String::new()]);
        }
        let mut pairs = Table::new(1, &["labels with most series", "series", ""]);
        for (name, value, series) in self.commonest() {
            pairs.row(vec![
                format!("{}=\"{}\"", shown(name), shown(value)),
                text::count(series),
                String::new(),
            ]);
        }
        [metrics, labels, pairs].into_iter().filter(|table| !table.is_empty()).collect()
    }
}

/// The value under a key of bytes. The key is copied also when it is known, which costs less than it looks:
/// this is done once a label, not once a sample.
fn slot<'a, V: Default>(map: &'a mut HashMap<Box<[u8]>, V>, key: &[u8]) -> &'a mut V {
    map.entry(key.into()).or_default()
}

/// The first few, those with the highest count first, and by name where counts are equal.
fn top<T: Copy, N: Ord>(all: impl Iterator<Item = T>, count_and_name: impl Fn(&T) -> (u64, N)) -> Vec<T> {
    let mut all: Vec<_> = all.collect();
    all.sort_by(|a, b| {
        let ((a_count, a_name), (b_count, b_name)) = (count_and_name(a), count_and_name(b));
        b_count.cmp(&a_count).then(a_name.cmp(&b_name))
    });
    all.truncate(TOP);
    all
}

/// A name on one line of a table, whatever its bytes are.
fn shown(name: &[u8]) -> String {
    let name = name.escape_ascii().to_string();
    match name.char_indices().nth(NAME_CHARS_MAX) {
        Some((end, _)) => format!("{}...", name.get(..end).unwrap_or_default()),
        None => name,
    }
}

const METRIC_NAME: &[u8] = b"__name__";
/// How many names are shown.
const TOP: usize = 10;
/// A label's name may be megabytes; a table's cell may not.
const NAME_CHARS_MAX: usize = 60;
