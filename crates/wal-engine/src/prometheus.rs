//! The counters of a log for a Prometheus registry, under the reference's names where it had them.

use std::fmt;
use std::sync::{Arc, Weak};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use crate::metrics::{SYNC_BUCKETS_NANOS, WalMetrics};
use crate::progress::ReadProgress;
use crate::wal::Wal;

/// Gives a registry the counters of a log, read afresh on each scrape. A scrape waits for no file.
///
/// Register it with [`Registry::register_collector`](prometheus_client::registry::Registry::register_collector).
/// It does not keep the log open: once that is closed, it yields nothing but the progress of replay.
///
/// The names of the reference are kept: `prometheus_tsdb_wal_fsync_duration_seconds` (there a summary,
/// here a histogram, with the same `_sum` and `_count`) and `prometheus_tsdb_wal_corruptions_total`. All
/// others begin with `wal_`; docs/OPERATING.md has what to do about each.
#[derive(Debug, Default)]
pub struct WalCollector {
    log: Weak<Wal>,
    progress: Option<ReadProgress>,
}

impl WalCollector {
    /// A collector of this log.
    #[must_use]
    pub fn new(log: &Arc<Wal>) -> Self {
        Self { log: Arc::downgrade(log), progress: None }
    }

    /// A collector of what a replay has read so far, for the time when there is no log yet.
    #[must_use]
    pub fn replaying(progress: ReadProgress) -> Self {
        Self { log: Weak::new(), progress: Some(progress) }
    }
}

impl Collector for WalCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = Out(&mut encoder);
        if let Some(progress) = &self.progress {
            out.gauge_bytes("wal_replay_total", "Bytes that the replay has to read", progress.total_bytes())?;
            out.gauge_bytes("wal_replay_done", "Bytes that the replay has read", progress.done_bytes())?;
        }
        match self.log.upgrade() {
            Some(log) => encode(&log.metrics(), &mut out),
            None => Ok(()),
        }
    }
}

/// Writes one family after another.
struct Out<'a, 'e>(&'a mut DescriptorEncoder<'e>);

impl Out<'_, '_> {
    fn family<'s>(
        &'s mut self,
        name: &'s str,
        help: &str,
        unit: Option<&'s Unit>,
        kind: MetricType,
    ) -> Result<MetricEncoder<'s>, fmt::Error> {
        self.0.encode_descriptor(name, help, unit, kind)
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let counter = ConstCounter::new(value);
        counter.encode(self.family(name, help, None, counter.metric_type())?)
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        gauge_of(value).encode(self.family(name, help, None, MetricType::Gauge)?)
    }

    fn gauge_bytes(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        gauge_of(value).encode(self.family(name, help, Some(&Unit::Bytes), MetricType::Gauge)?)
    }

    fn by_kind(&mut self, name: &str, help: &str, unit: Option<&Unit>, values: [u64; 3]) -> fmt::Result {
        let mut family = self.family(name, help, unit, MetricType::Counter)?;
        for (kind, value) in KINDS.into_iter().zip(values) {
            ConstCounter::new(value).encode(family.encode_family(&[("type", kind)])?)?;
        }
        Ok(())
    }
}

const KINDS: [&str; 3] = ["series", "samples", "deletes"];

/// Gauges are signed.
fn gauge_of(value: u64) -> ConstGauge<i64> {
    ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX))
}

fn encode(now: &WalMetrics, out: &mut Out<'_, '_>) -> fmt::Result {
    let help = "Time that syncs of segment files took";
    let mut syncs =
        out.family("prometheus_tsdb_wal_fsync_duration", help, Some(&Unit::Seconds), MetricType::Histogram)?;
    let bounds = SYNC_BUCKETS_NANOS.map(seconds).into_iter().chain([f64::MAX]);
    let buckets: Vec<(f64, u64)> = bounds.zip(now.sync_buckets).collect();
    syncs.encode_histogram::<[(&str, &str); 0]>(seconds(now.sync_nanos_total), now.syncs, &buckets, None)?;
    out.counter(
        "prometheus_tsdb_wal_corruptions",
        "Faults found in the log when it was opened or truncated",
        now.corruptions,
    )?;
    let kinds = [now.series, now.samples, now.deletes];
    out.by_kind("wal_appended_entries", "Entries accepted", None, kinds.map(|kind| kind.entries))?;
    let help = "Bytes of entries accepted";
    out.by_kind("wal_appended", help, Some(&Unit::Bytes), kinds.map(|kind| kind.bytes))?;
    out.counter("wal_write_failures", "Writes and syncs that failed, a full disk included", now.failures)?;
    out.counter("wal_mark_failures", "Writes of the durable mark that failed", now.mark_failures)?;
    out.counter("wal_truncations", "Truncations that ended well", now.truncations)?;
    out.counter("wal_truncations_failed", "Truncations that failed", now.truncations_failed)?;
    out.counter("wal_rotations", "Rotations to a further segment", now.rotations)?;
    out.gauge("wal_segment_current", "Number of the segment that entries go into", now.segment)?;
    out.gauge("wal_segments", "Segment files", now.segments)?;
    out.gauge_bytes("wal_disk", "Bytes of all segment files, prepared space included", now.disk_bytes)?;
    out.gauge_bytes("wal_durable_lag", "Bytes accepted that no sync has covered yet", now.unsynced_bytes)?;
    out.gauge_bytes("wal_quarantine", "Bytes that repairs have set aside", now.quarantine_bytes)?;
    out.gauge("wal_poisoned", "1 when the log refuses to go on until it is reopened", now.poisoned)?;
    out.gauge("wal_stalled", "1 while the disk is full and the log takes no entries", now.stalled)
}

#[allow(clippy::cast_precision_loss, reason = "a duration in seconds is a float")]
fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}
