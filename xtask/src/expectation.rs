//! What a log means: the samples of each label set that a database reading the log must answer with.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::ndjson;

/// Labels as sorted pairs; the same words that a query answers with.
pub(crate) type LabelSet = Vec<(String, String)>;

/// Samples by label set, deleted ones taken out.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Expectation {
    /// Time in milliseconds to the bits of the value.
    pub(crate) samples: BTreeMap<LabelSet, BTreeMap<i64, u64>>,
    /// Samples that a delete of the log covers: none of these may come back.
    pub(crate) deleted: usize,
    /// Markers of staleness, which a query never returns though they are stored.
    pub(crate) stale: usize,
    pub(crate) min_time_ms: i64,
    pub(crate) max_time_ms: i64,
}

/// The value by which Prometheus marks a series as gone.
const STALE_BITS: u64 = 0x7ff0_0000_0000_0002;

impl Expectation {
    /// From entries as `wal dump` prints them and `wal import` takes them.
    pub(crate) fn of(ndjson_text: &str) -> Result<Expectation, String> {
        let mut labels: BTreeMap<u64, LabelSet> = BTreeMap::new();
        let mut samples: Vec<(u64, i64, u64)> = Vec::new();
        let mut deletes: BTreeMap<u64, Vec<(i64, i64)>> = BTreeMap::new();
        for entry in ndjson::parse(ndjson_text)? {
            for item in items(&entry, "series") {
                labels.insert(whole(item, "ref")?, label_set(&item["labels"])?);
            }
            for item in items(&entry, "samples") {
                samples.push((whole(item, "ref")?, time(item, "t")?, bits(&item["v"])?));
            }
            for item in items(&entry, "deletes") {
                let span = (time(item, "mint")?, time(item, "maxt")?);
                deletes.entry(whole(item, "ref")?).or_default().push(span);
            }
        }
        let mut all = Expectation { min_time_ms: i64::MAX, max_time_ms: i64::MIN, ..Expectation::default() };
        for (series_ref, t, value) in samples {
            let set = labels
                .get(&series_ref)
                .ok_or_else(|| format!("a sample of ref {series_ref}, never logged"))?;
            all.min_time_ms = all.min_time_ms.min(t);
            all.max_time_ms = all.max_time_ms.max(t);
            // Prometheus keeps deletes as intervals of the series: it does not matter which came first in the log.
            let gone =
                deletes.get(&series_ref).is_some_and(|spans| spans.iter().any(|&(a, b)| a <= t && t <= b));
            if gone {
                all.deleted += 1;
            } else if value == STALE_BITS {
                all.stale += 1;
            } else {
                all.samples.entry(set.clone()).or_default().insert(t, value);
            }
        }
        Ok(all)
    }

    pub(crate) fn sample_count(&self) -> usize {
        self.samples.values().map(BTreeMap::len).sum()
    }

    /// The metric names, each once.
    pub(crate) fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.samples.keys().filter_map(|set| name_of(set)).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

pub(crate) fn name_of(set: &LabelSet) -> Option<&str> {
    set.iter().find(|(name, _)| name == "__name__").map(|(_, value)| value.as_str())
}

fn items<'a>(entry: &'a Value, kind: &str) -> impl Iterator<Item = &'a Value> {
    entry[kind].as_array().into_iter().flatten()
}

fn whole(item: &Value, key: &str) -> Result<u64, String> {
    item[key].as_u64().ok_or_else(|| format!("no whole number `{key}` in {item}"))
}

fn time(item: &Value, key: &str) -> Result<i64, String> {
    item[key].as_i64().ok_or_else(|| format!("no time `{key}` in {item}"))
}

/// A value as the tool spells it: a number, an infinity, or the bits of something that is not a number.
fn bits(value: &Value) -> Result<u64, String> {
    match (value.as_f64(), value.as_str()) {
        (Some(number), _) => Ok(number.to_bits()),
        (_, Some("+Inf")) => Ok(f64::INFINITY.to_bits()),
        (_, Some("-Inf")) => Ok(f64::NEG_INFINITY.to_bits()),
        (_, Some(text)) => text
            .strip_prefix("0x")
            .and_then(|hex| u64::from_str_radix(hex, 16).ok())
            .ok_or_else(|| format!("`{text}` is no sample value")),
        _ => Err(format!("{value} is no sample value")),
    }
}

fn label_set(labels: &Value) -> Result<LabelSet, String> {
    let mut set = Vec::new();
    for pair in labels.as_array().into_iter().flatten() {
        match (pair[0].as_str(), pair[1].as_str()) {
            (Some(name), Some(value)) => set.push((name.to_owned(), value.to_owned())),
            _ => return Err(format!("label {pair} is not text")),
        }
    }
    set.sort();
    Ok(set)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = r#"{"type":"series","series":[{"ref":1,"labels":[["job","a"],["__name__","up"]]}]}
{"type":"samples","samples":[{"ref":1,"t":10,"v":-0.0},{"ref":1,"t":20,"v":"+Inf"},{"ref":1,"t":30,"v":3}]}
{"type":"samples","samples":[{"ref":1,"t":40,"v":"0x7ff0000000000002"}]}
{"type":"deletes","deletes":[{"ref":1,"mint":15,"maxt":20}]}"#;

    #[test]
    fn deleted_samples_and_stale_markers_are_left_out_and_counted() {
        let all = Expectation::of(LOG).unwrap();
        let set = vec![("__name__".to_owned(), "up".to_owned()), ("job".to_owned(), "a".to_owned())];
        let left = BTreeMap::from([(10, (-0.0f64).to_bits()), (30, 3.0f64.to_bits())]);
        assert_eq!(all.samples, BTreeMap::from([(set, left)]));
        assert_eq!((all.deleted, all.stale, all.min_time_ms, all.max_time_ms), (1, 1, 10, 40));
        assert_eq!(all.names(), ["up"]);
    }

    #[test]
    fn a_sample_of_an_unknown_series_is_an_error() {
        assert!(Expectation::of(r#"{"samples":[{"ref":7,"t":1,"v":1}]}"#).is_err());
    }
}
