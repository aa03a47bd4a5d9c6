//! Row H: what needs little of a log that is mostly samples: series only, a verdict, an account.

use std::path::Path;

use wal_benches::Sum;
use wal_engine::{LogEntry, Position, ReadEvent, ReadOptions, ReplaySink, SeriesPayload, WalReader};
use wal_format::Payload;

use crate::floor::ChecksumScan;
use crate::replay::{THREADS, replay, threads_text, write_samples};
use crate::run::{Answer, Run, timed};
use crate::table::{Goal, Line, Unit};

/// Row H: series alone beside the bare scan, and what `wal verify` and `wal stat` do beside a replay of everything.
pub(crate) fn little(run: &Run) -> Answer<Vec<Line>> {
    let dir = run.fresh_dir()?;
    let series = run.size.replay_series;
    let samples = write_samples(dir.path(), run.size, series)?;
    let scans = [ChecksumScan::new(dir.path(), 1)?, ChecksumScan::new(dir.path(), 2)?];
    let mut rounds = THREADS.map(|_| Reads::default());
    let (mut verify, mut stat) = (Vec::new(), Vec::new());
    for _ in 0..run.rounds {
        for ((threads, scan), reads) in THREADS.into_iter().zip(&scans).zip(&mut rounds) {
            reads.scan.push(timed(|| scan.run())?.0);
            let mut only = SeriesOnly::default();
            reads.series.push(replay(dir.path(), threads, &mut only)?);
            if only.0 != series {
                return Err(format!("{} series came back of {series}", only.0).into());
            }
            reads.all.push(replay(dir.path(), threads, &mut Sum::default())?);
        }
        let mut entries = 0;
        verify.push(read(dir.path(), |_| entries += 1)?);
        let mut account = Account::default();
        stat.push(read(dir.path(), |entry| account.entry(entry))?);
        if entries != account.entries || account.items != series + samples {
            return Err(format!("{} items were read of {series} + {samples}", account.items).into());
        }
    }
    let mut lines = Vec::new();
    for (threads, Reads { scan, series, all }) in THREADS.into_iter().zip(&rounds) {
        let threads = threads_text(threads);
        let floor = Goal::AtMost { times: 1.3, of: "read and check", rounds: scan.clone() };
        lines.push(Line::new(
            format!("read and check a log of samples, {threads}"),
            Unit::Millis,
            scan.clone(),
        ));
        lines.push(
            Line::new(format!("replay its series only, {threads}"), Unit::Millis, series.clone()).goal(floor),
        );
        lines.push(Line::new(format!("replay all of it, {threads}"), Unit::Millis, all.clone()));
    }
    let [Reads { all, .. }, _] = rounds;
    for (what, rounds) in
        [("as `wal verify` does", verify), ("as `wal stat` does, every item looked at", stat)]
    {
        let goal = Goal::AtMost { times: 1.2, of: "replay, 1 thread", rounds: all.clone() };
        lines.push(Line::new(format!("read all of it {what}"), Unit::Millis, rounds).goal(goal));
    }
    Ok(lines)
}

/// Seconds of each round.
#[derive(Default)]
struct Reads {
    scan: Vec<f64>,
    series: Vec<f64>,
    all: Vec<f64>,
}

/// Counts series, and takes no samples.
#[derive(Default)]
struct SeriesOnly(u64);

impl ReplaySink for SeriesOnly {
    fn wants_samples(&self) -> bool {
        false
    }

    fn series(&mut self, _at: Position, batch: &SeriesPayload<'_>) {
        self.0 += batch.len() as u64;
    }
}

/// The least that an account of a log looks at.
#[derive(Default)]
struct Account {
    entries: u64,
    items: u64,
    label_bytes: usize,
    times_ms: Option<(i64, i64)>,
}

impl Account {
    fn entry(&mut self, entry: &LogEntry<'_>) {
        self.entries += 1;
        match &entry.payload {
            Payload::Series(payload) => {
                for series in payload.iter() {
                    self.items += 1;
                    self.label_bytes +=
                        series.labels.iter().map(|label| label.name.len() + label.value.len()).sum::<usize>();
                }
            }
            Payload::Samples(payload) => {
                payload.for_each(|sample| {
                    self.items += 1;
                    let (least, most) = self.times_ms.unwrap_or((sample.time_ms, sample.time_ms));
                    self.times_ms = Some((least.min(sample.time_ms), most.max(sample.time_ms)));
                });
            }
            Payload::Deletes(payload) => self.items += payload.len() as u64,
        }
    }
}

/// Seconds that it takes to read everything the way the tool does, which goes on behind damage.
fn read(dir: &Path, mut look: impl FnMut(&LogEntry<'_>)) -> Answer<f64> {
    let (seconds, ()) = timed(|| {
        let mut reader = WalReader::open(dir, ReadOptions::default().skip_damaged(true))?;
        while let Some(event) = reader.next()? {
            match event {
                ReadEvent::Entry(entry) => look(&entry),
                ReadEvent::Fault(fault) => {
                    return Err(format!("a log just written has a fault: {fault:?}").into());
                }
                _ => {}
            }
        }
        Ok(())
    })?;
    Ok(seconds)
}
