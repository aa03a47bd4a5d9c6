//! Row C: several threads append, and how long one append takes while another thread syncs all the time.

use std::path::Path;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use wal_benches::{SERIES, Workload, open};
use wal_engine::{Preallocation, Sample, WalOptions};
use wal_format::frame_samples;

use crate::run::{Answer, BATCH, Run, timed};
use crate::table::{Goal, Line, Unit, part};

/// Threads that append at once.
const THREADS: [usize; 4] = [1, 2, 4, 8];
/// The part of one thread's rate that so many threads must have at least.
const PARTS: [f64; 4] = [1.0, 1.3, 1.0, 1.0];
/// Bytes a second that are offered.
const OFFERED: f64 = 100e6;
/// Seconds that 99 of 100 appends may take at most.
const LATENCY: f64 = 20e-6;

/// Row C: the same batches, dealt out to several threads.
pub(crate) fn threads(run: &Run) -> Answer<Vec<Line>> {
    let batches = Workload::new(SERIES).batches(run.size.append_batches, BATCH);
    let mut rounds = THREADS.map(|_| Vec::new());
    for _ in 0..run.rounds {
        for (threads, rounds) in THREADS.into_iter().zip(&mut rounds) {
            let dir = run.fresh_dir()?;
            rounds.push((batches.len() * BATCH) as f64 / append(dir.path(), &batches, threads)?);
        }
    }
    let one = rounds.first().cloned().unwrap_or_default();
    let mut lines = Vec::new();
    for ((threads, part), rounds) in THREADS.into_iter().zip(PARTS).zip(rounds) {
        let line = match threads {
            1 => Line::new(format!("append samples, batches of {BATCH}, 1 thread"), Unit::Rate, rounds),
            _ => Line::new(format!("append samples, {threads} threads"), Unit::Rate, rounds)
                .goal(Goal::AtLeast { part, of: "1 thread", rounds: one.clone() }),
        };
        lines.push(line);
    }
    lines.extend(latencies(run)?);
    Ok(lines)
}

/// Seconds from the first append of any thread until the kernel has all bytes.
fn append(dir: &Path, batches: &[Vec<Sample>], threads: usize) -> Answer<f64> {
    let wal = open(dir, WalOptions::default().preallocation(Preallocation::None))?;
    let shares: Vec<_> = batches.chunks(batches.len().div_ceil(threads)).collect();
    let start = Barrier::new(shares.len() + 1);
    let append = |share: &[Vec<Sample>]| {
        start.wait();
        share.iter().try_for_each(|batch| wal.log_samples(batch).map(drop))
    };
    let began = std::thread::scope(|scope| -> Answer<Instant> {
        let appending: Vec<_> = shares.iter().map(|share| scope.spawn(|| append(share))).collect();
        start.wait();
        let began = Instant::now();
        for thread in appending {
            thread.join().map_err(|_| "a thread that appends panicked")??;
        }
        Ok(began)
    })?;
    // Dropping writes the buffers and does not sync.
    drop(wal);
    Ok(began.elapsed().as_secs_f64())
}

/// Appends at an offered rate, while another thread syncs.
fn latencies(run: &Run) -> Answer<Vec<Line>> {
    let mut lines = Vec::new();
    for samples in [BATCH, BATCH / 10] {
        let batches = Workload::new(SERIES).batches(run.size.append_batches.min(1000), samples);
        let mut rounds = [const { Vec::new() }; 4];
        for _ in 0..run.rounds.min(run.size.latency_rounds) {
            let dir = run.fresh_dir()?;
            let Taken { appends, encodings } = paced(dir.path(), &batches, run.size.latency_time)?;
            let parts = [(&appends, 0.5), (&appends, 0.99), (&encodings, 0.5), (&encodings, 0.99)];
            for (rounds, (taken, share)) in rounds.iter_mut().zip(parts) {
                rounds.push(part(taken, share));
            }
        }
        let [half, most, bare_half, bare_most] = rounds;
        let what = format!("one append of {samples} samples at 100 MB/s beside syncs");
        lines.push(Line::new(format!("{what}, p50"), Unit::Micros, half));
        lines.push(Line::new(format!("{what}, p99"), Unit::Micros, most).goal(Goal::Limit(LATENCY)));
        let what = format!("encoding {samples} samples on the same core between these appends");
        lines.push(Line::new(format!("{what}, p50"), Unit::Micros, bare_half));
        lines.push(Line::new(format!("{what}, p99"), Unit::Micros, bare_most));
    }
    Ok(lines)
}

/// Seconds that each of something took.
#[derive(Default)]
struct Taken {
    appends: Vec<f64>,
    /// The same batches encoded and checksummed into a buffer of the caller's own: what interrupts the core interrupts
    /// these too.
    encodings: Vec<f64>,
}

/// Appends on time. One that is late is followed by the next at once.
fn paced(dir: &Path, batches: &[Vec<Sample>], time: Duration) -> Answer<Taken> {
    let wal = open(dir, WalOptions::default())?;
    let before = wal.metrics().appended_bytes;
    let (first, rest) = batches.split_first().ok_or("no batch to append")?;
    wal.log_samples(first)?;
    let entry_bytes = (wal.metrics().appended_bytes - before) as f64;
    let every = Duration::from_secs_f64(entry_bytes / OFFERED);
    let stop = AtomicBool::new(false);
    let taken = std::thread::scope(|scope| {
        let syncing = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                wal.sync()?;
            }
            Ok::<_, wal_engine::Error>(())
        });
        let began = Instant::now();
        let mut due = Duration::ZERO;
        let mut taken = Taken::default();
        let mut own = Vec::new();
        let mut append = || -> Answer<()> {
            for batch in rest.iter().cycle() {
                while began.elapsed() < due {
                    std::hint::spin_loop();
                }
                taken.appends.push(timed(|| Ok(wal.log_samples(batch)?))?.0);
                own.clear();
                taken.encodings.push(timed(|| Ok(frame_samples(batch, u32::MAX, &mut own)?))?.0);
                due += every;
                if time < due {
                    break;
                }
            }
            Ok(())
        };
        let appended = append();
        stop.store(true, Ordering::Relaxed);
        syncing.join().map_err(|_| "the thread that syncs panicked")??;
        appended.map(|()| taken)
    })?;
    wal.close()?;
    Ok(taken)
}
