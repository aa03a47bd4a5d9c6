//! The body of the target `canary`: it holds a planted bug, and fuzzing must find it. If it does not, the other
//! targets finding nothing means nothing.

use wal_format::{Payload, Step, next_entry};

/// What the planted bug says.
pub const PLANTED: &str = "the planted bug of the canary";

/// Reads entries, and panics at a log that no seed comes near: behind a valid checksum, samples of which the
/// second is older than the first; directly behind them, deletes of a range that ends before it begins.
pub fn body(data: &[u8]) {
    let mut rest = data;
    let mut armed = false;
    while let Step::Entry(entry) = next_entry(rest, 0) {
        rest = &rest[entry.frame_bytes()..];
        armed = match entry.decode() {
            Ok(Payload::Samples(samples)) => {
                let times: Vec<i64> = samples.iter().take(2).map(|sample| sample.time_ms).collect();
                times.len() == 2 && times[1] < times[0]
            }
            Ok(Payload::Deletes(rows)) if armed => {
                let backwards = |row: wal_engine::StoneRow| row.interval.maxt_ms < row.interval.mint_ms;
                assert!(!rows.iter().any(backwards), "{PLANTED}");
                false
            }
            _ => false,
        };
    }
}
