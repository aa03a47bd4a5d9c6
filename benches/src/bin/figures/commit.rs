//! Row E: how long a commit takes when its segment is full, and whether others notice.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use wal_benches::{SERIES, Workload, open};
use wal_engine::WalOptions;

use crate::machine;
use crate::run::{Answer, BATCH, Run, bytes_text, fresh_dir_in, timed};
use crate::table::{Goal, Line, Unit, median, part};

/// Syncs, by their median, that a commit which waits for a rotation may take.
const SYNCS: f64 = 5.0;

/// How much worse than in a log that never rotates the bad moments of all other commits may be.
const NOTICE: f64 = 1.5;

/// Row E: one thread commits batch after batch, through several rotations.
pub(crate) fn rotation(run: &Run) -> Answer<Vec<Line>> {
    let place = run.journal.as_deref().unwrap_or(&run.dir);
    let mut syncs = Quantiles::default();
    let mut others = Quantiles::default();
    let mut rotating = Quantiles::default();
    let mut unbroken = Quantiles::default();
    for _ in 0..run.rounds.min(run.size.rotation_rounds) {
        let dir = fresh_dir_in(place)?;
        syncs.add(&bare_syncs(dir.path(), run.size.bare_syncs)?);
        let (bytes, rotations) = (run.size.segment_bytes, run.size.rotations);
        let found = commits(&dir.path().join("log"), bytes, |found| rotations <= found.rotating.len())?;
        others.add(&found.others);
        rotating.add(&found.rotating);
        let (bytes, many) = (bytes * (rotations as u64 + 1), found.others.len());
        let found = commits(&dir.path().join("unbroken"), bytes, |found| many <= found.others.len())?;
        unbroken.add(&found.others);
    }
    let on = machine::file_system(place);
    let limit = || Goal::AtMost { times: SYNCS, of: "median sync", rounds: syncs.median.clone() };
    // The device has its own bad moments and space is written ahead, which a commit cannot but notice.
    let of = "p99.9 in one segment";
    let unnoticed = Goal::AtMost { times: NOTICE, of, rounds: unbroken.most.clone() };
    let segment = bytes_text(run.size.segment_bytes);
    let of_many = |what: &str, rounds: &[f64]| Line::new(what, Unit::Micros, rounds.to_vec());
    Ok(vec![
        of_many(&format!("bare write and fdatasync of 11 KiB into zeros, median, {on}"), &syncs.median),
        of_many("the same, p99.9", &syncs.most),
        of_many(&format!("commits of {BATCH} samples into one segment, median"), &unbroken.median),
        of_many("the same, p99.9", &unbroken.most),
        of_many("the same, worst", &unbroken.worst),
        of_many(&format!("commits of {BATCH} samples between rotations, median"), &others.median),
        of_many("the same, p99.9", &others.most).goal(unnoticed),
        of_many("the same, worst", &others.worst),
        of_many(
            &format!("commits that wait for a rotation, segments of {segment}, median"),
            &rotating.median,
        ),
        of_many("the same, worst", &rotating.worst).goal(limit()),
    ])
}

/// What is told of many durations, one value a round.
#[derive(Default)]
struct Quantiles {
    median: Vec<f64>,
    most: Vec<f64>,
    worst: Vec<f64>,
}

impl Quantiles {
    fn add(&mut self, seconds: &[f64]) {
        self.median.push(median(seconds));
        self.most.push(part(seconds, 0.999));
        self.worst.push(part(seconds, 1.0));
    }
}

/// Seconds that commits took.
struct Commits {
    /// Those whose entry went into a new segment.
    rotating: Vec<f64>,
    others: Vec<f64>,
}

fn commits(dir: &Path, segment_bytes: u64, enough: impl Fn(&Commits) -> bool) -> Answer<Commits> {
    let wal = open(dir, WalOptions::default().segment_bytes_max(segment_bytes))?;
    let mut workload = Workload::new(SERIES);
    let mut found = Commits { rotating: Vec::new(), others: Vec::new() };
    let mut segment = wal.end().segment;
    while !enough(&found) {
        let batch = workload.next_batch(BATCH);
        let (seconds, at) = timed(|| {
            let at = wal.log_samples(batch)?;
            wal.commit(at)?;
            Ok(at)
        })?;
        let rotated = segment != at.segment;
        segment = at.segment;
        if rotated { found.rotating.push(seconds) } else { found.others.push(seconds) }
    }
    wal.close()?;
    Ok(found)
}

/// Seconds that each write and sync takes in a file whose blocks are written already: the device's own time.
fn bare_syncs(dir: &Path, count: usize) -> Answer<Vec<f64>> {
    let file = File::create(dir.join("bare"))?;
    let bytes = vec![0x5a; BARE_BYTES];
    file.write_all_at(&vec![0; BARE_BYTES * count], 0)?;
    file.sync_all()?;
    let write = |n: usize| {
        timed(|| {
            file.write_all_at(&bytes, (n * BARE_BYTES) as u64)?;
            Ok(file.sync_data()?)
        })
    };
    (0..count).map(|n| Ok(write(n)?.0)).collect()
}

/// About what a batch of 1000 samples takes in the log.
const BARE_BYTES: usize = 11 << 10;
