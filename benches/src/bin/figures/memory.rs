//! Row J: resident memory as the operating system counts it, mapped pages included, each time of a fresh process.

use std::path::Path;
use std::process::{Command, Stdio};

use wal_benches::{Sum, Workload, open, write_log};
use wal_engine::{Wal, WalOptions};

use crate::run::{Answer, BATCH, Run, bytes_text, link_log};
use crate::table::{Goal, Line, Unit};

/// The word by which this program knows that it is such a process.
pub(crate) const CHILD: &str = "child";
/// Resident bytes that each may come to.
const REPLAYING: f64 = 64.0 * MIB;
const APPENDING: f64 = 32.0 * MIB;
const COMMITTING: f64 = 48.0 * MIB;
const MIB: f64 = 1024.0 * 1024.0;
/// Samples of one durable commit, and threads that commit.
const COMMIT_SAMPLES: usize = 10;
const COMMIT_THREADS: u64 = 64;

/// Row J: replay of a log and of a part of it, appending, many threads that commit.
pub(crate) fn peaks(run: &Run) -> Answer<Vec<Line>> {
    let size = run.size;
    let whole = run.fresh_dir()?;
    let log = whole.path().to_string_lossy().into_owned();
    let bytes = [size.memory_bytes / 4, size.memory_bytes];
    child(&["write", &log, &size.replay_series.to_string(), &size.memory_bytes.to_string()])?;
    // A log of a quarter is the first quarter of the segments.
    let quarter = run.fresh_dir()?;
    link_log(whole.path(), quarter.path(), Some(bytes[0]))?;
    let mut lines = Vec::new();
    for (dir, bytes) in [quarter.path(), whole.path()].into_iter().zip(bytes) {
        let peak = child(&["replay", &dir.to_string_lossy()])?;
        lines.push(line(format!("replay of a log of {}", bytes_text(bytes)), vec![peak], REPLAYING));
    }
    drop(whole);
    let mut rounds = (Vec::new(), Vec::new());
    for _ in 0..run.rounds.min(size.memory_rounds) {
        let dir = run.fresh_dir()?;
        rounds.0.push(child(&["append", &dir.path().to_string_lossy(), &bytes[0].to_string()])?);
        let dir = run.fresh_dir()?;
        rounds.1.push(child(&["commit", &dir.path().to_string_lossy(), &size.memory_commits.to_string()])?);
    }
    lines.push(line(format!("appending {}", bytes_text(bytes[0])), rounds.0, APPENDING));
    lines.push(line(format!("{COMMIT_THREADS} threads that commit"), rounds.1, COMMITTING));
    Ok(lines)
}

fn line(what: String, rounds: Vec<f64>, limit: f64) -> Line {
    Line::new(format!("peak of resident memory, {what}"), Unit::Bytes, rounds).goal(Goal::Limit(limit))
}

/// Runs this program as one of the processes below; returns its peak of resident memory in bytes.
fn child(words: &[&str]) -> Answer<f64> {
    let mut command = Command::new(std::env::current_exe()?);
    let output = command.arg(CHILD).args(words).stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("the process that should {} failed: {}", words.join(" "), output.status).into());
    }
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}

/// One of the processes whose memory is looked at; they also serve a profiler.
pub(crate) fn be_child(words: &[&str]) -> Answer<()> {
    match words {
        ["write", dir, series, bytes] => drop(write_log(Path::new(dir), series.parse()?, bytes.parse()?)?),
        ["replay", dir] => replay(Path::new(dir))?,
        ["append", dir, bytes] => append(Path::new(dir), bytes.parse()?)?,
        ["commit", dir, commits] => commit(Path::new(dir), commits.parse()?)?,
        _ => {
            return Err(
                "child write DIR SERIES BYTES | replay DIR | append DIR BYTES | commit DIR COMMITS".into()
            );
        }
    }
    // Linux keeps the peak for every process; it is given in KiB.
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM in /proc/self/status")?;
    let kib: u64 = peak.split_whitespace().next().ok_or("VmHWM has no number")?.parse()?;
    println!("{}", kib * 1024);
    Ok(())
}

fn replay(dir: &Path) -> Answer<()> {
    let mut sum = Sum::default();
    let (wal, _) = Wal::open(dir, WalOptions::default())?.replay(&mut sum)?;
    wal.close()?;
    if sum.items.1 == 0 || !sum.values.is_finite() {
        return Err("no samples came back".into());
    }
    Ok(())
}

fn append(dir: &Path, bytes: u64) -> Answer<()> {
    let wal = open(dir, WalOptions::default())?;
    let mut workload = Workload::new(wal_benches::SERIES);
    while wal.metrics().appended_bytes < bytes {
        wal.log_samples(workload.next_batch(BATCH))?;
    }
    wal.close()?;
    Ok(())
}

fn commit(dir: &Path, commits: u64) -> Answer<()> {
    let wal = open(dir, WalOptions::default())?;
    std::thread::scope(|scope| {
        let commit_all = || {
            let mut workload = Workload::new(wal_benches::SERIES);
            (0..commits).try_for_each(|_| wal.commit(wal.log_samples(workload.next_batch(COMMIT_SAMPLES))?))
        };
        let threads: Vec<_> = (0..COMMIT_THREADS).map(|_| scope.spawn(commit_all)).collect();
        for thread in threads {
            thread.join().map_err(|_| "a thread that commits panicked")??;
        }
        Ok::<_, Box<dyn std::error::Error>>(())
    })?;
    wal.close()?;
    Ok(())
}
