//! What the log may hold after a crash, in a few lines: everything acknowledged, in order, once, unchanged, then an unbroken run.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::ndjson;

/// Every so many entries one is a series; the rest are samples.
const SERIES_EVERY: u64 = 8;
/// The references of samples name the life that wrote them, so that an entry of an older life is known.
const LIFE_REFS: u64 = 1 << 32;

/// Whether a truncation must keep the entry whatever its number.
fn is_series(number: u64) -> bool {
    number % SERIES_EVERY == 1
}

/// The entry of that number as that life writes it; sizes vary, so that segments end at different places.
fn entry(number: u64, life: u64) -> Value {
    if is_series(number) {
        let pad = "x".repeat(usize::try_from(number * 7 % 40).unwrap_or(0));
        let labels = json!([["life", life.to_string()], ["n", number.to_string()], ["pad", pad]]);
        return json!({"type": "series", "series": [{"ref": number, "labels": labels}]});
    }
    let samples: Vec<Value> = (0..=number % 3)
        .map(|part| {
            let value = format!("{number}.{}", [0, 5, 25][usize::try_from(part).unwrap_or(0)]);
            json!({"ref": LIFE_REFS + life, "t": number, "v": value.parse::<f64>().unwrap_or(0.0)})
        })
        .collect();
    json!({"type": "samples", "samples": samples})
}

/// The lines to feed for `first..first + count`.
pub(crate) fn lines(first: u64, count: u64, life: u64) -> Vec<String> {
    (first..first + count).map(|number| format!("{}\n", entry(number, life))).collect()
}

/// Number and life of an entry that `wal dump` printed, if it is one of ours without any change.
fn recognise(printed: &Value) -> Option<(u64, u64)> {
    let (number, life) = match printed["type"].as_str()? {
        "series" => {
            let labels = &printed["series"][0]["labels"];
            (printed["series"][0]["ref"].as_u64()?, labels[0][1].as_str()?.parse().ok()?)
        }
        "samples" => {
            let sample = &printed["samples"][0];
            (sample["t"].as_u64()?, sample["ref"].as_u64()?.checked_sub(LIFE_REFS)?)
        }
        _ => return None,
    };
    let mut bare = printed.as_object()?.clone();
    bare.remove("segment");
    bare.remove("offset");
    let same = ndjson::difference(&entry(number, life).to_string(), &Value::Object(bare).to_string());
    same.ok()?.is_none().then_some((number, life))
}

/// What is known of a log from outside.
#[derive(Debug, Clone, Default)]
pub(crate) struct Oracle {
    /// Entries up to this number were acknowledged, or were read after a crash.
    pub(crate) acked: u64,
    /// Entries above this number were never fed.
    pub(crate) fed: u64,
    /// Samples of an older time may have been truncated.
    pub(crate) mint: u64,
    /// The life that writes now.
    pub(crate) life: u64,
    /// What the last reading found: the life that wrote each entry.
    pub(crate) seen: BTreeMap<u64, u64>,
    /// Entries whose bytes were damaged: they may be missing, and are not to come back.
    pub(crate) lost: BTreeSet<u64>,
}

impl Oracle {
    /// The number of the last entry known to be in the log.
    pub(crate) fn last(&self) -> u64 {
        self.acked
    }

    /// What is known after a repair that ends the log behind entry `last`.
    pub(crate) fn up_to(&self, last: u64) -> Self {
        let seen = self.seen.range(..=last).map(|(&number, &life)| (number, life)).collect();
        Self { acked: last, fed: last, seen, ..self.clone() }
    }

    /// What is known after a repair that leaves one entry out.
    pub(crate) fn without(&self, number: u64) -> Self {
        let mut left = self.clone();
        left.seen.remove(&number);
        left.lost.insert(number);
        left
    }

    /// Judges what `wal dump` printed; when it is right, all of it counts as acknowledged from now on.
    pub(crate) fn read(&mut self, dump: &str) -> Result<(), String> {
        let before = self.seen.keys().next_back().copied().unwrap_or(0);
        let mut found = BTreeMap::new();
        let mut last = 0;
        for printed in ndjson::parse(dump)? {
            let Some((number, life)) = recognise(&printed) else {
                return Err(format!("an entry that nobody logged: {printed}"));
            };
            if number <= last {
                return Err(format!("entry {number} stands behind entry {last}"));
            }
            let wanted = if number <= before { self.seen.get(&number).copied() } else { Some(self.life) };
            match wanted {
                None => return Err(format!("entry {number} was gone before and is back")),
                Some(wanted) if wanted != life => {
                    return Err(format!("entry {number} is of life {life}, not of life {wanted}"));
                }
                Some(_) => {}
            }
            last = number;
            found.insert(number, life);
        }
        if self.fed < last {
            return Err(format!("entry {last} was never fed, only {} were", self.fed));
        }
        let mut missing = String::new();
        for number in 1..=last.max(self.acked) {
            let may_go = !is_series(number) && number < self.mint || self.lost.contains(&number);
            if !may_go && !found.contains_key(&number) {
                let _ = write!(missing, " {number}");
            }
        }
        if !missing.is_empty() {
            let (acked, mint) = (self.acked, self.mint);
            return Err(format!("of {acked} acknowledged, read to {last}, mint {mint}, missing:{missing}"));
        }
        self.acked = self.acked.max(last);
        self.seen = found;
        Ok(())
    }
}

/// The last `acked N` that was printed whole; 0 for none.
pub(crate) fn acked(stdout: &str) -> u64 {
    let whole = stdout.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
    whole.filter_map(|line| line.strip_prefix("acked ")?.parse().ok()).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn oracle(acked: u64, fed: u64) -> Oracle {
        Oracle { acked, fed, life: 1, ..Oracle::default() }
    }

    fn log(numbers: impl IntoIterator<Item = u64>, life: u64) -> String {
        numbers.into_iter().flat_map(|number| lines(number, 1, life)).collect()
    }

    #[test]
    fn what_was_acknowledged_and_an_unbroken_run_behind_it_pass() {
        for last in 10..=20 {
            let mut oracle = oracle(10, 20);
            oracle.read(&log(1..=last, 1)).unwrap();
            assert_eq!(oracle.last(), last);
        }
    }

    #[test]
    fn a_lost_entry_is_noticed_wherever_it_stood() {
        for lost in 1..=10 {
            let rest = (1..=10).filter(|&number| number != lost);
            assert!(oracle(10, 20).read(&log(rest, 1)).is_err(), "{lost}");
        }
        assert!(oracle(10, 20).read("").is_err());
    }

    #[test]
    fn a_gap_behind_the_acknowledged_is_noticed() {
        assert!(oracle(10, 20).read(&log((1..=12).chain(14..=15), 1)).is_err());
    }

    #[test]
    fn a_repeated_a_swapped_and_an_invented_entry_are_noticed() {
        assert!(oracle(2, 4).read(&log([1, 2, 2], 1)).is_err());
        assert!(oracle(2, 4).read(&log([1, 3, 2], 1)).is_err());
        assert!(oracle(2, 4).read(&log(1..=5, 1)).is_err());
    }

    #[test]
    fn a_changed_entry_is_noticed() {
        let text = log(1..=4, 1);
        for (from, to) in
            [("\"v\":2.5", "\"v\":2.75"), ("\"t\":3", "\"t\":2"), ("xx", "xy"), ("samples", "deletes")]
        {
            assert!(text.contains(from), "{from} in {text}");
            assert!(oracle(4, 4).read(&text.replacen(from, to, 1)).is_err(), "{from}");
        }
    }

    #[test]
    fn an_entry_of_an_older_life_is_noticed() {
        let mut oracle = oracle(3, 8);
        oracle.read(&log(1..=3, 1)).unwrap();
        oracle.life = 2;
        assert!(oracle.clone().read(&log(1..=4, 1)).is_err());
        oracle.read(&(log(1..=3, 1) + &log(4..=5, 2))).unwrap();
    }

    #[test]
    fn a_truncation_may_take_old_samples_only_and_they_stay_away() {
        let mut oracle = Oracle { mint: 5, ..oracle(10, 10) };
        assert!(oracle.clone().read(&log(2..=10, 1)).is_err(), "the series goes");
        assert!(oracle.clone().read(&log([1, 2, 3, 4, 6, 7, 8, 9, 10], 1)).is_err(), "a new sample goes");
        oracle.read(&log([1, 3, 5, 6, 7, 8, 9, 10], 1)).unwrap();
        assert!(oracle.read(&log(1..=10, 1)).is_err(), "a truncated one comes back");
    }

    #[test]
    fn after_a_repair_only_what_was_damaged_is_missing() {
        let mut oracle = oracle(10, 10);
        oracle.read(&log(1..=10, 1)).unwrap();
        let mut cut = oracle.up_to(4);
        assert!(cut.clone().read(&log(1..=3, 1)).is_err() && cut.clone().read(&log(1..=5, 1)).is_err());
        cut.read(&log(1..=4, 1)).unwrap();
        let mut left = oracle.without(5);
        assert!(left.clone().read(&log(1..=10, 1)).is_err(), "a damaged entry comes back");
        assert!(left.clone().read(&log((1..=3).chain(6..=10), 1)).is_err(), "its neighbour goes");
        left.read(&log((1..=4).chain(6..=10), 1)).unwrap();
    }

    #[test]
    fn an_acknowledgement_cut_short_does_not_count() {
        assert_eq!(acked("acked 5\nacked 10\nacked 15"), 10);
        assert_eq!(acked("acked 1"), 0);
    }
}
