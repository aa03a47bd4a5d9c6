//! The workload that every bench here measures, the same for the same numbers, and a sink that reads all of it.
//!
//! Series look like those of a scraped fleet: six labels, names and values of ordinary length. A batch of samples has
//! one time and as many series as it has samples, and walks through all series before it comes back to the first,
//! which is how a scrape of many targets reaches a log. Values are random bits of the ordinary range, so no codec can
//! gain by guessing them.
//!
//! ```
//! use wal_benches::Workload;
//!
//! let mut workload = Workload::new(1_000);
//! let batch = workload.next_batch(100).to_vec();
//! assert_eq!(batch.len(), 100);
//! assert!(batch.iter().all(|sample| sample.time_ms == batch[0].time_ms));
//! assert_ne!(workload.next_batch(100)[0].series_ref, batch[0].series_ref);
//! ```

use std::ops::Range;
use std::path::Path;

use wal_engine::{Position, ReplaySink, Wal, WalOptions};
use wal_format::SeriesPayload;
use wal_types::{Labels, Sample, Series, SeriesRef, StoneRow};

/// How many series a log of this workload has unless a bench says otherwise.
pub const SERIES: u64 = 100_000;

/// Where time starts, in milliseconds; any recent instant would do.
const START_MS: i64 = 1_700_000_000_000;
/// Milliseconds between two rounds over all series.
const INTERVAL_MS: i64 = 15_000;

/// Makes series and batches of samples.
#[derive(Clone, Debug)]
pub struct Workload {
    series: u64,
    next: u64,
    time_ms: i64,
    random: u64,
    batch: Vec<Sample>,
}

impl Workload {
    /// A workload over `series` series, which have the references 1 to `series`.
    pub fn new(series: u64) -> Workload {
        Workload { series, next: 0, time_ms: START_MS, random: 0x5eed, batch: Vec::new() }
    }

    /// All series, to be logged before the first batch.
    pub fn series(&self) -> Vec<Series> {
        (0..self.series).map(series).collect()
    }

    /// The next batch; time goes on with every full round over the series.
    pub fn next_batch(&mut self, samples: usize) -> &[Sample] {
        self.batch.clear();
        for _ in 0..samples {
            let value = self.value();
            let series_ref = SeriesRef(self.next % self.series + 1);
            self.batch.push(Sample { series_ref, time_ms: self.time_ms, value });
            self.next += 1;
        }
        let rounds = i64::try_from(self.next / self.series).unwrap_or(i64::MAX);
        self.time_ms = START_MS.saturating_add(INTERVAL_MS.saturating_mul(rounds));
        &self.batch
    }

    /// `count` batches of `samples` each, made ahead so that making them is not measured.
    pub fn batches(&mut self, count: usize, samples: usize) -> Vec<Vec<Sample>> {
        (0..count).map(|_| self.next_batch(samples).to_vec()).collect()
    }

    /// An ordinary finite number with a random mantissa: xorshift is enough for that.
    fn value(&mut self) -> f64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        // One in [1, 2), stretched.
        (f64::from_bits(self.random >> 12 | 0x3ff0_0000_0000_0000) - 1.0) * 1e6
    }
}

fn series(index: u64) -> Series {
    let name = format!("http_server_request_duration_seconds_{}", index % 200);
    let instance = format!("10.{}.{}.{}:9100", index / 62_500 % 250, index / 250 % 250, index % 250);
    let pod =
        format!("frontend-{:08x}-{:05x}", index.wrapping_mul(0x9e37_79b1) % (1 << 32), index % 0xf_ffff);
    let labels = Labels::from_pairs([
        ("__name__", name.as_str()),
        ("instance", instance.as_str()),
        ("job", "kubernetes-pods"),
        ("method", ["GET", "POST", "PUT", "DELETE"][usize::try_from(index % 4).unwrap_or(0)]),
        ("namespace", "production"),
        ("pod", pod.as_str()),
    ]);
    Series { series_ref: SeriesRef(index + 1), labels }
}

/// Series of ten labels each, about 260 bytes in the log: what a monitored cluster gives its metrics, most of it the
/// same for many series. `numbers` tells which ones; the references are one higher.
pub fn cluster_series(numbers: Range<u64>) -> Vec<Series> {
    numbers.map(cluster_one).collect()
}

fn cluster_one(index: u64) -> Series {
    let service = ["checkout", "catalogue", "frontend", "payments", "search-indexer"];
    let service = service[usize::try_from(index / 7 % 5).unwrap_or(0)];
    let name = format!("grpc_server_handled_latency_seconds_bucket_{}", index % 300);
    let instance = format!("10.{}.{}.{}:8080", index / 62_500 % 250, index / 250 % 250, index % 250);
    let mixed = index.wrapping_mul(0x9e37_79b1) % (1 << 32);
    let pod = format!("{service}-{mixed:08x}-{:05x}", index % 0xf_ffff);
    let node = format!("ip-10-0-{}-{}.eu-central-1.compute.internal", index / 200 % 250, index % 200);
    let le = format!("{}", f64::from(u32::try_from(index % 12).unwrap_or(0)) / 4.0);
    let labels = Labels::from_pairs([
        ("__name__", name.as_str()),
        ("cluster", "production-eu-1"),
        ("container", service),
        ("instance", instance.as_str()),
        ("job", "kubernetes-service-endpoints"),
        ("le", le.as_str()),
        ("method", ["Get", "List", "Update", "Watch"][usize::try_from(index % 4).unwrap_or(0)]),
        ("namespace", "shop"),
        ("node", node.as_str()),
        ("pod", pod.as_str()),
    ]);
    Series { series_ref: SeriesRef(index + 1), labels }
}

/// A sink that touches every item, so that a replay cannot skip making them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum {
    /// Items of each kind: series, samples, rows of deletes.
    pub items: (u64, u64, u64),
    /// The values of all samples added up.
    pub values: f64,
}

impl ReplaySink for Sum {
    fn series(&mut self, _at: Position, batch: &SeriesPayload<'_>) {
        for view in batch.iter() {
            self.items.0 += u64::from(view.series_ref != SeriesRef(0));
        }
    }

    fn samples(&mut self, _at: Position, batch: &[Sample]) {
        self.items.1 += u64::try_from(batch.len()).unwrap_or(u64::MAX);
        self.values += batch.iter().map(|sample| sample.value).sum::<f64>();
    }

    fn deletes(&mut self, _at: Position, batch: &[StoneRow]) {
        self.items.2 += u64::try_from(batch.len()).unwrap_or(u64::MAX);
    }
}

/// Opens the log in `dir` for appending, whatever it holds.
pub fn open(dir: &Path, options: WalOptions) -> Result<Wal, wal_engine::Error> {
    let (wal, _) = Wal::open(dir, options)?.replay(&mut ())?;
    Ok(wal)
}

/// Writes a log of at least `bytes` into `dir`: the series, then batches of 1000 samples. Returns the samples.
pub fn write_log(dir: &Path, series: u64, bytes: u64) -> Result<u64, wal_engine::Error> {
    let wal = open(dir, WalOptions::default())?;
    let samples = fill(&wal, series, bytes)?;
    wal.close()?;
    Ok(samples)
}

/// Appends `series` series, and then batches of 1000 samples until the log has taken `bytes`. Returns the samples.
pub fn fill(wal: &Wal, series: u64, bytes: u64) -> Result<u64, wal_engine::Error> {
    let mut workload = Workload::new(series);
    for chunk in workload.series().chunks(1000) {
        wal.log_series(chunk)?;
    }
    let mut samples = 0;
    while wal.metrics().appended_bytes < bytes {
        wal.log_samples(workload.next_batch(1000))?;
        samples += 1000;
    }
    Ok(samples)
}
