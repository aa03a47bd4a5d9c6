//! A log for Prometheus to read: hundreds of series with awkward text, values at the edges, deletes; always the same
//! for the same seed and end time.

use serde_json::{Value, json};

/// How much of everything.
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) series: u64,
    pub(crate) rounds: i64,
    /// Time of the last round; the rounds lie 15 seconds apart before it.
    pub(crate) end_ms: i64,
}

/// Text that every layer between us and a query must escape and give back as it was.
const AWKWARD: [&str; 8] = [
    "plain",
    "quote\"inside",
    "back\\slash",
    "line\nbreak",
    "tab\tand\rreturn",
    "{braces=\"and\", commas}",
    "caf\u{e9} \u{6f22}\u{5b57} \u{1f980}",
    " spaces at both ends ",
];

const EDGES: [f64; 10] = [
    0.0,
    -0.0,
    1.0,
    -1.5,
    f64::MAX,
    f64::MIN_POSITIVE,
    5e-324,
    0.1,
    1_700_000_000_000.0,
    9_007_199_254_740_993.0,
];

/// Entries for `wal import`, one a line: series first, then a batch of samples each round, then deletes.
pub(crate) fn log(plan: &Plan) -> String {
    let mut random = Random(plan.seed);
    let mut lines = Vec::new();
    let refs: Vec<u64> = (0..plan.series).map(series_ref).collect();
    for (chunk_index, chunk) in refs.chunks(50).enumerate() {
        let base = chunk_index * 50;
        let series: Vec<Value> = chunk
            .iter()
            .enumerate()
            .map(|(at, id)| json!({"ref": id, "labels": labels(base + at)}))
            .collect();
        lines.push(json!({"type": "series", "series": series}));
    }
    for round in 0..plan.rounds {
        let t = plan.end_ms - (plan.rounds - 1 - round) * 15_000;
        let samples: Vec<Value> =
            refs.iter().map(|id| json!({"ref": id, "t": t, "v": value(&mut random)})).collect();
        lines.push(json!({"type": "samples", "samples": samples}));
    }
    lines.push(json!({"type": "deletes", "deletes": deletes(plan, &refs)}));
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// Not dense, and up to the widest that Prometheus can hold (it keeps 40 bits of a reference).
fn series_ref(index: u64) -> u64 {
    if index % 7 == 6 { (1 << 40) - 1 - index } else { index + 1 }
}

/// The index makes every set unique.
fn labels(index: usize) -> Value {
    let text = AWKWARD[index % AWKWARD.len()];
    let name = format!("interop_metric_{}", index % 12);
    json!([["__name__", name], ["index", index.to_string()], ["job", "synthetic"], ["text", text]])
}

fn value(random: &mut Random) -> Value {
    let draw = random.next();
    match draw % 16 {
        0 => json!("+Inf"),
        1 => json!("-Inf"),
        2 => json!("0x7ff8000000000001"),
        3 => json!("0x7ff0000000000002"),
        4..=7 => json!(EDGES[usize::from(draw.to_le_bytes()[1]) % EDGES.len()]),
        // Any bits at all, but not of a NaN, which a query shows only as such.
        _ => {
            let any = f64::from_bits(random.next());
            json!(if any.is_finite() { any } else { 0.5 })
        }
    }
}

/// For every fifth series a few rounds in the middle, for every fiftieth everything, given as several rows.
fn deletes(plan: &Plan, refs: &[u64]) -> Vec<Value> {
    let mut rows = Vec::new();
    let middle = plan.end_ms - plan.rounds / 2 * 15_000;
    for (index, id) in refs.iter().enumerate() {
        if index % 50 == 0 {
            rows.push(json!({"ref": id, "mint": plan.end_ms - plan.rounds * 15_000, "maxt": middle}));
            rows.push(json!({"ref": id, "mint": middle + 1, "maxt": plan.end_ms}));
        } else if index % 5 == 0 {
            rows.push(json!({"ref": id, "mint": middle - 45_000, "maxt": middle}));
        }
    }
    rows
}

/// SplitMix64: ten lines, and the same numbers everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expectation::Expectation;

    const PLAN: Plan = Plan { seed: 1, series: 120, rounds: 20, end_ms: 1_700_000_000_000 };

    #[test]
    fn the_same_seed_gives_the_same_log_and_another_seed_another() {
        assert_eq!(log(&PLAN), log(&PLAN));
        assert_ne!(log(&PLAN), log(&Plan { seed: 2, ..PLAN }));
    }

    #[test]
    fn the_log_has_deletes_stale_markers_and_every_series_once() {
        let all = Expectation::of(&log(&PLAN)).unwrap();
        assert!(all.deleted > 0 && all.stale > 0, "{} deleted, {} stale", all.deleted, all.stale);
        assert_eq!(all.sample_count() + all.deleted + all.stale, 120 * 20);
        // Every fiftieth is deleted whole.
        assert_eq!(all.samples.len(), 120 - 3);
    }
}
