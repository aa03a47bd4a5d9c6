//! Rows A and F: samples in from one thread without a sync, and the same logs out again.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::unistd::syncfs;
use tempfile::TempDir;
use wal_engine::Preallocation;

use crate::peer::{Answer, Peer, Purpose};
use crate::table::{Cell, Goal, Kind, Report, rate};
use crate::work::{Batches, Source, Totals};
use crate::{floor, ours, peers};

/// How much, and how often.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) samples: usize,
    pub(crate) append_rounds: usize,
    pub(crate) replay_rounds: usize,
}

#[derive(Clone, Copy)]
enum Who {
    Ours,
    OursDefault,
    Floor,
    FloorZeros,
    Peer(&'static Peer),
}

/// A log of the last round, to be replayed.
struct Written {
    who: Who,
    dir: TempDir,
}

/// Row A for one size of batches; the sizes that a replay is wanted of go on to row F.
pub(crate) fn row(dir: &Path, size: usize, replayed: bool, plan: &Plan, report: &mut Report) -> Answer<()> {
    let batches = Batches::new(size);
    let count = plan.samples / size;
    let what = format!("{} samples in batches of {size}", count * size);
    let mut cell = Cell::new(format!("A. Append, {what}, not synced"), "M/s", 1e6);
    let mut last = Vec::new();
    for round in 0..plan.append_rounds {
        last.clear();
        for who in contestants() {
            let written = Written { who, dir: tempfile::tempdir_in(dir)? };
            let (name, kind) = name(who);
            let elapsed = append(&written, &batches, count).map_err(|e| format!("{name}: {e}"))?;
            cell.add(round, &name, kind, rate(count * size, elapsed));
            if round + 1 == plan.append_rounds {
                last.push(written);
            }
        }
    }
    let floor_least = if size == 10 { 0.70 } else { 0.85 };
    let label = format!("A batches of {size}");
    report.goal(&label, Goal::Other(floor_least, FLOOR), &cell, OURS);
    report.goal(&label, Goal::BestPeer(1.5), &cell, OURS);
    report.goal(
        &format!("{label}, default options"),
        Goal::Other(floor_least, FLOOR_ZEROS),
        &cell,
        OURS_DEFAULT,
    );
    report.cell(&cell, OURS);
    if replayed {
        replay(dir, &last, &what, &batches.totals(count), plan, report)?;
    }
    Ok(())
}

fn contestants() -> impl Iterator<Item = Who> {
    let own = [Who::Ours, Who::Floor, Who::OursDefault, Who::FloorZeros];
    own.into_iter().chain(peers::ALL.iter().map(Who::Peer))
}

fn name(who: Who) -> (String, Kind) {
    match who {
        Who::Ours => (OURS.to_owned(), Kind::Ours),
        Who::OursDefault => (OURS_DEFAULT.to_owned(), Kind::Ours),
        Who::Floor => (FLOOR.to_owned(), Kind::Floor),
        Who::FloorZeros => (FLOOR_ZEROS.to_owned(), Kind::Floor),
        Who::Peer(peer) => (peer.append_label(), Kind::Peer),
    }
}

fn append(written: &Written, batches: &Batches, count: usize) -> Answer<Duration> {
    let dir = written.dir.path();
    let walk = batches.walk(0, count);
    match written.who {
        Who::Ours => ours::append(dir, walk, Preallocation::None),
        Who::OursDefault => ours::append(dir, walk, Preallocation::default()),
        Who::Floor => floor::append(dir, walk, false),
        Who::FloorZeros => floor::append(dir, walk, true),
        Who::Peer(peer) => {
            let log = (peer.open)(dir, Purpose::Append { bytes: batches.payload_bytes(count) })?;
            let start = Instant::now();
            log.append_all(&mut Source::new(walk))?;
            let elapsed = start.elapsed();
            log.close()?;
            Ok(elapsed)
        }
    }
}

/// Row F: every log that has a way to be replayed, from the page cache.
fn replay(
    dir: &Path,
    logs: &[Written],
    what: &str,
    expected: &Totals,
    plan: &Plan,
    report: &mut Report,
) -> Answer<()> {
    let own = logs.iter().find(|log| matches!(log.who, Who::Ours)).ok_or("our own log was not kept")?;
    ours::settle(own.dir.path())?;
    syncfs(std::fs::File::open(dir)?)?;
    let segment = segment(own.dir.path())?;
    let bytes = std::fs::read(&segment)?;
    let mut copied = bytes.clone();
    let pieces = [1, 2].map(|threads| floor::pieces(&segment, threads));
    let samples = usize::try_from(expected.samples)?;
    let mut cell = Cell::new(format!("F. Replay from the page cache, {what}, opening included"), "M/s", 1e6);
    for round in 0..plan.replay_rounds {
        for (threads, name) in [(1, OURS_1), (2, OURS_2)] {
            let (elapsed, totals) = ours::replay(own.dir.path(), threads)?;
            totals.check(expected)?;
            cell.add(round, name, Kind::Ours, rate(samples, elapsed));
        }
        for (pieces, name) in pieces.iter().zip([SCAN_1, SCAN_2]) {
            let pieces = pieces.as_ref().map_err(|e| e.to_string())?;
            let (elapsed, payloads) = floor::scan(&segment, pieces)?;
            if bytes.len() as u64 <= payloads {
                return Err("the checksum-only scan saw more than there is".into());
            }
            cell.add(round, name, Kind::Floor, rate(samples, elapsed));
        }
        cell.add(round, COPY, Kind::Floor, rate(samples, floor::copy(&bytes, &mut copied)));
        for log in logs {
            let Who::Peer(peer) = log.who else { continue };
            let Some(replay) = peer.replay else { continue };
            let mut totals = Totals::default();
            let start = Instant::now();
            replay(log.dir.path(), &mut totals).map_err(|e| format!("{}: {e}", peer.name))?;
            let elapsed = start.elapsed();
            totals.check(expected).map_err(|e| format!("{}: {e}", peer.name))?;
            cell.add(round, &peer.label(), Kind::Peer, rate(samples, elapsed));
        }
    }
    let label = format!("F {what}");
    report.goal(&label, Goal::Rate(8.0 * REFERENCE, "8 times the reference"), &cell, OURS_1);
    report.goal(&label, Goal::Rate(12.0 * REFERENCE, "12 times the reference"), &cell, OURS_2);
    report.goal(&label, Goal::Other(0.5, SCAN_1), &cell, OURS_1);
    report.goal(&label, Goal::Other(0.5, SCAN_2), &cell, OURS_2);
    report.goal(&label, Goal::BestPeer(1.0), &cell, OURS_1);
    report.cell(&cell, OURS_1);
    Ok(())
}

/// The one file that our log is in: the work is cut so that it needs no second one.
fn segment(dir: &Path) -> Answer<PathBuf> {
    let files = std::fs::read_dir(dir)?.map(|file| Ok(file?.path())).collect::<Answer<Vec<_>>>()?;
    let numbered = |path: &&PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.bytes().all(|byte| byte.is_ascii_digit())
    };
    let segments: Vec<&PathBuf> = files.iter().filter(numbered).collect();
    match segments.as_slice() {
        [only] => Ok((*only).clone()),
        more => Err(format!("{} segments where one was expected", more.len()).into()),
    }
}

const OURS: &str = "ours, no preallocation";
const OURS_DEFAULT: &str = "ours, default options";
const FLOOR: &str = "floor: one buffer, one write";
const FLOOR_ZEROS: &str = "floor: the same behind zeros";
const OURS_1: &str = "ours, 1 decoding thread";
const OURS_2: &str = "ours, 2 decoding threads";
const SCAN_1: &str = "floor: checksums only, 1 thread";
const SCAN_2: &str = "floor: checksums only, 2 threads";
const COPY: &str = "floor: the bytes copied in memory";

/// Samples a second that the reference replays on a machine like the one of the goals.
const REFERENCE: f64 = 31e6;
