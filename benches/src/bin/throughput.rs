//! One table: samples appended and replayed a second, medians of interleaved runs, and the memory of a large replay.
//!
//! Runs are interleaved because the machine changes under them: what is slow for a minute is slow for all. The peak of
//! memory is read in a process that does nothing but replay a log which another process wrote.
#![allow(clippy::print_stdout, reason = "it prints a table")]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use wal_benches::{SERIES, Sum, Workload, open, write_log};
use wal_engine::{Wal, WalOptions};

type Answer<T> = Result<T, Box<dyn Error>>;

/// How much of everything; `--smoke` only finds out whether it works.
struct Size {
    rounds: usize,
    batches: usize,
    series: u64,
    memory_log_bytes: u64,
}

const FULL: Size = Size { rounds: 7, batches: 20_000, series: SERIES, memory_log_bytes: 1 << 30 };
const SMOKE: Size = Size { rounds: 1, batches: 200, series: 1_000, memory_log_bytes: 8 << 20 };
const BATCH: usize = 1000;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        [] => table(&FULL, None),
        ["--smoke"] => table(&SMOKE, None),
        ["--dir", dir] => table(&FULL, Some(dir)),
        // The two halves of the memory measurement, each in a process of its own.
        ["write", dir, series, bytes] => write(Path::new(dir), series, bytes),
        ["replay", dir] => replay_and_tell(Path::new(dir)),
        ["replay-rate", dir, threads] => replay_rate(Path::new(dir), threads),
        _ => Err("throughput [--smoke | --dir DIR]: DIR is where the logs are written, the temporary directory by default".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("throughput: {why}");
            ExitCode::FAILURE
        }
    }
}

fn table(size: &Size, within: Option<&str>) -> Answer<()> {
    let place = within.map_or_else(std::env::temp_dir, PathBuf::from);
    let mut append = Vec::new();
    let mut replay = [Vec::new(), Vec::new()];
    let batches = Workload::new(size.series).batches(size.batches, BATCH);
    for _ in 0..size.rounds {
        let dir = tempfile::tempdir_in(&place)?;
        append.push(append_once(dir.path(), &batches)?);
        // Not measured: opening makes durable what the dropped log left to the kernel, which is the
        // disk's time and not replay's.
        open(dir.path(), WalOptions::default())?.close()?;
        for (threads, rates) in [1, 2].into_iter().zip(&mut replay) {
            let (rate, samples) = replay_once(dir.path(), threads)?;
            if usize::try_from(samples)? != size.batches * BATCH {
                return Err(format!("{samples} samples came back of {}", size.batches * BATCH).into());
            }
            rates.push(rate);
        }
    }
    println!(
        "| measured ({} rounds of {} batches of {BATCH} samples) | median | min | max |",
        size.rounds, size.batches
    );
    println!("|---|---|---|---|");
    row("append, one thread, written, not synced", &mut append);
    for (threads, rates) in [1, 2].into_iter().zip(&mut replay) {
        row(&format!("replay hot, {threads} decoding threads, all values summed"), rates);
    }
    let (bytes, peak) = memory(&place, size)?;
    println!("| peak memory replaying a log of {} MiB | {} MiB | | |", bytes >> 20, peak >> 20);
    Ok(())
}

/// Samples a second from the first append until all bytes are with the kernel, which closing sees to.
fn append_once(dir: &Path, batches: &[Vec<wal_types::Sample>]) -> Answer<f64> {
    let wal = open(dir, WalOptions::default().flush_interval(None))?;
    let start = Instant::now();
    for batch in batches {
        wal.log_samples(batch)?;
    }
    // Dropping writes the buffers and does not sync; that is the end of what is measured.
    drop(wal);
    let seconds = start.elapsed().as_secs_f64();
    Ok(rate(batches.len() * BATCH, seconds))
}

/// Samples a second and the number of samples.
fn replay_once(dir: &Path, threads: usize) -> Answer<(f64, u64)> {
    let start = Instant::now();
    let mut sum = Sum::default();
    let options = WalOptions::default().flush_interval(None).replay_threads(threads);
    let (wal, _) = Wal::open(dir, options)?.replay(&mut sum)?;
    let seconds = start.elapsed().as_secs_f64();
    wal.close()?;
    if !sum.values.is_finite() {
        return Err("the values do not add up".into());
    }
    Ok((rate(usize::try_from(sum.items.1)?, seconds), sum.items.1))
}

/// The bytes of the log and the highest resident memory, in bytes, of a process that replays it.
fn memory(place: &Path, size: &Size) -> Answer<(u64, u64)> {
    let dir = tempfile::tempdir_in(place)?;
    let myself = std::env::current_exe()?;
    let numbers = [size.series.to_string(), size.memory_log_bytes.to_string()];
    let status =
        Command::new(&myself).arg("write").arg(dir.path()).args(numbers).stdin(Stdio::null()).status()?;
    if !status.success() {
        return Err("the process that writes the log failed".into());
    }
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir.path())? {
        bytes += entry?.metadata()?.len();
    }
    let output = Command::new(&myself).arg("replay").arg(dir.path()).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err("the process that replays the log failed".into());
    }
    Ok((bytes, String::from_utf8(output.stdout)?.trim().parse()?))
}

fn write(dir: &Path, series: &str, bytes: &str) -> Answer<()> {
    write_log(dir, series.parse()?, bytes.parse()?)?;
    Ok(())
}

/// One replay for a profiler.
fn replay_rate(dir: &Path, threads: &str) -> Answer<()> {
    let (rate, samples) = replay_once(dir, threads.parse()?)?;
    println!("{samples} samples, {:.1} M/s", rate / 1e6);
    Ok(())
}

fn replay_and_tell(dir: &Path) -> Answer<()> {
    replay_once(dir, 2)?;
    // Linux keeps the peak for every process; it is given in KiB.
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM in /proc/self/status")?;
    let kib: u64 = line.split_whitespace().next().ok_or("VmHWM has no number")?.parse()?;
    println!("{}", kib * 1024);
    Ok(())
}

fn rate(items: usize, seconds: f64) -> f64 {
    u32::try_from(items).map_or(f64::INFINITY, f64::from) / seconds
}

fn row(what: &str, rates: &mut [f64]) {
    rates.sort_by(f64::total_cmp);
    let show =
        |rate: Option<&f64>| rate.map_or_else(|| "-".to_owned(), |rate| format!("{:.1} M/s", rate / 1e6));
    println!(
        "| {what} | {} | {} | {} |",
        show(rates.get(rates.len() / 2)),
        show(rates.first()),
        show(rates.last())
    );
}
