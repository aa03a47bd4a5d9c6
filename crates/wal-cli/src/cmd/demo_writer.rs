//! The part of `wal demo` that is killed: logs from several threads and reports what is durable.

use std::io::{self, Write};
use std::thread;
use std::time::{Duration, Instant};

use wal_engine::{RecoveryMode, Wal, WalOptions};
use wal_types::{Labels, Sample, Series, SeriesRef};

use crate::args::DemoWriterArgs;
use crate::exit::{Failure, Outcome};

/// Threads that log.
pub(super) const THREADS: u64 = 4;
/// Series of each, and samples in a batch.
pub(super) const SERIES_A_THREAD: u64 = 25;
/// The time of the first samples: 2023-11-14.
pub(super) const BASE_TIME_MS: i64 = 1_700_000_000_000;
/// Time between the samples of a series.
pub(super) const STEP_MS: i64 = 15_000;

/// The options of the demonstration's log: small segments, so that there is something to truncate.
pub(super) fn options() -> WalOptions {
    WalOptions::default().segment_bytes_max(SEGMENT_BYTES_MAX).recovery_mode(RecoveryMode::PointInTime)
}

/// The reference of a series of a thread.
pub(super) fn series_ref(thread: u64, series: u64) -> SeriesRef {
    SeriesRef(1 + thread * SERIES_A_THREAD + series)
}

/// Logs until killed, or until nobody can be listening any more.
pub(crate) fn run(args: &DemoWriterArgs) -> Result<Outcome, Failure> {
    let engine = |error| Failure::engine(&args.dir, &error);
    let (wal, _) = Wal::open(&args.dir, options()).map_err(engine)?.replay(&mut ()).map_err(engine)?;
    let deadline = Instant::now() + TIME_MAX;
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let wal = &wal;
                scope.spawn(move || log(wal, thread, deadline))
            })
            .collect();
        for thread in threads {
            match thread.join() {
                Ok(logged) => logged.map_err(engine)?,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(Outcome::Done)
    })
}

/// One thread: registers its series, then logs, commits and reports batch after batch.
#[expect(clippy::cast_precision_loss, reason = "numbers of samples stay far below 2^53")]
fn log(wal: &Wal, thread: u64, deadline: Instant) -> Result<(), wal_engine::Error> {
    let series: Vec<_> = (0..SERIES_A_THREAD).map(|index| series(thread, index)).collect();
    wal.commit(wal.log_series(&series)?)?;
    let mut time_ms = BASE_TIME_MS;
    for batch in 1_u64.. {
        if Instant::now() > deadline {
            break;
        }
        let samples: Vec<_> = (0..SERIES_A_THREAD)
            .map(|index| Sample { series_ref: series_ref(thread, index), time_ms, value: batch as f64 })
            .collect();
        wal.commit(wal.log_samples(&samples)?)?;
        // One write a line, so that the kill cuts off at most the last one.
        let report = format!("{thread} {batch}\n");
        let mut out = io::stdout().lock();
        if out.write_all(report.as_bytes()).and_then(|()| out.flush()).is_err() {
            break;
        }
        time_ms += STEP_MS;
    }
    Ok(())
}

/// A series such as a small server has many of.
fn series(thread: u64, index: u64) -> Series {
    let (instance, path) = (format!("10.0.0.{}:9100", thread + 1), format!("/api/v1/items/{index}"));
    let labels = [
        ("__name__", "http_requests_total"),
        ("instance", &instance),
        ("job", "demo"),
        ("method", if index % 5 == 0 { "POST" } else { "GET" }),
        ("path", &path),
    ];
    Series { series_ref: series_ref(thread, index), labels: Labels::from_pairs(labels) }
}

const SEGMENT_BYTES_MAX: u64 = 512 * 1024;
/// The parent kills long before; this ends a writer whose parent died.
const TIME_MAX: Duration = Duration::from_secs(20);
