//! Row K: what is done for each segment, in logs of few and of many.

use wal_benches::{Sum, fill, open};
use wal_engine::{Wal, WalOptions};

use crate::run::{Answer, Run, bytes_text, link_log, segments, timed};
use crate::table::{Goal, Line, Unit};
use crate::truncate;

/// Segments in the logs that are opened.
const OPENED: [u64; 3] = [1, 4, 16];
/// What a segment may cost in a larger log, beside one of the smallest: linear, and some noise.
const LINEAR: f64 = 1.2;

/// Row K: times for each segment.
pub(crate) fn growth(run: &Run) -> Answer<Vec<Line>> {
    let mut lines = openings(run)?;
    lines.extend(truncations(run)?);
    Ok(lines)
}

fn openings(run: &Run) -> Answer<Vec<Line>> {
    let segment_bytes = run.size.segment_bytes;
    let largest = run.fresh_dir()?;
    let options = || WalOptions::default().segment_bytes_max(segment_bytes);
    let wal = open(largest.path(), options())?;
    fill(&wal, run.size.replay_series / 10, segment_bytes * 17)?;
    wal.close()?;
    let mut logs = Vec::new();
    for count in OPENED {
        let dir = run.fresh_dir()?;
        let names = segments(largest.path())?;
        let bytes = names.iter().take(usize::try_from(count)?).map(|(_, bytes)| bytes).sum();
        link_log(largest.path(), dir.path(), Some(bytes))?;
        logs.push((count, dir));
    }
    let mut rounds = OPENED.map(|_| (Vec::new(), Vec::new()));
    for _ in 0..run.rounds {
        for ((count, dir), (replays, opens)) in logs.iter().zip(&mut rounds) {
            let mut sum = Sum::default();
            let (seconds, wal) = timed(|| Ok(Wal::open(dir.path(), options())?.replay(&mut sum)?.0))?;
            wal.close()?;
            replays.push(seconds / *count as f64);
            let (seconds, wal) = timed(|| Ok(open(dir.path(), options())?))?;
            wal.close()?;
            opens.push(seconds / *count as f64);
        }
    }
    let (replays, opens): (Vec<_>, Vec<_>) = rounds.into_iter().unzip();
    let of = |what: &str| format!("{what}, segments of {}", bytes_text(segment_bytes));
    let mut lines = compared(&of("replay"), &OPENED, replays);
    lines.extend(compared(&of("open, nothing summed"), &OPENED, opens));
    Ok(lines)
}

fn truncations(run: &Run) -> Answer<Vec<Line>> {
    let bytes = run.size.small_segment_bytes;
    let counts = run.size.small_segments;
    let mut logs = Vec::new();
    for count in counts {
        let dir = run.fresh_dir()?;
        truncate::write_segments(dir.path(), bytes, count)?;
        logs.push((count, dir));
    }
    let mut rounds = counts.map(|_| Vec::new());
    for _ in 0..run.rounds.min(run.size.small_rounds) {
        for ((count, dir), rounds) in logs.iter().zip(&mut rounds) {
            let (seconds, _) = truncate::truncate(run, dir.path(), bytes, |series| series.0 % 2 == 0)?;
            rounds.push(seconds / *count as f64);
        }
    }
    Ok(compared(&format!("truncate, segments of {}, half kept", bytes_text(bytes)), &counts, rounds.into()))
}

/// A line for each size; all but the first are held against the first.
fn compared(what: &str, counts: &[u64], rounds: Vec<Vec<f64>>) -> Vec<Line> {
    let first = rounds.first().cloned().unwrap_or_default();
    let mut lines = Vec::new();
    for (at, (count, rounds)) in counts.iter().zip(rounds).enumerate() {
        let line = Line::new(format!("{what}: for each of {count}"), Unit::Millis, rounds);
        let goal = Goal::AtMost { times: LINEAR, of: "the first", rounds: first.clone() };
        lines.push(if at == 0 { line } else { line.goal(goal) });
    }
    lines
}
