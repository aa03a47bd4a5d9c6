//! Row B: appending series.

use std::path::Path;

use wal_benches::{cluster_series, open};
use wal_engine::{Preallocation, Series, WalOptions};

use crate::run::{Answer, BATCH, Run, timed};
use crate::table::{Goal, Line, Unit};

/// Series a second that the reference appends.
const REFERENCE_SERIES: f64 = 2.4e6;

/// Row B: series of ten labels, in batches, until the kernel has all bytes.
pub(crate) fn series(run: &Run) -> Answer<Vec<Line>> {
    let series = cluster_series(0..run.size.series);
    let ways = [("no space prepared", Preallocation::None), ("default options", Preallocation::default())];
    let mut rounds = ways.map(|_| Vec::new());
    for _ in 0..run.rounds {
        for ((_, preallocation), rounds) in ways.iter().zip(&mut rounds) {
            let dir = run.fresh_dir()?;
            let seconds = append_series(dir.path(), &series, *preallocation)?;
            rounds.push(series.len() as f64 / seconds);
        }
    }
    let goal = || Goal::Reference { rate: REFERENCE_SERIES, times: 3.0 };
    let lines = ways.iter().zip(rounds).map(|((how, _), rounds)| {
        Line::new(format!("append series of ten labels, batches of {BATCH}, {how}"), Unit::Rate, rounds)
            .goal(goal())
    });
    Ok(lines.collect())
}

fn append_series(dir: &Path, series: &[Series], preallocation: Preallocation) -> Answer<f64> {
    let wal = open(dir, WalOptions::default().preallocation(preallocation))?;
    let (seconds, ()) = timed(|| {
        for batch in series.chunks(BATCH) {
            wal.log_series(batch)?;
        }
        // Dropping writes the buffers and does not sync: that is the end of what is measured.
        drop(wal);
        Ok(())
    })?;
    Ok(seconds)
}
