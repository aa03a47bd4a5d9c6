//! Row D: how many commits a second are durable, from 1, 8 and 64 threads.

use std::path::Path;
use std::time::{Duration, Instant};

use wal_benches::open;
use wal_engine::WalOptions;
use wal_format::encode_samples;
use wal_types::Sample;

use crate::floor::{Commits, Space};
use crate::ours::Committing;
use crate::peer::{Answer, Log, Peer, Purpose};
use crate::peers;
use crate::table::{Cell, Goal, Kind, Report};
use crate::work::Batches;

/// Takes a batch and returns when it is durable.
pub(crate) trait Committer: Send + Sync {
    /// `lane` is the number of the calling thread; `scratch` is the thread's own, to encode in.
    fn commit(&self, lane: usize, batch: &[Sample], scratch: &mut Vec<u8>) -> Answer<()>;
    fn close(self: Box<Self>) -> Answer<()>;
}

impl Committer for Box<dyn Log> {
    fn commit(&self, lane: usize, batch: &[Sample], scratch: &mut Vec<u8>) -> Answer<()> {
        scratch.clear();
        encode_samples(batch, scratch);
        Log::commit(&**self, lane, scratch)
    }

    fn close(self: Box<Self>) -> Answer<()> {
        (*self).close()
    }
}

/// How long and how often.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    pub(crate) warm_up: Duration,
    pub(crate) window: Duration,
}

enum Who {
    Ours,
    Floor(Space),
    Peer(&'static Peer),
}

/// All numbers of threads and both sizes on one file system.
pub(crate) fn row(dir: &Path, place: &str, plan: &Plan, report: &mut Report) -> Answer<()> {
    for size in [10, 1000] {
        let batches = Batches::new(size);
        let bytes = batches.payload_bytes(1);
        for threads in [1, 8, 64] {
            let what =
                format!("{place}, {threads} thread{}, {size} samples", if threads == 1 { "" } else { "s" });
            let mut cell = Cell::new(format!("D. Durable commits, {what} ({bytes} bytes)"), "k/s", 1e3);
            let mut latencies = Vec::new();
            for round in 0..plan.rounds {
                for who in contestants() {
                    let (name, kind) = name(&who);
                    let place = tempfile::tempdir_in(dir)?;
                    let log = start(&who, place.path(), threads)?;
                    let taken =
                        measure(&*log, &batches, threads, plan).map_err(|e| format!("{name}: {e}"))?;
                    log.close()?;
                    if matches!(who, Who::Ours) {
                        latencies.extend_from_slice(&taken);
                    }
                    cell.add(round, &name, kind, taken.len() as f64 / plan.window.as_secs_f64());
                }
            }
            let least = match (threads, size) {
                (1, _) => 0.95,
                (_, 10) => 1.05,
                _ => 1.3,
            };
            report.goal(&format!("D {what}"), Goal::BestPeer(least), &cell, OURS);
            report.cell(&cell, OURS);
            report.line(&told(&mut latencies));
        }
    }
    Ok(())
}

fn contestants() -> impl Iterator<Item = Who> {
    let spaces = [Space::Growing, Space::Fallocated, Space::Zeros].map(Who::Floor);
    let peers = peers::ALL.iter().filter(|peer| peer.syncs).map(Who::Peer);
    std::iter::once(Who::Ours).chain(spaces).chain(peers)
}

fn name(who: &Who) -> (String, Kind) {
    match who {
        Who::Ours => (OURS.to_owned(), Kind::Ours),
        Who::Floor(Space::Growing) => ("floor: write, fdatasync, growing file".to_owned(), Kind::Floor),
        Who::Floor(Space::Fallocated) => ("floor: the same, fallocated file".to_owned(), Kind::Floor),
        Who::Floor(Space::Zeros) => ("floor: the same, zero-written file".to_owned(), Kind::Floor),
        Who::Peer(peer) => (peer.label(), Kind::Peer),
    }
}

fn start(who: &Who, dir: &Path, threads: usize) -> Answer<Box<dyn Committer>> {
    Ok(match who {
        Who::Ours => Box::new(Committing(open(dir, WalOptions::default())?)),
        Who::Floor(space) => Box::new(Commits::new(dir, *space)?),
        Who::Peer(peer) => Box::new((peer.open)(dir, Purpose::Commit { threads })?),
    })
}

/// What each commit that ended within the window took, in nanoseconds.
fn measure(log: &dyn Committer, batches: &Batches, threads: usize, plan: &Plan) -> Answer<Vec<u64>> {
    let begin = Instant::now() + plan.warm_up;
    let end = begin + plan.window;
    std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..threads)
            .map(|lane| scope.spawn(move || commit_until(log, batches, lane, begin, end)))
            .collect();
        let mut all = Vec::new();
        for lane in lanes {
            all.extend(lane.join().map_err(|_| "a committing thread panicked")??);
        }
        Ok(all)
    })
}

fn commit_until(
    log: &dyn Committer,
    batches: &Batches,
    lane: usize,
    begin: Instant,
    end: Instant,
) -> Answer<Vec<u64>> {
    let mut taken = Vec::with_capacity(COMMITS_EXPECTED);
    let mut scratch = Vec::new();
    let mut before = Instant::now();
    for batch in batches.walk(lane * LANE_BATCHES, usize::MAX) {
        log.commit(lane, batch, &mut scratch)?;
        let after = Instant::now();
        if end <= after {
            break;
        }
        if begin <= after {
            taken.push(u64::try_from((after - before).as_nanos())?);
        }
        before = after;
    }
    Ok(taken)
}

fn told(latencies: &mut [u64]) -> String {
    latencies.sort_unstable();
    let at = |part: usize| latencies.get(latencies.len() * part / 1000).map_or(0, |nanos| nanos / 1000);
    let longest = latencies.last().map_or(0, |nanos| nanos / 1000);
    format!(
        "Ours, microseconds a commit: p50 {}, p99 {}, longest {longest} of {}.",
        at(500),
        at(990),
        latencies.len()
    )
}

const OURS: &str = "ours";
const COMMITS_EXPECTED: usize = 1 << 14;
/// Batches between the first one of one thread and that of the next.
const LANE_BATCHES: usize = 37;
